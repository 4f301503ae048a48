/* SPDX-License-Identifier: MIT
 *
 * The life of a context: made, asked, retained, released, freed. How it ends is in cancel.c.
 *
 * Invariants
 * 1. A context is freed when refs, holds and post_flags are all 0. `holds` (children in memory, operations, links) is
 *    the loop thread's. `refs` reaches 0 only on the loop thread: another thread that has the last reference gives it
 *    to the loop with a post instead of dropping it (ASK_RELEASE). So while refs is 0 no other thread touches the
 *    context, except a pool thread in a job's fn, and that job is a hold.
 * 2. post_flags != 0 exactly while the context is among the posts: whoever turns it from 0 posts it, once.
 * 3. root, parent, values, deadline.at_ns are constant from birth, so any thread that holds a reference may follow
 *    them: a child holds its parent's memory, up to the root's.
 * 4. A live context is in its parent's list of children; one that is over is in no tree, has no deadline armed and no
 *    links.
 * 5. No user code runs here but the free function of a value, from the loop (bury) or, after close, in the last
 *    release (hub.c).
 *
 * Where the 48 ns of a with_timeout, its cancel and its release go (row timeout of the bench, by a profile; the same
 * with 1,000,000 outstanding):
 *
 *   22    reading the clock, once, in with_timeout; what that takes is the machine's
 *    4.5  cancel: the claim, a compare-and-swap of err that another thread might win
 *    4.5  release: the subtraction from refs that another thread might make at the same time
 *    7.5  with_timeout: a block from the slab, its fields, the parent's list, arming (some 2 of them) in the wheel
 *    3.5  the rest of cancel: out of the wheel and the list
 *    3    the rest of release: the block goes back
 *    3    the bench's loop, and its turn of the event loop after every 256
 *
 * with_cancel is the same without clock and wheel: 22. Both locked instructions are the price of "any thread".
 */
#include "kernel/context.h"
#include "kernel/wait.h"

#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

UVF__COLD int uvf__ctx_enter_over(const uvf_ctx_t *ctx, const char *function) {
  int gone = (ctx->root->ctx.node.flags & UVF__CTX_CLOSED_ROOT) != 0;
  (void)function;
  UVF__RULE(!gone, function, "the root of this context is closed: nothing can be derived or started under it any more");
  return gone ? UV_EINVAL : 0;
}

/* --- birth ------------------------------------------------------------------------------------ */

void uvf__ctx_init(uvf_ctx_t *ctx, uvf__root_t *root, uvf_ctx_t *parent, uint8_t kind, uint16_t index) {
  atomic_init(&ctx->err, 0);
  atomic_init(&ctx->refs, 1);
  atomic_init(&ctx->post_flags, 0);
  ctx->cause = 0;
  ctx->cause_data = NULL;
  ctx->node.link.prev = NULL;
  ctx->node.kind = kind;
  ctx->node.flags = 0;
  ctx->node.index = index;
  ctx->node.holds = 0;
  ctx->children = NULL;
  ctx->ops = NULL;
  ctx->root = root;
  ctx->parent = parent;
  ctx->deadline.link.prev = NULL;
  ctx->name = NULL;
  if (parent != NULL) {
    ctx->values = parent->values;
    ctx->deadline.at_ns = parent->deadline.at_ns;
    parent->node.holds++;
  } else {
    ctx->values = NULL;
    ctx->deadline.at_ns = UVF_NO_DEADLINE;
  }
  root->hub->ncontexts++;
  root->hub->nlive++;
}

int uvf__ctx_new(uvf_ctx_t *parent, uint8_t kind, const char *function, uvf_ctx_t **out) {
  uvf__hub_t *hub;
  uvf_ctx_t *ctx;
  uint16_t index;
  int err;
  if (parent == NULL) return UV_EINVAL;
  err = uvf__ctx_enter(parent, function);
  if (UVF__UNLIKELY(err != 0)) return err;
  hub = uvf__ctx_hub(parent);
  ctx = uvf__pool_alloc(kind >= UVF__CTX_TIMEOUT_CAUSE && kind <= UVF__CTX_VALUE ? &hub->wide : &hub->nodes, &index);
  if (UVF__UNLIKELY(ctx == NULL)) return UV_ENOMEM;
  uvf__ctx_init(ctx, parent->root, parent, kind, index);
  *out = ctx;
  return 0;
}

void uvf__ctx_plant(uvf_ctx_t *ctx, uvf_ctx_t *above) {
  int err = uvf__ctx_err(above);
  if (UVF__UNLIKELY(err != 0)) {
    uvf__ctx_end_as(ctx, err, above->cause, above->cause_data);
    return;
  }
  uvf__link_push(&above->children, &ctx->node.link);
}

