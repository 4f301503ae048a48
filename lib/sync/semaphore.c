/* SPDX-License-Identifier: MIT
 *
 * The weighted semaphore. One word: the units that are free, shifted by one, and WAITERS in the lowest bit. Where
 * nobody waits, an acquire and a release are one CAS each; where somebody does, everything goes through the lock.
 *
 * Parties: who acquires (a request's loop, a blocked thread); who releases (any thread); who ends a wait (its loop, its
 * thread).
 *
 * Invariants
 * 1. Units are in one place: free in the word, or held by whoever was given them by the claim of its operation (or by a
 *    try). Claim and subtraction are one step under the lock: a wait that was ended has taken nothing, not for a
 *    moment.
 * 2. WAITERS is changed under the lock only. At every unlock it is set exactly if the queue is not empty.
 * 3. While WAITERS is set only the holder of the lock changes the word: a try fails, and a release goes through the
 *    lock, since the CAS of either is made from a word without WAITERS. So from setting it to clearing it the holder of
 *    the lock may compute with the word as if it were a plain field.
 * 4. No wake-up is lost. Who queues sets WAITERS first and looks at the units that this very step has found. A release
 *    before it is among those units; one after it finds WAITERS, and comes to the queue through the lock.
 * 5. At every unlock the head of the queue wants more than is free (serve; one whose context is over does not count).
 *    Units grow by a release and the head changes by a withdrawal: both serve. So nobody waits for what is there, and
 *    nobody overtakes: units that are free while WAITERS is set go to the head only.
 * 6. What is checked of a release (free + n <= size) is checked of the same word that its CAS or its lock then
 *    replaces. The CAS is the last touch of one, the unlock of the other: from there on the last holder may destroy the
 *    semaphore. Destroy takes the lock, so it waits for an unlock that is still to come.
 * 7. Who wants more than the size is never in the queue, and its request does not know the semaphore (uvf__object is
 *    NULL): there is nothing to serve it from, nobody it could hold up, nothing to withdraw.
 *
 * Happens-before: a release is a release of the word, an acquire an acquire of it. The word is changed by
 * read-modify-writes and, under the lock, by loads and stores that acquire and release; so whoever gets units has seen
 * all releases that they may have come from.
 *
 * The lock is a leaf; a condition's is taken before it.
 */
#include "sync/sync.h"

enum { WAITERS = 1 };

static uvf__au64 *word_of(uvf_sem_t *sem) { return (uvf__au64 *)&sem->uvf__word; }

static uint64_t load(uvf_sem_t *sem) { return atomic_load_explicit(word_of(sem), memory_order_acquire); }

static int replace(uvf_sem_t *sem, uint64_t *from, uint64_t to) {
  return atomic_compare_exchange_weak_explicit(word_of(sem), from, to, memory_order_acq_rel, memory_order_relaxed);
}

/* --- lock-free ------------------------------------------------------------------------------------ */

static int take(uvf_sem_t *sem, uint64_t n) {
  uint64_t word = atomic_load_explicit(word_of(sem), memory_order_relaxed);
  while (!(word & WAITERS) && n <= word >> 1) {
    if (UVF__LIKELY(replace(sem, &word, word - (n << 1)))) return 1;
  }
  return 0;
}

int uvf_sem_try_acquire(uvf_sem_t *sem, uint64_t n) {
  if (sem == NULL) return UV_EINVAL;
  return take(sem, n) ? 0 : UV_EAGAIN;
}

/* --- under the lock ------------------------------------------------------------------------------- */

/* WAITERS is set, and free units are to be had. */
static void serve(uvf_sem_t *sem, uint64_t free, uvf__told_t *told) {
  uvf__waiter_t *w;
  uint64_t want;
  while ((w = sem->uvf__waits.first) != NULL &&
         ((want = uvf__wait_of(w)->uvf__want) <= free || (free > 0 && uvf__waiter_is_over(w)))) {
    if (uvf__wait_claim(&sem->uvf__waits, w, told)) free -= want;
  }
  atomic_store_explicit(word_of(sem), free << 1 | (w != NULL ? WAITERS : 0), memory_order_release);
}

void uvf__sem_join(uvf_sem_t *sem, uvf__waiter_t *w, uvf__told_t *told) {
  uint64_t word;
  uvf__lock(&sem->uvf__lock);
  word = atomic_fetch_or_explicit(word_of(sem), WAITERS, memory_order_acq_rel);
  uvf__queue_push(&sem->uvf__waits, w);
  serve(sem, word >> 1, told);
  uvf__unlock(&sem->uvf__lock);
}

