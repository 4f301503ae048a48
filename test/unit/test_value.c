/* SPDX-License-Identifier: MIT
 *
 * Request values: lookup and shadowing, who owns a value, and when, where and how often it is freed.
 */
#include "unit/probe.h"

static int key_a, key_b, key_c;

/* A value that notes how it was freed. */
typedef struct thing_s {
  int frees;
  int on_loop_thread; /* the thread that freed it was main_thread */
  int inside;         /* ... while a call of ours was on the stack */
  journal_t *journal;
  int id;
  uvf_ctx_t *to_release; /* done inside the free function */
  uvf_ctx_t *to_derive;
  uvf_ctx_t *derived;
} thing_t;

static uv_thread_t main_thread;
static int in_call;

static void free_thing(void *value) {
  thing_t *thing = value;
  uv_thread_t self = uv_thread_self();
  thing->frees++;
  thing->on_loop_thread = uv_thread_equal(&self, &main_thread);
  thing->inside = in_call;
  if (thing->journal != NULL) journal_add(thing->journal, thing->id);
  if (thing->to_release != NULL) uvf_ctx_release(thing->to_release);
  if (thing->to_derive != NULL && uvf_ctx_with_cancel(thing->to_derive, &thing->derived) != 0) thing->derived = NULL;
}

/* A release that must not free inside. */
static void release_marked(uvf_ctx_t *ctx) {
  in_call = 1;
  uvf_ctx_release(ctx);
  in_call = 0;
}

/* --- lookup --- */

static void a_lookup_finds_the_nearest_value_and_a_child_hides_its_parents(void **state) {
  fixture_t *f = *state;
  int one = 1, two = 2, three = 3;
  uvf_ctx_t *a = value_of(f->root, &key_a, &one, NULL), *b = value_of(a, &key_b, &two, NULL);
  uvf_ctx_t *hidden = value_of(b, &key_a, &three, NULL), *below = child_of(hidden);
  assert_null(uvf_ctx_value(f->root, &key_a));
  assert_ptr_equal(uvf_ctx_value(a, &key_a), &one);
  assert_null(uvf_ctx_value(a, &key_b));
  assert_ptr_equal(uvf_ctx_value(b, &key_a), &one);
  assert_ptr_equal(uvf_ctx_value(b, &key_b), &two);
  assert_ptr_equal(uvf_ctx_value(hidden, &key_a), &three);
  assert_ptr_equal(uvf_ctx_value(below, &key_a), &three);
  assert_ptr_equal(uvf_ctx_value(below, &key_b), &two);
  assert_null(uvf_ctx_value(below, &key_c));
  assert_null(uvf_ctx_value(below, NULL));
  uvf_ctx_release(a);
  uvf_ctx_release(b);
  uvf_ctx_release(hidden);
  uvf_ctx_release(below);
}

static void find_tells_an_absent_key_from_a_null_value(void **state) {
  fixture_t *f = *state;
  int one = 1;
  void *value = f;
  uvf_ctx_t *outer = value_of(f->root, &key_a, &one, NULL), *null = value_of(outer, &key_a, NULL, NULL);
  assert_int_equal(uvf_ctx_find(f->root, &key_a, &value), 0);
  assert_int_equal(uvf_ctx_find(outer, &key_b, NULL), 0);
  assert_int_equal(uvf_ctx_find(outer, &key_a, NULL), 1);
  assert_int_equal(uvf_ctx_find(outer, &key_a, &value), 1);
  assert_ptr_equal(value, &one);
  assert_int_equal(uvf_ctx_find(null, &key_a, &value), 1);
  assert_null(value);
  assert_null(uvf_ctx_value(null, &key_a)); /* NULL hides the outer one */
  uvf_ctx_release(outer);
  uvf_ctx_release(null);
}

static void keys_are_compared_by_address_and_not_by_what_stands_there(void **state) {
  static const char same_a[] = "key", same_b[] = "key";
  fixture_t *f = *state;
  int one = 1;
  uvf_ctx_t *ctx = value_of(f->root, same_a, &one, NULL);
  assert_ptr_equal(uvf_ctx_value(ctx, same_a), &one);
  assert_null(uvf_ctx_value(ctx, same_b));
  assert_null(uvf_ctx_value(ctx, same_a + 1));
  uvf_ctx_release(ctx);
}

