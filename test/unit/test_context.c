/* SPDX-License-Identifier: MIT
 *
 * context.h: roots and deriving, getters, references, refused arguments, births under ended parents, cost.
 */
#include "unit/probe.h"

/* --- roots --- */

static void a_root_is_live_and_has_no_deadline_no_cause_and_no_value(void **state) {
  fixture_t *f = *state;
  static int key;
  void *data = &key, *value = &key;
  assert_int_equal(uvf_ctx_err(f->root), 0);
  assert_int_equal(uvf_ctx_cause(f->root, &data), 0);
  assert_null(data);
  assert_true(uvf_ctx_deadline_ns(f->root) == UVF_NO_DEADLINE);
  assert_true(uvf_ctx_remaining_ns(f->root) == UVF_NO_DEADLINE);
  assert_true(uvf_ctx_remaining_ms(f->root) == UVF_NO_DEADLINE);
  assert_null(uvf_ctx_value(f->root, &key));
  assert_int_equal(uvf_ctx_find(f->root, &key, &value), 0);
  assert_ptr_equal(uvf_ctx_loop(f->root), &f->loop);
  assert_string_equal(uvf_ctx_name(f->root), "background");
}

static void todo_is_a_root_with_a_name_of_its_own(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *todo = NULL, *child;
  assert_int_equal(uvf_ctx_todo(&f->loop, &todo), 0);
  assert_string_equal(uvf_ctx_name(todo), "todo");
  assert_int_equal(uvf_ctx_err(todo), 0);
  assert_true(uvf_ctx_deadline_ns(todo) == UVF_NO_DEADLINE);
  child = child_of(todo);
  uvf_ctx_close(todo, NULL);
  assert_over(child, UV_ECANCELED, UV_ESHUTDOWN);
  assert_int_equal(uvf_ctx_err(f->root), 0);
  uvf_ctx_release(child);
}

static void count_handle(uv_handle_t *handle, void *arg) {
  (void)handle;
  ++*(int *)arg;
}

static void every_background_call_makes_a_root_of_its_own_and_roots_share_the_handles(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *second = NULL;
  int handles = 0, handles_now = 0;
  uv_walk(&f->loop, count_handle, &handles);
  assert_int_equal(stats_of(f->root).roots, 1);
  assert_int_equal(uvf_ctx_background(&f->loop, &second), 0);
  assert_ptr_not_equal(second, f->root);
  uv_walk(&f->loop, count_handle, &handles_now);
  assert_int_equal(handles_now, handles);
  assert_int_equal(stats_of(f->root).roots, 2);
  assert_int_equal(stats_of(second).roots, 2);
  uvf_ctx_close(second, NULL);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).roots, 1);
  assert_int_equal(uvf_ctx_err(f->root), 0);
}

static void a_root_of_null_is_refused(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *untouched = f->root;
  assert_int_equal(uvf_ctx_background(NULL, &untouched), UV_EINVAL);
  assert_int_equal(uvf_ctx_background(&f->loop, NULL), UV_EINVAL);
  assert_int_equal(uvf_ctx_todo(NULL, &untouched), UV_EINVAL);
  assert_int_equal(uvf_ctx_todo(&f->loop, NULL), UV_EINVAL);
  assert_ptr_equal(untouched, f->root);
  assert_int_equal(stats_of(f->root).roots, 1);
}

static void cancel_root(void *root) { uvf_ctx_cancel(root); }
static void cancel_root_with_cause(void *root) { uvf_ctx_cancel_cause(root, -1000, NULL); }

