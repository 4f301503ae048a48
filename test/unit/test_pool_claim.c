/* SPDX-License-Identifier: MIT
 *
 * The object pool: who ends a get, every end against every other; its memory; loops and threads at it all at once.
 */
#include "unit/pool_probe.h"

/* --- who claims it --- */

enum { BY_PUT, BY_PUT_FAR, BY_DISCARD, BY_CANCEL, BY_CONTEXT, BY_CONTEXT_FAR, BY_DEADLINE, BY_CLOSE, WAYS };

typedef struct stage_s {
  fixture_t *f;
  maker_t maker;
  uvf_objpool_t *pool;
  void *object;
  uvf_ctx_t *root, *ctx;
  note_t note;
  int roots_closed;
} stage_t;

static stage_t *on_stage;

static void stage_closed(uvf_ctx_t *root) {
  (void)root;
  on_stage->roots_closed++;
}

static void put_object(void *arg) {
  stage_t *s = arg;
  if (uvf_objpool_put(s->pool, s->object) != 0) abort();
}

static int is_put(int way) { return way <= BY_DISCARD; }

/* None of these lets the loop turn: the claim is made, or could be, and nobody was told. */
static int act(stage_t *s, int way) {
  switch (way) {
    case BY_PUT: put_object(s); return 0;
    case BY_PUT_FAR: on_thread(put_object, s); return 0;
    case BY_DISCARD: return uvf_objpool_discard(s->pool, s->object);
    case BY_CANCEL: return uvf_op_cancel((uvf_op_t *)&s->note.wait);
    case BY_CONTEXT: uvf_ctx_cancel(s->ctx); return 0;
    case BY_CONTEXT_FAR: on_thread(pool_cancel_ctx, s->ctx); return 0;
    case BY_DEADLINE:
      while (uv_hrtime() <= uvf_ctx_deadline_ns(s->ctx)) {}
      uvf__hub_run_deadlines(uvf__ctx_hub(s->ctx));
      return 0;
    default:
      uvf_ctx_close(s->root, stage_closed);
      s->root = NULL;
      return 0;
  }
}

static int status_by(int way) { return is_put(way) ? 0 : way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED; }

static void stage_open(stage_t *s, fixture_t *f, int deadline) {
  memset(s, 0, sizeof *s);
  on_stage = s;
  s->f = f;
  s->pool = pool_of(1, &s->maker);
  s->object = taken_from(s->pool);
  assert_int_equal(uvf_ctx_background(&f->loop, &s->root), 0);
  s->ctx = timeout_of(s->root, deadline ? 5 : HOUR_MS);
}

static void stage_close(stage_t *s) {
  uvf_ctx_release(s->ctx);
  if (s->root != NULL) uvf_ctx_close(s->root, stage_closed);
  run_until(&s->f->loop, &s->roots_closed, 1);
  pool_end(s->pool, &s->maker);
}

static void a_get_ends_once_by_whoever_claims_it_first_and_no_object_is_lost(void **state) {
  for (int i = 0; i < WAYS * WAYS; i++) {
    int first = i / WAYS, second = i % WAYS;
    stage_t s;
    int rc;
    if (is_put(first) && is_put(second) && first != second) continue; /* there is one object */
    if (first == BY_CLOSE && (second == BY_CONTEXT || second == BY_CONTEXT_FAR)) continue;
    stage_open(&s, *state, first == BY_DEADLINE || second == BY_DEADLINE);
    get(&s.note, s.ctx, s.pool, 0, NULL);
    assert_int_equal(act(&s, first), 0);
    if (second != first) { /* else: that one alone */
      rc = act(&s, second);
      /* another thread's cancel ends the context, but only its loop can claim for it */
      assert_int_equal(rc, second == BY_CANCEL && first != BY_CONTEXT_FAR ? UV_EBUSY : 0);
    }
    assert_int_equal(s.note.calls, 0);
    run_until(&s.f->loop, &s.note.calls, 1);
    turn(&s.f->loop);
    assert_noted(&s.note, status_by(first));
    if (is_put(first)) {
      assert_int_equal(((thing_t *)s.note.value)->magic, ALIVE);
      assert_int_equal(uvf_objpool_put(s.pool, s.note.value), 0);
    } else {
      assert_null(s.note.value);
      if (!is_put(second)) assert_int_equal(uvf_objpool_put(s.pool, s.object), 0);
    }
    stage_close(&s);
  }
}

