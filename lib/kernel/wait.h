/* SPDX-License-Identifier: MIT
 *
 * Waiting for what other threads bring about: the one way in which every provider whose objects are shared between
 * threads (channel, select, semaphore, mutex, group ...) starts, completes and withdraws a wait.
 *
 * A shared object has a lock (a word) and a queue of waiters. A waiter is a place in that queue and belongs to an
 * operation, which is either a request on a loop or the record of a blocked thread; the object cannot tell and need
 * not. What a provider writes:
 *
 *   start(req)      lock; take it now, if it may: unlock, uvf__wait_now(op, status);
 *                   else uvf__queue_push(&object->queue, &req->waiter), unlock.
 *   its event       lock; change the object; while a waiter can be served: w = uvf__queue_take(&queue, &told), write
 *                   what it gets; unlock; uvf__tell(&told).
 *   withdraw(op)    lock; uvf__queue_remove() (harmless if it is out), serve those it may have stood in the way of, as
 *                   above; unlock; uvf__tell(); return 1.
 *
 *   the request     uvf__op_begin(), then start() if that says 1.
 *   the thread      uvf__block_begin(), then start(), then uvf__block_end(), with the same request struct and type.
 *                   (For requests that are a uvf_wait_t both are one call: uvf__wait_request, uvf__wait_blocking.)
 *
 * Who may do what
 * 1. An operation is claimed once, by CAS, as every operation is (op.h): by whoever serves it, under the object's lock,
 *    on any thread; or by its loop (cancel, end of context), or by its blocked thread (end of context, deadline).
 * 2. Who serves takes the waiter out of the queue before it claims. Who loses the claim forgets the waiter: the
 *    winner's withdraw will find it out of the queue. So a waiter that was ended never stands in the way of others for
 *    longer than it takes its loop to come by; and its withdraw serves those behind it.
 * 3. Nothing is told under the object's lock. After its lock is released the object is not touched: it may be destroyed
 *    by the callback of the last one told.
 * 4. The links of a waiter are guarded by the object's lock while it is queued, and belong to its claimant afterwards.
 * 5. The object's lock is a leaf (uvf__wait_prod takes a parker's under it, which is one more). Under it nothing is
 *    allocated, no user code runs, nothing blocks.
 */
#ifndef UVF_KERNEL_WAIT_H
#define UVF_KERNEL_WAIT_H

#include "kernel/atomic.h"
#include "kernel/hub.h"
#include "kernel/op.h"
#include "uvflow/base.h"

/* --- the lock of an object: for a few dozen instructions, one locked instruction each time -------- */

/* Values of the word, 0 but for these while it is free: who has it does one thing, and will soon want it again; or does
 * many at once, and will be away for a while. */
enum { UVF__LOCK_ONE = 1, UVF__LOCK_MANY = 2 };

void uvf__lock_slow(uint32_t *lock, uint32_t as);

static inline void uvf__lock(uint32_t *lock) {
  if (UVF__UNLIKELY(!uvf__u32_claim(lock, 0, UVF__LOCK_ONE))) uvf__lock_slow(lock, UVF__LOCK_ONE);
}

static inline void uvf__lock_many(uint32_t *lock) {
  if (UVF__UNLIKELY(!uvf__u32_claim(lock, 0, UVF__LOCK_MANY))) uvf__lock_slow(lock, UVF__LOCK_MANY);
}

static inline void uvf__unlock(uint32_t *lock) { uvf__u32_store(lock, 0); }

/* --- queues: first come, first served; all zero is an empty one ----------------------------------- */

static inline void uvf__queue_push(uvf__queue_t *queue, uvf__waiter_t *w) {
  if (queue->first == NULL) queue->end = &queue->first;
  w->next = NULL;
  w->prev = queue->end;
  *queue->end = w;
  queue->end = &w->next;
}

/* 1 if it was in there. */
static inline int uvf__queue_remove(uvf__queue_t *queue, uvf__waiter_t *w) {
  if (w->prev == NULL) return 0;
  *w->prev = w->next;
  if (w->next != NULL) {
    w->next->prev = w->prev;
  } else {
    queue->end = w->prev;
  }
  w->prev = NULL;
  return 1;
}

