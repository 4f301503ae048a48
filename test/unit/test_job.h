/* SPDX-License-Identifier: MIT
 *
 * The kit of the job tests: probes (jobs that note what happened to them), blockers that fill our share of the pool or
 * the whole pool, and a fixture whose teardown checks what holds for every job: each callback once, on the loop thread,
 * never inside a call or another callback.
 *
 * A probe's job is a heap block of its own and is freed in its last callback, unless `keep` is set: under
 * AddressSanitizer every test thus proves that the library does not touch a job after that. Probes belong to the kit
 * and live until teardown, so a failed assertion leaves no job that runs on a dead stack frame.
 */
#ifndef UVFLOW_TEST_JOB_H
#define UVFLOW_TEST_JOB_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#define POOL_SIZE 4
#define PATIENCE_MS 15000 /* for what must happen; an upper bound for a very slow machine only */

typedef struct probe_s probe_t;
struct probe_s {
  uvf_work_t *job; /* NULL once it was freed */
  probe_t *next;
  /* set by the test before the start */
  int gated;        /* fn posts `started`, then waits for `go` */
  int commits;      /* fn commits before it posts `started` */
  int commits_late; /* fn commits after it passed `go` */
  int keep;         /* the job's memory stays until teardown (or the test restarts it) */
  int value;        /* what fn returns */
  int tag;
  void *arg;
  void (*in_fn)(probe_t *p);               /* on the pool, after `go` */
  void (*in_done)(probe_t *p, int status); /* on the loop, after the notes were taken, before the job is freed */
  void (*in_release)(probe_t *p);
  /* seen */
  gate_t started, go;
  atomic_int ran, returned;
  int start_index; /* fn's place among all that ran, from 0 */
  int commit_answer, commit_again;
  int has_release;
  int starts, done, released;
  int status, err_in_done, cause_in_done;
  int done_at, released_at; /* places in the order of all callbacks, from 1 */
  uint64_t done_ns;
};

typedef struct kit_s {
  fixture_t *f;
  uvf_ctx_t *blocker_root;
  probe_t *probes;
  probe_t *blockers[POOL_SIZE];
  int blocking;
  uv_work_t plain[POOL_SIZE]; /* blockers that are not ours */
  int plain_blocking, plain_over;
  gate_t plain_started, plain_go;
  uv_timer_t tick;
  uv_thread_t loop_thread;
  int inside; /* the test stands in a start or a cancel */
  int depth;  /* callbacks entered and not left */
  int calls;  /* callbacks so far */
  int closed; /* roots closed by kit_close */
  atomic_int fns;
  const char *bad; /* the first promise that was broken */
} kit_t;

static kit_t kit;

static inline void kit_expect(int cond, const char *broken) {
  if (!cond && kit.bad == NULL) kit.bad = broken;
}

/* --- gates with a limit: a broken library fails the test and does not hang it --- */

static inline int gate_passed(gate_t *g) {
  for (int ms = 0; ms < PATIENCE_MS; ms++) {
    if (uv_sem_trywait(&g->sem) == 0) return 1;
    uv_sleep(1);
  }
  return 0;
}

static inline int reaches(atomic_int *value, int wanted) {
  for (int ms = 0; ms < PATIENCE_MS; ms++) {
    if (atomic_load(value) >= wanted) return 1;
    uv_sleep(1);
  }
  return 0;
}

/* --- probes --- */

static inline uvf_work_t *job_new(void *data) {
  uvf_work_t *job = malloc(sizeof *job);
  if (job == NULL) abort();
  memset(job, 0xff, sizeof *job); /* a start must initialise all of it, and read none */
  job->data = data;
  return job;
}

static inline probe_t *probe_new(void) {
  probe_t *p = calloc(1, sizeof *p);
  if (p == NULL) abort();
  p->job = job_new(p);
  p->commit_answer = p->commit_again = 1; /* no answer yet */
  p->start_index = -1;
  gate_init(&p->started);
  gate_init(&p->go);
  p->next = kit.probes;
  kit.probes = p;
  return p;
}

static inline void probe_drop_job(probe_t *p) {
  uvf_work_t *job = p->job;
  if (p->keep) return;
  p->job = NULL;
  memset(job, 0xdb, sizeof *job);
  free(job);
}

