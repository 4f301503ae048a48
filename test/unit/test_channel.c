/* SPDX-License-Identifier: MIT
 *
 * Channels on one thread: each row of the table of channel.h, the order of items and of waiters, and the forms without
 * waiting.
 */
#include "unit/chan_probe.h"

/* --- making one --- */

static void a_channel_is_made_empty_open_and_as_large_as_asked(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    assert_int_equal(uvf_chan_capacity(chan), capacities[i]);
    assert_int_equal(uvf_chan_is_closed(chan), 0);
    assert_waiting(chan, 0, 0, 0);
    assert_counters(chan, 0, 0, 0);
    assert_int_equal(chan_stats_of(chan).waited, 0);
    assert_nothing_there(chan, UV_EAGAIN);
    put(chan, 1, (int)capacities[i]);
    assert_int_equal(uvf_chan_try_send(chan, ITEM(9999)), UV_EAGAIN);
    assert_waiting(chan, capacities[i], 0, 0);
    uvf_chan_release(chan);
  }
}

static void options_that_are_all_zero_make_a_rendezvous_that_waits(void **state) {
  uvf_chan_options_t options;
  uvf_chan_t *chan = NULL;
  (void)state;
  memset(&options, 0, sizeof options);
  assert_int_equal(uvf_chan_create_ex(&options, &chan), 0);
  assert_int_equal(uvf_chan_capacity(chan), 0);
  assert_int_equal(uvf_chan_try_send(chan, ITEM(1)), UV_EAGAIN);
  uvf_chan_release(chan);
}

static void options_are_copied(void **state) {
  drops_t drops = {0};
  uvf_chan_options_t options = {1, UVF_CHAN_DROP_OLDEST, on_drop, &drops};
  uvf_chan_t *chan = NULL;
  (void)state;
  assert_int_equal(uvf_chan_create_ex(&options, &chan), 0);
  memset(&options, 0xff, sizeof options);
  put(chan, 1, 3);
  assert_int_equal(drops.n, 2);
  uvf_chan_release(chan);
  assert_int_equal(drops.n, 3);
}

static void arguments_that_make_no_channel_are_refused(void **state) {
  static const uvf_chan_options_t rows[] = {
      {1, -1, NULL, NULL}, {1, 3, NULL, NULL}, {0, UVF_CHAN_DROP_OLDEST, NULL, NULL}};
  uvf_chan_options_t fine = {1, UVF_CHAN_WAIT, NULL, NULL};
  uvf_chan_t *chan = ITEM(7);
  (void)state;
  assert_int_equal(uvf_chan_create(1, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_create_ex(&fine, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_create_ex(NULL, &chan), UV_EINVAL);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) assert_int_equal(uvf_chan_create_ex(&rows[i], &chan), UV_EINVAL);
  assert_ptr_equal(chan, ITEM(7));
}

static void a_capacity_that_cannot_be_counted_in_bytes_is_no_memory(void **state) {
  static const size_t rows[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / sizeof(void *) + 1};
  uvf_chan_t *chan = ITEM(7);
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) assert_int_equal(uvf_chan_create(rows[i], &chan), UV_ENOMEM);
  assert_ptr_equal(chan, ITEM(7));
}

static void every_allocation_of_a_create_may_fail(void **state) {
  fixture_t *f = *state;
  for (size_t row = 0; row < ARRAY_SIZE(capacities); row++) {
    size_t live = test_alloc_live();
    uvf_chan_t *chan = ITEM(7);
    for (size_t n = 1;; n++) {
      int rc;
      test_alloc_fail_at(n);
      rc = uvf_chan_create(capacities[row], &chan);
      if (!test_alloc_failed()) {
        assert_int_equal(rc, 0);
        assert_true(n > 1);
        break;
      }
      assert_int_equal(rc, UV_ENOMEM);
      assert_ptr_equal(chan, ITEM(7));
      assert_int_equal(test_alloc_live(), live);
    }
    test_alloc_fail_at(0);
    uvf_chan_release(chan);
    assert_int_equal(test_alloc_live(), live);
  }
  assert_int_equal(uvf_ctx_err(f->root), 0);
}

