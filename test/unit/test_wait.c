/* SPDX-License-Identifier: MIT
 *
 * Waits: queues, the lock, who is served and who is told what, on one loop and several, by a turnstile of
 * the tests' own (test_wait.h).
 */
#include "unit/test_wait.h"

/* --- queues --- */

static void a_queue_of_zeroes_is_empty_and_keeps_the_order_they_came_in(void **state) {
  uvf__queue_t queue = {NULL, NULL};
  uvf__waiter_t w[4];
  (void)state;
  for (int i = 0; i < 4; i++) uvf__waiter_init(&w[i], NULL);
  for (int round = 0; round < 3; round++) { /* also after it has been emptied */
    for (int i = 0; i < 4; i++) uvf__queue_push(&queue, &w[i]);
    for (int i = 0; i < 4; i++) {
      assert_ptr_equal(queue.first, &w[i]);
      assert_int_equal(uvf__queue_remove(&queue, &w[i]), 1);
    }
    assert_null(queue.first);
  }
}

static void one_that_is_not_queued_cannot_be_removed(void **state) {
  uvf__queue_t queue = {NULL, NULL};
  uvf__waiter_t w[2];
  (void)state;
  for (int i = 0; i < 2; i++) uvf__waiter_init(&w[i], NULL);
  assert_int_equal(uvf__queue_remove(&queue, &w[0]), 0);
  uvf__queue_push(&queue, &w[0]);
  uvf__queue_push(&queue, &w[1]);
  assert_int_equal(uvf__queue_remove(&queue, &w[0]), 1);
  assert_int_equal(uvf__queue_remove(&queue, &w[0]), 0);
  assert_ptr_equal(queue.first, &w[1]);
  assert_int_equal(queue_length(&queue), 1);
}

static void one_put_at_the_head_comes_first(void **state) {
  uvf__queue_t queue = {NULL, NULL};
  uvf__waiter_t w[3];
  (void)state;
  for (int i = 0; i < 3; i++) uvf__waiter_init(&w[i], NULL);
  queue_unshift(&queue, &w[1]); /* of an empty one */
  queue_unshift(&queue, &w[0]);
  uvf__queue_push(&queue, &w[2]);
  for (int i = 0; i < 3; i++) {
    assert_ptr_equal(queue.first, &w[i]);
    assert_int_equal(uvf__queue_remove(&queue, &w[i]), 1);
  }
}

static void random_pushes_and_removals_keep_the_order_of_a_plain_list(void **state) {
  enum { N = 12 };
  uvf__queue_t queue = {NULL, NULL};
  uvf__waiter_t w[N];
  int model[N], n = 0;
  uint64_t seed = test_seed();
  (void)state;
  for (int i = 0; i < N; i++) uvf__waiter_init(&w[i], NULL);
  for (int step = 0; step < 20000; step++) {
    int i = (int)(test_rand(&seed) % N), at = 0;
    uvf__waiter_t *seen = queue.first;
    while (at < n && model[at] != i) at++;
    if (at < n) {
      assert_int_equal(uvf__queue_remove(&queue, &w[i]), 1);
      memmove(&model[at], &model[at + 1], (size_t)(n - at - 1) * sizeof *model);
      n--;
    } else if (test_rand(&seed) % 4 == 0) {
      queue_unshift(&queue, &w[i]);
      memmove(&model[1], &model[0], (size_t)n * sizeof *model);
      model[0] = i;
      n++;
    } else {
      uvf__queue_push(&queue, &w[i]);
      model[n++] = i;
    }
    seen = queue.first;
    for (int k = 0; k < n; k++, seen = seen->next) assert_ptr_equal(seen, &w[model[k]]);
    assert_null(seen);
  }
}

/* --- the lock --- */

typedef struct tally_s {
  uint32_t lock;
  int inside;
  int met; /* two were in there at once */
  uint64_t count;
  size_t each;
} tally_t;

static void count_up(void *arg) {
  tally_t *tally = arg;
  for (size_t i = 0; i < tally->each; i++) {
    uvf__lock(&tally->lock);
    if (tally->inside++ != 0) tally->met++;
    tally->count++;
    tally->inside--;
    uvf__unlock(&tally->lock);
  }
}

