/* SPDX-License-Identifier: MIT
 *
 * The object pool: what is made, used again and destroyed; who waits and who is next; a create that fails.
 */
#include "unit/pool_probe.h"

/* --- make, use again, destroy --- */

static void objects_are_made_up_to_max_and_used_again_the_last_one_back_first(void **state) {
  maker_t maker;
  uvf_objpool_t *pool = pool_of(3, &maker);
  void *things[3];
  void *object = &maker;
  (void)state;
  assert_int_equal(atomic_load(&maker.made), 0); /* nothing before it is wanted */
  for (int i = 0; i < 3; i++) things[i] = taken_from(pool);
  assert_int_equal(atomic_load(&maker.made), 3);
  assert_int_equal(uvf_objpool_try_get(pool, &object), UV_EAGAIN);
  assert_ptr_equal(object, &maker);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_objpool_put(pool, things[i]), 0);
  for (int i = 2; i >= 0; i--) assert_ptr_equal(taken_from(pool), things[i]);
  assert_int_equal(atomic_load(&maker.made), 3);
  assert_int_equal(uvf_objpool_discard(pool, things[1]), 0);
  assert_int_equal(atomic_load(&maker.destroyed), 1);
  assert_int_equal(atomic_load(&maker.made), 3); /* nobody waits: none is made */
  things[1] = taken_from(pool);
  assert_int_equal(atomic_load(&maker.made), 4);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_objpool_put(pool, things[i]), 0);
  pool_end(pool, &maker);
}

static void a_get_brings_the_object_in_its_wait_and_never_inside(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(1, &maker);
  note_t note;
  for (int i = 0; i < 2; i++) { /* a new one, and an idle one */
    get(&note, f->root, pool, 0, NULL);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)&note.wait), UV_EBUSY);
    run_until(&f->loop, &note.calls, 1);
    assert_noted(&note, 0);
    assert_int_equal(((thing_t *)note.value)->magic, ALIVE);
    assert_int_equal(uvf_objpool_put(pool, note.value), 0);
  }
  assert_int_equal(atomic_load(&maker.made), 1);
  pool_end(pool, &maker);
}

static void they_are_served_in_the_order_they_came_requests_and_threads_alike(void **state) {
  enum { N = 6 };
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(1, &maker);
  void *object = taken_from(pool), *other;
  note_t notes[N];
  blocked_t b[N];
  turn(&f->loop);
  for (int i = 0; i < N; i++) {
    if (i % 2) {
      blocked_start(&b[i], f->root, block_for_one, pool);
      await_parked(f->root, (uint32_t)(i + 1) / 2);
    } else {
      get(&notes[i], f->root, pool, i, NULL);
    }
    assert_int_equal(queued(pool), i + 1);
    assert_int_equal(uvf_objpool_try_get(pool, &other), UV_EAGAIN);
  }
  assert_int_equal(uvf_objpool_put(pool, object), 0);
  for (int i = 0; i < N; i++) {
    if (i % 2) {
      assert_int_equal(blocked_join(&b[i]), 0);
      continue;
    }
    run_until(&f->loop, &notes[i].calls, 1);
    assert_noted(&notes[i], 0);
    assert_ptr_equal(notes[i].value, object); /* handed on, the same */
    if (i + 2 < N) assert_int_equal(notes[i + 2].calls, 0);
    assert_int_equal(uvf_objpool_try_get(pool, &other), UV_EAGAIN);
    assert_int_equal(uvf_objpool_put(pool, object), 0);
  }
  assert_int_equal(atomic_load(&maker.made), 1);
  pool_end(pool, &maker);
}

static void what_is_put_back_belongs_to_the_first_that_waits_from_then_on(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(1, &maker);
  void *object = taken_from(pool), *other;
  note_t first, second;
  get(&first, f->root, pool, 0, NULL);
  get(&second, f->root, pool, 1, NULL);
  assert_int_equal(uvf_objpool_put(pool, object), 0);
  assert_int_equal(queued(pool), 1);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&first.wait), UV_EBUSY);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&second.wait), 0);
  assert_int_equal(uvf_objpool_try_get(pool, &other), UV_EAGAIN);
  run_until(&f->loop, &second.calls, 1);
  assert_noted(&first, 0);
  assert_ptr_equal(first.value, object);
  assert_noted(&second, UV_ECANCELED);
  assert_null(second.value);
  assert_int_equal(uvf_objpool_put(pool, object), 0);
  pool_end(pool, &maker);
}

