/* SPDX-License-Identifier: MIT
 *
 * Waits on a condition that end otherwise than by the mutex, in either queue: told once, the mutex not theirs, and a
 * signal they had got gone on.
 */
#include "unit/test_condition.h"

/* --- who claims it --- */

enum { ASLEEP, SIGNALLED, BROADCAST, STATES };

typedef struct scene_s {
  fixture_t *f;
  pair_t *p;
  uvf_ctx_t *root, *ctx;
  note_t note;
  int closed;
} scene_t;

static scene_t *in_scene;

static void scene_closed(uvf_ctx_t *root) {
  (void)root;
  in_scene->closed++;
}

static void scene_open(scene_t *s, fixture_t *f, int deadline) {
  memset(s, 0, sizeof *s);
  in_scene = s;
  s->f = f;
  s->p = pair_new();
  assert_int_equal(uvf_ctx_background(&f->loop, &s->root), 0);
  s->ctx = timeout_of(s->root, deadline ? 5 : HOUR_MS);
}

static void scene_close(scene_t *s) {
  uvf_ctx_release(s->ctx);
  if (s->root != NULL) uvf_ctx_close(s->root, scene_closed);
  run_until(&s->f->loop, &s->closed, 1);
  pair_free(s->p);
}

/* How a wait is ended otherwise than by the mutex; no turn of the loop. */
static int scene_act(scene_t *s, int way) {
  switch (way) {
    case BY_CANCEL: return uvf_op_cancel(note_op(&s->note));
    case BY_CONTEXT: uvf_ctx_cancel(s->ctx); return 0;
    case BY_OTHER_THREAD: on_thread(cancel_ctx, s->ctx); return 0;
    case BY_DEADLINE:
      while (uv_hrtime() <= uvf_ctx_deadline_ns(s->ctx)) {}
      uvf__hub_run_deadlines(uvf__ctx_hub(s->ctx));
      return 0;
    default:
      uvf_ctx_close(s->root, scene_closed);
      s->root = NULL;
      return 0;
  }
}

/* The mutex is held, and somebody is in line before the one that was woken by a broadcast; `other` came later. */
static void broadcast_and_come_later(scene_t *s, note_t *keeper, note_t *other) {
  note_init(keeper, 2, NULL);
  note_init(other, 1, NULL);
  assert_int_equal(uvf_mutex_lock(s->f->root, &keeper->wait, &s->p->mutex, on_note), 0);
  assert_int_equal(uvf_cond_broadcast(&s->p->cond), 0);
  assert_int_equal(uvf_cond_wait(s->f->root, &other->wait, &s->p->cond, on_note), 0);
  assert_int_equal(mutex_queued(s->p), 1);
}

static void a_wait_that_is_ended_has_not_the_mutex_and_a_signal_it_had_got_goes_on(void **state) {
  for (int i = 0; i < STATES * WAYS; i++) {
    int how = i / WAYS, way = i % WAYS;
    scene_t s;
    note_t other, keeper;
    if (way == BY_RELEASE) continue;
    scene_open(&s, *state, way == BY_DEADLINE);
    wait_start(&s.note, 0, NULL, s.ctx, s.p);
    if (how != BROADCAST) wait_start(&other, 1, NULL, s.f->root, s.p);
    assert_int_equal(uvf_mutex_try_lock(&s.p->mutex), 0);
    if (how == SIGNALLED) assert_int_equal(uvf_cond_signal(&s.p->cond), 0);
    if (how == BROADCAST) broadcast_and_come_later(&s, &keeper, &other);
    assert_int_equal(scene_act(&s, way), 0);
    assert_int_equal(s.note.calls, 0);
    run_until(&s.f->loop, &s.note.calls, 1);
    turn(&s.f->loop);
    assert_told(&s.note, status_by(way));
    assert_int_equal(other.calls, 0);
    assert_int_equal(queued(s.p), how == SIGNALLED ? 0 : 1); /* passed on: only where it was for one, and had come */
    assert_int_equal(mutex_queued(s.p), how == SIGNALLED ? 1 : 0);
    unlock(s.p);
    if (how != SIGNALLED) {
      assert_true(is_free(s.p));
      assert_int_equal(uvf_cond_signal(&s.p->cond), 0);
    }
    run_until(&s.f->loop, &other.calls, 1);
    assert_told(&other, 0);
    unlock(s.p);
    scene_close(&s);
  }
}

