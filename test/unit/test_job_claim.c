/* SPDX-License-Identifier: MIT
 *
 * Who ends a job: commit, cancel, completion and the context, one against the other, in an order forced by gates; and
 * once unforced, many times, where the answers must agree with each other.
 */
#include "test_job.h"

static uvf_ctx_t *new_ctx(void) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_cancel(kit.f->root, &ctx), 0);
  return ctx;
}

static probe_t *start_parked(uvf_ctx_t *ctx, int release) {
  probe_t *p = probe_new();
  p->gated = p->keep = 1;
  probe_start(ctx, p, release);
  assert_true(gate_passed(&p->started));
  return p;
}

/* --- cancelled, then commit --- */

static void a_commit_after_a_cancel_answers_ecanceled_both_times(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    probe_t *p = start_parked(kit.f->root, release);
    p->commits_late = 1;
    p->value = 7;
    assert_int_equal(probe_cancel(p), 0);
    gate_open(&p->go, 1);
    run_probe(p);
    assert_int_equal(p->commit_answer, UV_ECANCELED);
    assert_int_equal(p->commit_again, UV_ECANCELED);
    assert_int_equal(p->status, UV_ECANCELED);
  }
}

static void a_commit_after_the_context_ended_answers_ecanceled_whatever_ended_it(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    uvf_ctx_t *ctx = NULL;
    probe_t *p;
    assert_int_equal(uvf_ctx_with_timeout(kit.f->root, i < 2 ? 1000000 : 20, &ctx), 0);
    p = start_parked(ctx, i % 2);
    p->commits_late = 1;
    if (i < 2) {
      ctx_cancel(ctx);
    } else {
      run_until_over(ctx);
    }
    gate_open(&p->go, 1);
    run_probe(p);
    assert_int_equal(p->commit_answer, UV_ECANCELED);
    assert_int_equal(p->commit_again, UV_ECANCELED);
    assert_int_equal(p->status, i < 2 ? UV_ECANCELED : UV_ETIMEDOUT);
    uvf_ctx_release(ctx);
  }
}

/* The loop does not run between the cancel and the commit: nobody but the commit itself can notice. */
static void a_commit_sees_that_another_thread_has_just_cancelled_the_context(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *p = start_parked(ctx, release);
    p->commits_late = 1;
    ctx_cancel_elsewhere(ctx);
    gate_open(&p->go, 1);
    assert_true(reaches(&p->returned, 1));
    assert_int_equal(p->commit_answer, UV_ECANCELED);
    assert_int_equal(p->commit_again, UV_ECANCELED);
    run_probe(p);
    assert_int_equal(p->status, UV_ECANCELED);
    uvf_ctx_release(ctx);
  }
}

/* --- committed, then cancelled --- */

static void a_commit_made_before_the_cancel_publishes_any_value(void **state) {
  static const int values[] = {0, UV_EIO, UV_ECANCELED, UV_ETIMEDOUT, 7};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(values) * 2; i++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *p = probe_new();
    p->gated = p->commits = p->keep = 1;
    p->value = values[i / 2];
    probe_start(ctx, p, (int)(i % 2));
    assert_true(gate_passed(&p->started));
    assert_int_equal(probe_cancel(p), UV_EBUSY);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)p->job), UV_EBUSY);
    ctx_cancel_elsewhere(ctx);
    ctx_cancel(ctx);
    assert_int_equal(probe_cancel(p), UV_EBUSY);
    run_ready(&kit.f->loop);
    assert_int_equal(p->done, 0);
    gate_open(&p->go, 1);
    run_probe(p);
    assert_int_equal(p->commit_answer, 0);
    assert_int_equal(p->commit_again, 0);
    assert_int_equal(p->status, values[i / 2]);
    assert_int_equal(p->err_in_done, UV_ECANCELED); /* the context is over, the result is not lost */
    uvf_ctx_release(ctx);
  }
}

static void a_commit_without_a_cancel_changes_nothing(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    probe_t *p = probe_new();
    p->commits = 1;
    p->value = UV_EAGAIN;
    probe_start(kit.f->root, p, release);
    run_probe(p);
    assert_int_equal(p->commit_answer, 0);
    assert_int_equal(p->commit_again, 0);
    assert_int_equal(p->status, UV_EAGAIN);
  }
}

/* --- a context that ends behind the loop's back --- */