static void nothing_but_a_create_allocates(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(2);
  uvf_ctx_t *ctx = child_of(f->root);
  call_t sends[6] = {0}, recvs[6] = {0};
  size_t count = test_alloc_count();
  for (int i = 0; i < 6; i++) send_start(&sends[i], ctx, chan, ITEM(i));
  assert_int_equal(call_cancel(&sends[3]), 0);
  for (int i = 0; i < 6; i++) recv_start(&recvs[i], ctx, chan);
  uvf_chan_close(chan);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &recvs[5].calls, 1);
  assert_int_equal(test_alloc_count(), count);
  uvf_ctx_release(ctx);
  uvf_chan_release(chan);
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  uvf_chan_stats_t stats;
  call_t call = {0};
  void *item = ITEM(-1), *items[1] = {ITEM(1)};
  size_t n = 77;
  assert_int_equal(uvf_chan_send(NULL, &call.req, chan, NULL, on_call), UV_EINVAL);
  assert_int_equal(uvf_chan_send(f->root, NULL, chan, NULL, on_call), UV_EINVAL);
  assert_int_equal(uvf_chan_send(f->root, &call.req, NULL, NULL, on_call), UV_EINVAL);
  assert_int_equal(uvf_chan_send(f->root, &call.req, chan, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_recv(NULL, &call.req, chan, on_call), UV_EINVAL);
  assert_int_equal(uvf_chan_recv(f->root, NULL, chan, on_call), UV_EINVAL);
  assert_int_equal(uvf_chan_recv(f->root, &call.req, NULL, on_call), UV_EINVAL);
  assert_int_equal(uvf_chan_recv(f->root, &call.req, chan, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_try_send(NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_try_recv(NULL, &item), UV_EINVAL);
  assert_int_equal(uvf_chan_try_recv(chan, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_try_send_many(NULL, items, 1, &n), UV_EINVAL);
  assert_int_equal(n, 0); /* 0 after a failure */
  n = 77;
  assert_int_equal(uvf_chan_try_send_many(chan, NULL, 1, &n), UV_EINVAL);
  assert_int_equal(n, 0);
  assert_int_equal(uvf_chan_try_send_many(chan, items, 1, NULL), UV_EINVAL);
  n = 77;
  assert_int_equal(uvf_chan_try_recv_many(NULL, items, 1, &n), UV_EINVAL);
  assert_int_equal(n, 0);
  n = 77;
  assert_int_equal(uvf_chan_try_recv_many(chan, NULL, 1, &n), UV_EINVAL);
  assert_int_equal(n, 0);
  assert_int_equal(uvf_chan_try_recv_many(chan, items, 1, NULL), UV_EINVAL);
  assert_null(uvf_chan_retain(NULL));
  uvf_chan_release(NULL);
  uvf_chan_close(NULL);
  assert_int_equal(uvf_chan_length(NULL), 0);
  assert_int_equal(uvf_chan_capacity(NULL), 0);
  assert_int_equal(uvf_chan_is_closed(NULL), 0);
  memset(&stats, 0x5a, sizeof stats);
  uvf_chan_stats(NULL, &stats);
  assert_int_equal(stats.length, (size_t)UINT64_C(0x5a5a5a5a5a5a5a5a));
  uvf_chan_stats(chan, NULL);
  assert_ptr_equal(item, ITEM(-1));
  assert_waiting(chan, 0, 0, 0);
  assert_counters(chan, 0, 0, 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  uvf_chan_release(chan);
}

/* --- the table --- */

static void a_send_hands_its_item_to_the_first_waiting_receiver_at_once(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    call_t recvs[3] = {0}, send = {0};
    for (int k = 0; k < 3; k++) recv_start(&recvs[k], f->root, chan);
    assert_waiting(chan, 0, 0, 3);
    send_start(&send, f->root, chan, ITEM(1));
    assert_waiting(chan, 0, 0, 2); /* inside the call */
    assert_int_equal(uvf_chan_try_send(chan, ITEM(2)), 0);
    assert_waiting(chan, 0, 0, 1);
    for (int k = 0; k < 3; k++) assert_int_equal(recvs[k].calls, 0); /* nobody's callback runs inside */
    run_until(&f->loop, &recvs[1].calls, 1);
    run_until(&f->loop, &send.calls, 1);
    assert_got(&recvs[0], 1);
    assert_got(&recvs[1], 2);
    assert_ended(&send, 0);
    assert_int_equal(recvs[2].calls, 0);
    assert_counters(chan, 2, 2, 0);
    assert_int_equal(chan_stats_of(chan).waited, 3);
    uvf_chan_close(chan);
    run_until(&f->loop, &recvs[2].calls, 1);
    assert_ended(&recvs[2], UV_EOF);
    uvf_chan_release(chan);
  }
}

static void a_send_with_room_puts_its_item_in_at_once_and_a_receive_takes_the_oldest(void **state) {
  fixture_t *f = *state;
  for (size_t i = 1; i < ARRAY_SIZE(capacities); i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    call_t send = {0}, recv = {0};
    put(chan, 1, (int)capacities[i] - 1);
    send_start(&send, f->root, chan, ITEM(capacities[i]));
    assert_waiting(chan, capacities[i], 0, 0); /* inside the call */
    recv_start(&recv, f->root, chan);
    assert_waiting(chan, capacities[i] - 1, 0, 0);
    run_until(&f->loop, &recv.calls, 1);
    run_until(&f->loop, &send.calls, 1);
    assert_ended(&send, 0);
    assert_got(&recv, 1);
    take(chan, 2, (int)capacities[i]);
    assert_nothing_there(chan, UV_EAGAIN);
    assert_int_equal(chan_stats_of(chan).waited, 0);
    uvf_chan_release(chan);
  }
}

static void a_full_channels_senders_wait_their_turn_and_move_up_as_items_are_taken(void **state) {
  fixture_t *f = *state;
  for (size_t i = 1; i < ARRAY_SIZE(capacities); i++) {
    int capacity = (int)capacities[i];
    uvf_chan_t *chan = chan_of(capacities[i]);
    journal_t journal = {0};
    call_t sends[4] = {0}, recv = {0};
    put(chan, 1, capacity);
    for (int k = 0; k < 4; k++) {
      sends[k].id = k;
      sends[k].journal = &journal;
      send_start(&sends[k], f->root, chan, ITEM(capacity + 1 + k));
    }
    assert_waiting(chan, capacities[i], 4, 0);
    run_ready(&f->loop);
    assert_int_equal(journal.n, 0);
    take(chan, 1, 1);
    assert_waiting(chan, capacities[i], 3, 0); /* moved up inside the call */
    recv_start(&recv, f->root, chan);
    assert_waiting(chan, capacities[i], 2, 0);
    assert_int_equal(uvf_chan_try_send(chan, ITEM(9999)), UV_EAGAIN); /* a newcomer never overtakes */
    assert_int_equal(journal.n, 0);
    run_until(&f->loop, &recv.calls, 1);
    run_until(&f->loop, &sends[1].calls, 1);
    assert_journal(&journal, 0, 1);
    assert_got(&recv, 2);
    take(chan, 3, capacity + 4);
    run_until(&f->loop, &sends[3].calls, 1);
    assert_journal(&journal, 0, 1, 2, 3);
    for (int k = 0; k < 4; k++) assert_ended(&sends[k], 0);
    assert_waiting(chan, 0, 0, 0);
    assert_int_equal(chan_stats_of(chan).waited, 4);
    uvf_chan_release(chan);
  }
}

static void a_rendezvous_sender_waits_for_a_receiver_who_takes_the_first_ones_item(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  call_t sends[3] = {0}, recv = {0};
  for (int i = 0; i < 3; i++) send_start(&sends[i], f->root, chan, ITEM(i + 1));
  assert_waiting(chan, 0, 3, 0);
  run_ready(&f->loop);
  recv_start(&recv, f->root, chan);
  assert_waiting(chan, 0, 2, 0);
  take(chan, 2, 2);
  assert_waiting(chan, 0, 1, 0);
  run_until(&f->loop, &recv.calls, 1);
  run_until(&f->loop, &sends[1].calls, 1);
  assert_got(&recv, 1);
  assert_ended(&sends[0], 0);
  assert_ended(&sends[1], 0);
  assert_int_equal(sends[2].calls, 0);
  assert_counters(chan, 2, 2, 0);
  take(chan, 3, 3);
  run_until(&f->loop, &sends[2].calls, 1);
  assert_ended(&sends[2], 0);
  uvf_chan_release(chan);
}

static void a_full_channel_that_drops_the_newest_keeps_its_backlog(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    int capacity = (int)capacities[i];
    drops_t drops = {0};
    uvf_chan_t *chan = chan_dropping(capacities[i], UVF_CHAN_DROP_NEWEST, &drops);
    call_t send = {0}, recv = {0};
    put(chan, 1, capacity + 2);
    assert_int_equal(drops.n, 2);
    send_start(&send, f->root, chan, ITEM(capacity + 3));
    assert_int_equal(drops.n, 3); /* inside the call that caused it */
    for (int k = 0; k < 3; k++) assert_int_equal(drops.item[k], capacity + 1 + k);
    assert_waiting(chan, capacities[i], 0, 0);
    assert_counters(chan, (uint64_t)capacity + 3, 0, 3);
    run_until(&f->loop, &send.calls, 1);
    assert_ended(&send, 0);
    take(chan, 1, capacity);
    recv_start(&recv, f->root, chan);
    put(chan, 77, 77); /* a receiver waits: nothing is dropped */
    run_until(&f->loop, &recv.calls, 1);
    assert_got(&recv, 77);
    assert_int_equal(drops.n, 3);
    uvf_chan_close(chan);
    assert_int_equal(uvf_chan_try_send(chan, ITEM(78)), UV_EPIPE); /* closed comes before the policy */
    assert_int_equal(drops.n, 3);
    uvf_chan_release(chan);
    assert_int_equal(drops.n, 3);
  }
}

static void a_full_channel_that_drops_the_oldest_keeps_the_news(void **state) {
  fixture_t *f = *state;
  for (size_t i = 1; i < ARRAY_SIZE(capacities); i++) {
    int capacity = (int)capacities[i];
    drops_t drops = {0};
    uvf_chan_t *chan = chan_dropping(capacities[i], UVF_CHAN_DROP_OLDEST, &drops);
    call_t send = {0};
    put(chan, 1, capacity + 2);
    send_start(&send, f->root, chan, ITEM(capacity + 3));
    assert_int_equal(drops.n, 3);
    for (int k = 0; k < 3; k++) assert_int_equal(drops.item[k], k + 1);
    assert_waiting(chan, capacities[i], 0, 0);
    assert_counters(chan, (uint64_t)capacity + 3, 0, 3);
    run_until(&f->loop, &send.calls, 1);
    assert_ended(&send, 0);
    take(chan, 4, capacity + 3);
    assert_nothing_there(chan, UV_EAGAIN);
    uvf_chan_release(chan);
    assert_int_equal(drops.n, 3);
  }
}

static void a_policy_without_a_drop_function_forgets_and_still_counts(void **state) {
  (void)state;
  for (int full = UVF_CHAN_DROP_NEWEST; full <= UVF_CHAN_DROP_OLDEST; full++) {
    uvf_chan_options_t options = {2, full, NULL, NULL};
    uvf_chan_t *chan = NULL;
    assert_int_equal(uvf_chan_create_ex(&options, &chan), 0);
    put(chan, 1, 5);
    assert_counters(chan, 5, 0, 3);
    if (full == UVF_CHAN_DROP_NEWEST) take(chan, 1, 1);
    if (full == UVF_CHAN_DROP_OLDEST) take(chan, 4, 4);
    assert_counters(chan, 5, 1, 3);
    uvf_chan_release(chan); /* with an item in there */
  }
}

static void a_closed_channel_is_drained_and_then_at_its_end(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    int capacity = (int)capacities[i];
    uvf_chan_t *chan = chan_of(capacities[i]);
    call_t send = {0}, recvs[2] = {0};
    size_t n = 77;
    void *items[2] = {ITEM(1), ITEM(2)};
    put(chan, 1, capacity);
    uvf_chan_close(chan);
    assert_int_equal(uvf_chan_is_closed(chan), 1);
    assert_int_equal(uvf_chan_try_send(chan, ITEM(7)), UV_EPIPE);
    assert_int_equal(uvf_chan_try_send_many(chan, items, 2, &n), UV_EPIPE);
    assert_int_equal(n, 0);
    send_start(&send, f->root, chan, ITEM(7));
    assert_waiting(chan, capacities[i], 0, 0);
    run_until(&f->loop, &send.calls, 1);
    assert_ended(&send, UV_EPIPE);
    assert_int_equal(NUMBER(send.item), 7);
    if (capacity > 0) {
      recv_start(&recvs[0], f->root, chan);
      run_until(&f->loop, &recvs[0].calls, 1);
      assert_got(&recvs[0], 1);
      take(chan, 2, capacity);
    }
    assert_nothing_there(chan, UV_EOF);
    n = 77;
    assert_int_equal(uvf_chan_try_recv_many(chan, items, 2, &n), UV_EOF);
    assert_int_equal(n, 0);
    recv_start(&recvs[1], f->root, chan);
    run_until(&f->loop, &recvs[1].calls, 1);
    assert_ended(&recvs[1], UV_EOF);
    assert_int_equal(uvf_chan_try_send(chan, ITEM(7)), UV_EPIPE); /* room or not */
    assert_counters(chan, (uint64_t)capacity, (uint64_t)capacity, 0);
    uvf_chan_release(chan);
  }
}

static void a_close_ends_waiting_receivers_with_eof_in_the_order_they_came(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    journal_t journal = {0};
    call_t recvs[5] = {0};
    for (int k = 0; k < 5; k++) {
      recvs[k].id = k;
      recvs[k].journal = &journal;
      recv_start(&recvs[k], f->root, chan);
    }
    uvf_chan_close(chan);
    assert_int_equal(journal.n, 0);
    assert_waiting(chan, 0, 0, 0);
    uvf_chan_close(chan); /* harmless */
    run_until(&f->loop, &journal.n, 5);
    uvf_chan_close(chan);
    run_ready(&f->loop);
    assert_journal(&journal, 0, 1, 2, 3, 4);
    for (int k = 0; k < 5; k++) assert_ended(&recvs[k], UV_EOF);
    uvf_chan_release(chan);
  }
}

