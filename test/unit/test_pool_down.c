/* SPDX-License-Identifier: MIT
 *
 * The object pool while create fails for ever, and all who are told so try again at once: the call whose thread makes
 * the objects comes back all the same.
 */
#include "unit/pool_probe.h"

#define TRIES 400

static struct {
  uvf_ctx_t *ctx;
  uvf_objpool_t *pool;
  int creates;
  int n; /* gets */
  note_t notes[TRIES];
} down;

/* While the library makes an object in vain, one more comes to wait: as a client on another loop would that was told
 * of the failure before. */
static void one_more(maker_t *maker) {
  (void)maker;
  down.creates++;
  if (down.n < TRIES) get(&down.notes[down.n++], down.ctx, down.pool, 0, NULL);
}

enum { BY_DISCARD, BY_GET, BY_TRY, BY_THREAD, WAYS };

static void block_for_none(void *arg) { *(int *)arg = block_for_one(down.ctx, down.pool); }

static void the_call_that_makes_objects_in_vain_comes_back(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int way = 0; way < WAYS; way++) {
    static maker_t maker;
    void *object = NULL;
    static note_t own; /* a failed assertion leaves nothing on a dead frame */
    int result = 1, waiting = 0;
    memset(&down, 0, sizeof down);
    note_init(&own, 1, NULL);
    down.ctx = f->root;
    down.pool = pool_of(1, &maker);
    if (way == BY_DISCARD) {
      object = taken_from(down.pool);
      for (; waiting < 2; waiting++) get(&down.notes[down.n++], f->root, down.pool, 0, NULL);
    }
    maker.then = way == BY_THREAD ? NULL : one_more; /* requests are started on their loop's thread */
    atomic_store(&maker.fail, 1000000);
    switch (way) {
      case BY_DISCARD: assert_int_equal(uvf_objpool_discard(down.pool, object), 0); break;
      case BY_GET: get(&own, f->root, down.pool, 1, NULL); break;
      case BY_TRY: assert_int_equal(uvf_objpool_try_get(down.pool, &object), UV_ECONNREFUSED); break;
      default:
        on_thread(block_for_none, &result);
        assert_int_equal(result, UV_ECONNREFUSED);
        break;
    }
    if (way != BY_THREAD) {
      assert_true(down.creates >= 2);
      if (down.creates > TRIES / 4) fail_msg("way %d: %d creates in one call", way, down.creates);
      assert_true(down.n < TRIES);
    }
    assert_int_equal(queued(down.pool), 0); /* all were told: nobody is left with no one to serve him */
    turn(&f->loop);
    for (int i = 0; i < down.n; i++) assert_noted(&down.notes[i], UV_ECONNREFUSED);
    if (way == BY_GET) assert_noted(&own, UV_ECONNREFUSED);
    maker.then = NULL;
    atomic_store(&maker.fail, 0);
    object = taken_from(down.pool); /* the place was not lost */
    assert_int_equal(uvf_objpool_put(down.pool, object), 0);
    pool_end(down.pool, &maker);
  }
}

static void a_few_failures_are_told_to_one_each_and_the_next_gets_the_object(void **state) {
  static const int failures[] = {0, 1, 5, 14};
  fixture_t *f = *state;
  turn(&f->loop);
  for (size_t row = 0; row < ARRAY_SIZE(failures); row++) {
    maker_t maker;
    uvf_objpool_t *pool = pool_of(1, &maker);
    void *object = taken_from(pool);
    static note_t notes[20];
    int n = failures[row];
    for (int i = 0; i < 20; i++) get(&notes[i], f->root, pool, i, NULL);
    atomic_store(&maker.fail, n);
    assert_int_equal(uvf_objpool_discard(pool, object), 0);
    turn(&f->loop);
    for (int i = 0; i < n; i++) assert_noted(&notes[i], UV_ECONNREFUSED);
    assert_noted(&notes[n], 0);
    object = notes[n].value;
    for (int i = n + 1; i < 20; i++) {
      assert_int_equal(notes[i].calls, 0);
      assert_int_equal(uvf_objpool_put(pool, object), 0);
      turn(&f->loop);
      assert_noted(&notes[i], 0);
      assert_ptr_equal(notes[i].value, object);
    }
    assert_int_equal(uvf_objpool_put(pool, object), 0);
    pool_end(pool, &maker);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(the_call_that_makes_objects_in_vain_comes_back),
      unit(a_few_failures_are_told_to_one_each_and_the_next_gets_the_object),
  };
  return test_run(tests);
}
