/* SPDX-License-Identifier: MIT
 *
 * drop: a sender that must not wait, a receiver that cannot keep up, and a channel that drops what does not fit.
 *
 * For news that is worth nothing when late, and for callers who must be told "no" at once: the channel keeps the
 * backlog it has and drops the newest. Nothing is lost without being counted: sent = received + dropped.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { ITEMS_MOST = 100000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] =
    "Usage: drop [--help] [--items N] [--capacity N]\n"
    "Sends N items at once to a receiver that takes 1 ms for each, and drops what does not fit.\n"
    "  --items N     1 to 100000, default 2000\n"
    "  --capacity N  of the channel; 1 to 100000, default 100\n"
    "Exit status: 0 the numbers add up, 1 they do not, 2 the command line is wrong.\n";

typedef struct receiver_s {
  uvf_work_t job;
  uvf_chan_t *chan;
  long received;
  long last; /* the highest number received */
} receiver_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "drop: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

/* Called by uvflow on a thread of the pool. */
static int receive(uvf_work_t *job) {
  receiver_t *receiver = container_of(job, receiver_t, job);
  void *item;
  int err;
  while (!(err = uvf_chan_recv_wait(job->ctx, receiver->chan, &item))) {
    receiver->last = *(long *)item;
    receiver->received++;
    uv_sleep(1); /* slower than the sender */
  }
  return err == UV_EOF ? 0 : err;
}

static void on_received_all(uvf_work_t *job, int status) {
  receiver_t *receiver = container_of(job, receiver_t, job);
  if (status) fail("receiver", status);
  printf("receiver: %ld received, the last one is number %ld\n", receiver->received, receiver->last);
}

/* Called by uvflow inside the send, with an item that there is no room for. */
static void on_drop(void *item, void *arg) {
  long *dropped = arg;
  if (++*dropped == 1) printf("sender: number %ld is the first to be dropped\n", *(long *)item);
}

/* Sends all numbers without waiting for anybody, and closes. */
static int send_all(uvf_chan_t *chan, long *numbers, long n) {
  int err = 0;
  for (long i = 0; i < n && !err; i++) {
    numbers[i] = i + 1;
    err = uvf_chan_try_send(chan, &numbers[i]);
  }
  uvf_chan_close(chan);
  return err;
}

static int drop(uv_loop_t *loop, uvf_ctx_t *root, long items, size_t capacity) {
  static long numbers[ITEMS_MOST];
  long dropped = 0;
  receiver_t receiver = {.received = 0};
  uvf_chan_options_t options = {
      .capacity = capacity, .full = UVF_CHAN_DROP_NEWEST, .drop = on_drop, .drop_arg = &dropped};
  int err = uvf_chan_create_ex(&options, &receiver.chan);
  if (err) return fail("channel", err);
  err = uvf_work_start(root, &receiver.job, receive, on_received_all, NULL);
  if (!err) err = send_all(receiver.chan, numbers, items);
  if (!err) printf("sender: all are sent, and I did not wait\n");
  uv_run(loop, UV_RUN_DEFAULT); /* until the receiver has had what was kept for it */

  uvf_chan_stats_t stats;
  uvf_chan_stats(receiver.chan, &stats);
  uvf_chan_release(receiver.chan);
  if (err) return fail("send", err);
  printf("%llu sent = %llu received + %llu dropped\n", (unsigned long long)stats.sent,
         (unsigned long long)stats.received, (unsigned long long)stats.dropped);
  int adds_up = stats.sent == stats.received + stats.dropped && stats.sent == (uint64_t)items &&
                stats.received == (uint64_t)receiver.received && stats.dropped == (uint64_t)dropped;
  return adds_up ? EXIT_DONE : EXIT_NOT_DONE;
}

static int run(long items, long capacity) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  err = uvf_ctx_background(&loop, &root);
  int status = err ? fail("root", err) : drop(&loop, root, items, (size_t)capacity);
  if (!err) uvf_ctx_close(root, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  err = uv_loop_close(&loop);
  return err ? fail("closing the loop", err) : status;
}

/* A number from 1 to most, or 0. */
static long number(const char *text, long most) {
  char *end;
  long n = text ? strtol(text, &end, 10) : 0;
  return n >= 1 && n <= most && !*end ? n : 0;
}

int main(int argc, char **argv) {
  long items = 2000, capacity = 100;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--items") == 0 && (items = number(argv[i + 1], ITEMS_MOST))) continue;
    if (strcmp(argv[i], "--capacity") == 0 && (capacity = number(argv[i + 1], ITEMS_MOST))) continue;
    int help = strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  return run(items, capacity);
}
