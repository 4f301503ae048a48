/* SPDX-License-Identifier: MIT
 *
 * Many jobs: the order they start in, the order they are answered in when their contexts end, thousands with deadlines
 * of their own, two loops at once, closing roots, and what misuse does.
 */
#include "test_job.h"

/* --- order --- */

static void jobs_of_a_loop_start_in_the_order_they_were_given(void **state) {
  enum { JOBS = 200 };
  uvf_ctx_t *ctx[3];
  probe_t *p[JOBS];
  (void)state;
  kit_block_share(1); /* one thread is ours: the order is seen */
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx[i]), 0);
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    probe_start(ctx[i % 3], p[i], i % 2); /* across contexts, with and without release */
  }
  gate_open(&kit.blockers[0]->go, 1);
  for (int i = 0; i < JOBS; i++) run_probe(p[i]);
  for (int i = 0; i < JOBS; i++) assert_int_equal(p[i]->start_index, i + 1);
  for (int i = 1; i < JOBS; i++) assert_true(p[i]->done_at > p[i - 1]->done_at); /* they ended in that order too */
  for (int i = 0; i < 3; i++) uvf_ctx_release(ctx[i]);
  kit_unblock();
}

static void start_next(probe_t *p, int status) {
  (void)status;
  probe_start(kit.f->root, p->arg, 0);
}

static void a_job_started_in_a_callback_queues_behind_those_already_given(void **state) {
  probe_t *first = probe_new(), *second = probe_new(), *third = probe_new();
  (void)state;
  assert_int_equal(uvf_work_set_limit(1), 0);
  first->in_done = start_next;
  first->arg = third;
  second->gated = 1; /* still parked when third is started */
  probe_start(kit.f->root, first, 0);
  probe_start(kit.f->root, second, 0);
  run_probe(first);
  gate_open(&second->go, 1);
  run_probe(third);
  run_probe(second);
  assert_int_equal(first->start_index, 0);
  assert_int_equal(second->start_index, 1);
  assert_int_equal(third->start_index, 2);
}

/* Children's before parents', and within one context the newest first; behind what was already due. */
static void withdrawn_jobs_are_answered_children_first_and_newest_first(void **state) {
  enum { JOBS = 4 };
  uvf_ctx_t *ctx = NULL, *child = NULL, *grandchild = NULL, *level[3];
  probe_t *due, *p[3][JOBS];
  int last = 0;
  (void)state;
  assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
  assert_int_equal(uvf_ctx_with_cancel(ctx, &child), 0);
  assert_int_equal(uvf_ctx_with_timeout(child, 1000000, &grandchild), 0);
  level[0] = ctx;
  level[1] = child;
  level[2] = grandchild;
  kit_block_share(1);
  for (int i = 0; i < JOBS; i++) {
    for (int l = 0; l < 3; l++) {
      p[l][i] = probe_new();
      probe_start(level[l], p[l][i], i % 2);
    }
  }
  due = probe_new();
  probe_start(kit.f->root, due, 0);
  assert_int_equal(probe_cancel(due), 0);
  ctx_cancel(ctx);
  for (int l = 2; l >= 0; l--) {
    for (int i = JOBS - 1; i >= 0; i--) {
      run_probe(p[l][i]);
      assert_true(p[l][i]->done_at > due->done_at);
      assert_true(p[l][i]->done_at > last);
      assert_int_equal(p[l][i]->status, UV_ECANCELED);
      assert_int_equal(atomic_load(&p[l][i]->ran), 0);
      last = p[l][i]->done_at;
    }
  }
  uvf_ctx_release(grandchild);
  uvf_ctx_release(child);
  uvf_ctx_release(ctx);
  kit_unblock();
}

/* --- deadlines by the thousand --- */

static void run_all(probe_t **p, size_t n) {
  for (size_t i = 0; i < n; i++) run_probe(p[i]);
}

