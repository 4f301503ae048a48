/* SPDX-License-Identifier: MIT
 *
 * No slot of the share is ever lost or counted twice: whatever runners yield, hand over or are taken back, afterwards
 * as many jobs run as the limit allows. And a root that is closed does not wait for the jobs of another.
 */
#include "test_job.h"

/* --- all slots are usable --- */

/* With nothing else going on: exactly as many gated jobs run at a time as the limit allows. */
static void assert_all_slots_usable(void) {
  probe_t *p[POOL_SIZE + 2];
  int limit = (int)uvf_work_limit();
  int before = atomic_load(&kit.fns);
  uint64_t until_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
  for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
    p[i] = probe_new();
    p[i]->gated = 1;
    probe_start(kit.f->root, p[i], 0);
  }
  while (atomic_load(&kit.fns) < before + limit && uv_hrtime() < until_ns) {
    uv_run(&kit.f->loop, UV_RUN_NOWAIT);
    uv_sleep(1);
  }
  assert_int_equal(atomic_load(&kit.fns) - before, limit);
  for (size_t i = 0; i < ARRAY_SIZE(p); i++) gate_open(&p[i]->go, 1);
  for (size_t i = 0; i < ARRAY_SIZE(p); i++) run_probe(p[i]);
}

/* --- others' work that parks on the pool --- */

enum { OTHERS = POOL_SIZE };

static uv_work_t other_work[OTHERS];
static gate_t other_go;
static atomic_int others_parked;
static int others_back;

static void other_park(uv_work_t *req) {
  (void)req;
  atomic_fetch_add(&others_parked, 1);
  gate_pass(&other_go);
}
static void other_back(uv_work_t *req, int status) {
  (void)req;
  (void)status;
  others_back++;
}

static void others_begin(void) {
  gate_init(&other_go);
  atomic_store(&others_parked, 0);
  others_back = 0;
}
static void other_queue(int i) {
  assert_int_equal(uv_queue_work(&kit.f->loop, &other_work[i], other_park, other_back), 0);
}

/* --- handing over --- */

static void sleep_1ms(probe_t *p) {
  (void)p;
  uv_sleep(1);
}

/* Two runners at work; others fill the pool, so both leave for one relief, at their next quantum. Then the jobs are
 * withdrawn before the relief has begun, in another round after it has. */
static void two_runners_that_leave_for_one_relief_lose_no_slot(void **state) {
  enum { JOBS = 4000 };
  (void)state;
  for (int withdraw = 0; withdraw < 2; withdraw++) {
    probe_t **p = calloc(JOBS, sizeof(*p));
    uvf_ctx_t *ctx = NULL;
    int jobs = withdraw ? JOBS : 100;
    uint64_t until_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
    assert_non_null(p);
    others_begin();
    assert_int_equal(uvf_work_set_limit(2), 0);
    assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
    for (int i = 0; i < jobs; i++) {
      p[i] = probe_new();
      p[i]->in_fn = sleep_1ms;
      probe_start(ctx, p[i], 0);
    }
    for (int i = 0; i < OTHERS; i++) other_queue(i);
    while (atomic_load(&others_parked) < OTHERS && uv_hrtime() < until_ns) { /* the reliefs are queued by the loop */
      uv_run(&kit.f->loop, UV_RUN_NOWAIT);
      uv_sleep(1);
    }
    assert_int_equal(atomic_load(&others_parked), OTHERS);
    if (withdraw) {
      assert_true(atomic_load(&kit.fns) < jobs); /* others got their threads before the queue was through */
      ctx_cancel(ctx);
    }
    gate_open(&other_go, OTHERS);
    for (int i = 0; i < jobs; i++) run_probe(p[i]);
    run_until(&kit.f->loop, &others_back, OTHERS);
    gate_destroy(&other_go);
    assert_all_slots_usable();
    uvf_ctx_release(ctx);
    free(p);
  }
}

/* --- taken back --- */

static int seen_in_done;

/* In the callback of the last job: the runner that did not start was taken back a moment ago, and must not count as one
 * that is about to look. The loop stands here until the new job has run. */