static void each_of_a_thousand_values_is_found_through_contexts_without_one(void **state) {
  static char keys[1000];
  fixture_t *f = *state;
  int values[1000];
  uvf_ctx_t *ctx = uvf_ctx_retain(f->root);
  for (int i = 0; i < 1000; i++) {
    uvf_ctx_t *valued = value_of(ctx, &keys[i], &values[i], NULL), *plain = NULL;
    assert_int_equal(kinds[(size_t)i % ARRAY_SIZE(kinds)].derive(valued, &plain), 0);
    uvf_ctx_release(ctx);
    uvf_ctx_release(valued);
    ctx = plain;
  }
  for (int i = 0; i < 1000; i++) assert_ptr_equal(uvf_ctx_value(ctx, &keys[i]), &values[i]);
  uvf_ctx_release(ctx);
}

static void read_value(void *arg) {
  uvf_ctx_t **ctx = arg;
  int *value = uvf_ctx_value(ctx[0], &key_a);
  if (value == NULL || *value != 5) ctx[1] = NULL;
}

static void values_stay_readable_after_the_end_and_from_any_thread(void **state) {
  fixture_t *f = *state;
  int five = 5;
  uvf_ctx_t *ctx[2] = {NULL, f->root};
  uvf_ctx_t *parent = timeout_of(f->root, 1), *valued = value_of(parent, &key_a, &five, NULL);
  probe_t probe = {0};
  ctx[0] = child_of(valued);
  probe_start(&probe, ctx[0], 0, NULL);
  on_thread(read_value, ctx);
  run_until(&f->loop, &probe.calls, 1);
  assert_over(ctx[0], UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_ptr_equal(uvf_ctx_value(ctx[0], &key_a), &five);
  uvf_ctx_release(parent);
  uvf_ctx_release(valued);
  on_thread(read_value, ctx);
  assert_ptr_equal(ctx[1], f->root);
  uvf_ctx_release(ctx[0]);
}

static void a_context_with_a_value_can_be_cancelled_by_itself(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = child_of(f->root), *ctx = value_of(parent, &key_a, &key_a, NULL), *below = child_of(ctx);
  uvf_ctx_cancel(ctx);
  assert_over(ctx, UV_ECANCELED, UV_ECANCELED);
  assert_over(below, UV_ECANCELED, UV_ECANCELED);
  assert_over(parent, 0, 0);
  uvf_ctx_release(parent);
  uvf_ctx_release(ctx);
  uvf_ctx_release(below);
}

/* --- free --- */

static void a_value_is_freed_once_on_the_loop_thread_and_never_inside_the_release(void **state) {
  fixture_t *f = *state;
  thing_t thing = {0};
  main_thread = uv_thread_self();
  uvf_ctx_t *ctx = value_of(f->root, &key_a, &thing, free_thing);
  assert_int_equal(uv_loop_alive(&f->loop), 0); /* alone it does not hold the loop */
  release_marked(ctx);
  assert_int_equal(thing.frees, 0);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0); /* due, it does */
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(thing.frees, 1);
  assert_int_equal(thing.inside, 0);
  assert_int_equal(thing.on_loop_thread, 1);
  turn(&f->loop);
  fixture_close_root(f);
  assert_int_equal(thing.frees, 1);
}

static void release_on_thread(void *ctx) { uvf_ctx_release(ctx); }

static void a_value_whose_last_context_another_thread_released_is_freed_on_the_loop_thread(void **state) {
  fixture_t *f = *state;
  main_thread = uv_thread_self();
  for (int i = 0; i < 100; i++) {
    thing_t thing = {0};
    uvf_ctx_t *ctx = value_of(f->root, &key_a, &thing, free_thing);
    if (i % 2) {
      on_thread(release_on_thread, ctx); /* the loop stands still */
      assert_int_equal(thing.frees, 0);
      run_beside(&f->loop, lane_nothing, NULL);
    } else {
      run_beside(&f->loop, release_on_thread, ctx);
    }
    run_until(&f->loop, &thing.frees, 1);
    assert_int_equal(thing.frees, 1);
    assert_int_equal(thing.on_loop_thread, 1);
  }
}