static void a_blocked_thread_ends_once_by_whoever_claims_it(void **state) {
  for (int way = 0; way < WAYS; way++) {
    stage_t s;
    blocked_t b;
    if (way == BY_CANCEL) continue; /* there is no request to cancel */
    stage_open(&s, *state, way == BY_DEADLINE);
    turn(&s.f->loop);
    blocked_start(&b, s.ctx, block_for_one, s.pool);
    if (way != BY_DEADLINE) {
      await_parked(s.ctx, 1);
      assert_int_equal(act(&s, way), 0);
    } /* else the loop is stuck in this test: the thread looks after itself */
    assert_int_equal(blocked_join(&b), status_by(way));
    assert_int_equal(queued(s.pool), 0);
    if (!is_put(way)) assert_int_equal(uvf_objpool_put(s.pool, s.object), 0);
    stage_close(&s);
  }
}

static void under_a_context_that_is_over_nothing_is_made(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_objpool_t *pool = pool_of(1, &maker);
  uvf_ctx_t *ctx = child_of(f->root);
  blocked_t b;
  note_t note;
  uvf_ctx_cancel(ctx);
  get(&note, ctx, pool, 0, NULL);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, UV_ECANCELED);
  blocked_start(&b, ctx, block_for_one, pool);
  assert_int_equal(blocked_join(&b), UV_ECANCELED);
  assert_int_equal(atomic_load(&maker.made), 0);
  uvf_ctx_release(ctx);
  pool_end(pool, &maker);
}

/* --- its memory goes in the last callback --- */

static void put_and_free(note_t *note) {
  uvf_objpool_t *pool = note->arg;
  if (note->status == 0) note->status = uvf_objpool_put(pool, note->value);
  if (note->status == 0 || note->status == UV_ECONNREFUSED) note->id = uvf_objpool_destroy(pool);
  memset(pool, 0xdb, sizeof *pool);
  free(pool);
}

static void discard_object(void *arg) {
  stage_t *s = arg;
  if (uvf_objpool_discard(s->pool, s->object) != 0) abort();
}

static void it_may_be_destroyed_in_the_callback_of_its_last_user(void **state) {
  fixture_t *f = *state;
  size_t rounds = test_scaled(1500, 10);
  for (size_t i = 0; i < rounds; i++) {
    stage_t s;
    s.pool = pool_of(1, &s.maker);
    s.object = taken_from(s.pool);
    note_init(&s.note, 1, NULL);
    s.note.then = put_and_free;
    s.note.arg = s.pool;
    atomic_store(&s.maker.fail, i % 3 == 2);
    assert_int_equal(uvf_objpool_get(f->root, &s.note.wait, s.pool, on_note), 0);
    run_beside(&f->loop, i % 3 == 0 ? put_object : discard_object, &s); /* which may still be in there */
    if (s.note.calls == 0) run_until(&f->loop, &s.note.calls, 1);
    assert_int_equal(s.note.calls, 1);
    assert_int_equal(s.note.status, i % 3 == 2 ? UV_ECONNREFUSED : 0);
    assert_int_equal(s.note.id, 0);
    assert_int_equal(atomic_load(&s.maker.made), atomic_load(&s.maker.destroyed));
  }
}

/* --- all at once --- */

enum { NOTES = 6, MAX = 3 };

typedef struct crowd_s {
  lane_t *lane;
  uvf_ctx_t *ctx;
  uvf_objpool_t *pool;
  uint64_t seed;
  size_t left;
  int active;
  uint64_t got, failed, ended, wrong;
  note_t notes[NOTES];
  gate_t done;
  uv_thread_t thread;
} crowd_t;

/* Alone with it, then back or broken. */
static void use(crowd_t *c, void *object) {
  thing_t *thing = object;
  int rc;
  c->got++;
  if (thing->magic != ALIVE || atomic_fetch_add(&thing->users, 1) != 0) c->wrong++;
  thing->uses++;
  for (volatile int i = 0; i < 20; i++) {}
  atomic_fetch_sub(&thing->users, 1);
  rc = test_rand(&c->seed) % 5 == 0 ? uvf_objpool_discard(c->pool, object) : uvf_objpool_put(c->pool, object);
  if (rc != 0) c->wrong++;
}

static void count(crowd_t *c, int status) {
  c->failed += status == UV_ECONNREFUSED;
  c->ended += status == UV_ECANCELED || status == UV_EAGAIN;
  if (status != UV_ECONNREFUSED && status != UV_ECANCELED && status != UV_EAGAIN) c->wrong++;
}