static void four_threads_under_one_lock_are_in_it_one_at_a_time(void **state) {
  tally_t tally = {0};
  uv_thread_t threads[4];
  (void)state;
  tally.each = test_scaled(200000, 10);
  for (int i = 0; i < 4; i++) assert_int_equal(uv_thread_create(&threads[i], count_up, &tally), 0);
  for (int i = 0; i < 4; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  assert_int_equal(tally.count, 4 * tally.each);
  assert_int_equal(tally.met, 0);
}

typedef struct holder_s {
  uint32_t lock;
  gate_t held, let_go;
  atomic_int entered;
} holder_t;

static void enter_after(void *arg) {
  holder_t *holder = arg;
  gate_open(&holder->held, 1);
  uvf__lock(&holder->lock);
  atomic_store(&holder->entered, 1);
  uvf__unlock(&holder->lock);
}

static void a_lock_that_is_held_long_is_waited_for_without_end(void **state) {
  holder_t holder = {0};
  uv_thread_t thread;
  (void)state;
  gate_init(&holder.held);
  uvf__lock(&holder.lock);
  assert_int_equal(uv_thread_create(&thread, enter_after, &holder), 0);
  gate_pass(&holder.held);
  uv_sleep(40); /* long enough for it to give its processor away */
  assert_int_equal(atomic_load(&holder.entered), 0);
  uvf__unlock(&holder.lock);
  assert_int_equal(uv_thread_join(&thread), 0);
  assert_int_equal(atomic_load(&holder.entered), 1);
  gate_destroy(&holder.held);
}

/* --- serving --- */

static void who_need_not_wait_is_called_back_later_and_in_order(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  journal_t journal = {0};
  note_t notes[3];
  t.tokens = 3;
  for (int i = 0; i < 3; i++) pass(&notes[i], f->root, &t, i, &journal);
  assert_int_equal(journal.n, 0); /* never inside the start */
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&notes[0].wait), UV_EBUSY);
  run_until(&f->loop, &notes[2].calls, 1);
  assert_journal(&journal, 0, 1, 2);
  for (int i = 0; i < 3; i++) assert_noted(&notes[i], 0);
}

static void they_are_served_in_the_order_they_came_and_never_inside_the_call(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  journal_t journal = {0};
  note_t notes[5];
  for (int i = 0; i < 5; i++) pass(&notes[i], f->root, &t, i, &journal);
  turn(&f->loop);
  assert_int_equal(journal.n, 0);
  give(&t, 2);
  assert_int_equal(journal.n, 0);
  run_until(&f->loop, &notes[1].calls, 1);
  assert_journal(&journal, 0, 1);
  on_thread(give_one, &t); /* from another thread: through the loop's post */
  on_thread(give_one, &t);
  assert_int_equal(stats_of(f->root).ready, 0);
  run_until(&f->loop, &notes[3].calls, 1);
  assert_journal(&journal, 0, 1, 2, 3);
  assert_int_equal(notes[4].calls, 0);
  give(&t, 1);
  run_until(&f->loop, &notes[4].calls, 1);
  for (int i = 0; i < 5; i++) assert_noted(&notes[i], 0);
}

static void a_queue_that_is_taken_from_passes_over_those_that_have_ended_already(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  note_t notes[3];
  uvf__told_t told;
  uvf_op_t *first = (uvf_op_t *)&notes[0].wait;
  uvf__waiter_t *w;
  for (int i = 0; i < 3; i++) pass(&notes[i], f->root, &t, i, NULL);
  assert_int_equal(uvf__op_claim(first), 1); /* as its loop does, an instant before it withdraws it */
  first->status = UV_ECANCELED;
  uvf__told_init(&told);
  w = uvf__queue_take(&t.queue, &told);
  assert_ptr_equal(w, &notes[1].wait.uvf__waiter);
  assert_ptr_equal(told.first, w);
  assert_null(w->next);
  assert_null(notes[0].wait.uvf__waiter.prev); /* out of the queue, and nobody's but its claimant's */
  assert_int_equal(uvf__queue_remove(&t.queue, &notes[0].wait.uvf__waiter), 0);
  assert_int_equal(queue_length(&t.queue), 1);
  uvf__tell(&told);
  assert_int_equal(withdraw(first), 1);
  uvf__op_ready(first);
  give(&t, 1);
  run_until(&f->loop, &notes[2].calls, 1);
  assert_noted(&notes[0], UV_ECANCELED);
  assert_noted(&notes[1], 0);
  assert_noted(&notes[2], 0);
  assert_int_equal(t.tokens, 0);
}

