/* SPDX-License-Identifier: MIT
 *
 * Channels on one thread: each row of the table of channel.h, the order of items and of waiters, the forms without
 * waiting, closing, references, drop functions and counters.
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

/* --- a start --- */

static void a_start_under_a_context_that_is_over_touches_no_channel(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over[2] = {child_of(f->root), timeout_of(f->root, 0)};
  uvf_ctx_cancel(over[0]);
  for (size_t capacity = 0; capacity < 3; capacity++) {
    for (int i = 0; i < 2; i++) {
      uvf_chan_t *chan = chan_of(capacity);
      call_t send = {0}, recv = {0}, other = {0};
      recv_start(&other, f->root, chan); /* somebody to deal with */
      send_start(&send, over[i], chan, ITEM(1));
      assert_waiting(chan, 0, 0, 1);
      put(chan, 5, 5);
      put(chan, 6, 5 + (int)capacity);
      recv_start(&recv, over[i], chan);
      assert_waiting(chan, capacity, 0, 0);
      run_until(&f->loop, &recv.calls, 1);
      run_until(&f->loop, &send.calls, 1);
      assert_ended(&send, i == 0 ? UV_ECANCELED : UV_ETIMEDOUT);
      assert_ended(&recv, i == 0 ? UV_ECANCELED : UV_ETIMEDOUT);
      assert_got(&other, 5);
      uvf_chan_release(chan);
    }
  }
  uvf_ctx_release(over[0]);
  uvf_ctx_release(over[1]);
}

static void a_waiting_request_holds_the_loop_and_is_counted_under_its_context(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  uvf_ctx_t *ctx = child_of(f->root);
  call_t recv = {0}, send = {0};
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  recv_start(&recv, ctx, chan);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(counts_of(ctx).ops, 1);
  assert_int_equal(stats_of(f->root).ops, 1);
  send_start(&send, ctx, chan, ITEM(1));
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_got(&recv, 1);
  assert_int_equal(counts_of(ctx).ops, 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  uvf_ctx_release(ctx);
  uvf_chan_release(chan);
}

/* --- from inside callbacks --- */

typedef struct relay_s {
  call_t call;
  uvf_chan_t *chan;
  int left, sum;
} relay_t;

static void receive_again(call_t *call) {
  relay_t *relay = (relay_t *)call;
  if (call->status != 0) return;
  relay->sum += NUMBER(call->item);
  if (--relay->left == 0) return;
  if (uvf_chan_recv(call->req.ctx, &call->req, relay->chan, on_call) != 0) relay->sum = -1;
}

static void send_again(call_t *call) {
  relay_t *relay = (relay_t *)call;
  if (call->status != 0 || --relay->left == 0) return;
  if (uvf_chan_send(call->req.ctx, &call->req, relay->chan, ITEM(relay->left), on_call) != 0) relay->left = -1;
}

static void a_callback_may_start_its_own_request_again(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    enum { N = 2000 };
    uvf_chan_t *chan = chan_of(capacities[i]);
    relay_t from = {{.then = send_again}, chan, N, 0}, to = {{.then = receive_again}, chan, N, 0};
    recv_start(&to.call, f->root, chan);
    send_start(&from.call, f->root, chan, ITEM(N));
    run_until(&f->loop, &to.call.calls, N);
    run_until(&f->loop, &from.call.calls, N);
    assert_int_equal(to.sum, N * (N + 1) / 2);
    assert_int_equal(from.left, 0);
    assert_counters(chan, N, N, 0);
    uvf_chan_release(chan);
  }
}

typedef struct fleeting_s {
  uvf_chan_req_t req;
  int *freed;
} fleeting_t;

static void free_self(uvf_chan_req_t *req, int status) {
  fleeting_t *fleeting = (fleeting_t *)req;
  *fleeting->freed += status == (fleeting->req.item == ITEM(1) ? 0 : UV_EOF);
  memset(fleeting, 0xdb, sizeof *fleeting);
  free(fleeting);
}

static void a_callback_may_free_its_own_request(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  int freed = 0;
  for (int i = 0; i < 40; i++) {
    fleeting_t *fleeting = malloc(sizeof *fleeting);
    assert_non_null(fleeting);
    fleeting->freed = &freed;
    assert_int_equal(uvf_chan_recv(f->root, &fleeting->req, chan, free_self), 0);
  }
  for (int i = 0; i < 20; i++) put(chan, 1, 1);
  uvf_chan_close(chan);
  run_until(&f->loop, &freed, 40);
  uvf_chan_release(chan);
}