/* --- a create that fails --- */

static void a_create_that_fails_fails_that_one_get_and_leaves_its_place_free(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(1, &maker);
  void *object = &maker;
  note_t note;
  blocked_t b;
  atomic_store(&maker.fail, 3);
  assert_int_equal(uvf_objpool_try_get(pool, &object), UV_ECONNREFUSED);
  assert_ptr_equal(object, &maker);
  get(&note, f->root, pool, 0, NULL);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, UV_ECONNREFUSED);
  assert_null(note.value);
  blocked_start(&b, f->root, block_for_one, pool);
  assert_int_equal(blocked_join(&b), UV_ECONNREFUSED);
  assert_int_equal(uvf_objpool_put(pool, taken_from(pool)), 0);
  pool_end(pool, &maker);
}

static void get_one_more(maker_t *maker) {
  note_t *note = maker->arg;
  maker->then = NULL;
  if (uvf_objpool_get(note->wait.ctx, &note[1].wait, note->arg, on_note) != 0) abort();
}

/* While it is made its place is taken: who comes meanwhile waits, and has the place when it has failed. */
static void a_place_that_comes_free_by_a_failure_is_the_next_waiters(void **state) {
  fixture_t *f = *state;
  for (int fails = 1; fails <= 2; fails++) {
    maker_t maker;
    uvf_objpool_t *pool = pool_of(1, &maker);
    note_t notes[2];
    for (int i = 0; i < 2; i++) note_init(&notes[i], i, NULL);
    notes[0].arg = pool;
    maker.then = get_one_more;
    maker.arg = notes;
    atomic_store(&maker.fail, fails);
    assert_int_equal(uvf_objpool_get(f->root, &notes[0].wait, pool, on_note), 0);
    assert_int_equal(queued(pool), 0);
    run_until(&f->loop, &notes[1].calls, 1);
    assert_noted(&notes[0], UV_ECONNREFUSED);
    assert_noted(&notes[1], fails == 2 ? UV_ECONNREFUSED : 0);
    assert_int_equal(atomic_load(&maker.made), fails == 2 ? 0 : 1);
    if (fails == 1) assert_int_equal(uvf_objpool_put(pool, notes[1].value), 0);
    pool_end(pool, &maker);
  }
}

static void cancel_inside(maker_t *maker) {
  note_t *note = maker->arg;
  maker->then = NULL;
  note->id = uvf_op_cancel((uvf_op_t *)&note->wait);
  uvf_ctx_cancel(note->wait.ctx);
}

static void a_create_may_cancel_what_it_likes_the_get_it_runs_for_is_decided(void **state) {
  fixture_t *f = *state;
  for (int fails = 0; fails < 2; fails++) {
    maker_t maker;
    uvf_objpool_t *pool = pool_of(1, &maker);
    uvf_ctx_t *ctx = child_of(f->root);
    note_t note;
    note_init(&note, 0, NULL);
    maker.then = cancel_inside;
    maker.arg = &note;
    atomic_store(&maker.fail, fails);
    assert_int_equal(uvf_objpool_get(ctx, &note.wait, pool, on_note), 0);
    assert_int_equal(note.id, UV_EBUSY);
    run_until(&f->loop, &note.calls, 1);
    assert_noted(&note, fails ? UV_ECONNREFUSED : 0);
    if (!fails) assert_int_equal(uvf_objpool_put(pool, note.value), 0);
    uvf_ctx_release(ctx);
    pool_end(pool, &maker);
  }
}

/* --- discard --- */

static void for_one_that_is_broken_the_first_waiter_gets_a_new_one(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(1, &maker);
  void *object = taken_from(pool);
  note_t notes[2];
  for (int i = 0; i < 2; i++) get(&notes[i], f->root, pool, i, NULL);
  assert_int_equal(uvf_objpool_discard(pool, object), 0);
  assert_int_equal(atomic_load(&maker.destroyed), 1);
  assert_int_equal(atomic_load(&maker.made), 2); /* inside the call */
  assert_int_equal(queued(pool), 1);
  run_until(&f->loop, &notes[0].calls, 1);
  assert_noted(&notes[0], 0);
  assert_int_equal(uvf_objpool_put(pool, notes[0].value), 0);
  run_until(&f->loop, &notes[1].calls, 1);
  assert_noted(&notes[1], 0);
  assert_int_equal(uvf_objpool_put(pool, notes[1].value), 0);
  pool_end(pool, &maker);
}

