/* SPDX-License-Identifier: MIT
 *
 * The condition: the mutex given up and had again, signals that reach somebody, misuse, and a buffer between threads.
 */
#include "unit/test_condition.h"

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

static void under_a_context_that_is_over_the_mutex_is_given_up_all_the_same(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  uvf_ctx_t *ctx = child_of(f->root);
  note_t note;
  blocker_t b;
  uvf_ctx_cancel(ctx);
  wait_start(&note, 0, NULL, ctx, p);
  assert_true(is_free(p));
  assert_int_equal(uvf_cond_signal(&p->cond), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_told(&note, UV_ECANCELED);
  wait_blocked(&b, ctx, p); /* fails at the mutex already */
  assert_int_equal(blocker_join(&b), UV_ECANCELED);
  uvf_ctx_release(ctx);
  pair_free(p);
}

static void lock_end_and_wait(void *arg) {
  blocker_t *b = arg;
  pair_t *p = b->object;
  b->status = uvf_mutex_lock_wait(b->ctx, &p->mutex);
  if (b->status != 0) return;
  uvf_ctx_cancel(b->ctx);
  b->status = uvf_cond_wait_wait(b->ctx, &p->cond);
}

static void so_it_is_by_a_thread(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  uvf_ctx_t *ctx = child_of(f->root);
  blocker_t b = {.ctx = ctx, .object = p};
  on_thread(lock_end_and_wait, &b);
  assert_int_equal(b.status, UV_ECANCELED);
  assert_true(is_free(p));
  uvf_ctx_release(ctx);
  pair_free(p);
}

/* --- misuse --- */

static int call_destroy(void *o) { return uvf_cond_destroy(&((pair_t *)o)->cond); }

static void call_wait(void *arg) {
  misuse_t *m = arg;
  pair_t *p = m->object;
  m->rc = uvf_cond_wait(m->ctx, &m->note->wait, &p->cond, on_note);
}

static void call_wait_wait(void *arg) {
  misuse_t *m = arg;
  pair_t *p = m->object;
  m->rc = uvf_cond_wait_wait(m->ctx, &p->cond);
}

static void misuse_of_a_condition_is_named_and_changes_nothing(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  note_t note, again;
  misuse_t m = {p, f->root, &again, call_destroy, 1};
  note_init(&again, 0, NULL);
  assert_misuse(call_wait, &m, UV_EINVAL, "uvf_cond_wait"); /* the mutex is not locked */
  assert_int_equal(again.calls, 0);
  wait_start(&note, 0, NULL, f->root, p);
  assert_misuse(misuse_call, &m, UV_EBUSY, "uvf_cond_destroy");
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_cond_signal(&p->cond), 0);
  assert_misuse(misuse_call, &m, UV_EBUSY, "uvf_cond_destroy"); /* it still needs it */
  unlock(p);
  assert_misuse(misuse_call, &m, UV_EBUSY, "uvf_cond_destroy"); /* and until it is told */
  run_until(&f->loop, &note.calls, 1);
  turn(&f->loop);
  assert_misuse(call_wait_wait, &m, UV_EPERM, "uvf_cond_wait_wait"); /* on a loop's thread */
  assert_false(is_free(p));                                          /* it has kept the mutex */
  assert_int_equal(queued(p), 0);
  unlock(p);
  pair_free(p);
}

static void nulls_are_refused(void **state) {
  fixture_t *f = *state;
  pair_t *p = pair_new();
  note_t note;
  note_init(&note, 0, NULL);
  assert_int_equal(uvf_cond_init(NULL, &p->mutex), UV_EINVAL);
  assert_int_equal(uvf_cond_init(&p->cond, NULL), UV_EINVAL);
  assert_int_equal(uvf_cond_destroy(NULL), UV_EINVAL);
  assert_int_equal(uvf_cond_signal(NULL), UV_EINVAL);
  assert_int_equal(uvf_cond_broadcast(NULL), UV_EINVAL);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_cond_wait(NULL, &note.wait, &p->cond, on_note), UV_EINVAL);
  assert_int_equal(uvf_cond_wait(f->root, NULL, &p->cond, on_note), UV_EINVAL);
  assert_int_equal(uvf_cond_wait(f->root, &note.wait, NULL, on_note), UV_EINVAL);
  assert_int_equal(uvf_cond_wait(f->root, &note.wait, &p->cond, NULL), UV_EINVAL);
  assert_int_equal(uvf_cond_wait_wait(NULL, &p->cond), UV_EINVAL);
  assert_int_equal(uvf_cond_wait_wait(f->root, NULL), UV_EINVAL);
  assert_false(is_free(p)); /* none of them has given it up */
  unlock(p);
  pair_free(p);
}

