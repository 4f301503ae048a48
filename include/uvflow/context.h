/* SPDX-License-Identifier: MIT
 *
 * uvflow/context.h: the tree of contexts: deadlines, cancellation, causes and request values.
 *
 * A context is a node of a tree that lives on one libuv loop. It is *live* until it is cancelled, its deadline comes,
 * its parent ends or its root is closed; then it is *over*, for ever. Everything started under it ends with it.
 *
 * Promises
 * ========
 *
 *  err        | 0 while live; then UV_ECANCELED or UV_ETIMEDOUT, and never anything else. The first end wins.
 *  cause      | why, apart from err: a code and an optional pointer. A thread that sees err sees the cause. Children
 *             | inherit both.
 *  cancel, on | the whole subtree on this loop is over when the call returns: every err set, every deadline disarmed.
 *  the loop   | Completions follow from the loop, behind those already due: children's before parents', and within one
 *  thread     | context the newest first.
 *  cancel, on | this one context is over when the call returns; its descendants are when its loop wakes. The same for
 *  another    | a thread that runs another loop.
 *  deadline   | never early, measured with uv_hrtime from the call; late by 1 ms at most plus the loop's own delay and
 *             | the kernel's. A loop that does not run ends nothing.
 *  release    | never cancels: "I won't touch it again". A context lives while a holder, a child, or an operation needs
 *             | it. You need not cancel first: a context that nobody holds and nothing runs under is freed at once, its
 *             | deadline disarmed.
 *  memory     | derive: one allocation or none (UV_ENOMEM: nothing happened). cancel, release, completion: none.
 *  keep-alive | operations that have not ended, watchers, values that wait for their free function and a closing root
 *             | hold the loop, as an active handle does. Contexts, deadlines and references do not, nor does a cancel
 *             | from another thread: it is applied when the loop next runs, or at close.
 *
 *  Happens-before: what a thread did before uvf_ctx_cancel is seen by whoever sees err; what was done before a
 *  release is seen by the free function of a value; what happened before on_done or a start is seen by its callback.
 *
 * The library keeps one uv_async_t and a few timers per loop, however many contexts there are. It calls
 * uv_update_time() before the loop polls, so uv_now() is fresher than you may be used to.
 */
#ifndef UVFLOW_CONTEXT_H
#define UVFLOW_CONTEXT_H

#include <stdio.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- roots ------------------------------------------------------------------------------------ */

/* Makes a root: a context that has no deadline and no values and is over only when it is closed. Every call makes a
 * root of its own; roots of one loop share the library's handles. On success the caller owns the root and ends it
 * with uvf_ctx_close.
 * Thread: the one that will run the loop, or that sets it up. Does not block.
 * UV_EINVAL: NULL. UV_ENOMEM or libuv's error from the handles' init: nothing happened. As Go's context.Background. */
UVF_EXTERN int uvf_ctx_background(uv_loop_t *loop, uvf_ctx_t **root);

/* The same, named "todo": for code that does not know yet which context it should be under. As Go's context.TODO. */
UVF_EXTERN int uvf_ctx_todo(uv_loop_t *loop, uvf_ctx_t **root);

/* Runs on the loop thread when a root is closed. Inside it the root's memory is still valid: uvf_ctx_loop(root)->data
 * leads back to your own. */
typedef void (*uvf_ctx_close_cb)(uvf_ctx_t *root);

/* Closes a root, asynchronously like uv_close: everything under it is over when the call returns (err UV_ECANCELED,
 * cause UV_ESHUTDOWN), then every operation ends and is answered, every job's memory comes back, the library's
 * handles are closed with the loop's last root, and cb (which may be NULL) is called. Takes over the caller's
 * reference: don't release the root.
 * Between this call and cb you may go on deriving and starting under the root's contexts, as callbacks that were on
 * their way will: all of it is born over, and answered. Once cb has been called that is misuse (UV_EINVAL). Asking,
 * retain and release work as long as somebody holds a reference, also after the loop is gone, on any thread; a value's
 * free function then runs in that last release.
 * Waits for jobs that are running. If it seems to hang: uvf_ctx_dump(root, stderr) in a timer names what is left.
 * Loop thread. cb never runs inside. NULL does nothing. Misuse: not a root; closed twice (uvf_ctx_err(root) tells
 * whether it is). */
UVF_EXTERN void uvf_ctx_close(uvf_ctx_t *root, uvf_ctx_close_cb cb);

/* The loop a context lives on. Any thread. After the root's close only the pointer's value is meaningful. */
UVF_EXTERN uv_loop_t *uvf_ctx_loop(const uvf_ctx_t *ctx);

