/* SPDX-License-Identifier: MIT
 *
 * uvflow/sync.h: semaphore, mutex, rwlock, condition, once, single flight, limiter, object pool, snapshot: between
 * requests on loops and threads, every wait under a context.
 *
 * What holds for all of them
 * ==========================
 *
 *  - The objects are the caller's memory, and any thread may use them unless it is said otherwise. They must stay where
 *    they are from init to destroy. Destroying one that somebody waits for, or holds something of, is misuse.
 *  - They are served in the order they came, and what is given back is handed to the first one that waits: nobody who
 *    comes later overtakes, with try_ neither. A waiter that wants more than is free holds up those behind it until it
 *    is served or ended; one that is ended makes way at once. (Before a loop has run for the first time, callbacks
 *    may come in another order than they were served.)
 *  - Holding is by request, not by thread: what one callback acquired another may release, on any thread.
 *  - Every wait takes a uvf_wait_t (a limiter's its own) and calls back with (wait, status): 0 and what was waited for
 *    is held; or the err of its context, UV_ECANCELED of uvf_op_cancel, and nothing is held, nothing was taken, not
 *    even for a moment. Under a context that is over it fails though it need not have waited. The start functions are
 *    for the loop thread of ctx, do not block, call nothing back inside, allocate nothing (but for uvf_flight_do); they
 *    return 0 (cb will come), UV_EINVAL (a NULL argument, or what is listed), and stop a debug build for a wait that is
 *    started already or the wrong thread.
 *  - The twins named ..._wait block, for threads without a loop; see base.h, waits. They return the same codes.
 *  - try_ functions never wait: 0, or UV_EAGAIN (or what is listed).
 *  - Releasing what is not held is misuse: debug builds stop, release builds return UV_EINVAL and change nothing.
 *  - Happens-before: what was done before a release is seen by whoever acquires after it.
 */
#ifndef UVFLOW_SYNC_H
#define UVFLOW_SYNC_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- semaphore, weighted ---------------------------------------------------------------------- */

typedef struct uvf_sem_s {
  /* private */
  uint64_t uvf__word; /* units that are free, and whether anybody waits */
  uint64_t uvf__size;
  uint32_t uvf__lock;
  uvf__queue_t uvf__waits;
} uvf_sem_t;

#define UVF_SEM_MAX (UINT64_MAX >> 2)

/* size units, all of them free. 0. UV_EINVAL: NULL, more than UVF_SEM_MAX. */
UVF_EXTERN int uvf_sem_init(uvf_sem_t *sem, uint64_t size);

/* All units must have been released. 0. UV_EINVAL: NULL. UV_EBUSY: misuse, units are held or somebody waits. */
UVF_EXTERN int uvf_sem_destroy(uvf_sem_t *sem);

/* Acquires n units at once. More than the size: waits until its context ends, and holds up nobody (as Go's
 * semaphore.Weighted). n == 0: succeeds when it is its turn. */
UVF_EXTERN int uvf_sem_acquire(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_sem_t *sem, uint64_t n, uvf_wait_cb cb);
UVF_EXTERN int uvf_sem_acquire_wait(uvf_ctx_t *ctx, uvf_sem_t *sem, uint64_t n);

/* 0, or UV_EAGAIN: not enough free (more than the size: always), or others wait. */
UVF_EXTERN int uvf_sem_try_acquire(uvf_sem_t *sem, uint64_t n);

/* Gives n units back; who waits for them is served. 0. UV_EINVAL: NULL; more than are held: misuse. */
UVF_EXTERN int uvf_sem_release(uvf_sem_t *sem, uint64_t n);

/* Units free now. A snapshot. NULL: 0. Any thread. */
UVF_EXTERN uint64_t uvf_sem_available(const uvf_sem_t *sem);

/* --- mutex ------------------------------------------------------------------------------------ */

/* For critical sections that last longer than a callback: a request may hold it while it waits for I/O. Handed on in
 * order (fair). Locking it twice for one purpose is a deadlock that only a context ends. */
typedef struct uvf_mutex_s {
  /* private */
  uvf_sem_t uvf__sem;
} uvf_mutex_t;