static void close_it(call_t *call) { uvf_chan_close(call->arg); }

static void close_root(call_t *call) {
  fixture_t *f = call->arg;
  uvf_ctx_t *root = f->root;
  f->root = NULL;
  uvf_ctx_close(root, NULL);
}

static void release_it(call_t *call) { uvf_chan_release(call->arg); }

static void cancel_next(call_t *call) { call->id = call_cancel(call->arg); }

static void a_callback_may_close_the_channel_or_cancel_others_or_give_the_last_reference_back(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  call_t recvs[4] = {0};
  for (int i = 0; i < 4; i++) recv_start(&recvs[i], f->root, chan);
  recvs[0].then = cancel_next;
  recvs[0].arg = &recvs[1];
  recvs[2].then = close_it;
  recvs[2].arg = chan;
  recvs[3].then = release_it;
  recvs[3].arg = chan;
  put(chan, 1, 1);
  run_until(&f->loop, &recvs[1].calls, 1);
  assert_int_equal(recvs[0].id, 0);
  assert_ended(&recvs[1], UV_ECANCELED);
  assert_int_equal(recvs[2].calls + recvs[3].calls, 0);
  put(chan, 2, 2);
  run_until(&f->loop, &recvs[3].calls, 1);
  assert_got(&recvs[2], 2);
  assert_ended(&recvs[3], UV_EOF);
}

static void a_callback_may_close_the_root(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  call_t recvs[3] = {0};
  for (int i = 0; i < 3; i++) recv_start(&recvs[i], f->root, chan);
  recvs[0].then = close_root;
  recvs[0].arg = f;
  put(chan, 1, 2);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_got(&recvs[0], 1);
  assert_got(&recvs[1], 2); /* had it already */
  assert_ended(&recvs[2], UV_ECANCELED);
  assert_waiting(chan, 0, 0, 0);
  uvf_chan_release(chan);
}

/* --- references --- */

static void a_channel_that_its_owner_released_lives_as_long_as_requests_wait_in_it(void **state) {
  fixture_t *f = *state;
  for (int sending = 0; sending < 2; sending++) {
    for (int how = 0; how < 2; how++) {
      drops_t drops = {0};
      uvf_chan_t *chan = chan_dropping(2, UVF_CHAN_WAIT, &drops);
      call_t calls[2] = {0};
      uvf_ctx_t *ctx = child_of(f->root);
      if (sending) put(chan, 1, 2);
      for (int i = 0; i < 2; i++) {
        if (sending) send_start(&calls[i], ctx, chan, ITEM(3 + i));
        if (!sending) recv_start(&calls[i], ctx, chan);
      }
      uvf_chan_release(chan);
      run_ready(&f->loop);
      assert_int_equal(calls[0].calls + calls[1].calls, 0); /* a release closes nothing */
      assert_int_equal(drops.n, 0);
      if (how == 0) uvf_ctx_cancel(ctx);
      if (how == 1) {
        assert_int_equal(call_cancel(&calls[0]), 0);
        run_until(&f->loop, &calls[0].calls, 1);
        assert_int_equal(drops.n, 0); /* the other one still holds it */
        assert_int_equal(call_cancel(&calls[1]), 0);
      }
      assert_int_equal(drops.n, 0); /* no function of the user's runs inside a cancel */
      run_until(&f->loop, &calls[1].calls, 1);
      run_until(&f->loop, &calls[0].calls, 1);
      for (int i = 0; i < 2; i++) assert_ended(&calls[i], UV_ECANCELED);
      assert_int_equal(drops.n, sending ? 2 : 0);
      for (int i = 0; i < drops.n; i++) assert_int_equal(drops.item[i], 1 + i);
      uvf_ctx_release(ctx);
    }
  }
}

static void each_reference_counts_and_the_last_one_drops_what_is_left(void **state) {
  drops_t drops = {0};
  size_t live = test_alloc_live();
  uvf_chan_t *chan = chan_dropping(8, UVF_CHAN_WAIT, &drops);
  (void)state;
  for (int i = 0; i < 3; i++) assert_ptr_equal(uvf_chan_retain(chan), chan);
  put(chan, 1, 5);
  take(chan, 1, 2);
  put(chan, 6, 10); /* round the end of the ring */
  for (int i = 0; i < 3; i++) uvf_chan_release(chan);
  assert_int_equal(drops.n, 0);
  uvf_chan_release(chan);
  assert_int_equal(drops.n, 8);
  for (int i = 0; i < 8; i++) assert_int_equal(drops.item[i], 3 + i);
  assert_int_equal(test_alloc_live(), live);
}