static void one_whose_context_has_ended_is_passed_over_and_ends_in_the_order_of_its_cancel(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  journal_t journal = {0};
  uvf_ctx_t *over = child_of(f->root);
  note_t notes[3];
  turn(&f->loop);
  pass(&notes[0], over, &t, 0, &journal);
  pass(&notes[1], f->root, &t, 1, &journal);
  pass(&notes[2], over, &t, 2, &journal);
  on_thread(cancel_it, over); /* its loop does not know yet */
  assert_int_equal(queue_length(&t.queue), 3);
  give(&t, 1);
  assert_int_equal(t.tokens, 0);
  assert_int_equal(queue_length(&t.queue), 1);
  run_until(&f->loop, &notes[0].calls, 1);
  assert_int_equal(journal_find(&journal, 2) < journal_find(&journal, 0), 1); /* the newest first, as ever */
  assert_noted(&notes[0], UV_ECANCELED);
  assert_noted(&notes[1], 0);
  assert_noted(&notes[2], UV_ECANCELED);
  uvf_ctx_release(over);
}

static void an_empty_queue_gives_nobody_and_tells_nobody(void **state) {
  uvf__queue_t queue = {NULL, NULL};
  uvf__told_t told;
  (void)state;
  uvf__told_init(&told);
  assert_null(uvf__queue_take(&queue, &told));
  assert_null(told.first);
  uvf__tell(&told);
}

static void one_may_be_claimed_from_the_middle_of_its_queue(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  journal_t journal = {0};
  note_t notes[3];
  uvf__told_t told;
  for (int i = 0; i < 3; i++) pass(&notes[i], f->root, &t, i, &journal);
  uvf__told_init(&told);
  assert_int_equal(uvf__wait_claim(&t.queue, &notes[1].wait.uvf__waiter, &told), 1);
  assert_int_equal(notes[1].wait.uvf__waiter.won, 1);
  assert_int_equal(uvf__wait_claim(&t.queue, &notes[1].wait.uvf__waiter, &told), 0); /* once only */
  assert_ptr_equal(t.queue.first, &notes[0].wait.uvf__waiter);
  assert_int_equal(queue_length(&t.queue), 2);
  uvf__tell(&told);
  give(&t, 2);
  run_until(&f->loop, &notes[2].calls, 1);
  assert_journal(&journal, 1, 0, 2);
}

/* The table of who may end a wait: cancel of it, cancel of its context, its deadline, its root's close; and each of
 * them too late, when it has been served. */
static void every_end_of_a_wait_calls_back_once_and_takes_no_token(void **state) {
  fixture_t *f = *state;
  enum { CANCEL, CONTEXT, FOREIGN, DEADLINE, CLOSE, ENDS };
  for (int served = 0; served < 2; served++) {
    for (int by = 0; by < ENDS; by++) {
      static const int err[ENDS] = {UV_ECANCELED, UV_ECANCELED, UV_ECANCELED, UV_ETIMEDOUT, UV_ECANCELED};
      turnstile_t t = {0};
      uvf_ctx_t *ctx = by == DEADLINE ? timeout_of(f->root, HOUR_MS / 2) : child_of(f->root);
      note_t note, behind;
      turn(&f->loop);
      pass(&note, ctx, &t, 0, NULL);
      if (served) give(&t, 1);
      switch (by) {
        case CANCEL: assert_int_equal(uvf_op_cancel((uvf_op_t *)&note.wait), served ? UV_EBUSY : 0); break;
        case CONTEXT: uvf_ctx_cancel(ctx); break;
        case FOREIGN: on_thread(cancel_it, ctx); break;
        case DEADLINE: an_hour_passes(ctx); break;
        default: fixture_close_root(f); break;
      }
      assert_int_equal(note.calls, by == CLOSE); /* the close has run the loop */
      if (by != CLOSE) run_until(&f->loop, &note.calls, 1);
      assert_noted(&note, served ? 0 : err[by]);
      assert_null(t.queue.first);
      assert_int_equal(t.tokens, 0);
      if (by == CLOSE) {
        uvf_ctx_release(ctx);
        assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
        continue;
      }
      pass(&behind, f->root, &t, 1, NULL);
      give(&t, 1);
      run_until(&f->loop, &behind.calls, 1);
      assert_noted(&behind, 0);
      assert_int_equal(note.calls, 1);
      uvf_ctx_release(ctx);
    }
  }
  clock_of_old();
}

