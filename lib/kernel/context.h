/* SPDX-License-Identifier: MIT
 *
 * The context: a node of the tree. Two cache lines: what cancelling touches is in the first.
 */
#ifndef UVF_KERNEL_CONTEXT_H
#define UVF_KERNEL_CONTEXT_H

#include "kernel/hub.h"
#include "kernel/op.h"
#include "uvflow/context.h"

enum {
  UVF__CTX_BACKGROUND,
  UVF__CTX_TODO,
  UVF__CTX_CANCEL,
  UVF__CTX_TIMEOUT,
  UVF__CTX_DEADLINE,
  UVF__CTX_TIMEOUT_CAUSE,
  UVF__CTX_DEADLINE_CAUSE,
  UVF__CTX_VALUE,
  UVF__CTX_WITHOUT_CANCEL,
  UVF__CTX_ANY,
  UVF__CTX_REMOTE,
  /* not contexts, but in a context's list of children */
  UVF__NODE_ANY_LINK,
  UVF__NODE_BRIDGE
};

enum {
  UVF__CTX_OVER = 1, /* the loop has ended it: out of the tree, its operations claimed */
  UVF__CTX_CLOSED_ROOT = 2
};

/* Values of err beyond the public ones: claimed, the cause is being written. Read as "live". */
#define UVF__ERR_CLAIMING 1

enum { UVF__ASK_CANCEL = 1, UVF__ASK_RELEASE = 2, UVF__ASK_DROP = 4 };

/* A member of a list of children. */
typedef struct uvf__node_s {
  uvf__link_t link; /* among the parent's children, or the root's stragglers; prev == NULL: in no list. While a subtree
                     * is being ended, next is the way back up */
  uint8_t kind;
  uint8_t flags;  /* loop thread */
  uint16_t index; /* of the block in its slab */
  uint32_t holds; /* what keeps the memory besides refs: children, operations, links; loop thread */
} uvf__node_t;

struct uvf_ctx_s {
  _Atomic(int32_t) err;
  _Atomic(uint32_t) refs; /* any thread; 0: nobody holds it, and nobody can begin to, but on the loop thread */
  _Atomic(uint32_t)
      post_flags; /* what was asked from other threads and not yet applied; not 0: it is among the posts */
  int32_t cause;  /* these two: written between CLAIMING and err by the claimant, then constant */
  void *cause_data;
  uvf__node_t node;
  uvf__link_t *children;
  void *ops; /* newest first */
  /* second line */
  uvf__root_t *root;
  uvf_ctx_t *parent;          /* whose memory it holds, constant */
  struct uvf__vctx_s *values; /* nearest context that holds a value, itself included; constant */
  uvf__deadline_t deadline;   /* at_ns: the effective deadline, constant; armed when it is earlier than the parent's */
  uintptr_t post_next;
  const char *name;
};

_Static_assert(offsetof(uvf_ctx_t, err) == 0, "the public header reads err there");
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(uvf_ctx_t) == 128, "a context is two cache lines");
#endif

typedef struct uvf__vctx_s {
  uvf_ctx_t ctx;
  const void *key;
  void *value;
  struct uvf__vctx_s *outer; /* next context with a value, towards the root */
  uvf_value_free_cb free_cb;
} uvf__vctx_t;

/* Kinds *_CAUSE: the cause that its deadline gives; constant. */
typedef struct uvf__dctx_s {
  uvf_ctx_t ctx;
  int32_t cause;
  void *data;
} uvf__dctx_t;

struct uvf__root_s {
  uvf_ctx_t ctx;
  uvf__hub_t *hub;
  uvf__root_t *next;
  uint64_t live; /* operations and free functions under it that are owed */
  int closing;
  uvf__link_t *stragglers; /* contexts that are over and have operations which cannot be told yet; for the dump */
  uv_idle_t reaper;        /* closed to come back asynchronously, in libuv's own phase of close callbacks */
  uvf_ctx_close_cb close_cb;
};

static inline int uvf__ctx_is_root(const uvf_ctx_t *ctx) { return ctx->node.kind <= UVF__CTX_TODO; }

static inline uvf__hub_t *uvf__ctx_hub(const uvf_ctx_t *ctx) { return ctx->root->hub; }

static inline int uvf__ctx_err(const uvf_ctx_t *ctx) {
  int32_t err = atomic_load_explicit(&ctx->err, memory_order_acquire);
  return err > 0 ? 0 : err;
}

