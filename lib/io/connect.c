/* SPDX-License-Identifier: MIT
 *
 * Connecting: a name is resolved, then one address after the other is tried, until one answers.
 *
 * Parties, all on the loop thread: libuv's callbacks (resolved, connected, closed); the timeout of an attempt; whoever
 * ends the request early; the hub's drain.
 *
 * Invariants
 * 1. Phases: RESOLVING -> IDLE; IDLE -> CONNECTING (tcp is open, a connect under way) -> CONNECTED, the end, or CLOSING
 *    (the attempt failed, ran out of time, or nobody wants it any more) -> IDLE, when tcp is closed and the connect has
 *    called back: then the next address is tried, or the request ends. libuv owes us a callback (`held`) in RESOLVING,
 *    CONNECTING and CLOSING.
 * 2. tcp is ours, and a CONNECT user, from its init until it is closed or has been handed over connected: nobody else
 *    closes it. Closed by hand all the same, it is not closed again, and the request ends.
 * 3. The request stays PENDING over all attempts. Whoever claims it with a failure leads it to IDLE by the shortest way
 *    (uv_cancel, uv_close), where no further attempt begins.
 */
#include "io/io.h"

#define FAIR_LEAST_NS (2000 * UVF__NS_PER_MS) /* Go's saneMinimum */

enum { IDLE, RESOLVING, CONNECTING, CLOSING, CONNECTED };

static uvf_connect_t *of(uvf_op_t *op) { return (uvf_connect_t *)(void *)op; }
static uvf_op_t *op_of(uvf_connect_t *req) { return (uvf_op_t *)(void *)req; }

UVF__HELD_CALLBACKS(connect, uvf_connect_t)

static int is_pending(uvf_connect_t *req) { return uvf__u32_load(&op_of(req)->uvf__state) == UVF__OP_PENDING; }

static void next_attempt(uvf_connect_t *req);

/* Nothing is under way: the request ends with this status, if it has no other already. */
static void end(uvf_connect_t *req, int status) {
  if (req->uvf__owned != NULL) uv_freeaddrinfo(req->uvf__owned);
  req->uvf__owned = NULL;
  req->uvf__next_address = NULL;
  uvf__held_claim(op_of(req), status);
  uvf__held_settle(op_of(req));
}

/* --- closing an attempt ----------------------------------------------------------------------- */

/* The connect has called back, and tcp is closed. */
static void attempt_over(uvf_connect_t *req) {
  req->uvf__phase = IDLE;
  uvf__user_remove(uvf__ctx_hub(req->ctx), &req->uvf__user);
  if (is_pending(req)) {
    next_attempt(req);
  } else {
    end(req, UV_ECANCELED);
  }
}

static void on_closed(uv_handle_t *handle) {
  uvf__user_t *user = uvf__user_find(uvf__hub_here(handle->loop), handle, UVF__USER_CONNECT);
  uvf_connect_t *req = of(user->op);
  if (--req->uvf__held.held == 0) attempt_over(req);
}

static void close_attempt(uvf_connect_t *req) {
  uvf__timeout_stop(uvf__ctx_hub(req->ctx), &req->uvf__timeout);
  req->uvf__phase = CLOSING;
  if (uv_is_closing((uv_handle_t *)req->tcp)) return; /* invariant 2 */
  req->uvf__held.held++;
  uv_close((uv_handle_t *)req->tcp, on_closed);
}

static int withdraw(uvf_op_t *op) {
  if (of(op)->uvf__phase == RESOLVING) uv_cancel((uv_req_t *)&of(op)->uvf__req.resolve);
  if (of(op)->uvf__phase == CONNECTING) close_attempt(of(op));
  return uvf__held_may_tell(op);
}

static const uvf__held_type_t type = {{"connect", withdraw, uvf__held_deliver, NULL, 0, NULL},
                                      offsetof(uvf_connect_t, uvf__held),
                                      connect_has_release,
                                      connect_done,
                                      connect_release};

/* --- attempts --------------------------------------------------------------------------------- */

/* The error of the first address is told: it is the preferred one. */
static void note_error(uvf_connect_t *req, int err) {
  if (req->uvf__err == 0) req->uvf__err = err;
}

static void on_time_up(uvf__timeout_t *timeout) {
  uvf_connect_t *req = UVF__CONTAINER(timeout, uvf_connect_t, uvf__timeout);
  if (uv_is_closing((uv_handle_t *)req->tcp)) return; /* by hand: on_connected comes, and ends it */
  note_error(req, UV_ETIMEDOUT);
  close_attempt(req);
}

static void on_connected(uv_connect_t *connect, int status) {
  uvf_connect_t *req = UVF__CONTAINER(connect, uvf_connect_t, uvf__req.connect);
  req->uvf__held.held--;
  if (req->uvf__phase == CLOSING) {
    if (req->uvf__held.held == 0) attempt_over(req);
    return;
  }
  if (status == 0 && uvf__held_claim(op_of(req), 0)) {
    uvf__timeout_stop(uvf__ctx_hub(req->ctx), &req->uvf__timeout);
    uvf__user_remove(uvf__ctx_hub(req->ctx), &req->uvf__user);
    req->uvf__phase = CONNECTED;
    end(req, 0);
    return;
  }
  if (status != 0) note_error(req, status);
  if (uv_is_closing((uv_handle_t *)req->tcp)) { /* by hand: somebody wants no connection */
    uvf__timeout_stop(uvf__ctx_hub(req->ctx), &req->uvf__timeout);
    req->uvf__next_address = NULL;
    req->uvf__held.held = 0;
    attempt_over(req);
    return;
  }
  close_attempt(req);
}

static int is_usable(const struct addrinfo *address) {
  return address->ai_family == AF_INET || address->ai_family == AF_INET6;
}

