/* SPDX-License-Identifier: MIT
 *
 * Rows with a process of their own: this program once more, which writes one line for each implementation to its
 * standard output, peers' ones after the row's own:
 *   <index> <samples> <median> <min> <max> <cpu> <ratio> <ratio, low> <ratio, high>
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

typedef struct child_s {
  uv_process_t process;
  uv_pipe_t out;
  char text[8192];
  size_t length;
  int64_t exit_status;
  int signal;
} child_t;

static void on_exit_of(uv_process_t *process, int64_t exit_status, int term_signal) {
  child_t *c = process->data;
  c->exit_status = exit_status;
  c->signal = term_signal;
  uv_close((uv_handle_t *)process, NULL);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  child_t *c = handle->data;
  (void)suggested;
  *buf = uv_buf_init(c->text + c->length, (unsigned int)(sizeof(c->text) - 1 - c->length));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  child_t *c = stream->data;
  (void)buf;
  if (n < 0) {
    if (n != UV_EOF) bench_fail("reading from the child", (int)n);
    uv_close((uv_handle_t *)stream, NULL);
    return;
  }
  c->length += (size_t)n;
}

void bench_child_report(const bench_outcome_t *outcome) {
  for (int i = 0; i < outcome->lanes; i++) {
    const bench_result_t *r = &outcome->results[i];
    if (!r->there) continue;
    printf("%d %d %.6f %.6f %.6f %.6f %.6f %.6f %.6f\n", i, r->samples, r->median, r->min, r->max, r->cpu, r->ratio,
           r->ratio_low, r->ratio_high);
  }
}

static void parse(const char *text, bench_outcome_t *outcome) {
  while (*text) {
    int i, used = 0;
    bench_result_t r = {.there = 1};
    int fields = sscanf(text, "%d %d %lf %lf %lf %lf %lf %lf %lf\n%n", &i, &r.samples, &r.median, &r.min, &r.max,
                        &r.cpu, &r.ratio, &r.ratio_low, &r.ratio_high, &used);
    if (fields != 9 || !used || i < 0 || i >= outcome->lanes) {
      bench_fail("the child wrote something else than results", 0);
    }
    outcome->results[i] = r;
    text += used;
  }
}

/* This program's arguments for the row. libuv takes them as they are in POSIX: not const, and not changed. */
static void arguments(const bench_row_t *row, const bench_options_t *o, char *workers, const char *args[]) {
  int n = 1;
  args[n++] = "--child";
  args[n++] = "--row";
  args[n++] = row->name;
  if (row->workers) {
    args[n++] = "--workers";
    args[n++] = workers;
  }
  if (o->quick) args[n++] = "--quick";
  if (o->impl) {
    args[n++] = "--impl";
    args[n++] = o->impl;
  }
  if (o->peers) {
    args[n++] = "--peers";
    args[n++] = o->peers;
  }
  args[n] = NULL;
}

void bench_spawn_row(const bench_row_t *row, const bench_options_t *o, bench_outcome_t *outcome) {
  uv_loop_t loop;
  child_t c;
  char exe[4096], workers[16];
  size_t exe_size = sizeof(exe);
  const char *args[12] = {exe};

  memset(&c, 0, sizeof(c));
  bench_outcome_init(row, outcome);
  bench_must("uv_exepath", uv_exepath(exe, &exe_size));
  snprintf(workers, sizeof(workers), "%u", o->workers ? o->workers : row->workers);
  arguments(row, o, workers, args);

  bench_must("uv_loop_init", uv_loop_init(&loop));
  bench_must("uv_pipe_init", uv_pipe_init(&loop, &c.out, 0));
  c.out.data = &c;
  c.process.data = &c;
  uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
                                   {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&c.out},
                                   {.flags = UV_INHERIT_FD, .data.fd = 2}};
  uv_process_options_t options = {
      .exit_cb = on_exit_of, .file = exe, .args = (char **)(uintptr_t)args, .stdio_count = 3, .stdio = stdio};
  bench_must("uv_spawn", uv_spawn(&loop, &c.process, &options));
  bench_must("uv_read_start", uv_read_start((uv_stream_t *)&c.out, on_alloc, on_read));
  uv_run(&loop, UV_RUN_DEFAULT);
  bench_must("uv_loop_close", uv_loop_close(&loop));
  if ((c.exit_status != 0 && c.exit_status != BENCH_EXIT_PEER) || c.signal) {
    bench_fail("a child process has failed", 0);
  }
  if (c.exit_status == BENCH_EXIT_PEER) bench_failed = 1;
  parse(c.text, outcome);
}
