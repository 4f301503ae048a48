/* SPDX-License-Identifier: MIT
 *
 * Once: one does it, the others wait; failures are handed on; every end of a wait; loops and threads at once.
 */
#include "unit/test_wait.h"

static void enter(note_t *note, uvf_ctx_t *ctx, uvf_once_t *once, int id, journal_t *journal) {
  note_init(note, id, journal);
  assert_int_equal(uvf_once_enter(ctx, &note->wait, once, on_note), 0);
}

static int enter_blocking(uvf_ctx_t *ctx, void *object) { return uvf_once_enter_wait(ctx, object); }

static void succeed(void *arg) {
  if (uvf_once_done(arg, 0) != 0) abort();
}

static void give_up(void *arg) {
  if (uvf_once_done(arg, UV_EIO) != 0) abort();
}

/* --- one does it --- */

static void the_first_does_it_and_all_others_are_told_when_it_is_done(void **state) {
  fixture_t *f = *state;
  uvf_once_t once;
  journal_t journal = {0};
  note_t notes[5];
  memset(&once, 0xa5, sizeof once);
  uvf_once_init(&once);
  assert_int_equal(uvf_once_is_done(&once), 0);
  for (int i = 0; i < 4; i++) enter(&notes[i], f->root, &once, i, &journal);
  assert_int_equal(journal.n, 0); /* never inside */
  turn(&f->loop);
  assert_journal(&journal, 0);
  assert_noted(&notes[0], UVF_ONCE_DO);
  assert_int_equal(uvf_once_is_done(&once), 0);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  assert_int_equal(uvf_once_is_done(&once), 1);
  assert_int_equal(journal.n, 1);
  run_until(&f->loop, &notes[3].calls, 1);
  assert_journal(&journal, 0, 1, 2, 3);
  for (int i = 1; i < 4; i++) assert_noted(&notes[i], 0);
  enter(&notes[4], f->root, &once, 4, &journal); /* for ever */
  assert_int_equal(notes[4].calls, 0);
  run_until(&f->loop, &notes[4].calls, 1);
  assert_noted(&notes[4], 0);
}

static void one_of_zeroes_is_one_that_is_not_done(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  note_t note;
  assert_int_equal(uvf_once_is_done(&once), 0);
  enter(&note, f->root, &once, 0, NULL);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, UVF_ONCE_DO);
  on_thread(succeed, &once); /* any thread */
  assert_int_equal(uvf_once_is_done(&once), 1);
}

static void a_failure_is_handed_to_the_next_and_only_to_that(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  journal_t journal = {0};
  note_t notes[4];
  for (int i = 0; i < 4; i++) enter(&notes[i], f->root, &once, i, &journal);
  turn(&f->loop);
  assert_int_equal(uvf_once_done(&once, UV_EIO), 0);
  turn(&f->loop);
  assert_journal(&journal, 0, 1);
  assert_noted(&notes[1], UVF_ONCE_DO);
  on_thread(give_up, &once);
  turn(&f->loop);
  assert_journal(&journal, 0, 1, 2);
  assert_noted(&notes[2], UVF_ONCE_DO);
  assert_int_equal(uvf_once_is_done(&once), 0);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  turn(&f->loop);
  assert_journal(&journal, 0, 1, 2, 3);
  assert_noted(&notes[3], 0);
}

static void after_a_failure_that_nobody_waits_for_the_next_who_comes_does_it(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  note_t notes[2];
  enter(&notes[0], f->root, &once, 0, NULL);
  run_until(&f->loop, &notes[0].calls, 1);
  assert_int_equal(uvf_once_done(&once, 7), 0); /* a positive code is a failure as well */
  assert_int_equal(uvf_once_is_done(&once), 0);
  enter(&notes[1], f->root, &once, 1, NULL);
  run_until(&f->loop, &notes[1].calls, 1);
  assert_noted(&notes[1], UVF_ONCE_DO);
  assert_int_equal(uvf_once_done(&once, 0), 0);
}

static void fail_here(note_t *note) {
  if (note->status == UVF_ONCE_DO) (void)uvf_once_done(note->arg, UV_EIO);
}

static void succeed_here(note_t *note) {
  if (note->status == UVF_ONCE_DO) (void)uvf_once_done(note->arg, 0);
}