static void a_value_lives_as_long_as_any_context_or_operation_that_could_see_it(void **state) {
  fixture_t *f = *state;
  thing_t thing = {0};
  uvf_ctx_t *ctx = value_of(f->root, &key_a, &thing, free_thing), *child = timeout_of(ctx, HOUR_MS), *apart = NULL;
  probe_t probe = {0};
  assert_int_equal(uvf_ctx_without_cancel(child, &apart), 0);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(thing.frees, 0);
  probe_start(&probe, apart, 0, NULL);
  uvf_ctx_release(child);
  uvf_ctx_release(apart);
  turn(&f->loop);
  assert_int_equal(thing.frees, 0);
  assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_REMOVED);
  run_until(&f->loop, &thing.frees, 1);
}

static void see_value(probe_t *probe) {
  thing_t *thing = uvf_ctx_value(probe->watch.ctx, &key_a);
  probe->arg = (thing != NULL && thing->frees == 0) ? thing : NULL;
}

static void a_callback_under_the_context_still_sees_the_value_and_the_free_follows_it(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  thing_t thing = {.journal = &journal, .id = 2};
  uvf_ctx_t *ctx = value_of(f->root, &key_a, &thing, free_thing);
  probe_t probe = {.then = see_value};
  probe_start(&probe, ctx, 1, &journal);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  run_until(&f->loop, &thing.frees, 1);
  assert_ptr_equal(probe.arg, &thing);
  assert_journal(&journal, 1, 2);
}

static void each_of_many_values_of_a_chain_is_freed_exactly_once(void **state) {
  enum { N = 2000 };
  fixture_t *f = *state;
  thing_t *things = calloc(N, sizeof *things);
  uvf_ctx_t *ctx = uvf_ctx_retain(f->root);
  assert_non_null(things);
  main_thread = uv_thread_self();
  for (int i = 0; i < N; i++) {
    uvf_ctx_t *next = value_of(ctx, &key_a, &things[i], free_thing);
    uvf_ctx_release(ctx);
    ctx = next;
  }
  release_marked(ctx);
  for (int i = 0; i < N; i++) assert_int_equal(things[i].frees, 0);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  for (int i = 0; i < N; i++) {
    assert_int_equal(things[i].frees, 1);
    assert_int_equal(things[i].inside, 0);
    assert_int_equal(things[i].on_loop_thread, 1);
  }
  free(things);
}

static void a_free_function_may_derive_and_release(void **state) {
  fixture_t *f = *state;
  thing_t inner = {0};
  thing_t outer = {.to_derive = f->root, .to_release = value_of(f->root, &key_b, &inner, free_thing)};
  uvf_ctx_release(value_of(f->root, &key_a, &outer, free_thing));
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(outer.frees, 1);
  assert_int_equal(inner.frees, 1);
  assert_non_null(outer.derived);
  assert_int_equal(uvf_ctx_err(outer.derived), 0);
  uvf_ctx_release(outer.derived);
}

static void a_value_without_a_free_function_stays_the_callers(void **state) {
  fixture_t *f = *state;
  int *value = malloc(sizeof *value);
  assert_non_null(value);
  *value = 5;
  uvf_ctx_release(value_of(f->root, &key_a, value, NULL));
  assert_int_equal(uv_loop_alive(&f->loop), 0); /* nothing is owed */
  turn(&f->loop);
  assert_int_equal(*value, 5);
  free(value);
}

static void a_value_is_freed_before_the_close_callback_of_its_root(void **state) {
  fixture_t *f = *state;
  thing_t thing = {0};
  uvf_ctx_t *ctx = value_of(f->root, &key_a, &thing, free_thing);
  probe_t probe = {0};
  main_thread = uv_thread_self();
  probe_start(&probe, ctx, 0, NULL);
  uvf_ctx_release(ctx);
  fixture_close_root(f);
  assert_int_equal(probe.calls, 1);
  assert_int_equal(thing.frees, 1);
  assert_int_equal(thing.on_loop_thread, 1);
}

