/* SPDX-License-Identifier: MIT
 *
 * The hub: one per loop, shared by all its roots. Everything that arrives from other threads comes through its one
 * uv_async_t; everything that goes out to callbacks leaves through its ready list. Found through a registry, since
 * loop->data is the user's.
 */
#ifndef UVF_KERNEL_HUB_H
#define UVF_KERNEL_HUB_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "kernel/alloc.h"
#include "kernel/atomic.h"
#include "kernel/deadline.h"
#include "kernel/list.h"
#include "kernel/rule.h"
#include "uvflow/base.h"

typedef struct uvf__hub_s uvf__hub_t;
typedef struct uvf__root_s uvf__root_t;

/* --- posts: what other threads ask of the loop. A node's low bits say what it is. */
enum {
  UVF__POST_CTX = 0,  /* a context: its post_flags say what is asked */
  UVF__POST_OP = 1,   /* an operation: its type's posted() */
  UVF__POST_CALL = 2, /* a uvf__post_t */
  UVF__POST_MASK = 3
};

typedef struct uvf__post_s {
  uintptr_t next;
  /* `closed`: the hub's handles are gone: only memory may be settled, under the hub's gate. */
  void (*apply)(struct uvf__post_s *post, int closed);
} uvf__post_t;

/* What a floor above keeps per hub (the job queue, who uses which handle): destroyed with the hub's handles gone and
 * nothing owed. */
typedef struct uvf__ext_s {
  void (*destroy)(struct uvf__ext_s *ext);
} uvf__ext_t;

enum { UVF__EXT_WORK, UVF__EXT_IO, UVF__EXT_COUNT };

#define UVF__LIVE_BUCKETS 4096u

struct uvf__hub_s {
  /* the loop thread's; hot */
  uv_loop_t *loop;
  _Atomic(uintptr_t) thread; /* uvf__thread() of the loop's thread; 0 once closed */
  _Atomic(int) provisional; /* the loop has not run yet: `thread` is a guess, a derive or start from another moves it */
  int idle_on;
  void *ready; /* uvf_op_t list, oldest first */
  void **ready_end;
  uint64_t nready;
  uint64_t owed;         /* what holds the loop: the async handle is ref'd while it is not 0 */
  uvf__queue_t later;    /* operations that go on in the loop's next turn */
  uint64_t turn;         /* of the loop, as far as we see them */
  int posting;           /* posts are being applied: what happens now came from another thread */
  uintptr_t todo;        /* posts taken and not applied yet, oldest first */
  uvf__link_t *grave;    /* contexts whose value waits for its free function */
  uint64_t timer_due_ns; /* when `timer` will run the wheel; UINT64_MAX: not started */
  uint64_t busy;         /* requests of ours that libuv still has (runners): the handles wait for them */
  uvf__pool_t nodes;     /* contexts */
  uvf__pool_t wide;      /* those with a value or a deadline's cause */
  uvf__ext_t *exts[UVF__EXT_COUNT];
  uint64_t ncontexts, nlive, nops, ndelivered;
  uvf__root_t *roots; /* not closed completely, linked by root->next */
  uint32_t nroots;
  uvf__link_t *owned;    /* handles of the library's that lie elsewhere: uvf__owned_t */
  uint32_t open_handles; /* still to be closed; counts down in the close callbacks */
  /* any thread; on lines of their own: what the loop counts above changes with every operation */
  char apart1[64];
  _Atomic(uintptr_t) posts; /* newest first */
  _Atomic(int) draining;    /* the loop is about to look at posts again: no wake-up needed */
  char apart2[64];
  _Atomic(uint32_t) refs;      /* the handles, every root in memory, a thread in the middle of a post */
  uv_mutex_t gate;             /* guards `closed` against uv_async_send; after close, everything */
  _Atomic(uint32_t) nsleepers; /* threads blocked under a context of this hub */
  _Atomic(uint32_t) claimers;  /* other threads that are about to claim, or claiming, a context of this hub */
  _Atomic(uint32_t) sweep;     /* 1: the loop claims contexts without asking, others wait; see cancel.c */
  _Atomic(uint32_t) ending;    /* 1: the loop ends contexts that may have operations; written by it alone */
  _Atomic(uint32_t) foreign;   /* contexts that other threads are about to end, or have, and the loop has not seen to */
  uv_mutex_t sleep_lock;       /* guards the next; a leaf but for a parker's own lock */
  uvf__link_t *sleepers;
  int shut; /* no uv_async_send any more; the loop looks at the posts once more before it closes */
  int closed;
  /* handles */
  uv_async_t async;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  uv_timer_t timer;
  uvf__wheel_t wheel;    /* deadlines of contexts */
  uvf__wheel_t timeouts; /* of operations */
  uvf__link_t *ringing;  /* of these, due and not rung yet */
  uvf__hub_t *next;      /* registry, and whether it is on its way out of it: under the registry's lock */
  int leaving;
#if UVF__RULES
  void *live[UVF__LIVE_BUCKETS]; /* requests started and not over, by address */
#endif
};