static void a_close_ends_waiting_senders_who_keep_their_items_and_leaves_what_was_sent(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    int capacity = (int)capacities[i];
    drops_t drops = {0};
    uvf_chan_t *chan = chan_dropping(capacities[i], UVF_CHAN_WAIT, &drops);
    journal_t journal = {0};
    call_t sends[5] = {0};
    put(chan, 1, capacity);
    for (int k = 0; k < 5; k++) {
      sends[k].id = k;
      sends[k].journal = &journal;
      send_start(&sends[k], f->root, chan, ITEM(5000 + k));
    }
    uvf_chan_close(chan);
    assert_int_equal(journal.n, 0);
    assert_waiting(chan, capacities[i], 0, 0);
    uvf_chan_close(chan);
    take(chan, 1, capacity);
    assert_nothing_there(chan, UV_EOF);
    run_until(&f->loop, &journal.n, 5);
    run_ready(&f->loop);
    assert_journal(&journal, 0, 1, 2, 3, 4);
    for (int k = 0; k < 5; k++) {
      assert_ended(&sends[k], UV_EPIPE);
      assert_int_equal(NUMBER(sends[k].item), 5000 + k);
    }
    uvf_chan_release(chan);
    assert_int_equal(drops.n, 0);
  }
}

/* --- order --- */

