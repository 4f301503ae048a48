/* SPDX-License-Identifier: MIT
 *
 * A job's life when nothing goes wrong, and the promises that every operation makes: what a start answers, where and
 * how often callbacks come, whose the memory is, and what misuse does. How jobs are ended early is in test_job_end.c
 * and test_job_claim.c.
 */
#include "test_job.h"

#include <limits.h>

/* --- results --- */

static void done_gets_fns_value_whatever_it_is(void **state) {
  static const int values[] = {0, UV_EIO, UV_ECANCELED, UV_ETIMEDOUT, -1, 1, 7, INT_MAX, INT_MIN};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(values) * 2; i++) {
    probe_t *p = probe_new();
    p->value = values[i / 2];
    p->keep = 1;
    probe_start(kit.f->root, p, (int)(i % 2));
    run_probe(p);
    run_ready(&kit.f->loop);
    assert_int_equal(atomic_load(&p->ran), 1);
    assert_int_equal(p->done, 1);
    assert_int_equal(p->released, (int)(i % 2));
    assert_int_equal(p->status, p->value);
    assert_int_equal(p->job->status, p->value);
    assert_ptr_equal(p->job->data, p); /* data is the caller's */
    if (p->has_release) assert_true(p->released_at > p->done_at);
  }
}

static void note_thread(probe_t *p) { *(uv_thread_t *)p->arg = uv_thread_self(); }

static void fn_runs_on_another_thread_than_the_loops(void **state) {
  uv_thread_t ran_on;
  probe_t *p = probe_new();
  (void)state;
  p->arg = &ran_on;
  p->in_fn = note_thread;
  probe_start(kit.f->root, p, 0);
  run_probe(p);
  assert_false(uv_thread_equal(&ran_on, &kit.loop_thread));
}

static int bare_fn(uvf_work_t *job) {
  atomic_fetch_add((atomic_int *)job->data, 1);
  return UV_EIO; /* nobody hears it */
}

static int bare_release_count;
static void bare_release(uvf_work_t *job) {
  bare_release_count++;
  free(job);
}

static void a_job_needs_no_callbacks(void **state) {
  atomic_int ran = 0;
  uvf_work_t *job = job_new(&ran);
  (void)state;
  assert_int_equal(uvf_work_start(kit.f->root, job, bare_fn, NULL, NULL), 0);
  uv_run(&kit.f->loop, UV_RUN_DEFAULT); /* the job holds the loop until it is over */
  assert_int_equal(atomic_load(&ran), 1);
  free(job);
}

static void a_job_may_have_a_release_and_no_done(void **state) {
  atomic_int ran = 0;
  uvf_work_t *job = job_new(&ran);
  (void)state;
  bare_release_count = 0;
  assert_int_equal(uvf_work_start(kit.f->root, job, bare_fn, NULL, bare_release), 0);
  uv_run(&kit.f->loop, UV_RUN_DEFAULT);
  assert_int_equal(atomic_load(&ran), 1);
  assert_int_equal(bare_release_count, 1);
}

static void withdrawn_jobs_need_no_callbacks_either(void **state) {
  atomic_int ran = 0;
  uvf_work_t *plain = job_new(&ran), *released = job_new(&ran);
  uvf_ctx_t *ctx = NULL;
  uvf_ctx_counts_t counts;
  (void)state;
  bare_release_count = 0;
  kit_block_share(1);
  assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
  assert_int_equal(uvf_work_start(ctx, plain, bare_fn, NULL, NULL), 0);
  assert_int_equal(uvf_work_start(ctx, released, bare_fn, NULL, bare_release), 0);
  ctx_cancel(ctx);
  run_until(&kit.f->loop, &bare_release_count, 1);
  run_ready(&kit.f->loop);
  uvf_ctx_counts(ctx, &counts);
  assert_int_equal(counts.ops, 0);
  assert_int_equal(plain->status, UV_ECANCELED);
  assert_int_equal(atomic_load(&ran), 0);
  uvf_ctx_release(ctx);
  free(plain);
  kit_unblock();
}

/* --- starts that fail --- */

