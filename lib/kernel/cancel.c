/* SPDX-License-Identifier: MIT
 *
 * How contexts end. Two steps: the claim (any thread) fixes err and cause of one context; the end (its loop thread)
 * takes the claimed context's whole subtree out of the tree.
 *
 * Invariants
 * 1. err goes 0 -> CLAIMING -> final. Only the thread that made the first step writes cause and cause_data, and only
 *    in between; err is stored with release, so whoever loads it finds the cause. CLAIMING lasts three stores; a
 *    loser of the claim waits for it, so that a cancel never returns before err is set.
 * 2. A descendant takes the err and cause of the context above it, not of the top: one that another thread had
 *    claimed keeps its own, and its descendants inherit that.
 * 3. The walk is iterative. While a context is on the path from the top to the present one it has a hold, and its
 *    node's next pointer, free since it left its list, leads back up. Every context is entered once (OVER), so the
 *    walk ends.
 * 4. Marking happens on the way down, completing on the way up: children's operations are ready before their
 *    parent's. Lists hold the newest first, and are taken in that order.
 * 5. A sweep claims many contexts with plain stores, where a compare-and-swap for each would be most of their cost.
 *    The loop says `sweep`, then looks at `claimers`; another thread counts itself among the claimers, then looks at
 *    `sweep`; all four sequentially consistent, so one of the two sees the other. The loop then does without a sweep,
 *    it never waits; the other thread waits, for some hundred contexts at most, since its being counted keeps the loop
 *    from the next sweep. A sweep is over before any lock is taken, any operation failed, anything freed: so this wait
 *    ends.
 * 6. Nothing of the user's runs during the walk, nothing is allocated, no lock of ours is held but by a provider
 *    inside its withdraw.
 * 7. Between the claim of a context and the claims of its operations the hub is unsettled (uvf__hub_unsettled): the loop
 *    says `ending` before a claim of its own and takes it back after the walk; another thread counts itself in
 *    `foreign` before its claim, and the loop takes that back when it has ended the context. So a thread that knows a
 *    context to be over, in whatever way, finds the hub unsettled or the operation claimed, if it looks in this order.
 */
#include <uv.h>

#include "kernel/context.h"
#include "kernel/wait.h"

#define SPINS 64
#define SWEEP_SPINS 4096
#define SWEEP_MAX 256
#define PREFETCH_AHEAD 8 /* contexts: those that were made one after the other mostly lie so */

/* Another thread is between its claim and its err: three stores, unless it lost its processor there. */
static UVF__COLD void await_claim(uvf_ctx_t *ctx) {
  for (int i = 0; atomic_load_explicit(&ctx->err, memory_order_acquire) == UVF__ERR_CLAIMING; i++) {
    if (i >= SPINS) uv_sleep(1);
  }
}

int uvf__ctx_claim(uvf_ctx_t *ctx, int err, int cause, void *data) {
  int32_t live = 0;
  /* sequentially consistent: see uvf__wait_poke */
  if (!atomic_compare_exchange_strong(&ctx->err, &live, UVF__ERR_CLAIMING)) {
    if (live == UVF__ERR_CLAIMING) await_claim(ctx);
    return 0;
  }
  ctx->cause = cause;
  ctx->cause_data = data;
  atomic_store_explicit(&ctx->err, err, memory_order_release);
  return 1;
}

int uvf__ctx_claim_foreign(uvf_ctx_t *ctx, int err, int cause, void *data) {
  uvf__hub_t *hub = uvf__ctx_hub(ctx);
  int claimed;
  atomic_fetch_add(&hub->foreign, 1);
  atomic_fetch_add(&hub->claimers, 1);
  for (int i = 0; atomic_load(&hub->sweep) != 0; i++) {
    if (i >= SWEEP_SPINS) uv_sleep(1); /* the loop's thread has lost its processor */
  }
  claimed = uvf__ctx_claim(ctx, err, cause, data);
  if (!claimed) atomic_fetch_sub_explicit(&hub->foreign, 1, memory_order_release); /* who was first has said it, too */
  atomic_fetch_sub_explicit(&hub->claimers, 1, memory_order_release);
  return claimed;
}