/* Says that the calling thread runs ctx's loop from here on. The library learns that by itself in the loop's first
 * turn, but behind timers and idle handles of that turn: for a loop that was set up or has run on another thread,
 * call this before uv_run if such callbacks derive, start or cancel. The other thread must not touch its contexts any
 * more as the loop's own. 0, or UV_EINVAL: NULL. */
UVF_EXTERN int uvf_ctx_run_here(uvf_ctx_t *ctx);

/* 1 if the handle belongs to the library, 0 if not: skip those in a uv_walk that closes everything (uvf_ctx_close
 * closes them; closed by hand nothing under the loop's roots can end any more). Loop thread. */
UVF_EXTERN int uvf_owns_handle(const uv_handle_t *handle);

/* --- deriving --------------------------------------------------------------------------------- */

/* Common to all:
 * Loop thread of the parents (with_remote: of `local`). Does not block.
 * On success *ctx is a new live context and the caller owns one reference to it (uvf_ctx_release); on failure *ctx is
 * untouched. The child keeps the memory of its parents, which may be released at once.
 * Under a parent that is over the child is born over, with the parent's err and cause, and the call still returns 0.
 * UV_EINVAL: a NULL argument (or another one, as said). UV_ENOMEM: nothing happened. */

/* A child that can be cancelled on its own. As Go's WithCancel. */
UVF_EXTERN int uvf_ctx_with_cancel(uvf_ctx_t *parent, uvf_ctx_t **ctx);

/* A child that is over (UV_ETIMEDOUT) timeout_ms milliseconds from now, or earlier with its parent. 0: it is born
 * over. A time too far to be counted in nanoseconds means no deadline of its own. As Go's WithTimeout. */
UVF_EXTERN int uvf_ctx_with_timeout(uvf_ctx_t *parent, uint64_t timeout_ms, uvf_ctx_t **ctx);

/* A child that is over at deadline_ns on uv_hrtime's clock. Past or present: it is born over. As Go's WithDeadline. */
UVF_EXTERN int uvf_ctx_with_deadline(uvf_ctx_t *parent, uint64_t deadline_ns, uvf_ctx_t **ctx);

/* The same two with the cause that the deadline, if it is what ends the context, will give: `cause` a code (0 means
 * UV_ETIMEDOUT), `data` an optional pointer that must live as long as somebody may ask. err is still UV_ETIMEDOUT. As
 * Go's WithTimeoutCause. */
UVF_EXTERN int uvf_ctx_with_timeout_cause(uvf_ctx_t *parent, uint64_t timeout_ms, int cause, void *data,
                                          uvf_ctx_t **ctx);
UVF_EXTERN int uvf_ctx_with_deadline_cause(uvf_ctx_t *parent, uint64_t deadline_ns, int cause, void *data,
                                           uvf_ctx_t **ctx);

/* Frees a request value. Runs on the loop thread, from the loop and never inside a call of yours, once the last context
 * that could see the value is gone; from then until it has run it holds the loop. After the root's close: in the last
 * release, on its thread. */
typedef void (*uvf_value_free_cb)(void *value);

/* A child that carries a request value. `key` is compared by address: use the address of a static variable of yours.
 * `value` may be NULL, which hides an outer one. The context owns value if `free_cb` is not NULL; on failure it does
 * not.
 * Unlike Go's, a context with a value can be cancelled by itself. UV_EINVAL: key is NULL. As Go's WithValue. */
UVF_EXTERN int uvf_ctx_with_value(uvf_ctx_t *parent, const void *key, void *value, uvf_value_free_cb free_cb,
                                  uvf_ctx_t **ctx);

/* A child that has the parent's values and nothing else of it: no deadline, and neither its err nor its end. Only
 * closing the root ends it; to cancel what is below, derive once more. As Go's WithoutCancel. */
UVF_EXTERN int uvf_ctx_without_cancel(uvf_ctx_t *parent, uvf_ctx_t **ctx);

/* A child of several parents, all on one loop: over when the first of them is, with that one's err and cause (born
 * over: of the first in the array that is). Its deadline is the earliest, its values are the first parent's. A parent
 * may stand in the array twice, and be an ancestor of another. It belongs to the root of the first parent: that one's
 * close waits for what runs under it.
 * UV_EINVAL: n == 0, a NULL among them, or parents of different loops. */
UVF_EXTERN int uvf_ctx_with_any(uvf_ctx_t *const parents[], size_t n, uvf_ctx_t **ctx);

/* A child of a context on another loop. It lives on this loop, under `local` (its root or any other context), and is
 * over when `parent` or `local` is, whichever ends first. Its deadline is the earlier of the two, watched by its own
 * loop; its values are parent's.
 * The end of `parent` crosses when parent's loop carries it out: then the child's err is set, and its descendants and
 * callbacks follow on this loop. So parent's loop must run for it: neither this child nor a cancel keeps that loop
 * alive (a watcher on parent there does).
 * Loop thread of `local`. The caller must hold a reference to parent during the call. Closing parent's root ends the
 * child but does not wait for it. When both are of one loop this is with_any({parent, local}). */
