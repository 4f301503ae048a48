/* SPDX-License-Identifier: MIT
 *
 * Parity rows T-1 to T-10: tokio's cancellation token. A waiter is a watcher here, a wake is a callback, a clone is a
 * reference, and to drop a token is to release it.
 */
#include "parity.h"

static void t01_a_pending_waiter_is_woken_exactly_once(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *token = cancel_of(f->root);
  counted_t first;
  counted_t second;
  int total = 0;
  assert_live(token);
  watch_start(&first, token, &total);
  settle(&f->loop);
  assert_int_equal(total, 0);
  uvf_ctx_cancel(token);
  assert_over(token, UV_ECANCELED, UV_ECANCELED);
  settle(&f->loop);
  assert_int_equal(total, 1); /* the second, not started yet, costs nothing ... */
  watch_start(&second, token, &total);
  settle(&f->loop);
  assert_int_equal(total, 2); /* ... and is ready as soon as it is started */
  assert_called_once(&first, UV_ECANCELED);
  assert_called_once(&second, UV_ECANCELED);
  RELEASE(token);
}

/* The waiter is the only one left that holds the token. */
static void t02_an_owning_waiter_is_woken_exactly_once(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *token = cancel_of(parent);
  counted_t first;
  counted_t second;
  watch_start(&first, token, NULL);
  watch_start(&second, token, NULL);
  RELEASE(token);
  settle(&f->loop);
  assert_int_equal(first.calls + second.calls, 0);
  assert_int_equal(children(parent), 1);
  uvf_ctx_cancel(parent);
  settle(&f->loop);
  assert_called_once(&first, UV_ECANCELED);
  assert_called_once(&second, UV_ECANCELED);
  RELEASE(parent);
  settle(&f->loop);
  assert_int_equal(stats(f->root).contexts, 1); /* the token went with its last waiter */
}

static void t03_a_pending_waiter_may_be_destroyed(void **state) {
  fixture_t *f = *state;
  for (int cancel_first = 0; cancel_first < 2; cancel_first++) {
    uvf_ctx_t *token = cancel_of(f->root);
    counted_t *c = malloc(sizeof *c);
    counted_t poison;
    assert_non_null(c);
    watch_start(c, token, NULL);
    if (cancel_first) uvf_ctx_cancel(token);
    assert_int_equal(uvf_watch_stop(&c->watch), UVF_STOP_REMOVED);
    memset(c, 0xdb, sizeof *c);
    memset(&poison, 0xdb, sizeof poison);
    uvf_ctx_cancel(token);
    settle(&f->loop);
    assert_memory_equal(c, &poison, sizeof poison); /* never touched again */
    free(c);
    RELEASE(token);
    settle(&f->loop);
  }
}

static void t04_the_parents_cancel_wakes_both(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *child = cancel_of(parent);
  counted_t of_parent;
  counted_t of_child;
  int total = 0;
  watch_start(&of_child, child, &total);
  watch_start(&of_parent, parent, &total);
  settle(&f->loop);
  assert_int_equal(total, 0);
  uvf_ctx_cancel(parent);
  settle(&f->loop);
  assert_int_equal(total, 2);
  assert_called_once(&of_parent, UV_ECANCELED);
  assert_called_once(&of_child, UV_ECANCELED);
  assert_over(parent, UV_ECANCELED, UV_ECANCELED);
  assert_over(child, UV_ECANCELED, UV_ECANCELED);
  RELEASE(parent, child);
}

static void t05_middle_dropped_grandchild_still_cancelled(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *grandparent = cancel_of(f->root);
  uvf_ctx_t *middle = cancel_of(grandparent);
  uvf_ctx_t *grandchild = cancel_of(middle);
  counted_t c;
  watch_start(&c, grandchild, NULL);
  RELEASE(middle);
  settle(&f->loop);
  assert_live(grandchild);
  assert_int_equal(c.calls, 0);
  uvf_ctx_cancel_cause(grandparent, CAUSE_X, NULL);
  assert_over(grandchild, UV_ECANCELED, CAUSE_X);
  settle(&f->loop);
  assert_called_once(&c, UV_ECANCELED);
  RELEASE(grandchild, grandparent);
  settle(&f->loop);
  assert_int_equal(stats(f->root).contexts, 1);
}

static void t06_a_childs_cancel_leaves_the_parent_usable(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *first = cancel_of(parent);
  uvf_ctx_t *second;
  counted_t of_parent;
  counted_t of_first;
  counted_t of_second;
  int total = 0;
  watch_start(&of_parent, parent, &total);
  watch_start(&of_first, first, &total);
  uvf_ctx_cancel(first);
  settle(&f->loop);
  assert_int_equal(total, 1);
  assert_called_once(&of_first, UV_ECANCELED);
  assert_live(parent);
  second = cancel_of(parent);
  assert_live(second);
  watch_start(&of_second, second, &total);
  settle(&f->loop);
  assert_int_equal(total, 1);
  uvf_ctx_cancel(parent);
  settle(&f->loop);
  assert_int_equal(total, 3);
  assert_called_once(&of_parent, UV_ECANCELED);
  assert_called_once(&of_second, UV_ECANCELED);
  RELEASE(parent, first, second);
}

