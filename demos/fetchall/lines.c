/* SPDX-License-Identifier: MIT */
#include "lines.h"

#include <string.h>

#include "../fanout/common.h"

static void end_wait(lines_t *lines, int status) {
  lines_cb cb = lines->cb;
  lines->cb = NULL;
  cb(lines, lines->cancelled ? UV_ECANCELED : status);
}

/* n bytes more are in the block, or none will be. 1: the wait is over, with *status. */
static int arrived(lines_t *lines, ssize_t n, int *status) {
  *status = 0;
  if (n < 0) {
    lines->eof = n == UV_EOF;
    *status = lines->eof ? 0 : (int)n;
    return 1;
  }
  const char *at = lines->block + lines->end;
  lines->end += (size_t)n;
  if (memchr(at, '\n', (size_t)n)) return 1;
  if (lines->end < LINES_BLOCK) return lines->cancelled;
  *status = UV_EMSGSIZE;
  return 1;
}

static uv_buf_t room(lines_t *lines) {
  return uv_buf_init(lines->block + lines->end, (unsigned int)(LINES_BLOCK - lines->end));
}

/* --- a stream --------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)suggested;
  *buf = room(container_of(handle, lines_t, u.handle));
}

/* Called by libuv. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  lines_t *lines = container_of(stream, lines_t, u.stream);
  int status;
  (void)buf;
  if (!arrived(lines, n, &status)) return;
  uv_read_stop(stream);
  end_wait(lines, status);
}

static int open_stream(lines_t *lines, uvf_ctx_t *ctx, uv_handle_type type) {
  int err = type == UV_TTY   ? uv_tty_init(lines->loop, &lines->u.tty, lines->fd, 1)
            : type == UV_TCP ? uv_tcp_init(lines->loop, &lines->u.tcp)
                             : uv_pipe_init(lines->loop, &lines->u.pipe, 0);
  if (err) return err;
  if ((err = uvf_guard_start(ctx, &lines->guard, &lines->u.handle, NULL))) {
    uv_close(&lines->u.handle, NULL);
    return err;
  }
  if (type == UV_TTY) return 0;
  return type == UV_TCP ? uv_tcp_open(&lines->u.tcp, lines->fd) : uv_pipe_open(&lines->u.pipe, lines->fd);
}

/* --- a file ----------------------------------------------------------------------------------- */

static int read_file(lines_t *lines);

/* Called by libuv. */
static void on_file_read(uv_fs_t *fs) {
  lines_t *lines = container_of(fs, lines_t, fs);
  ssize_t n = fs->result == 0 ? UV_EOF : fs->result;
  int status, over = arrived(lines, n, &status);
  uv_fs_req_cleanup(fs);
  if (!over && (status = read_file(lines)) == 0) return;
  end_wait(lines, status);
}

static int read_file(lines_t *lines) {
  uv_buf_t buf = room(lines);
  return uv_fs_read(lines->loop, &lines->fs, lines->fd, &buf, 1, -1, on_file_read);
}

/* --- both ------------------------------------------------------------------------------------- */

int lines_open(lines_t *lines, uvf_ctx_t *ctx, int fd) {
  uv_handle_type type = uv_guess_handle(fd);
  memset(lines, 0, sizeof(*lines));
  lines->loop = uvf_ctx_loop(ctx);
  lines->fd = fd;
  lines->is_file = type == UV_FILE;
  if (type == UV_UNKNOWN_HANDLE || type == UV_UDP) return UV_EBADF;
  return lines->is_file ? 0 : open_stream(lines, ctx, type);
}

int lines_next(lines_t *lines, char **line) {
  char *at = lines->block + lines->first;
  size_t left = lines->end - lines->first;
  char *newline = memchr(at, '\n', left);
  if (!newline && !lines->eof) return UV_EAGAIN;
  if (!newline && !left) return UV_EOF;
  if (!newline) newline = at + left; /* the last one has no end */
  lines->first += (size_t)(newline - at);
  if (lines->first < lines->end) lines->first++;
  *newline = '\0';
  *line = at;
  return 0;
}

int lines_wait(lines_t *lines, lines_cb cb) {
  lines->end -= lines->first;
  memmove(lines->block, lines->block + lines->first, lines->end);
  lines->first = 0;
  lines->cb = cb;
  int err = lines->is_file ? read_file(lines) : uv_read_start(&lines->u.stream, on_alloc, on_read);
  if (err) lines->cb = NULL;
  return err;
}

void lines_cancel(lines_t *lines) {
  if (!lines->cb) return;
  lines->cancelled = 1;
  if (lines->is_file) {
    uv_cancel((uv_req_t *)&lines->fs); /* UV_EBUSY: it is being read, and a file does not keep one waiting */
  } else {
    uv_read_stop(&lines->u.stream);
    end_wait(lines, UV_ECANCELED);
  }
}
