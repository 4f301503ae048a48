/* SPDX-License-Identifier: MIT
 *
 * The object pool: what is made, used again and destroyed; who waits and who is next; a create that fails.
 */
#include "unit/test_wait.h"

/* --- objects, which know whether they are alive --- */

#define ALIVE UINT32_C(0xa11fe)
#define DEAD UINT32_C(0xdead)

typedef struct thing_s {
  uint32_t magic;
  atomic_int users;
  uint64_t uses; /* plain: who holds it is alone with it */
} thing_t;

/* What stands behind a pool: counts, and can fail. */
typedef struct maker_s {
  atomic_int made, destroyed, wrong;
  atomic_int fail;    /* so many creates from now on fail */
  atomic_int percent; /* of the others, this many fail as well */
  int fail_with;
  void (*then)(struct maker_s *maker); /* or NULL; inside create */
  void *arg;
  _Atomic(uint64_t) seed;
} maker_t;

static int make_thing(void **object, void *arg) {
  maker_t *maker = arg;
  uint64_t seed = atomic_fetch_add(&maker->seed, UINT64_C(0x9e3779b97f4a7c15)) | 1;
  thing_t *thing;
  if (maker->then != NULL) maker->then(maker);
  *object = maker; /* must not be looked at if it fails */
  if (atomic_load(&maker->fail) > 0 && atomic_fetch_sub(&maker->fail, 1) > 0) return maker->fail_with;
  if ((int)(test_rand(&seed) % 100) < atomic_load(&maker->percent)) return maker->fail_with;
  thing = malloc(sizeof *thing);
  if (thing == NULL) return UV_ENOMEM;
  thing->magic = ALIVE;
  atomic_init(&thing->users, 0);
  thing->uses = 0;
  atomic_fetch_add(&maker->made, 1);
  *object = thing;
  return 0;
}

static void destroy_thing(void *object, void *arg) {
  maker_t *maker = arg;
  thing_t *thing = object;
  if (thing->magic != ALIVE || atomic_load(&thing->users) != 0) atomic_fetch_add(&maker->wrong, 1);
  thing->magic = DEAD;
  atomic_fetch_add(&maker->destroyed, 1);
  free(thing);
}

static void maker_init(maker_t *maker) {
  memset(maker, 0, sizeof *maker);
  maker->fail_with = UV_ECONNREFUSED;
  atomic_init(&maker->seed, 1);
}

/* On the heap, so that a sanitizer sees who touches it afterwards. */
static uvf_pool_t *pool_of(size_t max, maker_t *maker) {
  uvf_pool_t *pool = malloc(sizeof *pool);
  assert_non_null(pool);
  memset(pool, 0xdb, sizeof *pool);
  maker_init(maker);
  assert_int_equal(uvf_pool_init(pool, max, make_thing, destroy_thing, maker), 0);
  return pool;
}

static void pool_end(uvf_pool_t *pool, maker_t *maker) {
  assert_int_equal(uvf_pool_destroy(pool), 0);
  assert_int_equal(atomic_load(&maker->made), atomic_load(&maker->destroyed));
  assert_int_equal(atomic_load(&maker->wrong), 0);
  free(pool);
}

static void *taken_from(uvf_pool_t *pool) {
  void *object = NULL;
  assert_int_equal(uvf_pool_try_get(pool, &object), 0);
  assert_int_equal(((thing_t *)object)->magic, ALIVE);
  return object;
}

static void get(note_t *note, uvf_ctx_t *ctx, uvf_pool_t *pool, int id, journal_t *journal) {
  note_init(note, id, journal);
  assert_int_equal(uvf_pool_get(ctx, &note->wait, pool, on_note), 0);
  assert_int_equal(note->calls, 0); /* never inside */
}

static size_t queued(uvf_pool_t *pool) {
  size_t n = 0;
  uvf__lock(&pool->uvf__lock);
  for (const uvf__waiter_t *w = pool->uvf__waits.first; w != NULL; w = w->next) n++;
  uvf__unlock(&pool->uvf__lock);
  return n;
}