/* All of a withdrawal that nobody else depends on. */
static inline void uvf__queue_leave(uint32_t *lock, uvf__queue_t *queue, uvf__waiter_t *w) {
  uvf__lock(lock);
  uvf__queue_remove(queue, w);
  uvf__unlock(lock);
}

static inline void uvf__waiter_init(uvf__waiter_t *w, uvf_op_t *op) {
  w->prev = NULL;
  w->op = op;
  w->won = 0;
}

/* --- serving -------------------------------------------------------------------------------------- */

/* Those that a call has claimed, to be told when the object's lock is released; the first ones claimed first. */
typedef struct uvf__told_s {
  uvf__waiter_t *first;
  uvf__waiter_t **end;
} uvf__told_t;

static inline void uvf__told_init(uvf__told_t *told) {
  told->first = NULL;
  told->end = &told->first;
}

static inline void uvf__told_add(uvf__told_t *told, uvf__waiter_t *w) {
  w->next = NULL;
  *told->end = w;
  told->end = &w->next;
}

/* Under the object's lock. Takes the first waiter out that is still waiting, claims it with status 0 and puts it among
 * the told; the caller writes what it gets (and may write op->status). Those whose context is over are taken out on the
 * way and left to whoever ended it, as those whose claim was lost are. NULL: the queue is empty now. */
uvf__waiter_t *uvf__queue_take(uvf__queue_t *queue, uvf__told_t *told);

/* The same for one waiter, which is taken out of its queue: 1 if it is the caller's to serve. */
int uvf__wait_claim(uvf__queue_t *queue, uvf__waiter_t *w, uvf__told_t *told);

/* Under the object's lock: its context has ended, though its loop or thread has not come by yet. It must not stand in
 * the way of others: uvf__wait_claim takes it out. */
int uvf__waiter_is_over(const uvf__waiter_t *w);

/* Sets them going: each on its own loop, or its own thread. No lock held; nothing of them or of the object may be
 * touched afterwards. Any thread. */
void uvf__tell_all(uvf__waiter_t *first);
static inline void uvf__tell(uvf__told_t *told) {
  if (told->first != NULL) uvf__tell_all(told->first);
}

/* The same for one operation: claimed, its status set. */
void uvf__wait_finish(uvf_op_t *op);

/* For start(): the operation that is being started need not wait, or cannot. It must not be in a queue. No lock
 * held. */
void uvf__wait_now(uvf_op_t *op, int status);

/* uvf__op_type_t.posted of those that have nothing to do then but to call back. */
void uvf__wait_posted(uvf_op_t *op);

/* --- requests that are a uvf_wait_t ---------------------------------------------------------------- */

static inline uvf_wait_t *uvf__wait_of(uvf__waiter_t *w) { return (uvf_wait_t *)(void *)w->op; }
static inline uvf_op_t *uvf__wait_op(uvf_wait_t *wait) { return (uvf_op_t *)(void *)wait; }
static inline uvf_wait_t *uvf__wait_from(uvf_op_t *op) { return (uvf_wait_t *)(void *)op; }

/* Their deliver. */
int uvf__wait_deliver(uvf_op_t *op);

/* Begins one: fills the request in. As uvf__op_begin. */
int uvf__wait_begin(uvf_ctx_t *ctx, uvf_wait_t *wait, const uvf__op_type_t *type, void *object, uint64_t want,
                    uvf_wait_cb cb, const char *function);

/* --- blocked threads ------------------------------------------------------------------------------- */

typedef struct uvf__parker_s {
  uint32_t word; /* what the thread does, and whether it has been told; atomic */
  int woken;     /* these three under `lock`; the mutex and the condition exist only while it is parked */
  int poked;
  uv_mutex_t lock;
  uv_cond_t cond;
  struct uvf__parker_s *then; /* the thread that it is to wake when it has been woken, or NULL */
  uvf__link_t link;           /* in hub->sleepers */
  const uvf_ctx_t *ctx;       /* whoever ends it pokes; the thread's caller holds it */
  /* NULL, or set after uvf__block_begin(): the parked thread calls it, no lock held, each time before it sleeps: does
   * what is due by now (it may serve op itself) and returns when by uvf__clock_ns it wants to be called again at the
   * latest; UINT64_MAX: when it is prodded. */
  uint64_t (*wake)(uvf_op_t *op);
} uvf__parker_t;