static void ten_thousand_queued_jobs_end_at_deadlines_of_their_own_and_none_early(void **state) {
  size_t n = test_scaled(10000, 10);
  probe_t **p = calloc(n, sizeof(*p));
  uint64_t *deadline = calloc(n, sizeof(*deadline));
  uint64_t seed = test_seed();
  size_t early = 0, wrong = 0;
  (void)state;
  assert_non_null(p);
  assert_non_null(deadline);
  kit_block_share(2);
  for (size_t i = 0; i < n; i++) {
    uvf_ctx_t *ctx = NULL;
    assert_int_equal(uvf_ctx_with_timeout(kit.f->root, 1 + test_rand(&seed) % 200, &ctx), 0);
    deadline[i] = uvf_ctx_deadline_ns(ctx);
    p[i] = probe_new();
    probe_start(ctx, p[i], (int)(i % 2));
    uvf_ctx_release(ctx);
  }
  run_all(p, n);
  for (size_t i = 0; i < n; i++) {
    if (p[i]->done_ns < deadline[i]) early++;
    if (p[i]->status != UV_ETIMEDOUT || atomic_load(&p[i]->ran) != 0) wrong++;
  }
  assert_int_equal(early, 0);
  assert_int_equal(wrong, 0);
  free(deadline);
  free(p);
  kit_unblock();
}

static void ten_thousand_jobs_with_timeouts_that_do_not_come_all_run(void **state) {
  size_t n = test_scaled(10000, 10);
  probe_t **p = calloc(n, sizeof(*p));
  uvf_stats_t stats;
  (void)state;
  assert_non_null(p);
  for (size_t i = 0; i < n; i++) {
    uvf_ctx_t *ctx = NULL;
    assert_int_equal(uvf_ctx_with_timeout(kit.f->root, 3600000 + i, &ctx), 0);
    p[i] = probe_new();
    p[i]->value = (int)i;
    probe_start(ctx, p[i], (int)(i % 2));
    uvf_ctx_release(ctx);
  }
  run_all(p, n);
  for (size_t i = 0; i < n; i++) {
    assert_int_equal(p[i]->status, (int)i);
    assert_int_equal(atomic_load(&p[i]->ran), 1);
  }
  run_ready(&kit.f->loop);
  uvf_ctx_stats(kit.f->root, &stats);
  assert_int_equal(stats.ops, 0);
  assert_int_equal(stats.deadlines, 0); /* nobody holds the contexts: they took their deadlines along */
  free(p);
}

/* --- closing roots --- */

static void note_root_open(probe_t *p) { p->tag = kit.closed == 0; }
static void note_root_open_done(probe_t *p, int status) {
  (void)status;
  note_root_open(p);
}

static void closing_a_root_waits_for_its_running_jobs_and_their_releases(void **state) {
  uvf_ctx_t *root = NULL;
  probe_t *kept = probe_new(), *freed = probe_new();
  (void)state;
  assert_int_equal(uvf_ctx_background(&kit.f->loop, &root), 0);
  kept->gated = freed->gated = 1;
  kept->in_done = note_root_open_done;
  freed->in_release = note_root_open;
  probe_start(root, kept, 0);
  probe_start(root, freed, 1);
  assert_true(gate_passed(&kept->started));
  assert_true(gate_passed(&freed->started));
  kit_close(root);
  run_until(&kit.f->loop, &freed->done, 1);
  run_ready(&kit.f->loop);
  assert_int_equal(kit.closed, 0);
  assert_int_equal(kept->done, 0);
  gate_open(&kept->go, 1);
  run_probe(kept);
  run_ready(&kit.f->loop);
  assert_int_equal(kit.closed, 0); /* one release is still due */
  assert_int_equal(freed->released, 0);
  gate_open(&freed->go, 1);
  run_until(&kit.f->loop, &kit.closed, 1);
  assert_int_equal(kept->tag, 1);
  assert_int_equal(freed->tag, 1);
  assert_int_equal(kept->status, UV_ECANCELED);
  assert_int_equal(freed->status, UV_ECANCELED);
  assert_int_equal(kept->cause_in_done, UV_ESHUTDOWN);
}

static void closing_a_root_does_not_wait_for_another_roots_jobs(void **state) {
  uvf_ctx_t *root = NULL;
  probe_t *p = probe_new(), *other = probe_new();
  (void)state;
  kit_block_pool();
  assert_int_equal(uvf_ctx_background(&kit.f->loop, &root), 0);
  probe_start(root, p, 1);
  probe_start(kit.f->root, other, 1);
  kit_close(root);
  run_until(&kit.f->loop, &kit.closed, 1); /* every thread of the pool is still parked */
  assert_int_equal(p->released, 1);
  assert_int_equal(other->done, 0);
  kit_unblock();
  run_probe(other);
  assert_int_equal(other->status, 0);
}

