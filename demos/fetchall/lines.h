/* SPDX-License-Identifier: MIT
 *
 * The lines of a descriptor, read on the loop: a pipe, a terminal, a socket or a file.
 *
 * It reads when it is asked to, and no more than a block ahead: who asks slowly holds up whoever writes.
 */
#ifndef FETCHALL_LINES_H
#define FETCHALL_LINES_H

#include <uvflow.h>

enum { LINES_BLOCK = 65536 };

typedef struct lines_s lines_t;

/* status 0: ask lines_next again. UV_ECANCELED: lines_cancel. UV_EMSGSIZE: a line that is longer than a block. Else the
 * error of reading. */
typedef void (*lines_cb)(lines_t *lines, int status);

/* Caller's memory, until the root of its context was closed. */
struct lines_s {
  /* private */
  uv_loop_t *loop;
  int fd;
  int is_file;
  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_pipe_t pipe;
    uv_tty_t tty;
    uv_tcp_t tcp;
  } u; /* of all but files */
  uvf_guard_t guard;
  uv_fs_t fs;  /* of files */
  lines_cb cb; /* not NULL: somebody waits */
  int cancelled, eof;
  size_t first, end; /* of what was read and not taken */
  char block[LINES_BLOCK + 1];
};

/* What it needs is closed with ctx. 0, or UV_E*. */
int lines_open(lines_t *lines, uvf_ctx_t *ctx, int fd);

/* 0: *line, without its end, valid until lines_wait. UV_EAGAIN: wait. UV_EOF: that was all. */
int lines_next(lines_t *lines, char **line);

/* Waits, after UV_EAGAIN. 0: cb will come, on the loop, never inside; or UV_E*. */
int lines_wait(lines_t *lines, lines_cb cb);

/* Ends the wait, if there is one: its cb comes with UV_ECANCELED, inside (of files: soon). */
void lines_cancel(lines_t *lines);

#endif
