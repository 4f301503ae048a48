/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-6 to C-15, C-37 to C-39, C-72, C-86: who ends first, and what the tree looks like before and after.
 */
#include "parity.h"

/* A parent with a cancel child, a value child with a timer child of its own, and a watcher. */
typedef struct family_s {
  uvf_ctx_t *parent;
  uvf_ctx_t *cancel_child;
  uvf_ctx_t *value_child;
  uvf_ctx_t *timer_child;
  counted_t watcher;
} family_t;

static const int family_key;

static void family_open(family_t *fam, fixture_t *f) {
  fam->parent = cancel_of(f->root);
  fam->cancel_child = cancel_of(fam->parent);
  fam->value_child = value_of(fam->parent, &family_key, fam);
  fam->timer_child = timeout_of(fam->value_child, HOUR_MS);
  watch_start(&fam->watcher, fam->parent, NULL);
}

static void family_release(family_t *fam) {
  RELEASE(fam->timer_child, fam->value_child, fam->cancel_child, fam->parent);
}

static void c06_nothing_is_done_at_the_start(void **state) {
  fixture_t *f = *state;
  family_t fam;
  family_open(&fam, f);
  settle(&f->loop);
  assert_live(fam.parent);
  assert_live(fam.cancel_child);
  assert_live(fam.value_child);
  assert_live(fam.timer_child);
  assert_int_equal(fam.watcher.calls, 0);
  assert_int_equal(uvf_watch_stop(&fam.watcher.watch), UVF_STOP_REMOVED);
  family_release(&fam);
}

static void c07_parent_lists_its_three_dependents(void **state) {
  fixture_t *f = *state;
  family_t fam;
  uvf_ctx_counts_t counts;
  family_open(&fam, f);
  uvf_ctx_counts(fam.parent, &counts);
  assert_int_equal(counts.children, 2); /* the cancel child and the value context */
  assert_int_equal(counts.watchers, 1);
  assert_int_equal(counts.ops, 0);
  assert_int_equal(counts.guards, 0);
  uvf_ctx_counts(fam.value_child, &counts); /* the timer child is the value context's, not the parent's */
  assert_int_equal(counts.children, 1);
  assert_int_equal(counts.watchers, 0);
  assert_int_equal(uvf_watch_stop(&fam.watcher.watch), UVF_STOP_REMOVED);
  family_release(&fam);
}

static void c08_all_three_hang_from_the_parent(void **state) {
  fixture_t *f = *state;
  family_t fam;
  family_open(&fam, f);
  assert_described(fam.cancel_child, "background.with_cancel.with_cancel");
  assert_described(fam.value_child, "background.with_cancel.with_value");
  assert_described(fam.timer_child, "background.with_cancel.with_value.with_timeout");
  assert_ptr_equal(fam.watcher.watch.ctx, fam.parent);
  uvf_ctx_cancel_cause(fam.parent, CAUSE_X, &fam);
  assert_over_with(fam.timer_child, UV_ECANCELED, CAUSE_X, &fam); /* also from under the value context */
  run_until(&f->loop, &fam.watcher.calls, 1);
  family_release(&fam);
}

/* A value context can be cancelled by itself here: then it takes its timer child along, and nobody else. */
static void c08_a_value_context_ends_its_own_subtree(void **state) {
  fixture_t *f = *state;
  family_t fam;
  family_open(&fam, f);
  uvf_ctx_cancel_cause(fam.value_child, CAUSE_Y, NULL);
  assert_over(fam.value_child, UV_ECANCELED, CAUSE_Y);
  assert_over(fam.timer_child, UV_ECANCELED, CAUSE_Y);
  assert_live(fam.parent);
  assert_live(fam.cancel_child);
  assert_int_equal(children(fam.parent), 1);
  assert_int_equal(uvf_watch_stop(&fam.watcher.watch), UVF_STOP_REMOVED);
  family_release(&fam);
}

static void c09_cancel_empties_the_child_list(void **state) {
  fixture_t *f = *state;
  family_t fam;
  family_open(&fam, f);
  uvf_ctx_cancel(fam.parent);
  assert_int_equal(children(fam.parent), 0);
  assert_int_equal(children(fam.value_child), 0);
  assert_int_equal(children(f->root), 0);
  assert_int_equal(stats(f->root).deadlines, 0);
  run_until(&f->loop, &fam.watcher.calls, 1);
  assert_int_equal(watchers(fam.parent), 0);
  family_release(&fam);
}

