/* SPDX-License-Identifier: MIT
 *
 * The runners of a pipeline: jobs on the pool that pick chunks and make their calls, as long as there are any. See
 * run.c for the whole.
 *
 * Invariants
 * 1. `waiting` counts runners that were started and are not in run() (they are queued as jobs), running_chunks those
 *    that are; both under the lock. Jobs are started by the loop alone.
 * 2. A runner looks for work under the lock, and goes only if there was none for a while; so whoever makes work, under
 *    the same lock, sees either a runner that will look again, or none, and calls the loop.
 * 3. After a quantum, if others wait for the thread, it goes to the end of the line of jobs: in between it is
 *    `waiting`.
 */
#include "flow/flow.h"
#include "kernel/context.h"
#include "work/runner.h"

#define LINGER_MIN_NS UVF__FLOW_LINGER_NS
#define LINGER_MAX_NS 200000
#define LINGER_SOON_NS 500000 /* back after that it might as well have stayed */
#define QUANTUM_NS 2000000

void uvf__flow_drop_all(uvf_pipeline_t *p) {
  void *items[UVF__FLOW_BATCH];
  uvf_stage_t *s = NULL;
  int n;
  do {
    uvf__lock_many(&p->lock);
    n = uvf__flow_drop_some(p, &s, items);
    if (n > 0) uvf__flow_settle(p);
    uvf__unlock(&p->lock);
    for (int i = 0; i < n; i++) uvf__flow_drop(s, items[i]);
  } while (n > 0);
}

void uvf__flow_call_loop(uvf_pipeline_t *p) {
  if (uvf__op_claim(&p->op)) uvf__wait_finish(&p->op);
}

static int must_yield(uvf_pipeline_t *p, uint64_t now_ns, uint64_t *until_ns) {
  if (now_ns < *until_ns || p->stop || p->open == 0) return 0;
  *until_ns = now_ns + QUANTUM_NS;
  return uvf__workers_wanted(uvf__ctx_hub(p->ctx));
}

/* Makes the calls of a chunk; when they were over. Entered and left under the lock. */
static uint64_t run_chunk(uvf_pipeline_t *p, uvf__chunk_t *c) {
  uint64_t now_ns;
  uvf__unlock(&p->lock);
  uvf__flow_call(c);
  now_ns = c->now_ns;
  uvf__lock_many(&p->lock);
  uvf__flow_finish(c);
  if (p->to_drop) {
    uvf__unlock(&p->lock);
    uvf__flow_drop_all(p);
    uvf__lock_many(&p->lock);
  }
  return now_ns;
}

/* Waits for a moment for something to change. Under the lock, which is put down meanwhile. */
static void look_on(uvf_pipeline_t *p) {
  uint32_t hint = p->hint;
  uvf__unlock(&p->lock);
  for (int i = 0; i < 20 && uvf__u32_load(&p->hint) == hint; i++) uvf__spin(200);
  uvf__lock_many(&p->lock);
}

/* The loop has something to do: calls of its own, or another runner to start. Under the lock. */
static int wants_loop(uvf_pipeline_t *p, uint64_t now_ns) {
  unsigned int wanted = uvf__flow_wants_runners(p, now_ns);
  if (p->wanted == 0 && wanted > 0) {
    p->wanted = wanted;
    return 1;
  }
  return p->open == 0 || p->to_end || p->to_wait || uvf__flow_has_work(p, UVF__ON_LOOP);
}

static void call_loop_unlocked(uvf_pipeline_t *p) {
  uvf__unlock(&p->lock);
  uvf__flow_call_loop(p);
  uvf__lock_many(&p->lock);
}

/* A runner comes: how long to look on follows from how long it was gone. Where items come far apart that is not worth a
 * processor. */
static void set_linger(uvf_pipeline_t *p, uint64_t now_ns) {
  if (p->left_ns == 0) return;
  p->linger_ns = now_ns - p->left_ns < LINGER_SOON_NS ? p->linger_ns * 2 : p->linger_ns / 2;
  if (p->linger_ns < LINGER_MIN_NS) p->linger_ns = LINGER_MIN_NS;
  if (p->linger_ns > LINGER_MAX_NS) p->linger_ns = LINGER_MAX_NS;
}

int uvf__flow_runner(uvf_work_t *job) {
  uvf_pipeline_t *p = UVF__CONTAINER(job, uvf__runner_t, job)->pipeline;
  uint64_t now_ns = uv_hrtime();
  uint64_t until_ns = now_ns + QUANTUM_NS;
  uint64_t idle_ns = 0; /* since when there is nothing to do; 0: there is */
  int result = 0;
  uvf__lock_many(&p->lock);
  p->waiting--;
  p->running_chunks++;
  set_linger(p, now_ns);
  while (result == 0) {
    uvf__chunk_t *c = uvf__flow_pick(p, UVF__ON_POOL);
    if (wants_loop(p, now_ns)) call_loop_unlocked(p);
    if (c != NULL) {
      idle_ns = 0;
      c->now_ns = now_ns; /* when the last one was over, or there was nothing to do */
      now_ns = run_chunk(p, c);
      if (must_yield(p, now_ns, &until_ns)) {
        uvf__flow_settle(p);
        if (wants_loop(p, now_ns)) call_loop_unlocked(p);
        result = UVF__WORK_AGAIN;
      }
    } else {
      now_ns = uv_hrtime();
      if (idle_ns == 0) idle_ns = now_ns;
      if (p->stop || p->open == 0 || now_ns > idle_ns + p->linger_ns) break;
      look_on(p);
    }
  }
  p->running_chunks--;
  if (result != 0) {
    p->waiting++;
  } else {
    p->left_ns = now_ns;
  }
  uvf__unlock(&p->lock);
  return result;
}
