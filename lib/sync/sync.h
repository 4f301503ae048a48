/* SPDX-License-Identifier: MIT
 *
 * What semaphore, mutex, rwlock and condition share: how their waits begin, and the inside of the semaphore, which the
 * mutex is one of and a condition's waiters move into.
 */
#ifndef UVF_SYNC_SYNC_H
#define UVF_SYNC_SYNC_H

#include "kernel/wait.h"
#include "uvflow/sync.h"

/* --- how a wait begins ---------------------------------------------------------------------------- */

/* Takes what is wanted, or queues. */
typedef void (*uvf__sync_start)(uvf_wait_t *wait);

/* The request. */
static inline int uvf__sync_request(uvf_ctx_t *ctx, uvf_wait_t *wait, const uvf__op_type_t *type, void *object,
                                    uint64_t want, uvf_wait_cb cb, uvf__sync_start start, const char *function) {
  int rc = cb != NULL ? uvf__wait_begin(ctx, wait, type, object, want, cb, function) : UV_EINVAL;
  if (rc > 0) start(wait);
  return rc < 0 ? rc : 0;
}

/* Its twin. A debug build stops one that is called on a loop's thread also when it would not have had to wait. */
static inline int uvf__sync_block(uvf_ctx_t *ctx, const uvf__op_type_t *type, void *object, uint64_t want,
                                  uvf__sync_start start, const char *function) {
  uvf_wait_t wait;
  uvf__parker_t parker;
  int err = ctx != NULL && object != NULL ? 0 : UV_EINVAL;
  if (err == 0 && UVF__RULES) err = uvf__block_check(function);
  if (err == 0) err = uvf__wait_block_begin(ctx, &wait, type, object, want, &parker);
  if (err != 0) return err;
  start(&wait);
  return uvf__block_end(uvf__wait_op(&wait), function);
}

/* --- the semaphore's inside ----------------------------------------------------------------------- */

/* The start, withdrawal, release and end of a semaphore, for those that are called something else. */
void uvf__sem_start(uvf_wait_t *wait);
int uvf__sem_withdraw(uvf_op_t *op);
int uvf__sem_release(uvf_sem_t *sem, uint64_t n, const char *function);
int uvf__sem_destroy(uvf_sem_t *sem, const char *function);

/* Queues w, whose request says how much it wants (not more than the size), and serves it if it may be. Takes and lets
 * go of the semaphore's lock; told is the caller's to tell. */
void uvf__sem_join(uvf_sem_t *sem, uvf__waiter_t *w, uvf__told_t *told);

/* Takes w out, if it is in there, and serves those it stood in the way of. Locks and tells as above. */
void uvf__sem_leave(uvf_sem_t *sem, uvf__waiter_t *w, uvf__told_t *told);

#endif
