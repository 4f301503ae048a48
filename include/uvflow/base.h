/* SPDX-License-Identifier: MIT
 *
 * uvflow/base.h: version, memory, and the operation that every asynchronous request begins with.
 *
 * The promises that hold for every operation of the library
 * =========================================================
 *
 *  start returned   | the callback
 *  -----------------+------------------------------------------------------------------------------------------
 *  an error         | never comes; the request is the caller's again at once
 *  0                | comes exactly once (never, where a stop function has taken a watcher or guard back), on the
 *                   | loop thread of the operation's context, after the call that
 *                   | started it and the callback that call stood in have returned: never inside a start, never
 *                   | inside a cancel
 *  0, but the       | comes once with the context's err; nothing was run (but uvf_fs_close and uvf_fs_closedir)
 *  context is over  |
 *
 *  who ends an operation: whoever makes its one atomic claim first; nobody changes the status afterwards
 *  who claimed      | status in the callback
 *  -----------------+------------------------------------------------------------------------------------------
 *  completion       | its result. It looks at its own context as it claims: if that has ended, the context's err, and
 *                   | nothing was received, acquired or taken (of a job or task, whose function has run: its value is
 *                   | ignored). After the claim the result stands, whatever becomes of the context before the callback
 *  uvf_*_cancel     | UV_ECANCELED; the canceller got 0. A canceller that came too late got UV_EBUSY and changed
 *                   | nothing
 *  the context      | the context's err: UV_ECANCELED or UV_ETIMEDOUT
 *
 *  - The request struct is the caller's memory. It must stay where it is until the callback has been entered (of
 *    those with a release callback: until release has been entered). From then on the library does not touch it.
 *  - A start initialises the whole request except `data`, and reads none of it: it need not be zeroed.
 *  - No lock is held while a callback of yours runs: it may start, cancel, stop and release anything, itself
 *    included.
 *  - Cancel, release and completion allocate nothing, so they cannot fail.
 *
 * Where the call may be made
 * ==========================
 *
 *  derive, start, stop, uvf_*_cancel of one operation, close   | the context's loop thread
 *  uvf_ctx_cancel, err, cause, value, deadline, retain, release | any thread that holds a reference
 *
 *  The loop thread is the one that runs the loop. Before the loop has first run it is the thread that set the root
 *  up, or whichever derived or started something last: a loop may be set up on one thread and run on another. From
 *  handing it over until it has turned there once, only the thread that runs it may touch its contexts
 *  (uvf_ctx_run_here). When a loop that has run moves to another thread, the old one must learn of it (by anything that
 *  orders the two) before it touches channels, locks and the like that contexts of that loop wait for. Nothing here is
 *  safe to call from a signal handler (a uv_signal_t callback is not one: there everything is).
 *
 * Misuse (a call on the wrong thread, a request started twice, use after close) stops a debug build of the library
 * with the name of the function and the rule it broke. A release build returns UV_EINVAL where the function can
 * return an error.
 */
#ifndef UVFLOW_BASE_H
#define UVFLOW_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(UVF_BUILDING_SHARED)
#define UVF_EXTERN __declspec(dllexport)
#elif defined(_WIN32) && defined(UVF_USING_SHARED)
#define UVF_EXTERN __declspec(dllimport)
#elif defined(__GNUC__) || defined(__clang__)
#define UVF_EXTERN __attribute__((visibility("default")))
#else
#define UVF_EXTERN
#endif

#define UVF_VERSION_MAJOR 0
#define UVF_VERSION_MINOR 1
#define UVF_VERSION_PATCH 0
#define UVF_VERSION_HEX ((UVF_VERSION_MAJOR << 16) | (UVF_VERSION_MINOR << 8) | UVF_VERSION_PATCH)
#define UVF_VERSION_STRING "0.1.0"

/* The version of the library that runs, as UVF_VERSION_HEX; compare with the macro to catch a mismatch. Any thread. */
UVF_EXTERN unsigned int uvf_version(void);

/* The same as text, "0.1.0". Static memory. Any thread. */
UVF_EXTERN const char *uvf_version_string(void);

/* A context; see context.h. Opaque, counted. */
typedef struct uvf_ctx_s uvf_ctx_t;

/* --- memory ----------------------------------------------------------------------------------- */

/* Makes the library take its memory from malloc_func and give it back to free_func, as uv_replace_allocator does for
 * libuv (the two are independent). Both may be called on any thread. Memory must be aligned as malloc's.
 * Call it before the first root of the process: later it returns UV_EBUSY and changes nothing.
 * UV_EINVAL: a NULL function. */
UVF_EXTERN int uvf_replace_allocator(uv_malloc_func malloc_func, uv_free_func free_func);

/* Contexts are kept for reuse in per-loop free lists (on by default, poisoned under AddressSanitizer). With on == 0
 * every context is an allocation of its own, so that valgrind and other tools see each of them. Costs some 50 ns a
 * context.
 * Call it before the first root of the process: later it returns UV_EBUSY and changes nothing. */
UVF_EXTERN int uvf_use_free_lists(int on);

/* --- operations ------------------------------------------------------------------------------- */

