/* SPDX-License-Identifier: MIT
 *
 * The rwlock: its writers as a lock, and readers among them.
 */
#include "unit/test_lock.h"

static int init(void *o) { return uvf_rwlock_init(o); }
static int destroy(void *o) { return uvf_rwlock_destroy(o); }
static int start(uvf_ctx_t *ctx, uvf_wait_t *wait, void *o, uvf_wait_cb cb) {
  return uvf_rwlock_wrlock(ctx, wait, (uvf_rwlock_t *)o, cb);
}
static int block(uvf_ctx_t *ctx, void *o) { return uvf_rwlock_wrlock_wait(ctx, o); }
static int attempt(void *o) { return uvf_rwlock_try_wrlock(o); }
static int release(void *o) { return uvf_rwlock_wrunlock(o); }
static size_t queued(void *o) {
  uvf_rwlock_t *rw = o;
  return queue_length(&rw->uvf__lock, &rw->uvf__waits);
}

static const lock_t write_lock = {"uvf_rwlock_", sizeof(uvf_rwlock_t), init, destroy, start, block, attempt, release,
                                  queued};

enum { READ, WRITE };

static void ask(note_t *note, int id, journal_t *journal, uvf_ctx_t *ctx, uvf_rwlock_t *rw, int kind) {
  note_init(note, id, journal);
  if (kind == READ) {
    assert_int_equal(uvf_rwlock_rdlock(ctx, &note->wait, rw, on_note), 0);
  } else {
    assert_int_equal(uvf_rwlock_wrlock(ctx, &note->wait, rw, on_note), 0);
  }
}

static void readers_are_in_together_and_a_writer_alone(void **state) {
  fixture_t *f = *state;
  uvf_rwlock_t *rw = object_new();
  note_t notes[3];
  for (int i = 0; i < 3; i++) ask(&notes[i], i, NULL, f->root, rw, READ);
  assert_int_equal(uvf_rwlock_try_rdlock(rw), 0);
  assert_int_equal(uvf_rwlock_try_wrlock(rw), UV_EAGAIN);
  run_until(&f->loop, &notes[2].calls, 1);
  for (int i = 0; i < 3; i++) assert_told(&notes[i], 0);
  for (int i = 0; i < 4; i++) {
    assert_int_equal(uvf_rwlock_try_wrlock(rw), UV_EAGAIN); /* until the last is out */
    assert_int_equal(uvf_rwlock_rdunlock(rw), 0);
  }
  assert_int_equal(uvf_rwlock_try_wrlock(rw), 0);
  assert_int_equal(uvf_rwlock_try_wrlock(rw), UV_EAGAIN);
  assert_int_equal(uvf_rwlock_try_rdlock(rw), UV_EAGAIN);
  assert_int_equal(uvf_rwlock_wrunlock(rw), 0);
  object_free(rw);
}

/* r0 r1 | w2 | r3 r4 | w5 | w6 | r7: each group when the one before it is out. */
static void a_writer_that_waits_holds_up_later_readers_and_they_go_in_together_behind_it(void **state) {
  fixture_t *f = *state;
  static const int kinds_asked[] = {READ, READ, WRITE, READ, READ, WRITE, WRITE, READ};
  static const int group_ends[] = {2, 3, 5, 6, 7, 8};
  uvf_rwlock_t *rw = object_new();
  journal_t journal = {0};
  note_t notes[ARRAY_SIZE(kinds_asked)];
  int in = 0;
  for (int i = 0; i < (int)ARRAY_SIZE(kinds_asked); i++) ask(&notes[i], i, &journal, f->root, rw, kinds_asked[i]);
  for (size_t g = 0; g < ARRAY_SIZE(group_ends); g++) {
    turn(&f->loop);
    assert_int_equal(journal.n, group_ends[g]);
    if (g + 1 < ARRAY_SIZE(group_ends)) assert_int_equal(uvf_rwlock_try_rdlock(rw), UV_EAGAIN); /* somebody waits */
    for (; in < group_ends[g]; in++) {
      assert_int_equal(journal.id[in], in);
      assert_int_equal(queued(rw), ARRAY_SIZE(kinds_asked) - (size_t)group_ends[g]); /* not before the last is out */
      assert_int_equal(kinds_asked[in] == READ ? uvf_rwlock_rdunlock(rw) : uvf_rwlock_wrunlock(rw), 0);
    }
  }
  for (size_t i = 0; i < ARRAY_SIZE(kinds_asked); i++) assert_told(&notes[i], 0);
  object_free(rw);
}

