/* SPDX-License-Identifier: MIT
 *
 * What is refused, with what answer; and who is told to have failed.
 */
#include "unit/flow_nodes.h"

static uvf_flow_t *kept;

static int keeps(uvf_flow_t *flow, void *item) {
  item_end(item);
  kept = flow;
  return 0;
}

static int only_the_call_is_left(void *arg) {
  (void)arg;
  return kept != NULL && k.p->jobs == 0;
}

/* --- what is refused --- */

static void a_queue_beyond_all_memory_is_refused_and_nothing_has_happened(void **state) {
  static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 128, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 16};
  fixture_t *f = *state;
  run_t run = {0, 1};
  begin();
  node(UVF_STAGE_SOURCE)->make = 200;
  node(UVF_STAGE_WORK);
  in_a_row();
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
    k.n[1].stage->o.capacity = sizes[i];
    assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), UV_ENOMEM);
  }
  k.n[1].stage->o.capacity = 8;
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_int_equal(k.n[1].stage->done, 200);
  assert_int_equal(run.done, 0);
  end();
}

static void a_stage_whose_limiter_can_never_give_a_token_ends_the_run_and_all_are_finished(void **state) {
  static const int of[] = {UVF_STAGE_SOURCE, UVF_STAGE_LOOP, UVF_STAGE_ASYNC};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
    uvf_limiter_t limiter;
    assert_int_equal(uvf_limiter_init(&limiter, 100, 0), 0);
    begin();
    source(of[i], 10)->o.limiter = &limiter;
    node(UVF_STAGE_LOOP);
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), UV_EINVAL);
    assert_int_equal(atomic_load(&k.n[0].calls), 0);
    for (int s = 0; s < 2; s++) assert_int_equal(stats_of(&k.n[s]).finished, 1);
    end();
    assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  }
}

static void a_source_with_inputs_is_told_to_be_that(void **state) {
  char text[200] = "";
  (void)state;
  begin();
  node(UVF_STAGE_SOURCE)->o.inputs = 1;
  node(UVF_STAGE_WORK);
  in_a_row();
  assert_int_equal(uvf_pipeline_validate(k.p, text, sizeof text), UV_EINVAL);
  assert_non_null(strstr(text, "\"a\" is a source, but its number of inputs is 1"));
  end();
}

/* --- the wrong thread --- */

static void ends_the_run(void *flow) {
  (void)flow;
  uvf_pipeline_cancel(k.p);
}

static int answer;
static void ends_the_call(void *flow) { answer = uvf_flow_done(flow, 0); }

static struct {
  void (*call)(void *flow);
  char rule[200];
} foreign;

static void on_another_thread(void *arg) {
  (void)arg;
  if (test_rules_on()) {
    const char *rule = test_expect_rule(foreign.call, kept); /* its jump stays on this thread */
    snprintf(foreign.rule, sizeof foreign.rule, "%s", rule != NULL ? rule : "");
  } else {
    foreign.call(kept);
  }
}

static void calling_from_the_wrong_thread_is_stopped_in_debug_and_does_nothing_in_release(void **state) {
  static const struct {
    void (*call)(void *flow);
    const char *function;
  } rows[] = {{ends_the_run, "uvf_pipeline_cancel: "}, {ends_the_call, "uvf_flow_done: "}};
  fixture_t *f = *state;
  run_t run = {0, 1};
  kept = NULL;
  begin();
  node(UVF_STAGE_SOURCE)->make = 1;
  node(UVF_STAGE_ASYNC)->o.fn = keeps;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, only_the_call_is_left, NULL);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uv_thread_t thread;
    answer = UV_EINVAL;
    foreign.call = rows[i].call;
    assert_int_equal(uv_thread_create(&thread, on_another_thread, NULL), 0);
    assert_int_equal(uv_thread_join(&thread), 0);
    if (test_rules_on()) {
      assert_memory_equal(foreign.rule, rows[i].function, strlen(rows[i].function));
      assert_non_null(strstr(foreign.rule, "thread"));
    }
    assert_int_equal(answer, UV_EINVAL);
  }
  run_ready(&f->loop);
  assert_int_equal(run.done, 0);
  assert_int_equal(uvf_flow_done(kept, 0), 0);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
  assert_int_equal(k.n[1].stage->done, 1);
  end();
}

/* --- which stage it was --- */

static uvf_stage_t *failed_inside;

static void on_failed(uvf_pipeline_t *p, int status, void *arg) {
  failed_inside = uvf_pipeline_failed(p);
  on_run_done(p, status, arg);
}

static int fails_after_a_cancel(uvf_flow_t *flow, void *item) {
  (void)item;
  uvf_ctx_cancel(flow->ctx);
  return -777;
}

static void the_stage_that_has_failed_is_told_by_name(void **state) {
  fixture_t *f = *state;
  begin();
  node(UVF_STAGE_SOURCE);
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) node(kinds[i]);
  in_a_row();
  assert_null(uvf_pipeline_failed(k.p));
  assert_null(uvf_pipeline_failed(NULL));
  assert_string_equal(uvf_stage_name(NULL), "");
  for (int i = 1; i < 4; i++) {
    run_t run = {0, 1};
    again(50);
    k.n[i].fail_every = 3;
    assert_int_equal(uvf_pipeline_run(f->root, k.p, on_failed, &run), 0);
    run_until(&f->loop, &run.done, 1);
    assert_int_equal(run.status, -777);
    assert_ptr_equal(failed_inside, k.n[i].stage);
    assert_ptr_equal(uvf_pipeline_failed(k.p), k.n[i].stage);
    assert_string_equal(uvf_stage_name(failed_inside), k.n[i].o.name);
    assert_accounted();
    k.n[i].fail_every = 0;
    again(50);
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_null(uvf_pipeline_failed(k.p));
  }
  end();
}

static void what_fails_after_the_end_of_the_run_has_not_ended_it(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < 2; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 1;
    node(kinds[i])->o.fn = fails_after_a_cancel;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), UV_ECANCELED);
    assert_null(uvf_pipeline_failed(k.p));
    end();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_queue_beyond_all_memory_is_refused_and_nothing_has_happened),
      unit(a_stage_whose_limiter_can_never_give_a_token_ends_the_run_and_all_are_finished),
      unit(a_source_with_inputs_is_told_to_be_that),
      unit(calling_from_the_wrong_thread_is_stopped_in_debug_and_does_nothing_in_release),
      unit(the_stage_that_has_failed_is_told_by_name),
      unit(what_fails_after_the_end_of_the_run_has_not_ended_it),
  };
  return test_run(tests);
}