/* In line for the mutex behind `first`, in front of nobody, while others sleep: both lines stay whole without it. */
static void one_that_leaves_the_line_for_the_mutex_leaves_both_queues_whole(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  journal_t journal = {0};
  note_t over, asleep[3], first, last;
  wait_start(&over, 0, NULL, f->root, p);
  for (int i = 0; i < 2; i++) wait_start(&asleep[i], 10 + i, &journal, f->root, p);
  note_init(&first, 1, &journal);
  note_init(&last, 2, &journal);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_mutex_lock(f->root, &first.wait, &p->mutex, on_note), 0);
  assert_int_equal(uvf_cond_signal(&p->cond), 0);
  assert_int_equal(uvf_op_cancel(note_op(&over)), 0);
  assert_int_equal(mutex_queued(p), 1);
  run_until(&f->loop, &over.calls, 1);
  memset(&over, 0xdb, sizeof over);
  assert_int_equal(mutex_queued(p), 2); /* the first that slept has its signal */
  assert_int_equal(uvf_mutex_lock(f->root, &last.wait, &p->mutex, on_note), 0);
  note_init(&asleep[2], 12, &journal);
  assert_int_equal(uvf_cond_wait(f->root, &asleep[2].wait, &p->cond, on_note), 0); /* gives the mutex to `first` */
  assert_int_equal(queued(p), 2);
  assert_int_equal(uvf_cond_broadcast(&p->cond), 0);
  for (int i = 0; i < 5; i++) {
    turn(&f->loop);
    assert_int_equal(journal.n, i + 1);
    unlock(p);
  }
  assert_journal(&journal, 1, 10, 2, 11, 12);
  pair_free(p);
}

static void the_mutex_first_then_an_end_too_late_changes_nothing(void **state) {
  for (int way = BY_CANCEL; way < WAYS; way++) {
    scene_t s;
    scene_open(&s, *state, way == BY_DEADLINE);
    wait_start(&s.note, 0, NULL, s.ctx, s.p);
    assert_int_equal(uvf_cond_signal(&s.p->cond), 0);
    assert_int_equal(scene_act(&s, way), way == BY_CANCEL ? UV_EBUSY : 0);
    run_until(&s.f->loop, &s.note.calls, 1);
    turn(&s.f->loop);
    assert_told(&s.note, 0);
    assert_false(is_free(s.p));
    unlock(s.p);
    scene_close(&s);
  }
}

static void an_end_first_then_a_signal_reaches_the_next(void **state) {
  for (int way = BY_CANCEL; way < WAYS; way++) {
    scene_t s;
    note_t other;
    scene_open(&s, *state, way == BY_DEADLINE);
    wait_start(&s.note, 0, NULL, s.ctx, s.p);
    wait_start(&other, 1, NULL, s.f->root, s.p);
    assert_int_equal(scene_act(&s, way), 0);
    assert_int_equal(uvf_cond_signal(&s.p->cond), 0);
    assert_int_equal(queued(s.p), 0);
    assert_false(is_free(s.p)); /* the other has it, and no loop has turned */
    run_until(&s.f->loop, &s.note.calls, 1);
    run_until(&s.f->loop, &other.calls, 1);
    assert_told(&s.note, status_by(way));
    assert_told(&other, 0);
    unlock(s.p);
    scene_close(&s);
  }
}

/* Signalled, and over when the mutex comes to it: who unlocks finds that out. */
static void a_signal_goes_on_from_one_that_was_over_when_the_mutex_was_handed_to_it(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  uvf_ctx_t *ctx = child_of(f->root);
  note_t over[3], other;
  for (int i = 0; i < 3; i++) wait_start(&over[i], i, NULL, ctx, p);
  wait_start(&other, 3, NULL, f->root, p);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_cond_signal(&p->cond), 0);
  on_thread(cancel_ctx, ctx);
  assert_int_equal(mutex_queued(p), 1);
  unlock(p);
  assert_true(is_free(p));
  run_until(&f->loop, &other.calls, 1);
  turn(&f->loop);
  for (int i = 0; i < 3; i++) assert_told(&over[i], UV_ECANCELED);
  assert_told(&other, 0);
  unlock(p);
  uvf_ctx_release(ctx);
  pair_free(p);
}