/* One that is not locked. 0. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_mutex_init(uvf_mutex_t *mutex);

/* 0. UV_EINVAL: NULL. UV_EBUSY: misuse, it is locked or somebody waits. */
UVF_EXTERN int uvf_mutex_destroy(uvf_mutex_t *mutex);

/* Locks it: who gets 0 unlocks it. */
UVF_EXTERN int uvf_mutex_lock(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_mutex_t *mutex, uvf_wait_cb cb);
UVF_EXTERN int uvf_mutex_lock_wait(uvf_ctx_t *ctx, uvf_mutex_t *mutex);

/* 0, or UV_EAGAIN: it is locked, or others wait. Any thread. */
UVF_EXTERN int uvf_mutex_try_lock(uvf_mutex_t *mutex);

/* Hands it to the first that waits. Any thread. 0. UV_EINVAL: NULL; it is not locked: misuse. */
UVF_EXTERN int uvf_mutex_unlock(uvf_mutex_t *mutex);

/* --- rwlock ----------------------------------------------------------------------------------- */

/* Many readers or one writer, in the order they came: a writer that waits holds up readers that come after it, so that
 * neither side starves. A reader must not lock again for reading while a writer may wait (as Go's RWMutex). */
typedef struct uvf_rwlock_s {
  /* private */
  uint32_t uvf__lock;
  uint32_t uvf__writer;
  uint64_t uvf__readers;
  uvf__queue_t uvf__waits;
} uvf_rwlock_t;

/* One that is not locked. 0. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_rwlock_init(uvf_rwlock_t *rwlock);

/* 0. UV_EINVAL: NULL. UV_EBUSY: misuse, it is locked or somebody waits. */
UVF_EXTERN int uvf_rwlock_destroy(uvf_rwlock_t *rwlock);

/* For reading: beside other readers. try: UV_EAGAIN if a writer has it, or anybody waits. Unlocking, any thread: 0;
 * UV_EINVAL: NULL; not locked for reading: misuse. */
UVF_EXTERN int uvf_rwlock_rdlock(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_rwlock_t *rwlock, uvf_wait_cb cb);
UVF_EXTERN int uvf_rwlock_rdlock_wait(uvf_ctx_t *ctx, uvf_rwlock_t *rwlock);
UVF_EXTERN int uvf_rwlock_try_rdlock(uvf_rwlock_t *rwlock);
UVF_EXTERN int uvf_rwlock_rdunlock(uvf_rwlock_t *rwlock);

/* For writing: alone. try: UV_EAGAIN if anybody has it, or waits. Unlocking, any thread: 0; UV_EINVAL: NULL; not locked
 * for writing: misuse. */
UVF_EXTERN int uvf_rwlock_wrlock(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_rwlock_t *rwlock, uvf_wait_cb cb);
UVF_EXTERN int uvf_rwlock_wrlock_wait(uvf_ctx_t *ctx, uvf_rwlock_t *rwlock);
UVF_EXTERN int uvf_rwlock_try_wrlock(uvf_rwlock_t *rwlock);
UVF_EXTERN int uvf_rwlock_wrunlock(uvf_rwlock_t *rwlock);

/* --- condition -------------------------------------------------------------------------------- */

/* Always used with one mutex, given at init, which must outlive it. */
typedef struct uvf_cond_s {
  /* private */
  uvf_mutex_t *uvf__mutex;
  uint64_t uvf__waiting;
  uint32_t uvf__lock;
  uvf__queue_t uvf__waits;
} uvf_cond_t;

/* Nobody waits. 0. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_cond_init(uvf_cond_t *cond, uvf_mutex_t *mutex);

/* Who was signalled waits for it until its callback is entered. 0. UV_EINVAL: NULL. UV_EBUSY: misuse. */
UVF_EXTERN int uvf_cond_destroy(uvf_cond_t *cond);

