/* SPDX-License-Identifier: MIT
 *
 * The operation: the base of every asynchronous request, and what a provider (jobs, guards, ...) must say of its own.
 */
#ifndef UVF_KERNEL_OP_H
#define UVF_KERNEL_OP_H

#include "kernel/atomic.h"
#include "kernel/hub.h"
#include "kernel/rule.h"
#include "uvflow/base.h"

/* Values of op->uvf__state. PENDING -> CLAIMED or COMMITTED is the one atomic claim, from any thread; the later steps
 * are the loop's. */
enum {
  UVF__OP_NEVER = 0,     /* zeroed memory that was never started */
  UVF__OP_PENDING = 1,   /* nobody has claimed it */
  UVF__OP_COMMITTED = 2, /* its result is claimed, and will be told later */
  UVF__OP_CLAIMED = 3,   /* status is fixed; not on the ready list yet */
  UVF__OP_READY = 4,     /* on the hub's ready list */
  UVF__OP_DONE = 5       /* the callback has been entered, or a stop has taken it away */
};

/* What a provider says of its operations. */
typedef struct uvf__op_type_s {
  const char *name;
  /* The loop has claimed op with a failure (cancel, end of context). Takes it out of whatever the provider keeps it
   * in. Returns 1 if its callback may come now; 0 if the provider will say so itself with uvf__op_ready(). Runs no
   * user code, allocates nothing. NULL: always 1. */
  int (*withdraw)(uvf_op_t *op);
  /* Calls the callback; may free the memory of op. Returns 1 if the operation is over with that; 0 if the provider
   * will call uvf__op_retire() later. */
  int (*deliver)(uvf_op_t *op);
  /* Another thread posted op; NULL if none ever does. */
  void (*posted)(uvf_op_t *op);
  unsigned int flags;
  /* For one that is delivered many times: uvf_op_cancel came while it was claimed, perhaps to go on. Notes that it is
   * to end with UV_ECANCELED: 0; or UV_EBUSY: it was the end. NULL: too late is too late. */
  int (*stop)(uvf_op_t *op);
} uvf__op_type_t;

enum {
  UVF__OP_UNREF = 1, /* does not hold the loop before it is ready */
  UVF__OP_WATCH = 2, /* counted as a watcher, ended by its own stop only */
  UVF__OP_GUARD = 4, /* counted as a guard, the same */
  UVF__OP_HANDLE = 8 /* a guard of a handle */
};

static inline const uvf__op_type_t *uvf__op_type(const uvf_op_t *op) { return (const uvf__op_type_t *)op->uvf__type; }

/* Started, and neither delivered nor taken away: only then may op->ctx be followed. */
static inline int uvf__op_is_on(const uvf_op_t *op) {
  uint32_t state = uvf__u32_load(&op->uvf__state);
  return state != UVF__OP_NEVER && state != UVF__OP_DONE;
}

/* Prepares op under ctx, on its loop thread. 1: it runs; the provider starts it now (and cannot fail any more). 0:
 * the context is over, the callback will come by itself. A negative code: nothing happened. `function` is for the
 * rules. */
int uvf__op_begin(uvf_ctx_t *ctx, uvf_op_t *op, const uvf__op_type_t *type, const char *function);

/* The atomic claim; 1 if it was the caller who got it. Any thread. */
static inline int uvf__op_claim(uvf_op_t *op) {
  return uvf__u32_claim(&op->uvf__state, UVF__OP_PENDING, UVF__OP_CLAIMED);
}

/* Puts a claimed op, its status set, on the ready list. Loop thread. */
void uvf__op_ready(uvf_op_t *op);

/* Claims for a failure and withdraws; 0 or UV_EBUSY. Loop thread. */
int uvf__op_fail(uvf_op_t *op, int status);

/* Takes op away from its list, ready or not, without a callback, and retires it. 1 if it was there. Loop thread. */
int uvf__op_remove(uvf_op_t *op);

/* The last act on an operation: gives back what it held of ctx, root and loop. op itself may be gone. Loop thread. */
void uvf__op_retire(uvf_ctx_t *ctx);

/* The operation whose callback this thread is in. */
extern _Thread_local uvf_op_t *uvf__op_current UVF__TLS_QUICK;

/* For an operation that calls back more than once: after deliver() has begun, makes it PENDING again under its context.
 * 0, or the err of the context, which is over: then nothing was done. Loop thread. */
int uvf__op_rearm(uvf_op_t *op);

/* Links a request under its context again whose memory is kept after its callback (a job waiting for its release). */
void uvf__op_relink(uvf_op_t *op);

/* Calls the callbacks of at most `max` ready operations; returns how many. */
unsigned int uvf__op_deliver(uvf__hub_t *hub, unsigned int max);

/* Registry of live requests, debug builds only. */
#if UVF__RULES
int uvf__op_is_live(uvf__hub_t *hub, const uvf_op_t *op);
void uvf__op_mark_live(uvf__hub_t *hub, uvf_op_t *op);
void uvf__op_mark_dead(uvf__hub_t *hub, uvf_op_t *op);
#else
#define uvf__op_mark_live(hub, op) ((void)(hub), (void)(op))
#define uvf__op_mark_dead(hub, op) ((void)(hub), (void)(op))
#endif

#endif