static void pool_cancel_ctx(void *ctx) { uvf_ctx_cancel(ctx); }

/* --- make, use again, destroy --- */

static void objects_are_made_up_to_max_and_used_again_the_last_one_back_first(void **state) {
  maker_t maker;
  uvf_pool_t *pool = pool_of(3, &maker);
  void *things[3];
  void *object = &maker;
  (void)state;
  assert_int_equal(atomic_load(&maker.made), 0); /* nothing before it is wanted */
  for (int i = 0; i < 3; i++) things[i] = taken_from(pool);
  assert_int_equal(atomic_load(&maker.made), 3);
  assert_int_equal(uvf_pool_try_get(pool, &object), UV_EAGAIN);
  assert_ptr_equal(object, &maker);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_pool_put(pool, things[i]), 0);
  for (int i = 2; i >= 0; i--) assert_ptr_equal(taken_from(pool), things[i]);
  assert_int_equal(atomic_load(&maker.made), 3);
  assert_int_equal(uvf_pool_discard(pool, things[1]), 0);
  assert_int_equal(atomic_load(&maker.destroyed), 1);
  assert_int_equal(atomic_load(&maker.made), 3); /* nobody waits: none is made */
  things[1] = taken_from(pool);
  assert_int_equal(atomic_load(&maker.made), 4);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_pool_put(pool, things[i]), 0);
  pool_end(pool, &maker);
}

static void a_get_brings_the_object_in_its_wait_and_never_inside(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t *pool = pool_of(1, &maker);
  note_t note;
  for (int i = 0; i < 2; i++) { /* a new one, and an idle one */
    get(&note, f->root, pool, 0, NULL);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)&note.wait), UV_EBUSY);
    run_until(&f->loop, &note.calls, 1);
    assert_noted(&note, 0);
    assert_int_equal(((thing_t *)note.value)->magic, ALIVE);
    assert_int_equal(uvf_pool_put(pool, note.value), 0);
  }
  assert_int_equal(atomic_load(&maker.made), 1);
  pool_end(pool, &maker);
}

static int block_for_one(uvf_ctx_t *ctx, void *pool) {
  void *object = NULL;
  int rc = uvf_pool_get_wait(ctx, pool, &object);
  if (rc != 0) return object == NULL ? rc : UV_EPROTO;
  if (((thing_t *)object)->magic != ALIVE) return UV_EPROTO;
  return uvf_pool_put(pool, object);
}

static void they_are_served_in_the_order_they_came_requests_and_threads_alike(void **state) {
  enum { N = 6 };
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t *pool = pool_of(1, &maker);
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
    assert_int_equal(uvf_pool_try_get(pool, &other), UV_EAGAIN);
  }
  assert_int_equal(uvf_pool_put(pool, object), 0);
  for (int i = 0; i < N; i++) {
    if (i % 2) {
      assert_int_equal(blocked_join(&b[i]), 0);
      continue;
    }
    run_until(&f->loop, &notes[i].calls, 1);
    assert_noted(&notes[i], 0);
    assert_ptr_equal(notes[i].value, object); /* handed on, the same */
    if (i + 2 < N) assert_int_equal(notes[i + 2].calls, 0);
    assert_int_equal(uvf_pool_try_get(pool, &other), UV_EAGAIN);
    assert_int_equal(uvf_pool_put(pool, object), 0);
  }
  assert_int_equal(atomic_load(&maker.made), 1);
  pool_end(pool, &maker);
}