static void each_failure_is_told_to_one_waiter_until_one_has_an_object(void **state) {
  enum { N = 5 };
  fixture_t *f = *state;
  for (int fails = 0; fails <= N; fails++) {
    maker_t maker;
    uvf_objpool_t *pool = pool_of(1, &maker);
    uvf_ctx_t *ctx = child_of(f->root);
    void *object = taken_from(pool);
    note_t notes[N], over;
    get(&over, ctx, pool, 0, NULL);
    for (int i = 0; i < N; i++) get(&notes[i], f->root, pool, i, NULL);
    on_thread(pool_cancel_ctx, ctx); /* its loop does not know yet: it is passed by */
    atomic_store(&maker.fail, fails);
    assert_int_equal(uvf_objpool_discard(pool, object), 0);
    assert_int_equal(queued(pool), fails < N ? N - 1 - fails : 0);
    turn(&f->loop);
    assert_noted(&over, UV_ECANCELED);
    for (int i = 0; i < fails; i++) assert_noted(&notes[i], UV_ECONNREFUSED);
    for (int i = fails; i < N; i++) {
      assert_noted(&notes[i], 0);
      assert_int_equal(uvf_objpool_put(pool, notes[i].value), 0);
      turn(&f->loop);
    }
    uvf_ctx_release(ctx);
    pool_end(pool, &maker);
  }
}

/* --- refusals --- */

typedef struct misuse_s {
  uvf_objpool_t *pool;
  void *object;
  uvf_ctx_t *ctx;
  note_t *note;
  int rc;
} misuse_t;

static void misuse_put(void *arg) { ((misuse_t *)arg)->rc = uvf_objpool_put(((misuse_t *)arg)->pool, arg); }
static void misuse_discard(void *arg) { ((misuse_t *)arg)->rc = uvf_objpool_discard(((misuse_t *)arg)->pool, arg); }
static void misuse_destroy(void *arg) { ((misuse_t *)arg)->rc = uvf_objpool_destroy(((misuse_t *)arg)->pool); }
static void misuse_block(void *arg) {
  misuse_t *m = arg;
  m->rc = uvf_objpool_get_wait(m->ctx, m->pool, &m->object);
}
static void misuse_start(void *arg) {
  misuse_t *m = arg;
  m->rc = uvf_objpool_get(m->ctx, &m->note->wait, m->pool, on_note);
}

static void assert_misuse(void (*fn)(void *), misuse_t *m, int code, const char *function) {
  const char *rule = test_expect_rule(fn, m);
  if (test_rules_on()) {
    assert_non_null(rule);
    assert_memory_equal(rule, function, strlen(function));
  } else {
    fn(m);
    assert_int_equal(m->rc, code);
  }
}