static void under_a_context_that_is_over_nothing_is_queued_or_taken(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  uvf_ctx_t *over = timeout_of(f->root, 0);
  note_t note;
  t.tokens = 1;
  pass(&note, over, &t, 0, NULL);
  assert_null(t.queue.first);
  assert_int_equal(note.calls, 0);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, UV_ETIMEDOUT);
  assert_null(note.value);
  assert_int_equal(t.tokens, 1);
  uvf_ctx_release(over);
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  uvf__parker_t parker;
  note_t note;
  note_init(&note, 0, NULL);
  assert_int_equal(uvf__wait_begin(NULL, &note.wait, &turnstile_type, &t, 0, on_note, "pass"), UV_EINVAL);
  assert_int_equal(uvf__wait_begin(f->root, NULL, &turnstile_type, &t, 0, on_note, "pass"), UV_EINVAL);
  assert_int_equal(uvf__wait_begin(f->root, &note.wait, &turnstile_type, NULL, 0, on_note, "pass"), UV_EINVAL);
  assert_int_equal(uvf__wait_block_begin(NULL, &note.wait, &turnstile_type, &t, 0, &parker), UV_EINVAL);
  assert_int_equal(uvf__wait_block_begin(f->root, &note.wait, &turnstile_type, NULL, 0, &parker), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void free_turnstile(note_t *note) {
  turnstile_t *t = note->arg;
  memset(t, 0xdb, sizeof *t);
  free(t);
}

static void the_object_may_be_gone_with_the_callback_of_the_last_one_told(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 200; i++) {
    turnstile_t *t = calloc(1, sizeof *t);
    note_t note;
    uv_thread_t thread;
    assert_non_null(t);
    pass(&note, f->root, t, 0, NULL);
    note.then = free_turnstile;
    note.arg = t;
    turn(&f->loop);
    assert_int_equal(uv_thread_create(&thread, give_one, t), 0);
    run_until(&f->loop, &note.calls, 1);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_noted(&note, 0);
  }
}

/* --- a pile: the newest first, and the one on top may want more than there is --- */

static void pile_serve(turnstile_t *pile, uvf__told_t *told) {
  while (pile->queue.first != NULL && uvf__wait_of(pile->queue.first)->uvf__want <= pile->tokens) {
    uvf__waiter_t *w = uvf__queue_take(&pile->queue, told);
    if (w != NULL) pile->tokens -= uvf__wait_of(w)->uvf__want;
  }
}

static int pile_withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = (uvf_wait_t *)(void *)op;
  turnstile_t *pile = wait->uvf__object;
  uvf__told_t told;
  uvf__told_init(&told);
  uvf__lock(&pile->lock);
  uvf__queue_remove(&pile->queue, &wait->uvf__waiter);
  pile_serve(pile, &told);
  uvf__unlock(&pile->lock);
  uvf__tell(&told);
  return 1;
}

static const uvf__op_type_t pile_type = {
    .name = "pile", .withdraw = pile_withdraw, .deliver = uvf__wait_deliver, .posted = uvf__wait_posted};