/* The one above that has the same deadline; NULL if it is this one's own. Constant, so any thread may follow it. (An
 * any-of context has no deadline of its own: where it has a later parent's, that parent's end brings the cause, and
 * only a remote child that is quicker misses it.) */
static const uvf_ctx_t *deadline_from(const uvf_ctx_t *ctx) {
  if (ctx->node.kind == UVF__CTX_REMOTE) {
    const uvf_ctx_t *remote = uvf__remote_parent(ctx);
    if (remote->deadline.at_ns == ctx->deadline.at_ns) return remote;
  }
  return ctx->parent != NULL && ctx->parent->deadline.at_ns == ctx->deadline.at_ns ? ctx->parent : NULL;
}

void uvf__ctx_expire(uvf_ctx_t *ctx) {
  const uvf_ctx_t *owner = ctx;
  const uvf_ctx_t *above;
  while ((above = deadline_from(owner)) != NULL) owner = above;
  if (owner->node.kind == UVF__CTX_TIMEOUT_CAUSE || owner->node.kind == UVF__CTX_DEADLINE_CAUSE) {
    const uvf__dctx_t *d = (const uvf__dctx_t *)owner;
    uvf__ctx_end_as(ctx, UV_ETIMEDOUT, d->cause, d->data);
  } else {
    uvf__ctx_end_as(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT, NULL);
  }
}

/* Claims every operation of a context that is over. Those that can be told are put on the ready list; the others stay
 * linked until their provider has them back. The withdrawal of one may serve others, which are ready then too: so the
 * next one is read from the list as it is afterwards. */
static void fail_ops(uvf_ctx_t *ctx) {
  int err = uvf__ctx_err(ctx);
  void **at = &ctx->ops;
  uvf_op_t *op;
  while ((op = *at) != NULL) {
    uvf__op_fail(op, err);
    if (*at == op) at = &op->uvf__next;
  }
}

/* Out of the tree. */
static void enter(uvf__hub_t *hub, uvf_ctx_t *ctx) {
  ctx->node.flags |= UVF__CTX_OVER;
  hub->nlive--;
  uvf__ctx_detach(ctx);
}

/* While `left` is not 0 the loop may claim without asking (invariant 5), for so many contexts. */
typedef struct sweep_s {
  uvf__hub_t *hub;
  uint32_t left;
} sweep_t;

/* Before anything that could wait for another thread, or call something of the user's. */
static inline void sweep_off(sweep_t *sweep) {
  if (sweep->left == 0) return;
  sweep->left = 0;
  atomic_exchange(&sweep->hub->sweep, 0); /* a fence, too: see uvf__wait_poke */
}

/* 1 if the next claim may be plain stores. */
static inline int sweep_on(sweep_t *sweep) {
  if (UVF__LIKELY(sweep->left > 1)) {
    sweep->left--;
    return 1;
  }
  sweep_off(sweep); /* others get their turn */
  atomic_store(&sweep->hub->sweep, 1);
  sweep->left = SWEEP_MAX;
  if (UVF__LIKELY(atomic_load(&sweep->hub->claimers) == 0)) return 1;
  sweep_off(sweep);
  return 0;
}

/* What lies some steps further in the same direction: a guess, which costs nothing if it is wrong. */
static inline void prefetch_beyond(const void *before, const void *now) {
  UVF__PREFETCH((const void *)((uintptr_t)now + PREFETCH_AHEAD * ((uintptr_t)now - (uintptr_t)before)));
}

/* In a sweep: claims it, if nobody has, for the end of the one above, whose err is given. */
static inline void sweep_claim(uvf_ctx_t *ctx, const uvf_ctx_t *above, int err) {
  if (UVF__UNLIKELY(atomic_load_explicit(&ctx->err, memory_order_acquire) != 0)) return;
  ctx->cause = above->cause;
  ctx->cause_data = above->cause_data;
  atomic_store_explicit(&ctx->err, err, memory_order_release);
}

/* In a sweep: ends one that was taken from the list of the one above. A kind without a deadline of its own has none
 * armed: its second line is not touched. */