static inline int probe_fn(uvf_work_t *job) {
  probe_t *p = job->data;
  p->start_index = atomic_fetch_add(&kit.fns, 1);
  atomic_fetch_add(&p->ran, 1);
  if (p->commits) p->commit_answer = uvf_work_commit(job);
  if (p->gated) {
    gate_open(&p->started, 1);
    gate_pass(&p->go);
  }
  if (p->in_fn != NULL) p->in_fn(p);
  if (p->commits_late) p->commit_answer = uvf_work_commit(job);
  if (p->commits || p->commits_late) p->commit_again = uvf_work_commit(job);
  atomic_fetch_add(&p->returned, 1);
  return p->value;
}

static inline void kit_enter(void) {
  uv_thread_t self = uv_thread_self();
  kit_expect(uv_thread_equal(&self, &kit.loop_thread), "a callback ran on another thread than the loop's");
  kit_expect(!kit.inside, "a callback ran inside a start or a cancel");
  kit_expect(kit.depth == 0, "a callback ran inside another callback");
  kit.depth++;
  kit.calls++;
}

static inline void kit_leave(void) { kit.depth--; }

static inline void probe_done(uvf_work_t *job, int status) {
  probe_t *p = job->data;
  kit_enter();
  p->done_ns = uv_hrtime();
  p->done++;
  p->done_at = kit.calls;
  p->status = status;
  p->err_in_done = uvf_ctx_err(job->ctx);
  p->cause_in_done = uvf_ctx_cause(job->ctx, NULL);
  kit_expect(job == p->job, "done got another job");
  kit_expect(p->done == p->starts, "done came more than once");
  kit_expect(job->status == status, "job->status differs from done's status");
  if (p->in_done != NULL) p->in_done(p, status);
  /* A restart inside the hook makes the memory the library's again. */
  if (!p->has_release && p->done == p->starts) probe_drop_job(p);
  kit_leave();
}

static inline void probe_release(uvf_work_t *job) {
  probe_t *p = job->data;
  kit_enter();
  p->released++;
  p->released_at = kit.calls;
  kit_expect(p->released == p->starts, "release came more than once");
  kit_expect(p->done == p->released, "release came before done");
  kit_expect(atomic_load(&p->ran) == atomic_load(&p->returned), "release came while fn was running");
  kit_expect(uvf_ctx_loop(job->ctx) == &kit.f->loop, "job->ctx is not usable in release");
  if (p->in_release != NULL) p->in_release(p);
  if (p->released == p->starts) probe_drop_job(p);
  kit_leave();
}

static inline int probe_try(uvf_ctx_t *ctx, probe_t *p, int release) {
  int err, inside = kit.inside, before = kit.calls;
  kit.inside = 1;
  p->starts++;
  p->has_release = release;
  err = uvf_work_start(ctx, p->job, probe_fn, probe_done, release ? probe_release : NULL);
  kit.inside = inside;
  kit_expect(kit.calls == before, "a callback ran inside a start");
  if (err != 0) p->starts--;
  return err;
}

/* May also be called inside a callback: notes a failure instead of asserting. */
static inline void probe_start(uvf_ctx_t *ctx, probe_t *p, int release) {
  int err = probe_try(ctx, p, release);
  kit_expect(err == 0, "uvf_work_start failed");
}

static inline int probe_cancel(probe_t *p) {
  int rc, inside = kit.inside, before = kit.calls;
  kit.inside = 1;
  rc = uvf_work_cancel(p->job);
  kit.inside = inside;
  kit_expect(kit.calls == before, "a callback ran inside a cancel");
  return rc;
}

static inline void ctx_cancel(uvf_ctx_t *ctx) {
  int inside = kit.inside, before = kit.calls;
  kit.inside = 1;
  uvf_ctx_cancel(ctx);
  kit.inside = inside;
  kit_expect(kit.calls == before, "a callback ran inside a cancel");
}

/* Runs the loop until the probe is over: done, and release if it has one. */
static inline void run_probe(probe_t *p) {
  run_until(&kit.f->loop, &p->done, p->starts);
  if (p->has_release) run_until(&kit.f->loop, &p->released, p->starts);
}

static inline void ctx_cancel_entry(void *arg) { uvf_ctx_cancel(arg); }

/* Cancels from another thread, and returns when that call has returned there. The loop does not run meanwhile. */
static inline void ctx_cancel_elsewhere(uvf_ctx_t *ctx) {
  uv_thread_t thread;
  assert_int_equal(uv_thread_create(&thread, ctx_cancel_entry, ctx), 0);
  assert_int_equal(uv_thread_join(&thread), 0);
}

static inline void kit_tick(uv_timer_t *timer) { (void)timer; }

