/* SPDX-License-Identifier: MIT
 *
 * fan_in: two talkers who never stop, one listener who hears whoever speaks first, and leaves after n lines.
 *
 *   Ann -> channel --\
 *                     merge -> channel -> listener
 *   Bob -> channel --/
 *
 * Each talker is a job on the pool, and reads like a thread of its own: say something, wait until it was heard, pause.
 * The listener leaves by cancelling the context that all of it runs under: the talkers' waits end, and so do they.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { TALKERS = 2, LINE = 32, MOST = 100000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] = "Usage: fan_in [--help] [--lines N]\n"
                           "Merges what two talkers say into one channel, hears N lines of it and leaves.\n"
                           "  --lines N  1 to 100000, default 10\n"
                           "Exit status: 0 done, 1 not done, 2 the command line is wrong.\n";

typedef struct talker_s {
  uvf_work_t job;
  const char *name;
  unsigned int pause_ms;
  uvf_chan_t *says; /* its lines, malloc'ed */
} talker_t;

typedef struct party_s {
  uvf_ctx_t *ctx;
  talker_t talkers[TALKERS];
  uvf_chan_merge_t merge;
  uvf_chan_t *all; /* what both say */
  uvf_chan_req_t req;
  long wanted, heard;
  int err;
} party_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "fan_in: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

/* Called by uvflow on a thread of the pool. */
static int talk(uvf_work_t *job) {
  talker_t *talker = container_of(job, talker_t, job);
  for (unsigned int i = 0;; i++) {
    char *line = malloc(LINE);
    if (!line) return UV_ENOMEM;
    snprintf(line, LINE, "%s %u", talker->name, i);
    int err = uvf_chan_send_wait(job->ctx, talker->says, line);
    if (err) {
      free(line); /* nobody has seen it */
      return err;
    }
    uv_sleep(talker->pause_ms);
  }
}

static void on_talker_gone(uvf_work_t *job, int status) {
  party_t *party = job->data;
  printf("%s was interrupted\n", container_of(job, talker_t, job)->name);
  if (status != UV_ECANCELED) party->err = status;
}

static void on_merge_end(uvf_chan_merge_t *merge, int status) {
  party_t *party = container_of(merge, party_t, merge);
  if (status != UV_ECANCELED) party->err = status;
}

static void on_line(uvf_chan_req_t *req, int status) {
  party_t *party = container_of(req, party_t, req);
  if (!status) {
    printf("%s\n", (char *)req->item);
    free(req->item);
    if (++party->heard < party->wanted) status = uvf_chan_recv(party->ctx, req, party->all, on_line);
  }
  if (status) party->err = status;
  if (!status && party->heard < party->wanted) return; /* on_line comes again */
  printf("Neither of you has any news. Good night.\n");
  uvf_ctx_cancel(party->ctx);
}

static void drop_line(void *line, void *arg) {
  (void)arg;
  free(line); /* was on its way when the listener left */
}

static int start(party_t *party) {
  uvf_chan_t *inputs[TALKERS];
  uvf_chan_options_t options = {.drop = drop_line};
  int err = uvf_chan_create_ex(&options, &party->all);
  for (int i = 0; i < TALKERS && !err; i++) {
    talker_t *talker = &party->talkers[i];
    talker->job.data = party;
    err = uvf_chan_create(0, &talker->says);
    if (!err) err = uvf_work_start(party->ctx, &talker->job, talk, on_talker_gone, NULL);
    inputs[i] = talker->says;
  }
  if (!err) err = uvf_chan_merge(party->ctx, &party->merge, inputs, TALKERS, party->all, on_merge_end);
  if (!err) err = uvf_chan_recv(party->ctx, &party->req, party->all, on_line);
  return err;
}

static int hold_party(uv_loop_t *loop, uvf_ctx_t *root, long wanted) {
  party_t party = {.talkers = {{.name = "Ann", .pause_ms = 7}, {.name = "Bob", .pause_ms = 10}}, .wanted = wanted};
  int err = uvf_ctx_with_cancel(root, &party.ctx);
  if (err) return fail("context", err);
  err = start(&party);
  if (err) uvf_ctx_cancel(party.ctx);
  uv_run(loop, UV_RUN_DEFAULT); /* until both talkers are gone */
  for (int i = 0; i < TALKERS; i++) uvf_chan_release(party.talkers[i].says);
  uvf_chan_release(party.all);
  uvf_ctx_release(party.ctx);
  if (!err) err = party.err;
  return err ? fail("party", err) : EXIT_DONE;
}

static int run(long wanted) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  err = uvf_ctx_background(&loop, &root);
  int status = err ? fail("root", err) : hold_party(&loop, root, wanted);
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
  long wanted = 10;
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--lines") == 0 && (wanted = number(argv[i + 1], MOST))) continue;
    int help = strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  return run(wanted);
}