static void it_may_be_ended_where_it_was_given(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  journal_t journal = {0};
  note_t notes[4];
  for (int i = 0; i < 4; i++) {
    enter(&notes[i], f->root, &once, i, &journal);
    notes[i].arg = &once;
    notes[i].then = i < 2 ? fail_here : succeed_here;
  }
  run_until(&f->loop, &notes[3].calls, 1);
  assert_journal(&journal, 0, 1, 2, 3);
  for (int i = 0; i < 4; i++) assert_noted(&notes[i], i < 3 ? UVF_ONCE_DO : 0);
  assert_int_equal(uvf_once_is_done(&once), 1);
}

/* --- ends --- */

static void a_doer_is_not_chosen_whose_context_is_over(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  uvf_ctx_t *over = child_of(f->root);
  note_t notes[4];
  turn(&f->loop);
  enter(&notes[0], f->root, &once, 0, NULL);
  enter(&notes[1], over, &once, 1, NULL);
  enter(&notes[2], over, &once, 2, NULL);
  enter(&notes[3], f->root, &once, 3, NULL);
  turn(&f->loop);
  on_thread(cancel_it, over); /* the loop does not know yet: they are still queued */
  assert_int_equal(uvf_once_done(&once, UV_EIO), 0);
  run_until(&f->loop, &notes[3].calls, 1);
  turn(&f->loop);
  assert_noted(&notes[1], UV_ECANCELED);
  assert_noted(&notes[2], UV_ECANCELED);
  assert_noted(&notes[3], UVF_ONCE_DO);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  uvf_ctx_release(over);
}

static void when_all_who_wait_have_ended_a_failure_leaves_it_to_who_comes_next(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  uvf_ctx_t *over = child_of(f->root);
  note_t notes[3];
  turn(&f->loop);
  enter(&notes[0], f->root, &once, 0, NULL);
  enter(&notes[1], over, &once, 1, NULL);
  turn(&f->loop);
  on_thread(cancel_it, over);
  assert_int_equal(uvf_once_done(&once, UV_EIO), 0);
  enter(&notes[2], f->root, &once, 2, NULL);
  run_until(&f->loop, &notes[2].calls, 1);
  turn(&f->loop);
  assert_noted(&notes[1], UV_ECANCELED);
  assert_noted(&notes[2], UVF_ONCE_DO);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  uvf_ctx_release(over);
}

static void one_that_was_chosen_does_it_though_its_context_ends_before_its_callback(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  uvf_ctx_t *ctx = child_of(f->root);
  note_t notes[2];
  enter(&notes[0], ctx, &once, 0, NULL);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&notes[0].wait), UV_EBUSY);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &notes[0].calls, 1);
  assert_noted(&notes[0], UVF_ONCE_DO);
  enter(&notes[1], f->root, &once, 1, NULL);
  turn(&f->loop);
  assert_int_equal(notes[1].calls, 0);
  assert_int_equal(uvf_once_done(&once, UV_ECANCELED), 0); /* handed on */
  run_until(&f->loop, &notes[1].calls, 1);
  assert_noted(&notes[1], UVF_ONCE_DO);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  uvf_ctx_release(ctx);
}

/* Who ends a wait, before it was told and after. */
static void every_end_of_a_wait_calls_back_once(void **state) {
  fixture_t *f = *state;
  enum { CANCEL, CONTEXT, FOREIGN, DEADLINE, CLOSE, ENDS };
  enum { WAITING, TOLD_DONE, TOLD_DO, WHENS };
  static const int err[ENDS] = {UV_ECANCELED, UV_ECANCELED, UV_ECANCELED, UV_ETIMEDOUT, UV_ECANCELED};
  static const int told[WHENS] = {0, 0, UVF_ONCE_DO};
  for (int when = 0; when < WHENS; when++) {
    for (int by = 0; by < ENDS; by++) {
      uvf_once_t once = {0};
      uvf_ctx_t *ctx = by == DEADLINE ? timeout_of(f->root, HOUR_MS / 2) : child_of(f->root);
      note_t doer, note;
      enter(&doer, f->root, &once, 0, NULL);
      run_until(&f->loop, &doer.calls, 1);
      enter(&note, ctx, &once, 1, NULL);
      if (when != WAITING) assert_int_equal(uvf_once_done(&once, when == TOLD_DONE ? 0 : UV_EIO), 0);
      switch (by) {
        case CANCEL: assert_int_equal(uvf_op_cancel((uvf_op_t *)&note.wait), when == WAITING ? 0 : UV_EBUSY); break;
        case CONTEXT: uvf_ctx_cancel(ctx); break;
        case FOREIGN: on_thread(cancel_it, ctx); break;
        case DEADLINE: an_hour_passes(ctx); break;
        default: fixture_close_root(f); break;
      }
      if (by != CLOSE) {
        assert_int_equal(note.calls, 0);
        run_until(&f->loop, &note.calls, 1);
        turn(&f->loop);
      }
      assert_noted(&note, when == WAITING ? err[by] : told[when]);
      assert_null(once.uvf__waits.first);
      if (when != TOLD_DONE) assert_int_equal(uvf_once_done(&once, 0), 0);
      assert_int_equal(uvf_once_is_done(&once), 1);
      uvf_ctx_release(ctx);
      if (by == CLOSE) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
    }
  }
  clock_of_old();
}