static void closing_the_last_root_lets_the_loop_close_whatever_was_queued(void **state) {
  enum { JOBS = 100 };
  probe_t *p[JOBS];
  (void)state;
  kit_block_share(1);
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    probe_start(kit.f->root, p[i], i % 2);
  }
  fixture_close_root(kit.f);
  for (int i = 0; i < JOBS; i++) {
    assert_int_equal(p[i]->done, 1);
    assert_int_equal(p[i]->status, UV_ECANCELED);
    assert_int_equal(p[i]->released, i % 2);
    assert_int_equal(atomic_load(&p[i]->ran), 0);
  }
  kit_unblock(); /* teardown closes the other root and then the loop */
}

/* --- two loops --- */

typedef struct side_s {
  uv_thread_t thread;
  uv_thread_t self;
  uv_loop_t loop;
  uvf_ctx_t *root;
  uvf_work_t *jobs;
  size_t n;
  size_t done, released, wrong;
  atomic_size_t ran;
  int result;
} side_t;

static int side_fn(uvf_work_t *job) {
  side_t *side = job->data;
  atomic_fetch_add(&side->ran, 1);
  return uvf_ctx_loop(job->ctx) == &side->loop ? 0 : UV_EPROTO;
}

static void side_done(uvf_work_t *job, int status) {
  side_t *side = job->data;
  uv_thread_t self = uv_thread_self();
  side->done++;
  if (status != 0 || !uv_thread_equal(&self, &side->self)) side->wrong++;
}

static void side_release(uvf_work_t *job) {
  side_t *side = job->data;
  uv_thread_t self = uv_thread_self();
  side->released++;
  if (!uv_thread_equal(&self, &side->self)) side->wrong++;
}

static void side_run(void *arg) {
  side_t *side = arg;
  side->self = uv_thread_self();
  if ((side->result = uv_loop_init(&side->loop)) != 0) return;
  if ((side->result = uvf_ctx_background(&side->loop, &side->root)) != 0) return;
  for (size_t i = 0; i < side->n; i++) {
    side->jobs[i].data = side;
    if (uvf_work_start(side->root, &side->jobs[i], side_fn, side_done, side_release) != 0) side->wrong++;
    if (i % 64 == 0) uv_run(&side->loop, UV_RUN_NOWAIT);
  }
  uv_run(&side->loop, UV_RUN_DEFAULT);
  uvf_ctx_close(side->root, NULL);
  uv_run(&side->loop, UV_RUN_DEFAULT);
  side->result = uv_loop_close(&side->loop);
}

static void jobs_of_loops_at_once_are_each_answered_on_their_own_loop(void **state) {
  enum { SIDES = 3 };
  static side_t sides[SIDES];
  (void)state;
  memset(sides, 0, sizeof sides);
  for (int i = 0; i < SIDES; i++) {
    sides[i].n = 3000;
    sides[i].jobs = calloc(sides[i].n, sizeof *sides[i].jobs);
    assert_non_null(sides[i].jobs);
    assert_int_equal(uv_thread_create(&sides[i].thread, side_run, &sides[i]), 0);
  }
  for (int i = 0; i < SIDES; i++) {
    uv_thread_join(&sides[i].thread);
    free(sides[i].jobs);
    assert_int_equal(sides[i].result, 0);
    assert_int_equal(sides[i].wrong, 0);
    assert_int_equal(sides[i].done, sides[i].n);
    assert_int_equal(sides[i].released, sides[i].n);
    assert_int_equal(atomic_load(&sides[i].ran), sides[i].n);
  }
}

/* --- memory given back in the callback --- */

static int freed_count;
static int free_fn(uvf_work_t *job) { return uvf_ctx_err(job->ctx); }
static void free_in_done(uvf_work_t *job, int status) {
  (void)status;
  memset(job, 0xdb, sizeof *job);
  free(job);
  freed_count++;
}
static void free_in_release(uvf_work_t *job) { free_in_done(job, 0); }

static void jobs_are_freed_in_their_last_callback_however_they_ended(void **state) {
  enum { JOBS = 400 };
  uvf_ctx_t *ctx = NULL;
  (void)state;
  freed_count = 0;
  kit_block_share(1);
  assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
  for (int i = 0; i < JOBS; i++) {
    uvf_work_t *job = job_new(NULL);
    uvf_ctx_t *under = i % 4 < 2 ? ctx : kit.f->root;
    int err = i % 2 == 0 ? uvf_work_start(under, job, free_fn, free_in_done, NULL)
                         : uvf_work_start(under, job, free_fn, NULL, free_in_release);
    assert_int_equal(err, 0);
    if (i % 7 == 0) assert_int_equal(uvf_work_cancel(job), 0);
  }
  ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  kit_unblock();
  run_until(&kit.f->loop, &freed_count, JOBS);
}