static void one_senders_items_arrive_in_the_order_of_its_sends_round_and_round_the_ring(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    enum { N = 3000 };
    uvf_chan_t *chan = chan_of(capacities[i]);
    call_t *sends = calloc(N, sizeof *sends);
    int next = 0;
    assert_non_null(sends);
    for (int k = 0; k < N; k++) {
      send_start(&sends[k], f->root, chan, ITEM(k));
      if (k % 3 == 2) take(chan, next, next);
      if (k % 3 == 2) next++;
    }
    take(chan, next, N - 1);
    run_until(&f->loop, &sends[N - 1].calls, 1);
    run_ready(&f->loop);
    for (int k = 0; k < N; k++) assert_ended(&sends[k], 0);
    free(sends);
    uvf_chan_release(chan);
  }
}

static void waiting_receivers_are_served_in_the_order_they_came(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    enum { N = 300 };
    uvf_chan_t *chan = chan_of(capacities[i]);
    journal_t journal = {0};
    call_t *recvs = calloc(N, sizeof *recvs);
    assert_non_null(recvs);
    for (int k = 0; k < N; k++) {
      recvs[k].id = k;
      recvs[k].journal = &journal;
      recv_start(&recvs[k], f->root, chan);
    }
    put(chan, 1, N);
    assert_waiting(chan, 0, 0, 0);
    run_until(&f->loop, &journal.n, N);
    for (int k = 0; k < N; k++) {
      assert_int_equal(journal.id[k], k);
      assert_got(&recvs[k], k + 1);
    }
    free(recvs);
    uvf_chan_release(chan);
  }
}

