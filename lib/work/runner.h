/* SPDX-License-Identifier: MIT
 *
 * Runners: uv_work_t requests that carry many jobs each. One job queue per hub; one share of the pool per process.
 */
#ifndef UVF_WORK_RUNNER_H
#define UVF_WORK_RUNNER_H

#include <limits.h>

#include "kernel/hub.h"
#include "uvflow/work.h"

typedef struct uvf__workers_s uvf__workers_t;

/* Values of job->uvf__run. QUEUED and RUNNING change under the queue's lock, the others on the loop thread. */
enum { UVF__RUN_QUEUED = 1, UVF__RUN_RUNNING = 2, UVF__RUN_RETURNED = 3, UVF__RUN_WITHDRAWN = 4 };

/* The job queue of a hub, made at first use. UV_ENOMEM or libuv's error. Loop thread. */
int uvf__workers_get(uvf__hub_t *hub, uvf__workers_t **out);

/* Queues a job and sees to a thread for it. Cannot fail. Loop thread. */
void uvf__workers_push(uvf__workers_t *w, uvf_work_t *job);

/* Takes a job out if it is still queued; 1 if so, 0 if it is running or has returned. Loop thread. */
int uvf__workers_withdraw(uvf__workers_t *w, uvf_work_t *job);

/* A job that was pushed is back on the loop, run or withdrawn. Loop thread. */
void uvf__workers_back(uvf__workers_t *w);

/* uvf_work_start for a job of the library's own, without a release callback, whose function may return UVF__WORK_AGAIN:
 * then it goes to the end of the line, and is called again. */
#define UVF__WORK_AGAIN INT_MIN
int uvf__work_start_again(uvf_ctx_t *ctx, uvf_work_t *job, uvf_work_fn fn, uvf_work_done_cb done);

/* For such a function: somebody waits for its thread: another job of this loop or another, or, where the limit is the
 * whole pool, it may be that somebody else's request does. Its own pool thread. */
int uvf__workers_wanted(uvf__hub_t *hub);

/* Runs one job; defined by job.c, called on a pool thread. 0: it was posted: it is not the caller's any more; 1: it is to
 * be queued again. */
int uvf__job_run(uvf__hub_t *hub, uvf_work_t *job);

#endif