static void a_start_with_a_null_argument_is_einval_and_never_calls_back(void **state) {
  probe_t *p = probe_new();
  uvf_ctx_counts_t counts;
  (void)state;
  assert_int_equal(uvf_work_start(NULL, p->job, probe_fn, probe_done, probe_release), UV_EINVAL);
  assert_int_equal(uvf_work_start(kit.f->root, NULL, probe_fn, probe_done, probe_release), UV_EINVAL);
  assert_int_equal(uvf_work_start(kit.f->root, p->job, NULL, probe_done, probe_release), UV_EINVAL);
  assert_int_equal(uvf_work_start(NULL, NULL, NULL, NULL, NULL), UV_EINVAL);
  run_ready(&kit.f->loop);
  uvf_ctx_counts(kit.f->root, &counts);
  assert_int_equal(counts.ops, 0);
  assert_int_equal(p->done + p->released + atomic_load(&p->ran), 0);
  probe_start(kit.f->root, p, 1); /* the job is still the caller's */
  run_probe(p);
  assert_int_equal(p->status, 0);
}

static void a_start_without_memory_is_enomem_and_changes_nothing(void **state) {
  (void)state;
  for (size_t n = 1; n < 20; n++) {
    probe_t *p = probe_new();
    size_t live = test_alloc_live();
    int err;
    test_alloc_fail_at(n);
    err = probe_try(kit.f->root, p, 1);
    if (!test_alloc_failed()) {
      test_alloc_fail_at(0);
      assert_int_equal(err, 0);
      run_probe(p);
      return; /* every allocation of a start has failed once */
    }
    test_alloc_fail_at(0);
    if (err != 0) {
      uvf_ctx_counts_t counts;
      assert_int_equal(err, UV_ENOMEM);
      assert_int_equal(test_alloc_live(), live);
      uvf_ctx_counts(kit.f->root, &counts);
      assert_int_equal(counts.ops, 0);
      run_ready(&kit.f->loop);
      assert_int_equal(p->done + p->released + atomic_load(&p->ran), 0);
      probe_start(kit.f->root, p, 1);
    }
    run_probe(p);
    assert_int_equal(p->status, 0);
  }
  fail_msg("a start makes more than 20 allocations");
}

static void an_end_allocates_nothing(void **state) {
  enum { JOBS = 50 };
  uvf_ctx_t *ctx = NULL;
  probe_t *p[JOBS];
  (void)state;
  kit_block_share(1);
  assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    probe_start(ctx, p[i], i % 2);
  }
  test_alloc_fail_at(1);
  assert_int_equal(probe_cancel(p[7]), 0);
  ctx_cancel(ctx);
  for (int i = 0; i < JOBS; i++) run_probe(p[i]);
  kit_unblock();
  assert_false(test_alloc_failed());
  test_alloc_fail_at(0);
  uvf_ctx_release(ctx);
}

/* --- under a context that is over --- */

static void check_start_under(uvf_ctx_t *ctx, int err) {
  for (int i = 0; i < 4; i++) {
    probe_t *p = probe_new();
    p->value = i < 2 ? 0 : UV_EIO;
    p->commits = 1;
    assert_int_equal(probe_try(ctx, p, i % 2), 0);
    assert_int_equal(p->done, 0);
    run_probe(p);
    run_ready(&kit.f->loop);
    assert_int_equal(p->done, 1);
    assert_int_equal(p->released, i % 2);
    assert_int_equal(p->status, err);
    assert_int_equal(atomic_load(&p->ran), 0);
  }
  uvf_ctx_release(ctx);
}

static void a_start_under_a_context_that_is_over_runs_nothing_and_reports_its_err(void **state) {
  uvf_ctx_t *root = kit.f->root, *ctx = NULL, *parent = NULL;
  (void)state;
  assert_int_equal(uvf_ctx_with_cancel(root, &ctx), 0);
  ctx_cancel(ctx);
  check_start_under(ctx, UV_ECANCELED);

  assert_int_equal(uvf_ctx_with_timeout(root, 0, &ctx), 0);
  check_start_under(ctx, UV_ETIMEDOUT);

  assert_int_equal(uvf_ctx_with_deadline(root, uv_hrtime(), &ctx), 0);
  check_start_under(ctx, UV_ETIMEDOUT);

  assert_int_equal(uvf_ctx_with_timeout(root, 5, &ctx), 0);
  run_until_over(ctx);
  check_start_under(ctx, UV_ETIMEDOUT);

  assert_int_equal(uvf_ctx_with_cancel(root, &parent), 0);
  assert_int_equal(uvf_ctx_with_cancel(parent, &ctx), 0);
  ctx_cancel(parent);
  check_start_under(ctx, UV_ECANCELED);
  assert_int_equal(uvf_ctx_with_cancel(parent, &ctx), 0); /* born over */
  check_start_under(ctx, UV_ECANCELED);
  uvf_ctx_release(parent);

  assert_int_equal(uvf_ctx_with_cancel(root, &ctx), 0);
  ctx_cancel_elsewhere(ctx);
  check_start_under(ctx, UV_ECANCELED);
}