void uvf__ctx_arm(uvf_ctx_t *ctx) {
  uvf__hub_t *hub = uvf__ctx_hub(ctx);
  uvf__hub_alarm(hub, uvf__wheel_arm(&hub->wheel, &ctx->deadline));
}

int uvf_ctx_with_cancel(uvf_ctx_t *parent, uvf_ctx_t **out) {
  uvf_ctx_t *ctx;
  int err;
  if (out == NULL) return UV_EINVAL;
  err = uvf__ctx_new(parent, UVF__CTX_CANCEL, "uvf_ctx_with_cancel", &ctx);
  if (UVF__UNLIKELY(err != 0)) return err;
  uvf__ctx_plant(ctx, parent);
  *out = ctx;
  return 0;
}

/* All four deadline calls. now_ns: the clock at the call; cause and data: for the two kinds that have them. */
static int with_deadline(uvf_ctx_t *parent, uint8_t kind, uint64_t at_ns, uint64_t now_ns, int cause, void *data,
                         const char *function, uvf_ctx_t **out) {
  uvf_ctx_t *ctx;
  int own;
  int err = uvf__ctx_new(parent, kind, function, &ctx);
  if (UVF__UNLIKELY(err != 0)) return err;
  *out = ctx;
  if (kind == UVF__CTX_TIMEOUT_CAUSE || kind == UVF__CTX_DEADLINE_CAUSE) {
    ((uvf__dctx_t *)ctx)->cause = cause != 0 ? cause : UV_ETIMEDOUT;
    ((uvf__dctx_t *)ctx)->data = data;
  }
  own = at_ns < parent->deadline.at_ns; /* otherwise the parent's will end it no later */
  if (own) ctx->deadline.at_ns = at_ns;
  uvf__ctx_plant(ctx, parent);
  if (ctx->node.flags & UVF__CTX_OVER) return 0;
  if (UVF__UNLIKELY(at_ns <= now_ns)) { /* also under a parent whose own is overdue */
    uvf__ctx_expire(ctx);
  } else if (own) {
    uvf__ctx_arm(ctx);
  }
  return 0;
}

static int with_timeout(uvf_ctx_t *parent, uint8_t kind, uint64_t timeout_ms, int cause, void *data,
                        const char *function, uvf_ctx_t **out) {
  uint64_t now_ns;
  uint64_t at_ns = UVF_NO_DEADLINE;
  if (parent == NULL || out == NULL) return UV_EINVAL;
  now_ns = uvf__clock_ns();
  if (timeout_ms < (UINT64_MAX - now_ns) / NS_PER_MS) at_ns = now_ns + timeout_ms * NS_PER_MS;
  return with_deadline(parent, kind, at_ns, now_ns, cause, data, function, out);
}

int uvf_ctx_with_timeout(uvf_ctx_t *parent, uint64_t timeout_ms, uvf_ctx_t **out) {
  return with_timeout(parent, UVF__CTX_TIMEOUT, timeout_ms, 0, NULL, "uvf_ctx_with_timeout", out);
}

int uvf_ctx_with_timeout_cause(uvf_ctx_t *parent, uint64_t timeout_ms, int cause, void *data, uvf_ctx_t **out) {
  return with_timeout(parent, UVF__CTX_TIMEOUT_CAUSE, timeout_ms, cause, data, "uvf_ctx_with_timeout_cause", out);
}

int uvf_ctx_with_deadline(uvf_ctx_t *parent, uint64_t deadline_ns, uvf_ctx_t **out) {
  if (parent == NULL || out == NULL) return UV_EINVAL;
  return with_deadline(parent, UVF__CTX_DEADLINE, deadline_ns, uvf__clock_ns(), 0, NULL, "uvf_ctx_with_deadline", out);
}

int uvf_ctx_with_deadline_cause(uvf_ctx_t *parent, uint64_t deadline_ns, int cause, void *data, uvf_ctx_t **out) {
  if (parent == NULL || out == NULL) return UV_EINVAL;
  return with_deadline(parent, UVF__CTX_DEADLINE_CAUSE, deadline_ns, uvf__clock_ns(), cause, data,
                       "uvf_ctx_with_deadline_cause", out);
}

int uvf_ctx_without_cancel(uvf_ctx_t *parent, uvf_ctx_t **out) {
  uvf_ctx_t *ctx;
  int err;
  if (out == NULL) return UV_EINVAL;
  err = uvf__ctx_new(parent, UVF__CTX_WITHOUT_CANCEL, "uvf_ctx_without_cancel", &ctx);
  if (err != 0) return err;
  ctx->deadline.at_ns = UVF_NO_DEADLINE;
  uvf__ctx_plant(ctx, &parent->root->ctx); /* only the root's close ends it */
  *out = ctx;
  return 0;
}

