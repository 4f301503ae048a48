/* SPDX-License-Identifier: MIT
 *
 * The condition. A wait is one operation that goes through two queues: the condition's until it is signalled, then the
 * mutex's, where it waits for its unit as anybody; it stays PENDING all the way and is claimed by whoever hands it the
 * mutex.
 *
 * Invariants
 * 1. Where a wait is queued says uvf__want: 0 in the condition's queue, 1 (unit) in the mutex's. It is changed, and the
 *    waiter moved, under both locks; so its withdrawal, under the condition's lock, knows where to look.
 * 2. Lock order: the condition's, then the mutex's, which is a leaf. Nobody who holds the mutex's lock takes the
 *    condition's: what hands over the mutex does not know that the waiter came from here.
 * 3. No signal is lost between unlocking and waiting: a wait is in the queue before it gives the mutex up. A signal
 *    that comes in between only moves it to the queue of the mutex that its starter still holds.
 * 4. A signal reaches somebody who gets status 0, as long as somebody waits. Who was signalled and ends otherwise
 *    passes it on, once: when it is delivered, or when its blocked thread returns; that is after its claim, whoever
 *    made it (a cancel, the end of its context, or who would have handed it the mutex and found its context over). A
 *    broadcast has reached everybody, so nothing of it is passed on: it would wake up who came later.
 * 5. `waiting` counts those that have not been told, the signalled ones too. They still use the condition: until it is
 *    0 there is no destroying.
 */
#include "kernel/context.h"
#include "sync/sync.h"

static uvf_cond_t *cond_of(const uvf_wait_t *wait) { return wait->uvf__object; }
static uvf_sem_t *sem_of(const uvf_cond_t *cond) { return &cond->uvf__mutex->uvf__sem; }

/* --- under the condition's lock ------------------------------------------------------------------- */

/* pass_on: it is for one only. */
static void move(uvf_cond_t *cond, uvf__waiter_t *w, int pass_on, uvf__told_t *told) {
  uvf_wait_t *wait = uvf__wait_of(w);
  uvf__queue_remove(&cond->uvf__waits, w);
  w->item = pass_on ? cond : NULL;
  wait->uvf__want = 1;
  uvf__sem_join(sem_of(cond), w, told);
}

/* Those whose context is over are taken out on the way, and are left to whoever ended it. */
static void signal_one(uvf_cond_t *cond, uvf__told_t *told) {
  uvf__waiter_t *w;
  while ((w = cond->uvf__waits.first) != NULL) {
    if (!uvf__waiter_is_over(w)) {
      move(cond, w, 1, told);
      return;
    }
    uvf__queue_remove(&cond->uvf__waits, w);
  }
}

/* --- waits ---------------------------------------------------------------------------------------- */

/* The mutex is held, and given up as the last thing. */
static void start(uvf_wait_t *wait) {
  uvf_cond_t *cond = cond_of(wait);
  uvf_sem_t *sem = sem_of(cond);
  wait->uvf__waiter.item = NULL;
  uvf__lock(&cond->uvf__lock);
  uvf__queue_push(&cond->uvf__waits, &wait->uvf__waiter);
  cond->uvf__waiting++;
  uvf__unlock(&cond->uvf__lock);
  uvf__sem_release(sem, 1, "uvf_cond_wait");
}

static int withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf_cond_t *cond = cond_of(wait);
  uvf__told_t told;
  uvf__told_init(&told);
  uvf__lock(&cond->uvf__lock);
  if (wait->uvf__want != 0) {
    uvf__sem_leave(sem_of(cond), &wait->uvf__waiter, &told);
  } else {
    uvf__queue_remove(&cond->uvf__waits, &wait->uvf__waiter);
  }
  uvf__unlock(&cond->uvf__lock);
  uvf__tell(&told);
  return 1;
}