static void who_is_cancelled_leaves_no_gap_wherever_it_stood(void **state) {
  fixture_t *f = *state;
  for (int sending = 0; sending < 2; sending++) {
    for (unsigned int mask = 1; mask < 32; mask++) { /* which of five are cancelled */
      uvf_chan_t *chan = chan_of(1);
      call_t calls[5] = {0};
      int next = 1;
      if (sending) put(chan, 100, 100);
      for (int k = 0; k < 5; k++) {
        if (sending) send_start(&calls[k], f->root, chan, ITEM(k));
        if (!sending) recv_start(&calls[k], f->root, chan);
      }
      for (int k = 0; k < 5; k++) {
        if (mask & 1u << k) assert_int_equal(call_cancel(&calls[k]), 0);
        if (mask & 1u << k) assert_int_equal(calls[k].calls, 0);
      }
      if (sending) take(chan, 100, 100);
      for (int k = 0; k < 5; k++) {
        if (mask & 1u << k) continue;
        if (sending) take(chan, k, k);
        if (!sending) put(chan, next, next);
        next++;
      }
      if (sending) assert_nothing_there(chan, UV_EAGAIN);
      assert_waiting(chan, 0, 0, 0);
      run_ready(&f->loop);
      next = 1;
      for (int k = 0; k < 5; k++) {
        assert_ended(&calls[k], mask & 1u << k ? UV_ECANCELED : 0);
        if (!sending && calls[k].status == 0) assert_int_equal(NUMBER(calls[k].item), next++);
        if (sending) assert_int_equal(NUMBER(calls[k].item), k);
      }
      uvf_chan_release(chan);
    }
  }
}