static void a_writer_that_is_ended_lets_the_readers_behind_it_in(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < 4; way++) {
    uvf_rwlock_t *rw = object_new();
    uvf_ctx_t *ctx = way == 2 ? timeout_of(f->root, 3) : child_of(f->root);
    note_t writer, readers[2], last;
    assert_int_equal(uvf_rwlock_try_rdlock(rw), 0);
    ask(&writer, 0, NULL, ctx, rw, WRITE);
    for (int i = 0; i < 2; i++) ask(&readers[i], i, NULL, f->root, rw, READ);
    ask(&last, 3, NULL, f->root, rw, WRITE);
    if (way == 0) assert_int_equal(uvf_op_cancel(note_op(&writer)), 0);
    if (way == 1) uvf_ctx_cancel(ctx);
    if (way == 3) on_thread(cancel_ctx, ctx);
    run_until(&f->loop, &writer.calls, 1);
    run_until(&f->loop, &readers[1].calls, 1);
    assert_told(&writer, way == 2 ? UV_ETIMEDOUT : UV_ECANCELED);
    for (int i = 0; i < 2; i++) assert_told(&readers[i], 0);
    for (int i = 0; i < 3; i++) {
      assert_int_equal(last.calls, 0);
      assert_int_equal(queued(rw), 1);
      assert_int_equal(uvf_rwlock_rdunlock(rw), 0);
    }
    run_until(&f->loop, &last.calls, 1);
    assert_int_equal(uvf_rwlock_wrunlock(rw), 0);
    uvf_ctx_release(ctx);
    object_free(rw);
  }
}

/* The rows of the exactly-once table, for a reader behind a writer. */
static void a_reader_that_waits_ends_once_by_whoever_claims_it(void **state) {
  for (int i = 0; i < WAYS * WAYS; i++) {
    int first = i / WAYS, second = i % WAYS;
    stage_t s;
    if (first == BY_CLOSE && (second == BY_CONTEXT || second == BY_OTHER_THREAD)) continue;
    stage_open(&s, *state, first == BY_DEADLINE || second == BY_DEADLINE);
    assert_int_equal(uvf_rwlock_rdlock(s.ctx, &s.note.wait, (uvf_rwlock_t *)s.object, on_note), 0);
    stage_act(&s, first);
    if (first != second) stage_act(&s, second);
    assert_int_equal(s.note.calls, 0);
    run_until(&s.f->loop, &s.note.calls, 1);
    turn(&s.f->loop);
    assert_told(&s.note, status_by(first));
    if (first == BY_RELEASE) {
      assert_int_equal(uvf_rwlock_rdunlock(s.object), 0);
    } else if (second != BY_RELEASE) {
      assert_int_equal(uvf_rwlock_wrunlock(s.object), 0);
    }
    stage_close(&s);
  }
}

static int rd_block(uvf_ctx_t *ctx, void *o) { return uvf_rwlock_rdlock_wait(ctx, o); }

static void blocked_readers_and_requests_are_let_in_together(void **state) {
  fixture_t *f = *state;
  uvf_rwlock_t *rw = object_new();
  uvf_ctx_t *ctx = timeout_of(f->root, 10);
  blocker_t threads[3];
  note_t note;
  assert_int_equal(uvf_rwlock_try_wrlock(rw), 0);
  for (int i = 0; i < 3; i++) {
    memset(&threads[i], 0, sizeof threads[i]);
    threads[i].ctx = i == 2 ? ctx : f->root;
    threads[i].object = rw;
    threads[i].block = rd_block;
    assert_int_equal(uv_thread_create(&threads[i].thread, blocker_main, &threads[i]), 0);
  }
  assert_int_equal(blocker_join(&threads[2]), UV_ETIMEDOUT); /* the loop is stuck here */
  await_queued(queued, rw, 2);
  ask(&note, 0, NULL, f->root, rw, READ);
  assert_int_equal(uvf_rwlock_wrunlock(rw), 0);
  for (int i = 0; i < 2; i++) assert_int_equal(blocker_join(&threads[i]), 0);
  run_until(&f->loop, &note.calls, 1);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_rwlock_rdunlock(rw), 0);
  uvf_ctx_release(ctx);
  object_free(rw);
}

static int rdunlock(void *o) { return uvf_rwlock_rdunlock(o); }

