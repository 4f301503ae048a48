/* SPDX-License-Identifier: MIT
 *
 * uvf_ctx_with_any: a child of several parents of one loop.
 */
#include "unit/probe.h"

#define PARENTS 4

static void it_is_over_with_whichever_parent_ends_first_and_with_that_ones_err_and_cause(void **state) {
  fixture_t *f = *state;
  int reasons[PARENTS];
  for (size_t first = 0; first < PARENTS; first++) {
    for (size_t second = 0; second < PARENTS; second++) {
      uvf_ctx_t *parents[PARENTS], *ctx = NULL, *below;
      void *data = NULL;
      if (second == first) continue;
      for (size_t i = 0; i < PARENTS; i++) parents[i] = child_of(f->root);
      assert_int_equal(uvf_ctx_with_any(parents, PARENTS, &ctx), 0);
      below = child_of(ctx);
      assert_over(ctx, 0, 0);
      for (size_t i = 0; i < PARENTS; i++) assert_int_equal(counts_of(parents[i]).children, 1);
      uvf_ctx_cancel_cause(parents[first], -(int)first - 1, &reasons[first]);
      assert_int_equal(uvf_ctx_err(below), UV_ECANCELED); /* over when the call returns */
      uvf_ctx_cancel_cause(parents[second], -(int)second - 1, &reasons[second]);
      assert_int_equal(uvf_ctx_err(ctx), UV_ECANCELED);
      assert_int_equal(uvf_ctx_cause(ctx, &data), -(int)first - 1);
      assert_ptr_equal(data, &reasons[first]);
      assert_over(below, UV_ECANCELED, -(int)first - 1);
      for (size_t i = 0; i < PARENTS; i++) {
        assert_int_equal(uvf_ctx_err(parents[i]), i == first || i == second ? UV_ECANCELED : 0);
        assert_int_equal(counts_of(parents[i]).children, 0);
        uvf_ctx_release(parents[i]);
      }
      uvf_ctx_release(ctx);
      uvf_ctx_release(below);
    }
  }
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void its_deadline_is_the_earliest_of_the_parents_and_ends_it_with_that_ones_cause(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parents[3] = {NULL}, *ctx = NULL;
  probe_t probe = {0};
  parents[0] = child_of(f->root);
  parents[1] = timeout_of(f->root, HOUR_MS);
  assert_int_equal(uvf_ctx_with_timeout_cause(f->root, 5, -8, NULL, &parents[2]), 0);
  assert_int_equal(uvf_ctx_with_any(parents, 3, &ctx), 0);
  assert_true(uvf_ctx_deadline_ns(ctx) == uvf_ctx_deadline_ns(parents[2]));
  assert_true(uvf_ctx_remaining_ms(ctx) <= 5);
  assert_int_equal(stats_of(f->root).deadlines, 2);
  probe_start(&probe, ctx, 0, NULL);
  run_until(&f->loop, &probe.calls, 1);
  assert_true(probe.at >= uvf_ctx_deadline_ns(parents[2]));
  assert_over(ctx, UV_ETIMEDOUT, -8);
  assert_over(parents[0], 0, 0);
  assert_over(parents[1], 0, 0);
  for (size_t i = 0; i < 3; i++) uvf_ctx_release(parents[i]);
  uvf_ctx_release(ctx);
}

static void its_values_are_the_first_parents(void **state) {
  static int key, second_key;
  fixture_t *f = *state;
  int one = 1, two = 2;
  uvf_ctx_t *parents[2], *ctx = NULL, *turned = NULL;
  parents[0] = value_of(f->root, &key, &one, NULL);
  parents[1] = value_of(f->root, &key, &two, NULL);
  uvf_ctx_t *more = value_of(parents[1], &second_key, &two, NULL);
  uvf_ctx_t *const other_way[2] = {more, parents[0]};
  assert_int_equal(uvf_ctx_with_any(parents, 2, &ctx), 0);
  assert_int_equal(uvf_ctx_with_any(other_way, 2, &turned), 0);
  assert_ptr_equal(uvf_ctx_value(ctx, &key), &one);
  assert_null(uvf_ctx_value(ctx, &second_key));
  assert_ptr_equal(uvf_ctx_value(turned, &key), &two);
  assert_ptr_equal(uvf_ctx_value(turned, &second_key), &two);
  for (size_t i = 0; i < 2; i++) uvf_ctx_release(parents[i]);
  uvf_ctx_release(more);
  uvf_ctx_release(ctx);
  uvf_ctx_release(turned);
}

static void a_parent_named_twice_is_harmless(void **state) {
  fixture_t *f = *state;
  for (int cancel_it = 0; cancel_it < 2; cancel_it++) {
    uvf_ctx_t *a = child_of(f->root), *b = child_of(f->root), *ctx = NULL;
    uvf_ctx_t *const parents[5] = {a, a, b, a, b};
    probe_t probe = {0};
    assert_int_equal(uvf_ctx_with_any(parents, 5, &ctx), 0);
    probe_start(&probe, ctx, 0, NULL);
    uvf_ctx_cancel_cause(cancel_it ? ctx : a, -4, NULL);
    run_until(&f->loop, &probe.calls, 1);
    turn(&f->loop);
    assert_int_equal(probe.calls, 1);
    assert_over(ctx, UV_ECANCELED, -4);
    assert_int_equal(counts_of(a).children, 0);
    assert_int_equal(counts_of(b).children, 0);
    uvf_ctx_release(a);
    uvf_ctx_release(b);
    uvf_ctx_release(ctx);
    assert_int_equal(stats_of(f->root).contexts, 1);
  }
}

static void a_parent_may_be_an_ancestor_of_another_in_either_place(void **state) {
  fixture_t *f = *state;
  for (int order = 0; order < 2; order++) {
    for (int target = 0; target < 3; target++) {
      uvf_ctx_t *up = child_of(f->root), *middle = child_of(up), *down = child_of(middle), *ctx = NULL;
      uvf_ctx_t *const parents[2] = {order ? up : down, order ? down : up};
      uvf_ctx_t *const targets[3] = {up, middle, down};
      probe_t probes[2] = {0};
      journal_t journal = {0};
      assert_int_equal(uvf_ctx_with_any(parents, 2, &ctx), 0);
      probe_start(&probes[0], up, 1, &journal);
      probe_start(&probes[1], ctx, 2, &journal);
      uvf_ctx_cancel_cause(targets[target], -target - 1, NULL);
      assert_over(ctx, UV_ECANCELED, -target - 1);
      assert_over(down, UV_ECANCELED, -target - 1);
      run_until(&f->loop, &probes[1].calls, 1);
      if (target == 0) {
        run_until(&f->loop, &journal.n, 2);
        assert_journal(&journal, 2, 1); /* the child before the parent */
      } else {
        assert_int_equal(uvf_watch_stop(&probes[0].watch), UVF_STOP_REMOVED);
      }
      uvf_ctx_release(up);
      uvf_ctx_release(middle);
      uvf_ctx_release(down);
      uvf_ctx_release(ctx);
    }
  }
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void it_unlinks_itself_from_every_parent_when_it_is_released_or_cancelled(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parents[PARENTS];
  for (size_t i = 0; i < PARENTS; i++) parents[i] = timeout_of(f->root, HOUR_MS);
  for (int round = 0; round < 200; round++) {
    uvf_ctx_t *ctx = NULL;
    assert_int_equal(uvf_ctx_with_any(parents, PARENTS, &ctx), 0);
    for (size_t i = 0; i < PARENTS; i++) assert_int_equal(counts_of(parents[i]).children, 1);
    if (round % 2) uvf_ctx_cancel(ctx);
    if (round % 2 == 0) uvf_ctx_release(ctx);
    for (size_t i = 0; i < PARENTS; i++) {
      assert_int_equal(counts_of(parents[i]).children, 0);
      assert_int_equal(uvf_ctx_err(parents[i]), 0);
    }
    if (round % 2) uvf_ctx_release(ctx);
  }
  assert_int_equal(stats_of(f->root).contexts, PARENTS + 1);
  for (size_t i = 0; i < PARENTS; i++) uvf_ctx_release(parents[i]);
}

static void it_keeps_no_dead_parent_alive_once_it_is_gone_and_lives_when_their_holders_let_go(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parents[PARENTS], *ctx = NULL;
  probe_t probe = {0};
  for (size_t i = 0; i < PARENTS; i++) parents[i] = timeout_of(f->root, 10 + 1000 * i);
  assert_int_equal(uvf_ctx_with_any(parents, PARENTS, &ctx), 0);
  for (size_t i = 0; i < PARENTS; i++) uvf_ctx_release(parents[i]); /* released at once, they still end it */
  probe_start(&probe, ctx, 0, NULL);
  run_until(&f->loop, &probe.calls, 1);
  assert_over(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
  assert_int_equal(stats_of(f->root).deadlines, 0);
}

static void with_a_parent_that_is_over_it_is_born_over(void **state) {
  fixture_t *f = *state;
  for (size_t dead = 0; dead < PARENTS; dead++) {
    uvf_ctx_t *parents[PARENTS], *ctx = NULL;
    for (size_t i = 0; i < PARENTS; i++) parents[i] = child_of(f->root);
    uvf_ctx_cancel_cause(parents[dead], -3, f);
    assert_int_equal(uvf_ctx_with_any(parents, PARENTS, &ctx), 0);
    assert_over(ctx, UV_ECANCELED, -3);
    for (size_t i = 0; i < PARENTS; i++) {
      assert_int_equal(counts_of(parents[i]).children, 0);
      assert_int_equal(uvf_ctx_err(parents[i]), i == dead ? UV_ECANCELED : 0);
      uvf_ctx_release(parents[i]);
    }
    uvf_ctx_release(ctx);
  }
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void parents_of_different_loops_are_refused(void **state) {
  fixture_t *f = *state;
  uv_loop_t other;
  uvf_ctx_t *parents[2] = {f->root, NULL}, *ctx = f->root;
  assert_int_equal(uv_loop_init(&other), 0);
  assert_int_equal(uvf_ctx_background(&other, &parents[1]), 0);
  assert_int_equal(uvf_ctx_with_any(parents, 2, &ctx), UV_EINVAL);
  assert_ptr_equal(ctx, f->root);
  assert_int_equal(counts_of(f->root).children, 0);
  uvf_ctx_close(parents[1], NULL);
  uv_run(&other, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&other), 0);
}

static void parents_may_be_of_different_roots_and_either_close_ends_it(void **state) {
  fixture_t *f = *state;
  for (int order = 0; order < 2; order++) {
    uvf_ctx_t *other = NULL, *ctx = NULL;
    probe_t probe = {0};
    assert_int_equal(uvf_ctx_background(&f->loop, &other), 0);
    uvf_ctx_t *const parents[2] = {order ? other : f->root, order ? f->root : other};
    assert_int_equal(uvf_ctx_with_any(parents, 2, &ctx), 0);
    probe_start(&probe, ctx, 0, NULL);
    uvf_ctx_close(other, NULL);
    assert_over(ctx, UV_ECANCELED, UV_ESHUTDOWN);
    run_until(&f->loop, &probe.calls, 1);
    assert_int_equal(uvf_ctx_err(f->root), 0);
    assert_int_equal(counts_of(f->root).children, 0);
    uvf_ctx_release(ctx);
    turn(&f->loop);
  }
}

static void many_parents_and_many_children_of_them_end_with_one_of_them(void **state) {
  enum { MANY = 300 };
  fixture_t *f = *state;
  uvf_ctx_t *parents[MANY], *children[MANY];
  for (size_t i = 0; i < MANY; i++) parents[i] = child_of(f->root);
  for (size_t i = 0; i < MANY; i++) assert_int_equal(uvf_ctx_with_any(parents, MANY, &children[i]), 0);
  assert_int_equal(counts_of(parents[0]).children, MANY);
  uvf_ctx_release(children[0]);
  assert_int_equal(counts_of(parents[MANY - 1]).children, MANY - 1);
  uvf_ctx_cancel_cause(parents[MANY / 2], -6, NULL);
  for (size_t i = 1; i < MANY; i++) {
    assert_over(children[i], UV_ECANCELED, -6);
    uvf_ctx_release(children[i]);
  }
  for (size_t i = 0; i < MANY; i++) {
    assert_int_equal(counts_of(parents[i]).children, 0);
    uvf_ctx_release(parents[i]);
  }
  assert_int_equal(stats_of(f->root).contexts, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(it_is_over_with_whichever_parent_ends_first_and_with_that_ones_err_and_cause),
      unit(its_deadline_is_the_earliest_of_the_parents_and_ends_it_with_that_ones_cause),
      unit(its_values_are_the_first_parents),
      unit(a_parent_named_twice_is_harmless),
      unit(a_parent_may_be_an_ancestor_of_another_in_either_place),
      unit(it_unlinks_itself_from_every_parent_when_it_is_released_or_cancelled),
      unit(it_keeps_no_dead_parent_alive_once_it_is_gone_and_lives_when_their_holders_let_go),
      unit(with_a_parent_that_is_over_it_is_born_over),
      unit(parents_of_different_loops_are_refused),
      unit(parents_may_be_of_different_roots_and_either_close_ends_it),
      unit(many_parents_and_many_children_of_them_end_with_one_of_them),
  };
  return test_run(tests);
}
