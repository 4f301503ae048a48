/* SPDX-License-Identifier: MIT
 *
 * Parity rows T-15 to T-21: the interleavings that tokio has model-checked. Here: thousands of rounds of two or three
 * threads from one line, each with a delay of its own, and the orders that matter forced once by waiting for one
 * thread before the next begins.
 */
#include "parity.h"
#include "race.h"

static size_t rounds(void) { return test_scaled(3000, 20); }

static void cancel_it(void *arg) { uvf_ctx_cancel(arg); }

static void release_it(void *arg) { uvf_ctx_release(arg); }

static void cancel_and_release(void *arg) {
  uvf_ctx_cancel(arg);
  uvf_ctx_release(arg);
}

/* After every round nothing but the root is left. */
static void expect_only_root(fixture_t *f) {
  uvf_stats_t figures;
  settle(&f->loop);
  figures = stats(f->root);
  assert_int_equal(figures.contexts, 1);
  assert_int_equal(figures.ops, 0);
  assert_int_equal(figures.ready, 0);
  assert_int_equal(children(f->root), 0);
}

/* --- T-15: cancel against wait ------------------------------------------------------------------------------------ */

static void t15_cancel_against_wait(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    race_t race;
    uvf_ctx_t *token = cancel_of(f->root);
    counted_t c;
    race_init(&race, 2);
    race_add(&race, cancel_it, token, race_delay(&seed));
    race_meet(&race, race_delay(&seed));
    watch_start(&c, token, NULL);
    run_until(&f->loop, &c.calls, 1);
    race_join(&race);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
    RELEASE(token);
  }
  expect_only_root(f);
}

static void t15_both_orders_forced(void **state) {
  fixture_t *f = *state;
  for (int wait_first = 0; wait_first < 2; wait_first++) {
    uvf_ctx_t *token = cancel_of(f->root);
    counted_t c;
    if (wait_first) watch_start(&c, token, NULL);
    run_on_thread(cancel_it, token);
    assert_over(token, UV_ECANCELED, UV_ECANCELED);
    if (!wait_first) watch_start(&c, token, NULL);
    run_until(&f->loop, &c.calls, 1);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
    RELEASE(token);
  }
  expect_only_root(f);
}

/* --- T-16: the same when the waiter owns the token ---------------------------------------------------------------- */

static void t16_cancel_against_owning_wait(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    race_t race;
    uvf_ctx_t *token = cancel_of(f->root);
    counted_t c;
    race_init(&race, 2);
    race_add(&race, cancel_and_release, uvf_ctx_retain(token), race_delay(&seed));
    race_meet(&race, race_delay(&seed));
    watch_start(&c, token, NULL);
    RELEASE(token); /* from here on the waiter, and perhaps the canceller, hold it */
    run_until(&f->loop, &c.calls, 1);
    race_join(&race);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
  }
  expect_only_root(f);
}

static void t16_both_orders_forced(void **state) {
  fixture_t *f = *state;
  for (int wait_first = 0; wait_first < 2; wait_first++) {
    uvf_ctx_t *token = cancel_of(f->root);
    uvf_ctx_t *clone = uvf_ctx_retain(token);
    counted_t c;
    if (wait_first) {
      watch_start(&c, token, NULL);
      RELEASE(token);
    }
    run_on_thread(cancel_and_release, clone);
    if (!wait_first) {
      watch_start(&c, token, NULL);
      RELEASE(token);
    }
    run_until(&f->loop, &c.calls, 1);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
  }
  expect_only_root(f);
}

/* --- T-17: the waiter waits for a child --------------------------------------------------------------------------- */

