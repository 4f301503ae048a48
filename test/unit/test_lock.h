/* SPDX-License-Identifier: MIT
 *
 * The tests that semaphore, mutex and rwlock (its writers) have in common: one at a time holds it, whoever claims a
 * wait ends it once, they are served in order, nobody overtakes, nothing is lost.
 */
#ifndef UVFLOW_TEST_LOCK_H
#define UVFLOW_TEST_LOCK_H

#include "unit/test_sync.h"

/* --- a wait behind a holder, and what may become of it --- */

typedef struct stage_s {
  fixture_t *f;
  void *object;
  uvf_ctx_t *root, *ctx;
  note_t note;
  int roots_closed;
} stage_t;

static stage_t *on_stage;

static inline void stage_closed(uvf_ctx_t *root) {
  (void)root;
  on_stage->roots_closed++;
}

/* Somebody holds the object. */
static inline void stage_open(stage_t *s, fixture_t *f, int deadline) {
  memset(s, 0, sizeof *s);
  on_stage = s;
  s->f = f;
  s->object = object_new();
  assert_int_equal(uvf_ctx_background(&f->loop, &s->root), 0);
  s->ctx = timeout_of(s->root, deadline ? 5 : HOUR_MS);
  assert_int_equal(lock->attempt(s->object), 0);
  note_init(&s->note, 0, NULL);
}