/* The pool is full, our share is full: there is nothing to wait for. */
static void a_start_under_a_context_that_is_over_does_not_wait_for_the_pool(void **state) {
  uvf_ctx_t *ctx = NULL;
  (void)state;
  kit_block_pool();
  assert_int_equal(uvf_ctx_with_timeout(kit.f->root, 0, &ctx), 0);
  check_start_under(ctx, UV_ETIMEDOUT);
  kit_unblock();
}

/* --- never inside --- */

static void start_more(probe_t *p) {
  probe_t *next;
  if (p->tag == 0) return;
  next = probe_new();
  next->tag = p->tag - 1;
  next->in_done = p->in_done;
  next->in_release = p->in_release;
  *(probe_t **)p->arg = next;
  next->arg = p->arg;
  probe_start(kit.f->root, next, p->has_release);
}
static void start_more_in_done(probe_t *p, int status) {
  (void)status;
  start_more(p);
}

/* kit_enter checks at every callback that none runs inside a start, a cancel or another callback. */
static void jobs_started_inside_callbacks_are_answered_later(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    probe_t *last = NULL, *p = probe_new();
    p->tag = 50;
    p->arg = &last;
    if (i == 0) p->in_done = start_more_in_done;
    if (i == 1) p->in_release = start_more;
    probe_start(kit.f->root, p, i);
    /* one run may see many of them through: when it has nothing left, the last must have been started */
    while ((last == NULL || last->tag > 0) && uv_run(&kit.f->loop, UV_RUN_ONCE) != 0) {}
    assert_non_null(last);
    assert_int_equal(last->tag, 0);
    run_probe(last);
    assert_int_equal(last->status, 0);
  }
}

static void cancel_other(probe_t *p, int status) {
  probe_t *other = p->arg;
  (void)status;
  other->tag = probe_cancel(other);
}

static void a_job_cancelled_inside_anothers_done_is_answered_later(void **state) {
  probe_t *first = probe_new(), *second = probe_new();
  (void)state;
  kit_block_share(1);
  first->arg = second;
  first->in_done = cancel_other;
  probe_start(kit.f->root, first, 1);
  probe_start(kit.f->root, second, 1);
  assert_int_equal(probe_cancel(first), 0);
  run_probe(second);
  assert_int_equal(second->tag, 0);
  assert_int_equal(second->status, UV_ECANCELED);
  assert_true(second->done_at > first->done_at);
  run_probe(first);
  kit_unblock();
}

static void start_under_own_context(probe_t *p, int status) {
  (void)status;
  probe_start(p->job->ctx, p->arg, 1);
}

static void a_job_started_while_its_root_is_closing_is_answered_before_the_root_is_closed(void **state) {
  probe_t *first = probe_new(), *second = probe_new();
  uvf_ctx_t *root = NULL;
  (void)state;
  assert_int_equal(uvf_ctx_background(&kit.f->loop, &root), 0);
  kit_block_share(1);
  first->arg = second;
  first->in_done = start_under_own_context;
  probe_start(root, first, 0);
  kit_close(root);
  run_until(&kit.f->loop, &kit.closed, 1);
  assert_int_equal(first->status, UV_ECANCELED);
  assert_int_equal(second->status, UV_ECANCELED);
  assert_int_equal(second->released, 1);
  assert_int_equal(atomic_load(&second->ran), 0);
  kit_unblock();
}

/* --- the job's memory --- */

static void start_again(probe_t *p) {
  if (--p->tag > 0) probe_start(p->arg != NULL ? p->arg : kit.f->root, p, p->has_release);
}
static void start_again_in_done(probe_t *p, int status) {
  (void)status;
  start_again(p);
}