UVF_EXTERN int uvf_ctx_with_remote(uvf_ctx_t *parent, uvf_ctx_t *local, uvf_ctx_t **ctx);

/* --- ending ----------------------------------------------------------------------------------- */

/* Ends a context and everything under it: err UV_ECANCELED, cause UV_ECANCELED. On one that is already over: nothing.
 * NULL: nothing.
 * Any thread that holds a reference. Runs no callback inside, allocates nothing.
 * Misuse: a root or a without_cancel context (a release build does nothing). As calling Go's CancelFunc. */
UVF_EXTERN void uvf_ctx_cancel(uvf_ctx_t *ctx);

/* The same with a cause: a code (positive ones are yours; negative ones should be libuv's; 0 means UV_ECANCELED), and
 * a pointer that must live as long as somebody may ask. As Go's CancelCauseFunc. */
UVF_EXTERN void uvf_ctx_cancel_cause(uvf_ctx_t *ctx, int cause, void *data);

/* --- asking (any thread that holds a reference; no lock, no blocking) ------------------------- */

/* 0 while live, then UV_ECANCELED or UV_ETIMEDOUT. One load. NULL: UV_EINVAL. */
UVF_EXTERN int uvf_ctx_err(const uvf_ctx_t *ctx);

/* Private: the same without a call, for loops that ask often: a context begins with its err. */
#if defined(__GNUC__)
static inline int uvf__ctx_err_here(const uvf_ctx_t *ctx) {
  int err = ctx ? __atomic_load_n((const int32_t *)(const void *)ctx, __ATOMIC_ACQUIRE) : UV_EINVAL;
  return err > 0 ? 0 : err; /* above 0: being ended */
}
#define uvf_ctx_err(ctx) uvf__ctx_err_here(ctx)
#endif

/* Why it is over: the code given to the cancel or deadline that ended it or an ancestor; UV_ECANCELED or UV_ETIMEDOUT
 * where none was given; UV_ESHUTDOWN when the root was closed; 0 while live. *data, if data is not NULL, gets the
 * pointer that came with it, or NULL. */
UVF_EXTERN int uvf_ctx_cause(const uvf_ctx_t *ctx, void **data);

#define UVF_NO_DEADLINE UINT64_MAX

/* The time on uv_hrtime's clock when it will be over at the latest, its ancestors' deadlines counted in;
 * UVF_NO_DEADLINE if there is none.
 * Constant over the life of the context, also after its end. */
UVF_EXTERN uint64_t uvf_ctx_deadline_ns(const uvf_ctx_t *ctx);

/* What is left until the deadline: 0 when it is past or the context is over, UVF_NO_DEADLINE if there is none. Reads
 * the clock.
 * The form in ms rounds up: a wait of that many ms reaches the deadline. */
UVF_EXTERN uint64_t uvf_ctx_remaining_ns(const uvf_ctx_t *ctx);
UVF_EXTERN uint64_t uvf_ctx_remaining_ms(const uvf_ctx_t *ctx);

/* The value of key in the nearest context, from this one towards the root, that holds one; NULL if none does or the
 * value is NULL. Contexts without a value cost nothing. Works also when the context is over. */
UVF_EXTERN void *uvf_ctx_value(const uvf_ctx_t *ctx, const void *key);

/* The same, telling absent from NULL: 1 found (*value is set, if value is not NULL), 0 not. */
UVF_EXTERN int uvf_ctx_find(const uvf_ctx_t *ctx, const void *key, void **value);

/* --- references ------------------------------------------------------------------------------- */

/* Takes one more reference and returns ctx. Any thread that holds one, or stands in a callback of an operation under
 * it. NULL: NULL. */
UVF_EXTERN uvf_ctx_t *uvf_ctx_retain(uvf_ctx_t *ctx);

/* Gives a reference back. Never cancels. Any thread. NULL: nothing. Misuse: the last reference of a root (close it
 * instead). */
UVF_EXTERN void uvf_ctx_release(uvf_ctx_t *ctx);

/* --- watchers --------------------------------------------------------------------------------- */

typedef struct uvf_watch_s uvf_watch_t;

/* Runs on the loop thread once after the context ended; status is the context's err. */
typedef void (*uvf_watch_cb)(uvf_watch_t *watch, int status);

/* A watcher; the caller's memory, valid until its callback has been entered or a stop has returned. */
struct uvf_watch_s {
  UVF_OP_FIELDS
  /* private */
  uvf_watch_cb uvf__cb;
};

/* Calls cb on the loop after ctx is over; soon, if it already is, but never inside this call. Several watchers on one
 * context are independent.
 * Holds the loop and the context until it was called or stopped.
 * Loop thread. 0, or UV_EINVAL: a NULL argument. Misuse: a watcher already started. As Go's AfterFunc. */