/* --- questions -------------------------------------------------------------------------------- */

int(uvf_ctx_err)(const uvf_ctx_t *ctx) { return UVF__LIKELY(ctx != NULL) ? uvf__ctx_err(ctx) : UV_EINVAL; }

int uvf_ctx_cause(const uvf_ctx_t *ctx, void **data) {
  int over = ctx != NULL && uvf__ctx_err(ctx) != 0;
  if (data != NULL) *data = over ? ctx->cause_data : NULL;
  return over ? ctx->cause : ctx == NULL ? UV_EINVAL : 0;
}

uint64_t uvf_ctx_deadline_ns(const uvf_ctx_t *ctx) { return ctx != NULL ? ctx->deadline.at_ns : UVF_NO_DEADLINE; }

uint64_t uvf_ctx_remaining_ns(const uvf_ctx_t *ctx) {
  uint64_t now_ns;
  if (ctx == NULL || uvf__ctx_err(ctx) != 0) return 0;
  if (ctx->deadline.at_ns == UVF_NO_DEADLINE) return UVF_NO_DEADLINE;
  now_ns = uvf__clock_ns();
  return ctx->deadline.at_ns > now_ns ? ctx->deadline.at_ns - now_ns : 0;
}

uint64_t uvf_ctx_remaining_ms(const uvf_ctx_t *ctx) {
  uint64_t ns = uvf_ctx_remaining_ns(ctx);
  return ns == UVF_NO_DEADLINE ? ns : ns / NS_PER_MS + (ns % NS_PER_MS != 0);
}

uv_loop_t *uvf_ctx_loop(const uvf_ctx_t *ctx) { return ctx != NULL ? uvf__ctx_hub(ctx)->loop : NULL; }

/* --- references ------------------------------------------------------------------------------- */

uvf_ctx_t *uvf_ctx_retain(uvf_ctx_t *ctx) {
  if (ctx != NULL) atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
  return ctx;
}

/* Puts the context among the posts, unless it is there already; then whoever put it there carries this along. */
static void ask(uvf_ctx_t *ctx, uint32_t what) {
  uvf__hub_t *hub = uvf__ctx_hub(ctx);
  if (atomic_fetch_or_explicit(&ctx->post_flags, what, memory_order_acq_rel) == 0) {
    uvf__hub_post(hub, (uintptr_t)ctx | UVF__POST_CTX);
  }
}

void uvf_ctx_release(uvf_ctx_t *ctx) {
  uint32_t refs;
  if (ctx == NULL) return;
  UVF__RULE(!uvf__ctx_is_root(ctx) || atomic_load(&ctx->refs) > 1 || (ctx->node.flags & UVF__CTX_CLOSED_ROOT),
            "uvf_ctx_release",
            "the last reference of a root: end it with uvf_ctx_close, which takes the reference over");
  if (uvf__on_loop(uvf__ctx_hub(ctx))) {
    if (atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel) == 1) uvf__ctx_drop(ctx);
    return;
  }
  refs = atomic_load_explicit(&ctx->refs, memory_order_relaxed);
  while (refs > 1) {
    if (atomic_compare_exchange_weak_explicit(&ctx->refs, &refs, refs - 1, memory_order_acq_rel, memory_order_relaxed))
      return;
  }
  ask(ctx, UVF__ASK_RELEASE); /* invariant 1: the last one goes to the loop */
}

void uvf__ctx_cancel_foreign(uvf_ctx_t *ctx, int err, int cause, void *data) {
  if (!uvf__ctx_claim_foreign(ctx, err, cause, data)) return;
  uvf__wait_poke(uvf__ctx_hub(ctx));
  ask(ctx, UVF__ASK_CANCEL);
}

/* ASK_DROP asks for nothing but the drop at the end of posted(). Not owed to the loop: only memory waits. */
void uvf__ctx_unhold_later(uvf_ctx_t *ctx) {
  ctx->node.holds--;
  if (ctx->node.holds != 0 || atomic_load_explicit(&ctx->refs, memory_order_acquire) != 0) return;
  ask(ctx, UVF__ASK_DROP);
}

void uvf__ctx_posted(uvf_ctx_t *ctx, int closed) {
  uint32_t what = atomic_exchange_explicit(&ctx->post_flags, 0, memory_order_acq_rel);
  ctx->node.holds++;
  if ((what & UVF__ASK_CANCEL) && !closed) uvf__ctx_end_foreign(ctx);
  if (what & UVF__ASK_RELEASE) atomic_fetch_sub_explicit(&ctx->refs, 1, memory_order_acq_rel);
  uvf__ctx_unhold(ctx);
}

/* --- death ------------------------------------------------------------------------------------ */

