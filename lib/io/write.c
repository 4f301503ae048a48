/* SPDX-License-Identifier: MIT
 *
 * Writing to a stream, and shutting down its writing side.
 *
 * Parties, all on the loop thread: libuv's callback, which claims with its result; whoever ends the request early,
 * which takes nothing back from libuv; the hub's drain.
 *
 * Invariants
 * 1. A write is a WRITE user of its stream while libuv has it. `uvf__end` counts what has been queued on the stream up
 *    to its end, as long as one of its users is there to count on from (it may wrap). What libuv has not given to the
 *    system yet ends with the bytes of the newest: so what is left of one is what is queued, less what came behind its
 *    end.
 * 2. What the system takes at once is written before libuv is asked to queue the rest; a request that is through with
 *    that never was libuv's.
 * 3. nwritten never goes down.
 */
#include "io/io.h"

#define TRY_MAX 16u /* a write of more pieces is queued as it is */

/* --- write ------------------------------------------------------------------------------------ */

static uvf_write_t *of(uvf_op_t *op) { return (uvf_write_t *)(void *)op; }

UVF__HELD_CALLBACKS(write, uvf_write_t)

static uvf_write_t *newest_of(const uvf_write_t *req) {
  uvf__user_t *user = uvf__user_find(uvf__ctx_hub(req->ctx), (uv_handle_t *)req->uvf__stream, UVF__USER_WRITE);
  return user != NULL ? of(user->op) : NULL;
}

void uvf__write_count(uvf__user_t *user) {
  uvf_write_t *req = of(user->op);
  size_t queue = uv_stream_get_write_queue_size(req->uvf__stream);
  size_t behind = newest_of(req)->uvf__end - req->uvf__end;
  size_t left = queue > behind ? queue - behind : 0;
  if (left > req->uvf__queued) left = req->uvf__queued; /* what is before us has not gone either */
  if (req->uvf__len - left > req->nwritten) req->nwritten = req->uvf__len - left;
}

static int withdraw(uvf_op_t *op) {
  if (of(op)->uvf__user.prev != NULL) uvf__write_count(&of(op)->uvf__user);
  return uvf__held_may_tell(op);
}

static const uvf__held_type_t write_type = {{"write", withdraw, uvf__held_deliver, NULL, 0, NULL},
                                            offsetof(uvf_write_t, uvf__held),
                                            write_has_release,
                                            write_done,
                                            write_release};

static void on_written(uv_write_t *write, int status) {
  uvf_write_t *req = UVF__CONTAINER(write, uvf_write_t, uvf__req);
  uvf_op_t *op = (uvf_op_t *)(void *)req;
  uvf__user_remove(uvf__ctx_hub(req->ctx), &req->uvf__user);
  req->uvf__held.held--;
  if (status == 0) req->nwritten = req->uvf__len;
  uvf__held_claim(op, status);
  uvf__held_settle(op);
}

/* Moves past the first n bytes. */
static unsigned int skip(uv_buf_t bufs[], unsigned int nbufs, size_t n) {
  unsigned int first = 0;
  while (first < nbufs && n >= bufs[first].len) n -= bufs[first++].len;
  if (first < nbufs) {
    bufs[first].base += n;
#ifdef _WIN32
    bufs[first].len -= (ULONG)n;
#else
    bufs[first].len -= n;
#endif
  }
  return first;
}

/* Gives libuv what the system does not take at once; 0, or libuv's error of a write of which nothing has gone. */
static int begin_writing(uvf_write_t *req, const uv_buf_t bufs[], unsigned int nbufs) {
  uv_loop_t *loop = req->uvf__stream->loop;
  const uvf_write_t *newest;
  uv_buf_t rest[TRY_MAX];
  unsigned int first = 0;
  unsigned int before;
  int err;
  if (nbufs <= TRY_MAX) {
    int n = uv_try_write(req->uvf__stream, bufs, nbufs);
    if (n > 0) {
      req->nwritten = (size_t)n;
      if (req->nwritten == req->uvf__len) return 0;
      for (unsigned int i = 0; i < nbufs; i++) rest[i] = bufs[i];
      first = skip(rest, nbufs, (size_t)n);
      bufs = rest;
    }
  }
  req->uvf__queued = req->uvf__len - req->nwritten;
  newest = newest_of(req);
  req->uvf__end = (newest != NULL ? newest->uvf__end : 0) + req->uvf__queued;
  before = loop->active_reqs.count;
  err = uv_write(&req->uvf__req, req->uvf__stream, bufs + first, nbufs - first, on_written);
  if (err == 0) {
    uvf__user_add(uvf__ctx_hub(req->ctx), &req->uvf__user, (uv_handle_t *)req->uvf__stream, UVF__USER_WRITE,
                  (uvf_op_t *)(void *)req);
    req->uvf__held.held = 1;
    uvf__write_count(&req->uvf__user); /* what has gone at once */
  } else {
    loop->active_reqs.count = before; /* libuv 1.44 counts one that it refuses for want of memory, for ever */
  }
  return err;
}

