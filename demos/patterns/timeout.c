/* SPDX-License-Identifier: MIT
 *
 * timeout: a conversation with two limits: one for each message, which begins anew with every one that comes, and one
 * for all of it.
 *
 * Two speakers pause twice as long before each next word. The listener selects over their channels under a context of
 * its own for each message, below the one of the conversation. When the select ends with UV_ETIMEDOUT, the conversation
 * says which of the two limits it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { SPEAKERS = 2, LINE = 32, MOST_MS = 3600000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] = "Usage: timeout [--help] [--each MS] [--limit MS]\n"
                           "Listens to two speakers who get slower and slower.\n"
                           "  --each MS   how long to wait for a message; 1 to 3600000, default 60\n"
                           "  --limit MS  how long to listen at all; 1 to 3600000, default 1000\n"
                           "Exit status: 0 one of the limits came, 1 not so, 2 the command line is wrong.\n";

typedef struct speaker_s {
  uvf_work_t job;
  const char *name;
  unsigned int pause_ms;
  uvf_chan_t *chan; /* lines, malloc'ed */
} speaker_t;

typedef struct listener_s {
  uvf_ctx_t *conversation;
  uint64_t each_ms;
  uvf_select_t sel;
  uvf_select_case_t cases[SPEAKERS];
  int status; /* why it ended */
} listener_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "timeout: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

/* Called by uvflow on a thread of the pool. */
static int speak(uvf_work_t *job) {
  speaker_t *speaker = container_of(job, speaker_t, job);
  int err = 0;
  for (unsigned int pause_ms = speaker->pause_ms; !err; pause_ms *= 2) {
    char *line = malloc(LINE);
    if (!line) return UV_ENOMEM;
    snprintf(line, LINE, "%s, after %u ms", speaker->name, pause_ms);
    uv_sleep(pause_ms);
    err = uvf_chan_send_wait(job->ctx, speaker->chan, line);
    if (err) free(line);
  }
  return err;
}

static void on_case(uvf_select_t *sel, int status);

/* Waits for the next message: this long, and no longer than the conversation. */
static int listen_once(listener_t *listener) {
  uvf_ctx_t *message;
  int err = uvf_ctx_with_timeout(listener->conversation, listener->each_ms, &message);
  if (err) return err;
  err = uvf_select_start(message, &listener->sel, listener->cases, SPEAKERS, on_case);
  uvf_ctx_release(message); /* the select keeps it */
  return err;
}

static void on_case(uvf_select_t *sel, int status) {
  listener_t *listener = container_of(sel, listener_t, sel);
  if (!status) {
    char *line = listener->cases[sel->index].item;
    printf("%s\n", line);
    free(line);
    status = listen_once(listener);
    if (!status) return; /* on_case comes again */
  }
  listener->status = status;
  if (status == UV_ETIMEDOUT && uvf_ctx_err(listener->conversation))
    printf("That was all the time I had for you.\n");
  else if (status == UV_ETIMEDOUT)
    printf("Nothing for %llu ms: I give up on you.\n", (unsigned long long)listener->each_ms);
  uvf_ctx_cancel(listener->conversation); /* for the speakers; nothing, if it was its limit */
}

static int converse(uv_loop_t *loop, uvf_ctx_t *root, uint64_t each_ms, uint64_t limit_ms) {
  listener_t listener = {.each_ms = each_ms};
  speaker_t speakers[SPEAKERS] = {{.name = "Ann", .pause_ms = 10}, {.name = "Bob", .pause_ms = 15}};
  int err = uvf_ctx_with_timeout(root, limit_ms, &listener.conversation);
  if (err) return fail("context", err);
  for (int i = 0; i < SPEAKERS && !err; i++) {
    err = uvf_chan_create(0, &speakers[i].chan);
    if (!err) err = uvf_work_start(listener.conversation, &speakers[i].job, speak, NULL, NULL);
    listener.cases[i].chan = speakers[i].chan;
    listener.cases[i].kind = UVF_SELECT_RECV;
  }
  if (!err) err = listen_once(&listener);
  if (err) uvf_ctx_cancel(listener.conversation);
  uv_run(loop, UV_RUN_DEFAULT); /* until the speakers have noticed */
  for (int i = 0; i < SPEAKERS; i++) uvf_chan_release(speakers[i].chan);
  uvf_ctx_release(listener.conversation);
  if (err) return fail("start", err);
  return listener.status == UV_ETIMEDOUT ? EXIT_DONE : fail("listening", listener.status);
}

static int run(long each_ms, long limit_ms) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  err = uvf_ctx_background(&loop, &root);
  int status = err ? fail("root", err) : converse(&loop, root, (uint64_t)each_ms, (uint64_t)limit_ms);
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
  long each_ms = 60, limit_ms = 1000;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--each") == 0 && (each_ms = number(argv[i + 1], MOST_MS))) continue;
    if (strcmp(argv[i], "--limit") == 0 && (limit_ms = number(argv[i + 1], MOST_MS))) continue;
    int help = strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  return run(each_ms, limit_ms);
}