static void start_one_more_and_stand(probe_t *p, int status) {
  probe_t *more = p->arg;
  (void)status;
  gate_open(&other_go, OTHERS - 1);
  probe_start(kit.f->root, more, 0);
  seen_in_done = reaches(&more->ran, 1);
}

static void a_runner_taken_back_does_not_count_as_one_that_is_about_to_look(void **state) {
  probe_t *running = probe_new(), *second = probe_new(), *more = probe_new();
  (void)state;
  seen_in_done = 0;
  others_begin();
  assert_int_equal(uvf_work_set_limit(2), 0);
  for (int i = 0; i < OTHERS - 1; i++) other_queue(i);
  assert_true(reaches(&others_parked, OTHERS - 1));
  running->gated = 1;
  probe_start(kit.f->root, running, 0); /* on the last free thread */
  assert_true(gate_passed(&running->started));
  second->arg = more;
  second->in_done = start_one_more_and_stand;
  other_queue(OTHERS - 1);             /* takes that thread as soon as it is free */
  probe_start(kit.f->root, second, 0); /* its runner is queued behind; the one at work runs it */
  gate_open(&running->go, 1);
  assert_true(reaches(&second->returned, 1));
  assert_true(reaches(&others_parked, OTHERS));
  run_probe(second);
  gate_open(&other_go, 1); /* before any assertion: at exit libuv waits for its pool */
  run_probe(running);
  run_probe(more);
  run_until(&kit.f->loop, &others_back, OTHERS);
  gate_destroy(&other_go);
  assert_int_equal(seen_in_done, 1);
  assert_all_slots_usable();
}

/* --- mixed load --- */

static void work_a_little(probe_t *p) {
  uint64_t until_ns = uv_hrtime() + (uint64_t)p->tag * 100000;
  while (uv_hrtime() < until_ns && uvf_ctx_err(p->job->ctx) == 0) {}
}

static uv_work_t brief[OTHERS];
static int brief_busy[OTHERS];
static void brief_fn(uv_work_t *req) {
  (void)req;
  uv_sleep(3);
}
static void brief_back(uv_work_t *req, int status) {
  (void)status;
  *(int *)req->data = 0;
}

static int pick(uint64_t *seed, int n) { return (int)(test_rand(seed) >> 33) % n; }

/* Bursts and single jobs under contexts that are cancelled and come to their deadlines, others' work, a loop that
 * stands now and then, and a limit that goes up and down. */
static void after_any_load_all_slots_are_usable(void **state) {
  enum { CONTEXTS = 6, MAX = 60 };
  size_t steps = test_scaled(400, 4);
  uint64_t seed = test_seed();
  uvf_ctx_t *ctx[CONTEXTS] = {NULL};
  probe_t *last = NULL;
  (void)state;
  for (size_t step = 0; step < steps; step++) {
    int k = pick(&seed, CONTEXTS), jobs = pick(&seed, 6) == 0 ? MAX : pick(&seed, 5), o = pick(&seed, OTHERS);
    if (ctx[k] == NULL && pick(&seed, 2)) {
      assert_int_equal(uvf_ctx_with_timeout(kit.f->root, (uint64_t)pick(&seed, 20), &ctx[k]), 0);
    } else if (ctx[k] == NULL) {
      assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx[k]), 0);
    }
    for (int i = 0; i < jobs; i++) {
      last = probe_new();
      last->tag = pick(&seed, 4);
      last->in_fn = work_a_little;
      probe_start(ctx[k], last, pick(&seed, 2));
    }
    if (pick(&seed, 4) == 0) ctx_cancel(ctx[k]);
    if (pick(&seed, 3) == 0) {
      uvf_ctx_release(ctx[k]);
      ctx[k] = NULL;
    }
    if (!brief_busy[o]) {
      brief_busy[o] = 1;
      brief[o].data = &brief_busy[o];
      assert_int_equal(uv_queue_work(&kit.f->loop, &brief[o], brief_fn, brief_back), 0);
    }
    if (pick(&seed, 10) == 0) uv_sleep((unsigned int)pick(&seed, 12));
    if (pick(&seed, 12) == 0) assert_int_equal(uvf_work_set_limit((unsigned int)pick(&seed, POOL_SIZE + 1)), 0);
    uv_run(&kit.f->loop, UV_RUN_NOWAIT);
  }
  for (int k = 0; k < CONTEXTS; k++) uvf_ctx_release(ctx[k]);
  for (probe_t *p = kit.probes; p != NULL; p = p->next) run_probe(p);
  for (int i = 0; i < OTHERS; i++) {
    while (brief_busy[i]) uv_run(&kit.f->loop, UV_RUN_ONCE);
  }
  for (unsigned int limit = 0; limit <= POOL_SIZE; limit++) {
    assert_int_equal(uvf_work_set_limit(limit), 0);
    assert_all_slots_usable();
  }
}