static void pile_start(note_t *note, uvf_ctx_t *ctx, turnstile_t *pile, uint64_t want) {
  note_init(note, 0, NULL);
  assert_int_equal(uvf__wait_begin(ctx, &note->wait, &pile_type, pile, want, on_note, "pile"), 1);
  uvf__lock(&pile->lock);
  queue_unshift(&pile->queue, &note->wait.uvf__waiter);
  uvf__unlock(&pile->lock);
}

static void all_waits_of_a_context_end_though_the_withdrawal_of_one_serves_others_of_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  turnstile_t pile = {0}, other = {0};
  note_t elsewhere, below[3], top;
  turn(&f->loop); /* its thread is known: who is served is ready at once */
  pass(&elsewhere, ctx, &other, 0, NULL);
  for (int i = 0; i < 3; i++) pile_start(&below[i], ctx, &pile, 1);
  pile_start(&top, ctx, &pile, 2);
  pile.tokens = 1;
  uvf_ctx_cancel(ctx); /* the newest is withdrawn first, and those below it make way at once */
  turn(&f->loop);
  assert_noted(&top, UV_ECANCELED);
  for (int i = 0; i < 3; i++) assert_noted(&below[i], UV_ECANCELED);
  assert_noted(&elsewhere, UV_ECANCELED);
  assert_null(other.queue.first);
  assert_int_equal(pile.tokens, 1);
  assert_int_equal(counts_of(ctx).ops, 0);
  uvf_ctx_release(ctx);
}

/* --- several loops --- */

typedef struct far_s {
  lane_t lane;
  note_t note;
  turnstile_t *t;
} far_t;

static void far_start(void *arg) {
  far_t *far = arg;
  note_init(&far->note, 1, NULL);
  if (uvf__wait_begin(far->lane.root, &far->note.wait, &turnstile_type, far->t, 0, on_note, "pass") != 1) abort();
  start(far->t, &far->note.wait);
}

static void each_is_told_on_its_own_loop_and_blocked_threads_on_their_own(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  far_t far = {.t = &t};
  note_t near;
  blocked_t blocked;
  uv_thread_t self = uv_thread_self();
  lane_start(&far.lane);
  lane_turn(&far.lane);
  pass(&near, f->root, &t, 0, NULL);
  lane_call(&far.lane, far_start, &far);
  blocked_start(&blocked, f->root, pass_blocking, &t);
  await_queued(&t, 3);
  give(&t, 3);
  assert_int_equal(blocked_join(&blocked), 0);
  run_until(&f->loop, &near.calls, 1);
  lane_turn(&far.lane);
  assert_noted(&near, 0);
  assert_noted(&far.note, 0);
  assert_true(uv_thread_equal(&near.thread, &self));
  assert_true(uv_thread_equal(&far.note.thread, &far.lane.thread));
  assert_int_equal(t.tokens, 0);
  lane_stop(&far.lane);
}

/* --- before the loop has run --- */

typedef struct moved_s {
  uv_loop_t loop;
  uvf_ctx_t *root;
  note_t note;
  int closed;
} moved_t;

static void on_moved_closed(uvf_ctx_t *root) { ((moved_t *)uvf_ctx_loop(root)->data)->closed++; }

static void close_moved(note_t *note) {
  moved_t *moved = note->arg;
  uvf_ctx_close(moved->root, on_moved_closed);
}

static void run_moved(void *arg) {
  moved_t *moved = arg;
  uv_run(&moved->loop, UV_RUN_DEFAULT);
}

static void moved_open(moved_t *moved, turnstile_t *t) {
  memset(moved, 0, sizeof *moved);
  assert_int_equal(uv_loop_init(&moved->loop), 0);
  moved->loop.data = moved;
  assert_int_equal(uvf_ctx_background(&moved->loop, &moved->root), 0);
  pass(&moved->note, moved->root, t, 0, NULL);
  moved->note.then = close_moved;
  moved->note.arg = moved;
}