static void misuse_is_named_and_changes_nothing(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(2, &maker);
  note_t note;
  misuse_t m = {pool, NULL, f->root, &note, 1};
  void *object;
  turn(&f->loop);
  assert_misuse(misuse_put, &m, UV_EINVAL, "uvf_objpool_put: ");
  assert_misuse(misuse_discard, &m, UV_EINVAL, "uvf_objpool_discard: ");
  assert_int_equal(uvf_objpool_put(pool, taken_from(pool)), 0);
  assert_misuse(misuse_put, &m, UV_EINVAL, "uvf_objpool_put: "); /* one is idle, none is out */
  assert_misuse(misuse_discard, &m, UV_EINVAL, "uvf_objpool_discard: ");
  assert_int_equal(atomic_load(&maker.destroyed), 0);
  object = taken_from(pool);
  assert_misuse(misuse_destroy, &m, UV_EBUSY, "uvf_objpool_destroy: ");
  assert_int_equal(uvf_objpool_put(pool, object), 0);
  object = taken_from(pool);
  m.object = taken_from(pool);
  assert_misuse(misuse_block, &m, UV_EPERM, "uvf_objpool_get_wait: ");
  get(&note, f->root, pool, 0, NULL);
  if (test_rules_on()) assert_misuse(misuse_start, &m, 0, "uvf_objpool_get: ");
  assert_int_equal(uvf_objpool_put(pool, object), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, 0);
  assert_int_equal(uvf_objpool_put(pool, note.value), 0);
  assert_int_equal(uvf_objpool_put(pool, m.object), 0);
  pool_end(pool, &maker);
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(1, &maker);
  uvf_objpool_t other;
  void *object;
  note_t note;
  note_init(&note, 0, NULL);
  assert_int_equal(uvf_objpool_init(NULL, 1, make_thing, destroy_thing, &maker), UV_EINVAL);
  assert_int_equal(uvf_objpool_init(&other, 0, make_thing, destroy_thing, &maker), UV_EINVAL);
  assert_int_equal(uvf_objpool_init(&other, 1, NULL, destroy_thing, &maker), UV_EINVAL);
  assert_int_equal(uvf_objpool_init(&other, 1, make_thing, NULL, &maker), UV_EINVAL);
  assert_int_equal(uvf_objpool_init(&other, SIZE_MAX, make_thing, destroy_thing, &maker), UV_ENOMEM);
  assert_int_equal(uvf_objpool_destroy(NULL), UV_EINVAL);
  assert_int_equal(uvf_objpool_put(NULL, &note), UV_EINVAL);
  assert_int_equal(uvf_objpool_discard(NULL, &note), UV_EINVAL);
  assert_int_equal(uvf_objpool_try_get(NULL, &object), UV_EINVAL);
  assert_int_equal(uvf_objpool_try_get(pool, NULL), UV_EINVAL);
  assert_int_equal(uvf_objpool_get(NULL, &note.wait, pool, on_note), UV_EINVAL);
  assert_int_equal(uvf_objpool_get(f->root, NULL, pool, on_note), UV_EINVAL);
  assert_int_equal(uvf_objpool_get(f->root, &note.wait, NULL, on_note), UV_EINVAL);
  assert_int_equal(uvf_objpool_get(f->root, &note.wait, pool, NULL), UV_EINVAL);
  assert_int_equal(uvf_objpool_get_wait(NULL, pool, &object), UV_EINVAL);
  assert_int_equal(uvf_objpool_get_wait(f->root, NULL, &object), UV_EINVAL);
  assert_int_equal(uvf_objpool_get_wait(f->root, pool, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  pool_end(pool, &maker);
}

static void only_init_allocates_and_without_memory_nothing_happens(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t other, *pool;
  size_t allocations, live = test_alloc_live();
  note_t notes[3];
  void *object;
  memset(&other, 0xdb, sizeof other);
  test_alloc_fail_at(1);
  assert_int_equal(uvf_objpool_init(&other, 4, make_thing, destroy_thing, &maker), UV_ENOMEM);
  assert_true(test_alloc_failed());
  test_alloc_fail_at(0);
  assert_int_equal(test_alloc_live(), live);
  pool = pool_of(1, &maker);
  object = taken_from(pool);
  turn(&f->loop);
  allocations = test_alloc_count();
  for (int i = 0; i < 3; i++) get(&notes[i], f->root, pool, i, NULL);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&notes[1].wait), 0);
  assert_int_equal(uvf_objpool_put(pool, object), 0);
  turn(&f->loop);
  assert_int_equal(uvf_objpool_discard(pool, notes[0].value), 0);
  turn(&f->loop);
  assert_int_equal(uvf_objpool_put(pool, notes[2].value), 0);
  assert_int_equal(test_alloc_count(), allocations);
  pool_end(pool, &maker);
  assert_int_equal(test_alloc_live(), live);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(objects_are_made_up_to_max_and_used_again_the_last_one_back_first),
      unit(a_get_brings_the_object_in_its_wait_and_never_inside),
      unit(they_are_served_in_the_order_they_came_requests_and_threads_alike),
      unit(what_is_put_back_belongs_to_the_first_that_waits_from_then_on),
      unit(a_create_that_fails_fails_that_one_get_and_leaves_its_place_free),
      unit(a_place_that_comes_free_by_a_failure_is_the_next_waiters),
      unit(a_create_may_cancel_what_it_likes_the_get_it_runs_for_is_decided),
      unit(for_one_that_is_broken_the_first_waiter_gets_a_new_one),
      unit(each_failure_is_told_to_one_waiter_until_one_has_an_object),
      unit(misuse_is_named_and_changes_nothing),
      unit(null_arguments_are_refused),
      unit(only_init_allocates_and_without_memory_nothing_happens),
  };
  return test_run(tests);
}
