/* SPDX-License-Identifier: MIT
 *
 * The operation, from start to callback.
 *
 * Parties: the starter (user, loop thread); the provider (claims for its completion, on any thread, and says when the
 * callback may come); the canceller (claims for a failure, loop thread); the hub's drain (delivers).
 *
 * Invariants
 * 1. status is written by whoever made the claim, before the op is ready, and by nobody else.
 * 2. An op that has begun is on exactly one list: its context's (PENDING, COMMITTED, CLAIMED, and DONE while a
 *    provider keeps it) or the ready list (READY). Both lists are the loop's. uvf__prev is the pointer that points at
 *    it: leaving needs no search.
 * 3. From begin to retire an op holds: its context's memory, its root (live), and the loop (owed; a guard only once
 *    it is ready).
 * 4. After deliver() has returned 1 the op's memory is not touched: what retire needs was read before.
 */
#include "kernel/op.h"

#include "kernel/context.h"

_Thread_local uvf_op_t *uvf__op_current;

/* --- debug: the site of the next start, and the registry of live requests --------------------- */

#if UVF__RULES
static _Thread_local const char *next_site;

void uvf__site(const char *site) { next_site = site; }

static const char *take_site(void) {
  const char *site = next_site;
  next_site = NULL;
  return site;
}

static void **live_bucket(uvf__hub_t *hub, const uvf_op_t *op) {
  return &hub->live[((uintptr_t)op >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 52 & (UVF__LIVE_BUCKETS - 1)];
}

int uvf__op_is_live(uvf__hub_t *hub, const uvf_op_t *op) {
  const uvf_op_t *o = *live_bucket(hub, op);
  while (o != NULL && o != op) o = o->uvf__live;
  return o != NULL;
}

void uvf__op_mark_live(uvf__hub_t *hub, uvf_op_t *op) {
  void **bucket = live_bucket(hub, op);
  op->uvf__live = *bucket;
  *bucket = op;
}

void uvf__op_mark_dead(uvf__hub_t *hub, uvf_op_t *op) {
  void **at = live_bucket(hub, op);
  while (*at != op) at = &((uvf_op_t *)*at)->uvf__live;
  *at = op->uvf__live;
}
#else
void uvf__site(const char *site) { (void)site; }
#define take_site() NULL
#endif

/* --- lists ------------------------------------------------------------------------------------ */

static void link_op(uvf_ctx_t *ctx, uvf_op_t *op) {
  uvf_op_t *first = ctx->ops;
  op->uvf__next = first;
  op->uvf__prev = &ctx->ops;
  if (first != NULL) first->uvf__prev = &op->uvf__next;
  ctx->ops = op;
}

static void unlink_op(uvf_op_t *op) {
  uvf_op_t *next = op->uvf__next;
  void **prev = op->uvf__prev;
  *prev = next;
  if (next != NULL) next->uvf__prev = prev;
  op->uvf__prev = NULL;
}

void uvf__op_relink(uvf_op_t *op) {
  link_op(op->ctx, op);
  uvf__ctx_straggle(op->ctx);
}

int uvf__op_rearm(uvf_op_t *op) {
  int err = uvf__ctx_err(op->ctx);
  if (err != 0) return err;
  link_op(op->ctx, op);
  op->uvf__post = 0;
  uvf__u32_store(&op->uvf__state, UVF__OP_PENDING);
  return 0;
}

static void append_ready(uvf__hub_t *hub, uvf_op_t *op) {
  op->uvf__next = NULL;
  op->uvf__prev = hub->ready_end;
  *hub->ready_end = op;
  hub->ready_end = &op->uvf__next;
  hub->nready++;
}

static void remove_ready(uvf__hub_t *hub, uvf_op_t *op) {
  if (op->uvf__next == NULL) hub->ready_end = op->uvf__prev;
  unlink_op(op);
  hub->nready--;
}

/* --- start ------------------------------------------------------------------------------------ */

int uvf__op_begin(uvf_ctx_t *ctx, uvf_op_t *op, const uvf__op_type_t *type, const char *function) {
  uvf__hub_t *hub = uvf__ctx_hub(ctx);
  const char *site = take_site();
  int err = uvf__ctx_enter(ctx, function);
  if (UVF__UNLIKELY(err != 0)) return err;
  UVF__RULE(!uvf__op_is_live(hub, op), function, "the request is already started and not over");
  op->ctx = ctx;
  op->status = 0;
  op->uvf__type = type;
  op->uvf__post = 0;
  op->uvf__site = site;
  op->uvf__live = NULL;
  uvf__op_mark_live(hub, op);
  ctx->node.holds++;
  hub->nops++;
  uvf__root_live(ctx);
  if (!(type->flags & UVF__OP_UNREF)) uvf__hub_owe(hub);
  link_op(ctx, op);
  err = uvf__ctx_err(ctx);
  if (UVF__LIKELY(err == 0)) {
    uvf__u32_store(&op->uvf__state, UVF__OP_PENDING);
    return 1;
  }
  uvf__u32_store(&op->uvf__state, UVF__OP_CLAIMED);
  op->status = err;
  uvf__op_ready(op);
  return 0;
}

/* --- end -------------------------------------------------------------------------------------- */

void uvf__op_ready(uvf_op_t *op) {
  uvf__hub_t *hub = uvf__ctx_hub(op->ctx);
  unlink_op(op);
  uvf__u32_store(&op->uvf__state, UVF__OP_READY);
  append_ready(hub, op);
  if (uvf__op_type(op)->flags & UVF__OP_UNREF) uvf__hub_owe(hub);
  uvf__hub_kick(hub);
}

int uvf__op_fail(uvf_op_t *op, int status) {
  const uvf__op_type_t *type = uvf__op_type(op);
  if (!uvf__op_claim(op)) return UV_EBUSY;
  op->status = status;
  if (type->withdraw == NULL || type->withdraw(op)) uvf__op_ready(op);
  return 0;
}

int uvf_op_cancel(uvf_op_t *op) {
  int err;
  if (op == NULL) return UV_EINVAL;
  if (!uvf__op_is_on(op)) return UV_EBUSY; /* its context may be gone; its state is still the caller's valid memory */
  if (uvf__op_type(op)->flags & (UVF__OP_WATCH | UVF__OP_GUARD)) return UV_EINVAL;
  err = uvf__hub_enter(uvf__ctx_hub(op->ctx), "uvf_op_cancel");
  if (err != 0) return err;
  err = uvf__op_fail(op, UV_ECANCELED);
  return err != 0 && uvf__op_type(op)->stop != NULL ? uvf__op_type(op)->stop(op) : err;
}

int uvf__op_remove(uvf_op_t *op) {
  uvf_ctx_t *ctx = op->ctx;
  const uvf__op_type_t *type = uvf__op_type(op);
  uvf__hub_t *hub;
  uint32_t state = uvf__u32_load(&op->uvf__state);
  if (state == UVF__OP_READY) {
    hub = uvf__ctx_hub(ctx);
    remove_ready(hub, op);
  } else if (state == UVF__OP_PENDING && uvf__op_claim(op)) {
    hub = uvf__ctx_hub(ctx);
    unlink_op(op);
    if (type->flags & UVF__OP_UNREF) uvf__hub_owe(hub); /* retire gives it back */
  } else {
    return 0;
  }
  uvf__u32_store(&op->uvf__state, UVF__OP_DONE);
  uvf__op_mark_dead(hub, op);
  uvf__op_retire(ctx);
  return 1;
}

void uvf__op_retire(uvf_ctx_t *ctx) {
  uvf__root_t *root = ctx->root;
  root->hub->nops--;
  uvf__hub_unowe(root->hub);
  uvf__root_unlive(root); /* before the hold goes: that may be the last of a root that is closed already */
  uvf__ctx_unhold(ctx);
}

unsigned int uvf__op_deliver(uvf__hub_t *hub, unsigned int max) {
  unsigned int n = 0;
  while (n < max && hub->ready != NULL) {
    uvf_op_t *op = hub->ready;
    uvf_ctx_t *ctx = op->ctx;
    const uvf__op_type_t *type = uvf__op_type(op);
    uvf_op_t *outer = uvf__op_current;
    int over;
    remove_ready(hub, op);
    uvf__u32_store(&op->uvf__state, UVF__OP_DONE);
    uvf__op_current = op;
    hub->ndelivered++;
    n++;
    over = type->deliver(op);
    uvf__op_current = outer;
    if (over) uvf__op_retire(ctx);
  }
  return n;
}
