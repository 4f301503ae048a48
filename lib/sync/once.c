/* SPDX-License-Identifier: MIT
 *
 * Once: the first that comes does it, the others wait for it; when it fails the next one does it.
 *
 * Invariants
 * 1. IDLE -> BUSY: a doer was chosen, by its own enter or by the done of the one before. BUSY -> DONE, BUSY -> IDLE (it
 *    failed and nobody waits), or BUSY again (handed on): by uvf_once_done. All under the lock; DONE is final, and is
 *    read without it.
 * 2. There are waiters only while it is BUSY: so whoever ends that must choose a doer among them, or tell all.
 * 3. A doer is a waiter that was claimed with UVF_ONCE_DO: its context may end from then on, the duty stays with it.
 *    One whose context is over already is passed by: its end is on its way.
 * 4. A waiter that is ended stands in nobody's way: whoever waits needs the doer, not those before it.
 */
#include "kernel/wait.h"
#include "uvflow/sync.h"

enum { IDLE = 0, BUSY = 1, DONE = 2 };

void uvf_once_init(uvf_once_t *once) {
  if (once == NULL) return;
  once->uvf__lock = 0;
  once->uvf__state = IDLE;
  once->uvf__waits.first = NULL;
  once->uvf__waits.end = NULL;
}

int uvf_once_is_done(const uvf_once_t *once) { return once != NULL && uvf__u32_load(&once->uvf__state) == DONE; }

static int withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf_once_t *once = wait->uvf__object;
  uvf__queue_leave(&once->uvf__lock, &once->uvf__waits, &wait->uvf__waiter);
  return 1;
}

static const uvf__op_type_t once_type = {"once", withdraw, uvf__wait_deliver, uvf__wait_posted, 0, NULL};

static void start(uvf_wait_t *wait) {
  uvf_once_t *once = wait->uvf__object;
  uint32_t state = uvf__u32_load(&once->uvf__state);
  if (state != DONE) {
    uvf__lock(&once->uvf__lock);
    state = once->uvf__state;
    if (state == IDLE) uvf__u32_store(&once->uvf__state, BUSY);
    if (state == BUSY) uvf__queue_push(&once->uvf__waits, &wait->uvf__waiter);
    uvf__unlock(&once->uvf__lock);
  }
  if (state != BUSY) uvf__wait_now(uvf__wait_op(wait), state == IDLE ? UVF_ONCE_DO : 0);
}

int(uvf_once_enter)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_once_t *once, uvf_wait_cb cb) {
  return uvf__wait_request(ctx, wait, &once_type, once, 0, cb, start, "uvf_once_enter");
}

int uvf_once_enter_wait(uvf_ctx_t *ctx, uvf_once_t *once) {
  return uvf__wait_blocking(ctx, &once_type, once, 0, NULL, start, "uvf_once_enter_wait");
}

/* Under the lock: what becomes of it, and of those who wait. */
static uint32_t settle(uvf_once_t *once, int status, uvf__told_t *told) {
  uvf__waiter_t *next = uvf__queue_take(&once->uvf__waits, told);
  if (status != 0) {
    if (next == NULL) return IDLE;
    next->op->status = UVF_ONCE_DO;
    return BUSY;
  }
  while (next != NULL) next = uvf__queue_take(&once->uvf__waits, told);
  return DONE;
}

int uvf_once_done(uvf_once_t *once, int status) {
  uvf__told_t told;
  int busy;
  if (once == NULL) return UV_EINVAL;
  uvf__told_init(&told);
  uvf__lock(&once->uvf__lock);
  busy = once->uvf__state == BUSY;
  if (busy) uvf__u32_store(&once->uvf__state, settle(once, status, &told));
  uvf__unlock(&once->uvf__lock);
  UVF__RULE(busy, "uvf_once_done", "nobody is at it: only who was given UVF_ONCE_DO may end it, once");
  if (!busy) return UV_EINVAL;
  uvf__tell(&told);
  return 0;
}