/* --- the drop function --- */

static void drop_runs_on_the_thread_that_caused_it(void **state) {
  drops_t drops = {0};
  uvf_chan_t *chan = chan_dropping(1, UVF_CHAN_DROP_OLDEST, &drops);
  (void)state;
  put(chan, 1, 2);
  assert_int_equal(drops.thread, uvf__thread());
  on_thread(release_chan, chan);
  assert_int_equal(drops.n, 2);
  assert_true(drops.thread != 0 && drops.thread != uvf__thread());
}

typedef struct nosy_s {
  drops_t drops;
  uvf_chan_t *chan;
  size_t length;
  int capacity, closed, rc;
  void *item;
} nosy_t;

static void look_and_take(drops_t *drops) {
  nosy_t *nosy = (nosy_t *)drops;
  uvf_chan_stats_t stats;
  if (drops->n > 1) return;
  uvf_chan_stats(nosy->chan, &stats);
  nosy->length = uvf_chan_length(nosy->chan);
  if (stats.length != nosy->length || stats.sent != stats.received + stats.dropped + stats.length) nosy->length = 99;
  nosy->capacity = (int)uvf_chan_capacity(nosy->chan);
  nosy->rc = uvf_chan_try_recv(nosy->chan, &nosy->item);
  uvf_chan_close(nosy->chan);
  nosy->closed = uvf_chan_is_closed(nosy->chan);
}

static void a_drop_function_may_use_the_channel(void **state) {
  nosy_t nosy = {.drops = {.then = look_and_take}, .rc = 1};
  (void)state;
  nosy.chan = chan_dropping(3, UVF_CHAN_DROP_OLDEST, &nosy.drops);
  put(nosy.chan, 1, 4);
  assert_int_equal(nosy.drops.n, 1);
  assert_int_equal(nosy.length, 3);
  assert_int_equal(nosy.rc, 0);
  assert_int_equal(NUMBER(nosy.item), 2);
  assert_int_equal(nosy.closed, 1);
  assert_counters(nosy.chan, 4, 1, 1);
  take(nosy.chan, 3, 4);
  assert_nothing_there(nosy.chan, UV_EOF);
  uvf_chan_release(nosy.chan);
}

static void a_drop_function_may_use_the_channel_while_it_goes(void **state) {
  nosy_t nosy = {.drops = {.then = look_and_take}, .rc = 1};
  (void)state;
  nosy.chan = chan_dropping(4, UVF_CHAN_WAIT, &nosy.drops);
  put(nosy.chan, 1, 4);
  uvf_chan_release(nosy.chan);
  assert_int_equal(nosy.rc, 0);
  assert_int_equal(NUMBER(nosy.item), 2);
  assert_int_equal(nosy.capacity, 4);
  assert_int_equal(nosy.drops.n, 3); /* the one it took is its own */
  assert_int_equal(nosy.drops.item[0], 1);
  assert_int_equal(nosy.drops.item[1], 3);
  assert_int_equal(nosy.drops.item[2], 4);
}

static void send_once_more(drops_t *drops) {
  nosy_t *nosy = (nosy_t *)drops;
  if (drops->n <= 5) nosy->rc = uvf_chan_try_send(nosy->chan, ITEM(100 + drops->n));
}

static void a_drop_function_may_send_to_the_channel(void **state) {
  nosy_t nosy = {.drops = {.then = send_once_more}, .rc = 1};
  (void)state;
  nosy.chan = chan_dropping(2, UVF_CHAN_DROP_OLDEST, &nosy.drops);
  put(nosy.chan, 1, 3); /* drops 1, whose drop sends 101, which drops 2, ... */
  assert_int_equal(nosy.rc, 0);
  assert_int_equal(nosy.drops.n, 6);
  assert_counters(nosy.chan, 8, 0, 6);
  take(nosy.chan, 104, 105);
  uvf_chan_release(nosy.chan);
}

/* --- misuse --- */

