/* SPDX-License-Identifier: MIT
 *
 * Runs the peers' programs, each on a loop of its own that turns only while something is wanted of the program: between
 * its samples a peer waits for its input, and nothing of it runs here.
 *
 * 1. A program that fails, or that says something else than it should, is told of on standard error and left out: the
 *    row goes on without it, and uvf_bench ends with 1.
 * 2. What has been spawned is waited for before its loop is closed: no process outlives its row.
 */
#include "bench_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROGRAMS 16
#define MAX_IMPLS 400
#define LIST_SIZE 65536

struct bench_peer_run_s {
  const char *program;
  uv_loop_t loop;
  uv_process_t process;
  uv_pipe_t in;
  uv_pipe_t out;
  char *text; /* what it has written and nobody has read */
  size_t size;
  size_t length;
  int ended; /* its output has come to an end */
  int exited;
  int64_t exit_status;
  int signal;
};

static char programs[MAX_PROGRAMS][1024];
static size_t program_count;
static bench_peer_impl_t *impls;
static size_t impl_count;

/* --- a program ---------------------------------------------------------------------------------------------------- */

static void on_exit_of(uv_process_t *process, int64_t exit_status, int term_signal) {
  bench_peer_run_t *run = process->data;
  run->exited = 1;
  run->exit_status = exit_status;
  run->signal = term_signal;
  uv_close((uv_handle_t *)process, NULL);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  bench_peer_run_t *run = handle->data;
  (void)suggested;
  *buf = uv_buf_init(run->text + run->length, (unsigned int)(run->size - 1 - run->length));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  bench_peer_run_t *run = stream->data;
  (void)buf;
  if (n < 0) {
    run->ended = 1;
    uv_close((uv_handle_t *)stream, NULL);
    return;
  }
  run->length += (size_t)n;
  run->text[run->length] = '\0';
}

static bench_peer_run_t *spawn(const char *program, const char *const *args, size_t size) {
  bench_peer_run_t *run = bench_alloc(1, sizeof(*run));
  char *argv[20];
  int n = 0;

  memset(run, 0, sizeof(*run));
  run->program = program;
  run->size = size;
  run->text = bench_alloc(1, size);
  run->text[0] = '\0';
  /* libuv takes them as they are in POSIX: not const, and not changed. */
  argv[n++] = (char *)(uintptr_t)program;
  for (; args[n - 1]; n++) argv[n] = (char *)(uintptr_t)args[n - 1];
  argv[n] = NULL;

  bench_must("uv_loop_init", uv_loop_init(&run->loop));
  bench_must("uv_pipe_init", uv_pipe_init(&run->loop, &run->in, 0));
  bench_must("uv_pipe_init", uv_pipe_init(&run->loop, &run->out, 0));
  run->in.data = run->out.data = run->process.data = run;
  uv_stdio_container_t stdio[3] = {
      {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&run->in},
      {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&run->out},
      {.flags = UV_INHERIT_FD, .data.fd = 2}};
  uv_process_options_t options = {
      .exit_cb = on_exit_of, .file = program, .args = argv, .stdio_count = 3, .stdio = stdio};
  int err = uv_spawn(&run->loop, &run->process, &options);
  if (err) {
    fprintf(stderr, "uvf_bench: %s cannot be run: %s\n", program, uv_strerror(err));
    run->ended = run->exited = 1;
    run->exit_status = 127;
    uv_close((uv_handle_t *)&run->process, NULL);
    uv_close((uv_handle_t *)&run->out, NULL);
  } else {
    bench_must("uv_read_start", uv_read_start((uv_stream_t *)&run->out, on_alloc, on_read));
  }
  return run;
}

/* Waits for its end. */
static int join(bench_peer_run_t *run) {
  int failed;
  if (!uv_is_closing((uv_handle_t *)&run->in)) uv_close((uv_handle_t *)&run->in, NULL);
  uv_run(&run->loop, UV_RUN_DEFAULT);
  bench_must("uv_loop_close", uv_loop_close(&run->loop));
  failed = run->exit_status != 0 || run->signal != 0;
  if (failed && run->exit_status != 127) {
    fprintf(stderr, "uvf_bench: %s has failed: exit status %d, signal %d\n", run->program, (int)run->exit_status,
            run->signal);
  }
  free(run->text);
  free(run);
  return failed;
}