static void t17_cancel_against_waiting_child(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    race_t race;
    uvf_ctx_t *token = cancel_of(f->root);
    uvf_ctx_t *child;
    counted_t of_token;
    counted_t of_child;
    int total = 0;
    race_init(&race, 2);
    race_add(&race, cancel_it, token, race_delay(&seed));
    race_meet(&race, race_delay(&seed));
    child = cancel_of(token);
    watch_start(&of_child, child, &total);
    watch_start(&of_token, token, &total);
    run_until(&f->loop, &total, 2);
    race_join(&race);
    settle(&f->loop);
    assert_int_equal(total, 2);
    assert_called_once(&of_token, UV_ECANCELED);
    assert_called_once(&of_child, UV_ECANCELED);
    RELEASE(child, token);
  }
  expect_only_root(f);
}

/* The cancel before the child, between the child and its waiter, and after both. */
static void t17_all_orders_forced(void **state) {
  fixture_t *f = *state;
  for (int place = 0; place < 3; place++) {
    uvf_ctx_t *token = cancel_of(f->root);
    uvf_ctx_t *child;
    counted_t c;
    if (place == 0) run_on_thread(cancel_it, token);
    child = cancel_of(token);
    if (place == 1) run_on_thread(cancel_it, token);
    watch_start(&c, child, NULL);
    if (place == 2) run_on_thread(cancel_it, token);
    run_until(&f->loop, &c.calls, 1);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
    RELEASE(child, token);
  }
  expect_only_root(f);
}

/* --- T-18: three references dropped at once ----------------------------------------------------------------------- */

static void t18_three_references_dropped_at_once(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    race_t race;
    uvf_ctx_t *token = cancel_of(f->root);
    uvf_ctx_t *second = uvf_ctx_retain(token);
    uvf_ctx_t *third = uvf_ctx_retain(token);
    race_init(&race, 3);
    race_add(&race, release_it, second, race_delay(&seed));
    race_add(&race, release_it, third, race_delay(&seed));
    race_meet(&race, race_delay(&seed));
    uvf_ctx_release(token);
    race_join(&race);
    if (round % 64 == 0) expect_only_root(f); /* otherwise the posts of several rounds meet */
  }
  expect_only_root(f);
}

/* The last reference goes on a thread, and on the loop's thread. */
static void t18_both_orders_forced(void **state) {
  fixture_t *f = *state;
  for (int loop_first = 0; loop_first < 2; loop_first++) {
    uvf_ctx_t *token = cancel_of(f->root);
    uvf_ctx_t *second = uvf_ctx_retain(token);
    uvf_ctx_t *third = uvf_ctx_retain(token);
    if (loop_first) RELEASE(token);
    run_on_thread(release_it, second);
    run_on_thread(release_it, third);
    if (!loop_first) RELEASE(token);
    expect_only_root(f);
  }
}

/* --- T-19: the parent dropped while its children are -------------------------------------------------------------- */

static void t19_drop_parent_against_drop_children(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    race_t race;
    uvf_ctx_t *parent = cancel_of(f->root);
    uvf_ctx_t *first = cancel_of(parent);
    uvf_ctx_t *second = cancel_of(parent);
    race_init(&race, 3);
    race_add(&race, release_it, parent, race_delay(&seed));
    race_add(&race, release_it, first, race_delay(&seed));
    race_meet(&race, race_delay(&seed));
    uvf_ctx_release(second);
    race_join(&race);
    if (round % 64 == 0) expect_only_root(f);
  }
  expect_only_root(f);
}

/* Every order of the three drops, each on a thread. */
static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

static void t19_all_orders_forced(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
    uvf_ctx_t *ctx[3];
    ctx[0] = cancel_of(f->root);
    ctx[1] = cancel_of(ctx[0]);
    ctx[2] = cancel_of(ctx[0]);
    for (size_t j = 0; j < 3; j++) {
      run_on_thread(release_it, ctx[order[i][j]]);
      if (j < 2) assert_live(ctx[order[i][2]]); /* the last one is still ours to ask: nobody's drop cancels it */
    }
    expect_only_root(f);
  }
}

/* --- T-20: drop against cancel against drop of a child ------------------------------------------------------------ */