static void c10_the_whole_family_ends_canceled(void **state) {
  fixture_t *f = *state;
  family_t fam;
  family_open(&fam, f);
  uvf_ctx_cancel(fam.parent);
  assert_over(fam.parent, UV_ECANCELED, UV_ECANCELED);
  assert_over(fam.cancel_child, UV_ECANCELED, UV_ECANCELED);
  assert_over(fam.value_child, UV_ECANCELED, UV_ECANCELED);
  assert_over(fam.timer_child, UV_ECANCELED, UV_ECANCELED); /* and not UV_ETIMEDOUT */
  run_until(&f->loop, &fam.watcher.calls, 1);
  assert_called_once(&fam.watcher, UV_ECANCELED);
  family_release(&fam);
}

static void c11_value_context_of_an_ended_parent_is_born_over(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *value;
  uvf_ctx_cancel(parent);
  value = value_of(parent, &family_key, parent);
  assert_over(value, UV_ECANCELED, UV_ECANCELED);
  assert_ptr_equal(uvf_ctx_value(value, &family_key), parent);
  run_until_over(&f->loop, value, UV_ECANCELED);
  RELEASE(value, parent);
}

/* Rows C-12 to C-15 hold under a root and under a context that can be cancelled. */
static void c12_neither_is_done_at_the_start(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *of_root = cancel_of(f->root);
  uvf_ctx_t *of_parent = cancel_of(parent);
  settle(&f->loop);
  assert_live(f->root);
  assert_live(of_root);
  assert_live(parent);
  assert_live(of_parent);
  RELEASE(of_parent, of_root, parent);
}

static void c13_the_nearest_ancestor_that_can_end(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *of_root = cancel_of(f->root);
  uvf_ctx_t *of_parent = cancel_of(parent);
  assert_described(of_root, "background.with_cancel");
  assert_described(of_parent, "background.with_cancel.with_cancel");
  assert_int_equal(children(f->root), 2);
  assert_int_equal(children(parent), 1);
  uvf_ctx_cancel(parent);
  assert_over(of_parent, UV_ECANCELED, UV_ECANCELED);
  assert_live(of_root);
  RELEASE(of_parent, of_root, parent);
}

static void c14_a_cancelled_child_unlinks_itself(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parents[2] = {f->root, cancel_of(f->root)};
  for (size_t i = 0; i < 2; i++) {
    size_t before = children(parents[i]);
    uvf_ctx_t *child = cancel_of(parents[i]);
    assert_int_equal(children(parents[i]), before + 1);
    uvf_ctx_cancel(child);
    assert_int_equal(children(parents[i]), before);
    RELEASE(child);
    assert_int_equal(children(parents[i]), before);
  }
  RELEASE(parents[1]);
}

static void c15_a_childs_end_leaves_the_parent_alone(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parents[2] = {f->root, cancel_of(f->root)};
  for (size_t i = 0; i < 2; i++) {
    uvf_ctx_t *child = cancel_of(parents[i]);
    counted_t of_child;
    counted_t of_parent;
    watch_start(&of_child, child, NULL);
    watch_start(&of_parent, parents[i], NULL);
    uvf_ctx_cancel(child);
    assert_over(child, UV_ECANCELED, UV_ECANCELED);
    run_until(&f->loop, &of_child.calls, 1);
    settle(&f->loop);
    assert_called_once(&of_child, UV_ECANCELED);
    assert_int_equal(of_parent.calls, 0);
    assert_live(parents[i]);
    assert_int_equal(uvf_watch_stop(&of_parent.watch), UVF_STOP_REMOVED);
    RELEASE(child);
  }
  RELEASE(parents[1]);
}

static void c37_with_cancel_registers_once_and_unlinks(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *child;
  assert_int_equal(children(parent), 0);
  child = cancel_of(parent);
  assert_int_equal(children(parent), 1);
  uvf_ctx_cancel(child);
  assert_int_equal(children(parent), 0);
  RELEASE(child, parent);
}

static void c38_with_timeout_registers_once_and_unlinks(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *child = timeout_of(parent, HOUR_MS);
  assert_int_equal(children(parent), 1);
  uvf_ctx_cancel(child);
  assert_int_equal(children(parent), 0);
  RELEASE(child);
  child = timeout_of(parent, 0); /* born over: never registered */
  assert_int_equal(children(parent), 0);
  RELEASE(child, parent);
}