static uint64_t count_usable(const struct addrinfo *address) {
  uint64_t n = 0;
  for (; address != NULL; address = address->ai_next) n += is_usable(address) != 0;
  return n;
}

/* When this attempt must be over; UINT64_MAX: with the context. */
static uint64_t attempt_deadline(const uvf_connect_t *req) {
  uint64_t deadline_ns = uvf_ctx_deadline_ns(req->ctx);
  uint64_t others = count_usable(req->uvf__next_address);
  uint64_t now_ns;
  uint64_t fair_ns;
  if (req->uvf__attempt_ms == 0 && (deadline_ns == UVF_NO_DEADLINE || others == 0)) return UINT64_MAX;
  now_ns = uvf__clock_ns();
  if (req->uvf__attempt_ms > 0) return uvf__after_ms(now_ns, req->uvf__attempt_ms);
  if (deadline_ns <= now_ns) return now_ns;
  fair_ns = (deadline_ns - now_ns) / (1 + others);
  if (fair_ns < FAIR_LEAST_NS) fair_ns = FAIR_LEAST_NS;
  return fair_ns < deadline_ns - now_ns ? now_ns + fair_ns : UINT64_MAX;
}

/* 0, or why not. On an error tcp is being closed, or was never opened (IDLE). */
static int begin_attempt(uvf_connect_t *req, const struct addrinfo *address) {
  uvf__hub_t *hub = uvf__ctx_hub(req->ctx);
  int err;
  req->attempts++;
  err = uv_tcp_init(hub->loop, req->tcp);
  if (err != 0) return err;
  uvf__user_add(hub, &req->uvf__user, (uv_handle_t *)req->tcp, UVF__USER_CONNECT, op_of(req));
  req->uvf__phase = CONNECTING;
  err = uv_tcp_connect(&req->uvf__req.connect, req->tcp, address->ai_addr, on_connected);
  if (err != 0) {
    close_attempt(req);
    return err;
  }
  req->uvf__held.held++;
  uvf__timeout_start(hub, &req->uvf__timeout, attempt_deadline(req), on_time_up);
  return 0;
}

static void next_attempt(uvf_connect_t *req) {
  while (req->uvf__next_address != NULL && uvf__ctx_err(req->ctx) == 0) {
    const struct addrinfo *address = req->uvf__next_address;
    int err;
    req->uvf__next_address = address->ai_next;
    if (!is_usable(address)) continue;
    err = begin_attempt(req, address);
    if (err != 0) note_error(req, err);
    if (req->uvf__phase != IDLE) return;
  }
  end(req, req->uvf__err != 0 ? req->uvf__err : UV_EADDRNOTAVAIL);
}

/* --- start ------------------------------------------------------------------------------------ */

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses) {
  uvf_connect_t *req = UVF__CONTAINER(resolve, uvf_connect_t, uvf__req.resolve);
  req->uvf__held.held--;
  req->uvf__phase = IDLE;
  req->uvf__owned = addresses;
  req->uvf__next_address = addresses;
  if (status != 0) note_error(req, status);
  if (is_pending(req)) {
    next_attempt(req);
    return;
  }
  end(req, status);
}

static int begin(uvf_ctx_t *ctx, uvf_connect_t *req, uv_tcp_t *tcp, const uvf_connect_options_t *options,
                 uvf_connect_cb done_cb, uvf_connect_release_cb release_cb, const char *function) {
  int rc = uvf__users_get(uvf__ctx_hub(ctx), function);
  if (rc == 0) rc = uvf__op_begin(ctx, op_of(req), &type.op, function);
  if (rc < 0) return rc;
  req->tcp = tcp;
  req->attempts = 0;
  req->uvf__phase = IDLE;
  req->uvf__err = 0;
  req->uvf__attempt_ms = options != NULL ? options->attempt_ms : 0;
  req->uvf__next_address = NULL;
  req->uvf__owned = NULL;
  req->uvf__held.held = 0;
  req->uvf__held.told = 0;
  req->uvf__done = done_cb;
  req->uvf__release = release_cb;
  req->uvf__timeout.deadline.link.prev = NULL;
  req->uvf__user.prev = NULL;
  return rc;
}

int(uvf_tcp_connect)(uvf_ctx_t *ctx, uvf_connect_t *req, uv_tcp_t *tcp, const struct addrinfo *addresses,
                     const uvf_connect_options_t *options, uvf_connect_cb done_cb, uvf_connect_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || tcp == NULL || addresses == NULL) return UV_EINVAL;
  rc = begin(ctx, req, tcp, options, done_cb, release_cb, "uvf_tcp_connect");
  if (rc < 0) return rc;
  req->uvf__next_address = addresses;
  if (rc > 0) next_attempt(req);
  return 0;
}

int(uvf_tcp_dial)(uvf_ctx_t *ctx, uvf_connect_t *req, uv_tcp_t *tcp, const char *node, const char *service,
                  const uvf_connect_options_t *options, uvf_connect_cb done_cb, uvf_connect_release_cb release_cb) {
  struct addrinfo hints = {0};
  int rc;
  if (ctx == NULL || req == NULL || tcp == NULL || (node == NULL && service == NULL)) return UV_EINVAL;
  rc = begin(ctx, req, tcp, options, done_cb, release_cb, "uvf_tcp_dial");
  if (rc <= 0) return rc;
  hints.ai_family = options != NULL ? options->family : AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  rc = uv_getaddrinfo(uvf__ctx_hub(ctx)->loop, &req->uvf__req.resolve, on_resolved, node, service, &hints);
  if (rc != 0) {
    uvf__op_remove(op_of(req));
    return rc;
  }
  req->uvf__phase = RESOLVING;
  req->uvf__held.held = 1;
  return 0;
}