/* None of these lets the loop turn: the claim is made, or could be, and nobody was told. */
static inline int stage_act(stage_t *s, int way) {
  switch (way) {
    case BY_RELEASE: return lock->release(s->object);
    case BY_CANCEL: return uvf_op_cancel(note_op(&s->note));
    case BY_CONTEXT: uvf_ctx_cancel(s->ctx); return 0;
    case BY_OTHER_THREAD: on_thread(cancel_ctx, s->ctx); return 0;
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

static inline void stage_close(stage_t *s) {
  uvf_ctx_release(s->ctx);
  if (s->root != NULL) uvf_ctx_close(s->root, stage_closed);
  run_until(&s->f->loop, &s->roots_closed, 1);
  object_free(s->object);
}

/* --- the tests --- */

static inline void what_is_free_is_had_at_once_but_told_later(void **state) {
  fixture_t *f = *state;
  void *object = object_new();
  note_t note;
  note_init(&note, 0, NULL);
  note_start(&note, f->root, object);
  assert_int_equal(lock->attempt(object), UV_EAGAIN); /* held from the start on */
  assert_int_equal(uvf_op_cancel(note_op(&note)), UV_EBUSY);
  run_until(&f->loop, &note.calls, 1);
  turn(&f->loop);
  assert_told(&note, 0);
  assert_int_equal(lock->attempt(object), UV_EAGAIN);
  assert_int_equal(lock->release(object), 0);
  object_free(object);
}

static inline void nothing_is_had_under_a_context_that_is_over(void **state) {
  fixture_t *f = *state;
  void *object = object_new();
  uvf_ctx_t *cancelled = child_of(f->root), *timed = timeout_of(f->root, 0);
  note_t notes[2];
  uvf_ctx_cancel(cancelled);
  for (int i = 0; i < 2; i++) {
    note_init(&notes[i], i, NULL);
    note_start(&notes[i], i ? timed : cancelled, object);
    assert_int_equal(lock->attempt(object), 0); /* it was not taken for a moment */
    assert_int_equal(lock->release(object), 0);
    run_until(&f->loop, &notes[i].calls, 1);
    assert_told(&notes[i], i ? UV_ETIMEDOUT : UV_ECANCELED);
  }
  for (int i = 0; i < 2; i++) {
    blocker_t b;
    blocker_start(&b, i ? timed : cancelled, object, 0, NULL);
    assert_int_equal(blocker_join(&b), i ? UV_ETIMEDOUT : UV_ECANCELED);
  }
  uvf_ctx_release(cancelled);
  uvf_ctx_release(timed);
  object_free(object);
}

static inline void a_wait_ends_once_by_whoever_claims_it(void **state) {
  for (int way = 0; way < WAYS; way++) {
    stage_t s;
    stage_open(&s, *state, way == BY_DEADLINE);
    note_start(&s.note, s.ctx, s.object);
    turn(&s.f->loop);
    if (way != BY_DEADLINE) assert_int_equal(s.note.calls, 0);
    assert_int_equal(stage_act(&s, way), 0);
    if (way != BY_DEADLINE) assert_int_equal(s.note.calls, 0); /* never inside */
    run_until(&s.f->loop, &s.note.calls, 1);
    turn(&s.f->loop);
    assert_told(&s.note, status_by(way));
    assert_int_equal(uvf_op_cancel(note_op(&s.note)), UV_EBUSY);
    assert_int_equal(lock->attempt(s.object), UV_EAGAIN); /* by the note, or still by who held it */
    assert_int_equal(lock->release(s.object), 0);
    stage_close(&s);
  }
}

static inline void of_two_that_claim_the_first_wins_and_nothing_is_lost(void **state) {
  for (int i = 0; i < WAYS * WAYS; i++) {
    int first = i / WAYS, second = i % WAYS;
    stage_t s;
    int rc;
    if (first == second || (first == BY_CLOSE && (second == BY_CONTEXT || second == BY_OTHER_THREAD))) continue;
    stage_open(&s, *state, first == BY_DEADLINE || second == BY_DEADLINE);
    note_start(&s.note, s.ctx, s.object);
    assert_int_equal(stage_act(&s, first), 0);
    rc = stage_act(&s, second);
    /* another thread's cancel ends the context, but only its loop can claim for it */
    assert_int_equal(rc, second == BY_CANCEL && first != BY_OTHER_THREAD ? UV_EBUSY : 0);
    assert_int_equal(s.note.calls, 0);
    run_until(&s.f->loop, &s.note.calls, 1);
    turn(&s.f->loop);
    assert_told(&s.note, status_by(first));
    if (first == BY_RELEASE || second != BY_RELEASE) {
      assert_int_equal(lock->attempt(s.object), UV_EAGAIN);
      assert_int_equal(lock->release(s.object), 0);
    }
    stage_close(&s);
  }
}

static inline void a_blocked_thread_ends_once_by_whoever_claims_it(void **state) {
  for (int i = 0; i < WAYS; i++) {
    stage_t s;
    blocker_t b;
    if (i == BY_CANCEL) continue; /* there is no request to cancel */
    stage_open(&s, *state, i == BY_DEADLINE);
    blocker_start(&b, s.ctx, s.object, 0, NULL);
    if (i != BY_DEADLINE) {
      await_queued(lock->queued, s.object, 1);
      assert_int_equal(stage_act(&s, i), 0);
    } /* else the loop is stuck in this test: the thread looks after itself */
    assert_int_equal(blocker_join(&b), status_by(i));
    if (i == BY_DEADLINE) assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(s.ctx));
    assert_int_equal(lock->queued(s.object), 0);
    assert_int_equal(lock->attempt(s.object), UV_EAGAIN);
    assert_int_equal(lock->release(s.object), 0);
    stage_close(&s);
  }
}

static inline void they_are_served_in_the_order_they_came_requests_and_threads_alike(void **state) {
  enum { N = 9 };
  fixture_t *f = *state;
  void *object = object_new();
  uvf_ctx_t *ctx = child_of(f->root);
  journal_t journal = {0};
  note_t notes[N];
  blocker_t blockers[N];
  assert_int_equal(lock->attempt(object), 0);
  turn(&f->loop);
  for (int i = 0; i < N; i++) {
    note_init(&notes[i], i, &journal);
    if (i % 3 == 1) {
      blocker_start(&blockers[i], ctx, object, i, &journal);
    } else {
      note_start(&notes[i], ctx, object);
    }
    await_queued(lock->queued, object, (size_t)i + 1);
    assert_int_equal(lock->attempt(object), UV_EAGAIN);
  }
  for (int i = 0; i < N; i++) {
    if (i % 3 == 1) { /* the thread has had it and given it back */
      assert_int_equal(blocker_join(&blockers[i]), 0);
      continue;
    }
    if (i % 3 == 0) assert_int_equal(lock->release(object), 0); /* of the one before; a thread did that itself */
    assert_int_equal(lock->attempt(object), UV_EAGAIN);         /* handed over: trying does not overtake */
    run_until(&f->loop, &notes[i].calls, 1);
    assert_told(&notes[i], 0);
    if (i % 3 == 0) assert_int_equal(lock->release(object), 0);
  }
  assert_int_equal(lock->release(object), 0);
  assert_journal(&journal, 0, 1, 2, 3, 4, 5, 6, 7, 8);
  uvf_ctx_release(ctx);
  object_free(object);
}

static inline void who_comes_when_it_was_handed_on_does_not_overtake(void **state) {
  fixture_t *f = *state;
  void *object = object_new();
  journal_t journal = {0};
  note_t notes[3];
  for (int i = 0; i < 3; i++) note_init(&notes[i], i, &journal);
  assert_int_equal(lock->attempt(object), 0);
  note_start(&notes[0], f->root, object);
  note_start(&notes[1], f->root, object);
  assert_int_equal(lock->release(object), 0); /* notes[0] has it and does not know */
  note_start(&notes[2], f->root, object);
  assert_int_equal(lock->release(object), 0); /* given on before it was told: it may not know what it does, but FIFO */
  assert_int_equal(lock->queued(object), 1);
  run_until(&f->loop, &notes[1].calls, 1);
  assert_int_equal(notes[2].calls, 0);
  assert_int_equal(lock->release(object), 0);
  run_until(&f->loop, &notes[2].calls, 1);
  assert_journal(&journal, 0, 1, 2);
  assert_int_equal(lock->release(object), 0);
  object_free(object);
}

static inline void one_that_is_ended_makes_way_at_once(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < 3; way++) {
    void *object = object_new();
    uvf_ctx_t *ctx = child_of(f->root);
    note_t head, next;
    note_init(&head, 0, NULL);
    note_init(&next, 1, NULL);
    assert_int_equal(lock->attempt(object), 0);
    note_start(&head, ctx, object);
    note_start(&next, f->root, object);
    if (way == 0) assert_int_equal(uvf_op_cancel(note_op(&head)), 0);
    if (way == 1) uvf_ctx_cancel(ctx);
    if (way == 2) on_thread(cancel_ctx, ctx); /* its loop does not know: who releases passes it by */
    assert_int_equal(lock->queued(object), way == 2 ? 2 : 1);
    assert_int_equal(lock->release(object), 0);
    assert_int_equal(lock->queued(object), 0);
    run_until(&f->loop, &next.calls, 1);
    run_until(&f->loop, &head.calls, 1);
    turn(&f->loop);
    assert_told(&head, UV_ECANCELED);
    assert_told(&next, 0);
    assert_int_equal(lock->release(object), 0);
    uvf_ctx_release(ctx);
    object_free(object);
  }
}