static void c39_on_done_registers_once_and_unlinks(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  counted_t c;
  assert_int_equal(watchers(parent), 0);
  watch_start(&c, parent, NULL);
  assert_int_equal(watchers(parent), 1);
  assert_int_equal(children(parent), 0);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_REMOVED);
  assert_int_equal(watchers(parent), 0);
  assert_int_equal(stats(f->root).ops, 0);
  RELEASE(parent);
}

/* One link a level, and no helper of any kind, however the levels are mixed. */
static void c72_own_contexts_cost_no_watcher_at_any_depth(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *chain[40];
  uvf_ctx_t *late;
  uvf_ctx_t *parent = f->root;
  for (size_t i = 0; i < ARRAY_SIZE(chain); i++) {
    switch (i % 4) {
      case 0: chain[i] = cancel_of(parent); break;
      case 1: chain[i] = value_of(parent, &family_key, NULL); break;
      case 2: chain[i] = wrapper_of(parent); break;
      default: chain[i] = timeout_of(parent, HOUR_MS + i); break;
    }
    parent = chain[i];
  }
  for (size_t i = 0; i < ARRAY_SIZE(chain); i++) {
    uvf_ctx_counts_t counts;
    uvf_ctx_counts(chain[i], &counts);
    assert_int_equal(counts.children, i + 1 < ARRAY_SIZE(chain) ? 1 : 0);
    assert_int_equal(counts.watchers, 0);
    assert_int_equal(counts.ops, 0);
  }
  assert_int_equal(stats(f->root).ops, 0);
  uvf_ctx_cancel(chain[ARRAY_SIZE(chain) / 2]);
  late = timeout_of(parent, HOUR_MS); /* under a cancelled one: nothing is registered at all */
  assert_over(late, UV_ECANCELED, UV_ECANCELED);
  assert_int_equal(children(parent), 0);
  assert_int_equal(watchers(parent), 0);
  assert_int_equal(stats(f->root).ops, 0);
  RELEASE(late);
  release_each(chain, ARRAY_SIZE(chain));
}

static void c86_later_cancels_do_nothing(void **state) {
  fixture_t *f = *state;
  int x;
  int y;
  uvf_ctx_t *ctx = cancel_of(f->root);
  uvf_ctx_t *timed = timeout_of(f->root, 0);
  counted_t c;
  watch_start(&c, ctx, NULL);
  uvf_ctx_cancel_cause(ctx, CAUSE_X, &x);
  uvf_ctx_cancel_cause(ctx, CAUSE_Y, &y);
  uvf_ctx_cancel(ctx);
  assert_over_with(ctx, UV_ECANCELED, CAUSE_X, &x);
  run_until(&f->loop, &c.calls, 1);
  uvf_ctx_cancel_cause(ctx, CAUSE_Y, &y);
  settle(&f->loop);
  assert_called_once(&c, UV_ECANCELED);
  assert_over_with(ctx, UV_ECANCELED, CAUSE_X, &x);
  uvf_ctx_cancel_cause(timed, CAUSE_Y, &y);
  assert_over_with(timed, UV_ETIMEDOUT, UV_ETIMEDOUT, NULL);
  uvf_ctx_cancel(NULL);
  uvf_ctx_cancel_cause(NULL, CAUSE_X, &x);
  RELEASE(ctx, timed);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c06_nothing_is_done_at_the_start),
      unit(c07_parent_lists_its_three_dependents),
      unit(c08_all_three_hang_from_the_parent),
      unit(c08_a_value_context_ends_its_own_subtree),
      unit(c09_cancel_empties_the_child_list),
      unit(c10_the_whole_family_ends_canceled),
      unit(c11_value_context_of_an_ended_parent_is_born_over),
      unit(c12_neither_is_done_at_the_start),
      unit(c13_the_nearest_ancestor_that_can_end),
      unit(c14_a_cancelled_child_unlinks_itself),
      unit(c15_a_childs_end_leaves_the_parent_alone),
      unit(c37_with_cancel_registers_once_and_unlinks),
      unit(c38_with_timeout_registers_once_and_unlinks),
      unit(c39_on_done_registers_once_and_unlinks),
      unit(c72_own_contexts_cost_no_watcher_at_any_depth),
      unit(c86_later_cancels_do_nothing),
  };
  return test_run(tests);
}