static void a_completion_finds_that_its_context_is_over(void **state) {
  static const int values[] = {0, UV_EIO, 7};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(values) * 2; i++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *p = start_parked(ctx, (int)(i % 2));
    p->value = values[i / 2];
    ctx_cancel_elsewhere(ctx); /* the loop is blocked: it stands here */
    gate_open(&p->go, 1);
    assert_true(reaches(&p->returned, 1));
    assert_int_equal(p->done, 0);
    run_probe(p);
    assert_int_equal(p->status, UV_ECANCELED);
    uvf_ctx_release(ctx);
  }
}

static void a_queued_job_whose_context_another_thread_ended_is_not_run_though_the_loop_is_blocked(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *parked, *p = probe_new(), *after = probe_new();
    assert_int_equal(uvf_work_set_limit(1), 0);
    parked = start_parked(kit.f->root, 0);
    probe_start(ctx, p, release);
    probe_start(kit.f->root, after, 0);
    ctx_cancel_elsewhere(ctx);
    gate_open(&parked->go, 1);
    assert_true(reaches(&after->returned, 1)); /* the pool has been past it */
    assert_int_equal(atomic_load(&p->ran), 0);
    run_probe(p);
    run_probe(after);
    run_probe(parked);
    assert_int_equal(atomic_load(&p->ran), 0);
    assert_int_equal(p->status, UV_ECANCELED);
    uvf_ctx_release(ctx);
  }
}

/* --- a job that ends its own context --- */

static void cancel_own(probe_t *p) {
  uvf_ctx_cancel_cause(p->job->ctx, UV_EPROTO, p);
  p->tag = uvf_ctx_err(p->job->ctx);
}

static void a_job_that_cancels_its_own_context_is_answered_with_that(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *p = probe_new();
    void *data = NULL;
    p->in_fn = cancel_own;
    p->commits_late = 1;
    probe_start(ctx, p, release);
    run_probe(p);
    assert_int_equal(p->tag, UV_ECANCELED); /* seen at once on its own thread */
    assert_int_equal(p->commit_answer, UV_ECANCELED);
    assert_int_equal(p->status, UV_ECANCELED);
    assert_int_equal(p->cause_in_done, UV_EPROTO);
    assert_int_equal(uvf_ctx_cause(ctx, &data), UV_EPROTO);
    assert_ptr_equal(data, p);
    uvf_ctx_release(ctx);
  }
}

static void a_job_that_commits_and_then_cancels_its_own_context_keeps_its_value(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *p = probe_new();
    p->in_fn = cancel_own;
    p->commits = 1;
    probe_start(ctx, p, release);
    run_probe(p);
    assert_int_equal(p->commit_answer, 0);
    assert_int_equal(p->status, 0);
    assert_int_equal(p->err_in_done, UV_ECANCELED);
    uvf_ctx_release(ctx);
  }
}

/* --- cancel of one operation --- */

static void a_second_cancel_is_too_late(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    int release = i % 2;
    probe_t *p;
    if (i < 2) {
      kit_block_share(1);
      p = probe_new();
      p->keep = 1;
      probe_start(kit.f->root, p, release);
    } else {
      p = start_parked(kit.f->root, release);
    }
    assert_int_equal(probe_cancel(p), 0);
    assert_int_equal(probe_cancel(p), UV_EBUSY);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)p->job), UV_EBUSY);
    gate_open(&p->go, 1);
    run_probe(p);
    assert_int_equal(probe_cancel(p), UV_EBUSY);
    assert_int_equal(p->status, UV_ECANCELED);
    kit_unblock();
  }
}

static void cancel_in_done(probe_t *p, int status) {
  (void)status;
  p->tag += probe_cancel(p) == UV_EBUSY;
  p->tag += uvf_op_cancel((uvf_op_t *)p->job) == UV_EBUSY;
}
static void cancel_in_release(probe_t *p) { cancel_in_done(p, 0); }

static void a_cancel_inside_done_and_inside_release_is_too_late(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    int release = i % 2;
    probe_t *p = start_parked(kit.f->root, release);
    p->in_done = cancel_in_done;
    p->in_release = cancel_in_release;
    if (i >= 2) assert_int_equal(probe_cancel(p), 0);
    gate_open(&p->go, 1);
    run_probe(p);
    assert_int_equal(p->tag, release ? 4 : 2);
    assert_int_equal(p->status, i >= 2 ? UV_ECANCELED : 0);
  }
}

static void a_cancel_between_done_and_release_is_too_late(void **state) {
  probe_t *p = start_parked(kit.f->root, 1);
  (void)state;
  assert_int_equal(probe_cancel(p), 0);
  run_until(&kit.f->loop, &p->done, 1);
  assert_int_equal(probe_cancel(p), UV_EBUSY);
  run_ready(&kit.f->loop);
  assert_int_equal(p->released, 0);
  gate_open(&p->go, 1);
  run_probe(p);
}