/* For functions that must not be called on the thread of a loop: a rule in debug builds, else UV_EPERM there. 0:
 * fine. */
int uvf__block_check(const char *function);

/* At the entry of such a function: a debug build checks also where it would not have to wait. */
static inline int uvf__block_check_early(const char *function) { return UVF__RULES ? uvf__block_check(function) : 0; }

/* Prepares op (any request struct, on the stack of a thread that may block) for start(). 0, or the err of ctx: then it
 * is over with that. */
int uvf__block_begin(uvf_ctx_t *ctx, uvf_op_t *op, const uvf__op_type_t *type, uvf__parker_t *parker);

/* Blocks until it has been told, or ctx ends, or its deadline comes; returns op->status. Before it really waits it
 * calls uvf__block_check(function); if that fails it withdraws and returns what that says. */
int uvf__block_end(uvf_op_t *op, const char *function);

/* 1 if looking on for a moment before it waits has paid for this thread lately. */
int uvf__block_may_linger(void);

/* The same for a uvf_wait_t. */
int uvf__wait_block_begin(uvf_ctx_t *ctx, uvf_wait_t *wait, const uvf__op_type_t *type, void *object, uint64_t want,
                          uvf__parker_t *parker);

/* --- both ------------------------------------------------------------------------------------------ */

/* start(): takes what is wanted, or queues. */
typedef void (*uvf__wait_start)(uvf_wait_t *wait);

/* All of a public function that starts a uvf_wait_t. */
static inline int uvf__wait_request(uvf_ctx_t *ctx, uvf_wait_t *wait, const uvf__op_type_t *type, void *object,
                                    uint64_t want, uvf_wait_cb cb, uvf__wait_start start, const char *function) {
  int rc = cb != NULL ? uvf__wait_begin(ctx, wait, type, object, want, cb, function) : UV_EINVAL;
  if (rc > 0) start(wait);
  return rc < 0 ? rc : 0;
}

/* All of its twin; *value (if not NULL) is what it brought. A debug build stops one that is called on a loop's thread
 * also when it would not have had to wait. */
static inline int uvf__wait_blocking(uvf_ctx_t *ctx, const uvf__op_type_t *type, void *object, uint64_t want,
                                     void **value, uvf__wait_start start, const char *function) {
  uvf_wait_t wait;
  uvf__parker_t parker;
  int err = ctx != NULL && object != NULL ? 0 : UV_EINVAL;
  if (err == 0) err = uvf__block_check_early(function);
  if (err == 0) err = uvf__wait_block_begin(ctx, &wait, type, object, want, &parker);
  if (err != 0) return err;
  start(&wait);
  err = uvf__block_end(uvf__wait_op(&wait), function);
  if (err >= 0 && value != NULL) *value = wait.value;
  return err;
}

/* For objects whose waiters have a time of their own. Under the object's lock, op in its queue. 1: it is a blocked
 * thread's, and that calls parker->wake once more before it sleeps on. 0: it is a request's, nothing was done. */
int uvf__wait_prod(uvf_op_t *op);

/* Contexts of hub have ended: threads that are blocked under them look. Any thread. */
void uvf__wait_poke_slow(uvf__hub_t *hub);
static inline void uvf__wait_poke(uvf__hub_t *hub) {
  if (UVF__UNLIKELY(atomic_load(&hub->nsleepers) != 0)) uvf__wait_poke_slow(hub);
}

/* --- the loop's next turn -------------------------------------------------------------------------- */

/* Makes a waiting operation ready in the loop's next turn; until then it can be ended as any. Its withdraw takes it out
 * of hub->later. Loop thread. */
void uvf__wait_later(uvf__hub_t *hub, uvf__waiter_t *w);
void uvf__wait_turn(uvf__hub_t *hub); /* the hub's, at the begin of a turn */

#endif
