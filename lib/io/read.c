/* SPDX-License-Identifier: MIT
 *
 * Reading from a stream, one request at a time.
 *
 * Parties, all on the loop thread: libuv's two callbacks, which find the request by the stream's address; the two
 * timeouts of the request; whoever ends it early; the hub's drain.
 *
 * Invariants
 * 1. A request is a READ user of its stream exactly while libuv reads the stream for it, which is while it is PENDING:
 *    whoever claims it stops that. (To let libuv read on for the next request, which the callback commonly starts, was
 *    tried and saved nothing that could be measured.)
 * 2. Bytes go into the buffer only while the context lives: else on_alloc gives none, libuv says UV_ENOBUFS, and the
 *    request is over. So no byte is read that nobody counts.
 * 3. The timeouts are stopped when the request is claimed.
 */
#include "io/io.h"

static uvf_op_t *op_of(uvf_read_t *req) { return (uvf_op_t *)(void *)req; }
static uvf_read_t *of(uvf_op_t *op) { return (uvf_read_t *)(void *)op; }
static uv_stream_t *stream_of(const uvf_read_t *req) { return (uv_stream_t *)(uintptr_t)req->uvf__user.handle; }

static void stop_reading(uvf_read_t *req) {
  if (req->uvf__user.prev == NULL) return;
  uvf__user_remove(uvf__ctx_hub(req->ctx), &req->uvf__user);
  uv_read_stop(stream_of(req));
}

static void stop_limits(uvf_read_t *req) {
  uvf__hub_t *hub = uvf__ctx_hub(req->ctx);
  uvf__timeout_stop(hub, &req->uvf__idle);
  uvf__timeout_stop(hub, &req->uvf__total);
}

static int withdraw(uvf_op_t *op) {
  stop_reading(of(op));
  stop_limits(of(op));
  return 1;
}

static int deliver(uvf_op_t *op) {
  uvf_read_t *req = of(op);
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  req->uvf__cb(req, op->status);
  return 1;
}

static const uvf__op_type_t read_type = {"read", withdraw, deliver, NULL, 0, NULL};

/* It is over with this status, and the limit that ended it, if one did; but if its context is over, which is also what
 * UV_ENOBUFS means here, with the err of that. */
static void complete(uvf_read_t *req, int status, int limit) {
  int err;
  if (!uvf__op_claim(op_of(req))) return;
  err = uvf__ctx_err(req->ctx);
  req->status = err != 0 ? err : status;
  if (err == 0) req->limit = limit;
  withdraw(op_of(req));
  uvf__op_ready(op_of(req));
}

/* --- limits ----------------------------------------------------------------------------------- */

static void start_idle(uvf_read_t *req, uint64_t now_ns);

/* It is not set back with every piece, which would cost a move in the wheel each: it looks when it rings. */
static void on_idle(uvf__timeout_t *timeout) {
  uvf_read_t *req = UVF__CONTAINER(timeout, uvf_read_t, uvf__idle);
  uint64_t now_ns = uvf__clock_ns();
  if (now_ns - req->uvf__idle_from_ns >= req->uvf__idle_ms * UVF__NS_PER_MS) {
    complete(req, UV_ETIMEDOUT, UVF_READ_IDLE);
  } else {
    start_idle(req, req->uvf__idle_from_ns);
  }
}

static void on_total(uvf__timeout_t *timeout) {
  complete(UVF__CONTAINER(timeout, uvf_read_t, uvf__total), UV_ETIMEDOUT, UVF_READ_TOTAL);
}

static void start_idle(uvf_read_t *req, uint64_t now_ns) {
  uvf__timeout_start(uvf__ctx_hub(req->ctx), &req->uvf__idle, uvf__after_ms(now_ns, req->uvf__idle_ms), on_idle);
}