static void null_is_an_item_like_any_other(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  uvf_chan_t *chan = chan_dropping(1, UVF_CHAN_DROP_OLDEST, &drops);
  call_t recv = {0}, send = {0};
  recv_start(&recv, f->root, chan);
  send_start(&send, f->root, chan, NULL);
  run_until(&f->loop, &recv.calls, 1);
  assert_got(&recv, 0);
  put(chan, 0, 0);
  assert_waiting(chan, 1, 0, 0);
  take(chan, 0, 0);
  assert_nothing_there(chan, UV_EAGAIN);
  put(chan, 0, 1);
  assert_int_equal(drops.n, 1);
  assert_int_equal(drops.item[0], 0);
  take(chan, 1, 1);
  put(chan, 0, 0);
  uvf_chan_release(chan);
  assert_int_equal(drops.n, 2);
}

/* --- many at once --- */

static void many_go_in_as_far_as_there_is_room(void **state) {
  void *items[20], *got[20];
  (void)state;
  for (int i = 0; i < 20; i++) items[i] = ITEM(i);
  for (size_t i = 0; i < 4; i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    size_t n = 77;
    int room = (int)capacities[i];
    assert_int_equal(uvf_chan_try_send_many(chan, items, 0, &n), 0);
    assert_int_equal(n, 0);
    n = 77;
    assert_int_equal(uvf_chan_try_recv_many(chan, got, 0, &n), 0);
    assert_int_equal(n, 0);
    n = 77;
    assert_int_equal(uvf_chan_try_recv_many(chan, got, 20, &n), UV_EAGAIN);
    assert_int_equal(n, 0);
    assert_int_equal(uvf_chan_try_send_many(chan, items, 20, &n), room > 0 ? 0 : UV_EAGAIN);
    assert_int_equal(n, room);
    assert_int_equal(uvf_chan_try_send_many(chan, items, 20, &n), UV_EAGAIN);
    assert_int_equal(n, 0);
    if (room > 1) {
      assert_int_equal(uvf_chan_try_recv_many(chan, got, 1, &n), 0);
      assert_int_equal(n, 1);
      assert_int_equal(uvf_chan_try_recv_many(chan, got + 1, 20, &n), 0);
      assert_int_equal(n, room - 1);
      assert_memory_equal(got, items, (size_t)room * sizeof *got);
    }
    uvf_chan_release(chan);
  }
}

static void many_go_to_waiting_receivers_first_and_then_into_the_room(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(2);
  call_t recvs[3] = {0};
  void *items[7];
  size_t n;
  for (int i = 0; i < 7; i++) items[i] = ITEM(i + 1);
  for (int i = 0; i < 3; i++) recv_start(&recvs[i], f->root, chan);
  assert_int_equal(uvf_chan_try_send_many(chan, items, 7, &n), 0);
  assert_int_equal(n, 5);
  for (int i = 0; i < 3; i++) assert_int_equal(recvs[i].calls, 0);
  run_until(&f->loop, &recvs[2].calls, 1);
  for (int i = 0; i < 3; i++) assert_got(&recvs[i], i + 1);
  take(chan, 4, 5);
  assert_counters(chan, 5, 5, 0);
  uvf_chan_release(chan);
}

