/* SPDX-License-Identifier: MIT
 *
 * A child on another loop. The child lives on loop B, under a context of B; a bridge stands in its parent's list of
 * children on loop A.
 *
 * Invariants
 * 1. Child and bridge are one block; the last of the two to be done with frees it. The bridge belongs to A from the
 *    attach post on: A's thread links it, unlinks it and, when the detach post comes, is done with it. B sends
 *    exactly one attach and, when the child is over or freed, exactly one detach; posts of one thread to one hub are
 *    applied in order.
 * 2. bridge->child is guarded by bridge->lock: B clears it before the child can be freed, A cancels the child while
 *    it holds the lock. Cancelling from A is a claim and a post, no user code.
 * 3. The child keeps the parent's memory (its values) with a counted reference, and the bridge with another: both may
 *    be given back on any thread.
 * 4. No cancel is lost. The parent may end before A has linked the bridge: then A finds it over when it applies the
 *    attach. A's hub may close before: all its contexts are over by then, and it has applied every post that was made
 *    before it wrote to the list of posts for the last time (uvf__hub_drain_last). So B, which looks at the parent's
 *    err after it has posted behind that, sees it.
 *
 * Lock order: bridge->lock, then a hub's gate (inside a post). Nothing takes a bridge's lock under a gate.
 */
#include <string.h>

#include "kernel/context.h"

typedef struct bridge_s {
  uvf__node_t node; /* kind UVF__NODE_BRIDGE; in parent->children on A */
  uvf__post_t attach;
  uvf__post_t detach;
  uvf_ctx_t *parent;
  uv_mutex_t lock;
  uvf_ctx_t *child;
} bridge_t;

typedef struct remote_s {
  uvf_ctx_t ctx;
  uvf_ctx_t *parent;   /* on A; a reference */
  int attached;        /* B: the bridge stands, or is about to */
  _Atomic(int) owners; /* of the block: the child, and the bridge while A has it */
  bridge_t bridge;
  struct remote_s *next_gone;
} remote_t;

static remote_t *remote_of(bridge_t *bridge) { return UVF__CONTAINER(bridge, remote_t, bridge); }

static void leave_block(remote_t *remote) {
  if (atomic_fetch_sub(&remote->owners, 1) != 1) return;
  uv_mutex_destroy(&remote->bridge.lock);
  uvf__free(remote);
}

static void cancel_child(bridge_t *bridge) {
  uvf_ctx_t *parent = bridge->parent;
  uv_mutex_lock(&bridge->lock);
  if (bridge->child != NULL) {
    uvf__ctx_cancel_foreign(bridge->child, uvf__ctx_err(parent), parent->cause, parent->cause_data);
  }
  uv_mutex_unlock(&bridge->lock);
}

/* A: the parent is over; it is on the path of the walk, so the hold can simply be given back. */
void uvf__bridge_parent_over(uvf__node_t *node) {
  bridge_t *bridge = UVF__CONTAINER(node, bridge_t, node);
  uvf__link_remove(&node->link);
  bridge->parent->node.holds--;
  cancel_child(bridge);
}

static void apply_attach(uvf__post_t *post, int closed) {
  bridge_t *bridge = UVF__CONTAINER(post, bridge_t, attach);
  uvf_ctx_t *parent = bridge->parent;
  if (closed) return; /* invariant 4: B has seen it */
  if (parent->node.flags & UVF__CTX_OVER) {
    cancel_child(bridge);
    return;
  }
  parent->node.holds++;
  uvf__link_push(&parent->children, &bridge->node.link);
}

static void apply_detach(uvf__post_t *post, int closed) {
  bridge_t *bridge = UVF__CONTAINER(post, bridge_t, detach);
  uvf_ctx_t *parent = bridge->parent;
  if (bridge->node.link.prev != NULL) {
    uvf__link_remove(&bridge->node.link);
    parent->node.holds--;
  }
  leave_block(remote_of(bridge));
  if (!closed) {
    uvf_ctx_release(parent);
  } else if (atomic_fetch_sub_explicit(&parent->refs, 1, memory_order_acq_rel) == 1) {
    uvf__ctx_drop(parent); /* under the gate: a release would post, and take it again */
  }
}

