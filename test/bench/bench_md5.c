/* SPDX-License-Identifier: MIT
 *
 * MD5 of many files: whole programs, from their start to their exit.
 *
 * All of them write a line for each file to the same kind of file, and as many bytes: what they print is compared line
 * by line by test/bench/md5/run.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define MAX_ARGS 10

typedef struct command_s {
  uv_loop_t loop;
  char *args[MAX_ARGS + 1];
  size_t nargs;
} command_t;

static bench_options_t given;
static char out_file[4096];
static uint64_t out_bytes; /* of a run that was right; 0: there was none yet */

void bench_md5_options(const bench_options_t *o) {
  given = *o;
  if (o->md5_tree) snprintf(out_file, sizeof(out_file), "%s.out", o->md5_tree);
}

static const char *missing(const bench_row_t *row) {
  (void)row;
  return given.md5all && given.md5_tree ? NULL : "--md5all and --md5-tree are not given";
}

/* --- a command ---------------------------------------------------------------------------------------------------- */

static void add(command_t *c, const char *arg) {
  size_t size = strlen(arg) + 1;
  if (c->nargs == MAX_ARGS) bench_fail("too many arguments of a command", 0);
  c->args[c->nargs] = bench_alloc(size, 1);
  memcpy(c->args[c->nargs++], arg, size);
}

static void add_number(command_t *c, unsigned int number) {
  char text[16];
  snprintf(text, sizeof(text), "%u", number);
  add(c, text);
}

static command_t *command_new(const char *program) {
  command_t *c = bench_alloc(1, sizeof(*c));
  bench_must("uv_loop_init", uv_loop_init(&c->loop));
  add(c, program);
  return c;
}

static void command_delete(void *state) {
  command_t *c = state;
  bench_must("uv_loop_close", uv_loop_close(&c->loop));
  for (size_t i = 0; i < c->nargs; i++) free(c->args[i]);
  free(c);
}

static void on_exit_of(uv_process_t *process, int64_t exit_status, int term_signal) {
  if (exit_status || term_signal) {
    const command_t *c = process->data;
    fprintf(stderr, "%s: status %d, signal %d\n", c->args[0], (int)exit_status, term_signal);
    bench_fail("a command of row md5 has failed", 0);
  }
  uv_close((uv_handle_t *)process, NULL);
}

static uv_file out_open(void) {
  uv_fs_t req;
  uv_file file = uv_fs_open(NULL, &req, out_file, O_WRONLY | O_CREAT | O_TRUNC, 0644, NULL);
  uv_fs_req_cleanup(&req);
  if (file < 0) bench_fail(out_file, file);
  return file;
}

/* Nobody prints more or less than the others. */
static void out_close(uv_file file) {
  uv_fs_t req;
  bench_must("uv_fs_fstat", uv_fs_fstat(NULL, &req, file, NULL));
  uint64_t bytes = req.statbuf.st_size;
  uv_fs_req_cleanup(&req);
  uv_fs_close(NULL, &req, file, NULL);
  uv_fs_req_cleanup(&req);
  if (!out_bytes) out_bytes = bytes;
  if (!bytes || bytes != out_bytes) bench_fail("a command of row md5 has not printed what another has", 0);
}

/* Runs it to its end; returns how long that took. */
static uint64_t command_run(command_t *c) {
  uv_process_t process = {.data = c};
  uv_file file = out_open();
  uv_stdio_container_t stdio[3] = {
      {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = file}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
  uv_process_options_t options = {
      .exit_cb = on_exit_of, .file = c->args[0], .args = c->args, .stdio_count = 3, .stdio = stdio};
  uint64_t start = uv_hrtime();
  bench_must(c->args[0], uv_spawn(&c->loop, &process, &options));
  uv_run(&c->loop, UV_RUN_DEFAULT);
  uint64_t took = uv_hrtime() - start;
  out_close(file);
  return took;
}

static void sample(void *state, uint64_t ops, bench_sample_t *s) {
  for (uint64_t i = 0; i < ops; i++) s->amount += command_run(state);
  s->ops += ops;
}

/* --- the commands ------------------------------------------------------------------------------------------------- */

static void *ours_setup(size_t size) {
  (void)size;
  command_t *c = command_new(given.md5all);
  add(c, "--mode");
  add(c, "bounded");
  add(c, "--workers");
  add_number(c, uv_available_parallelism());
  add(c, given.md5_tree);
  return c;
}

static void *go_setup(size_t size) {
  (void)size;
  if (!given.md5_go) return NULL;
  command_t *c = command_new(given.md5_go);
  add(c, "-workers");
  add_number(c, uv_available_parallelism());
  add(c, given.md5_tree);
  return c;
}

static command_t *xargs_new(unsigned int batch) {
  command_t *c = command_new("sh");
  add(c, "-c");
  add(c, "find \"$1\" -type f -print0 | xargs -0 -P \"$2\" -n \"$3\" md5sum");
  add(c, "sh");
  add(c, given.md5_tree);
  add_number(c, uv_available_parallelism());
  add_number(c, batch);
  return c;
}

/* How many files a process of md5sum gets is what is fastest here: the better of two runs each. */
static void *xargs_setup(size_t size) {
  static const unsigned int batches[] = {50, 200, 500, 1000, 2000};
  command_t *best = NULL;
  uint64_t best_ns = 0;
  (void)size;
  for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
    command_t *c = xargs_new(batches[i]);
    uint64_t first = command_run(c), second = command_run(c);
    uint64_t ns = first < second ? first : second;
    if (best && ns >= best_ns) {
      command_delete(c);
      continue;
    }
    if (best) command_delete(best);
    best = c;
    best_ns = ns;
  }
  return best;
}

static const bench_impl_t ours = {"uvflow: md5all --mode bounded", ours_setup, sample, command_delete};
static const bench_impl_t go = {"Go: bounded", go_setup, sample, command_delete};
static const bench_impl_t xargs = {"xargs: md5sum", xargs_setup, sample, command_delete};

const bench_row_t bench_md5_rows[] = {
    {.name = "md5",
     .title = "MD5 of 20,200 files (282 MB, warm), a whole run",
     .what =
         "20,000 files of 4 KiB and 200 of 1 MiB, in the page cache; --quick has 101 files. Timed: a whole process, "
         "from its start to its exit, which digests all of them on as many threads as there are processors and "
         "prints a line for each, sorted by path, to a file. Go: test/bench/md5/bounded.go, one goroutine that "
         "walks, workers that digest, each with a buffer of its own. xargs: find and as many processes of md5sum "
         "at once, each with so many files as was fastest of 50 to 2,000; not sorted. Each has a "
         "digest of its own: OpenSSL's in md5all, Go's, and that of md5sum.",
     .peer = "Go 354 ms",
     .goal = 240000000,
     .impls = {&ours, &go, &xargs},
     .flags = BENCH_SIDE,
     .samples = 11,
     .missing = missing},
    {.name = NULL},
};