static void start_limits(uvf_read_t *req, uint64_t total_ms) {
  uint64_t now_ns;
  if (req->uvf__idle_ms == 0 && total_ms == 0) return;
  now_ns = uvf__clock_ns();
  req->uvf__idle_from_ns = now_ns;
  if (req->uvf__idle_ms > 0) start_idle(req, now_ns);
  if (total_ms > 0)
    uvf__timeout_start(uvf__ctx_hub(req->ctx), &req->uvf__total, uvf__after_ms(now_ns, total_ms), on_total);
}

/* --- libuv's callbacks ------------------------------------------------------------------------ */

/* Who reads this stream; NULL: nobody any more (libuv asks for one more buffer in a loop of its own). */
static uvf_read_t *reader_of(const uv_handle_t *handle) {
  uvf__user_t *user = uvf__user_find(uvf__hub_here(handle->loop), handle, UVF__USER_READ);
  return user != NULL ? of(user->op) : NULL;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  uvf_read_t *req = reader_of(handle);
  (void)suggested;
  *buf = uv_buf_init(NULL, 0);
  if (req == NULL || uvf__ctx_err(req->ctx) != 0) return;
  buf->base = req->uvf__buf + req->nread;
#ifdef _WIN32
  buf->len = (ULONG)(req->uvf__len - req->nread > INT32_MAX ? INT32_MAX : req->uvf__len - req->nread);
#else
  buf->len = req->uvf__len - req->nread;
#endif
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  uvf_read_t *req = reader_of((uv_handle_t *)stream);
  (void)buf;
  if (req == NULL || nread == 0) return; /* 0: would have blocked */
  if (nread < 0) {
    complete(req, (int)nread, 0);
    return;
  }
  req->nread += (size_t)nread;
  if (req->nread < req->uvf__min) {
    if (req->uvf__idle_ms > 0) req->uvf__idle_from_ns = uvf__clock_ns();
    return;
  }
  complete(req, 0, 0);
}

/* --- start ------------------------------------------------------------------------------------ */

static int begin_reading(uvf_read_t *req, uv_stream_t *stream) {
  uvf__hub_t *hub = uvf__ctx_hub(req->ctx);
  int err;
  /* First: on Windows libuv asks for the buffer of a console inside uv_read_start. */
  uvf__user_add(hub, &req->uvf__user, (uv_handle_t *)stream, UVF__USER_READ, op_of(req));
  err = uv_read_start(stream, on_alloc, on_read);
  if (err != 0) uvf__user_remove(hub, &req->uvf__user);
  return err;
}

int(uvf_read_start)(uvf_ctx_t *ctx, uvf_read_t *req, uv_stream_t *stream, void *buf, size_t len,
                    const uvf_read_limits_t *limits, uvf_read_cb cb) {
  size_t min = limits != NULL && limits->min > 0 ? limits->min : 1;
  uvf__hub_t *hub;
  int rc;
  if (ctx == NULL || req == NULL || stream == NULL || buf == NULL || cb == NULL || len == 0 || min > len)
    return UV_EINVAL;
  hub = uvf__ctx_hub(ctx);
  if (stream->loop != hub->loop || uv_is_closing((uv_handle_t *)stream)) return UV_EINVAL;
  rc = uvf__users_get(hub, "uvf_read_start");
  if (rc != 0) return rc;
  if (uvf__user_find(hub, (uv_handle_t *)stream, UVF__USER_READ) != NULL) return UV_EALREADY;
  rc = uvf__op_begin(ctx, op_of(req), &read_type, "uvf_read_start");
  if (rc < 0) return rc;
  req->nread = 0;
  req->limit = 0;
  req->uvf__buf = buf;
  req->uvf__len = len;
  req->uvf__min = min;
  req->uvf__idle_ms = limits != NULL ? limits->idle_ms : 0;
  req->uvf__cb = cb;
  req->uvf__user.prev = NULL;
  req->uvf__idle.deadline.link.prev = NULL;
  req->uvf__total.deadline.link.prev = NULL;
  if (rc == 0) return 0;
  rc = begin_reading(req, stream);
  if (rc != 0) {
    uvf__op_remove(op_of(req));
    return rc;
  }
  start_limits(req, limits != NULL ? limits->total_ms : 0);
  return 0;
}
