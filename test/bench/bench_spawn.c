/* SPDX-License-Identifier: MIT
 *
 * Rows with a process of their own: this program once more, which writes one line for each implementation to its
 * standard output:
 *   <index> <median> <min> <max> <cpu> <ratio> <ratio, low> <ratio, high>
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

typedef struct child_s {
  uv_process_t process;
  uv_pipe_t out;
  char text[2048];
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

void bench_child_report(const bench_result_t results[BENCH_MAX_IMPLS]) {
  for (int i = 0; i < BENCH_MAX_IMPLS; i++) {
    const bench_result_t *r = &results[i];
    if (!r->there) continue;
    printf("%d %.6f %.6f %.6f %.6f %.6f %.6f %.6f\n", i, r->median, r->min, r->max, r->cpu, r->ratio, r->ratio_low,
           r->ratio_high);
  }
}

static void parse(const char *text, bench_result_t results[BENCH_MAX_IMPLS]) {
  while (*text) {
    int i, used = 0;
    bench_result_t r = {.there = 1};
    int fields = sscanf(text, "%d %lf %lf %lf %lf %lf %lf %lf\n%n", &i, &r.median, &r.min, &r.max, &r.cpu, &r.ratio,
                        &r.ratio_low, &r.ratio_high, &used);
    if (fields != 8 || !used || i < 0 || i >= BENCH_MAX_IMPLS) {
      bench_fail("the child wrote something else than results", 0);
    }
    results[i] = r;
    text += used;
  }
}

void bench_spawn_row(const bench_row_t *row, const bench_options_t *o, bench_result_t results[BENCH_MAX_IMPLS]) {
  uv_loop_t loop;
  child_t c;
  char exe[4096], workers[16], row_name[64], impl[64];
  char opt_child[] = "--child", opt_row[] = "--row", opt_workers[] = "--workers", opt_quick[] = "--quick",
       opt_impl[] = "--impl";
  size_t exe_size = sizeof(exe);
  char *args[12];
  int n = 0;

  memset(&c, 0, sizeof(c));
  memset(results, 0, BENCH_MAX_IMPLS * sizeof(*results));
  bench_must("uv_exepath", uv_exepath(exe, &exe_size));
  snprintf(workers, sizeof(workers), "%u", o->workers ? o->workers : row->workers);
  snprintf(row_name, sizeof(row_name), "%s", row->name);
  snprintf(impl, sizeof(impl), "%s", o->impl ? o->impl : "");
  args[n++] = exe;
  args[n++] = opt_child;
  args[n++] = opt_row;
  args[n++] = row_name;
  if (row->workers) {
    args[n++] = opt_workers;
    args[n++] = workers;
  }
  if (o->quick) args[n++] = opt_quick;
  if (o->impl) {
    args[n++] = opt_impl;
    args[n++] = impl;
  }
  args[n] = NULL;

  bench_must("uv_loop_init", uv_loop_init(&loop));
  bench_must("uv_pipe_init", uv_pipe_init(&loop, &c.out, 0));
  c.out.data = &c;
  c.process.data = &c;
  uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE},
                                   {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&c.out},
                                   {.flags = UV_INHERIT_FD, .data.fd = 2}};
  uv_process_options_t options = {.exit_cb = on_exit_of, .file = exe, .args = args, .stdio_count = 3, .stdio = stdio};
  bench_must("uv_spawn", uv_spawn(&loop, &c.process, &options));
  bench_must("uv_read_start", uv_read_start((uv_stream_t *)&c.out, on_alloc, on_read));
  uv_run(&loop, UV_RUN_DEFAULT);
  bench_must("uv_loop_close", uv_loop_close(&loop));
  if (c.exit_status || c.signal) bench_fail("a child process has failed", 0);
  parse(c.text, results);
}
