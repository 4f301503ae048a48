/* SPDX-License-Identifier: MIT
 *
 * For-each: batches, sharing a channel, and each kind of end.
 */
#include "unit/each_probe.h"

/* --- all of it --- */

static void it_receives_every_item_in_order_until_the_channel_is_closed_and_drained(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    range_t *r = range_new(chan);
    int capacity = (int)capacities[i];
    put(chan, 1, capacity);
    range_start(r, f->root, 0);
    run_ready(&f->loop);
    assert_gave(r, 1, capacity);
    assert_waiting(chan, 0, 0, 1);
    for (int k = 1; k <= 100; k++) {
      put(chan, capacity + k, capacity + k);
      assert_int_equal(r->n, capacity + k - 1);
      run_ready(&f->loop);
    }
    assert_gave(r, 1, capacity + 100);
    put(chan, capacity + 101, capacity + 101);
    if (capacity > 1) put(chan, capacity + 102, capacity + 102);
    uvf_chan_close(chan);
    assert_int_equal(r->ends, 0);
    run_until(&f->loop, &r->ends, 1);
    run_ready(&f->loop);
    assert_int_equal(r->ends, 1);
    assert_int_equal(r->status, UV_EOF);
    assert_gave(r, 1, capacity + (capacity > 1 ? 102 : 101));
    assert_int_equal(chan_stats_of(chan).received, (uint64_t)r->n);
    free(r);
    uvf_chan_release(chan);
  }
}

static void items_come_in_batches_of_64_at_most(void **state) {
  fixture_t *f = *state;
  static const int rows[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_chan_t *chan = chan_of(1000);
    range_t *r = range_new(chan);
    put(chan, 1, rows[i]);
    range_start(r, f->root, 0);
    run_ready(&f->loop);
    assert_gave(r, 1, rows[i]);
    assert_int_equal(r->largest, rows[i] < 64 ? rows[i] : 64);
    assert_int_equal(r->calls, (rows[i] + 63) / 64);
    uvf_chan_close(chan);
    run_until(&f->loop, &r->ends, 1);
    assert_int_equal(r->status, UV_EOF);
    free(r);
    uvf_chan_release(chan);
  }
}

static void it_takes_the_items_of_waiting_senders_too(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity < 3; capacity++) {
    uvf_chan_t *chan = chan_of(capacity);
    range_t *r = range_new(chan);
    call_t sends[150] = {0};
    for (int i = 0; i < 150; i++) send_start(&sends[i], f->root, chan, ITEM(i));
    range_start(r, f->root, 0);
    run_until(&f->loop, &sends[149].calls, 1);
    for (int i = 0; i < 150; i++) assert_ended(&sends[i], 0);
    assert_gave(r, 0, 149);
    uvf_chan_close(chan);
    run_until(&f->loop, &r->ends, 1);
    free(r);
    uvf_chan_release(chan);
  }
}

