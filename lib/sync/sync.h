/* SPDX-License-Identifier: MIT
 *
 * The inside of the semaphore, which the mutex is one of and a condition's waiters move into.
 */
#ifndef UVF_SYNC_SYNC_H
#define UVF_SYNC_SYNC_H

#include "kernel/wait.h"
#include "uvflow/sync.h"

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
