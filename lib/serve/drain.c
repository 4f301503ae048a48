/* SPDX-License-Identifier: MIT
 *
 * How a server ends, step by step; and the ledger of its requests and connections.
 *
 * Parties, all on the loop thread: those who enter and leave; the timeout of a step; whoever hurries or gives up the
 * drain; the hub, which delivers its end.
 *
 * Invariants
 * 1. `step` only goes up. From the start on it is changed by advance() alone, which is not entered twice: what on_step
 *    brings about is seen by the advance() it stands in.
 * 2. A step is over when it is due (its limit, uvf_drain_next), or, from CLOSE_IDLE on, when nothing is open.
 * 3. The cancels of a step run no callback of the user's: the lists do not change while they are walked.
 * 4. Each context is cancelled at most once for each of: request cancelled, connection closed or forced.
 * 5. The first step begins in a ring of the timeout: never inside the start.
 * 6. Its end is not told while a step begins, not even by a loop that on_step runs: so the drain is still there when
 *    on_step returns. A drain that is given up meanwhile stays CLAIMED until then.
 */
#include <string.h>

#include "kernel/context.h"
#include "uvflow/serve.h"

enum { UNTOLD = 0, TOLD = 1 }; /* uvf_drain_conn_t.uvf__told: its context was cancelled */

/* --- cancelling ------------------------------------------------------------------------------- */

static int cause_of(const uvf_drain_t *drain) {
  return drain->uvf__options.cause != 0 ? drain->uvf__options.cause : UV_ESHUTDOWN;
}

static int is_live(const uvf_ctx_t *ctx) { return ctx != NULL && uvf_ctx_err(ctx) == 0; }

/* What is over already is on its way out, and not by us. */
static void tell_conn(uvf_drain_t *drain, uvf_drain_conn_t *conn, uint64_t *counter) {
  if (conn->uvf__told == TOLD || !is_live(conn->ctx)) return;
  conn->uvf__told = TOLD;
  ++*counter;
  uvf_ctx_cancel_cause(conn->ctx, cause_of(drain), NULL);
}

static void close_idle(uvf_drain_t *drain) {
  for (uvf__link_t *l = drain->uvf__conns; l != NULL; l = l->next) {
    uvf_drain_conn_t *conn = UVF__CONTAINER(l, uvf_drain_conn_t, uvf__link);
    if (conn->requests == 0) tell_conn(drain, conn, &drain->closed);
  }
}

/* Counted first: several may have one context. */
static void cancel_requests(uvf_drain_t *drain) {
  for (uvf__link_t *l = drain->uvf__requests; l != NULL; l = l->next)
    drain->cancelled += is_live(UVF__CONTAINER(l, uvf_drain_request_t, uvf__link)->ctx) != 0;
  for (uvf__link_t *l = drain->uvf__requests; l != NULL; l = l->next) {
    uvf_drain_request_t *request = UVF__CONTAINER(l, uvf_drain_request_t, uvf__link);
    if (is_live(request->ctx)) uvf_ctx_cancel_cause(request->ctx, cause_of(drain), NULL);
  }
}

static void force_conns(uvf_drain_t *drain) {
  for (uvf__link_t *l = drain->uvf__conns; l != NULL; l = l->next) {
    tell_conn(drain, UVF__CONTAINER(l, uvf_drain_conn_t, uvf__link), &drain->forced);
  }
}

/* --- steps ------------------------------------------------------------------------------------ */

static void advance(uvf_drain_t *drain);

static int is_pending(uvf_drain_t *drain) { return uvf__u32_load(&drain->uvf__state) == UVF__OP_PENDING; }

static int is_empty(const uvf_drain_t *drain) { return drain->requests == 0 && drain->connections == 0; }

static int is_step_over(const uvf_drain_t *drain) {
  return drain->uvf__due || (drain->step >= UVF_DRAIN_CLOSE_IDLE && is_empty(drain));
}