static void under_a_context_that_is_over_it_fails_though_it_need_not_have_waited(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = timeout_of(f->root, 0);
  uvf_once_t once = {0};
  note_t notes[3];
  blocked_t blocked;
  enter(&notes[0], over, &once, 0, NULL);
  run_until(&f->loop, &notes[0].calls, 1);
  assert_noted(&notes[0], UV_ETIMEDOUT);
  enter(&notes[1], f->root, &once, 1, NULL); /* it was not taken */
  run_until(&f->loop, &notes[1].calls, 1);
  assert_noted(&notes[1], UVF_ONCE_DO);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  enter(&notes[2], over, &once, 2, NULL);
  run_until(&f->loop, &notes[2].calls, 1);
  assert_noted(&notes[2], UV_ETIMEDOUT);
  blocked_start(&blocked, over, enter_blocking, &once);
  assert_int_equal(blocked_join(&blocked), UV_ETIMEDOUT);
  uvf_ctx_release(over);
}

static void where_it_never_ends_the_others_wait_until_their_own_ends(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *timed = timeout_of(f->root, 5);
  uvf_once_t once = {0};
  note_t doer, note;
  blocked_t blocked;
  enter(&doer, f->root, &once, 0, NULL);
  run_until(&f->loop, &doer.calls, 1);
  enter(&note, timed, &once, 1, NULL);
  blocked_start(&blocked, timed, enter_blocking, &once);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, UV_ETIMEDOUT);
  assert_true(note.at >= uvf_ctx_deadline_ns(timed));
  assert_int_equal(blocked_join(&blocked), UV_ETIMEDOUT);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  uvf_ctx_release(timed);
}

/* --- misuse --- */

static void end_it(void *arg) { (void)uvf_once_done(arg, 0); }