static void cancelling_a_root_or_a_without_cancel_context_is_misuse_and_does_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *child = child_of(f->root), *apart = NULL;
  const char *rule;
  assert_int_equal(uvf_ctx_without_cancel(child, &apart), 0);
  uvf_ctx_t *const targets[] = {f->root, apart};
  for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
    if (test_rules_on()) {
      rule = test_expect_rule(cancel_root, targets[i]);
      assert_non_null(rule);
      assert_memory_equal(rule, "uvf_ctx_cancel", strlen("uvf_ctx_cancel"));
      rule = test_expect_rule(cancel_root_with_cause, targets[i]);
      assert_non_null(rule);
      assert_memory_equal(rule, "uvf_ctx_cancel", strlen("uvf_ctx_cancel"));
    } else {
      cancel_root(targets[i]);
      cancel_root_with_cause(targets[i]);
    }
    assert_int_equal(uvf_ctx_err(targets[i]), 0);
  }
  turn(&f->loop);
  assert_int_equal(uvf_ctx_err(f->root), 0);
  assert_int_equal(uvf_ctx_err(child), 0);
  assert_int_equal(uvf_ctx_err(apart), 0);
  uvf_ctx_release(child);
  uvf_ctx_release(apart);
}

/* --- deriving --- */

static void a_child_of_any_kind_is_live_on_its_parents_loop_and_named_by_its_kind(void **state) {
  static const char *const names[] = {"with_cancel",   "with_timeout", "with_deadline", "with_timeout",
                                      "with_deadline", "with_value",   "with_any",      "with_any"};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    uvf_ctx_t *ctx = NULL;
    void *data = f;
    assert_int_equal(kinds[i].derive(f->root, &ctx), 0);
    assert_non_null(ctx);
    assert_int_equal(uvf_ctx_err(ctx), 0);
    assert_int_equal(uvf_ctx_cause(ctx, &data), 0);
    assert_null(data);
    assert_ptr_equal(uvf_ctx_loop(ctx), &f->loop);
    assert_memory_equal(uvf_ctx_name(ctx), names[i], strlen(names[i]));
    uvf_ctx_release(ctx);
  }
}

static uvf_ctx_t *const sentinel = (uvf_ctx_t *)(uintptr_t)16;

#define assert_refused(call)                                                                                           \
  do {                                                                                                                 \
    ctx = sentinel;                                                                                                    \
    assert_int_equal((call), UV_EINVAL);                                                                               \
    assert_ptr_equal(ctx, sentinel);                                                                                   \
  } while (0)

static void each_deriving_call_refuses_null_and_leaves_the_out_pointer_alone(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *root = f->root, *ctx;
  uvf_ctx_t *none[2] = {f->root, NULL};
  static int key;
  uvf_stats_t before = stats_of(root);
  assert_refused(uvf_ctx_with_cancel(NULL, &ctx));
  assert_refused(uvf_ctx_with_cancel(root, NULL));
  assert_refused(uvf_ctx_with_timeout(NULL, 1, &ctx));
  assert_refused(uvf_ctx_with_timeout(root, 1, NULL));
  assert_refused(uvf_ctx_with_deadline(NULL, 1, &ctx));
  assert_refused(uvf_ctx_with_deadline(root, 1, NULL));
  assert_refused(uvf_ctx_with_timeout_cause(NULL, 1, 0, NULL, &ctx));
  assert_refused(uvf_ctx_with_timeout_cause(root, 1, 0, NULL, NULL));
  assert_refused(uvf_ctx_with_deadline_cause(NULL, 1, 0, NULL, &ctx));
  assert_refused(uvf_ctx_with_deadline_cause(root, 1, 0, NULL, NULL));
  assert_refused(uvf_ctx_with_value(NULL, &key, NULL, NULL, &ctx));
  assert_refused(uvf_ctx_with_value(root, NULL, &key, NULL, &ctx));
  assert_refused(uvf_ctx_with_value(root, &key, NULL, NULL, NULL));
  assert_refused(uvf_ctx_without_cancel(NULL, &ctx));
  assert_refused(uvf_ctx_without_cancel(root, NULL));
  assert_refused(uvf_ctx_with_any(NULL, 1, &ctx));
  assert_refused(uvf_ctx_with_any(&root, 0, &ctx));
  assert_refused(uvf_ctx_with_any(none, 2, &ctx));
  assert_refused(uvf_ctx_with_any(none + 1, 1, &ctx));
  assert_refused(uvf_ctx_with_any(&root, 1, NULL));
  assert_refused(uvf_ctx_with_remote(root, NULL, &ctx));
  assert_refused(uvf_ctx_with_remote(NULL, root, &ctx));
  assert_refused(uvf_ctx_with_remote(root, root, NULL));
  assert_int_equal(stats_of(root).contexts, before.contexts);
  assert_int_equal(counts_of(root).children, 0);
}