/* --- a closed root beside a busy one --- */

/* A loop of its own: the old root is its only one until the new one comes, in a prepare callback behind the library's.
 * That is after the old root was closed, by its job's callback, and before libuv tells that the job's request is
 * back. */
typedef struct change_s {
  uv_loop_t loop;
  uv_prepare_t prepare;
  uvf_ctx_t *old, *fresh;
  uvf_work_t first, held;
  gate_t go;
  atomic_int first_ran;
  int closing, old_closed, fresh_closed, held_done;
  int err;
} change_t;

static change_t change;

static void on_old_closed(uvf_ctx_t *root) {
  (void)root;
  change.old_closed++;
}
static void on_fresh_closed(uvf_ctx_t *root) {
  (void)root;
  change.fresh_closed++;
}

static int first_fn(uvf_work_t *job) {
  (void)job;
  atomic_store(&change.first_ran, 1);
  return 0;
}
static void close_old(uvf_work_t *job, int status) {
  (void)job;
  (void)status;
  change.closing = 1;
  uvf_ctx_close(change.old, on_old_closed);
}

static int held_fn(uvf_work_t *job) {
  (void)job;
  gate_pass(&change.go);
  return 0;
}
static void on_held(uvf_work_t *job, int status) {
  (void)job;
  (void)status;
  change.held_done++;
}

static void on_change(uv_prepare_t *prepare) {
  if (!change.closing) return;
  uv_close((uv_handle_t *)prepare, NULL);
  change.err = uvf_ctx_background(&change.loop, &change.fresh);
  if (change.err == 0) change.err = uvf_work_start(change.fresh, &change.held, held_fn, on_held, NULL);
}

static void a_closed_root_does_not_wait_for_the_jobs_of_a_new_one(void **state) {
  uint64_t until_ns;
  int closed;
  (void)state;
  memset(&change, 0, sizeof change);
  gate_init(&change.go);
  assert_int_equal(uv_loop_init(&change.loop), 0);
  assert_int_equal(uv_prepare_init(&change.loop, &change.prepare), 0);
  assert_int_equal(uv_prepare_start(&change.prepare, on_change), 0);
  assert_int_equal(uvf_ctx_background(&change.loop, &change.old), 0);
  assert_int_equal(uvf_work_start(change.old, &change.first, first_fn, close_old, NULL), 0);
  assert_true(reaches(&change.first_ran, 1));
  until_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
  while (!change.old_closed && uv_hrtime() < until_ns) {
    uv_run(&change.loop, UV_RUN_NOWAIT);
    uv_sleep(1);
  }
  closed = change.old_closed;
  assert_int_equal(change.held_done, 0);
  gate_open(&change.go, 1); /* before any assertion: at exit libuv waits for its pool */
  assert_int_equal(change.err, 0);
  run_until(&change.loop, &change.held_done, 1);
  uvf_ctx_close(change.fresh, on_fresh_closed);
  run_until(&change.loop, &change.fresh_closed, 1);
  uv_run(&change.loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&change.loop), 0);
  gate_destroy(&change.go);
  assert_int_equal(closed, 1);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      job_test(two_runners_that_leave_for_one_relief_lose_no_slot),
      job_test(a_runner_taken_back_does_not_count_as_one_that_is_about_to_look),
      job_test(after_any_load_all_slots_are_usable),
      job_test(a_closed_root_does_not_wait_for_the_jobs_of_a_new_one),
  };
  uv_setup_args(argc, argv);
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