static void free_pair_in_callback(note_t *note) {
  pair_t *p = note->arg;
  if (note->status == 0) note->status = uvf_mutex_unlock(&p->mutex);
  if (note->status == 0) note->status = uvf_cond_destroy(&p->cond);
  if (note->status == 0) note->status = uvf_mutex_destroy(&p->mutex);
  memset(p, 0xdb, sizeof *p);
  free(p);
}

static void signal_only(void *o) {
  if (uvf_cond_signal(&((pair_t *)o)->cond) != 0) abort();
}

static void both_may_be_destroyed_in_the_callback_of_the_last_one_woken(void **state) {
  fixture_t *f = *state;
  size_t rounds = test_scaled(1000, 10);
  for (size_t i = 0; i < rounds; i++) {
    pair_t *p = pair_new();
    note_t note;
    wait_start(&note, 0, NULL, f->root, p);
    note.then = free_pair_in_callback;
    note.arg = p;
    run_beside(&f->loop, signal_only, p); /* it may still be in its signal when the callback runs */
    if (note.calls == 0) run_until(&f->loop, &note.calls, 1);
    assert_told(&note, 0);
  }
}

/* --- a bounded buffer, between threads and loops --- */

enum { BUFFER = 3 };

typedef struct buffer_s {
  pair_t *p; /* not empty */
  uvf_cond_t not_full;
  uint64_t items[BUFFER];
  int n;
  int wrong;
} buffer_t;

typedef struct side_s {
  buffer_t *buffer;
  uvf_ctx_t *ctx;
  uint64_t from, count, sum;
  int rc;
  lane_t *lane;
  note_t note;
  note_t noise; /* waits beside it and is cancelled again and again, signalled or not */
  int noise_on;
  uint64_t seed;
  gate_t done;
  uv_thread_t thread;
} side_t;

static void put_all(void *arg) {
  side_t *s = arg;
  buffer_t *b = s->buffer;
  for (uint64_t i = 0; i < s->count && s->rc == 0; i++) {
    s->rc = uvf_mutex_lock_wait(s->ctx, &b->p->mutex);
    while (s->rc == 0 && b->n == BUFFER) s->rc = uvf_cond_wait_wait(s->ctx, &b->not_full);
    if (s->rc != 0) return;
    b->items[b->n++] = s->from + i;
    s->rc = uvf_cond_signal(&b->p->cond);
    if (s->rc == 0) s->rc = uvf_mutex_unlock(&b->p->mutex);
  }
}

static void get_all(void *arg) {
  side_t *s = arg;
  buffer_t *b = s->buffer;
  for (uint64_t i = 0; i < s->count && s->rc == 0; i++) {
    s->rc = uvf_mutex_lock_wait(s->ctx, &b->p->mutex);
    while (s->rc == 0 && b->n == 0) s->rc = uvf_cond_wait_wait(s->ctx, &b->p->cond);
    if (s->rc != 0) return;
    s->sum += b->items[--b->n];
    if (uvf_mutex_unlock(&b->p->mutex) != 0 || uvf_cond_signal(&b->not_full) != 0) s->rc = UV_EPROTO;
  }
}

static void lane_noise_told(note_t *note) {
  side_t *s = note->arg;
  buffer_t *b = s->buffer;
  s->noise_on = 0;
  if (note->status != 0) return;
  if (uvf_cond_signal(&b->p->cond) != 0 || uvf_mutex_unlock(&b->p->mutex) != 0) s->rc = UV_EPROTO; /* not for it */
}

/* The mutex is held. Takes what is there; 1: the mutex was given up, to wait. */
static int lane_take(side_t *s) {
  buffer_t *b = s->buffer;
  if (b->n == 0) {
    s->rc = uvf_cond_wait(s->ctx, &s->note.wait, &b->p->cond, on_note);
    return 1;
  }
  s->sum += b->items[--b->n];
  s->count--;
  if (uvf_mutex_unlock(&b->p->mutex) != 0 || uvf_cond_signal(&b->not_full) != 0) s->rc = UV_EPROTO;
  return 0;
}