/* Waits for a line and copies it, without its end. Not 0: there is none. */
static int read_line(bench_peer_run_t *run, char *line, size_t size) {
  char *end;
  while (!(end = strchr(run->text, '\n'))) {
    if (run->ended || run->length == run->size - 1) return UV_EOF;
    uv_run(&run->loop, UV_RUN_ONCE);
  }
  size_t n = (size_t)(end - run->text);
  if (n >= size) return UV_EOVERFLOW;
  memcpy(line, run->text, n);
  line[n] = '\0';
  memmove(run->text, end + 1, run->length - n); /* its last byte with it */
  run->length -= n + 1;
  return 0;
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

static void add_line(const char *program, const char *line) {
  const char *tab = strchr(line, '\t');
  bench_peer_impl_t *impl = &impls[impl_count];
  if (!tab || impl_count == MAX_IMPLS) bench_fail("a peer's list cannot be read, or is too long", UV_EINVAL);
  snprintf(impl->program, sizeof(impl->program), "%s", program);
  snprintf(impl->row, sizeof(impl->row), "%.*s", (int)(tab - line), line);
  snprintf(impl->name, sizeof(impl->name), "%s", tab + 1);
  impl_count++;
}

static void add_program(const char *directory, const char *name) {
  static const char *const args[] = {"--list", NULL};
  char line[256];
  if (program_count == MAX_PROGRAMS) bench_fail("more peers than there is room for", UV_ENOBUFS);
  char *program = programs[program_count++];
  snprintf(program, sizeof(programs[0]), "%s/%s", directory, name);
  bench_peer_run_t *run = spawn(program, args, LIST_SIZE);
  while (!read_line(run, line, sizeof(line))) add_line(program, line);
  if (join(run)) bench_fail("a peer cannot say what it has", 0);
}

void bench_peers_find(const char *directory) {
  uv_fs_t scan;
  uv_dirent_t entry;
  if (!directory) return;
  impls = bench_alloc(MAX_IMPLS, sizeof(*impls));
  int n = uv_fs_scandir(NULL, &scan, directory, 0, NULL); /* in the order of names */
  if (n < 0) bench_fail(directory, n);
  while (!uv_fs_scandir_next(&scan, &entry)) {
    if (entry.name[0] != '.' && entry.type != UV_DIRENT_DIR) add_program(directory, entry.name);
  }
  uv_fs_req_cleanup(&scan);
}

static int row_matches(const char *pattern, const char *row) {
  size_t n = strlen(pattern);
  if (n && pattern[n - 1] == '*') return !strncmp(pattern, row, n - 1);
  return !strcmp(pattern, row);
}

const bench_peer_impl_t *bench_peer_of(const bench_row_t *row, int nth) {
  for (size_t i = 0; i < impl_count; i++) {
    if (row_matches(impls[i].row, row->name) && nth-- == 0) return &impls[i];
  }
  return NULL;
}

void bench_peers_about(FILE *out) {
  static const char *const args[] = {"--about", NULL};
  char line[256];
  for (size_t i = 0; i < program_count; i++) {
    bench_peer_run_t *run = spawn(programs[i], args, sizeof(line));
    if (!read_line(run, line, sizeof(line))) fprintf(out, "%s%s", i ? ", " : "", line);
    (void)join(run);
  }
}

/* --- its samples -------------------------------------------------------------------------------------------------- */

static bench_peer_run_t *failed_to(bench_peer_run_t *run, const bench_peer_impl_t *impl, const char *row) {
  fprintf(stderr, "uvf_bench: row %s: \"%s\" does not get ready\n", row, impl->name);
  (void)join(run);
  return NULL;
}

bench_peer_run_t *bench_peer_start(const bench_peer_impl_t *impl, const bench_row_t *row,
                                   const bench_peer_work_t *work) {
  char size[24], workers[16], sample[24], line[64];
  snprintf(size, sizeof(size), "%zu", work->size);
  snprintf(workers, sizeof(workers), "%u", work->workers);
  snprintf(sample, sizeof(sample), "%llu", (unsigned long long)work->sample_ns);
  const char *args[] = {"--row",     row->name, "--impl",      impl->name, "--size", size,
                        "--workers", workers,   "--sample-ns", sample,     NULL,     NULL};
  if (work->once) args[10] = "--once";
  bench_peer_run_t *run = spawn(impl->program, args, 256);
  if (read_line(run, line, sizeof(line)) || strcmp(line, "ready") != 0) return failed_to(run, impl, row->name);
  return run;
}

static void on_written(uv_write_t *req, int status) { *(int *)req->data = status; }

int bench_peer_sample(bench_peer_run_t *run, bench_sample_t *s) {
  char line[128], word[] = "sample\n";
  uv_buf_t buf = uv_buf_init(word, sizeof(word) - 1);
  uv_write_t req;
  int status = UV_EBUSY;
  unsigned long long ops, amount, cpu;

  req.data = &status;
  if (uv_write(&req, (uv_stream_t *)&run->in, &buf, 1, on_written)) return UV_EPIPE;
  while (status == UV_EBUSY) uv_run(&run->loop, UV_RUN_ONCE);
  if (status) return status;
  if (read_line(run, line, sizeof(line))) return UV_EOF;
  if (sscanf(line, "%llu %llu %llu", &ops, &amount, &cpu) != 3 || !ops) return UV_EPROTO;
  s->ops = ops;
  s->amount = amount;
  s->cpu_ns = cpu;
  return 0;
}

int bench_peer_stop(bench_peer_run_t *run) { return join(run); }