static inline void sweep_end(uvf__hub_t *hub, uvf_ctx_t *ctx, const uvf_ctx_t *above, int err) {
  sweep_claim(ctx, above, err);
  ctx->node.flags |= UVF__CTX_OVER;
  ctx->node.link.prev = NULL;
  if (ctx->node.kind != UVF__CTX_CANCEL && ctx->deadline.link.prev != NULL) {
    uvf__wheel_disarm(&hub->wheel, &ctx->deadline);
  }
}

/* So many of its contexts are left: the others were ended. */
static inline void sweep_leaves(sweep_t *sweep, uint32_t left) {
  sweep->hub->nlive -= sweep->left - left;
  sweep->left = left + 1; /* 0 would say that it is off */
}

/* A member of a list of children that is a context of its parent's alone; NULL: something else. */
static inline uvf_ctx_t *plain_child(uvf__link_t *link) {
  uvf__node_t *node = UVF__CONTAINER(link, uvf__node_t, link);
  return node->kind < UVF__CTX_ANY ? UVF__CONTAINER(node, uvf_ctx_t, node) : NULL;
}

static inline int is_leaf(uvf__link_t *link) {
  const uvf_ctx_t *ctx = plain_child(link);
  return ctx != NULL && ctx->children == NULL && ctx->ops == NULL;
}

/* n has no operations and one child, a context that has no other parent. */
static inline int is_line(const uvf_ctx_t *n) {
  return n->ops == NULL && n->children != NULL && n->children->next == NULL && plain_child(n->children) != NULL;
}

/* Ends the leaves at the front of n's children, of which there is one; it may stop early. */
static void end_leaves(sweep_t *sweep, uvf_ctx_t *n) {
  uvf__link_t *link = n->children;
  int err = uvf__ctx_err(n);
  uint32_t left = sweep->left;
  do {
    uvf_ctx_t *child = plain_child(link);
    link = link->next;
    prefetch_beyond(&child->node.link, link);
    sweep_end(sweep->hub, child, n, err);
    left--;
  } while (left > 0 && link != NULL && is_leaf(link));
  n->children = link;
  if (link != NULL) link->prev = &n->children;
  sweep_leaves(sweep, left);
}

/* Ends the only child of n, a context that has nothing to come back for, and so on down: as far as that goes, and the
 * sweep. Returns the last one, which is on the path from the top instead of n. Each is held by the one below it. */
static uvf_ctx_t *end_line(sweep_t *sweep, uvf_ctx_t *n) {
  uvf__link_t *up = n->node.link.next;
  int err = uvf__ctx_err(n);
  uint32_t left = sweep->left;
  n->node.holds--;
  do {
    uvf_ctx_t *child = plain_child(n->children);
    n->children = NULL;
    prefetch_beyond(n, child);
    sweep_end(sweep->hub, child, n, err);
    err = uvf__ctx_err(child); /* its own, where another thread was first */
    n = child;
    left--;
  } while (left > 0 && is_line(n));
  n->node.holds++;
  n->node.link.next = up;
  sweep_leaves(sweep, left);
  return n;
}

/* The context to end next under n; NULL if none is left. Its err is set. A single claim is cheaper by itself than in a
 * sweep: `top` with one child is what there is most of. */
static uvf_ctx_t *next_child(sweep_t *sweep, uvf_ctx_t *n, const uvf_ctx_t *top) {
  while (n->children != NULL) {
    uvf__node_t *node = UVF__CONTAINER(n->children, uvf__node_t, link);
    uvf_ctx_t *child;
    if (UVF__UNLIKELY(node->kind == UVF__NODE_BRIDGE)) {
      sweep_off(sweep);
      uvf__bridge_parent_over(node);
      continue;
    }
    child = node->kind == UVF__NODE_ANY_LINK ? uvf__any_target(node) : UVF__CONTAINER(node, uvf_ctx_t, node);
    if (child->node.kind >= UVF__CTX_ANY) {
      sweep_off(sweep);
      uvf__ctx_claim(child, uvf__ctx_err(n), n->cause, n->cause_data);
    } else if ((n != top || node->link.next != NULL) && sweep_on(sweep)) {
      sweep_claim(child, n, uvf__ctx_err(n));
    } else {
      uvf__ctx_claim(child, uvf__ctx_err(n), n->cause, n->cause_data);
    }
    return child;
  }
  return NULL;
}

