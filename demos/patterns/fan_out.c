/* SPDX-License-Identifier: MIT
 *
 * fan_out: one channel, several workers; each item is handled once, by whoever is free.
 *
 *               /-> worker 1
 *   numbers -> channel -> worker 2     each squares and adds up; the sums are put together when all have ended
 *               \-> worker 3
 *
 * The loop sends and never blocks; the workers are jobs on the pool and block in their receive. Closing the channel is
 * all it takes to send them home.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { ITEMS_MOST = 1000, WORKERS_MOST = 64, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] = "Usage: fan_out [--help] [--items N] [--workers N]\n"
                           "Has several workers square the numbers from 1 to N, and prints the sum.\n"
                           "  --items N    1 to 1000, default 100\n"
                           "  --workers N  1 to 64, default 3; more than the pool has threads for wait their turn\n"
                           "Exit status: 0 every number was handled once, 1 not so, 2 the command line is wrong.\n";

typedef struct item_s {
  long number;
  int handled; /* times; written by whichever worker has it */
} item_t;

typedef struct worker_s {
  uvf_work_t job;
  uvf_chan_t *chan;
  long n, items, sum;
} worker_t;

typedef struct sender_s {
  uvf_chan_req_t req;
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  item_t items[ITEMS_MOST];
  long n, sent;
} sender_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "fan_out: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

/* Called by uvflow on a thread of the pool. */
static int work(uvf_work_t *job) {
  worker_t *worker = container_of(job, worker_t, job);
  void *at;
  int err;
  while (!(err = uvf_chan_recv_wait(job->ctx, worker->chan, &at))) {
    item_t *item = at;
    item->handled++;
    worker->items++;
    worker->sum += item->number * item->number;
    uv_sleep(1); /* hard work */
  }
  return err == UV_EOF ? 0 : err;
}

static void on_worker_done(uvf_work_t *job, int status) {
  worker_t *worker = container_of(job, worker_t, job);
  printf("worker %ld: %ld items, then %s\n", worker->n, worker->items, status ? uv_strerror(status) : "the end");
}

/* Called by uvflow on the loop when a worker has taken an item: the next one, or the end. */
static void on_sent(uvf_chan_req_t *req, int status) {
  sender_t *sender = container_of(req, sender_t, req);
  if (!status && ++sender->sent < sender->n) {
    status = uvf_chan_send(sender->ctx, req, sender->chan, &sender->items[sender->sent], on_sent);
    if (!status) return; /* on_sent comes again */
  }
  if (status) fail("send", status);
  uvf_chan_close(sender->chan);
}

/* After the end of all workers: their sums, and what became of each item. */
static int report(const sender_t *sender, const worker_t *workers, long n) {
  long sum = 0, items = 0;
  int once = 1;
  for (long i = 0; i < n; i++) {
    sum += workers[i].sum;
    items += workers[i].items;
  }
  for (long i = 0; i < sender->n; i++) once &= sender->items[i].handled == 1;
  printf("%ld items by %ld workers, %s; the sum of the squares is %ld\n", items, n,
         once ? "each handled once" : "but not each of them once", sum);
  return once ? EXIT_DONE : EXIT_NOT_DONE;
}

static int fan_out(uv_loop_t *loop, uvf_ctx_t *root, long nitems, long nworkers) {
  sender_t sender = {.ctx = root, .n = nitems};
  worker_t workers[WORKERS_MOST] = {{.n = 0}};
  int err = uvf_chan_create(0, &sender.chan);
  if (err) return fail("channel", err);
  for (long i = 0; i < nworkers && !err; i++) {
    workers[i].n = i + 1;
    workers[i].chan = sender.chan;
    err = uvf_work_start(root, &workers[i].job, work, on_worker_done, NULL);
  }
  for (long i = 0; i < nitems; i++) sender.items[i].number = i + 1;
  if (!err) err = uvf_chan_send(root, &sender.req, sender.chan, &sender.items[0], on_sent);
  if (err) {
    fail("start", err);
    uvf_chan_close(sender.chan);
  }
  uv_run(loop, UV_RUN_DEFAULT); /* until all have gone home */
  uvf_chan_release(sender.chan);
  return report(&sender, workers, nworkers);
}

static int run(long items, long workers) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  err = uvf_ctx_background(&loop, &root);
  int status = err ? fail("root", err) : fan_out(&loop, root, items, workers);
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
  long items = 100, workers = 3;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--items") == 0 && (items = number(argv[i + 1], ITEMS_MOST))) continue;
    if (strcmp(argv[i], "--workers") == 0 && (workers = number(argv[i + 1], WORKERS_MOST))) continue;
    int help = strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  return run(items, workers);
}