/* The fields that every request struct begins with.
 * data:   yours; the library neither reads nor writes it.
 * ctx:    read-only: the context the request runs under, valid from its start until its last callback has returned
 *         (then the library's reference is gone: retain it in the callback to keep it) or a stop has taken it back.
 * status: read-only: 0 or UV_E*, the same that the callback is given; meaningful once that has been entered. */
#define UVF_OP_FIELDS                                                                                                  \
  /* public */                                                                                                         \
  void *data;                                                                                                          \
  /* read-only */                                                                                                      \
  uvf_ctx_t *ctx;                                                                                                      \
  int status;                                                                                                          \
  /* private */                                                                                                        \
  uint32_t uvf__state;                                                                                                 \
  const void *uvf__type;                                                                                               \
  void *uvf__next;                                                                                                     \
  void *uvf__prev;                                                                                                     \
  uintptr_t uvf__post;                                                                                                 \
  const char *uvf__site;                                                                                               \
  void *uvf__live;

/* The base of every request: any request struct may be cast to it. */
typedef struct uvf_op_s {
  UVF_OP_FIELDS
} uvf_op_t;

/* Private: what the structs below and in the other headers are made of. */
typedef struct uvf__link_s {
  struct uvf__link_s *next;
  struct uvf__link_s **prev;
} uvf__link_t;

typedef struct uvf__owned_s {
  uvf__link_t link;
  const uv_handle_t *handle;
} uvf__owned_t;

typedef struct uvf__waiter_s {
  struct uvf__waiter_s *next;
  struct uvf__waiter_s **prev;
  uvf_op_t *op;
  void *item;
  uint64_t won;
} uvf__waiter_t;

typedef struct uvf__queue_s {
  uvf__waiter_t *first;
  uvf__waiter_t **end;
} uvf__queue_t;

typedef struct uvf__deadline_s {
  uvf__link_t link;
  uint64_t at_ns;
} uvf__deadline_t;

typedef struct uvf__timeout_s {
  uvf__deadline_t deadline;
  void (*ring)(struct uvf__timeout_s *timeout);
} uvf__timeout_t;

/* Ends one operation early, and nothing else: its context goes on.
 * 0: claimed; the callback comes later with UV_ECANCELED. UV_EBUSY: too late: it had already ended (its callback may
 * or may not have run: the request must still be valid memory) or its result was committed; nothing changed.
 * UV_EINVAL: NULL.
 * Loop thread. Does not block; the callback never runs inside. A watcher or guard is stopped with its own stop
 * function instead (UV_EINVAL). */
UVF_EXTERN int uvf_op_cancel(uvf_op_t *op);

/* --- waits ------------------------------------------------------------------------------------ */

/* A wait for something that others bring about, on any thread: a semaphore's units, a mutex, the end of a group ...
 * One request type for all of them; which of them it is says the function that starts it. The caller's memory, valid
 * until its callback has been entered. Ended early by uvf_op_cancel((uvf_op_t *)wait) or by its context.
 * value: read-only, in the callback of waits that bring something (an object of a pool, the result of a flight). */
typedef struct uvf_wait_s uvf_wait_t;

/* Runs on the loop thread of the wait's context, exactly once. 0: it has come about: what was waited for is yours.
 * Otherwise nothing is: the context's err, UV_ECANCELED, or what the start function lists. */
typedef void (*uvf_wait_cb)(uvf_wait_t *wait, int status);

struct uvf_wait_s {
  UVF_OP_FIELDS
  /* read-only */
  void *value;
  /* private */
  uvf_wait_cb uvf__cb;
  void *uvf__object;
  uint64_t uvf__want;
  uvf__waiter_t uvf__waiter;
};

/* Most waits have a twin for threads that may block, named ..._wait (a wait group's is uvf_waitgroup_join): what ends
 * in _wait and takes no callback blocks. For job functions and threads of yours. It returns when the same wait would
 * have called back, with the same status, and the end of ctx ends it just so, from whichever thread; a deadline of ctx
 * is watched by the blocked thread itself, so it ends also while the loop is stuck. The caller holds a reference to ctx
 * meanwhile. On a thread that runs a loop which has a root it must not be called: that stops a debug build; in a
 * release build it returns UV_EPERM if it would have had to wait. (A thread that has only set a loop up may call it.)
 * Such a wait knows its context only: uvf_work_cancel, or uvf_op_cancel of a task, does not wake the job that blocks in
 * one. Give a job that blocks a context of its own, and cancel that. A job that blocks in one keeps its thread of the
 * pool, one of uvf_work_limit(): jobs that wait for jobs that have not begun yet may wait for ever. */

/* --- where an operation was started (debug) --------------------------------------------------- */

/* Notes where the next operation of this thread starts, as a static string; the dump of a tree shows it. Called by
 * the macros below when your code is compiled without NDEBUG, ignored by a release build of the library. Any thread. */
UVF_EXTERN void uvf__site(const char *site);

#define UVF__STR2(x) #x
#define UVF__STR(x) UVF__STR2(x)
#if defined(NDEBUG) || defined(UVF_NO_SITES)
#define UVF__AT(...) __VA_ARGS__
#else
#define UVF__AT(...) (uvf__site(__FILE__ ":" UVF__STR(__LINE__)), __VA_ARGS__)
#endif

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_BASE_H */