static void what_is_put_back_belongs_to_the_first_that_waits_from_then_on(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t *pool = pool_of(1, &maker);
  void *object = taken_from(pool), *other;
  note_t first, second;
  get(&first, f->root, pool, 0, NULL);
  get(&second, f->root, pool, 1, NULL);
  assert_int_equal(uvf_pool_put(pool, object), 0);
  assert_int_equal(queued(pool), 1);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&first.wait), UV_EBUSY);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&second.wait), 0);
  assert_int_equal(uvf_pool_try_get(pool, &other), UV_EAGAIN);
  run_until(&f->loop, &second.calls, 1);
  assert_noted(&first, 0);
  assert_ptr_equal(first.value, object);
  assert_noted(&second, UV_ECANCELED);
  assert_null(second.value);
  assert_int_equal(uvf_pool_put(pool, object), 0);
  pool_end(pool, &maker);
}

/* --- a create that fails --- */

static void a_create_that_fails_fails_that_one_get_and_leaves_its_place_free(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t *pool = pool_of(1, &maker);
  void *object = &maker;
  note_t note;
  blocked_t b;
  atomic_store(&maker.fail, 3);
  assert_int_equal(uvf_pool_try_get(pool, &object), UV_ECONNREFUSED);
  assert_ptr_equal(object, &maker);
  get(&note, f->root, pool, 0, NULL);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, UV_ECONNREFUSED);
  assert_null(note.value);
  blocked_start(&b, f->root, block_for_one, pool);
  assert_int_equal(blocked_join(&b), UV_ECONNREFUSED);
  assert_int_equal(uvf_pool_put(pool, taken_from(pool)), 0);
  pool_end(pool, &maker);
}

static void get_one_more(maker_t *maker) {
  note_t *note = maker->arg;
  maker->then = NULL;
  if (uvf_pool_get(note->wait.ctx, &note[1].wait, note->arg, on_note) != 0) abort();
}

/* While it is made its place is taken: who comes meanwhile waits, and has the place when it has failed. */
static void a_place_that_comes_free_by_a_failure_is_the_next_waiters(void **state) {
  fixture_t *f = *state;
  for (int fails = 1; fails <= 2; fails++) {
    maker_t maker;
    uvf_pool_t *pool = pool_of(1, &maker);
    note_t notes[2];
    for (int i = 0; i < 2; i++) note_init(&notes[i], i, NULL);
    notes[0].arg = pool;
    maker.then = get_one_more;
    maker.arg = notes;
    atomic_store(&maker.fail, fails);
    assert_int_equal(uvf_pool_get(f->root, &notes[0].wait, pool, on_note), 0);
    assert_int_equal(queued(pool), 0);
    run_until(&f->loop, &notes[1].calls, 1);
    assert_noted(&notes[0], UV_ECONNREFUSED);
    assert_noted(&notes[1], fails == 2 ? UV_ECONNREFUSED : 0);
    assert_int_equal(atomic_load(&maker.made), fails == 2 ? 0 : 1);
    if (fails == 1) assert_int_equal(uvf_pool_put(pool, notes[1].value), 0);
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
    uvf_pool_t *pool = pool_of(1, &maker);
    uvf_ctx_t *ctx = child_of(f->root);
    note_t note;
    note_init(&note, 0, NULL);
    maker.then = cancel_inside;
    maker.arg = &note;
    atomic_store(&maker.fail, fails);
    assert_int_equal(uvf_pool_get(ctx, &note.wait, pool, on_note), 0);
    assert_int_equal(note.id, UV_EBUSY);
    run_until(&f->loop, &note.calls, 1);
    assert_noted(&note, fails ? UV_ECONNREFUSED : 0);
    if (!fails) assert_int_equal(uvf_pool_put(pool, note.value), 0);
    uvf_ctx_release(ctx);
    pool_end(pool, &maker);
  }
}

/* --- discard --- */

