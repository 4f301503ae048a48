/* SPDX-License-Identifier: MIT
 *
 * The condition: the mutex given up and had again, signals that reach somebody, waits that end in either queue.
 */
#include "unit/test_sync.h"

typedef struct pair_s {
  uvf_mutex_t mutex;
  uvf_cond_t cond;
} pair_t;

static pair_t *pair_new(void) {
  pair_t *p = malloc(sizeof *p);
  assert_non_null(p);
  memset(p, 0xdb, sizeof *p);
  assert_int_equal(uvf_mutex_init(&p->mutex), 0);
  assert_int_equal(uvf_cond_init(&p->cond, &p->mutex), 0);
  return p;
}

static void pair_free(pair_t *p) {
  assert_int_equal(uvf_cond_signal(&p->cond), 0); /* nobody is left to take it */
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  assert_int_equal(uvf_cond_destroy(&p->cond), 0);
  assert_int_equal(uvf_mutex_destroy(&p->mutex), 0);
  free(p);
}

static size_t queued(void *o) {
  pair_t *p = o;
  return queue_length(&p->cond.uvf__lock, &p->cond.uvf__waits);
}

static size_t mutex_queued(void *o) {
  pair_t *p = o;
  return queue_length(&p->mutex.uvf__sem.uvf__lock, &p->mutex.uvf__sem.uvf__waits);
}

/* Locks, and waits. */
static void wait_start(note_t *note, int id, journal_t *journal, uvf_ctx_t *ctx, pair_t *p) {
  note_init(note, id, journal);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_cond_wait(ctx, &note->wait, &p->cond, on_note), 0);
  assert_int_equal(note->calls, 0);
}

static int lock_and_wait(uvf_ctx_t *ctx, void *o) {
  pair_t *p = o;
  int rc = uvf_mutex_lock_wait(ctx, &p->mutex);
  if (rc == 0) rc = uvf_cond_wait_wait(ctx, &p->cond);
  return rc;
}

static int is_free(pair_t *p) {
  int rc = uvf_mutex_try_lock(&p->mutex);
  if (rc == 0) assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  return rc == 0;
}

static void wait_blocked(blocker_t *b, uvf_ctx_t *ctx, pair_t *p) {
  memset(b, 0, sizeof *b);
  b->ctx = ctx;
  b->object = p;
  b->block = lock_and_wait;
  assert_int_equal(uv_thread_create(&b->thread, blocker_main, b), 0);
}

/* --- signals --- */

static void a_wait_gives_the_mutex_up_and_has_it_again_when_it_is_signalled(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  note_t note;
  wait_start(&note, 0, NULL, f->root, p);
  assert_true(is_free(p));
  turn(&f->loop);
  assert_int_equal(note.calls, 0);
  assert_int_equal(uvf_cond_signal(&p->cond), 0);
  assert_false(is_free(p)); /* handed over inside the signal */
  assert_int_equal(note.calls, 0);
  run_until(&f->loop, &note.calls, 1);
  assert_told(&note, 0);
  assert_false(is_free(p));
  assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  pair_free(p);
}

static void a_signal_wakes_the_one_that_has_waited_longest_and_no_other(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  journal_t journal = {0};
  note_t notes[3];
  assert_int_equal(uvf_cond_signal(&p->cond), 0); /* nobody waits: it is not kept */
  for (int i = 0; i < 3; i++) wait_start(&notes[i], i, &journal, f->root, p);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(uvf_cond_signal(&p->cond), 0);
    turn(&f->loop);
    assert_int_equal(journal.n, i + 1);
    assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
    turn(&f->loop);
    assert_int_equal(journal.n, i + 1);
  }
  assert_journal(&journal, 0, 1, 2);
  pair_free(p);
}

static void a_broadcast_wakes_all_that_wait_now_one_after_the_other(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  journal_t journal = {0};
  note_t notes[4];
  assert_int_equal(uvf_cond_broadcast(&p->cond), 0);
  for (int i = 0; i < 3; i++) wait_start(&notes[i], i, &journal, f->root, p);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_cond_broadcast(&p->cond), 0);
  assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  for (int i = 0; i < 3; i++) {
    turn(&f->loop);
    assert_int_equal(journal.n, i + 1); /* never two with the mutex */
    assert_false(is_free(p));
    if (i < 2) assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  }
  note_init(&notes[3], 3, &journal);
  assert_int_equal(uvf_cond_wait(f->root, &notes[3].wait, &p->cond, on_note), 0);
  turn(&f->loop);
  assert_journal(&journal, 0, 1, 2); /* who came later was not woken */
  assert_int_equal(uvf_cond_signal(&p->cond), 0);
  run_until(&f->loop, &notes[3].calls, 1);
  assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  pair_free(p);
}

static void who_is_signalled_stands_in_line_for_the_mutex_behind_those_who_came_before(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  journal_t journal = {0};
  note_t waiter, before, after;
  wait_start(&waiter, 1, &journal, f->root, p);
  note_init(&before, 0, &journal);
  note_init(&after, 2, &journal);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_mutex_lock(f->root, &before.wait, &p->mutex, on_note), 0);
  assert_int_equal(uvf_cond_signal(&p->cond), 0);
  assert_int_equal(uvf_mutex_lock(f->root, &after.wait, &p->mutex, on_note), 0);
  assert_int_equal(mutex_queued(p), 3);
  for (int i = 0; i < 3; i++) {
    turn(&f->loop);
    assert_int_equal(journal.n, i);
    assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  }
  turn(&f->loop);
  assert_journal(&journal, 0, 1, 2);
  assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  pair_free(p);
}

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

static void a_wait_that_is_ended_does_not_hold_the_mutex_and_its_signal_goes_on(void **state) {
  for (int i = 0; i < STATES * WAYS; i++) {
    int signalled = i / WAYS, way = i % WAYS;
    scene_t s;
    note_t other, late;
    if (way == BY_RELEASE) continue;
    scene_open(&s, *state, way == BY_DEADLINE);
    wait_start(&s.note, 0, NULL, s.ctx, s.p);
    if (signalled != BROADCAST) wait_start(&other, 1, NULL, s.f->root, s.p);
    assert_int_equal(uvf_mutex_try_lock(&s.p->mutex), 0); /* so it cannot be had yet */
    if (signalled == SIGNALLED) assert_int_equal(uvf_cond_signal(&s.p->cond), 0);
    if (signalled == BROADCAST) {
      assert_int_equal(uvf_cond_broadcast(&s.p->cond), 0);
      assert_int_equal(uvf_mutex_unlock(&s.p->mutex), UV_EOK);
    }
    scene_close(&s);
    (void)late;
  }
}

int main(void) { return 0; }