typedef struct misuse_s {
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  call_t *call;
  int what, result;
  uvf_select_case_t cases[1];
} misuse_t;

static void misuse(void *arg) {
  misuse_t *m = arg;
  void *item = ITEM(-1);
  size_t n = 77;
  switch (m->what) {
    case 0: m->result = uvf_chan_send(m->ctx, &m->call->req, m->chan, NULL, on_call); break;
    case 1: m->result = uvf_chan_recv(m->ctx, &m->call->req, m->chan, on_call); break;
    case 2: m->result = uvf_chan_send_wait(m->ctx, m->chan, item); break;
    case 3: m->result = uvf_chan_recv_wait(m->ctx, m->chan, &item); break;
    case 4: m->result = uvf_chan_send_many_wait(m->ctx, m->chan, &item, 1, &n); break;
    default: m->result = uvf_chan_recv_many_wait(m->ctx, m->chan, &item, 1, &n); break;
  }
}

static const char *const misused[] = {"uvf_chan_send: ",      "uvf_chan_recv: ",           "uvf_chan_send_wait: ",
                                      "uvf_chan_recv_wait: ", "uvf_chan_send_many_wait: ", "uvf_chan_recv_many_wait: "};

static void starting_a_request_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  call_t recv = {0};
  recv_start(&recv, f->root, chan);
  for (int what = 0; what < 2 && test_rules_on(); what++) {
    misuse_t m = {f->root, chan, &recv, what, 1, {{0}}};
    const char *rule = test_expect_rule(misuse, &m);
    assert_non_null(rule);
    assert_memory_equal(rule, misused[what], strlen(misused[what]));
  }
  assert_waiting(chan, 0, 0, 1);
  put(chan, 1, 1);
  run_until(&f->loop, &recv.calls, 1);
  run_ready(&f->loop);
  assert_got(&recv, 1);
  uvf_chan_release(chan);
}

static void starting_on_another_thread_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  lane_t lane;
  lane_start(&lane);
  lane_turn(&lane); /* now it knows its thread */
  for (int what = 0; what < 2; what++) {
    call_t call = {0};
    misuse_t m = {lane.root, chan, &call, what, 1, {{0}}};
    if (test_rules_on()) {
      const char *rule = test_expect_rule(misuse, &m);
      assert_non_null(rule);
      assert_memory_equal(rule, misused[what], strlen(misused[what]));
    } else {
      misuse(&m);
      assert_int_equal(m.result, UV_EINVAL);
    }
    assert_int_equal(call.calls, 0);
  }
  assert_waiting(chan, 0, 0, 0);
  assert_counters(chan, 0, 0, 0);
  lane_stop(&lane);
  assert_int_equal(uvf_ctx_err(f->root), 0);
  uvf_chan_release(chan);
}

static void blocking_where_a_loop_runs_is_misuse(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int what = 2; what < 6; what++) {
    uvf_chan_t *chan = chan_of(0);
    misuse_t m = {f->root, chan, NULL, what, 1, {{0}}};
    if (test_rules_on()) {
      const char *rule = test_expect_rule(misuse, &m);
      assert_non_null(rule);
      assert_memory_equal(rule, misused[what], strlen(misused[what]));
    } else {
      misuse(&m);
      assert_int_equal(m.result, UV_EPERM);
      assert_waiting(chan, 0, 0, 0); /* nothing is left behind */
    }
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
      unit(a_start_under_a_context_that_is_over_touches_no_channel),
      unit(a_waiting_request_holds_the_loop_and_is_counted_under_its_context),
      unit(a_callback_may_start_its_own_request_again),
      unit(a_callback_may_free_its_own_request),
      unit(a_callback_may_close_the_channel_or_cancel_others_or_give_the_last_reference_back),
      unit(a_callback_may_close_the_root),
      unit(a_channel_that_its_owner_released_lives_as_long_as_requests_wait_in_it),
      unit(each_reference_counts_and_the_last_one_drops_what_is_left),
      unit(drop_runs_on_the_thread_that_caused_it),
      unit(a_drop_function_may_use_the_channel),
      unit(a_drop_function_may_use_the_channel_while_it_goes),
      unit(a_drop_function_may_send_to_the_channel),
      unit(starting_a_request_twice_is_misuse),
      unit(starting_on_another_thread_is_misuse),
      unit(blocking_where_a_loop_runs_is_misuse),
  };
  return test_run(tests);
}