static void null_is_harmless_where_the_header_says_so(void **state) {
  (void)state;
  uvf_ctx_cancel(NULL);
  uvf_ctx_cancel_cause(NULL, -1, NULL);
  uvf_ctx_release(NULL);
  uvf_ctx_close(NULL, NULL);
  assert_null(uvf_ctx_retain(NULL));
  assert_int_equal(uvf_ctx_err(NULL), UV_EINVAL);
}

static void a_child_keeps_its_parents_memory_and_the_parent_may_be_released_at_once(void **state) {
  fixture_t *f = *state;
  static int key;
  int value = 7;
  uvf_ctx_t *ctx = value_of(f->root, &key, &value, NULL);
  for (int i = 0; i < 100; i++) {
    uvf_ctx_t *child = child_of(ctx);
    uvf_ctx_release(ctx);
    ctx = child;
  }
  assert_int_equal(stats_of(f->root).contexts, 102);
  assert_int_equal(*(int *)uvf_ctx_value(ctx, &key), 7);
  assert_int_equal(uvf_ctx_err(ctx), 0);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void under_a_parent_that_is_over_a_child_of_any_kind_is_born_over_with_its_err_and_cause(void **state) {
  fixture_t *f = *state;
  int reason = 0;
  for (int timed_out = 0; timed_out < 2; timed_out++) {
    uvf_ctx_t *parent = NULL;
    int err = timed_out ? UV_ETIMEDOUT : UV_ECANCELED;
    if (timed_out) {
      assert_int_equal(uvf_ctx_with_timeout_cause(f->root, 0, -77, &reason, &parent), 0);
    } else {
      parent = child_of(f->root);
      uvf_ctx_cancel_cause(parent, -77, &reason);
    }
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
      uvf_ctx_t *ctx = NULL, *below;
      void *data = NULL;
      probe_t probe = {0};
      assert_int_equal(kinds[i].derive(parent, &ctx), 0);
      assert_int_equal(uvf_ctx_err(ctx), err);
      assert_int_equal(uvf_ctx_cause(ctx, &data), -77);
      assert_ptr_equal(data, &reason);
      below = child_of(ctx);
      assert_over(below, err, -77);
      probe_start(&probe, below, 0, NULL);
      assert_int_equal(probe.calls, 0);
      run_until(&f->loop, &probe.calls, 1);
      assert_int_equal(probe.status, err);
      uvf_ctx_release(ctx);
      uvf_ctx_release(below);
    }
    assert_int_equal(stats_of(f->root).deadlines, 0);
    assert_int_equal(counts_of(parent).children, 0);
    uvf_ctx_release(parent);
  }
}