/* All ops of one context, which end newest first, and one of another behind them. */
static inline void the_end_of_a_context_ends_all_its_waits_and_no_other(void **state) {
  enum { N = 20 };
  fixture_t *f = *state;
  void *object = object_new();
  uvf_ctx_t *ctx = child_of(f->root);
  note_t notes[N];
  size_t allocations;
  assert_int_equal(lock->attempt(object), 0);
  for (int i = 0; i < N; i++) note_init(&notes[i], i, NULL);
  allocations = test_alloc_count();
  for (int i = 0; i < N; i++) note_start(&notes[i], i == N / 2 ? f->root : ctx, object);
  uvf_ctx_cancel(ctx);
  assert_int_equal(lock->queued(object), 1);
  assert_int_equal(lock->release(object), 0);
  run_until(&f->loop, &notes[0].calls, 1);
  turn(&f->loop);
  assert_int_equal(test_alloc_count(), allocations); /* none on any of these paths */
  for (int i = 0; i < N; i++) assert_told(&notes[i], i == N / 2 ? 0 : UV_ECANCELED);
  assert_int_equal(lock->release(object), 0);
  uvf_ctx_release(ctx);
  object_free(object);
}

/* --- misuse --- */

/* function: uvf_<lock>_<verb>, whose verb differs. */
static inline void assert_lock_misuse(void (*fn)(void *), misuse_t *m, int code) {
  const char *rule = test_expect_rule(fn, m);
  if (test_rules_on()) {
    assert_non_null(rule);
    assert_memory_equal(rule, lock->name, strlen(lock->name));
  } else {
    fn(m);
    assert_int_equal(m->rc, code);
  }
}