/* --- misuse --- */

static void start_it(void *arg) {
  probe_t *p = arg;
  p->tag = uvf_work_start(kit.f->root, p->job, probe_fn, probe_done, NULL);
}
static void cancel_it(void *arg) {
  probe_t *p = arg;
  p->tag = uvf_work_cancel(p->job);
}

static void expect_rule(const char *text, const char *function) {
  if (!test_rules_on()) return;
  assert_non_null(text);
  assert_memory_equal(text, function, strlen(function));
  assert_true(strlen(text) > strlen(function) + 2); /* and says which rule */
}

static void a_second_start_of_a_job_that_is_not_over_breaks_a_rule(void **state) {
  probe_t *p = probe_new();
  (void)state;
  if (!test_rules_on()) return; /* a release build cannot tell: a start reads nothing of its request */
  p->gated = 1;
  probe_start(kit.f->root, p, 1);
  expect_rule(test_expect_rule(start_it, p), "uvf_work_start: ");
  assert_true(gate_passed(&p->started));
  expect_rule(test_expect_rule(start_it, p), "uvf_work_start: ");
  assert_int_equal(probe_cancel(p), 0);
  run_until(&kit.f->loop, &p->done, 1);
  expect_rule(test_expect_rule(start_it, p), "uvf_work_start: "); /* its release is still due */
  gate_open(&p->go, 1);
  run_probe(p);
}

typedef struct elsewhere_s {
  void (*fn)(void *);
  probe_t *p;
  const char *text;
} elsewhere_t;

static void elsewhere_entry(void *arg) {
  elsewhere_t *e = arg;
  if (test_rules_on()) {
    e->text = test_expect_rule(e->fn, e->p);
  } else {
    e->fn(e->p);
  }
}

static void a_start_or_a_cancel_on_the_wrong_thread_breaks_a_rule(void **state) {
  probe_t *p = probe_new(), *q = probe_new();
  elsewhere_t start = {start_it, p, NULL}, cancel = {cancel_it, q, NULL};
  uv_thread_t thread;
  (void)state;
  q->gated = 1;
  probe_start(kit.f->root, q, 0);
  assert_true(gate_passed(&q->started));
  run_ready(&kit.f->loop); /* now the loop has a thread */
  assert_int_equal(uv_thread_create(&thread, elsewhere_entry, &start), 0);
  uv_thread_join(&thread);
  expect_rule(start.text, "uvf_work_start: ");
  if (!test_rules_on()) assert_int_equal(p->tag, UV_EINVAL);
  assert_int_equal(uv_thread_create(&thread, elsewhere_entry, &cancel), 0);
  uv_thread_join(&thread);
  expect_rule(cancel.text, "uvf_");
  if (!test_rules_on()) assert_int_equal(q->tag, UV_EINVAL);
  gate_open(&q->go, 1);
  run_probe(q);
  run_ready(&kit.f->loop);
  assert_int_equal(q->status, 0); /* nothing changed */
  assert_int_equal(p->done, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      job_test(jobs_of_a_loop_start_in_the_order_they_were_given),
      job_test(a_job_started_in_a_callback_queues_behind_those_already_given),
      job_test(withdrawn_jobs_are_answered_children_first_and_newest_first),
      job_test(ten_thousand_queued_jobs_end_at_deadlines_of_their_own_and_none_early),
      job_test(ten_thousand_jobs_with_timeouts_that_do_not_come_all_run),
      job_test(closing_a_root_waits_for_its_running_jobs_and_their_releases),
      job_test(closing_a_root_does_not_wait_for_another_roots_jobs),
      job_test(closing_the_last_root_lets_the_loop_close_whatever_was_queued),
      job_test(jobs_of_loops_at_once_are_each_answered_on_their_own_loop),
      job_test(jobs_are_freed_in_their_last_callback_however_they_ended),
      job_test(a_second_start_of_a_job_that_is_not_over_breaks_a_rule),
      job_test(a_start_or_a_cancel_on_the_wrong_thread_breaks_a_rule),
  };
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
