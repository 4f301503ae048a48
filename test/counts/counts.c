/* SPDX-License-Identifier: MIT
 *
 * uvf_counts: runs one hot path a given number of times, so that test/counts/run can count its instructions.
 *
 * The paths are rows of uvf_bench: the code that is counted is the code that is timed. Two things are put in the place
 * of libc's and libuv's own, so that each run executes the same instructions as the one before, whatever else the
 * machine does:
 *
 *  the clock | goes on by 1 us whenever it is read. What the library decides by the time (how long to look on, how many
 *            | items to take) follows from what it did alone.
 *  the pool  | one thread, which works only while the loop's thread waits for it, and the other way round: they take
 *            | turns by a pointer through a pipe, which costs both the same whoever comes first. The loop gives it a
 *            | turn after work of its own, so that all jobs in flight are there by then. Nobody spins for the other,
 *            | and no lock is contended: what threads do to each other is left out; a count could not repeat it.
 *
 * Nothing is torn down: what that takes would be counted with the path, and other tests see that all is freed.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../bench/bench.h"

/* --- the clock ---------------------------------------------------------------------------------------------------- */

#define TICK_NS UINT64_C(1000)
#define BEGIN_NS UINT64_C(1000000000000)

/* libuv's clock reads this one, since a program's own functions come before those of libc. */
__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *now) {
  static _Atomic(uint64_t) read_so_far;
  uint64_t ns = BEGIN_NS + TICK_NS * atomic_fetch_add(&read_so_far, 1);
  (void)id;
  now->tv_sec = (time_t)(ns / 1000000000);
  now->tv_nsec = (long)(ns % 1000000000);
  return 0;
}

/* --- the pool ----------------------------------------------------------------------------------------------------- */

static struct {
  uv_idle_t idle;
  uv_thread_t thread;
  int go[2];   /* requests, to the thread */
  int back[2]; /* and from there */
  uv_work_t *first;
  uv_work_t **end;
} pool;

static void pass(int to, uv_work_t *req) {
  if (write(to, &req, sizeof(req)) != (ssize_t)sizeof(req)) bench_fail("the pool's pipe", UV_EPIPE);
}

static uv_work_t *take(int from) {
  uv_work_t *req;
  if (read(from, &req, sizeof(req)) != (ssize_t)sizeof(req)) bench_fail("the pool's pipe", UV_EPIPE);
  return req;
}

static void pool_main(void *arg) {
  (void)arg;
  for (;;) {
    uv_work_t *req = take(pool.go[0]);
    req->work_cb(req);
    pass(pool.back[1], req);
  }
}

/* Requests that come meanwhile are for the next turn of the loop. */
static void on_idle(uv_idle_t *idle) {
  uv_work_t *req = pool.first;
  uv_idle_stop(idle);
  pool.first = NULL;
  pool.end = &pool.first;
  while (req) {
    uv_work_t *next = req->reserved[0];
    pass(pool.go[1], req);
    take(pool.back[0]);
    req->after_work_cb(req, 0);
    req = next;
  }
}

static void pool_open(uv_loop_t *loop) {
  if (pipe(pool.go) || pipe(pool.back)) bench_fail("pipe", UV_EMFILE);
  bench_must("uv_idle_init", uv_idle_init(loop, &pool.idle));
  bench_must("uv_thread_create", uv_thread_create(&pool.thread, pool_main, NULL));
  pool.end = &pool.first;
}

/* In libuv's place, and so the next one. */
int uv_queue_work(uv_loop_t *loop, uv_work_t *req, uv_work_cb work, uv_after_work_cb after) {
  if (!pool.end) pool_open(loop);
  req->loop = loop;
  req->work_cb = work;
  req->after_work_cb = after;
  req->reserved[0] = NULL;
  *pool.end = req;
  pool.end = (uv_work_t **)&req->reserved[0];
  return uv_idle_start(&pool.idle, on_idle);
}

/* Requests that have no work any more are worked on nevertheless: they find that out. */
int uv_cancel(uv_req_t *req) {
  (void)req;
  return UV_EBUSY;
}

/* --- the paths ---------------------------------------------------------------------------------------------------- */

typedef struct path_s {
  const char *row;
  const bench_row_t *rows;
  size_t size;      /* 0: the row's */
  uint64_t ops;     /* of one round: so many that all put-off work comes round */
  const char *only; /* not NULL: the function in which alone instructions are counted */
} path_t;