/* For calls that derive or start under ctx: 0; UV_EINVAL (a rule in debug builds) on another thread than the loop's, or
 * when its root's close callback has been called. */
int uvf__ctx_enter_over(const uvf_ctx_t *ctx, const char *function);
static inline int uvf__ctx_enter(const uvf_ctx_t *ctx, const char *function) {
  int err = uvf__hub_enter(uvf__ctx_hub(ctx), function);
  if (UVF__LIKELY(err == 0 && uvf__ctx_err(ctx) == 0)) return 0;
  return err != 0 ? err : uvf__ctx_enter_over(ctx, function);
}

/* Fixes err and cause if nobody has; returns 1 if it was this call. When it returns err is set in any case. */
int uvf__ctx_claim(uvf_ctx_t *ctx, int err, int cause, void *data);

/* The same on another thread than its loop's. */
int uvf__ctx_claim_foreign(uvf_ctx_t *ctx, int err, int cause, void *data);

/* The deadline has come: claims with the cause that was given with it, to this context or to the one it has its
 * deadline from, and ends it. Loop thread. */
void uvf__ctx_expire(uvf_ctx_t *ctx);

/* Claims it if nobody has, and carries out its end: its whole subtree on this loop is over when it returns. Nothing if
 * that was done before. Loop thread. */
void uvf__ctx_end_as(uvf_ctx_t *top, int err, int cause, void *data);

/* Carries out the end of one that uvf__ctx_claim_foreign() has claimed; the caller holds it. Loop thread. */
void uvf__ctx_end_foreign(uvf_ctx_t *top);

/* Makes a context (from the pool of its kind) under parent: memory, values, deadline; not yet in a tree. 0 and *out,
 * or a code. */
int uvf__ctx_new(uvf_ctx_t *parent, uint8_t kind, const char *function, uvf_ctx_t **out);

/* The same for a block the caller has allocated; `parent` is whose memory it holds, NULL for none. */
void uvf__ctx_init(uvf_ctx_t *ctx, uvf__root_t *root, uvf_ctx_t *parent, uint8_t kind, uint16_t index);

/* Puts it under `above` in the tree, or ends it at birth if that is over. */
void uvf__ctx_plant(uvf_ctx_t *ctx, uvf_ctx_t *above);

/* Arms its deadline. */
void uvf__ctx_arm(uvf_ctx_t *ctx);

/* Disarms, leaves the tree and every link; before it is over or freed. Loop thread. */
void uvf__ctx_detach(uvf_ctx_t *ctx);

/* Frees it, and the ancestors it kept, if nothing needs it any more. Loop thread, or after close under the gate. */
void uvf__ctx_drop(uvf_ctx_t *ctx);

static inline void uvf__ctx_unhold(uvf_ctx_t *ctx) {
  ctx->node.holds--;
  uvf__ctx_drop(ctx);
}

/* The same, but freed by the next drain: for callers that a drop would recurse into. */
void uvf__ctx_unhold_later(uvf_ctx_t *ctx);

/* One that was taken from the grave: calls its value's free function and frees it. Loop thread. */
void uvf__ctx_bury(uvf_ctx_t *ctx);

/* Gives the block back. The parent's hold is the caller's to give back. */
void uvf__ctx_free(uvf_ctx_t *ctx);

/* A post that concerns a context. */
void uvf__ctx_posted(uvf_ctx_t *ctx, int closed);

/* Cancels from a thread that is not its loop's: it is over on return, its loop is told. */
void uvf__ctx_cancel_foreign(uvf_ctx_t *ctx, int err, int cause, void *data);

/* Links of with_any (anyof.c) and with_remote (remote.c). */
uvf_ctx_t *uvf__any_target(uvf__node_t *node);
void uvf__any_unlink(uvf_ctx_t *ctx);
void uvf__bridge_parent_over(uvf__node_t *node);
void uvf__bridge_detach(uvf_ctx_t *ctx);
void uvf__remote_free(uvf_ctx_t *ctx);
const uvf_ctx_t *uvf__remote_parent(const uvf_ctx_t *ctx);

/* An operation stays linked under ctx, which is over: remembers it, so that a dump of the root can name it. */
void uvf__ctx_straggle(uvf_ctx_t *ctx);

/* root.c */
void uvf__root_live(uvf_ctx_t *ctx);
void uvf__root_unlive(uvf__root_t *root);
void uvf__root_check_all(uvf__hub_t *hub);
void uvf__root_handles_closed(uvf__hub_t *hub);

#endif