static void a_channel_that_is_closed_already_is_drained_and_an_empty_one_ends_it_soon(void **state) {
  fixture_t *f = *state;
  for (int n = 0; n <= 2; n++) {
    uvf_chan_t *chan = chan_of(2);
    range_t *r = range_new(chan);
    put(chan, 1, n);
    uvf_chan_close(chan);
    range_start(r, f->root, 0);
    run_until(&f->loop, &r->ends, 1);
    assert_gave(r, 1, n);
    assert_int_equal(r->status, UV_EOF);
    free(r);
    uvf_chan_release(chan);
  }
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  range_t *r = range_new(chan);
  assert_int_equal(uvf_chan_each(NULL, &r->each, chan, 0, on_items, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, NULL, chan, 0, on_items, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, &r->each, NULL, 0, on_items, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, &r->each, chan, 0, NULL, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, &r->each, chan, 0, on_items, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_waiting(chan, 0, 0, 0);
  free(r);
  uvf_chan_release(chan);
}

static void it_holds_the_loop_the_context_and_the_channel_until_its_end_and_allocates_nothing(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  uvf_chan_t *chan = chan_dropping(4, UVF_CHAN_WAIT, &drops);
  range_t *r = range_new(chan);
  uvf_ctx_t *ctx = child_of(f->root);
  size_t count = test_alloc_count(), live = test_alloc_live();
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  range_start(r, ctx, 0);
  uvf_chan_retain(chan);
  uvf_chan_release(chan);
  uvf_chan_release(chan); /* ours: it has its own */
  uvf_ctx_retain(ctx);
  uvf_ctx_release(ctx);
  run_ready(&f->loop);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0);
  put(chan, 1, 3);
  run_ready(&f->loop);
  assert_gave(r, 1, 3);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(stats_of(f->root).contexts, 2);
  put(chan, 4, 5); /* handed over one, one in the room */
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  assert_int_equal(drops.n, 0);
  run_until(&f->loop, &r->ends, 1);
  run_ready(&f->loop);
  assert_int_equal(r->status, UV_ECANCELED);
  assert_gave(r, 1, 4);
  assert_int_equal(drops.n, 1); /* with the channel itself */
  assert_int_equal(drops.item[0], 5);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(stats_of(f->root).contexts, 1);
  assert_int_equal(test_alloc_count(), count);
  assert_int_equal(test_alloc_live(), live - 1);
  free(r);
}

/* --- sharing --- */

static void for_eaches_that_share_a_channel_are_woken_in_turn(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity < 3; capacity++) {
    uvf_chan_t *chan = chan_of(capacity);
    journal_t journal = {0};
    range_t *r[3];
    for (int i = 0; i < 3; i++) {
      r[i] = range_new(chan);
      r[i]->id = i;
      r[i]->journal = &journal;
      range_start(r[i], f->root, 0);
    }
    run_ready(&f->loop);
    assert_waiting(chan, 0, 0, 3);
    put(chan, 1, 3); /* one for each of them */
    assert_waiting(chan, 0, 0, 0);
    run_ready(&f->loop);
    for (int k = 4; k <= 9; k++) {
      put(chan, k, k);
      run_ready(&f->loop);
    }
    assert_journal(&journal, 0, 1, 2, 0, 1, 2, 0, 1, 2);
    for (int i = 0; i < 3; i++) {
      assert_int_equal(r[i]->n, 3);
      for (int k = 0; k < 3; k++) assert_int_equal(r[i]->got[k], i + 1 + 3 * k);
    }
    uvf_chan_close(chan);
    for (int i = 0; i < 3; i++) run_until(&f->loop, &r[i]->ends, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(r[i]->status, UV_EOF);
    for (int i = 0; i < 3; i++) free(r[i]);
    uvf_chan_release(chan);
  }
}

static void for_eaches_that_share_a_backlog_take_their_share_of_each_turn(void **state) {
  fixture_t *f = *state;
  enum { N = 4000 };
  uvf_chan_t *chan = chan_of(N);
  range_t *r[2];
  char *seen = calloc(N + 1, 1);
  assert_non_null(seen);
  for (int i = 0; i < 2; i++) r[i] = range_new(chan);
  put(chan, 1, N);
  uvf_chan_close(chan);
  for (int i = 0; i < 2; i++) range_start(r[i], f->root, 100);
  for (int i = 0; i < 2; i++) run_until(&f->loop, &r[i]->ends, 1);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(r[i]->n, N / 2);
    for (int k = 0; k < r[i]->n; k++) {
      assert_int_equal(seen[r[i]->got[k]], 0);
      seen[r[i]->got[k]] = 1;
      if (k > 0) assert_true(r[i]->got[k] > r[i]->got[k - 1]);
    }
    free(r[i]);
  }
  free(seen);
  uvf_chan_release(chan);
}

static void a_for_each_and_a_plain_receiver_take_turns(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity < 2; capacity++) {
    uvf_chan_t *chan = chan_of(capacity);
    range_t *r = range_new(chan);
    call_t recv = {0};
    range_start(r, f->root, 0);
    run_ready(&f->loop);
    for (int i = 0; i < 10; i++) {
      recv_start(&recv, f->root, chan); /* behind the for-each, which waits since before */
      put(chan, 2 * i, 2 * i);
      run_ready(&f->loop);
      assert_int_equal(recv.calls, 0);
      assert_waiting(chan, 0, 0, 2);
      put(chan, 2 * i + 1, 2 * i + 1); /* the for-each stands behind it now */
      run_ready(&f->loop);
      assert_got(&recv, 2 * i + 1);
      assert_int_equal(r->n, i + 1);
      assert_int_equal(r->got[i], 2 * i);
    }
    assert_int_equal(range_stop(r), 0);
    run_until(&f->loop, &r->ends, 1);
    put(chan, 1, (int)capacity);
    assert_int_equal(uvf_chan_try_send(chan, ITEM(9)), UV_EAGAIN); /* nobody waits any more */
    free(r);
    uvf_chan_release(chan);
  }
}

/* --- ends --- */