static void lane_told(note_t *note) {
  side_t *s = note->arg;
  buffer_t *b = s->buffer;
  if (note->status != 0) s->rc = note->status;
  if (s->noise_on) (void)uvf_op_cancel(note_op(&s->noise));
  if (s->rc != 0 || (lane_take(s) == 0 && s->count == 0)) {
    gate_open(&s->done, 1);
    return;
  }
  if (uvf__op_is_on(note_op(note))) return; /* it waits */
  if (!s->noise_on && test_rand(&s->seed) % 2 && uvf_mutex_try_lock(&b->p->mutex) == 0) {
    s->noise_on = 1;
    note_init(&s->noise, 1, NULL);
    s->noise.then = lane_noise_told;
    s->noise.arg = s;
    if (uvf_cond_wait(s->ctx, &s->noise.wait, &b->p->cond, on_note) != 0) s->rc = UV_EPROTO;
  }
  s->rc = uvf_mutex_lock(s->ctx, &note->wait, &b->p->mutex, on_note);
}

static void lane_begin(void *arg) {
  side_t *s = arg;
  s->ctx = s->lane->root;
  note_init(&s->note, 0, NULL);
  s->note.then = lane_told;
  s->note.arg = s;
  s->rc = uvf_mutex_lock(s->ctx, &s->note.wait, &s->buffer->p->mutex, on_note);
}

static void no_signal_is_lost_between_two_producers_and_two_consumers_on_threads_and_a_loop(void **state) {
  fixture_t *f = *state;
  uint64_t n = test_scaled(20000, 10), seed = test_seed();
  side_t *sides = calloc(4, sizeof *sides); /* put, put, get, get on a loop */
  buffer_t buffer = {.p = pair_new()};
  lane_t lane;
  assert_non_null(sides);
  assert_int_equal(uvf_cond_init(&buffer.not_full, &buffer.p->mutex), 0);
  lane_start(&lane);
  for (int i = 0; i < 4; i++) {
    sides[i].buffer = &buffer;
    sides[i].ctx = f->root;
    sides[i].from = (uint64_t)i * n;
    sides[i].count = n;
    sides[i].lane = &lane;
    sides[i].seed = test_rand(&seed);
    gate_init(&sides[i].done);
  }
  lane_call(&lane, lane_begin, &sides[3]);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(uv_thread_create(&sides[i].thread, i < 2 ? put_all : get_all, &sides[i]), 0);
  }
  for (int i = 0; i < 3; i++) assert_int_equal(uv_thread_join(&sides[i].thread), 0);
  gate_pass(&sides[3].done);
  lane_turn(&lane);
  lane_stop(&lane); /* ends what waits on it still */
  for (int i = 0; i < 4; i++) {
    assert_int_equal(sides[i].rc, 0);
    gate_destroy(&sides[i].done);
  }
  assert_int_equal(sides[3].count, 0);
  assert_int_equal(buffer.n, 0);
  assert_int_equal(sides[2].sum + sides[3].sum, n * (2 * n - 1)); /* 0 + 1 + ... + 2n-1 */
  assert_int_equal(uvf_cond_destroy(&buffer.not_full), 0);
  pair_free(buffer.p);
  free(sides);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_wait_gives_the_mutex_up_and_has_it_again_when_it_is_signalled),
      unit(a_signal_wakes_the_one_that_has_waited_longest_and_no_other),
      unit(a_broadcast_wakes_all_that_wait_now_one_after_the_other),
      unit(who_is_signalled_stands_in_line_for_the_mutex_behind_those_who_came_before),
      unit(under_a_context_that_is_over_the_mutex_is_given_up_all_the_same),
      unit(so_it_is_by_a_thread),
      unit(misuse_of_a_condition_is_named_and_changes_nothing),
      unit(nulls_are_refused),
      unit(both_may_be_destroyed_in_the_callback_of_the_last_one_woken),
      unit(no_signal_is_lost_between_two_producers_and_two_consumers_on_threads_and_a_loop),
  };
  return test_run(tests);
}
