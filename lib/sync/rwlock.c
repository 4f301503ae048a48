/* SPDX-License-Identifier: MIT
 *
 * The rwlock: any number of readers, or one writer, and one queue for both.
 *
 * Invariants
 * 1. All fields are guarded by the lock, a leaf.
 * 2. `writer` is 1 or `readers` is above 0, never both. They are raised by whoever claims the operation that is let in,
 *    in the same step under the lock.
 * 3. At every unlock the head of the queue may not be let in (serve): it is a writer while somebody is in, or a
 *    reader while a writer is. The state changes by an unlock and the head by a withdrawal: both serve. So nobody waits
 *    for what is free.
 * 4. Who comes is let in only if nobody waits. So the order is that of coming, a writer is never starved by readers,
 *    and readers that come together behind a writer go in together.
 * 5. The unlock of the lock is the last touch; destroy takes the lock, so it waits for it.
 */
#include "sync/sync.h"

enum { READER, WRITER };

/* Under the lock. */
static int may_enter(const uvf_rwlock_t *rw, uint64_t want) {
  return !rw->uvf__writer && (want == READER || rw->uvf__readers == 0);
}

static void enter(uvf_rwlock_t *rw, uint64_t want) {
  if (want == WRITER) {
    rw->uvf__writer = 1;
  } else {
    rw->uvf__readers++;
  }
}

/* All readers that are first, or one writer. */
static void serve(uvf_rwlock_t *rw, uvf__told_t *told) {
  uvf__waiter_t *w;
  uint64_t want;
  while ((w = rw->uvf__waits.first) != NULL &&
         (may_enter(rw, want = uvf__wait_of(w)->uvf__want) || (!rw->uvf__writer && uvf__waiter_is_over(w)))) {
    if (uvf__wait_claim(&rw->uvf__waits, w, told)) enter(rw, want);
  }
}

static int visit(uvf_rwlock_t *rw, uint64_t want, uvf__told_t *told) {
  int may;
  serve(rw, told); /* who waits in vain makes way */
  may = rw->uvf__waits.first == NULL && may_enter(rw, want);
  if (may) enter(rw, want);
  return may;
}

/* --- in ------------------------------------------------------------------------------------------- */

static int try_enter(uvf_rwlock_t *rw, uint64_t want) {
  uvf__told_t told;
  int may;
  if (rw == NULL) return UV_EINVAL;
  uvf__told_init(&told);
  uvf__lock(&rw->uvf__lock);
  may = visit(rw, want, &told);
  uvf__unlock(&rw->uvf__lock);
  uvf__tell(&told);
  return may ? 0 : UV_EAGAIN;
}

static void start(uvf_wait_t *wait) {
  uvf_rwlock_t *rw = wait->uvf__object;
  uvf__told_t told;
  int may;
  uvf__told_init(&told);
  uvf__lock(&rw->uvf__lock);
  may = visit(rw, wait->uvf__want, &told);
  if (!may) uvf__queue_push(&rw->uvf__waits, &wait->uvf__waiter);
  uvf__unlock(&rw->uvf__lock);
  uvf__tell(&told);
  if (may) uvf__wait_now(uvf__wait_op(wait), 0);
}

static int withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf_rwlock_t *rw = wait->uvf__object;
  uvf__told_t told;
  uvf__told_init(&told);
  uvf__lock(&rw->uvf__lock);
  if (uvf__queue_remove(&rw->uvf__waits, &wait->uvf__waiter)) serve(rw, &told);
  uvf__unlock(&rw->uvf__lock);
  uvf__tell(&told);
  return 1;
}

static const uvf__op_type_t read_type = {"rwlock (read)", withdraw, uvf__wait_deliver, uvf__wait_posted, 0, NULL};
static const uvf__op_type_t write_type = {"rwlock (write)", withdraw, uvf__wait_deliver, uvf__wait_posted, 0, NULL};

int(uvf_rwlock_rdlock)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_rwlock_t *rwlock, uvf_wait_cb cb) {
  return uvf__wait_request(ctx, wait, &read_type, rwlock, READER, cb, start, "uvf_rwlock_rdlock");
}

int(uvf_rwlock_wrlock)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_rwlock_t *rwlock, uvf_wait_cb cb) {
  return uvf__wait_request(ctx, wait, &write_type, rwlock, WRITER, cb, start, "uvf_rwlock_wrlock");
}

int uvf_rwlock_rdlock_wait(uvf_ctx_t *ctx, uvf_rwlock_t *rwlock) {
  return uvf__wait_blocking(ctx, &read_type, rwlock, READER, NULL, start, "uvf_rwlock_rdlock_wait");
}

int uvf_rwlock_wrlock_wait(uvf_ctx_t *ctx, uvf_rwlock_t *rwlock) {
  return uvf__wait_blocking(ctx, &write_type, rwlock, WRITER, NULL, start, "uvf_rwlock_wrlock_wait");
}

int uvf_rwlock_try_rdlock(uvf_rwlock_t *rwlock) { return try_enter(rwlock, READER); }
int uvf_rwlock_try_wrlock(uvf_rwlock_t *rwlock) { return try_enter(rwlock, WRITER); }

/* --- out ------------------------------------------------------------------------------------------ */

/* 1 if one was in there. */
static int leave(uvf_rwlock_t *rw, uint64_t want) {
  uvf__told_t told;
  int held;
  uvf__told_init(&told);
  uvf__lock(&rw->uvf__lock);
  held = want == WRITER ? rw->uvf__writer != 0 : rw->uvf__readers != 0;
  if (held && want == WRITER) rw->uvf__writer = 0;
  if (held && want == READER) rw->uvf__readers--;
  if (held) serve(rw, &told);
  uvf__unlock(&rw->uvf__lock);
  uvf__tell(&told);
  return held;
}

int uvf_rwlock_rdunlock(uvf_rwlock_t *rwlock) {
  int held;
  if (rwlock == NULL) return UV_EINVAL;
  held = leave(rwlock, READER);
  UVF__RULE(held, "uvf_rwlock_rdunlock", "it is not locked for reading");
  return held ? 0 : UV_EINVAL;
}

int uvf_rwlock_wrunlock(uvf_rwlock_t *rwlock) {
  int held;
  if (rwlock == NULL) return UV_EINVAL;
  held = leave(rwlock, WRITER);
  UVF__RULE(held, "uvf_rwlock_wrunlock", "it is not locked for writing");
  return held ? 0 : UV_EINVAL;
}

/* --- life ----------------------------------------------------------------------------------------- */

int uvf_rwlock_init(uvf_rwlock_t *rwlock) {
  if (rwlock == NULL) return UV_EINVAL;
  *rwlock = (uvf_rwlock_t){0};
  return 0;
}

int uvf_rwlock_destroy(uvf_rwlock_t *rwlock) {
  int idle;
  if (rwlock == NULL) return UV_EINVAL;
  uvf__lock(&rwlock->uvf__lock);
  idle = !rwlock->uvf__writer && rwlock->uvf__readers == 0 && rwlock->uvf__waits.first == NULL;
  uvf__unlock(&rwlock->uvf__lock);
  UVF__RULE(idle, "uvf_rwlock_destroy", "it is held, or somebody waits for it");
  return idle ? 0 : UV_EBUSY;
}