/* B: the child is over or freed. */
void uvf__bridge_detach(uvf_ctx_t *ctx) {
  remote_t *remote = (remote_t *)(void *)ctx;
  bridge_t *bridge = &remote->bridge;
  if (!remote->attached) return;
  remote->attached = 0;
  uv_mutex_lock(&bridge->lock);
  bridge->child = NULL;
  uv_mutex_unlock(&bridge->lock);
  uvf__hub_post(uvf__ctx_hub(bridge->parent), (uintptr_t)&bridge->detach | UVF__POST_CALL); /* A's from here on */
}

const uvf_ctx_t *uvf__remote_parent(const uvf_ctx_t *ctx) { return ((const remote_t *)(const void *)ctx)->parent; }

/* The child's block, and its reference to the parent. That one may be the parent's last, and the parent a remote child
 * itself: a chain over two loops of one thread, or closed ones, must not recurse. */
void uvf__remote_free(uvf_ctx_t *ctx) {
  static _Thread_local remote_t *gone;
  static _Thread_local int busy;
  remote_t *remote = (remote_t *)(void *)ctx;
  remote->next_gone = gone;
  gone = remote;
  if (busy) return; /* further up this stack somebody is at it */
  busy = 1;
  while ((remote = gone) != NULL) {
    uvf_ctx_t *parent = remote->parent;
    gone = remote->next_gone;
    leave_block(remote);
    uvf_ctx_release(parent);
  }
  busy = 0;
}

static int remote_new(uvf_ctx_t *parent, remote_t **out) {
  remote_t *remote = uvf__malloc(sizeof *remote);
  bridge_t *bridge;
  int err;
  if (remote == NULL) return UV_ENOMEM;
  remote->parent = parent;
  remote->attached = 0;
  atomic_init(&remote->owners, 1);
  bridge = &remote->bridge;
  memset(bridge, 0, sizeof *bridge);
  bridge->node.kind = UVF__NODE_BRIDGE;
  bridge->attach.apply = apply_attach;
  bridge->detach.apply = apply_detach;
  bridge->parent = parent;
  bridge->child = &remote->ctx;
  err = uv_mutex_init(&bridge->lock);
  if (err != 0) {
    uvf__free(remote);
    return err;
  }
  *out = remote;
  return 0;
}

/* B's thread: makes the child follow a parent that was live a moment ago. */
static void follow(remote_t *remote) {
  uvf_ctx_t *ctx = &remote->ctx;
  uvf_ctx_t *parent = remote->parent;
  int err;
  remote->attached = 1;
  atomic_store(&remote->owners, 2);
  uvf_ctx_retain(parent); /* the bridge's */
  uvf__hub_post(uvf__ctx_hub(parent), (uintptr_t)&remote->bridge.attach | UVF__POST_CALL);
  err = uvf__ctx_err(parent);
  if (err != 0) {
    uvf__ctx_end_as(ctx, err, parent->cause, parent->cause_data);
    return;
  }
  if (ctx->deadline.at_ns >= ctx->parent->deadline.at_ns) return;
  if (ctx->deadline.at_ns <= uvf__clock_ns()) { /* the parent's loop is late */
    uvf__ctx_expire(ctx);
    return;
  }
  uvf__ctx_arm(ctx); /* its own loop watches it: the parent's may be stuck */
}

int uvf_ctx_with_remote(uvf_ctx_t *parent, uvf_ctx_t *local, uvf_ctx_t **out) {
  remote_t *remote;
  int err;
  if (local == NULL || parent == NULL || out == NULL) return UV_EINVAL;
  if (uvf__ctx_hub(local) == uvf__ctx_hub(parent)) {
    uvf_ctx_t *both[2];
    both[0] = parent;
    both[1] = local;
    return uvf_ctx_with_any(both, 2, out);
  }
  err = uvf__ctx_enter(local, "uvf_ctx_with_remote");
  if (err != 0) return err;
  err = remote_new(uvf_ctx_retain(parent), &remote);
  if (err != 0) {
    uvf_ctx_release(parent);
    return err;
  }
  uvf__ctx_init(&remote->ctx, local->root, local, UVF__CTX_REMOTE, 0);
  remote->ctx.values = parent->values;
  if (parent->deadline.at_ns < remote->ctx.deadline.at_ns) remote->ctx.deadline.at_ns = parent->deadline.at_ns;
  uvf__ctx_plant(&remote->ctx, local);
  if (!(remote->ctx.node.flags & UVF__CTX_OVER)) follow(remote);
  *out = &remote->ctx;
  return 0;
}