static void for_one_that_is_broken_the_first_waiter_gets_a_new_one(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t *pool = pool_of(1, &maker);
  void *object = taken_from(pool);
  note_t notes[2];
  for (int i = 0; i < 2; i++) get(&notes[i], f->root, pool, i, NULL);
  assert_int_equal(uvf_pool_discard(pool, object), 0);
  assert_int_equal(atomic_load(&maker.destroyed), 1);
  assert_int_equal(atomic_load(&maker.made), 2); /* inside the call */
  assert_int_equal(queued(pool), 1);
  run_until(&f->loop, &notes[0].calls, 1);
  assert_noted(&notes[0], 0);
  assert_int_equal(uvf_pool_put(pool, notes[0].value), 0);
  run_until(&f->loop, &notes[1].calls, 1);
  assert_noted(&notes[1], 0);
  assert_int_equal(uvf_pool_put(pool, notes[1].value), 0);
  pool_end(pool, &maker);
}

static void each_failure_is_told_to_one_waiter_until_one_has_an_object(void **state) {
  enum { N = 5 };
  fixture_t *f = *state;
  for (int fails = 0; fails <= N; fails++) {
    maker_t maker;
    uvf_pool_t *pool = pool_of(1, &maker);
    uvf_ctx_t *ctx = child_of(f->root);
    void *object = taken_from(pool);
    note_t notes[N], over;
    get(&over, ctx, pool, 0, NULL);
    for (int i = 0; i < N; i++) get(&notes[i], f->root, pool, i, NULL);
    on_thread(pool_cancel_ctx, ctx); /* its loop does not know yet: it is passed by */
    atomic_store(&maker.fail, fails);
    assert_int_equal(uvf_pool_discard(pool, object), 0);
    assert_int_equal(queued(pool), fails < N ? N - 1 - fails : 0);
    turn(&f->loop);
    assert_noted(&over, UV_ECANCELED);
    for (int i = 0; i < fails; i++) assert_noted(&notes[i], UV_ECONNREFUSED);
    for (int i = fails; i < N; i++) {
      assert_noted(&notes[i], 0);
      assert_int_equal(uvf_pool_put(pool, notes[i].value), 0);
      turn(&f->loop);
    }
    uvf_ctx_release(ctx);
    pool_end(pool, &maker);
  }
}

/* --- who claims it --- */

enum { BY_PUT, BY_PUT_FAR, BY_DISCARD, BY_CANCEL, BY_CONTEXT, BY_CONTEXT_FAR, BY_DEADLINE, BY_CLOSE, WAYS };

typedef struct stage_s {
  fixture_t *f;
  maker_t maker;
  uvf_pool_t *pool;
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
  if (uvf_pool_put(s->pool, s->object) != 0) abort();
}

static int is_put(int way) { return way <= BY_DISCARD; }

/* None of these lets the loop turn: the claim is made, or could be, and nobody was told. */
static int act(stage_t *s, int way) {
  switch (way) {
    case BY_PUT: put_object(s); return 0;
    case BY_PUT_FAR: on_thread(put_object, s); return 0;
    case BY_DISCARD: return uvf_pool_discard(s->pool, s->object);
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
      assert_int_equal(uvf_pool_put(s.pool, s.note.value), 0);
    } else {
      assert_null(s.note.value);
      if (!is_put(second)) assert_int_equal(uvf_pool_put(s.pool, s.object), 0);
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
    if (!is_put(way)) assert_int_equal(uvf_pool_put(s.pool, s.object), 0);
    stage_close(&s);
  }
}

