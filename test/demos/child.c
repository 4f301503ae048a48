/* SPDX-License-Identifier: MIT */
#include "child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- texts --------------------------------------------------------------------------------------------------- */

void text_add(text_t *text, const char *data, size_t len) {
  if (text->len + len + 1 > text->room) {
    text->room = (text->len + len + 1) * 2;
    text->at = realloc(text->at, text->room);
    if (!text->at) abort();
  }
  memcpy(text->at + text->len, data, len);
  text->len += len;
  text->at[text->len] = '\0';
}

void text_free(text_t *text) {
  free(text->at);
  memset(text, 0, sizeof(*text));
}

static const char *text_of(const text_t *text) { return text->at ? text->at : ""; }

void assert_has(const text_t *text, const char *part) {
  if (strstr(text_of(text), part)) return;
  print_error("no \"%s\" in:\n%.4000s\n", part, text_of(text));
  fail();
}

void assert_has_not(const text_t *text, const char *part) {
  if (!strstr(text_of(text), part)) return;
  print_error("\"%s\" in:\n%.4000s\n", part, text_of(text));
  fail();
}

size_t count_lines(const text_t *text, const char *first, const char *second) {
  size_t n = 0;
  for (const char *line = text_of(text); *line;) {
    size_t len = strcspn(line, "\n");
    char *copy = malloc(len + 1);
    if (!copy) abort();
    memcpy(copy, line, len);
    copy[len] = '\0';
    if (strstr(copy, first) && (!second || strstr(copy, second))) n++;
    free(copy);
    line += len + (line[len] == '\n');
  }
  return n;
}

/* --- the child ----------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) {
  child_t *child = handle->data;
  child->open--;
}

static void close_handle(uv_handle_t *handle) {
  if (!uv_is_closing(handle)) uv_close(handle, on_closed);
}

static void on_exit_of_child(uv_process_t *process, int64_t exit_status, int signal) {
  child_t *child = container_of(process, child_t, process);
  child->exit_status = exit_status;
  child->signal = signal;
  child->took_ns = uv_hrtime() - child->began_ns;
  close_handle((uv_handle_t *)process);
  /* One that was never read has no end of file to be closed at. */
  if (child->hold_output) close_handle((uv_handle_t *)&child->pipes[1]);
  if (child->input) close_handle((uv_handle_t *)&child->pipes[0]);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle;
  *buf = uv_buf_init(malloc(suggested), (unsigned int)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  child_t *child = stream->data;
  text_t *text = stream == (uv_stream_t *)&child->pipes[1] ? &child->out : &child->err;
  if (n > 0) text_add(text, buf->base, (size_t)n);
  free(buf->base);
  if (n < 0) close_handle((uv_handle_t *)stream);
  if (child->interrupt_at && !child->interrupted && text == &child->err && strstr(text_of(text), child->interrupt_at)) {
    child->interrupted = 1;
    child_interrupt(child);
  }
}

static void on_written(uv_write_t *write, int status) {
  child_t *child = container_of(write, child_t, write);
  (void)status; /* the child may have ended without reading all */
  close_handle((uv_handle_t *)&child->pipes[0]);
}

void child_start(child_t *child, uv_loop_t *loop) {
  uv_stdio_container_t stdio[3];
  uv_process_options_t options;
  memset(&options, 0, sizeof(options));
  memset(&child->process, 0, sizeof(child->process));
  memset(stdio, 0, sizeof(stdio));
  text_free(&child->out);
  text_free(&child->err);
  child->interrupted = 0;
  child->open = 1;
  for (int i = 0; i < 3; i++) {
    if (i == 0 && !child->input) continue; /* UV_IGNORE is 0: /dev/null */
    assert_int_equal(uv_pipe_init(loop, &child->pipes[i], 0), 0);
    child->pipes[i].data = child;
    child->open++;
    stdio[i].flags = UV_CREATE_PIPE | (i == 0 ? UV_READABLE_PIPE : UV_WRITABLE_PIPE);
    stdio[i].data.stream = (uv_stream_t *)&child->pipes[i];
  }
  options.file = child->argv[0];
  options.args = (char **)(uintptr_t)child->argv;
  options.exit_cb = on_exit_of_child;
  options.stdio = stdio;
  options.stdio_count = 3;
  child->process.data = child;
  child->began_ns = uv_hrtime();
  assert_int_equal(uv_spawn(loop, &child->process, &options), 0);
  if (child->input) {
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)child->input, (unsigned int)strlen(child->input));
    assert_int_equal(uv_write(&child->write, (uv_stream_t *)&child->pipes[0], &buf, 1, on_written), 0);
  }
  if (!child->hold_output) assert_int_equal(uv_read_start((uv_stream_t *)&child->pipes[1], on_alloc, on_read), 0);
  assert_int_equal(uv_read_start((uv_stream_t *)&child->pipes[2], on_alloc, on_read), 0);
}

void child_wait(child_t *child, uv_loop_t *loop) {
  while (child->open) uv_run(loop, UV_RUN_ONCE); /* the time limit is ctest's */
}

void child_interrupt(child_t *child) { assert_int_equal(uv_process_kill(&child->process, SIGINT), 0); }

void child_free(child_t *child) {
  text_free(&child->out);
  text_free(&child->err);
}