static void without_cancel_has_the_values_of_its_parent_and_neither_its_deadline_nor_its_end(void **state) {
  fixture_t *f = *state;
  static int key;
  uvf_ctx_t *parent = timeout_of(f->root, HOUR_MS), *value = value_of(parent, &key, &key, NULL), *before = NULL;
  uvf_ctx_t *after = NULL, *below;
  assert_int_equal(uvf_ctx_without_cancel(value, &before), 0);
  assert_string_equal(uvf_ctx_name(before), "without_cancel");
  assert_true(uvf_ctx_deadline_ns(before) == UVF_NO_DEADLINE);
  below = child_of(before);
  uvf_ctx_cancel_cause(parent, -77, &key);
  assert_int_equal(uvf_ctx_err(value), UV_ECANCELED);
  assert_int_equal(uvf_ctx_without_cancel(value, &after), 0);
  turn(&f->loop);
  uvf_ctx_release(parent);
  uvf_ctx_release(value);
  assert_over(before, 0, 0);
  assert_over(after, 0, 0);
  assert_over(below, 0, 0);
  assert_ptr_equal(uvf_ctx_value(before, &key), &key);
  assert_ptr_equal(uvf_ctx_value(after, &key), &key);
  assert_ptr_equal(uvf_ctx_value(below, &key), &key);
  uvf_ctx_cancel(below); /* what is below it can be cancelled */
  assert_over(below, UV_ECANCELED, UV_ECANCELED);
  assert_over(before, 0, 0);
  uvf_ctx_close(f->root, NULL);
  f->root = NULL;
  assert_over(before, UV_ECANCELED, UV_ESHUTDOWN);
  assert_over(after, UV_ECANCELED, UV_ESHUTDOWN);
  uvf_ctx_release(below);
  uvf_ctx_release(before);
  uvf_ctx_release(after);
}

static void derive_inside(probe_t *probe) {
  uvf_ctx_t **born = probe->arg;
  if (uvf_ctx_with_cancel(probe->watch.ctx, &born[0]) != 0) born[0] = NULL;
  if (uvf_ctx_without_cancel(probe->watch.ctx, &born[1]) != 0) born[1] = NULL;
}

static void contexts_may_be_derived_inside_a_callback(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *born[2] = {NULL, NULL};
  probe_t probe = {.then = derive_inside, .arg = born};
  probe_start(&probe, ctx, 0, NULL);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  run_until(&f->loop, &probe.calls, 1);
  assert_non_null(born[0]);
  assert_non_null(born[1]);
  assert_over(born[0], UV_ECANCELED, UV_ECANCELED);
  assert_over(born[1], 0, 0);
  uvf_ctx_release(born[0]);
  uvf_ctx_release(born[1]);
}

/* --- references --- */

static void release_never_cancels(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *child = child_of(ctx);
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  assert_ptr_equal(uvf_ctx_retain(ctx), ctx);
  uvf_ctx_release(ctx);
  uvf_ctx_release(ctx); /* now its watcher and its child alone keep it */
  turn(&f->loop);
  assert_int_equal(probe.calls, 0);
  assert_int_equal(uvf_ctx_err(child), 0);
  assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_REMOVED);
  uvf_ctx_release(child);
}

static void a_context_that_nobody_holds_and_nothing_runs_under_is_freed_with_its_deadline(void **state) {
  fixture_t *f = *state;
  uvf_stats_t stats;
  for (int i = 0; i < 100; i++) {
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
      uvf_ctx_t *ctx = NULL;
      assert_int_equal(kinds[k].derive(f->root, &ctx), 0);
      uvf_ctx_release(ctx); /* the cancel was forgotten */
    }
  }
  stats = stats_of(f->root);
  assert_int_equal(stats.contexts, 1);
  assert_int_equal(stats.live, 1);
  assert_int_equal(stats.deadlines, 0);
  assert_int_equal(counts_of(f->root).children, 0);
}

typedef struct counting_s {
  uvf_ctx_t *ctx;
  int rounds;
} counting_t;

static void retain_and_release(void *arg) {
  counting_t *counting = arg;
  for (int i = 0; i < counting->rounds; i++) uvf_ctx_release(uvf_ctx_retain(counting->ctx));
  uvf_ctx_release(counting->ctx);
}

static void references_are_counted_exactly_from_many_threads(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  counting_t counting = {ctx, 20000};
  uv_thread_t threads[8];
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
    uvf_ctx_retain(ctx);
    assert_int_equal(uv_thread_create(&threads[i], retain_and_release, &counting), 0);
  }
  for (int i = 0; i < counting.rounds; i++) uvf_ctx_release(uvf_ctx_retain(ctx));
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 2);
  assert_int_equal(uvf_ctx_err(ctx), 0);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void release_on_thread(void *ctx) { uvf_ctx_release(ctx); }