static void ending_what_nobody_does_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  note_t note;
  for (int round = 0; round < 2; round++) { /* before it, and once it is done */
    if (test_rules_on()) {
      const char *rule = test_expect_rule(end_it, &once);
      assert_non_null(rule);
      assert_memory_equal(rule, "uvf_once_done: ", strlen("uvf_once_done: "));
    } else {
      assert_int_equal(uvf_once_done(&once, UV_EIO), UV_EINVAL);
    }
    assert_int_equal(uvf_once_is_done(&once), round);
    enter(&note, f->root, &once, 0, NULL);
    run_until(&f->loop, &note.calls, 1);
    assert_noted(&note, round == 0 ? UVF_ONCE_DO : 0);
    if (round == 0) assert_int_equal(uvf_once_done(&once, 0), 0);
  }
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  note_t note;
  note_init(&note, 0, NULL);
  uvf_once_init(NULL);
  assert_int_equal(uvf_once_is_done(NULL), 0);
  assert_int_equal(uvf_once_done(NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_once_enter(NULL, &note.wait, &once, on_note), UV_EINVAL);
  assert_int_equal(uvf_once_enter(f->root, NULL, &once, on_note), UV_EINVAL);
  assert_int_equal(uvf_once_enter(f->root, &note.wait, NULL, on_note), UV_EINVAL);
  assert_int_equal(uvf_once_enter(f->root, &note.wait, &once, NULL), UV_EINVAL);
  assert_int_equal(uvf_once_enter_wait(NULL, &once), UV_EINVAL);
  assert_int_equal(uvf_once_enter_wait(f->root, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void a_whole_life_of_it_needs_no_memory(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  uvf_once_t once = {0};
  note_t notes[4];
  test_alloc_fail_at(1);
  for (int i = 0; i < 4; i++) enter(&notes[i], i == 1 ? ctx : f->root, &once, i, NULL);
  uvf_ctx_cancel(ctx);
  run_ready(&f->loop);
  assert_int_equal(uvf_once_done(&once, UV_EIO), 0);
  run_ready(&f->loop);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  run_ready(&f->loop);
  assert_int_equal(test_alloc_failed(), 0);
  test_alloc_fail_at(0);
  assert_noted(&notes[1], UV_ECANCELED);
  assert_noted(&notes[2], UVF_ONCE_DO);
  assert_noted(&notes[3], 0);
  uvf_ctx_release(ctx);
}

/* --- threads --- */

static void a_blocked_thread_does_it_or_waits_for_who_does(void **state) {
  fixture_t *f = *state;
  uvf_once_t once = {0};
  blocked_t threads[3];
  note_t note;
  blocked_start(&threads[0], f->root, enter_blocking, &once);
  assert_int_equal(blocked_join(&threads[0]), UVF_ONCE_DO);
  blocked_start(&threads[1], f->root, enter_blocking, &once);
  await_parked(f->root, 1);
  enter(&note, f->root, &once, 0, NULL);
  blocked_start(&threads[2], f->root, enter_blocking, &once);
  await_parked(f->root, 2);
  assert_int_equal(uvf_once_done(&once, UV_EIO), 0);
  assert_int_equal(blocked_join(&threads[1]), UVF_ONCE_DO);
  assert_int_equal(uvf_once_done(&once, 0), 0);
  assert_int_equal(blocked_join(&threads[2]), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, 0);
  blocked_start(&threads[0], f->root, enter_blocking, &once);
  assert_int_equal(blocked_join(&threads[0]), 0);
}

static void a_blocked_thread_is_ended_by_its_deadline_though_its_loop_is_stuck(void **state) {
  fixture_t *f = *state;
  stuck_t stuck;
  uvf_once_t once = {0};
  note_t doer;
  blocked_t blocked;
  enter(&doer, f->root, &once, 0, NULL);
  run_until(&f->loop, &doer.calls, 1);
  stuck_start(&stuck, 5);
  blocked_start(&blocked, stuck.ctx, enter_blocking, &once);
  assert_int_equal(blocked_join(&blocked), UV_ETIMEDOUT);
  assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(stuck.ctx));
  assert_null(once.uvf__waits.first);
  stuck_go_on(&stuck);
  stuck_stop(&stuck);
  assert_int_equal(uvf_once_done(&once, 0), 0);
}

typedef struct crowd_s {
  uvf_once_t once;
  int fails; /* this many doers fail; theirs alone, in turn */
  atomic_int inside, met, done, zeroes;
  int plain; /* not atomic: written by the doer, read by all who were told it is done */
} crowd_t;

/* As a doer does it. */
static void crowd_do(crowd_t *crowd) {
  int fails;
  if (atomic_fetch_add(&crowd->inside, 1) != 0) atomic_fetch_add(&crowd->met, 1);
  fails = crowd->fails > 0;
  if (fails) {
    crowd->fails--;
  } else {
    crowd->plain = 42;
    atomic_fetch_add(&crowd->done, 1);
  }
  atomic_fetch_sub(&crowd->inside, 1);
  uvf_once_done(&crowd->once, fails ? UV_EIO : 0);
}

static void crowd_told(crowd_t *crowd) {
  if (crowd->plain != 42) atomic_fetch_add(&crowd->met, 1000);
  atomic_fetch_add(&crowd->zeroes, 1);
}

static int crowd_thread(uvf_ctx_t *ctx, void *object) {
  crowd_t *crowd = object;
  int status = uvf_once_enter_wait(ctx, &crowd->once);
  if (status == UVF_ONCE_DO) {
    crowd_do(crowd);
  } else if (status == 0) {
    crowd_told(crowd);
  }
  return status;
}

static void crowd_note(note_t *note) {
  if (note->status == UVF_ONCE_DO) {
    crowd_do(note->arg);
  } else if (note->status == 0) {
    crowd_told(note->arg);
  }
}

enum { ON_LANE = 3 };

typedef struct crowd_lane_s {
  lane_t lane;
  crowd_t *crowd;
  note_t notes[ON_LANE];
} crowd_lane_t;

static void crowd_lane_enter(void *arg) {
  crowd_lane_t *l = arg;
  for (int i = 0; i < ON_LANE; i++) {
    note_init(&l->notes[i], i, NULL);
    l->notes[i].then = crowd_note;
    l->notes[i].arg = l->crowd;
    if (uvf_once_enter(l->lane.root, &l->notes[i].wait, &l->crowd->once, on_note) != 0) abort();
  }
}

static void two_loops_and_three_threads_do_it_one_at_a_time_and_once(void **state) {
  fixture_t *f = *state;
  crowd_lane_t l = {0};
  uint64_t seed = test_seed();
  int rounds = (int)test_scaled(1000, 10);
  turn(&f->loop);
  lane_start(&l.lane);
  lane_turn(&l.lane);
  for (int i = 0; i < rounds; i++) {
    crowd_t crowd = {0};
    blocked_t threads[3];
    note_t notes[3];
    int fails = crowd.fails = (int)(test_rand(&seed) % 4);
    l.crowd = &crowd;
    lane_post(&l.lane, crowd_lane_enter, &l);
    for (int k = 0; k < 3; k++) blocked_start(&threads[k], f->root, crowd_thread, &crowd);
    for (int k = 0; k < 3; k++) {
      enter(&notes[k], f->root, &crowd.once, k, NULL);
      notes[k].then = crowd_note;
      notes[k].arg = &crowd;
    }
    for (int k = 0; k < 3; k++) run_until(&f->loop, &notes[k].calls, 1);
    for (int k = 0; k < 3; k++) assert_true(blocked_join(&threads[k]) >= 0);
    lane_wait(&l.lane);
    lane_turn(&l.lane);
    for (int k = 0; k < ON_LANE; k++) assert_int_equal(l.notes[k].calls, 1);
    assert_int_equal(atomic_load(&crowd.met), 0);
    assert_int_equal(atomic_load(&crowd.done), 1);
    assert_int_equal(atomic_load(&crowd.zeroes), 3 + 3 + ON_LANE - 1 - fails);
    assert_int_equal(uvf_once_is_done(&crowd.once), 1);
  }
  lane_stop(&l.lane);
}

static void free_once(note_t *note) {
  memset(note->arg, 0xdb, sizeof(uvf_once_t));
  free(note->arg);
}

static void the_last_one_told_may_free_it(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 100; i++) {
    uvf_once_t *once = calloc(1, sizeof *once);
    note_t doer, note;
    uv_thread_t thread;
    assert_non_null(once);
    enter(&doer, f->root, once, 0, NULL);
    run_until(&f->loop, &doer.calls, 1);
    enter(&note, f->root, once, 1, NULL);
    note.then = free_once;
    note.arg = once;
    assert_int_equal(uv_thread_create(&thread, succeed, once), 0);
    run_until(&f->loop, &note.calls, 1);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_noted(&note, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(the_first_does_it_and_all_others_are_told_when_it_is_done),
      unit(one_of_zeroes_is_one_that_is_not_done),
      unit(a_failure_is_handed_to_the_next_and_only_to_that),
      unit(after_a_failure_that_nobody_waits_for_the_next_who_comes_does_it),
      unit(it_may_be_ended_where_it_was_given),
      unit(a_doer_is_not_chosen_whose_context_is_over),
      unit(when_all_who_wait_have_ended_a_failure_leaves_it_to_who_comes_next),
      unit(one_that_was_chosen_does_it_though_its_context_ends_before_its_callback),
      unit(every_end_of_a_wait_calls_back_once),
      unit(under_a_context_that_is_over_it_fails_though_it_need_not_have_waited),
      unit(where_it_never_ends_the_others_wait_until_their_own_ends),
      unit(ending_what_nobody_does_is_misuse),
      unit(null_arguments_are_refused),
      unit(a_whole_life_of_it_needs_no_memory),
      unit(a_blocked_thread_does_it_or_waits_for_who_does),
      unit(a_blocked_thread_is_ended_by_its_deadline_though_its_loop_is_stuck),
      unit(two_loops_and_three_threads_do_it_one_at_a_time_and_once),
      unit(the_last_one_told_may_free_it),
  };
  return test_run(tests);
}
