/* SPDX-License-Identifier: MIT
 *
 * /work: a job on the thread pool that looks for the end of its context. Its answer does not wait for it to look.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "routes.h"

enum { DEFAULT_MS = 100, MOST_MS = 60000 };

typedef struct work_s {
  task_t task;
  uvf_work_t job;
  uint64_t ms;
} work_t;

static atomic_uint running;

unsigned int work_running(void) { return atomic_load(&running); }

/* Runs on a thread of the pool, and keeps it: stands for work that takes so long. Every millisecond it looks whether
 * it is still wanted. */
static int do_work(uvf_work_t *job) {
  work_t *work = container_of(job, work_t, job);
  uint64_t end_ns = uv_hrtime() + work->ms * MS_NS;
  int err = 0;
  atomic_fetch_add(&running, 1);
  while (!(err = uvf_work_err(job)) && uv_hrtime() < end_ns) uv_sleep(1);
  atomic_fetch_sub(&running, 1);
  return err;
}

/* Called by uvflow when the job has returned, or its context is over: then it may still run, for a moment. */
static void on_done(uvf_work_t *job, int status) {
  work_t *work = container_of(job, work_t, job);
  request_t *request = request_task_over(&work->task);
  if (!request) return;
  if (status)
    request_fail(request, status);
  else
    request_answer_text(request, 200, "worked %llu ms\n", (unsigned long long)work->ms);
}

/* Called by uvflow after that, when nobody uses the memory any more. */
static void on_release(uvf_work_t *job) { free(container_of(job, work_t, job)); }

void work_start(request_t *request) {
  uint64_t ms = DEFAULT_MS;
  if (request_number(request, "ms", 0, MOST_MS, &ms)) return;
  work_t *work = request_task(request, sizeof(*work));
  if (!work) return;
  work->ms = ms;
  int err = uvf_work_start(request->ctx, &work->job, do_work, on_done, on_release);
  if (!err) return;
  request_task_over(&work->task);
  free(work);
  request_fail(request, err);
}