static void a_job_may_be_started_again_from_inside_done(void **state) {
  probe_t *p = probe_new();
  (void)state;
  p->tag = 20;
  p->in_done = start_again_in_done;
  probe_start(kit.f->root, p, 0);
  while (p->tag > 0) run_until(&kit.f->loop, &p->done, p->starts);
  assert_int_equal(p->done, 20);
  assert_int_equal(atomic_load(&p->ran), 20);
}

static void a_job_may_be_started_again_from_inside_release(void **state) {
  probe_t *p = probe_new();
  (void)state;
  p->tag = 20;
  p->in_release = start_again;
  probe_start(kit.f->root, p, 1);
  while (p->tag > 0) run_until(&kit.f->loop, &p->released, p->starts);
  assert_int_equal(p->done, 20);
  assert_int_equal(p->released, 20);
  assert_int_equal(atomic_load(&p->ran), 20);
}

static void a_withdrawn_job_may_be_started_again_while_the_pool_is_still_full(void **state) {
  uvf_ctx_t *over = NULL;
  probe_t *p = probe_new(), *q = probe_new();
  (void)state;
  kit_block_pool();
  assert_int_equal(uvf_ctx_with_timeout(kit.f->root, 0, &over), 0);
  p->tag = q->tag = 5;
  p->arg = q->arg = over;
  p->in_done = start_again_in_done;
  q->in_release = start_again;
  probe_start(kit.f->root, p, 0);
  probe_start(kit.f->root, q, 1);
  assert_int_equal(probe_cancel(p), 0);
  assert_int_equal(probe_cancel(q), 0);
  while (p->tag > 0) run_until(&kit.f->loop, &p->done, p->starts);
  while (q->tag > 0) run_until(&kit.f->loop, &q->released, q->starts);
  assert_int_equal(atomic_load(&p->ran) + atomic_load(&q->ran), 0);
  uvf_ctx_release(over);
  kit_unblock();
}

/* Runs once, for its second start, also where the pool has not yet seen the first one go. */
static void a_withdrawn_job_that_is_started_again_runs_once(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    probe_t *p = probe_new();
    kit_block_share(1);
    p->keep = 1;
    probe_start(kit.f->root, p, release);
    assert_int_equal(probe_cancel(p), 0);
    run_probe(p);
    assert_int_equal(p->status, UV_ECANCELED);
    p->value = 3;
    probe_start(kit.f->root, p, release);
    kit_unblock();
    run_probe(p);
    assert_int_equal(p->status, 3);
    assert_int_equal(atomic_load(&p->ran), 1);
  }
}

/* --- the context --- */

static const char a_key;

static void look_at_context_fn(probe_t *p) {
  p->tag += uvf_ctx_err(p->job->ctx) == 0;
  p->tag += uvf_ctx_value(p->job->ctx, &a_key) == (void *)p;
  p->tag += uvf_ctx_deadline_ns(p->job->ctx) != UVF_NO_DEADLINE;
}
static void look_at_context_done(probe_t *p, int status) {
  (void)status;
  look_at_context_fn(p);
}

static void the_jobs_context_is_usable_in_fn_in_done_and_in_release(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *timed = NULL, *ctx = NULL;
    probe_t *p = probe_new();
    p->in_fn = look_at_context_fn;
    p->in_done = look_at_context_done;
    p->in_release = look_at_context_fn;
    assert_int_equal(uvf_ctx_with_timeout(kit.f->root, 1000000, &timed), 0);
    assert_int_equal(uvf_ctx_with_value(timed, &a_key, p, NULL, &ctx), 0);
    probe_start(ctx, p, release);
    uvf_ctx_release(ctx); /* the job alone keeps them */
    uvf_ctx_release(timed);
    run_probe(p);
    assert_int_equal(p->tag, release ? 9 : 6);
  }
}

static void retain_context(probe_t *p) { p->arg = uvf_ctx_retain(p->job->ctx); }
static void retain_context_in_done(probe_t *p, int status) {
  (void)status;
  retain_context(p);
}