UVF_EXTERN int uvf_ctx_on_done(uvf_ctx_t *ctx, uvf_watch_t *watch, uvf_watch_cb cb);

enum {
  UVF_STOP_REMOVED = 0, /* the callback will never come; the watcher's memory is yours */
  UVF_STOP_RUNNING = 1, /* the callback is running now (you stand in it) */
  UVF_STOP_DONE = 2     /* the callback has already run, or the watcher was already stopped */
};

/* Stops a watcher; afterwards its callback does not begin, even when the context is over and the call was due.
 * Returns UVF_STOP_*, or UV_EINVAL for NULL. The watcher must still be valid memory, and have been started at least
 * once or be zeroed; then it may be stopped at any time, also after its context is gone.
 * Loop thread. Does not block. As the stop function that AfterFunc returns (UVF_STOP_REMOVED is its returning true). */
UVF_EXTERN int uvf_watch_stop(uvf_watch_t *watch);

/* The same for threads that run no loop with a root, pool threads included: asks the loop and waits for its answer,
 * timeout_ms at most (UVF_WAIT_FOREVER: without limit). When it has returned UVF_STOP_REMOVED or UVF_STOP_DONE the
 * callback neither runs nor will.
 * It does not hold the loop: one that does not run gives no answer. The caller must hold a reference to ctx, the
 * context the watcher was started under. The watcher must stay valid memory until the loop has answered, also after a
 * timeout: call again until it returns UVF_STOP_*, or wait for the root's close.
 * UV_ETIMEDOUT: no answer yet; the stop will still be carried out. UV_EPERM: this thread runs a loop that has a root:
 * it would wait for itself. UV_ENOMEM; UV_EINVAL: a NULL argument. */
UVF_EXTERN int uvf_watch_stop_wait(uvf_ctx_t *ctx, uvf_watch_t *watch, uint64_t timeout_ms);

#define UVF_WAIT_FOREVER UINT64_MAX

/* --- looking inside --------------------------------------------------------------------------- */

/* Gives a context a name for dumps: static memory or at least as long-lived as the context; not copied; NULL takes it
 * back. Loop thread. */
UVF_EXTERN void uvf_ctx_set_name(uvf_ctx_t *ctx, const char *name);

/* The name that was set, or the kind: "background", "with_timeout", ... Loop thread. */
UVF_EXTERN const char *uvf_ctx_name(const uvf_ctx_t *ctx);

/* Writes the chain from the root to ctx, as "background.with_cancel.with_deadline": as snprintf, returns the length
 * it would have had, and always terminates when size > 0. A long chain is cut at its start, which then reads "...".
 * Loop thread. */
UVF_EXTERN size_t uvf_ctx_describe(const uvf_ctx_t *ctx, char *buf, size_t size);

/* What stands directly under one context. */
typedef struct uvf_ctx_counts_s {
  size_t children; /* contexts derived from it that are live, any-of and remote children included */
  size_t ops;      /* operations under it that have not ended: jobs, ... (not those that wait for their callback) */
  size_t watchers;
  size_t guards; /* handles bound to it */
} uvf_ctx_counts_t;

/* Counts them, by walking the lists: for tests and tools. Loop thread. */
UVF_EXTERN void uvf_ctx_counts(const uvf_ctx_t *ctx, uvf_ctx_counts_t *counts);

/* Live figures of a whole loop. */
typedef struct uvf_stats_s {
  uint64_t contexts;  /* in memory: live, or over and still held by somebody */
  uint64_t live;      /* of these, not over */
  uint64_t deadlines; /* armed */
  uint64_t ops;       /* operations, watchers and guards that have not been answered */
  uint64_t ready;     /* of these, ended and waiting for their callback */
  uint64_t delivered; /* callbacks made since the first root */
  uint64_t roots;
} uvf_stats_t;

/* The figures of the loop ctx lives on. Loop thread. Constant time. */
UVF_EXTERN void uvf_ctx_stats(const uvf_ctx_t *ctx, uvf_stats_t *stats);

/* Draws the tree under ctx, one context or operation a line, with what is left of deadlines, what is over and why,
 * guarded handles, names, and in debug builds where each operation was started. Deeper than 64 levels it says how many
 * it left out.
 * Of a root it also names what its close would wait for: operations under contexts that are over and have left the tree
 * (running jobs), and how many callbacks are due.
 * Loop thread. 0, UV_EINVAL: NULL, UV_EIO: the stream failed. */
UVF_EXTERN int uvf_ctx_dump(const uvf_ctx_t *ctx, FILE *out);

#define uvf_ctx_on_done(...) UVF__AT(uvf_ctx_on_done(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_CONTEXT_H */