static void t07_a_child_of_a_cancelled_token_is_born_cancelled(void **state) {
  fixture_t *f = *state;
  for (int drop_child_first = 0; drop_child_first < 2; drop_child_first++) {
    uvf_ctx_t *parent = cancel_of(f->root);
    uvf_ctx_t *child;
    counted_t c;
    uvf_ctx_cancel(parent);
    child = cancel_of(parent);
    assert_over(child, UV_ECANCELED, UV_ECANCELED);
    watch_start(&c, child, NULL);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED); /* the one answer that every start gets */
    if (drop_child_first)
      RELEASE(child, parent);
    else
      RELEASE(parent, child);
    settle(&f->loop);
    assert_int_equal(stats(f->root).contexts, 1);
  }
}

static void t08_children_dropped_in_either_order(void **state) {
  fixture_t *f = *state;
  for (int drop_first_child_first = 0; drop_first_child_first < 2; drop_first_child_first++) {
    uvf_ctx_t *token = cancel_of(f->root);
    uvf_ctx_t *children_of[3] = {cancel_of(token), cancel_of(token), cancel_of(token)};
    counted_t c;
    watch_start(&c, token, NULL);
    for (size_t i = 0; i < 3; i++) {
      RELEASE(children_of[drop_first_child_first ? i : 2 - i]);
      settle(&f->loop);
      assert_int_equal(children(token), 2 - i);
      assert_live(token);
    }
    assert_int_equal(c.calls, 0);
    uvf_ctx_cancel(token);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
    RELEASE(token);
    settle(&f->loop);
  }
}

/* parent -+- sibling
 *         +- child -+- a -+- c
 *                   |     +- d
 *                   +- b --- e */
static void t09_only_descendants_are_cancelled(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *sibling = cancel_of(parent);
  uvf_ctx_t *family[6];
  counted_t inside[6];
  counted_t outside[2];
  int total = 0;
  int others = 0;
  family[0] = cancel_of(parent);
  family[1] = cancel_of(family[0]);
  family[2] = cancel_of(family[0]);
  family[3] = cancel_of(family[1]);
  family[4] = cancel_of(family[1]);
  family[5] = cancel_of(family[2]);
  for (size_t i = 0; i < 6; i++) watch_start(&inside[i], family[i], &total);
  watch_start(&outside[0], parent, &others);
  watch_start(&outside[1], sibling, &others);
  uvf_ctx_cancel(family[0]);
  settle(&f->loop);
  for (size_t i = 0; i < 6; i++) {
    assert_over(family[i], UV_ECANCELED, UV_ECANCELED);
    assert_called_once(&inside[i], UV_ECANCELED);
  }
  assert_int_equal(total, 6);
  assert_int_equal(others, 0);
  assert_live(parent);
  assert_live(sibling);
  settle(&f->loop); /* looking again wakes nobody */
  uvf_ctx_cancel(family[3]);
  settle(&f->loop);
  assert_int_equal(total, 6);
  assert_int_equal(uvf_watch_stop(&outside[0].watch), UVF_STOP_REMOVED);
  assert_int_equal(uvf_watch_stop(&outside[1].watch), UVF_STOP_REMOVED);
  release_each(family, 6);
  RELEASE(parent, sibling);
}

static void t10_a_dropped_parent_cancels_nobody(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *first = cancel_of(parent);
  uvf_ctx_t *second = cancel_of(parent);
  RELEASE(parent);
  settle(&f->loop);
  assert_live(first);
  assert_live(second);
  RELEASE(first);
  settle(&f->loop);
  assert_live(second);
  uvf_ctx_cancel(second);
  assert_over(second, UV_ECANCELED, UV_ECANCELED);
  RELEASE(second);
  settle(&f->loop);
  assert_int_equal(stats(f->root).contexts, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(t01_a_pending_waiter_is_woken_exactly_once),
      unit(t02_an_owning_waiter_is_woken_exactly_once),
      unit(t03_a_pending_waiter_may_be_destroyed),
      unit(t04_the_parents_cancel_wakes_both),
      unit(t05_middle_dropped_grandchild_still_cancelled),
      unit(t06_a_childs_cancel_leaves_the_parent_usable),
      unit(t07_a_child_of_a_cancelled_token_is_born_cancelled),
      unit(t08_children_dropped_in_either_order),
      unit(t09_only_descendants_are_cancelled),
      unit(t10_a_dropped_parent_cancels_nobody),
  };
  return test_run(tests);
}