static void it_ends_with_what_ended_its_context(void **state) {
  fixture_t *f = *state;
  for (int how = 0; how < 5; how++) {
    uvf_chan_t *chan = chan_of(4);
    range_t *r = range_new(chan);
    uvf_ctx_t *ctx = how == 1 ? timeout_of(f->root, 5) : child_of(f->root);
    range_start(r, ctx, 0);
    run_ready(&f->loop);
    if (how != 1) assert_int_equal(counts_of(ctx).ops, 1);
    if (how == 0) uvf_ctx_cancel(ctx);
    if (how == 2) on_thread(cancel_ctx, ctx);
    if (how == 3) assert_int_equal(range_stop(r), 0);
    if (how == 4) uvf_chan_close(chan);
    if (how != 1) assert_int_equal(r->ends, 0); /* the deadline may have come already */
    run_until(&f->loop, &r->ends, 1);
    turn(&f->loop);
    assert_int_equal(r->ends, 1);
    assert_int_equal(r->status, how == 1 ? UV_ETIMEDOUT : how == 4 ? UV_EOF : UV_ECANCELED);
    if (how == 1) assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
    assert_int_equal(r->calls, 0);
    assert_int_equal(range_stop(r), UV_EBUSY);
    assert_waiting(chan, 0, 0, 0);
    uvf_ctx_release(ctx);
    free(r);
    uvf_chan_release(chan);
  }
}

static void under_a_context_that_is_over_it_receives_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  uvf_chan_t *chan = chan_of(4);
  range_t *r = range_new(chan);
  put(chan, 1, 4);
  range_start(r, ctx, 0);
  run_until(&f->loop, &r->ends, 1);
  assert_int_equal(r->status, UV_ETIMEDOUT);
  assert_int_equal(r->calls, 0);
  take(chan, 1, 4);
  uvf_ctx_release(ctx);
  free(r);
  uvf_chan_release(chan);
}

static void a_stop_right_after_the_start_takes_nothing(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(4);
  range_t *r = range_new(chan);
  put(chan, 1, 4);
  range_start(r, f->root, 0);
  assert_int_equal(range_stop(r), 0);
  assert_int_equal(range_stop(r), UV_EBUSY);
  run_until(&f->loop, &r->ends, 1);
  assert_int_equal(r->status, UV_ECANCELED);
  assert_int_equal(r->calls, 0);
  take(chan, 1, 4);
  free(r);
  uvf_chan_release(chan);
}

/* --- misuse --- */

static void start_once_more(void *arg) {
  range_t *r = arg;
  r->rc = uvf_chan_each(r->each.ctx, &r->each, r->chan, 0, on_items, on_end);
}

static void starting_it_twice_or_elsewhere_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(4);
  range_t *r = range_new(chan), *other = range_new(chan);
  lane_t lane;
  range_start(r, f->root, 0);
  run_ready(&f->loop);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_once_more, r);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_chan_each: ", 15);
  }
  lane_start(&lane);
  lane_turn(&lane);
  other->each.ctx = lane.root;
  if (test_rules_on()) {
    assert_non_null(test_expect_rule(start_once_more, other));
  } else {
    start_once_more(other);
    assert_int_equal(other->rc, UV_EINVAL);
  }
  assert_waiting(chan, 0, 0, 1);
  lane_stop(&lane);
  uvf_chan_close(chan);
  run_until(&f->loop, &r->ends, 1);
  assert_int_equal(r->ends, 1);
  free(r);
  free(other);
  uvf_chan_release(chan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(it_receives_every_item_in_order_until_the_channel_is_closed_and_drained),
      unit(items_come_in_batches_of_64_at_most),
      unit(it_takes_the_items_of_waiting_senders_too),
      unit(a_channel_that_is_closed_already_is_drained_and_an_empty_one_ends_it_soon),
      unit(null_arguments_are_refused),
      unit(it_holds_the_loop_the_context_and_the_channel_until_its_end_and_allocates_nothing),
      unit(for_eaches_that_share_a_channel_are_woken_in_turn),
      unit(for_eaches_that_share_a_backlog_take_their_share_of_each_turn),
      unit(a_for_each_and_a_plain_receiver_take_turns),
      unit(it_ends_with_what_ended_its_context),
      unit(under_a_context_that_is_over_it_receives_nothing),
      unit(a_stop_right_after_the_start_takes_nothing),
      unit(starting_it_twice_or_elsewhere_is_misuse),
  };
  return test_run(tests);
}
