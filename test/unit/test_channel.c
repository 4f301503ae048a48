/* SPDX-License-Identifier: MIT
 *
 * Channels on one thread: each row of the table of channel.h, and the order of items and of waiters.
 */
#include "unit/chan_probe.h"

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

int main(void) {
  const struct CMUnitTest tests[] = {
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
  };
  return test_run(tests);
}