void uvf__ctx_detach(uvf_ctx_t *ctx) {
  if (ctx->deadline.link.prev != NULL) uvf__wheel_disarm(&uvf__ctx_hub(ctx)->wheel, &ctx->deadline);
  if (ctx->node.link.prev != NULL) uvf__link_remove(&ctx->node.link);
  if (UVF__UNLIKELY(ctx->node.kind >= UVF__CTX_ANY)) {
    if (ctx->node.kind == UVF__CTX_ANY) uvf__any_unlink(ctx);
    if (ctx->node.kind == UVF__CTX_REMOTE) uvf__bridge_detach(ctx);
  }
}

void uvf__ctx_free(uvf_ctx_t *ctx) {
  uvf__hub_t *hub = uvf__ctx_hub(ctx);
  /* Freed without the gate: a root, counted out by leave_hub(); a remote child of a closed hub, by settle(). */
  if (ctx->parent != NULL && !(ctx->node.kind == UVF__CTX_REMOTE && hub->closed)) hub->ncontexts--;
  switch (ctx->node.kind) {
    case UVF__CTX_BACKGROUND:
    case UVF__CTX_TODO:
      uvf__free(ctx);
      uvf__hub_unref(hub);
      break;
    case UVF__CTX_ANY: uvf__free(ctx); break;
    case UVF__CTX_REMOTE: uvf__remote_free(ctx); break; /* not under the gate: it may release on other hubs */
    case UVF__CTX_TIMEOUT_CAUSE:
    case UVF__CTX_DEADLINE_CAUSE:
    case UVF__CTX_VALUE: uvf__pool_free(&hub->wide, ctx, ctx->node.index); break;
    default: uvf__pool_free(&hub->nodes, ctx, ctx->node.index); break;
  }
}

void uvf__ctx_straggle(uvf_ctx_t *ctx) {
  if (!(ctx->node.flags & UVF__CTX_OVER) || ctx->node.link.prev != NULL) return;
  uvf__link_push(&ctx->root->stragglers, &ctx->node.link);
}

/* To the loop, so that the free function does not run inside a call of the user's; that is owed like a callback. */
static void to_grave(uvf__hub_t *hub, uvf_ctx_t *ctx) {
  uvf__link_push(&hub->grave, &ctx->node.link);
  if (hub->closed) return;
  uvf__root_live(ctx);
  uvf__hub_owe(hub);
  uvf__hub_kick(hub);
}

/* Iterative: a chain of a million contexts may hang on the one that is dropped. */
void uvf__ctx_drop(uvf_ctx_t *ctx) {
  while (ctx != NULL) {
    uvf__hub_t *hub = uvf__ctx_hub(ctx);
    uvf_ctx_t *parent = ctx->parent;
    if (ctx->node.holds != 0) return;
    if (atomic_load_explicit(&ctx->refs, memory_order_acquire) != 0) return;
    if (atomic_load_explicit(&ctx->post_flags, memory_order_acquire) != 0) return;
    if ((ctx->node.flags & UVF__CTX_OVER) && ctx->node.link.prev != NULL) uvf__link_remove(&ctx->node.link);
    if (UVF__UNLIKELY(hub->closed)) { /* freed by settle(), outside the gate */
      to_grave(hub, ctx);
      return;
    }
    if (uvf__ctx_is_root(ctx) && !(ctx->node.flags & UVF__CTX_CLOSED_ROOT)) return;
    if (!(ctx->node.flags & UVF__CTX_OVER)) {
      ctx->node.flags |= UVF__CTX_OVER;
      hub->nlive--;
      uvf__ctx_detach(ctx);
      /* Until the bridge was cut the parent's loop could still cancel it: then its post brings it back here. */
      if (ctx->node.kind == UVF__CTX_REMOTE && atomic_load_explicit(&ctx->post_flags, memory_order_acquire) != 0)
        return;
    }
    if (ctx->node.kind == UVF__CTX_VALUE && ((uvf__vctx_t *)ctx)->free_cb != NULL) {
      to_grave(hub, ctx);
      return;
    }
    uvf__ctx_free(ctx);
    if (parent != NULL) parent->node.holds--;
    ctx = parent;
  }
}

void uvf__ctx_bury(uvf_ctx_t *ctx) {
  uvf__vctx_t *v = (uvf__vctx_t *)ctx;
  uvf__root_t *root = ctx->root;
  uvf__hub_t *hub = root->hub;
  uvf_ctx_t *parent = ctx->parent;
  v->free_cb(v->value);
  uvf__ctx_free(ctx);
  uvf__hub_unowe(hub);
  uvf__root_unlive(root); /* before the hold goes: that may be the last of a root that is closed already */
  uvf__ctx_unhold(parent);
}