static void many_that_end_at_once_are_no_recursion(void **state) {
  enum { N = 20000 };
  fixture_t *f = *state;
  pair_t *p = pair_new();
  uvf_ctx_t *ctx = child_of(f->root);
  note_t *notes = calloc(N, sizeof *notes), last;
  size_t allocations;
  assert_non_null(notes);
  wait_start(&notes[0], 0, NULL, ctx, p);
  allocations = test_alloc_count();
  for (int i = 1; i < N; i++) wait_start(&notes[i], i, NULL, ctx, p);
  wait_start(&last, N, NULL, f->root, p);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  for (int i = 0; i < N / 2; i++) assert_int_equal(uvf_cond_signal(&p->cond), 0);
  on_thread(cancel_ctx, ctx);
  unlock(p);
  run_until(&f->loop, &last.calls, 1);
  run_until(&f->loop, &notes[N - 1].calls, 1);
  turn(&f->loop);
  assert_int_equal(test_alloc_count(), allocations);
  for (int i = 0; i < N; i++) assert_told(&notes[i], UV_ECANCELED);
  assert_told(&last, 0);
  unlock(p);
  uvf_ctx_release(ctx);
  free(notes);
  pair_free(p);
}

/* --- blocked threads --- */

static void a_blocked_wait_ends_once_by_whoever_claims_it(void **state) {
  for (int i = 0; i < 2 * WAYS; i++) {
    int signalled = i / WAYS, way = i % WAYS;
    scene_t s;
    blocker_t b;
    note_t other;
    if (way == BY_CANCEL) continue;
    scene_open(&s, *state, 0);
    if (way == BY_DEADLINE) { /* long enough to be signalled in */
      uvf_ctx_release(s.ctx);
      s.ctx = timeout_of(s.root, signalled ? 1000 : 20);
    }
    wait_blocked(&b, s.ctx, s.p);
    if (signalled || way != BY_DEADLINE) await_queued(queued, s.p, 1);
    while (uvf_mutex_try_lock(&s.p->mutex) != 0) uv_sleep(0);
    note_init(&other, 1, NULL);
    assert_int_equal(uvf_cond_wait(s.f->root, &other.wait, &s.p->cond, on_note), 0);
    while (uvf_mutex_try_lock(&s.p->mutex) != 0) uv_sleep(0); /* one with a deadline may only be coming */
    if (signalled || way == BY_RELEASE) assert_int_equal(uvf_cond_signal(&s.p->cond), 0);
    if (way == BY_RELEASE) {
      unlock(s.p);
    } else if (way != BY_DEADLINE) { /* else nobody does anything: the loop is stuck here */
      scene_act(&s, way);
    }
    assert_int_equal(blocker_join(&b), status_by(way));
    if (way == BY_DEADLINE) assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(s.ctx));
    assert_int_equal(mutex_queued(s.p), way != BY_RELEASE && signalled ? 1 : 0); /* passed on by the thread itself */
    unlock(s.p);
    if (way == BY_RELEASE || !signalled) assert_int_equal(uvf_cond_signal(&s.p->cond), 0);
    run_until(&s.f->loop, &other.calls, 1);
    assert_told(&other, 0);
    unlock(s.p);
    scene_close(&s);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_wait_that_is_ended_has_not_the_mutex_and_a_signal_it_had_got_goes_on),
      unit(one_that_leaves_the_line_for_the_mutex_leaves_both_queues_whole),
      unit(the_mutex_first_then_an_end_too_late_changes_nothing),
      unit(an_end_first_then_a_signal_reaches_the_next),
      unit(a_signal_goes_on_from_one_that_was_over_when_the_mutex_was_handed_to_it),
      unit(many_that_end_at_once_are_no_recursion),
      unit(a_blocked_wait_ends_once_by_whoever_claims_it),
  };
  return test_run(tests);
}