static void what_is_told_before_the_loop_has_run_is_left_to_the_thread_that_runs_it(void **state) {
  (void)state;
  for (int i = 0; i < 100; i++) {
    turnstile_t t = {0};
    moved_t moved;
    uv_thread_t thread;
    moved_open(&moved, &t);
    if (i % 2 == 0) { /* told before the thread is there ... */
      give(&t, 1);
      assert_int_equal(stats_of(moved.root).ready, 0); /* nothing of the loop's was touched */
    }
    assert_int_equal(uv_thread_create(&thread, run_moved, &moved), 0);
    if (i % 2 != 0) give(&t, 1); /* ... or while it begins */
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_noted(&moved.note, 0);
    assert_true(uv_thread_equal(&moved.note.thread, &thread));
    assert_int_equal(moved.closed, 1);
    assert_int_equal(uv_loop_close(&moved.loop), 0);
  }
}

/* --- a race: exactly one winner --- */

static void duel_gives_alone(void *arg) {
  duel_t *duel = arg;
  duel_meet(duel, 2, 0);
  give(&duel->t, 1);
}

static void a_wait_on_a_loop_that_is_told_and_ended_at_once_gets_one_of_the_two(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  int told = 0, ended = 0, n = (int)test_scaled(6000, 10);
  turn(&f->loop);
  for (int i = 0; i < n; i++) {
    duel_t duel;
    note_t note;
    uv_thread_t giver;
    duel_begin(&duel, f, &seed);
    pass(&note, duel.ctx, &duel.t, 0, NULL);
    assert_int_equal(uv_thread_create(&giver, duel_gives_alone, &duel), 0);
    duel_meet(&duel, 2, 2);
    if (i % 2 == 0) {
      uvf_ctx_cancel(duel.ctx);
    } else if (uvf_op_cancel((uvf_op_t *)&note.wait) == 0) {
      assert_int_equal(note.wait.status, UV_ECANCELED);
    }
    run_until(&f->loop, &note.calls, 1);
    assert_int_equal(uv_thread_join(&giver), 0);
    if (note.status == 0) {
      told++;
    } else {
      assert_int_equal(note.status, UV_ECANCELED);
      ended++;
    }
    assert_int_equal(note.calls, 1);
    assert_int_equal(duel.t.tokens, note.status == 0 ? 0 : 1);
    assert_null(duel.t.queue.first);
    uvf_ctx_release(duel.ctx);
  }
  assert_int_equal(told + ended, n);
  assert_true(told > 0);
  assert_true(ended > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_queue_of_zeroes_is_empty_and_keeps_the_order_they_came_in),
      cmocka_unit_test(one_that_is_not_queued_cannot_be_removed),
      cmocka_unit_test(one_put_at_the_head_comes_first),
      cmocka_unit_test(random_pushes_and_removals_keep_the_order_of_a_plain_list),
      cmocka_unit_test(four_threads_under_one_lock_are_in_it_one_at_a_time),
      cmocka_unit_test(a_lock_that_is_held_long_is_waited_for_without_end),
      unit(who_need_not_wait_is_called_back_later_and_in_order),
      unit(they_are_served_in_the_order_they_came_and_never_inside_the_call),
      unit(a_queue_that_is_taken_from_passes_over_those_that_have_ended_already),
      unit(one_whose_context_has_ended_is_passed_over_and_ends_in_the_order_of_its_cancel),
      cmocka_unit_test(an_empty_queue_gives_nobody_and_tells_nobody),
      unit(one_may_be_claimed_from_the_middle_of_its_queue),
      unit(every_end_of_a_wait_calls_back_once_and_takes_no_token),
      unit(under_a_context_that_is_over_nothing_is_queued_or_taken),
      unit(null_arguments_are_refused),
      unit(the_object_may_be_gone_with_the_callback_of_the_last_one_told),
      unit(all_waits_of_a_context_end_though_the_withdrawal_of_one_serves_others_of_it),
      unit(each_is_told_on_its_own_loop_and_blocked_threads_on_their_own),
      cmocka_unit_test(what_is_told_before_the_loop_has_run_is_left_to_the_thread_that_runs_it),
      unit(a_wait_on_a_loop_that_is_told_and_ended_at_once_gets_one_of_the_two),
  };
  return test_run(tests);
}
