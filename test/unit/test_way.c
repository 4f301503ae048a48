/* SPDX-License-Identifier: MIT
 *
 * Waiters of semaphore, rwlock and limiter whose context has ended: they make way before their loop has come by, as
 * soon as somebody visits the object; and what visits and withdrawals serve on the way does not change the order of
 * completions.
 */
#include "unit/limiter_probe.h"

/* --- one that waits on a loop that stands still --- */

typedef struct head_s {
  stuck_t stuck;
  void *object;
  void (*wait)(struct head_s *head); /* starts what stands in the way of others */
  note_t note;
  toll_t toll;
} head_t;

static void head_wait(void *arg) {
  head_t *head = arg;
  head->wait(head);
}

/* It waits in the object, and its loop stands. */
static head_t *head_start(void (*wait)(head_t *head), void *object) {
  head_t *head = calloc(1, sizeof *head);
  assert_non_null(head);
  head->wait = wait;
  head->object = object;
  gate_init(&head->stuck.entered);
  gate_init(&head->stuck.leave);
  lane_start(&head->stuck.lane);
  lane_turn(&head->stuck.lane);
  lane_call(&head->stuck.lane, stuck_make, &head->stuck);
  lane_call(&head->stuck.lane, head_wait, head);
  lane_post(&head->stuck.lane, stuck_stand, &head->stuck);
  gate_pass(&head->stuck.entered);
  return head;
}

/* Its loop goes on: then, and not before, it calls back. */
static void head_end(head_t *head) {
  assert_int_equal(head->note.calls + head->toll.calls, 0);
  stuck_go_on(&head->stuck);
  lane_turn(&head->stuck.lane);
  assert_int_equal(head->note.calls + head->toll.calls, 1);
  assert_int_equal(head->note.calls ? head->note.status : head->toll.status, UV_ECANCELED);
  stuck_stop(&head->stuck);
  free(head);
}

static void wants_five(head_t *head) {
  note_init(&head->note, 0, NULL);
  if (uvf_sem_acquire(head->stuck.ctx, &head->note.wait, head->object, 5, on_note) != 0) abort();
}

static void wants_to_write(head_t *head) {
  note_init(&head->note, 0, NULL);
  if (uvf_rwlock_wrlock(head->stuck.ctx, &head->note.wait, head->object, on_note) != 0) abort();
}

static void wants_five_tokens(head_t *head) {
  toll_init(&head->toll, 0, NULL);
  if (uvf_limiter_wait(head->stuck.ctx, &head->toll.wait, head->object, 5, on_toll) != 0) abort();
}

static void one_that_has_ended_does_not_hold_up_a_semaphore(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int visit = 0; visit < 2; visit++) { /* a release; somebody who comes to wait */
    static uvf_sem_t sem;                   /* a failed assertion leaves nothing on a dead frame */
    static note_t note;
    head_t *head;
    assert_int_equal(uvf_sem_init(&sem, 5), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 3), 0);
    head = head_start(wants_five, &sem);
    assert_int_equal(uvf_sem_release(&sem, 1), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), UV_EAGAIN); /* it waits in front */
    uvf_ctx_cancel(head->stuck.ctx);
    if (visit == 0) {
      assert_int_equal(uvf_sem_release(&sem, 1), 0);
      assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
    } else {
      note_init(&note, 1, NULL);
      assert_int_equal(uvf_sem_acquire(f->root, &note.wait, &sem, 1, on_note), 0);
      turn(&f->loop);
      assert_noted(&note, 0);
      assert_int_equal(uvf_sem_release(&sem, 1), 0);
      assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
    }
    head_end(head);
    assert_int_equal(uvf_sem_release(&sem, 5 - uvf_sem_available(&sem)), 0);
    assert_int_equal(uvf_sem_destroy(&sem), 0);
  }
}

static void one_that_has_ended_does_not_hold_up_an_rwlock(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int visit = 0; visit < 2; visit++) {
    static uvf_rwlock_t rw;
    static note_t note;
    head_t *head;
    assert_int_equal(uvf_rwlock_init(&rw), 0);
    assert_int_equal(uvf_rwlock_try_rdlock(&rw), 0);
    assert_int_equal(uvf_rwlock_try_rdlock(&rw), 0);
    head = head_start(wants_to_write, &rw);
    assert_int_equal(uvf_rwlock_try_rdlock(&rw), UV_EAGAIN);
    uvf_ctx_cancel(head->stuck.ctx);
    if (visit == 0) {
      assert_int_equal(uvf_rwlock_rdunlock(&rw), 0);
      assert_int_equal(uvf_rwlock_try_rdlock(&rw), 0); /* beside the other reader */
    } else {
      note_init(&note, 1, NULL);
      assert_int_equal(uvf_rwlock_rdlock(f->root, &note.wait, &rw, on_note), 0);
      turn(&f->loop);
      assert_noted(&note, 0);
      assert_int_equal(uvf_rwlock_rdunlock(&rw), 0);
    }
    head_end(head);
    for (int i = 0; i < 2; i++) assert_int_equal(uvf_rwlock_rdunlock(&rw), 0);
    assert_int_equal(uvf_rwlock_destroy(&rw), 0);
  }
}