static void on_limit(uvf__timeout_t *timeout) {
  uvf_drain_t *drain = UVF__CONTAINER(timeout, uvf_drain_t, uvf__timeout);
  uvf__hub_ring_user(uvf__ctx_hub(drain->ctx));
  drain->uvf__due = 1;
  advance(drain);
}

static void start_limit(uvf_drain_t *drain, uint64_t limit_ms) {
  if (limit_ms == 0) {
    drain->uvf__due = 1;
  } else {
    uvf__timeout_start(uvf__ctx_hub(drain->ctx), &drain->uvf__timeout, uvf__after_ms(uvf__clock_ns(), limit_ms),
                       on_limit);
  }
}

static void begin_step(uvf_drain_t *drain, uvf_drain_step_t step) {
  drain->step = step;
  drain->uvf__due = 0;
  uvf__timeout_stop(uvf__ctx_hub(drain->ctx), &drain->uvf__timeout);
  if (step < UVF_DRAIN_OVER) start_limit(drain, drain->uvf__options.limit_ms[step]);
  if (step == UVF_DRAIN_CLOSE_IDLE) close_idle(drain);
  if (step == UVF_DRAIN_CANCEL) cancel_requests(drain);
  if (step == UVF_DRAIN_FORCE_CLOSE) force_conns(drain);
  if (drain->uvf__options.on_step != NULL) drain->uvf__options.on_step(drain, step);
}

static void finish(uvf_drain_t *drain) {
  uvf_op_t *op = (uvf_op_t *)(void *)drain;
  int err;
  if (!uvf__op_claim(op)) return;
  err = uvf__ctx_err(drain->ctx);
  if (err == 0 && (drain->cancelled > 0 || drain->forced > 0 || !is_empty(drain))) err = UV_ETIMEDOUT;
  op->status = err;
  uvf__op_ready(op);
}

/* Goes through the steps that are over. The drain may be gone afterwards. */
static void move(uvf_drain_t *drain) {
  uvf_op_t *op = (uvf_op_t *)(void *)drain;
  while (is_pending(drain) && drain->step < UVF_DRAIN_OVER && is_step_over(drain))
    begin_step(drain, (uvf_drain_step_t)(drain->step + 1));
  drain->uvf__moving = 0;
  if (!is_pending(drain)) {
    if (uvf__u32_load(&drain->uvf__state) == UVF__OP_CLAIMED) uvf__op_ready(op); /* given up meanwhile: invariant 6 */
  } else if (drain->step == UVF_DRAIN_OVER) {
    finish(drain);
  }
}

static void advance(uvf_drain_t *drain) {
  if (drain->uvf__moving) return;
  drain->uvf__moving = 1;
  move(drain);
}

static void begin(uvf_drain_t *drain, int hurry) {
  drain->uvf__moving = 1;
  begin_step(drain, UVF_DRAIN_NOT_READY);
  if (hurry) drain->uvf__due = 1;
  move(drain);
}

/* Invariant 5. */
static void on_begin(uvf__timeout_t *timeout) {
  uvf_drain_t *drain = UVF__CONTAINER(timeout, uvf_drain_t, uvf__timeout);
  uvf__hub_ring_user(uvf__ctx_hub(drain->ctx));
  begin(drain, 0);
}

/* Something has left. */
static void look(uvf_drain_t *drain) {
  if (drain->step >= UVF_DRAIN_CLOSE_IDLE && drain->step < UVF_DRAIN_OVER && is_pending(drain)) advance(drain);
}

static int withdraw(uvf_op_t *op) {
  uvf_drain_t *drain = (uvf_drain_t *)(void *)op;
  uvf__timeout_stop(uvf__ctx_hub(op->ctx), &drain->uvf__timeout);
  return !drain->uvf__moving;
}

static int deliver(uvf_op_t *op) {
  uvf_drain_t *drain = (uvf_drain_t *)(void *)op;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  if (op->status == 0 && !is_empty(drain)) op->status = UV_ETIMEDOUT; /* somebody came while the end was due */
  drain->uvf__cb(drain, op->status);
  return 1;
}