/* The end of every wait that was queued, after its claim: the last use of the condition. */
static void finish(uvf_wait_t *wait, int status) {
  uvf_cond_t *cond = cond_of(wait);
  uvf__told_t told;
  uvf__told_init(&told);
  uvf__lock(&cond->uvf__lock);
  cond->uvf__waiting--;
  if (status != 0 && wait->uvf__waiter.item != NULL) signal_one(cond, &told);
  uvf__unlock(&cond->uvf__lock);
  uvf__tell(&told);
}

static int deliver(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  if (cond_of(wait) != NULL) finish(wait, op->status);
  return uvf__wait_deliver(op);
}

static const uvf__op_type_t cond_type = {"condition", withdraw, deliver, uvf__wait_posted, 0, NULL};

static int check_held(const uvf_cond_t *cond, const char *function) {
  int held = uvf_sem_available(sem_of(cond)) == 0;
  (void)function;
  UVF__RULE(held, function, "the mutex is not locked");
  return held ? 0 : UV_EINVAL;
}

int(uvf_cond_wait)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_cond_t *cond, uvf_wait_cb cb) {
  static const char function[] = "uvf_cond_wait";
  int rc;
  if (cond == NULL || cb == NULL) return UV_EINVAL;
  rc = check_held(cond, function);
  if (rc == 0) rc = uvf__wait_begin(ctx, wait, &cond_type, cond, 0, cb, function);
  if (rc < 0) return rc;
  if (rc > 0) {
    start(wait);
  } else {
    wait->uvf__object = NULL; /* over already: it was never in there */
    uvf__sem_release(sem_of(cond), 1, function);
  }
  return 0;
}

/* It always has to wait, so that it may is checked before anything is given up. */
int uvf_cond_wait_wait(uvf_ctx_t *ctx, uvf_cond_t *cond) {
  static const char function[] = "uvf_cond_wait_wait";
  uvf_wait_t wait;
  uvf__parker_t parker;
  int status;
  if (ctx == NULL || cond == NULL) return UV_EINVAL;
  status = uvf__block_check(function);
  if (status == 0) status = check_held(cond, function);
  if (status != 0) return status;
  status = uvf__wait_block_begin(ctx, &wait, &cond_type, cond, 0, &parker);
  if (status != 0) {
    uvf__sem_release(sem_of(cond), 1, function);
    return status;
  }
  start(&wait);
  status = uvf__block_end(uvf__wait_op(&wait), function);
  finish(&wait, status);
  return status;
}

/* --- signals -------------------------------------------------------------------------------------- */

int uvf_cond_signal(uvf_cond_t *cond) {
  uvf__told_t told;
  if (cond == NULL) return UV_EINVAL;
  uvf__told_init(&told);
  uvf__lock(&cond->uvf__lock);
  signal_one(cond, &told);
  uvf__unlock(&cond->uvf__lock);
  uvf__tell(&told);
  return 0;
}

int uvf_cond_broadcast(uvf_cond_t *cond) {
  uvf__told_t told;
  if (cond == NULL) return UV_EINVAL;
  uvf__told_init(&told);
  uvf__lock(&cond->uvf__lock);
  while (cond->uvf__waits.first != NULL) move(cond, cond->uvf__waits.first, 0, &told);
  uvf__unlock(&cond->uvf__lock);
  uvf__tell(&told);
  return 0;
}

/* --- life ----------------------------------------------------------------------------------------- */

int uvf_cond_init(uvf_cond_t *cond, uvf_mutex_t *mutex) {
  if (cond == NULL || mutex == NULL) return UV_EINVAL;
  *cond = (uvf_cond_t){.uvf__mutex = mutex};
  return 0;
}

int uvf_cond_destroy(uvf_cond_t *cond) {
  int idle;
  if (cond == NULL) return UV_EINVAL;
  uvf__lock(&cond->uvf__lock);
  idle = cond->uvf__waiting == 0;
  uvf__unlock(&cond->uvf__lock);
  UVF__RULE(idle, "uvf_cond_destroy", "somebody waits for it");
  return idle ? 0 : UV_EBUSY;
}
