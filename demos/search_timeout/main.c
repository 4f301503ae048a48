/* SPDX-License-Identifier: MIT
 *
 * search_timeout: a search of 200 ms under a deadline of 100 ms.
 *
 * The search runs on libuv's pool and cannot be interrupted. Whoever waits for it is told at the deadline all the same;
 * the search goes on, and when the pool lets go of it, its late result is dropped where it is released, not lost:
 *
 *   0 ms            100 ms               200 ms
 *   |-- search() on a pool thread -------|
 *                   | on_answer()        | on_released()
 *                     UV_ETIMEDOUT         frees the query and the late result
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { PARTS = 20, MOST_MS = 3600000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] =
    "Usage: search_timeout [--search MS] [--timeout MS] [--look]\n"
    "Runs a search on the thread pool under a deadline, and says when the answer came and when the pool let go.\n"
    "\n"
    "  --search MS   how long the search takes, in 20 parts; default 200\n"
    "  --timeout MS  the deadline; default 100\n"
    "  --look        the search looks at its context after each part, and gives up early\n"
    "  --help        print this\n"
    "\n"
    "Exit status: 0 found, 1 not found in time, 2 the command line is wrong.\n";

typedef struct options_s {
  uint64_t search_ms;
  uint64_t timeout_ms;
  int look;
} options_t;

/* One search. It belongs to the pool until it is released. */
typedef struct query_s {
  uvf_work_t job;
  const options_t *options;
  uint64_t began_ns;
  char *record; /* what search() found */
  int *exit_status;
} query_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "search_timeout: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

static double ms_since(uint64_t began_ns) { return (double)(uv_hrtime() - began_ns) / 1e6; }

/* Sleeps until the given part of the search would have been looked through. */
static void look_up_part(const query_t *q, uint64_t began_ns, uint64_t part) {
  uint64_t until_ns = began_ns + (part + 1) * q->options->search_ms * 1000000 / PARTS;
  for (uint64_t now = uv_hrtime(); now < until_ns; now = uv_hrtime())
    uv_sleep((unsigned int)((until_ns - now + 999999) / 1000000));
}

/* Called by uvflow on a thread of the pool. */
static int search(uvf_work_t *job) {
  query_t *q = container_of(job, query_t, job);
  uint64_t began_ns = uv_hrtime();
  for (uint64_t part = 0; part < PARTS; part++) {
    if (q->options->look) {
      int err = uvf_ctx_err(job->ctx); /* one load, no lock */
      if (err) return err;
    }
    look_up_part(q, began_ns, part);
  }
  static const char FOUND[] = "the record";
  q->record = malloc(sizeof(FOUND));
  if (!q->record) return UV_ENOMEM;
  memcpy(q->record, FOUND, sizeof(FOUND));
  return 0;
}

/* Called by uvflow on the loop, once, at the deadline at the latest. After a failure what search() writes is not ours
 * to read: it may still be running. */
static void on_answer(uvf_work_t *job, int status) {
  query_t *q = container_of(job, query_t, job);
  if (status) {
    printf("answered after %.0f ms: failed, %s\n", ms_since(q->began_ns),
           status == UV_ETIMEDOUT ? "the deadline has passed" : uv_strerror(status));
    return;
  }
  printf("answered after %.0f ms: found %s\n", ms_since(q->began_ns), q->record);
  *q->exit_status = EXIT_DONE;
}

/* Called by uvflow on the loop, once, when the pool has let go: nobody touches the query any more. */
static void on_released(uvf_work_t *job) {
  query_t *q = container_of(job, query_t, job);
  printf("released after %.0f ms: %s\n", ms_since(q->began_ns),
         !job->status ? "the result had been used"
         : q->record  ? "a late result, dropped"
                      : "the search had given up");
  free(q->record);
  free(q);
}

/* Starts the search under a context of its own. */
static int start(uvf_ctx_t *root, const options_t *options, int *exit_status) {
  uvf_ctx_t *ctx;
  query_t *q = calloc(1, sizeof(*q));
  if (!q) return UV_ENOMEM;
  q->options = options;
  q->exit_status = exit_status;
  q->began_ns = uv_hrtime();
  int err = uvf_ctx_with_timeout(root, options->timeout_ms, &ctx);
  if (!err) {
    err = uvf_work_start(ctx, &q->job, search, on_answer, on_released);
    uvf_ctx_release(ctx); /* the job keeps it */
  }
  if (err) free(q);
  return err;
}

static int run(const options_t *options) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int status = EXIT_NOT_DONE;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  if ((err = uvf_ctx_background(&loop, &root))) {
    fail("root", err);
  } else {
    if ((err = start(root, options, &status))) fail("start", err);
    uv_run(&loop,
           UV_RUN_DEFAULT); /* until the pool has let go: a job that was answered early is still owed its release */
    uvf_ctx_close(root, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  if ((err = uv_loop_close(&loop))) return fail("closing the loop", err);
  return status;
}

/* --- command line -------------------------------------------------------------------------------------------- */

static int parse_ms(const char *name, const char *text, uint64_t *ms) {
  char *end = NULL;
  errno = 0;
  unsigned long long n = text ? strtoull(text, &end, 10) : 0;
  if (text && *text && strspn(text, "0123456789") == strlen(text) && !errno && n >= 1 && n <= MOST_MS) {
    *ms = n;
    return 0;
  }
  fprintf(stderr, "search_timeout: %s needs a number of milliseconds from 1 to %d\n", name, MOST_MS);
  return -1;
}

int main(int argc, char **argv) {
  options_t options = {.search_ms = 200, .timeout_ms = 100, .look = 0};
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0) {
      fputs(HELP, stdout);
      return EXIT_DONE;
    }
    if (strcmp(argv[i], "--look") == 0) {
      options.look = 1;
      continue;
    }
    uint64_t *ms = strcmp(argv[i], "--search") == 0    ? &options.search_ms
                   : strcmp(argv[i], "--timeout") == 0 ? &options.timeout_ms
                                                       : NULL;
    if (!ms) {
      fprintf(stderr, "search_timeout: unknown argument '%s'; see search_timeout --help\n", argv[i]);
      return EXIT_USAGE;
    }
    if (parse_ms(argv[i], i + 1 < argc ? argv[i + 1] : NULL, ms)) return EXIT_USAGE;
    i++;
  }
  return run(&options);
}