static void t20_drop_against_cancel_against_drop_child(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    race_t race;
    uvf_ctx_t *parent = cancel_of(f->root);
    uvf_ctx_t *clone = uvf_ctx_retain(parent);
    uvf_ctx_t *child = cancel_of(parent);
    counted_t c;
    watch_start(&c, child, NULL);
    race_init(&race, 3);
    race_add(&race, release_it, parent, race_delay(&seed));
    race_add(&race, cancel_and_release, clone, race_delay(&seed));
    race_add(&race, release_it, child, race_delay(&seed));
    run_until(&f->loop, &c.calls, 1);
    race_join(&race);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
  }
  expect_only_root(f);
}

static void t20_all_orders_forced(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
    uvf_ctx_t *parent = cancel_of(f->root);
    uvf_ctx_t *const held[3] = {parent, uvf_ctx_retain(parent), cancel_of(parent)};
    void (*const act[3])(void *) = {release_it, cancel_and_release, release_it};
    counted_t c;
    watch_start(&c, held[2], NULL);
    for (size_t j = 0; j < 3; j++) run_on_thread(act[order[i][j]], held[order[i][j]]);
    run_until(&f->loop, &c.calls, 1);
    assert_called_once(&c, UV_ECANCELED);
    expect_only_root(f);
  }
}

/* --- T-21: drop against cancel against cancel of a child ---------------------------------------------------------- */

static void t21_drop_against_cancel_against_cancel_child(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < rounds(); round++) {
    race_t race;
    uvf_ctx_t *parent = cancel_of(f->root);
    uvf_ctx_t *clone = uvf_ctx_retain(parent);
    uvf_ctx_t *child = cancel_of(parent);
    counted_t of_parent;
    counted_t of_child;
    int total = 0;
    watch_start(&of_parent, parent, &total);
    watch_start(&of_child, child, &total);
    race_init(&race, 3);
    race_add(&race, release_it, parent, race_delay(&seed));
    race_add(&race, cancel_and_release, clone, race_delay(&seed));
    race_add(&race, cancel_and_release, child, race_delay(&seed));
    run_until(&f->loop, &total, 2);
    race_join(&race);
    settle(&f->loop);
    assert_int_equal(total, 2);
    assert_called_once(&of_parent, UV_ECANCELED);
    assert_called_once(&of_child, UV_ECANCELED);
  }
  expect_only_root(f);
}

static void t21_all_orders_forced(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
    uvf_ctx_t *parent = cancel_of(f->root);
    uvf_ctx_t *const held[3] = {parent, uvf_ctx_retain(parent), cancel_of(parent)};
    void (*const act[3])(void *) = {release_it, cancel_and_release, cancel_and_release};
    counted_t of_parent;
    counted_t of_child;
    int total = 0;
    watch_start(&of_parent, parent, &total);
    watch_start(&of_child, held[2], &total);
    for (size_t j = 0; j < 3; j++) run_on_thread(act[order[i][j]], held[order[i][j]]);
    run_until(&f->loop, &total, 2);
    assert_called_once(&of_parent, UV_ECANCELED);
    assert_called_once(&of_child, UV_ECANCELED);
    expect_only_root(f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(t15_cancel_against_wait),
      unit(t15_both_orders_forced),
      unit(t16_cancel_against_owning_wait),
      unit(t16_both_orders_forced),
      unit(t17_cancel_against_waiting_child),
      unit(t17_all_orders_forced),
      unit(t18_three_references_dropped_at_once),
      unit(t18_both_orders_forced),
      unit(t19_drop_parent_against_drop_children),
      unit(t19_all_orders_forced),
      unit(t20_drop_against_cancel_against_drop_child),
      unit(t20_all_orders_forced),
      unit(t21_drop_against_cancel_against_cancel_child),
      unit(t21_all_orders_forced),
  };
  return test_run(tests);
}