static void readers_misuse(void **state) {
  fixture_t *f = *state;
  uvf_rwlock_t *rw = object_new();
  note_t note;
  misuse_t m = {rw, NULL, NULL, rdunlock, 1};
  note_init(&note, 0, NULL);
  assert_misuse(misuse_call, &m, UV_EINVAL, "uvf_rwlock_rdunlock"); /* nobody is in */
  assert_int_equal(uvf_rwlock_try_wrlock(rw), 0);
  assert_misuse(misuse_call, &m, UV_EINVAL, "uvf_rwlock_rdunlock"); /* a writer is */
  assert_int_equal(uvf_rwlock_wrunlock(rw), 0);
  assert_int_equal(uvf_rwlock_try_rdlock(rw), 0);
  m.call = release;
  assert_misuse(misuse_call, &m, UV_EINVAL, "uvf_rwlock_wrunlock"); /* a reader is */
  m.call = destroy;
  assert_misuse(misuse_call, &m, UV_EBUSY, "uvf_rwlock_destroy");
  assert_int_equal(uvf_rwlock_rdunlock(rw), 0);
  assert_int_equal(uvf_rwlock_rdunlock(NULL), UV_EINVAL);
  assert_int_equal(uvf_rwlock_try_rdlock(NULL), UV_EINVAL);
  assert_int_equal(uvf_rwlock_rdlock(f->root, &note.wait, NULL, on_note), UV_EINVAL);
  assert_int_equal(uvf_rwlock_rdlock(f->root, &note.wait, rw, NULL), UV_EINVAL);
  assert_int_equal(uvf_rwlock_rdlock_wait(NULL, rw), UV_EINVAL);
  assert_int_equal(uvf_rwlock_rdlock_wait(f->root, NULL), UV_EINVAL);
  object_free(rw);
}

/* --- hammered --- */

/* Two plain counters that a writer moves one after the other: a reader must see them equal. */
typedef struct pair_s {
  uvf_rwlock_t *rw;
  uvf_ctx_t *ctx;
  uint64_t *pair;
  uint64_t seed;
  size_t rounds, writes;
  int wrong;
} pair_t;

static void pair_run(void *arg) {
  pair_t *p = arg;
  for (size_t i = 0; i < p->rounds; i++) {
    int try_it = test_rand(&p->seed) % 4 == 0;
    if (test_rand(&p->seed) % 4 == 0) {
      int rc = try_it ? uvf_rwlock_try_wrlock(p->rw) : uvf_rwlock_wrlock_wait(p->ctx, p->rw);
      if (rc == UV_EAGAIN) continue;
      p->pair[0]++;
      for (volatile int k = 0; k < 20; k++) {}
      p->pair[1]++;
      p->writes++;
      if (rc != 0 || uvf_rwlock_wrunlock(p->rw) != 0) p->wrong++;
    } else {
      int rc = try_it ? uvf_rwlock_try_rdlock(p->rw) : uvf_rwlock_rdlock_wait(p->ctx, p->rw);
      if (rc == UV_EAGAIN) continue;
      if (rc != 0 || p->pair[0] != p->pair[1]) p->wrong++;
      if (uvf_rwlock_rdunlock(p->rw) != 0) p->wrong++;
    }
  }
}

static void readers_never_see_what_a_writer_has_half_done(void **state) {
  enum { N = 4 };
  fixture_t *f = *state;
  uint64_t seed = test_seed(), pair[2] = {0, 0}, writes = 0;
  uvf_rwlock_t *rw = object_new();
  uv_thread_t threads[N];
  pair_t pairs[N];
  for (int i = 0; i < N; i++) {
    pairs[i] = (pair_t){rw, f->root, pair, test_rand(&seed), test_scaled(20000, 10), 0, 0};
    assert_int_equal(uv_thread_create(&threads[i], pair_run, &pairs[i]), 0);
  }
  for (int i = 0; i < N; i++) {
    assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(pairs[i].wrong, 0);
    writes += pairs[i].writes;
  }
  assert_true(writes > 0);
  assert_int_equal(pair[0], writes);
  assert_int_equal(pair[1], writes);
  object_free(rw);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LOCK_TESTS,
      unit(readers_are_in_together_and_a_writer_alone),
      unit(a_writer_that_waits_holds_up_later_readers_and_they_go_in_together_behind_it),
      unit(a_writer_that_is_ended_lets_the_readers_behind_it_in),
      unit(a_reader_that_waits_ends_once_by_whoever_claims_it),
      unit(blocked_readers_and_requests_are_let_in_together),
      unit(readers_misuse),
      unit(readers_never_see_what_a_writer_has_half_done),
  };
  lock = &write_lock;
  return test_run(tests);
}