static void the_last_reference_may_be_released_on_any_thread(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, HOUR_MS), *child = timeout_of(ctx, HOUR_MS / 2);
  uvf_ctx_release(ctx);
  on_thread(release_on_thread, child);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
  assert_int_equal(stats_of(f->root).deadlines, 0);
}

static void release_root(void *root) { uvf_ctx_release(root); }

static void releasing_the_last_reference_of_a_root_is_misuse(void **state) {
  fixture_t *f = *state;
  if (test_rules_on()) {
    const char *rule = test_expect_rule(release_root, f->root);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_ctx_release: ", strlen("uvf_ctx_release: "));
  }
  uvf_ctx_retain(f->root); /* further references come and go */
  uvf_ctx_release(f->root);
  assert_int_equal(uvf_ctx_err(f->root), 0);
}

/* --- cost --- */

static void deriving_costs_one_allocation_or_none(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *held[500];
  for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
      size_t before = test_alloc_count();
      assert_int_equal(kinds[k].derive(f->root, &held[i]), 0);
      if (test_alloc_count() - before > 1) fail_msg("%s: %zu", kinds[k].name, test_alloc_count() - before);
    }
    for (size_t i = 0; i < ARRAY_SIZE(held); i++) uvf_ctx_release(held[i]);
  }
}

static void cancel_release_and_completion_allocate_nothing(void **state) {
  fixture_t *f = *state;
  journal_t *journal = calloc(1, sizeof *journal);
  uvf_ctx_t *top = child_of(f->root), *held[200];
  probe_t probes[ARRAY_SIZE(held)] = {0};
  size_t before;
  assert_non_null(journal);
  for (size_t i = 0; i < ARRAY_SIZE(held); i++) {
    assert_int_equal(kinds[i % ARRAY_SIZE(kinds)].derive(i < 10 ? top : held[i / 2], &held[i]), 0);
    probe_start(&probes[i], held[i], (int)i, journal);
  }
  turn(&f->loop);
  before = test_alloc_count();
  uvf_ctx_cancel(top);
  for (size_t i = 0; i < ARRAY_SIZE(held); i++) uvf_ctx_release(held[i]);
  uvf_ctx_release(top);
  while (journal->n < (int)ARRAY_SIZE(held)) assert_int_not_equal(uv_run(&f->loop, UV_RUN_ONCE) + journal->n, 0);
  assert_int_equal(test_alloc_count(), before);
  free(journal);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_root_is_live_and_has_no_deadline_no_cause_and_no_value),
      unit(todo_is_a_root_with_a_name_of_its_own),
      unit(every_background_call_makes_a_root_of_its_own_and_roots_share_the_handles),
      unit(a_root_of_null_is_refused),
      unit(cancelling_a_root_or_a_without_cancel_context_is_misuse_and_does_nothing),
      unit(a_child_of_any_kind_is_live_on_its_parents_loop_and_named_by_its_kind),
      unit(each_deriving_call_refuses_null_and_leaves_the_out_pointer_alone),
      unit(null_is_harmless_where_the_header_says_so),
      unit(a_child_keeps_its_parents_memory_and_the_parent_may_be_released_at_once),
      unit(under_a_parent_that_is_over_a_child_of_any_kind_is_born_over_with_its_err_and_cause),
      unit(without_cancel_has_the_values_of_its_parent_and_neither_its_deadline_nor_its_end),
      unit(contexts_may_be_derived_inside_a_callback),
      unit(release_never_cancels),
      unit(a_context_that_nobody_holds_and_nothing_runs_under_is_freed_with_its_deadline),
      unit(references_are_counted_exactly_from_many_threads),
      unit(the_last_reference_may_be_released_on_any_thread),
      unit(releasing_the_last_reference_of_a_root_is_misuse),
      unit(deriving_costs_one_allocation_or_none),
      unit(cancel_release_and_completion_allocate_nothing),
  };
  return test_run(tests);
}