static void init(uvf_write_t *req, uv_stream_t *stream, const uv_buf_t bufs[], unsigned int nbufs) {
  req->nwritten = 0;
  req->uvf__len = 0;
  for (unsigned int i = 0; i < nbufs; i++) req->uvf__len += bufs[i].len;
  req->uvf__queued = 0;
  req->uvf__stream = stream;
  req->uvf__held.held = 0;
  req->uvf__held.told = 0;
  req->uvf__user.prev = NULL;
}

int(uvf_write_start)(uvf_ctx_t *ctx, uvf_write_t *req, uv_stream_t *stream, const uv_buf_t bufs[], unsigned int nbufs,
                     uvf_write_cb done_cb, uvf_write_release_cb release_cb) {
  uvf_op_t *op = (uvf_op_t *)(void *)req;
  uvf__hub_t *hub;
  int rc;
  if (ctx == NULL || req == NULL || stream == NULL || bufs == NULL || nbufs == 0) return UV_EINVAL;
  hub = uvf__ctx_hub(ctx);
  if (stream->loop != hub->loop || uv_is_closing((uv_handle_t *)stream)) return UV_EINVAL;
  rc = uvf__users_get(hub, "uvf_write_start");
  if (rc != 0) return rc;
  rc = uvf__op_begin(ctx, op, &write_type.op, "uvf_write_start");
  if (rc < 0) return rc;
  init(req, stream, bufs, nbufs);
  req->uvf__done = done_cb;
  req->uvf__release = release_cb;
  if (rc == 0) return 0;
  rc = begin_writing(req, bufs, nbufs);
  if (rc != 0 && req->nwritten == 0) {
    uvf__op_remove(op);
    return rc;
  }
  if (rc != 0 || req->uvf__held.held == 0) { /* through, or stuck half way */
    uvf__held_claim(op, rc);
    uvf__held_settle(op);
  }
  return 0;
}

/* --- shutdown --------------------------------------------------------------------------------- */

UVF__HELD_CALLBACKS(shutdown, uvf_shutdown_t)

static const uvf__held_type_t shutdown_type = {{"shutdown", uvf__held_may_tell, uvf__held_deliver, NULL, 0, NULL},
                                               offsetof(uvf_shutdown_t, uvf__held),
                                               shutdown_has_release,
                                               shutdown_done,
                                               shutdown_release};

static void on_shut_down(uv_shutdown_t *shutdown, int status) {
  uvf_shutdown_t *req = UVF__CONTAINER(shutdown, uvf_shutdown_t, uvf__req);
  uvf_op_t *op = (uvf_op_t *)(void *)req;
  req->uvf__held.held--;
  uvf__held_claim(op, status);
  uvf__held_settle(op);
}

int(uvf_shutdown_start)(uvf_ctx_t *ctx, uvf_shutdown_t *req, uv_stream_t *stream, uvf_shutdown_cb done_cb,
                        uvf_shutdown_release_cb release_cb) {
  uvf_op_t *op = (uvf_op_t *)(void *)req;
  int rc;
  if (ctx == NULL || req == NULL || stream == NULL) return UV_EINVAL;
  if (stream->loop != uvf__ctx_hub(ctx)->loop || uv_is_closing((uv_handle_t *)stream)) return UV_EINVAL;
  rc = uvf__op_begin(ctx, op, &shutdown_type.op, "uvf_shutdown_start");
  if (rc < 0) return rc;
  req->uvf__held.held = 0;
  req->uvf__held.told = 0;
  req->uvf__done = done_cb;
  req->uvf__release = release_cb;
  if (rc == 0) return 0;
  rc = uv_shutdown(&req->uvf__req, stream, on_shut_down);
  if (rc != 0) {
    uvf__op_remove(op);
    return rc;
  }
  req->uvf__held.held = 1;
  return 0;
}