static void one_that_has_ended_does_not_hold_up_a_limiter(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int visit = 0; visit < 2; visit++) {
    uvf_limiter_t *limiter = limiter_of(0, 5); /* nothing flows in */
    head_t *head = head_start(wants_five_tokens, limiter);
    static toll_t toll;
    assert_int_equal(uvf_limiter_unreserve(limiter, 1), 0);
    assert_int_equal(uvf_limiter_try(limiter, 1), UV_EAGAIN);
    uvf_ctx_cancel(head->stuck.ctx);
    if (visit == 0) {
      assert_int_equal(uvf_limiter_unreserve(limiter, 1), 0);
      assert_int_equal(uvf_limiter_try(limiter, 2), 0);
    } else {
      toll_start(&toll, f->root, limiter, 1, 1, NULL);
      turn(&f->loop);
      assert_toll(&toll, 0);
    }
    head_end(head);
    assert_int_equal(waiting(limiter), 0);
    limiter_free(limiter);
  }
}

/* --- the order of completions --- */

enum { SEM, RWLOCK, LIMITER, OBJECTS };
enum { ON_THE_LOOP, VISITED_BEFORE, FROM_ANOTHER_THREAD, ENDS };

typedef struct crowd_s {
  uvf_sem_t sem;
  uvf_rwlock_t rw;
  uvf_limiter_t *limiter;
  note_t notes[3];
  toll_t tolls[3];
  journal_t journal;
} crowd_t;

static crowd_t *crowd_new(void) {
  crowd_t *c = calloc(1, sizeof *c);
  assert_non_null(c);
  assert_int_equal(uvf_sem_init(&c->sem, 3), 0);
  assert_int_equal(uvf_sem_try_acquire(&c->sem, 3), 0);
  assert_int_equal(uvf_rwlock_init(&c->rw), 0);
  assert_int_equal(uvf_rwlock_try_wrlock(&c->rw), 0);
  c->limiter = limiter_of(0, 5);
  return c;
}

static void crowd_free(crowd_t *c) {
  assert_int_equal(uvf_sem_release(&c->sem, 3 - uvf_sem_available(&c->sem)), 0);
  assert_int_equal(uvf_sem_destroy(&c->sem), 0);
  assert_int_equal(uvf_rwlock_wrunlock(&c->rw), 0);
  assert_int_equal(uvf_rwlock_destroy(&c->rw), 0);
  limiter_free(c->limiter);
  free(c);
}

static void crowd_wait(crowd_t *c, int object, int i, uvf_ctx_t *ctx) {
  int rc = 0;
  note_init(&c->notes[i], i, &c->journal);
  switch (object) {
    case SEM: rc = uvf_sem_acquire(ctx, &c->notes[i].wait, &c->sem, 1, on_note); break;
    case RWLOCK: rc = uvf_rwlock_wrlock(ctx, &c->notes[i].wait, &c->rw, on_note); break;
    default: toll_start(&c->tolls[i], ctx, c->limiter, 1, i, &c->journal); break;
  }
  assert_int_equal(rc, 0);
}

/* Something that looks at who waits. */
static void crowd_visit(crowd_t *c, int object) {
  switch (object) {
    case SEM: assert_int_equal(uvf_sem_release(&c->sem, 1), 0); break;
    case RWLOCK: assert_int_equal(uvf_rwlock_try_rdlock(&c->rw), UV_EAGAIN); break;
    default: assert_int_equal(uvf_limiter_unreserve(c->limiter, 1), 0); break;
  }
}

static void the_waiters_of_one_context_end_the_newest_first(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int object = 0; object < OBJECTS; object++) {
    for (int end = 0; end < ENDS; end++) {
      crowd_t *c = crowd_new();
      uvf_ctx_t *ctx = child_of(f->root);
      for (int i = 0; i < 3; i++) crowd_wait(c, object, i, ctx);
      if (end == ON_THE_LOOP) uvf_ctx_cancel(ctx);
      if (end != ON_THE_LOOP) on_thread(cancel_it, ctx);
      if (end == VISITED_BEFORE) crowd_visit(c, object); /* they are over, and their loop has not come by */
      turn(&f->loop);
      assert_journal(&c->journal, 2, 1, 0);
      uvf_ctx_release(ctx);
      crowd_free(c);
    }
  }
}

