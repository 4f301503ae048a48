/* SPDX-License-Identifier: MIT
 *
 * Watchers: a callback after the end of a context; Go's AfterFunc.
 *
 * Invariants
 * 1. A watcher is an operation that nothing but the end of its context claims. A stop takes it off whichever list it
 *    is on: before its callback is entered, that always succeeds.
 * 2. A watcher whose callback has been entered is not touched: `uvf__op_current` tells whether it still runs.
 * 3. A waiting stop is a record with two owners, the thread that waits and the post on its way to the loop; the last
 *    one out frees it, so a wait that gives up leaves nothing behind. The loop applies it between callbacks, never
 *    inside one (but for a nested uv_run).
 */
#include "kernel/context.h"

#define FOREVER_MS (UINT64_C(1) << 40) /* 34 years: what libuv adds the clock to must not overflow */

static int deliver(uvf_op_t *op) {
  uvf_watch_t *watch = (uvf_watch_t *)(void *)op;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  watch->uvf__cb(watch, op->status);
  return 1;
}

static const uvf__op_type_t watch_type = {"watch", NULL, deliver, NULL, UVF__OP_WATCH, NULL};

int(uvf_ctx_on_done)(uvf_ctx_t *ctx, uvf_watch_t *watch, uvf_watch_cb cb) {
  int rc;
  if (ctx == NULL || watch == NULL || cb == NULL) return UV_EINVAL;
  rc = uvf__op_begin(ctx, (uvf_op_t *)(void *)watch, &watch_type, "uvf_ctx_on_done");
  if (rc < 0) return rc;
  watch->uvf__cb = cb;
  return 0;
}

int uvf_watch_stop(uvf_watch_t *watch) {
  uvf_op_t *op = (uvf_op_t *)(void *)watch;
  int err;
  if (watch == NULL) return UV_EINVAL;
  if (!uvf__op_is_on(op)) return uvf__op_current == op ? UVF_STOP_RUNNING : UVF_STOP_DONE;
  err = uvf__hub_enter(uvf__ctx_hub(op->ctx), "uvf_watch_stop");
  if (err != 0) return err;
  return uvf__op_remove(op) ? UVF_STOP_REMOVED : UVF_STOP_DONE;
}

/* --- from another thread
 * ------------------------------------------------------------------------------------------------ */

typedef struct stop_request_s {
  uvf__post_t post;
  uvf_watch_t *watch;
  uv_mutex_t lock; /* guards the rest */
  uv_cond_t answered;
  int owners;
  int done;
  int result;
} stop_request_t;

/* Under its lock; gives it up. */
static void leave(stop_request_t *r) {
  int last = --r->owners == 0;
  uv_mutex_unlock(&r->lock);
  if (!last) return;
  uv_cond_destroy(&r->answered);
  uv_mutex_destroy(&r->lock);
  uvf__free(r);
}

static void apply_stop(uvf__post_t *post, int closed) {
  stop_request_t *r = UVF__CONTAINER(post, stop_request_t, post);
  int result = closed ? UVF_STOP_DONE : uvf_watch_stop(r->watch); /* nothing is left to run under a closed root */
  uv_mutex_lock(&r->lock);
  r->result = result;
  r->done = 1;
  uv_cond_signal(&r->answered);
  leave(r);
}

static stop_request_t *request_new(uvf_watch_t *watch) {
  stop_request_t *r = uvf__malloc(sizeof *r);
  if (r == NULL) return NULL;
  r->post.apply = apply_stop;
  r->watch = watch;
  r->owners = 2;
  r->done = 0;
  r->result = UV_ETIMEDOUT;
  if (uv_mutex_init(&r->lock) != 0) goto no_lock;
  if (uv_cond_init(&r->answered) != 0) goto no_cond;
  return r;
no_cond:
  uv_mutex_destroy(&r->lock);
no_lock:
  uvf__free(r);
  return NULL;
}

int uvf_watch_stop_wait(uvf_ctx_t *ctx, uvf_watch_t *watch, uint64_t timeout_ms) {
  uint64_t start_ns = uv_hrtime();
  uint64_t limit_ns = UINT64_MAX;
  stop_request_t *r;
  int result;
  if (ctx == NULL || watch == NULL) return UV_EINVAL;
  if (uvf__hub_thread_has_loop()) return UV_EPERM;
  if (timeout_ms < FOREVER_MS) limit_ns = start_ns + timeout_ms * 1000000;
  r = request_new(watch);
  if (r == NULL) return UV_ENOMEM;
  uvf__hub_post(uvf__ctx_hub(ctx), (uintptr_t)&r->post | UVF__POST_CALL);
  uv_mutex_lock(&r->lock);
  while (!r->done) {
    uint64_t now_ns;
    if (limit_ns == UINT64_MAX) {
      uv_cond_wait(&r->answered, &r->lock);
      continue;
    }
    now_ns = uv_hrtime();
    if (now_ns >= limit_ns) break;
    uv_cond_timedwait(&r->answered, &r->lock, limit_ns - now_ns);
  }
  result = r->result;
  leave(r);
  return result;
}