/* The caller holds the mutex. Gives it up and waits for a signal in one step, then for the mutex. The callback's
 * status:
 * 0: signalled, and the mutex is held again: look at your condition once more. Otherwise the mutex is NOT held (a wait
 * that was ended does not wait for anything more); a signal it had got goes on to the next. Also when ctx is over
 * already: the mutex is given up. But UV_EINVAL (a NULL argument; nobody holds the mutex: misuse), and UV_EPERM of the
 * twin, on any thread that runs a loop: nothing happened.
 * There are no spurious wake-ups, but others may have been faster. */
UVF_EXTERN int uvf_cond_wait(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_cond_t *cond, uvf_wait_cb cb);
UVF_EXTERN int uvf_cond_wait_wait(uvf_ctx_t *ctx, uvf_cond_t *cond);

/* Wakes the one that has waited longest, or all that wait now; nobody waits: nothing happens. Any thread, with or
 * without the mutex. 0; UV_EINVAL: NULL. */
UVF_EXTERN int uvf_cond_signal(uvf_cond_t *cond);
UVF_EXTERN int uvf_cond_broadcast(uvf_cond_t *cond);

/* --- once ------------------------------------------------------------------------------------- */

/* Something that is done by whoever comes first, while the others wait for it: and tried again by the next one, if it
 * failed or its doer was ended. As Go's sync.Once for things that take time, and tokio's OnceCell. */
typedef struct uvf_once_s {
  /* private */
  uint32_t uvf__lock;
  uint32_t uvf__state;
  uvf__queue_t uvf__waits;
} uvf_once_t;

/* All zero is one that is not done; this sets that. NULL does nothing. There is nothing to destroy: its memory may go
 * when no call that was given it is under way any more. */
UVF_EXTERN void uvf_once_init(uvf_once_t *once);

/* Asks to do it, or waits for who does. The callback's status: UVF_ONCE_DO (1): it is yours to do: call uvf_once_done
 * when it is done or has failed; 0: it is done. A failure: neither, nothing is yours. */
#define UVF_ONCE_DO 1
UVF_EXTERN int uvf_once_enter(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_once_t *once, uvf_wait_cb cb);
UVF_EXTERN int uvf_once_enter_wait(uvf_ctx_t *ctx, uvf_once_t *once);

/* Ends what UVF_ONCE_DO began. status 0: done for ever, all who wait get 0. Otherwise the next one that waits, or
 * comes, gets UVF_ONCE_DO. Any thread. 0. UV_EINVAL: NULL; nobody is at it: misuse. */
UVF_EXTERN int uvf_once_done(uvf_once_t *once, int status);

/* 1 once it is done; one load, any thread. NULL: 0. */
UVF_EXTERN int uvf_once_is_done(const uvf_once_t *once);

/* --- single flight ---------------------------------------------------------------------------- */

/* Callers that ask for the same key at the same time share one execution and its result. A cache it is not: who asks
 * after the end starts another. As Go's singleflight. */
typedef struct uvf_flight_s {
  /* private */
  uvf_ctx_t *uvf__ctx;
  uv_mutex_t uvf__mutex;
  void *uvf__table;
  size_t uvf__buckets;
  size_t uvf__calls; /* under way, forgotten ones included */
  uint64_t uvf__seed[2];
} uvf_flight_t;

/* One execution. Valid from its start until uvf_flight_end. */
typedef struct uvf_flight_call_s uvf_flight_call_t;

/* Starts an execution on the loop thread of the flight's context (not inside uvf_flight_do); uvf_flight_end must
 * follow, once, on any thread. What it starts belongs under uvf_flight_ctx(call): one waiter's deadline must not end
 * what others wait for too. arg is that of the caller that came first: it must stay valid until start has
 * been entered, which may be after that caller's own callback, if its context ends before. So pass what lives as long
 * as the flight, not the request; uvf_flight_key tells what is asked for. uvf_flight_end may be called inside. */
typedef void (*uvf_flight_start_cb)(uvf_flight_call_t *call, void *arg);

/* Frees a result that all who shared it have been told. On whichever thread was the last. */
typedef void (*uvf_flight_free_cb)(void *value);

/* A flight whose executions run under ctx (a reference is kept): on its loop, whichever loops the callers are on. That
 * loop must run for it: a call that comes from another loop does not hold it (a watcher on ctx does).
 * Loop thread of ctx. 0. UV_EINVAL: NULL. UV_ENOMEM or libuv's error: nothing happened. */
