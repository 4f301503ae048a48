/* SPDX-License-Identifier: MIT
 *
 * Requests that libuv may still have when they are over: told at once, given back later.
 *
 * Parties, all on the loop thread: libuv's callbacks (`held` counts those that it owes); whoever ends the request
 * early; the hub's drain.
 *
 * Invariants
 * 1. `held` goes up when libuv takes something and down in its callback, which is followed by uvf__held_settle.
 * 2. The request is over (retired) when done was told, or need not be, and held is 0: exactly once, in a delivery.
 * 3. A delivery that finds held > 0 leaves the request linked under its context (which may be over: a dump of the root
 *    names it), state DONE. The settle that brings held to 0 makes it ready once more; nothing else does.
 * 4. While it is READY nothing is done by settle: the delivery that is due looks at held itself.
 */
#include "io/io.h"

static const uvf__held_type_t *type_of(const uvf_op_t *op) { return (const uvf__held_type_t *)op->uvf__type; }

static void finish(uvf_op_t *op) {
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  type_of(op)->release(op);
}

int uvf__held_deliver(uvf_op_t *op) {
  const uvf__held_type_t *type = type_of(op);
  uvf__held_t *held = uvf__held_of(op);
  uvf__root_t *root = op->ctx->root;
  if (held->told) {
    finish(op);
    return 1;
  }
  if (!type->has_release(op)) {
    if (held->held > 0) { /* done waits */
      uvf__op_relink(op);
      return 0;
    }
    uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
    type->done(op);
    return 1;
  }
  held->told = 1;
  if (held->held > 0) {
    uvf__op_relink(op);
    uvf__root_live(op->ctx); /* done may run the loop, and release come in there */
    type->done(op);
    uvf__root_unlive(root);
    return 0;
  }
  type->done(op);
  finish(op);
  return 1;
}

int uvf__held_claim(uvf_op_t *op, int result) {
  int err;
  if (!uvf__op_claim(op)) return 0;
  err = uvf__ctx_err(op->ctx); /* perhaps cancelled from another thread, its loop not knowing yet */
  op->status = err != 0 ? err : result;
  return err == 0;
}

void uvf__held_settle(uvf_op_t *op) {
  switch (uvf__u32_load(&op->uvf__state)) {
    case UVF__OP_CLAIMED:
      if (uvf__held_may_tell(op)) uvf__op_ready(op);
      break;
    case UVF__OP_DONE:
      if (uvf__held_of(op)->held == 0) uvf__op_ready(op);
      break;
    default: break; /* PENDING: it goes on; READY: invariant 4 */
  }
}