static void a_childs_waiter_ends_before_its_parents_wherever_they_stand(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int object = 0; object < OBJECTS; object++) {
    for (int first = 0; first < 2; first++) { /* the parent's stands in front, the child's does */
      crowd_t *c = crowd_new();
      uvf_ctx_t *parent = child_of(f->root), *child = child_of(parent);
      crowd_wait(c, object, 0, first ? child : parent);
      crowd_wait(c, object, 1, first ? parent : child);
      uvf_ctx_cancel(parent);
      turn(&f->loop);
      if (first) {
        assert_journal(&c->journal, 0, 1);
      } else {
        assert_journal(&c->journal, 1, 0);
      }
      uvf_ctx_release(child);
      uvf_ctx_release(parent);
      crowd_free(c);
    }
  }
}

/* The child's, in front, wants more than is free; the parent's, behind, would be served by its withdrawal. */
static void a_withdrawal_that_serves_does_not_let_the_parent_go_first(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = child_of(f->root), *child = child_of(parent);
  crowd_t *c = crowd_new();
  turn(&f->loop);
  assert_int_equal(uvf_sem_release(&c->sem, 2), 0);
  for (int i = 0; i < 2; i++) note_init(&c->notes[i], i, &c->journal);
  assert_int_equal(uvf_sem_acquire(child, &c->notes[0].wait, &c->sem, 3, on_note), 0);
  assert_int_equal(uvf_sem_acquire(parent, &c->notes[1].wait, &c->sem, 1, on_note), 0);
  uvf_ctx_cancel(parent);
  turn(&f->loop);
  assert_journal(&c->journal, 0, 1);
  for (int i = 0; i < 2; i++) assert_noted(&c->notes[i], UV_ECANCELED);
  assert_int_equal(uvf_sem_available(&c->sem), 2);
  uvf_ctx_release(child);
  uvf_ctx_release(parent);
  crowd_free(c);
}

/* Who is behind one that makes way is served then, though the visit was not his. */
static void those_behind_one_that_has_ended_are_served_with_what_is_free(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = child_of(f->root);
  crowd_t *c = crowd_new();
  turn(&f->loop);
  for (int i = 0; i < 3; i++) note_init(&c->notes[i], i, &c->journal);
  assert_int_equal(uvf_sem_acquire(over, &c->notes[0].wait, &c->sem, 3, on_note), 0);
  assert_int_equal(uvf_sem_acquire(f->root, &c->notes[1].wait, &c->sem, 1, on_note), 0);
  assert_int_equal(uvf_sem_acquire(f->root, &c->notes[2].wait, &c->sem, 1, on_note), 0);
  on_thread(cancel_it, over);
  assert_int_equal(uvf_sem_release(&c->sem, 1), 0);
  assert_int_equal(uvf_sem_available(&c->sem), 0); /* the first behind has it, and one unit was all there was */
  turn(&f->loop);
  assert_noted(&c->notes[0], UV_ECANCELED);
  assert_noted(&c->notes[1], 0);
  assert_int_equal(c->notes[2].calls, 0);
  assert_int_equal(uvf_sem_release(&c->sem, 1), 0);
  turn(&f->loop);
  assert_noted(&c->notes[2], 0);
  uvf_ctx_release(over);
  crowd_free(c);
}

/* --- a rate of nothing --- */

static void a_limiter_whose_rate_is_minus_zero_gives_nothing_as_one_of_zero(void **state) {
  static const double rates[] = {0.0, -0.0};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
    uvf_limiter_t *limiter = limiter_of(rates[i], 5);
    uint64_t delay_ns = 77;
    assert_int_equal(uvf_limiter_reserve(limiter, 1, &delay_ns), UV_EAGAIN);
    assert_tokens(limiter, 0.0);
    assert_int_equal(uvf_limiter_set(limiter, 1, 5), 0);
    assert_int_equal(uvf_limiter_set(limiter, rates[i], 5), 0);
    assert_int_equal(uvf_limiter_reserve(limiter, 1, &delay_ns), UV_EAGAIN);
    limiter_free(limiter);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(one_that_has_ended_does_not_hold_up_a_semaphore),
      unit(one_that_has_ended_does_not_hold_up_an_rwlock),
      unit(one_that_has_ended_does_not_hold_up_a_limiter),
      unit(the_waiters_of_one_context_end_the_newest_first),
      unit(a_childs_waiter_ends_before_its_parents_wherever_they_stand),
      unit(a_withdrawal_that_serves_does_not_let_the_parent_go_first),
      unit(those_behind_one_that_has_ended_are_served_with_what_is_free),
      cmocka_unit_test(a_limiter_whose_rate_is_minus_zero_gives_nothing_as_one_of_zero),
  };
  return test_run(tests);
}