/* The hub of a loop, made if there is none; takes a reference for the root that asks. */
int uvf__hub_acquire(uv_loop_t *loop, uvf__hub_t **out);
void uvf__hub_ref(uvf__hub_t *hub);
void uvf__hub_unref(uvf__hub_t *hub); /* any thread */

/* The hub of a loop, or NULL. Any thread; uvf__hub_here is quick in callbacks that libuv makes while this thread runs
 * the loop. */
uvf__hub_t *uvf__hub_find(const uv_loop_t *loop);
uvf__hub_t *uvf__hub_here(const uv_loop_t *loop);

static inline int uvf__on_loop(uvf__hub_t *hub) {
  return UVF__LIKELY(atomic_load_explicit(&hub->thread, memory_order_relaxed) == uvf__thread());
}

/* The same for threads that may be any: 0 also for the thread that set the loop up, as long as it has not run: another
 * may be about to run it. */
static inline int uvf__on_loop_surely(uvf__hub_t *hub) {
  return atomic_load_explicit(&hub->provisional, memory_order_acquire) == 0 && uvf__on_loop(hub);
}

/* For calls that belong to the loop thread: 0, or UV_EINVAL (a rule in debug builds) on another. */
int uvf__hub_enter_slow(uvf__hub_t *hub, const char *function);
static inline int uvf__hub_enter(uvf__hub_t *hub, const char *function) {
  return uvf__on_loop(hub) ? 0 : uvf__hub_enter_slow(hub, function);
}

/* 1 if the calling thread runs a loop that has a hub. One that has only set a loop up does not: another may run it. */
int uvf__hub_thread_has_loop(void);

/* 0: every context that is over to the calling thread's knowledge has its operations claimed; so an operation that is
 * claimed after this was asked is one of a live context. Not 0: its context has to be looked at. Any thread; quicker
 * than that where the loop is busy with the context. See cancel.c, invariant 7. */
static inline int uvf__hub_unsettled(uvf__hub_t *hub) {
  return (atomic_load_explicit(&hub->ending, memory_order_acquire) |
          atomic_load_explicit(&hub->foreign, memory_order_acquire)) != 0;
}

/* Gives node (a tagged pointer) to the loop. Any thread; the caller, or what it posts, keeps a root of the hub in
 * memory. */
void uvf__hub_post(uvf__hub_t *hub, uintptr_t node);

/* The same for a thread that is counted in `busy`, which keeps the hub open. */
void uvf__hub_post_busy(uvf__hub_t *hub, uintptr_t node);

/* What holds the loop. */
void uvf__hub_owe_slow(uvf__hub_t *hub, int on);
static inline void uvf__hub_owe(uvf__hub_t *hub) {
  if (hub->owed++ == 0) uvf__hub_owe_slow(hub, 1);
}
static inline void uvf__hub_unowe(uvf__hub_t *hub) {
  if (--hub->owed == 0) uvf__hub_owe_slow(hub, 0);
}

/* Something is ready or in the grave: the loop must not block before it has been seen to. */
void uvf__hub_kick_slow(uvf__hub_t *hub);
static inline void uvf__hub_kick(uvf__hub_t *hub) {
  if (!hub->idle_on) uvf__hub_kick_slow(hub);
}

/* The wheel wants to run at wake_ns. */
void uvf__hub_alarm_slow(uvf__hub_t *hub, uint64_t wake_ns);
static inline void uvf__hub_alarm(uvf__hub_t *hub, uint64_t wake_ns) {
  if (wake_ns < hub->timer_due_ns) uvf__hub_alarm_slow(hub, wake_ns);
}

/* Ends every context whose deadline is due by the clock, and rings every timeout. */
void uvf__hub_run_deadlines(uvf__hub_t *hub);

/* Calls timeout->ring(timeout) once, on the loop, when the clock has reached at_ns, unless it is stopped before. It
 * does not hold the loop: the operation it belongs to does. It must not be on already. Loop thread. */
void uvf__timeout_start(uvf__hub_t *hub, uvf__timeout_t *timeout, uint64_t at_ns,
                        void (*ring)(uvf__timeout_t *timeout));
void uvf__timeout_stop(uvf__hub_t *hub,
                       uvf__timeout_t *timeout); /* harmless if it is not on; `prev` must be NULL then */

/* For a ring that is about to call the user, who may run the loop: what else is due, or will be, is seen to there. */
void uvf__hub_ring_user(uvf__hub_t *hub);

/* Closes the handles; the last close callback calls uvf__root_handles_closed(). The hub itself still works, for what
 * callbacks of the user's start meanwhile under contexts that are over. */
void uvf__hub_shut(uvf__hub_t *hub);

/* Applies and delivers what has come since; 1 if there was something. */
int uvf__hub_drain_last(uvf__hub_t *hub);

/* The end: from here on only memory is settled, by whichever thread releases something. */
void uvf__hub_close(uvf__hub_t *hub);

/* The request counted in `busy` is back. */
void uvf__hub_unbusy(uvf__hub_t *hub);

#endif