/* Deadlines do not hold the loop, a tick does. */
static inline void run_until_over(uvf_ctx_t *ctx) {
  uint64_t limit = uv_hrtime() + PATIENCE_MS * MS_NS;
  assert_int_equal(uv_timer_init(&kit.f->loop, &kit.tick), 0);
  assert_int_equal(uv_timer_start(&kit.tick, kit_tick, 1, 1), 0);
  while (uvf_ctx_err(ctx) == 0 && uv_hrtime() < limit) uv_run(&kit.f->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&kit.tick, NULL);
  uv_run(&kit.f->loop, UV_RUN_NOWAIT);
  assert_int_not_equal(uvf_ctx_err(ctx), 0);
}

/* --- blockers --- */

/* Sets the limit to n and parks n jobs: whatever is started next is known to stay queued. */
static inline void kit_block_share(int n) {
  assert_int_equal(uvf_work_set_limit((unsigned int)n), 0);
  for (int i = 0; i < n; i++) {
    probe_t *p = probe_new();
    p->gated = 1;
    kit.blockers[kit.blocking++] = p;
    probe_start(kit.blocker_root, p, 0);
  }
  for (int i = 0; i < n; i++) assert_true(gate_passed(&kit.blockers[i]->started));
}

static inline void plain_park(uv_work_t *req) {
  (void)req;
  gate_open(&kit.plain_started, 1);
  gate_pass(&kit.plain_go);
}

static inline void plain_over(uv_work_t *req, int status) {
  (void)req;
  (void)status;
  kit.plain_over++;
}

/* Parks every thread of the pool with work that is not ours: even what carries our jobs is known to be queued. */
static inline void kit_block_pool(void) {
  kit.plain_over = 0;
  for (int i = 0; i < POOL_SIZE; i++) {
    assert_int_equal(uv_queue_work(&kit.f->loop, &kit.plain[i], plain_park, plain_over), 0);
    kit.plain_blocking++;
  }
  for (int i = 0; i < POOL_SIZE; i++) assert_true(gate_passed(&kit.plain_started));
}

static inline void kit_unblock(void) {
  for (int i = 0; i < kit.blocking; i++) gate_open(&kit.blockers[i]->go, 1);
  for (int i = 0; i < kit.blocking; i++) run_until(&kit.f->loop, &kit.blockers[i]->done, 1);
  kit.blocking = 0;
  gate_open(&kit.plain_go, (unsigned int)kit.plain_blocking);
  run_until(&kit.f->loop, &kit.plain_over, kit.plain_blocking);
  kit.plain_blocking = kit.plain_over = 0;
  assert_int_equal(uvf_work_set_limit(0), 0);
}

/* --- roots --- */

static inline void kit_on_closed(uvf_ctx_t *root) {
  (void)root;
  kit_enter();
  kit.closed++;
  kit_leave();
}

static inline void kit_close(uvf_ctx_t *root) {
  int inside = kit.inside;
  kit.inside = 1;
  uvf_ctx_close(root, kit_on_closed);
  kit.inside = inside;
}

/* --- fixture --- */

static inline int kit_setup(void **state) {
  memset(&kit, 0, sizeof kit);
  if (fixture_setup(state) != 0) return -1;
  kit.f = *state;
  kit.loop_thread = uv_thread_self();
  gate_init(&kit.plain_started);
  gate_init(&kit.plain_go);
  if (uvf_work_set_limit(0) != 0) return -1;
  return uvf_ctx_background(&kit.f->loop, &kit.blocker_root);
}

static inline int kit_teardown(void **state) {
  int closed = kit.closed, result;
  test_alloc_fail_at(0);
  /* After a failed assertion jobs may still be parked. */
  for (probe_t *p = kit.probes; p != NULL; p = p->next) gate_open(&p->go, 1);
  gate_open(&kit.plain_go, (unsigned int)kit.plain_blocking);
  kit_close(kit.blocker_root);
  run_until(&kit.f->loop, &kit.closed, closed + 1);
  result = fixture_teardown(state);
  while (kit.probes != NULL) {
    probe_t *p = kit.probes;
    kit.probes = p->next;
    kit_expect(p->done == p->starts, "a done did not come");
    kit_expect(!p->has_release || p->released == p->starts, "a release did not come");
    kit_expect(atomic_load(&p->ran) <= p->starts, "fn ran more than once");
    gate_destroy(&p->started);
    gate_destroy(&p->go);
    free(p->job);
    free(p);
  }
  gate_destroy(&kit.plain_started);
  gate_destroy(&kit.plain_go);
  if (kit.bad != NULL) fail_msg("%s", kit.bad);
  return result;
}

#define job_test(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

#endif