typedef struct last_s {
  uvf_ctx_t *ctx;
  thing_t *thing;
  int before, after, here;
} last_t;

static void release_last(void *arg) {
  last_t *last = arg;
  last->before = last->thing->frees;
  main_thread = uv_thread_self();
  uvf_ctx_release(last->ctx);
  last->after = last->thing->frees;
  last->here = last->thing->on_loop_thread; /* main_thread is the releasing one here */
}

static void once_the_root_is_closed_a_value_is_freed_in_the_last_release_on_its_thread(void **state) {
  fixture_t *f = *state;
  for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
    thing_t thing = {0};
    uvf_ctx_t *ctx = value_of(f->root, &key_a, &thing, free_thing), *child = child_of(ctx);
    last_t last = {.ctx = child, .thing = &thing};
    uvf_ctx_release(ctx);
    fixture_close_root(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(thing.frees, 0);
    assert_ptr_equal(uvf_ctx_value(child, &key_a), &thing);
    if (elsewhere) {
      on_thread(release_last, &last);
    } else {
      release_last(&last);
    }
    assert_int_equal(last.before, 0);
    assert_int_equal(last.after, 1);
    assert_int_equal(last.here, 1);
    assert_int_equal(thing.frees, 1);
    assert_int_equal(test_alloc_live(), f->blocks_before);
    assert_int_equal(uv_loop_init(&f->loop), 0); /* for the next round, and for the teardown */
    f->loop.data = f;
    if (!elsewhere) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
  }
}

static void without_memory_the_value_stays_the_callers(void **state) {
  enum { MOST = 100000 };
  fixture_t *f = *state;
  thing_t thing = {0};
  uvf_ctx_t **held = calloc(MOST, sizeof *held);
  size_t n = 0;
  int err = 0;
  assert_non_null(held);
  test_alloc_fail_at(1);
  while (err == 0 && n < MOST) { /* what the free list still has comes first */
    uvf_ctx_t *ctx = NULL;
    err = uvf_ctx_with_value(f->root, &key_a, &thing, free_thing, &ctx);
    if (err == 0) {
      held[n++] = ctx;
    } else {
      assert_null(ctx);
    }
  }
  test_alloc_fail_at(0);
  assert_int_equal(err, UV_ENOMEM);
  assert_int_equal(stats_of(f->root).contexts, n + 1);
  turn(&f->loop);
  assert_int_equal(thing.frees, 0);
  for (size_t i = 0; i < n; i++) uvf_ctx_release(held[i]);
  turn(&f->loop);
  fixture_close_root(f);
  assert_int_equal(thing.frees, n); /* the one that was refused was not taken over */
  free(held);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_lookup_finds_the_nearest_value_and_a_child_hides_its_parents),
      unit(find_tells_an_absent_key_from_a_null_value),
      unit(keys_are_compared_by_address_and_not_by_what_stands_there),
      unit(each_of_a_thousand_values_is_found_through_contexts_without_one),
      unit(values_stay_readable_after_the_end_and_from_any_thread),
      unit(a_context_with_a_value_can_be_cancelled_by_itself),
      unit(a_value_is_freed_once_on_the_loop_thread_and_never_inside_the_release),
      unit(a_value_whose_last_context_another_thread_released_is_freed_on_the_loop_thread),
      unit(a_value_lives_as_long_as_any_context_or_operation_that_could_see_it),
      unit(a_callback_under_the_context_still_sees_the_value_and_the_free_follows_it),
      unit(each_of_many_values_of_a_chain_is_freed_exactly_once),
      unit(a_free_function_may_derive_and_release),
      unit(a_value_without_a_free_function_stays_the_callers),
      unit(a_value_is_freed_before_the_close_callback_of_its_root),
      unit(once_the_root_is_closed_a_value_is_freed_in_the_last_release_on_its_thread),
      unit(without_memory_the_value_stays_the_callers),
  };
  return test_run(tests);
}