static const uvf__op_type_t drain_type = {"drain", withdraw, deliver, NULL, 0, NULL};

/* --- the drain -------------------------------------------------------------------------------- */

void uvf_drain_options_init(uvf_drain_options_t *options) {
  if (options == NULL) return;
  memset(options, 0, sizeof *options);
  options->limit_ms[UVF_DRAIN_WAIT] = 10000;
  options->limit_ms[UVF_DRAIN_CANCEL] = 1000;
  options->limit_ms[UVF_DRAIN_FORCE_CLOSE] = 1000;
  options->limit_ms[UVF_DRAIN_JOIN] = UVF_NO_LIMIT;
}

int uvf_drain_init(uvf_drain_t *drain, const uvf_drain_options_t *options) {
  if (drain == NULL) return UV_EINVAL;
  memset((char *)drain + offsetof(uvf_drain_t, ctx), 0, sizeof *drain - offsetof(uvf_drain_t, ctx)); /* not data */
  if (options != NULL) {
    drain->uvf__options = *options;
  } else {
    uvf_drain_options_init(&drain->uvf__options);
  }
  return 0;
}

int(uvf_drain_start)(uvf_ctx_t *ctx, uvf_drain_t *drain, uvf_drain_cb cb) {
  int rc;
  if (ctx == NULL || drain == NULL || cb == NULL || drain->step != UVF_DRAIN_SERVING) return UV_EINVAL;
  rc = uvf__op_begin(ctx, (uvf_op_t *)(void *)drain, &drain_type, "uvf_drain_start");
  if (rc < 0) return rc;
  drain->uvf__cb = cb;
  drain->step = UVF_DRAIN_NOT_READY;
  drain->uvf__timeout.deadline.link.prev = NULL;
  if (rc > 0) uvf__timeout_start(uvf__ctx_hub(ctx), &drain->uvf__timeout, uvf__clock_ns(), on_begin);
  return 0;
}

int uvf_drain_next(uvf_drain_t *drain) {
  int err;
  if (drain == NULL || drain->step == UVF_DRAIN_SERVING || drain->step == UVF_DRAIN_OVER) return UV_EINVAL;
  if (!is_pending(drain)) return UV_EINVAL;
  err = uvf__hub_enter(uvf__ctx_hub(drain->ctx), "uvf_drain_next");
  if (err != 0) return err;
  if (drain->uvf__timeout.ring == on_begin && drain->uvf__timeout.deadline.link.prev != NULL) { /* not told of yet */
    uvf__timeout_stop(uvf__ctx_hub(drain->ctx), &drain->uvf__timeout);
    begin(drain, 1);
    return 0;
  }
  drain->uvf__due = 1;
  advance(drain);
  return 0;
}

int uvf_drain_is_ready(const uvf_drain_t *drain) { return drain != NULL && drain->step == UVF_DRAIN_SERVING; }

const char *uvf_drain_step_name(uvf_drain_step_t step) {
  static const char *const names[] = {"serving", "not ready", "lame duck",   "stop accepting", "close idle",
                                      "wait",    "cancel",    "force close", "join",           "over"};
  return (size_t)step < sizeof names / sizeof *names ? names[step] : "?";
}

/* --- the ledger ------------------------------------------------------------------------------- */

/* What the ledger may be given: a context that can be cancelled, or NULL; on its loop's thread. */
static int check_ctx(const uvf_ctx_t *ctx, const char *function) {
  int may = ctx == NULL || (!uvf__ctx_is_root(ctx) && ctx->node.kind != UVF__CTX_WITHOUT_CANCEL);
  UVF__RULE(may, function, "the drain could not cancel a root or without_cancel context: derive one with_cancel");
  if (!may) return UV_EINVAL;
  return ctx != NULL ? uvf__hub_enter(uvf__ctx_hub(ctx), function) : 0;
}

/* Debug builds: is it among the first of a list? Entered twice it would be a list without an end. */
static int is_entered(const uvf__link_t *list, const uvf__link_t *link) {
  for (int i = 0; i < 256 && list != NULL; i++, list = list->next) {
    if (list == link) return 1;
  }
  return 0;
}

