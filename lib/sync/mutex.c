/* SPDX-License-Identifier: MIT
 *
 * The mutex: a semaphore of one unit; everything that holds of it is said there.
 */
#include "sync/sync.h"

static const uvf__op_type_t mutex_type = {"mutex", uvf__sem_withdraw, uvf__wait_deliver, uvf__wait_posted, 0, NULL};

static uvf_sem_t *sem_of(uvf_mutex_t *mutex) { return mutex != NULL ? &mutex->uvf__sem : NULL; }

int uvf_mutex_init(uvf_mutex_t *mutex) { return uvf_sem_init(sem_of(mutex), 1); }

int uvf_mutex_destroy(uvf_mutex_t *mutex) {
  return mutex != NULL ? uvf__sem_destroy(&mutex->uvf__sem, "uvf_mutex_destroy") : UV_EINVAL;
}

int(uvf_mutex_lock)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_mutex_t *mutex, uvf_wait_cb cb) {
  return uvf__wait_request(ctx, wait, &mutex_type, sem_of(mutex), 1, cb, uvf__sem_start, "uvf_mutex_lock");
}

int uvf_mutex_lock_wait(uvf_ctx_t *ctx, uvf_mutex_t *mutex) {
  return uvf__wait_blocking(ctx, &mutex_type, sem_of(mutex), 1, NULL, uvf__sem_start, "uvf_mutex_lock_wait");
}

int uvf_mutex_try_lock(uvf_mutex_t *mutex) { return uvf_sem_try_acquire(sem_of(mutex), 1); }

int uvf_mutex_unlock(uvf_mutex_t *mutex) {
  return mutex != NULL ? uvf__sem_release(&mutex->uvf__sem, 1, "uvf_mutex_unlock") : UV_EINVAL;
}