UVF_EXTERN int uvf_flight_init(uvf_flight_t *flight, uvf_ctx_t *ctx);

/* No execution may be under way, nobody wait. 0; UV_EINVAL: NULL; UV_EBUSY: misuse. */
UVF_EXTERN int uvf_flight_destroy(uvf_flight_t *flight);

/* Asks for key (len bytes, copied). The callback's status is that of the execution, with wait->value, which is valid
 * inside the callback, shared, and read-only; or the err of the caller's ctx: the execution goes on for the others, and
 * to its end if there are none. uvf_flight_is_shared(wait), in the callback, tells whether others got the same.
 * If the flight's own context is over nothing is started: its err is the status.
 * UV_ENOMEM: nothing happened. Loop thread of ctx. */
UVF_EXTERN int uvf_flight_do(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_flight_t *flight, const void *key, size_t len,
                             uvf_flight_start_cb start, void *arg, uvf_wait_cb cb);

/* 1 if more than one caller joined the execution whose result this callback brings. In the callback only. */
UVF_EXTERN int uvf_flight_is_shared(const uvf_wait_t *wait);

/* Ends an execution: everybody who waits gets status and value. free_cb (NULL: none) is called with value once all of
 * them have returned from their callbacks, also if there was none. Any thread. call is gone afterwards. 0; UV_EINVAL:
 * NULL. */
UVF_EXTERN int uvf_flight_end(uvf_flight_call_t *call, int status, void *value, uvf_flight_free_cb free_cb);

/* For executions, until uvf_flight_end: the key (and its length, if len is not NULL), and the context to start things
 * under. Any thread. NULL: NULL. */
UVF_EXTERN const void *uvf_flight_key(const uvf_flight_call_t *call, size_t *len);
UVF_EXTERN uvf_ctx_t *uvf_flight_ctx(const uvf_flight_call_t *call);

/* The next one who asks for key starts a new execution, though one is under way; those who have joined that still get
 * its result. Any thread. 1: there was one. 0: none, or NULL. As Forget. */
UVF_EXTERN int uvf_flight_forget(uvf_flight_t *flight, const void *key, size_t len);

/* --- limiter ---------------------------------------------------------------------------------- */

/* A token bucket: `rate` tokens a second flow in, `burst` fit in, it begins full. */
typedef struct uvf_limiter_s {
  /* private */
  uint32_t uvf__lock;
  double uvf__rate;
  double uvf__burst;
  double uvf__tokens;
  uint64_t uvf__at_ns;
  uvf__queue_t uvf__waits;
  uvf__waiter_t *uvf__alarmed;
  uint64_t uvf__alarm_ns;
} uvf_limiter_t;

typedef struct uvf_limiter_wait_s uvf_limiter_wait_t;

/* As uvf_wait_cb. */
typedef void (*uvf_limiter_cb)(uvf_limiter_wait_t *wait, int status);

/* A wait for tokens; the caller's memory until its callback has been entered. Ended early by
 * uvf_op_cancel((uvf_op_t *)wait). */
struct uvf_limiter_wait_s {
  UVF_OP_FIELDS
  /* private */
  uvf_limiter_cb uvf__cb;
  uvf_limiter_t *uvf__limiter;
  double uvf__want;
  double uvf__owed;
  uvf__waiter_t uvf__waiter;
  uvf__timeout_t uvf__timeout;
  void *uvf__nudge[2];
  uint32_t uvf__nudged;
};

/* rate_per_s: >= 0, UVF_LIMITER_INF: no limit, whatever the burst; 0: nothing flows in. burst: >= 0, the most that can
 * be had at once. 0. UV_EINVAL: NULL, negative, not a number. */
#define UVF_LIMITER_INF 1e300
UVF_EXTERN int uvf_limiter_init(uvf_limiter_t *limiter, double rate_per_s, double burst);

/* Nobody may wait. 0; UV_EINVAL: NULL; UV_EBUSY: misuse. */
UVF_EXTERN int uvf_limiter_destroy(uvf_limiter_t *limiter);