static void a_context_retained_in_fn_in_done_or_in_release_outlives_the_job(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    uvf_ctx_t *ctx = NULL;
    probe_t *p = probe_new();
    if (i == 0) p->in_fn = retain_context;
    if (i == 1) p->in_done = retain_context_in_done;
    if (i == 2) p->in_release = retain_context;
    assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
    probe_start(ctx, p, i == 2);
    uvf_ctx_release(ctx);
    run_probe(p);
    run_ready(&kit.f->loop);
    assert_ptr_equal(p->arg, ctx);
    ctx_cancel(p->arg);
    assert_int_equal(uvf_ctx_err(p->arg), UV_ECANCELED);
    uvf_ctx_release(p->arg);
  }
}

/* --- keep-alive and figures --- */

static void a_job_holds_the_loop_until_it_is_over_and_no_longer(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    probe_t *p = probe_new();
    p->gated = 1;
    assert_int_equal(uv_loop_alive(&kit.f->loop), 0);
    probe_start(kit.f->root, p, release);
    assert_true(gate_passed(&p->started));
    for (int i = 0; i < 10; i++) assert_int_not_equal(uv_run(&kit.f->loop, UV_RUN_NOWAIT), 0);
    gate_open(&p->go, 1);
    assert_int_equal(uv_run(&kit.f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(p->done, 1);
    assert_int_equal(p->released, release);
  }
}

static void a_due_release_holds_the_loop(void **state) {
  probe_t *p = probe_new();
  (void)state;
  p->gated = 1;
  probe_start(kit.f->root, p, 1);
  assert_true(gate_passed(&p->started));
  assert_int_equal(probe_cancel(p), 0);
  run_until(&kit.f->loop, &p->done, 1);
  for (int i = 0; i < 10; i++) assert_int_not_equal(uv_run(&kit.f->loop, UV_RUN_NOWAIT), 0);
  gate_open(&p->go, 1);
  assert_int_equal(uv_run(&kit.f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(p->released, 1);
}

static void the_figures_count_a_job_until_it_is_answered(void **state) {
  uvf_ctx_t *ctx = NULL;
  uvf_ctx_counts_t counts;
  uvf_stats_t before, stats;
  probe_t *p = probe_new();
  (void)state;
  assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
  uvf_ctx_stats(ctx, &before);
  probe_start(ctx, p, 0);
  uvf_ctx_counts(ctx, &counts);
  uvf_ctx_stats(ctx, &stats);
  assert_int_equal(counts.ops, 1);
  assert_int_equal(counts.watchers, 0);
  assert_int_equal(stats.ops, before.ops + 1);
  run_probe(p);
  run_ready(&kit.f->loop);
  uvf_ctx_counts(ctx, &counts);
  uvf_ctx_stats(ctx, &stats);
  assert_int_equal(counts.ops, 0);
  assert_int_equal(stats.ops, before.ops);
  assert_int_equal(stats.ready, 0);
  assert_true(stats.delivered > before.delivered);
  uvf_ctx_release(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      job_test(done_gets_fns_value_whatever_it_is),
      job_test(fn_runs_on_another_thread_than_the_loops),
      job_test(a_job_needs_no_callbacks),
      job_test(a_job_may_have_a_release_and_no_done),
      job_test(withdrawn_jobs_need_no_callbacks_either),
      job_test(a_start_with_a_null_argument_is_einval_and_never_calls_back),
      job_test(a_start_without_memory_is_enomem_and_changes_nothing),
      job_test(an_end_allocates_nothing),
      job_test(a_start_under_a_context_that_is_over_runs_nothing_and_reports_its_err),
      job_test(a_start_under_a_context_that_is_over_does_not_wait_for_the_pool),
      job_test(jobs_started_inside_callbacks_are_answered_later),
      job_test(a_job_cancelled_inside_anothers_done_is_answered_later),
      job_test(a_job_started_while_its_root_is_closing_is_answered_before_the_root_is_closed),
      job_test(a_job_may_be_started_again_from_inside_done),
      job_test(a_job_may_be_started_again_from_inside_release),
      job_test(a_withdrawn_job_may_be_started_again_while_the_pool_is_still_full),
      job_test(a_withdrawn_job_that_is_started_again_runs_once),
      job_test(the_jobs_context_is_usable_in_fn_in_done_and_in_release),
      job_test(a_context_retained_in_fn_in_done_or_in_release_outlives_the_job),
      job_test(a_job_holds_the_loop_until_it_is_over_and_no_longer),
      job_test(a_due_release_holds_the_loop),
      job_test(the_figures_count_a_job_until_it_is_answered),
  };
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