/* Only the job's own memory must be valid: its context is gone. */
static void a_cancel_long_after_the_context_is_gone_is_too_late(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *p = probe_new();
    p->keep = 1;
    probe_start(ctx, p, release);
    uvf_ctx_release(ctx);
    run_probe(p);
    run_ready(&kit.f->loop);
    assert_int_equal(probe_cancel(p), UV_EBUSY);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)p->job), UV_EBUSY);
    assert_int_equal(p->status, 0);
    assert_int_equal(p->job->status, 0);
  }
}

static void a_cancel_of_null_is_einval(void **state) {
  (void)state;
  assert_int_equal(uvf_work_cancel(NULL), UV_EINVAL);
  assert_int_equal(uvf_op_cancel(NULL), UV_EINVAL);
}

static void a_cancel_through_the_base_is_the_same_cancel(void **state) {
  probe_t *p = probe_new();
  (void)state;
  kit_block_share(1);
  probe_start(kit.f->root, p, 1);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)p->job), 0);
  run_probe(p);
  assert_int_equal(p->status, UV_ECANCELED);
  assert_int_equal(atomic_load(&p->ran), 0);
  kit_unblock();
}

static void a_cancel_ends_one_job_and_leaves_its_neighbours(void **state) {
  enum { JOBS = 9 };
  uvf_ctx_t *ctx = new_ctx();
  probe_t *p[JOBS];
  (void)state;
  kit_block_share(1);
  for (int i = 0; i < JOBS; i++) {
    p[i] = probe_new();
    p[i]->value = i;
    probe_start(ctx, p[i], i % 2);
  }
  assert_int_equal(probe_cancel(p[0]), 0); /* the first, one in the middle, the last */
  assert_int_equal(probe_cancel(p[4]), 0);
  assert_int_equal(probe_cancel(p[JOBS - 1]), 0);
  run_probe(p[0]);
  run_probe(p[4]);
  run_probe(p[JOBS - 1]);
  assert_int_equal(uvf_ctx_err(ctx), 0);
  kit_unblock();
  for (int i = 0, place = 0; i < JOBS; i++) {
    int cancelled = i == 0 || i == 4 || i == JOBS - 1;
    run_probe(p[i]);
    assert_int_equal(p[i]->status, cancelled ? UV_ECANCELED : i);
    assert_int_equal(atomic_load(&p[i]->ran), !cancelled);
    if (!cancelled) assert_int_equal(p[i]->start_index, 1 + place++); /* 0 was the blocker */
  }
  uvf_ctx_release(ctx);
}

/* --- unforced: whatever the order was, the answers must agree --- */

static void check_agreement(const probe_t *p, int rc) {
  assert_int_equal(p->done, 1);
  assert_int_equal(p->released, p->has_release);
  if (rc == 0) assert_int_equal(p->status, UV_ECANCELED);
  if (atomic_load(&p->ran) == 0) {
    assert_int_equal(p->status, UV_ECANCELED);
  } else if (p->commits_late) {
    assert_true(p->commit_answer == 0 || p->commit_answer == UV_ECANCELED);
    assert_int_equal(p->commit_again, p->commit_answer);
    assert_int_equal(p->status, p->commit_answer == 0 ? 7 : UV_ECANCELED);
  } else {
    assert_true(p->status == 7 || p->status == UV_ECANCELED);
  }
}

static void a_cancel_and_a_completion_that_race_agree_on_one_answer(void **state) {
  uint64_t seed = test_seed();
  size_t rounds = test_scaled(3000, 10);
  (void)state;
  for (size_t i = 0; i < rounds; i++) {
    probe_t *p = probe_new();
    uint64_t r = test_rand(&seed);
    int rc = UV_EBUSY;
    p->value = 7;
    p->keep = 1;
    p->commits_late = (int)(r & 1);
    probe_start(kit.f->root, p, (int)(r >> 1 & 1));
    for (uint64_t spin = r >> 8 & 1023; spin > 0; spin--) {
      if (atomic_load(&p->ran) && (r >> 2 & 1)) break;
    }
    rc = probe_cancel(p);
    run_probe(p);
    check_agreement(p, rc);
    if (rc == UV_EBUSY) assert_int_equal(p->status, 7);
  }
}

static void canceller(void *arg) {
  probe_t *p = arg;
  uvf_ctx_t *ctx = p->arg;
  gate_pass(&p->started);
  for (int spin = 0; spin < p->tag && !atomic_load(&p->ran); spin++) {}
  uvf_ctx_cancel(ctx);
}