static const path_t paths[] = {
    {"timeout", bench_context_rows, 0, 2560, NULL},       {"rotate-1k", bench_context_rows, 0, 2560, NULL},
    {"cancel", bench_context_rows, 0, 2560, NULL},        {"children", bench_tree_rows, 1000, 1000, "uvf_ctx_cancel"},
    {"children-free", bench_tree_rows, 1000, 1000, NULL}, {"err", bench_value_rows, 0, 2560, NULL},
    {"value-1", bench_value_rows, 0, 2560, NULL},         {"value-100", bench_value_rows, 0, 2560, NULL},
    {"value-make", bench_value_rows, 0, 2560, NULL},      {"watch-64", bench_watch_rows, 0, 2560, NULL},
    {"request-tree", bench_request_rows, 0, 1024, NULL},  {"echo", bench_request_rows, 0, 256, NULL},
    {"chan-loop", bench_chan_rows, 0, 5120, NULL},        {"chan-loop-op", bench_chan_rows, 0, 5120, NULL},
    {"select-try", bench_select_rows, 0, 2560, NULL},     {"select-op", bench_select_rows, 0, 2560, NULL},
    {"sem-try", bench_sync_rows, 0, 2560, NULL},          {"snapshot-get", bench_sync_rows, 0, 2560, NULL},
    {"limiter-try", bench_sync_rows, 0, 2560, NULL},      {"waitgroup", bench_sync_rows, 0, 2560, NULL},
    {"group-loop-100", bench_group_rows, 0, 32, NULL},    {"group-pool-100-w1", bench_group_rows, 0, 32, NULL},
    {"job-64-w1", bench_job_rows, 0, 2560, NULL},         {"pipe-squares", bench_pipe_rows, 0, 25600, NULL},
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

static const bench_row_t *row_of(const path_t *path) {
  const bench_row_t *row = path->rows;
  while (row->name && strcmp(row->name, path->row)) row++;
  if (!row->name) bench_fail("a row is gone from the bench", UV_ENOENT);
  return row;
}

static void list_paths(void) {
  for (size_t i = 0; i < PATHS; i++) {
    printf("%s %llu %s\n", paths[i].row, (unsigned long long)paths[i].ops, paths[i].only ? paths[i].only : "");
    row_of(&paths[i]);
  }
}

/* What the counts depend on, beside the code. */
static void print_about(void) {
#if defined(__clang__)
  printf("clang %d", __clang_major__);
#else
  printf("gcc %d", __GNUC__);
#endif
#if defined(__x86_64__)
  printf(" on x86_64");
#elif defined(__aarch64__)
  printf(" on aarch64");
#else
  printf(" on another processor");
#endif
#if defined(__GLIBC__)
  printf(", libuv %s, glibc %d.%d", uv_version_string(), __GLIBC__, __GLIBC_MINOR__);
#else
  printf(", libuv %s, another libc", uv_version_string());
#endif
#if defined(__OPTIMIZE__) && defined(NDEBUG)
  printf(", release\n");
#else
  printf(", debug\n");
#endif
}

static int run_path(const char *name, uint64_t rounds) {
  for (size_t i = 0; i < PATHS; i++) {
    if (strcmp(paths[i].row, name)) continue;
    const bench_row_t *row = row_of(&paths[i]);
    bench_sample_t s = {0};
    void *state = row->impls[0]->setup(paths[i].size ? paths[i].size : row->size);
    row->impls[0]->run(state, rounds * paths[i].ops, &s);
    if (s.ops != rounds * paths[i].ops) bench_fail("a row did more, or less, than it was asked for", 0);
    return 0;
  }
  fprintf(stderr, "uvf_counts: no path %s\n", name);
  return 2;
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "--paths")) {
    list_paths();
    return 0;
  }
  if (argc == 2 && !strcmp(argv[1], "--about")) {
    print_about();
    return 0;
  }
  if (argc != 3) {
    fprintf(stderr, "usage: uvf_counts --paths | --about | PATH ROUNDS\n");
    return 2;
  }
  /* Read once by the library: one worker. */
  bench_must("uv_os_setenv", uv_os_setenv("UV_THREADPOOL_SIZE", "2"));
  return run_path(argv[1], strtoull(argv[2], NULL, 10));
}