/* Nothing is left below n: its operations, and the way back up. */
static uvf_ctx_t *leave(sweep_t *sweep, uvf_ctx_t *n) {
  uvf_ctx_t *up = (uvf_ctx_t *)(void *)n->node.link.next;
  if (n->ops != NULL) {
    sweep_off(sweep);
    fail_ops(n);
    if (n->ops != NULL) uvf__ctx_straggle(n);
  }
  if (n->node.holds == 1 && atomic_load_explicit(&n->refs, memory_order_relaxed) == 0) sweep_off(sweep); /* freed */
  uvf__ctx_unhold(n);
  return up;
}

static void end_tree(uvf__hub_t *hub, uvf_ctx_t *top) {
  sweep_t sweep = {hub, 0};
  uvf_ctx_t *n = top;
  enter(hub, top);
  if (top->children == NULL) {
    fail_ops(top);
    if (top->ops != NULL) uvf__ctx_straggle(top);
    return;
  }
  top->node.holds++;
  top->node.link.next = NULL;
  while (n != NULL) {
    uvf_ctx_t *child;
    if (n->children != NULL && n->children->next != NULL && is_leaf(n->children) && sweep_on(&sweep)) {
      end_leaves(&sweep, n);
      continue;
    }
    if (is_line(n) && n != top && sweep_on(&sweep)) {
      n = end_line(&sweep, n);
      continue;
    }
    child = next_child(&sweep, n, top);
    if (child == NULL) {
      n = leave(&sweep, n);
      continue;
    }
    enter(hub, child);
    if (child->children == NULL && child->ops == NULL) continue;
    child->node.holds++;
    child->node.link.next = (uvf__link_t *)(void *)n;
    n = child;
  }
  sweep_off(&sweep);
}

void uvf__ctx_end_as(uvf_ctx_t *top, int err, int cause, void *data) {
  uvf__hub_t *hub = uvf__ctx_hub(top);
  if (top->node.flags & UVF__CTX_OVER) return;
  if (top->children == NULL && top->ops == NULL) { /* most contexts */
    uvf__ctx_claim(top, err, cause, data);
    enter(hub, top);
  } else {
    atomic_store_explicit(&hub->ending, 1, memory_order_relaxed); /* err is stored with release */
    uvf__ctx_claim(top, err, cause, data);
    end_tree(hub, top); /* top may be gone with its last operation */
    atomic_store_explicit(&hub->ending, 0, memory_order_release);
  }
  uvf__wait_poke(hub);
}

void uvf__ctx_end_foreign(uvf_ctx_t *top) {
  uvf__ctx_end_as(top, 0, 0, NULL); /* it has its err */
  atomic_fetch_sub_explicit(&uvf__ctx_hub(top)->foreign, 1, memory_order_release);
}

static void cancel(uvf_ctx_t *ctx, int cause, void *data, const char *function) {
  int may;
  if (ctx == NULL) return;
  (void)function;
  may = !uvf__ctx_is_root(ctx) && ctx->node.kind != UVF__CTX_WITHOUT_CANCEL;
  UVF__RULE(
      may, function,
      "a root or without_cancel context cannot be cancelled: close the root, or derive with_cancel and cancel that");
  if (!may) return;
  if (uvf__on_loop(uvf__ctx_hub(ctx))) {
    uvf__ctx_end_as(ctx, UV_ECANCELED, cause,
                    data); /* also when another thread had claimed it and its post is still on the way */
  } else {
    uvf__ctx_cancel_foreign(ctx, UV_ECANCELED, cause, data);
  }
}

void uvf_ctx_cancel(uvf_ctx_t *ctx) { cancel(ctx, UV_ECANCELED, NULL, "uvf_ctx_cancel"); }

void uvf_ctx_cancel_cause(uvf_ctx_t *ctx, int cause, void *data) {
  cancel(ctx, cause != 0 ? cause : UV_ECANCELED, data, "uvf_ctx_cancel_cause");
}