int uvf_drain_conn_open(uvf_drain_t *drain, uvf_drain_conn_t *conn, uvf_ctx_t *ctx) {
  int err;
  if (drain == NULL || conn == NULL) return UV_EINVAL;
  (void)is_entered;
  UVF__RULE(!is_entered(drain->uvf__conns, &conn->uvf__link), "uvf_drain_conn_open", "the connection is open already");
  err = check_ctx(ctx, "uvf_drain_conn_open");
  if (err != 0) return err;
  conn->drain = drain;
  conn->ctx = uvf_ctx_retain(ctx);
  conn->requests = 0;
  conn->uvf__requests = NULL;
  conn->uvf__told = UNTOLD;
  uvf__link_push(&drain->uvf__conns, &conn->uvf__link);
  drain->connections++;
  if (drain->step >= UVF_DRAIN_CLOSE_IDLE) tell_conn(drain, conn, &drain->closed);
  return 0;
}

/* Its requests go on without it. */
static void forget_conn(uvf_drain_conn_t *conn) {
  while (conn->uvf__requests != NULL) {
    uvf__link_t *link = uvf__link_pop(&conn->uvf__requests);
    UVF__CONTAINER(link, uvf_drain_request_t, uvf__of_conn)->conn = NULL;
  }
}

int uvf_drain_conn_close(uvf_drain_conn_t *conn) {
  uvf_drain_t *drain;
  if (conn == NULL) return UV_EINVAL;
  drain = conn->drain;
  UVF__RULE(drain != NULL, "uvf_drain_conn_close", "the connection is not open: it was closed before");
  if (drain == NULL) return UV_EINVAL;
  forget_conn(conn);
  uvf__link_remove(&conn->uvf__link);
  conn->drain = NULL;
  drain->connections--;
  uvf_ctx_release(conn->ctx);
  look(drain);
  return 0;
}

int uvf_drain_request_begin(uvf_drain_t *drain, uvf_drain_request_t *request, uvf_drain_conn_t *conn, uvf_ctx_t *ctx) {
  int err;
  if (drain == NULL || request == NULL) return UV_EINVAL;
  UVF__RULE(!is_entered(drain->uvf__requests, &request->uvf__link), "uvf_drain_request_begin",
            "the request has begun already, and has not ended");
  request->drain = NULL;
  if (conn != NULL && conn->drain != drain) return UV_EINVAL;
  err = check_ctx(ctx, "uvf_drain_request_begin");
  if (err != 0) return err;
  if (drain->step >= UVF_DRAIN_STOP_ACCEPTING) {
    drain->refused++;
    return UV_ESHUTDOWN;
  }
  if (drain->uvf__options.max_requests > 0 && drain->requests >= drain->uvf__options.max_requests) {
    drain->shed++;
    return UV_EAGAIN;
  }
  request->drain = drain;
  request->conn = conn;
  request->ctx = uvf_ctx_retain(ctx);
  uvf__link_push(&drain->uvf__requests, &request->uvf__link);
  drain->requests++;
  drain->begun++;
  if (conn != NULL) {
    uvf__link_push(&conn->uvf__requests, &request->uvf__of_conn);
    conn->requests++;
  }
  return 0;
}

int uvf_drain_request_end(uvf_drain_request_t *request) {
  uvf_drain_t *drain;
  uvf_drain_conn_t *conn;
  if (request == NULL) return UV_EINVAL;
  drain = request->drain;
  conn = request->conn;
  if (drain == NULL) return UV_EBUSY;
  request->drain = NULL;
  uvf__link_remove(&request->uvf__link);
  drain->requests--;
  drain->ended++;
  uvf_ctx_release(request->ctx);
  if (conn != NULL) {
    uvf__link_remove(&request->uvf__of_conn);
    if (--conn->requests == 0 && drain->step >= UVF_DRAIN_CLOSE_IDLE) tell_conn(drain, conn, &drain->closed);
  }
  look(drain);
  return 0;
}
