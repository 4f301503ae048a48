/* SPDX-License-Identifier: MIT
 *
 * A child process and its lines, on a loop of its own that turns only while something is wanted of it: meanwhile nothing
 * of it runs here. What has been spawned is waited for before its loop is closed.
 */
#include "bench_child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct bench_child_s {
  uv_loop_t loop;
  uv_process_t process;
  uv_pipe_t in;
  uv_pipe_t out;
  char *text; /* what it has written and nobody has read */
  size_t size;
  size_t length;
  int ended; /* its output has come to an end */
  int64_t exit_status;
  int signal;
};

static void on_exit_of(uv_process_t *process, int64_t exit_status, int term_signal) {
  bench_child_t *run = process->data;
  run->exit_status = exit_status;
  run->signal = term_signal;
  uv_close((uv_handle_t *)process, NULL);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  bench_child_t *run = handle->data;
  (void)suggested;
  *buf = uv_buf_init(run->text + run->length, (unsigned int)(run->size - 1 - run->length));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  bench_child_t *run = stream->data;
  (void)buf;
  if (n < 0) {
    run->ended = 1;
    uv_close((uv_handle_t *)stream, NULL);
    return;
  }
  run->length += (size_t)n;
  run->text[run->length] = '\0';
}

bench_child_t *bench_child_start(const char *program, const char *const *args, size_t size) {
  bench_child_t *run = bench_alloc(1, sizeof(*run));
  char *argv[20];
  int n = 0;

  memset(run, 0, sizeof(*run));
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
    run->ended = 1;
    run->exit_status = 127;
    uv_close((uv_handle_t *)&run->process, NULL);
    uv_close((uv_handle_t *)&run->out, NULL);
  } else {
    bench_must("uv_read_start", uv_read_start((uv_stream_t *)&run->out, on_alloc, on_read));
  }
  return run;
}

int bench_child_end(bench_child_t *run) {
  int code;
  if (!uv_is_closing((uv_handle_t *)&run->in)) uv_close((uv_handle_t *)&run->in, NULL);
  uv_run(&run->loop, UV_RUN_DEFAULT);
  bench_must("uv_loop_close", uv_loop_close(&run->loop));
  code = run->signal ? 128 + run->signal : (int)run->exit_status;
  free(run->text);
  free(run);
  return code;
}

static void on_written(uv_write_t *req, int status) { *(int *)req->data = status; }

int bench_child_say(bench_child_t *run, const char *text) {
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned int)strlen(text)); /* not changed */
  uv_write_t req;
  int status = UV_EBUSY;
  req.data = &status;
  int err = uv_write(&req, (uv_stream_t *)&run->in, &buf, 1, on_written);
  while (!err && status == UV_EBUSY) uv_run(&run->loop, UV_RUN_ONCE);
  return err ? err : status;
}

int bench_child_line(bench_child_t *run, char *line, size_t size) {
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