void uvf__sem_leave(uvf_sem_t *sem, uvf__waiter_t *w, uvf__told_t *told) {
  uvf__lock(&sem->uvf__lock);
  if (uvf__queue_remove(&sem->uvf__waits, w)) serve(sem, load(sem) >> 1, told);
  uvf__unlock(&sem->uvf__lock);
}

/* 0 if nobody waits any more: try again without the lock. Also if n are not held, which is seen there. */
static UVF__COLD int give_to_waiters(uvf_sem_t *sem, uint64_t n) {
  uvf__told_t told;
  uint64_t word;
  int may;
  uvf__told_init(&told);
  uvf__lock(&sem->uvf__lock);
  word = load(sem);
  may = (word & WAITERS) && n <= sem->uvf__size - (word >> 1);
  if (may) serve(sem, (word >> 1) + n, &told);
  uvf__unlock(&sem->uvf__lock);
  uvf__tell(&told);
  return may;
}

int uvf__sem_release(uvf_sem_t *sem, uint64_t n, const char *function) {
  uint64_t word = atomic_load_explicit(word_of(sem), memory_order_relaxed);
  (void)function;
  for (;;) {
    int held = n <= sem->uvf__size - (word >> 1);
    UVF__RULE(held, function, "releases more than is held");
    if (!held) return UV_EINVAL;
    if (!(word & WAITERS)) {
      if (UVF__LIKELY(replace(sem, &word, word + (n << 1)))) return 0;
    } else {
      if (give_to_waiters(sem, n)) return 0;
      word = load(sem);
    }
  }
}

int uvf_sem_release(uvf_sem_t *sem, uint64_t n) {
  return sem != NULL ? uvf__sem_release(sem, n, "uvf_sem_release") : UV_EINVAL;
}

/* --- waits ---------------------------------------------------------------------------------------- */

void uvf__sem_start(uvf_wait_t *wait) {
  uvf_sem_t *sem = wait->uvf__object;
  uvf__told_t told;
  if (UVF__LIKELY(take(sem, wait->uvf__want))) {
    uvf__wait_now(uvf__wait_op(wait), 0);
  } else if (wait->uvf__want > sem->uvf__size) {
    wait->uvf__object = NULL; /* invariant 7: its context will end it */
  } else {
    uvf__told_init(&told);
    uvf__sem_join(sem, &wait->uvf__waiter, &told);
    uvf__tell(&told);
  }
}

int uvf__sem_withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf__told_t told;
  uvf__told_init(&told);
  if (wait->uvf__object != NULL) uvf__sem_leave(wait->uvf__object, &wait->uvf__waiter, &told);
  uvf__tell(&told);
  return 1;
}

static const uvf__op_type_t sem_type = {"semaphore", uvf__sem_withdraw, uvf__wait_deliver, uvf__wait_posted, 0, NULL};

int(uvf_sem_acquire)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_sem_t *sem, uint64_t n, uvf_wait_cb cb) {
  return uvf__wait_request(ctx, wait, &sem_type, sem, n, cb, uvf__sem_start, "uvf_sem_acquire");
}

int uvf_sem_acquire_wait(uvf_ctx_t *ctx, uvf_sem_t *sem, uint64_t n) {
  return uvf__wait_blocking(ctx, &sem_type, sem, n, NULL, uvf__sem_start, "uvf_sem_acquire_wait");
}

/* --- life ----------------------------------------------------------------------------------------- */

int uvf_sem_init(uvf_sem_t *sem, uint64_t size) {
  if (sem == NULL || size > UVF_SEM_MAX) return UV_EINVAL;
  *sem = (uvf_sem_t){.uvf__word = size << 1, .uvf__size = size};
  return 0;
}

int uvf__sem_destroy(uvf_sem_t *sem, const char *function) {
  int idle;
  (void)function;
  uvf__lock(&sem->uvf__lock);
  idle = load(sem) == sem->uvf__size << 1;
  uvf__unlock(&sem->uvf__lock);
  UVF__RULE(idle, function, "it is held, or somebody waits for it");
  return idle ? 0 : UV_EBUSY;
}

int uvf_sem_destroy(uvf_sem_t *sem) { return sem != NULL ? uvf__sem_destroy(sem, "uvf_sem_destroy") : UV_EINVAL; }

uint64_t uvf_sem_available(const uvf_sem_t *sem) {
  return sem != NULL ? atomic_load_explicit((const uvf__au64 *)&sem->uvf__word, memory_order_acquire) >> 1 : 0;
}