static void under_a_context_that_is_over_nothing_is_made(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t *pool = pool_of(1, &maker);
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

/* --- refusals --- */

typedef struct misuse_s {
  uvf_pool_t *pool;
  void *object;
  uvf_ctx_t *ctx;
  note_t *note;
  int rc;
} misuse_t;

static void misuse_put(void *arg) { ((misuse_t *)arg)->rc = uvf_pool_put(((misuse_t *)arg)->pool, arg); }
static void misuse_discard(void *arg) { ((misuse_t *)arg)->rc = uvf_pool_discard(((misuse_t *)arg)->pool, arg); }
static void misuse_destroy(void *arg) { ((misuse_t *)arg)->rc = uvf_pool_destroy(((misuse_t *)arg)->pool); }
static void misuse_block(void *arg) {
  misuse_t *m = arg;
  m->rc = uvf_pool_get_wait(m->ctx, m->pool, &m->object);
}
static void misuse_start(void *arg) {
  misuse_t *m = arg;
  m->rc = uvf_pool_get(m->ctx, &m->note->wait, m->pool, on_note);
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
  uvf_pool_t *pool = pool_of(2, &maker);
  note_t note;
  misuse_t m = {pool, NULL, f->root, &note, 1};
  void *object;
  turn(&f->loop);
  assert_misuse(misuse_put, &m, UV_EINVAL, "uvf_pool_put: ");
  assert_misuse(misuse_discard, &m, UV_EINVAL, "uvf_pool_discard: ");
  assert_int_equal(uvf_pool_put(pool, taken_from(pool)), 0);
  assert_misuse(misuse_put, &m, UV_EINVAL, "uvf_pool_put: "); /* one is idle, none is out */
  assert_misuse(misuse_discard, &m, UV_EINVAL, "uvf_pool_discard: ");
  assert_int_equal(atomic_load(&maker.destroyed), 0);
  object = taken_from(pool);
  assert_misuse(misuse_destroy, &m, UV_EBUSY, "uvf_pool_destroy: ");
  assert_int_equal(uvf_pool_put(pool, object), 0);
  object = taken_from(pool);
  m.object = taken_from(pool);
  assert_misuse(misuse_block, &m, UV_EPERM, "uvf_pool_get_wait: ");
  get(&note, f->root, pool, 0, NULL);
  if (test_rules_on()) assert_misuse(misuse_start, &m, 0, "uvf_pool_get: ");
  assert_int_equal(uvf_pool_put(pool, object), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, 0);
  assert_int_equal(uvf_pool_put(pool, note.value), 0);
  assert_int_equal(uvf_pool_put(pool, m.object), 0);
  pool_end(pool, &maker);
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t *pool = pool_of(1, &maker);
  uvf_pool_t other;
  void *object;
  note_t note;
  note_init(&note, 0, NULL);
  assert_int_equal(uvf_pool_init(NULL, 1, make_thing, destroy_thing, &maker), UV_EINVAL);
  assert_int_equal(uvf_pool_init(&other, 0, make_thing, destroy_thing, &maker), UV_EINVAL);
  assert_int_equal(uvf_pool_init(&other, 1, NULL, destroy_thing, &maker), UV_EINVAL);
  assert_int_equal(uvf_pool_init(&other, 1, make_thing, NULL, &maker), UV_EINVAL);
  assert_int_equal(uvf_pool_init(&other, SIZE_MAX, make_thing, destroy_thing, &maker), UV_ENOMEM);
  assert_int_equal(uvf_pool_destroy(NULL), UV_EINVAL);
  assert_int_equal(uvf_pool_put(NULL, &note), UV_EINVAL);
  assert_int_equal(uvf_pool_discard(NULL, &note), UV_EINVAL);
  assert_int_equal(uvf_pool_try_get(NULL, &object), UV_EINVAL);
  assert_int_equal(uvf_pool_try_get(pool, NULL), UV_EINVAL);
  assert_int_equal(uvf_pool_get(NULL, &note.wait, pool, on_note), UV_EINVAL);
  assert_int_equal(uvf_pool_get(f->root, NULL, pool, on_note), UV_EINVAL);
  assert_int_equal(uvf_pool_get(f->root, &note.wait, NULL, on_note), UV_EINVAL);
  assert_int_equal(uvf_pool_get(f->root, &note.wait, pool, NULL), UV_EINVAL);
  assert_int_equal(uvf_pool_get_wait(NULL, pool, &object), UV_EINVAL);
  assert_int_equal(uvf_pool_get_wait(f->root, NULL, &object), UV_EINVAL);
  assert_int_equal(uvf_pool_get_wait(f->root, pool, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  pool_end(pool, &maker);
}

static void only_init_allocates_and_without_memory_nothing_happens(void **state) {
  fixture_t *f = *state;
  maker_t maker;
  uvf_pool_t other, *pool;
  size_t allocations, live = test_alloc_live();
  note_t notes[3];
  void *object;
  memset(&other, 0xdb, sizeof other);
  test_alloc_fail_at(1);
  assert_int_equal(uvf_pool_init(&other, 4, make_thing, destroy_thing, &maker), UV_ENOMEM);
  assert_true(test_alloc_failed());
  test_alloc_fail_at(0);
  assert_int_equal(test_alloc_live(), live);
  pool = pool_of(1, &maker);
  object = taken_from(pool);
  turn(&f->loop);
  allocations = test_alloc_count();
  for (int i = 0; i < 3; i++) get(&notes[i], f->root, pool, i, NULL);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&notes[1].wait), 0);
  assert_int_equal(uvf_pool_put(pool, object), 0);
  turn(&f->loop);
  assert_int_equal(uvf_pool_discard(pool, notes[0].value), 0);
  turn(&f->loop);
  assert_int_equal(uvf_pool_put(pool, notes[2].value), 0);
  assert_int_equal(test_alloc_count(), allocations);
  pool_end(pool, &maker);
  assert_int_equal(test_alloc_live(), live);
}

/* --- its memory goes in the last callback --- */

static void put_and_free(note_t *note) {
  uvf_pool_t *pool = note->arg;
  if (note->status == 0) note->status = uvf_pool_put(pool, note->value);
  if (note->status == 0 || note->status == UV_ECONNREFUSED) note->id = uvf_pool_destroy(pool);
  memset(pool, 0xdb, sizeof *pool);
  free(pool);
}

static void discard_object(void *arg) {
  stage_t *s = arg;
  if (uvf_pool_discard(s->pool, s->object) != 0) abort();
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
    assert_int_equal(uvf_pool_get(f->root, &s.note.wait, s.pool, on_note), 0);
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
  uvf_pool_t *pool;
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
  rc = test_rand(&c->seed) % 5 == 0 ? uvf_pool_discard(c->pool, object) : uvf_pool_put(c->pool, object);
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
    if (uvf_pool_get(c->ctx, &note->wait, c->pool, on_note) != 0) c->wrong++;
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
    int rc =
        test_rand(&c->seed) % 4 == 0 ? uvf_pool_try_get(c->pool, &object) : uvf_pool_get_wait(c->ctx, c->pool, &object);
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
  uvf_pool_t *pool = pool_of(MAX, &maker);
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
      unit(objects_are_made_up_to_max_and_used_again_the_last_one_back_first),
      unit(a_get_brings_the_object_in_its_wait_and_never_inside),
      unit(they_are_served_in_the_order_they_came_requests_and_threads_alike),
      unit(what_is_put_back_belongs_to_the_first_that_waits_from_then_on),
      unit(a_create_that_fails_fails_that_one_get_and_leaves_its_place_free),
      unit(a_place_that_comes_free_by_a_failure_is_the_next_waiters),
      unit(a_create_may_cancel_what_it_likes_the_get_it_runs_for_is_decided),
      unit(for_one_that_is_broken_the_first_waiter_gets_a_new_one),
      unit(each_failure_is_told_to_one_waiter_until_one_has_an_object),
      unit(a_get_ends_once_by_whoever_claims_it_first_and_no_object_is_lost),
      unit(a_blocked_thread_ends_once_by_whoever_claims_it),
      unit(under_a_context_that_is_over_nothing_is_made),
      unit(misuse_is_named_and_changes_nothing),
      unit(null_arguments_are_refused),
      unit(only_init_allocates_and_without_memory_nothing_happens),
      unit(it_may_be_destroyed_in_the_callback_of_its_last_user),
      unit(no_object_is_used_twice_or_lost_by_two_loops_and_two_threads_while_some_are_cancelled),
  };
  return test_run(tests);
}