static void crowd_go_on(crowd_t *c, note_t *note) {
  if (c->left > 0) {
    c->left--;
    if (uvf_objpool_get(c->ctx, &note->wait, c->pool, on_note) != 0) c->wrong++;
  } else if (--c->active == 0) {
    gate_open(&c->done, 1);
  }
}

static void crowd_told(note_t *note) {
  crowd_t *c = note->arg;
  if (note->status == 0) use(c, note->value);
  if (note->status != 0) count(c, note->status);
  if (test_rand(&c->seed) % 4 == 0) (void)uvf_op_cancel((uvf_op_t *)&c->notes[test_rand(&c->seed) % NOTES].wait);
  if (test_rand(&c->seed) % 64 == 0) { /* all of them, and go on under a new one */
    uvf_ctx_cancel(c->ctx);
    uvf_ctx_release(c->ctx);
    if (uvf_ctx_with_cancel(c->lane->root, &c->ctx) != 0) c->wrong++;
  }
  crowd_go_on(c, note);
}

static void crowd_begin(void *arg) {
  crowd_t *c = arg;
  if (uvf_ctx_with_cancel(c->lane->root, &c->ctx) != 0) c->wrong++;
  c->active = NOTES;
  for (int i = 0; i < NOTES; i++) {
    note_init(&c->notes[i], i, NULL);
    memset(&c->notes[i].wait, 0, sizeof c->notes[i].wait); /* may be cancelled before it was ever started */
    c->notes[i].then = crowd_told;
    c->notes[i].arg = c;
  }
  for (int i = 0; i < NOTES; i++) crowd_go_on(c, &c->notes[i]);
}

static void crowd_block(void *arg) {
  crowd_t *c = arg;
  for (; c->left > 0; c->left--) {
    void *object = NULL;
    int rc = test_rand(&c->seed) % 4 == 0 ? uvf_objpool_try_get(c->pool, &object)
                                          : uvf_objpool_get_wait(c->ctx, c->pool, &object);
    if (rc == 0) use(c, object);
    if (rc != 0) count(c, rc);
  }
}

static void no_object_is_used_twice_or_lost_by_two_loops_and_two_threads_while_some_are_cancelled(void **state) {
  fixture_t *f = *state;
  size_t rounds = test_scaled(20000, 10);
  lane_t lanes[2];
  crowd_t *crowds = calloc(4, sizeof *crowds);
  uint64_t seed = test_seed();
  maker_t maker;
  uvf_objpool_t *pool = pool_of(MAX, &maker);
  assert_non_null(crowds);
  atomic_store(&maker.percent, 30);
  for (int i = 0; i < 4; i++) {
    crowds[i].pool = pool;
    crowds[i].left = rounds;
    crowds[i].seed = test_rand(&seed);
    gate_init(&crowds[i].done);
  }
  for (int i = 0; i < 2; i++) {
    lane_start(&lanes[i]);
    crowds[i].lane = &lanes[i];
    crowds[i + 2].ctx = f->root;
  }
  for (int i = 2; i < 4; i++) assert_int_equal(uv_thread_create(&crowds[i].thread, crowd_block, &crowds[i]), 0);
  for (int i = 0; i < 2; i++) lane_call(&lanes[i], crowd_begin, &crowds[i]);
  for (int i = 0; i < 2; i++) gate_pass(&crowds[i].done);
  for (int i = 2; i < 4; i++) assert_int_equal(uv_thread_join(&crowds[i].thread), 0);
  for (int i = 0; i < 2; i++) {
    uvf_ctx_release(crowds[i].ctx);
    lane_stop(&lanes[i]);
  }
  for (int i = 0; i < 4; i++) {
    assert_int_equal(crowds[i].wrong, 0);
    assert_int_equal(crowds[i].got + crowds[i].failed + crowds[i].ended, rounds); /* each has ended once */
    assert_true(crowds[i].got > 0);
    gate_destroy(&crowds[i].done);
  }
  assert_int_equal(queued(pool), 0);
  assert_true(atomic_load(&maker.made) - atomic_load(&maker.destroyed) <= MAX);
  free(crowds);
  pool_end(pool, &maker);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_get_ends_once_by_whoever_claims_it_first_and_no_object_is_lost),
      unit(a_blocked_thread_ends_once_by_whoever_claims_it),
      unit(under_a_context_that_is_over_nothing_is_made),
      unit(it_may_be_destroyed_in_the_callback_of_its_last_user),
      unit(no_object_is_used_twice_or_lost_by_two_loops_and_two_threads_while_some_are_cancelled),
  };
  return test_run(tests);
}
