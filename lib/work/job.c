/* SPDX-License-Identifier: MIT
 *
 * Jobs: the operation around a function on the pool. Which thread runs it, and when, is runner.c's.
 *
 * Parties: fn, on a pool thread (may commit; its return claims); the loop (cancel, end of context, delivery).
 *
 * Invariants
 * 1. Every job that was pushed comes back to the loop exactly once: withdrawn while queued (the withdrawal is the way
 *    back), or posted by the pool thread after fn returned. (One that is to be called again is queued once more instead:
 *    as if fn had not returned.)
 * 2. The claim is made by fn's return (CLAIMED), by fn's commit (COMMITTED; the return then writes the status), or by
 *    a failure on the loop (CLAIMED). The pool thread writes status only if it made the claim, and before the post.
 * 3. done comes when the claim is made and, without a release callback, the job is back. release comes when done has
 *    been told and the job is back. Between the two the job stays linked under its context, which it holds: fn may
 *    still ask it for err.
 * 4. The pool thread touches nothing of the job after its post.
 * 5. The context may be over, the loop not having come to the job yet. The pool thread looks at the context only where
 *    that can be (uvf__hub_unsettled): the loop writes to the context with every operation, and its line would go to and
 *    fro. What fn knows of the end of its context, from a refused commit, from uvf_work_err or because it was fn's own
 *    doing, is known by the status, too.
 */
#include "kernel/context.h"
#include "kernel/op.h"
#include "work/runner.h"

enum { DONE_TOLD = 1 };

static uvf__workers_t *workers_of(uvf_op_t *op) {
  return (uvf__workers_t *)(void *)uvf__ctx_hub(op->ctx)->exts[UVF__EXT_WORK];
}

static const uvf__op_type_t again_type;

/* --- pool thread ------------------------------------------------------------------------------ */

int uvf__job_run(uvf__hub_t *hub, uvf_work_t *job) {
  uvf_op_t *op = (uvf_op_t *)(void *)job;
  int result = 0;
  int unsettled = uvf__hub_unsettled(hub);
  /* Not begun when it is claimed or its context is over, though the loop may not have come to withdraw it. */
  if (uvf__u32_load(&op->uvf__state) == UVF__OP_PENDING && (!unsettled || uvf__ctx_err(job->ctx) == 0)) {
    result = job->uvf__fn(job);
  }
  if (UVF__UNLIKELY(result == UVF__WORK_AGAIN) && uvf__op_type(op) == &again_type) return 1;
  unsettled = uvf__hub_unsettled(hub); /* before the claim: invariant 5 */
  if (uvf__op_claim(op)) {
    int err = unsettled ? uvf__ctx_err(job->ctx) : 0;
    op->status = err != 0 ? err : result;
  } else if (uvf__u32_load(&op->uvf__state) == UVF__OP_COMMITTED) {
    op->status = result;
  }
  uvf__hub_post_busy(hub, (uintptr_t)op | UVF__POST_OP);
  return 0;
}

int uvf_work_err(const uvf_work_t *job) {
  int err;
  uint32_t state;
  if (job == NULL) return UV_EINVAL;
  err = uvf__ctx_err(job->ctx);
  if (err != 0) return err;
  state = uvf__u32_load(&job->uvf__state);
  return state == UVF__OP_PENDING || state == UVF__OP_COMMITTED ? 0 : UV_ECANCELED;
}

int uvf_work_commit(uvf_work_t *job) {
  uvf_op_t *op = (uvf_op_t *)(void *)job;
  if (job == NULL) return UV_EINVAL;
  if (uvf__ctx_err(job->ctx) == 0 && uvf__u32_claim(&op->uvf__state, UVF__OP_PENDING, UVF__OP_COMMITTED)) return 0;
  return uvf__u32_load(&op->uvf__state) == UVF__OP_COMMITTED ? 0 : UV_ECANCELED;
}

/* --- loop thread ------------------------------------------------------------------------------ */

static int withdraw(uvf_op_t *op) {
  uvf_work_t *job = (uvf_work_t *)(void *)op;
  uvf__workers_t *w = workers_of(op);
  if (!uvf__workers_withdraw(w, job)) return job->uvf__release != NULL;
  job->uvf__run = UVF__RUN_WITHDRAWN;
  uvf__workers_back(w);
  return 1;
}

static void posted(uvf_op_t *op) {
  uvf_work_t *job = (uvf_work_t *)(void *)op;
  job->uvf__run = UVF__RUN_RETURNED;
  uvf__workers_back(workers_of(op));
  /* A job that a failure claimed, with a release callback, may be on the ready list already: its delivery will find
   * that fn has returned. */
  if (uvf__u32_load(&op->uvf__state) != UVF__OP_READY) uvf__op_ready(op);
}

static void release(uvf_op_t *op) {
  uvf_work_t *job = (uvf_work_t *)(void *)op;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  job->uvf__release(job);
}

static int deliver(uvf_op_t *op) {
  uvf_work_t *job = (uvf_work_t *)(void *)op;
  uvf_work_done_cb done = job->uvf__done;
  int running = job->uvf__run == UVF__RUN_RUNNING;
  if (job->uvf__flags & DONE_TOLD) {
    release(op);
    return 1;
  }
  if (job->uvf__release == NULL) {
    uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
    if (done != NULL) done(job, op->status);
    return 1;
  }
  job->uvf__flags |= DONE_TOLD;
  if (running) {
    uvf__root_t *root = op->ctx->root;
    uvf__op_relink(op);      /* invariant 3 */
    uvf__root_live(op->ctx); /* done may run the loop, and release come in there: this call is not over then */
    if (done != NULL) done(job, op->status);
    uvf__root_unlive(root);
    return 0;
  }
  if (done != NULL) done(job, op->status);
  release(op);
  return 1;
}

static const uvf__op_type_t job_type = {"work", withdraw, deliver, posted, 0, NULL};
static const uvf__op_type_t again_type = {"work", withdraw, deliver, posted, 0, NULL};

static int start(uvf_ctx_t *ctx, uvf_work_t *job, const uvf__op_type_t *type, uvf_work_fn fn, uvf_work_done_cb done,
                 uvf_work_release_cb release_cb) {
  uvf__workers_t *w;
  int rc;
  if (ctx == NULL || job == NULL || fn == NULL) return UV_EINVAL;
  rc = uvf__workers_get(uvf__ctx_hub(ctx), &w);
  if (rc == 0) rc = uvf__op_begin(ctx, (uvf_op_t *)(void *)job, type, "uvf_work_start");
  if (rc < 0) return rc;
  job->uvf__fn = fn;
  job->uvf__done = done;
  job->uvf__release = release_cb;
  job->uvf__flags = 0;
  job->uvf__run = UVF__RUN_WITHDRAWN;
  if (rc > 0) uvf__workers_push(w, job);
  return 0;
}

int(uvf_work_start)(uvf_ctx_t *ctx, uvf_work_t *job, uvf_work_fn fn, uvf_work_done_cb done,
                    uvf_work_release_cb release_cb) {
  return start(ctx, job, &job_type, fn, done, release_cb);
}

int uvf__work_start_again(uvf_ctx_t *ctx, uvf_work_t *job, uvf_work_fn fn, uvf_work_done_cb done) {
  return start(ctx, job, &again_type, fn, done, NULL);
}

int uvf_work_cancel(uvf_work_t *job) { return uvf_op_cancel((uvf_op_t *)(void *)job); }
