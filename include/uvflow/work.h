/* SPDX-License-Identifier: MIT
 *
 * uvflow/work.h: jobs: a function run on libuv's thread pool under a context.
 *
 * What happens to a job when its context ends, or it is cancelled
 * ===============================================================
 *
 *  the job was       | release == NULL                          | release != NULL
 *  ------------------+------------------------------------------+------------------------------------------------
 *  queued            | withdrawn, fn never runs; done(err)      | the same, then release
 *  running           | fn goes on; done(err) when fn returned   | done(err) at once, while fn may still run;
 *                    |                                          | release when fn has returned
 *  committed         | done(fn's value) when fn returned        | the same, then release
 *  returned          | done(fn's value) if the completion claimed first, done(err) otherwise; then release
 *
 *  err is the context's err, or UV_ECANCELED for uvf_work_cancel. fn's return value is the job's status: 0, or any
 *  negative code. If the context is over at the moment fn returns, the status is the context's err, whatever fn
 *  returned, unless it had committed.
 *
 * Happens-before: start -> fn -> release; fn -> done, unless done has a failure status and a release callback is
 * used: then fn may still be running, and done must not touch what fn writes.
 *
 * The pool is libuv's own, shared with DNS and files. The jobs of all loops of the process together hold at most
 * uvf_work_limit() of its threads (by default all but one, and at least one). They give a thread back after a few
 * milliseconds, between two jobs, if others wait for it. With a limit that is the whole pool, giving a thread back
 * needs the loop to run; while the loop is blocked in a callback its jobs keep their threads.
 * A job that never returns blocks the exit of the process, as with uv_queue_work.
 */
#ifndef UVFLOW_WORK_H
#define UVFLOW_WORK_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uvf_work_s uvf_work_t;

/* Runs on a pool thread, at most once. Its return value is the job's status: 0 or a negative code (a positive one is
 * passed on as it is). May call what is marked "any thread" on job->ctx, and uvf_work_commit; look at
 * uvf_ctx_err(job->ctx) in long work. */
typedef int (*uvf_work_fn)(uvf_work_t *job);

/* Runs on the loop thread, exactly once for every start that returned 0. */
typedef void (*uvf_work_done_cb)(uvf_work_t *job, int status);

/* Runs on the loop thread, exactly once for every start that returned 0 and named it, after done: the library's last
 * touch of the job. */
typedef void (*uvf_work_release_cb)(uvf_work_t *job);

/* A job; the caller's memory, valid until done has been entered (release == NULL) or release has been entered. */
struct uvf_work_s {
  UVF_OP_FIELDS
  /* private */
  uvf_work_fn uvf__fn;
  uvf_work_done_cb uvf__done;
  uvf_work_release_cb uvf__release;
  uint32_t uvf__run;
  uint32_t uvf__flags;
  void *uvf__qnext;
  void *uvf__qprev;
};

/* Runs fn on the pool under ctx. Jobs of one loop start in the order they were given; a slow one holds up no other
 * while a thread of our share is free.
 * Loop thread. Does not block; neither callback runs inside. `done` and `release` may be NULL. The job holds the loop
 * and the context until it is over; job->ctx stays valid in fn, in done and in release.
 * 0: done (and release) will come, also when ctx is already over: then fn is not run.
 * UV_EINVAL: ctx, job or fn is NULL. UV_ENOMEM: nothing happened. Misuse: a job that is already started; the wrong
 * thread.
 * As `go func` with a result; a running job's early answer is what Go writes with a goroutine and a select. */
UVF_EXTERN int uvf_work_start(uvf_ctx_t *ctx, uvf_work_t *job, uvf_work_fn fn, uvf_work_done_cb done,
                              uvf_work_release_cb release);

/* For fn: 0 while its result is still wanted; otherwise why it is not: the err of its context, or UV_ECANCELED after
 * uvf_work_cancel (which uvf_ctx_err(job->ctx) does not show: it leaves the context alone). One or two loads.
 * Only from the job's own fn, on its thread. NULL: UV_EINVAL. */
UVF_EXTERN int uvf_work_err(const uvf_work_t *job);

/* Claims the result from inside fn, before it makes an effect that must not be half-seen: from then on neither a
 * cancel nor a deadline changes the status, which will be fn's return value.
 * 0: claimed, publish. UV_ECANCELED: too late: done has, or will get, a failure status: leave everything as it was
 * and return.
 * Only from the job's own fn, on its thread; a second call answers the same as the first. Does not block. */
UVF_EXTERN int uvf_work_commit(uvf_work_t *job);

/* As uvf_op_cancel, for a job: 0 it will end with UV_ECANCELED; UV_EBUSY too late; UV_EINVAL NULL. Loop thread. Does
 * not wake a job that blocks in a ..._wait function: see base.h, waits. */
UVF_EXTERN int uvf_work_cancel(uvf_work_t *job);

/* Sets how many pool threads the jobs of all loops of this process may hold at once; 0 restores the default: the size
 * of the pool less one, at least one. A limit above the pool's size is cut to it. Lowering takes effect as running
 * jobs return.
 * Any thread. Returns 0. The pool's size is read from UV_THREADPOOL_SIZE as libuv reads it, once. */
UVF_EXTERN int uvf_work_set_limit(unsigned int threads);

/* The limit in force. Any thread. */
UVF_EXTERN unsigned int uvf_work_limit(void);

#define uvf_work_start(...) UVF__AT(uvf_work_start(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_WORK_H */