/* Takes effect at once, for those who wait as well: they come earlier or later than they would have. Any thread.
 * Codes as init. */
UVF_EXTERN int uvf_limiter_set(uvf_limiter_t *limiter, double rate_per_s, double burst);

/* Waits for n tokens and takes them, in order. Never early by the clock, late by 1 ms at most plus the loop's delay,
 * and that of the loops of those before it.
 * n <= 0: when it is its turn. UV_EINVAL: NULL, not a number; n above the burst, unless the rate is UVF_LIMITER_INF (it
 * could never be served). If the burst is lowered below n afterwards it waits until its context ends, and holds up
 * those behind it. */
UVF_EXTERN int uvf_limiter_wait(uvf_ctx_t *ctx, uvf_limiter_wait_t *wait, uvf_limiter_t *limiter, double n,
                                uvf_limiter_cb cb);
UVF_EXTERN int uvf_limiter_wait_wait(uvf_ctx_t *ctx, uvf_limiter_t *limiter, double n);

/* Takes n tokens if they are there and nobody waits: 0, or UV_EAGAIN. UV_EINVAL: NULL, not a number. Any thread. */
UVF_EXTERN int uvf_limiter_try(uvf_limiter_t *limiter, double n);

/* Takes n tokens in any case, in debt if need be, and says after how many ns the caller may act: for those who keep
 * time themselves. Later takers wait for the debt to be paid. Those who wait already come first, and are not held up:
 * their tokens count in the delay (and take time to count). 0 and *delay_ns. UV_EINVAL: NULL, not a number, n above the
 * burst. UV_EAGAIN: it would take for ever (rate 0; one that waits wants more than the burst): nothing is taken. Any
 * thread. */
UVF_EXTERN int uvf_limiter_reserve(uvf_limiter_t *limiter, double n, uint64_t *delay_ns);

/* Gives n tokens back that were taken or reserved and not used; not above the burst. Any thread. 0; UV_EINVAL: NULL,
 * negative, not a number. */
UVF_EXTERN int uvf_limiter_unreserve(uvf_limiter_t *limiter, double n);

/* Tokens there now; negative: in debt. A snapshot. NULL: 0. */
UVF_EXTERN double uvf_limiter_tokens(uvf_limiter_t *limiter);

/* --- object pool ------------------------------------------------------------------------------ */

/* Makes an object for the pool: 0 and *object, or a negative code. On the thread of the get; for one that waits, on
 * that of the discard or failed get whose place it has; no lock is held. Must not wait (make a half-open connection,
 * and open it as its first user). */
typedef int (*uvf_objpool_create_cb)(void **object, void *arg);

/* Frees one. No lock is held. */
typedef void (*uvf_objpool_destroy_cb)(void *object, void *arg);

/* At most `max` objects that are used again and again: connections, buffers. (Has nothing to do with libuv's thread
 * pool, which is what "the pool" means elsewhere.) */
typedef struct uvf_objpool_s {
  /* private */
  uint32_t uvf__lock;
  size_t uvf__max;
  size_t uvf__made;
  size_t uvf__making;
  size_t uvf__idle;
  void **uvf__objects;
  uvf_objpool_create_cb uvf__create;
  uvf_objpool_destroy_cb uvf__destroy;
  void *uvf__arg;
  uvf__queue_t uvf__waits;
} uvf_objpool_t;

/* Nothing is made yet. 0. UV_EINVAL: NULL (arg may be), max 0. UV_ENOMEM: nothing happened. */
UVF_EXTERN int uvf_objpool_init(uvf_objpool_t *pool, size_t max, uvf_objpool_create_cb create,
                                uvf_objpool_destroy_cb destroy, void *arg);

/* Frees what is idle. All objects must be back and nobody wait. 0; UV_EINVAL: NULL; UV_EBUSY: misuse. */
UVF_EXTERN int uvf_objpool_destroy(uvf_objpool_t *pool);

/* An object: the one put back last, or a new one while there are fewer than max, else waits for one to come back. The
 * callback has it in wait->value; status also: what create returned: it fails this one get, and the next one that waits
 * has the place; where create fails again and again all who wait get that. */