static void many_are_taken_from_the_room_and_from_waiting_senders_the_oldest_first(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity < 3; capacity++) {
    for (size_t max = 1; max < 8; max++) {
      uvf_chan_t *chan = chan_of(capacity);
      call_t sends[5] = {0};
      void *got[8];
      size_t n = 77;
      int all = (int)capacity + 5, wanted = (int)max < all ? (int)max : all;
      put(chan, 1, (int)capacity);
      for (int i = 0; i < 5; i++) send_start(&sends[i], f->root, chan, ITEM((int)capacity + 1 + i));
      assert_int_equal(uvf_chan_try_recv_many(chan, got, max, &n), 0);
      assert_int_equal(n, wanted);
      for (int i = 0; i < wanted; i++) assert_int_equal(NUMBER(got[i]), i + 1);
      take(chan, wanted + 1, all);
      run_until(&f->loop, &sends[4].calls, 1);
      for (int i = 0; i < 5; i++) assert_ended(&sends[i], 0);
      uvf_chan_release(chan);
    }
  }
}

static void many_into_a_dropping_channel_all_go_in(void **state) {
  void *items[10];
  (void)state;
  for (int i = 0; i < 10; i++) items[i] = ITEM(i + 1);
  for (int full = UVF_CHAN_DROP_NEWEST; full <= UVF_CHAN_DROP_OLDEST; full++) {
    drops_t drops = {0};
    uvf_chan_t *chan = chan_dropping(4, full, &drops);
    int first = full == UVF_CHAN_DROP_NEWEST ? 1 : 7;
    size_t n;
    assert_int_equal(uvf_chan_try_send_many(chan, items, 10, &n), 0);
    assert_int_equal(n, 10);
    assert_int_equal(drops.n, 6);
    for (int i = 0; i < 6; i++) assert_int_equal(drops.item[i], full == UVF_CHAN_DROP_NEWEST ? 5 + i : 1 + i);
    assert_counters(chan, 10, 0, 6);
    take(chan, first, first + 3);
    uvf_chan_release(chan);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_channel_is_made_empty_open_and_as_large_as_asked),
      unit(options_that_are_all_zero_make_a_rendezvous_that_waits),
      unit(options_are_copied),
      unit(arguments_that_make_no_channel_are_refused),
      unit(a_capacity_that_cannot_be_counted_in_bytes_is_no_memory),
      unit(every_allocation_of_a_create_may_fail),
      unit(nothing_but_a_create_allocates),
      unit(null_arguments_are_refused),
      unit(a_send_hands_its_item_to_the_first_waiting_receiver_at_once),
      unit(a_send_with_room_puts_its_item_in_at_once_and_a_receive_takes_the_oldest),
      unit(a_full_channels_senders_wait_their_turn_and_move_up_as_items_are_taken),
      unit(a_rendezvous_sender_waits_for_a_receiver_who_takes_the_first_ones_item),
      unit(a_full_channel_that_drops_the_newest_keeps_its_backlog),
      unit(a_full_channel_that_drops_the_oldest_keeps_the_news),
      unit(a_policy_without_a_drop_function_forgets_and_still_counts),
      unit(a_closed_channel_is_drained_and_then_at_its_end),
      unit(a_close_ends_waiting_receivers_with_eof_in_the_order_they_came),
      unit(a_close_ends_waiting_senders_who_keep_their_items_and_leaves_what_was_sent),
      unit(one_senders_items_arrive_in_the_order_of_its_sends_round_and_round_the_ring),
      unit(waiting_receivers_are_served_in_the_order_they_came),
      unit(who_is_cancelled_leaves_no_gap_wherever_it_stood),
      unit(null_is_an_item_like_any_other),
      unit(many_go_in_as_far_as_there_is_room),
      unit(many_go_to_waiting_receivers_first_and_then_into_the_room),
      unit(many_are_taken_from_the_room_and_from_waiting_senders_the_oldest_first),
      unit(many_into_a_dropping_channel_all_go_in),
  };
  return test_run(tests);
}