static void a_cancel_from_another_thread_and_a_completion_that_race_agree_on_one_answer(void **state) {
  uint64_t seed = test_seed();
  size_t rounds = test_scaled(1000, 10);
  (void)state;
  for (size_t i = 0; i < rounds; i++) {
    uvf_ctx_t *ctx = new_ctx();
    probe_t *p = probe_new();
    uv_thread_t thread;
    uint64_t r = test_rand(&seed);
    p->value = 7;
    p->arg = ctx;
    p->tag = (int)(r >> 8 & 4095);
    p->commits_late = (int)(r & 1);
    assert_int_equal(uv_thread_create(&thread, canceller, p), 0);
    gate_open(&p->started, 1);
    probe_start(ctx, p, (int)(r >> 1 & 1));
    run_probe(p);
    uv_thread_join(&thread);
    check_agreement(p, UV_EBUSY);
    uvf_ctx_release(ctx);
  }
}

/* --- what a job sees of a cancel --- */

enum { SEEN_CONTEXTS = 100 };

typedef struct seen_s {
  uvf_ctx_t *ctx[SEEN_CONTEXTS];
  atomic_int at; /* the one that fn looks at */
  atomic_int stop;
  int wrong;
} seen_t;

static void look_at_each(probe_t *p) {
  seen_t *seen = p->arg;
  for (int i = 0; i < SEEN_CONTEXTS; i++) {
    void *data = NULL;
    int cause;
    atomic_store(&seen->at, i);
    while (uvf_ctx_err(seen->ctx[i]) == 0 && !atomic_load(&seen->stop)) {}
    cause = uvf_ctx_cause(seen->ctx[i], &data);
    if (cause != UV_EPROTO || data != seen) seen->wrong++;
  }
  atomic_store(&seen->at, SEEN_CONTEXTS);
}

static void a_job_that_sees_err_sees_the_cause_with_it(void **state) {
  /* Two threads that wait for each other: hardly a race, and very slow, where they share a core (valgrind). */
  size_t rounds = getenv("UVF_TEST_SERIAL") != NULL ? 3 : test_scaled(300, 2);
  (void)state;
  for (size_t round = 0; round < rounds; round++) {
    static seen_t seen;
    probe_t *p = probe_new();
    memset(&seen, 0, sizeof seen);
    atomic_store(&seen.at, -1);
    for (int i = 0; i < SEEN_CONTEXTS; i++) seen.ctx[i] = new_ctx();
    p->arg = &seen;
    p->in_fn = look_at_each;
    probe_start(kit.f->root, p, 0);
    for (int i = 0; i < SEEN_CONTEXTS; i++) {
      uint64_t limit_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
      while (atomic_load(&seen.at) < i && uv_hrtime() < limit_ns) {}
      uvf_ctx_cancel_cause(seen.ctx[i], UV_EPROTO, &seen);
    }
    atomic_store(&seen.stop, 1);
    run_probe(p);
    for (int i = 0; i < SEEN_CONTEXTS; i++) uvf_ctx_release(seen.ctx[i]);
    assert_int_equal(seen.wrong, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      job_test(a_commit_after_a_cancel_answers_ecanceled_both_times),
      job_test(a_commit_after_the_context_ended_answers_ecanceled_whatever_ended_it),
      job_test(a_commit_sees_that_another_thread_has_just_cancelled_the_context),
      job_test(a_commit_made_before_the_cancel_publishes_any_value),
      job_test(a_commit_without_a_cancel_changes_nothing),
      job_test(a_completion_finds_that_its_context_is_over),
      job_test(a_queued_job_whose_context_another_thread_ended_is_not_run_though_the_loop_is_blocked),
      job_test(a_job_that_cancels_its_own_context_is_answered_with_that),
      job_test(a_job_that_commits_and_then_cancels_its_own_context_keeps_its_value),
      job_test(a_second_cancel_is_too_late),
      job_test(a_cancel_inside_done_and_inside_release_is_too_late),
      job_test(a_cancel_between_done_and_release_is_too_late),
      job_test(a_cancel_long_after_the_context_is_gone_is_too_late),
      job_test(a_cancel_of_null_is_einval),
      job_test(a_cancel_through_the_base_is_the_same_cancel),
      job_test(a_cancel_ends_one_job_and_leaves_its_neighbours),
      job_test(a_job_that_sees_err_sees_the_cause_with_it),
      job_test(a_cancel_and_a_completion_that_race_agree_on_one_answer),
      job_test(a_cancel_from_another_thread_and_a_completion_that_race_agree_on_one_answer),
  };
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