static inline void misuse_is_named_and_changes_nothing(void **state) {
  fixture_t *f = *state;
  void *object = object_new();
  note_t note;
  misuse_t m = {object, f->root, &note, lock->release, 1};
  note_init(&note, 0, NULL);
  assert_lock_misuse(misuse_call, &m, UV_EINVAL); /* nobody holds it */
  assert_int_equal(lock->attempt(object), 0);
  m.call = lock->destroy;
  assert_lock_misuse(misuse_call, &m, UV_EBUSY); /* it is held */
  note_start(&note, f->root, object);
  if (test_rules_on()) assert_lock_misuse(misuse_start, &m, 0); /* a request that is started */
  assert_lock_misuse(misuse_call, &m, UV_EBUSY);                /* somebody waits */
  assert_int_equal(lock->release(object), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_told(&note, 0);
  assert_int_equal(lock->release(object), 0);
  m.call = lock->release;
  assert_lock_misuse(misuse_call, &m, UV_EINVAL); /* released already */
  object_free(object);
}

static inline void off_the_loop(void *arg) {
  misuse_t *m = arg;
  m->rc = lock->start(m->ctx, &m->note->wait, m->object, on_note);
}

static inline void starts_belong_on_the_loop_and_twins_off_it(void **state) {
  fixture_t *f = *state;
  void *object = object_new();
  note_t note;
  misuse_t m = {object, f->root, &note, NULL, 1};
  turn(&f->loop);
  note_init(&note, 0, NULL);
  assert_int_equal(lock->attempt(object), 0);
  assert_lock_misuse(misuse_block, &m, UV_EPERM);
  if (!test_rules_on()) {
    on_thread(off_the_loop, &m);
    assert_int_equal(m.rc, UV_EINVAL);
  }
  assert_int_equal(lock->queued(object), 0);
  assert_int_equal(lock->release(object), 0);
  if (!test_rules_on()) { /* need not wait: a release build lets it pass */
    misuse_block(&m);
    assert_int_equal(m.rc, 0);
    assert_int_equal(lock->release(object), 0);
  }
  object_free(object);
}

static inline void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  void *object = object_new();
  note_t note;
  note_init(&note, 0, NULL);
  assert_int_equal(lock->init(NULL), UV_EINVAL);
  assert_int_equal(lock->destroy(NULL), UV_EINVAL);
  assert_int_equal(lock->attempt(NULL), UV_EINVAL);
  assert_int_equal(lock->release(NULL), UV_EINVAL);
  assert_int_equal(lock->start(NULL, &note.wait, object, on_note), UV_EINVAL);
  assert_int_equal(lock->start(f->root, NULL, object, on_note), UV_EINVAL);
  assert_int_equal(lock->start(f->root, &note.wait, NULL, on_note), UV_EINVAL);
  assert_int_equal(lock->start(f->root, &note.wait, object, NULL), UV_EINVAL);
  assert_int_equal(lock->block(NULL, object), UV_EINVAL);
  assert_int_equal(lock->block(f->root, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  object_free(object);
}

/* --- its memory goes in the last callback --- */

static inline void release_and_free(note_t *note) {
  void *object = note->arg;
  if (note->status == 0) note->status = lock->release(object);
  if (note->status == 0) note->status = lock->destroy(object);
  memset(object, 0xdb, lock->size);
  free(object);
}

static inline void release_only(void *object) {
  if (lock->release(object) != 0) abort();
}

static inline void it_may_be_destroyed_in_the_callback_of_its_last_holder(void **state) {
  fixture_t *f = *state;
  size_t rounds = test_scaled(2000, 10);
  for (size_t i = 0; i < rounds; i++) {
    void *object = object_new();
    note_t note;
    note_init(&note, 0, NULL);
    note.then = release_and_free;
    note.arg = object;
    if (i % 2) assert_int_equal(lock->attempt(object), 0);
    note_start(&note, f->root, object);
    if (i % 2) run_beside(&f->loop, release_only, object); /* it may still be in its release when the callback runs */
    if (note.calls == 0) run_until(&f->loop, &note.calls, 1);
    assert_told(&note, 0);
  }
}

/* --- mutual exclusion --- */

enum { SECTION_NOTES = 6 };

/* Plain fields: whatever is wrong with the lock is wrong with them, and a sanitizer sees it. */
typedef struct section_s {
  void *object;
  int inside;
  int broken;
  uint64_t entries;
} section_t;

static inline void section_pass(section_t *section) {
  if (section->inside != 0) section->broken++;
  section->inside = 1;
  section->entries++;
  for (volatile int i = 0; i < 20; i++) {}
  if (section->inside != 1) section->broken++;
  section->inside = 0;
  if (lock->release(section->object) != 0) section->broken++;
}

typedef struct party_s {
  section_t *section;
  lane_t *lane;
  uvf_ctx_t *ctx;
  uint64_t seed;
  size_t left;
  int active;
  uint64_t entered, ended, wrong;
  note_t notes[SECTION_NOTES];
  gate_t done;
  uv_thread_t thread;
} party_t;

static inline void party_go_on(party_t *party, note_t *note) {
  if (party->left > 0 && party->ctx != NULL) {
    party->left--;
    if (lock->start(party->ctx, &note->wait, party->section->object, on_note) != 0) party->wrong++;
  } else if (--party->active == 0) {
    gate_open(&party->done, 1);
  }
}

static inline void party_told(note_t *note) {
  party_t *party = note->arg;
  if (note->status == 0) {
    party->entered++;
    section_pass(party->section);
  } else {
    party->ended++;
    if (note->status != UV_ECANCELED) party->wrong++;
  }
  if (test_rand(&party->seed) % 4 == 0) {
    (void)uvf_op_cancel(note_op(&party->notes[test_rand(&party->seed) % SECTION_NOTES]));
  }
  if (test_rand(&party->seed) % 64 == 0) { /* all of them, and go on under a new one */
    uvf_ctx_cancel(party->ctx);
    uvf_ctx_release(party->ctx);
    if (uvf_ctx_with_cancel(party->lane->root, &party->ctx) != 0) party->wrong++;
  }
  party_go_on(party, note);
}

static inline void party_begin(void *arg) {
  party_t *party = arg;
  if (uvf_ctx_with_cancel(party->lane->root, &party->ctx) != 0) party->wrong++;
  party->active = SECTION_NOTES;
  for (int i = 0; i < SECTION_NOTES; i++) {
    note_init(&party->notes[i], i, NULL);
    party->notes[i].then = party_told;
    party->notes[i].arg = party;
  }
  for (int i = 0; i < SECTION_NOTES; i++) party_go_on(party, &party->notes[i]);
}

static inline void party_block(void *arg) {
  party_t *party = arg;
  for (; party->left > 0; party->left--) {
    int rc = test_rand(&party->seed) % 4 == 0 ? lock->attempt(party->section->object)
                                              : lock->block(party->ctx, party->section->object);
    if (rc == 0) {
      party->entered++;
      section_pass(party->section);
    } else if (rc == UV_EAGAIN) {
      party->ended++;
    } else {
      party->wrong++;
    }
  }
}

static inline void only_one_is_ever_inside_of_two_loops_and_two_threads_while_some_are_cancelled(void **state) {
  fixture_t *f = *state;
  size_t rounds = test_scaled(20000, 10);
  lane_t lanes[2];
  party_t *parties = calloc(4, sizeof *parties);
  uint64_t seed = test_seed(), entered = 0;
  section_t section = {object_new(), 0, 0, 0};
  assert_non_null(parties);
  for (int i = 0; i < 4; i++) {
    parties[i].section = &section;
    parties[i].left = rounds;
    parties[i].seed = test_rand(&seed);
    gate_init(&parties[i].done);
  }
  for (int i = 0; i < 2; i++) {
    lane_start(&lanes[i]);
    parties[i].lane = &lanes[i];
    parties[i + 2].ctx = f->root;
  }
  for (int i = 2; i < 4; i++) {
    assert_int_equal(uv_thread_create(&parties[i].thread, party_block, &parties[i]), 0);
  }
  for (int i = 0; i < 2; i++) lane_call(&lanes[i], party_begin, &parties[i]);
  for (int i = 0; i < 2; i++) gate_pass(&parties[i].done);
  for (int i = 2; i < 4; i++) assert_int_equal(uv_thread_join(&parties[i].thread), 0);
  for (int i = 0; i < 2; i++) {
    uvf_ctx_release(parties[i].ctx);
    lane_stop(&lanes[i]);
  }
  for (int i = 0; i < 4; i++) {
    assert_int_equal(parties[i].wrong, 0);
    assert_int_equal(parties[i].entered + parties[i].ended, rounds); /* each wait has ended once */
    assert_true(parties[i].entered > 0);
    entered += parties[i].entered;
    gate_destroy(&parties[i].done);
  }
  assert_int_equal(section.broken, 0);
  assert_int_equal(section.entries, entered);
  object_free(section.object);
  free(parties);
}

#define LOCK_TESTS                                                                                                     \
  unit(what_is_free_is_had_at_once_but_told_later), unit(nothing_is_had_under_a_context_that_is_over),                 \
      unit(a_wait_ends_once_by_whoever_claims_it), unit(of_two_that_claim_the_first_wins_and_nothing_is_lost),         \
      unit(a_blocked_thread_ends_once_by_whoever_claims_it),                                                           \
      unit(they_are_served_in_the_order_they_came_requests_and_threads_alike),                                         \
      unit(who_comes_when_it_was_handed_on_does_not_overtake), unit(one_that_is_ended_makes_way_at_once),              \
      unit(the_end_of_a_context_ends_all_its_waits_and_no_other), unit(misuse_is_named_and_changes_nothing),           \
      unit(starts_belong_on_the_loop_and_twins_off_it), unit(null_arguments_are_refused),                              \
      unit(it_may_be_destroyed_in_the_callback_of_its_last_holder),                                                    \
      unit(only_one_is_ever_inside_of_two_loops_and_two_threads_while_some_are_cancelled)

#endif
