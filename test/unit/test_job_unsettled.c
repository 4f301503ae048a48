/* SPDX-License-Identifier: MIT
 *
 * The moment between the end of a context and the claim of its jobs: what a job knows of its end, its status knows. The
 * loop has not heard of the end yet, or is in the middle of a long walk through the tree.
 */
#include "test_job.h"

#define VALUE 5
#define ROUNDS 12

static size_t many(void) { return test_scaled(100000, 10000); }

static void end_own_context(probe_t *p) { uvf_ctx_cancel(p->job->ctx); }

static void a_job_that_has_ended_its_context_fails_though_the_loop_does_not_run(void **state) {
  for (int commits = 0; commits < 2; commits++) {
    probe_t *p = probe_new();
    uvf_ctx_t *ctx;
    assert_int_equal(uvf_ctx_with_cancel(kit.blocker_root, &ctx), 0);
    p->in_fn = end_own_context;
    p->commits_late = commits;
    p->value = VALUE;
    probe_start(ctx, p, 0);
    assert_true(reaches(&p->returned, 1)); /* nobody has turned the loop */
    run_probe(p);
    assert_int_equal(p->status, UV_ECANCELED);
    if (commits) assert_int_equal(p->commit_answer, UV_ECANCELED);
    uvf_ctx_release(ctx);
  }
  (void)state;
}

static void a_job_whose_context_another_thread_has_ended_fails_though_the_loop_does_not_run(void **state) {
  probe_t *p = probe_new();
  uvf_ctx_t *ctx;
  assert_int_equal(uvf_ctx_with_cancel(kit.blocker_root, &ctx), 0);
  p->gated = 1;
  p->value = VALUE;
  probe_start(ctx, p, 0);
  assert_true(gate_passed(&p->started));
  ctx_cancel_elsewhere(ctx);
  gate_open(&p->go, 1);
  assert_true(reaches(&p->returned, 1));
  run_probe(p);
  assert_int_equal(p->status, UV_ECANCELED);
  uvf_ctx_release(ctx);
  (void)state;
}

static void a_queued_job_whose_context_another_thread_has_ended_is_not_begun(void **state) {
  probe_t *p = probe_new();
  uvf_ctx_t *ctx;
  kit_block_share(1);
  assert_int_equal(uvf_ctx_with_cancel(kit.blocker_root, &ctx), 0);
  probe_start(ctx, p, 0);
  ctx_cancel_elsewhere(ctx);
  for (int i = 0; i < kit.blocking; i++) gate_open(&kit.blockers[i]->go, 1);
  assert_true(reaches(&kit.blockers[0]->returned, 1)); /* its runner takes p next; the loop stands still */
  uv_sleep(20);
  assert_int_equal(atomic_load(&p->ran), 0);
  kit_unblock();
  run_probe(p);
  assert_int_equal(p->status, UV_ECANCELED);
  assert_int_equal(atomic_load(&p->ran), 0);
  uvf_ctx_release(ctx);
  (void)state;
}

/* fn has seen the end when it returns; the loop is still busy with what is below. */
static void await_end(probe_t *p) {
  uint64_t limit = uv_hrtime() + PATIENCE_MS * MS_NS;
  uvf_ctx_t *ctx = p->job->ctx;
  gate_open(&p->started, 1);
  while (uvf_ctx_err(ctx) == 0 && uv_hrtime() < limit) {}
}

static void end_under_walk(uvf_ctx_t *parent, uvf_ctx_t *ctx, int timed) {
  uvf_ctx_t **below = calloc(many(), sizeof(uvf_ctx_t *));
  assert_non_null(below);
  for (int round = 0; round < ROUNDS && uvf_ctx_err(ctx) == 0; round++) {
    probe_t *p = probe_new();
    uvf_ctx_t *sub = NULL;
    assert_int_equal(timed ? uvf_ctx_with_timeout(ctx, 50, &sub) : uvf_ctx_with_cancel(ctx, &sub), 0);
    for (size_t i = 0; i < many(); i++) assert_int_equal(uvf_ctx_with_cancel(sub, &below[i]), 0);
    p->in_fn = await_end;
    p->value = VALUE;
    p->commits_late = round % 2;
    probe_start(sub, p, round % 3 == 0);
    assert_true(gate_passed(&p->started));
    if (!timed) ctx_cancel(parent != NULL ? parent : sub);
    run_probe(p);
    assert_int_equal(p->status, timed ? UV_ETIMEDOUT : UV_ECANCELED);
    for (size_t i = 0; i < many(); i++) uvf_ctx_release(below[i]);
    uvf_ctx_release(sub);
  }
  free(below);
}

static void a_job_that_has_seen_its_context_cancelled_fails(void **state) {
  end_under_walk(NULL, kit.blocker_root, 0);
  (void)state;
}

static void a_job_that_has_seen_its_deadline_fails(void **state) {
  end_under_walk(NULL, kit.blocker_root, 1);
  (void)state;
}

static void a_job_that_has_seen_the_end_of_the_context_above_fails(void **state) {
  for (int round = 0; round < ROUNDS; round++) {
    uvf_ctx_t *parent;
    assert_int_equal(uvf_ctx_with_cancel(kit.blocker_root, &parent), 0);
    end_under_walk(parent, parent, 0);
    uvf_ctx_release(parent);
  }
  (void)state;
}

static void a_job_under_a_context_that_lives_succeeds_while_others_end(void **state) {
  uvf_ctx_t *live, *ended[64];
  assert_int_equal(uvf_ctx_with_cancel(kit.blocker_root, &live), 0);
  for (size_t i = 0; i < ARRAY_SIZE(ended); i++) {
    probe_t *p = probe_new();
    assert_int_equal(uvf_ctx_with_cancel(kit.blocker_root, &ended[i]), 0);
    p->gated = 1;
    p->value = VALUE;
    probe_start(live, p, 0);
    assert_true(gate_passed(&p->started));
    if (i % 2) {
      ctx_cancel_elsewhere(ended[i]); /* the hub stays unsettled until the loop turns */
    } else {
      ctx_cancel(ended[i]);
    }
    gate_open(&p->go, 1);
    assert_true(reaches(&p->returned, 1));
    run_probe(p);
    assert_int_equal(p->status, VALUE);
    uvf_ctx_release(ended[i]);
  }
  uvf_ctx_release(live);
  (void)state;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      job_test(a_job_that_has_ended_its_context_fails_though_the_loop_does_not_run),
      job_test(a_job_whose_context_another_thread_has_ended_fails_though_the_loop_does_not_run),
      job_test(a_queued_job_whose_context_another_thread_has_ended_is_not_begun),
      job_test(a_job_that_has_seen_its_context_cancelled_fails),
      job_test(a_job_that_has_seen_its_deadline_fails),
      job_test(a_job_that_has_seen_the_end_of_the_context_above_fails),
      job_test(a_job_under_a_context_that_lives_succeeds_while_others_end),
  };
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