UVF_EXTERN int uvf_objpool_get(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_objpool_t *pool, uvf_wait_cb cb);
UVF_EXTERN int uvf_objpool_get_wait(uvf_ctx_t *ctx, uvf_objpool_t *pool, void **object);

/* The same without waiting. 0 and *object; UV_EAGAIN: all are out, or others wait; what create returned. Any thread. */
UVF_EXTERN int uvf_objpool_try_get(uvf_objpool_t *pool, void **object);

/* Gives an object back: to the first that waits. Any thread. 0. UV_EINVAL: NULL pool; more than were taken: misuse. */
UVF_EXTERN int uvf_objpool_put(uvf_objpool_t *pool, void *object);

/* Gives back an object that is broken: it is destroyed, and the first that waits gets a new one made, inside this call.
 * Codes as put. */
UVF_EXTERN int uvf_objpool_discard(uvf_objpool_t *pool, void *object);

/* --- snapshot --------------------------------------------------------------------------------- */

/* One value that is read far more often than it is replaced, like a configuration: readers take no lock and never wait;
 * a value that was replaced is freed when its last reader lets go. As Go's atomic.Value with the freeing C needs. */
typedef struct uvf_snapshot_s {
  /* private */
  uint64_t uvf__word;
  uint32_t uvf__lock;
  void *uvf__table;
} uvf_snapshot_t;

/* Frees a value that was replaced: on the thread of its last reader, or of the one who replaced it. */
typedef void (*uvf_snapshot_free_cb)(void *value);

/* What a reader holds. */
typedef struct uvf_snapshot_ref_s {
  /* read-only */
  void *value;
  /* private */
  void *uvf__version;
} uvf_snapshot_ref_t;

/* Begins with value (NULL is one). free_cb may be NULL. 0. UV_EINVAL: NULL snapshot. UV_ENOMEM: nothing happened, value
 * is the caller's. */
UVF_EXTERN int uvf_snapshot_init(uvf_snapshot_t *snapshot, void *value, uvf_snapshot_free_cb free_cb);

/* Frees the value. No reader may be left: misuse (UV_EBUSY). 0; UV_EINVAL: NULL. */
UVF_EXTERN int uvf_snapshot_destroy(uvf_snapshot_t *snapshot);

/* Replaces the value: who gets it from now on gets the new one. Any thread; publishers take turns. 0. UV_EINVAL: NULL.
 * UV_ENOMEM: nothing happened, value is the caller's. UV_EAGAIN: the same: 65,535 old values still have readers. */
UVF_EXTERN int uvf_snapshot_publish(uvf_snapshot_t *snapshot, void *value, uvf_snapshot_free_cb free_cb);

/* The value of now, in ref->value too; it stays valid until put. Any thread, wait-free, one locked instruction (the put
 * that frees an old value takes a lock for a moment). Every get needs its put. NULL arguments: misuse. */
UVF_EXTERN void *uvf_snapshot_get(uvf_snapshot_t *snapshot, uvf_snapshot_ref_t *ref);
UVF_EXTERN void uvf_snapshot_put(uvf_snapshot_t *snapshot, uvf_snapshot_ref_t *ref);

#define uvf_sem_acquire(...) UVF__AT(uvf_sem_acquire(__VA_ARGS__))
#define uvf_mutex_lock(...) UVF__AT(uvf_mutex_lock(__VA_ARGS__))
#define uvf_rwlock_rdlock(...) UVF__AT(uvf_rwlock_rdlock(__VA_ARGS__))
#define uvf_rwlock_wrlock(...) UVF__AT(uvf_rwlock_wrlock(__VA_ARGS__))
#define uvf_cond_wait(...) UVF__AT(uvf_cond_wait(__VA_ARGS__))
#define uvf_once_enter(...) UVF__AT(uvf_once_enter(__VA_ARGS__))
#define uvf_flight_do(...) UVF__AT(uvf_flight_do(__VA_ARGS__))
#define uvf_limiter_wait(...) UVF__AT(uvf_limiter_wait(__VA_ARGS__))
#define uvf_objpool_get(...) UVF__AT(uvf_objpool_get(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_SYNC_H */
