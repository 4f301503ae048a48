/* SPDX-License-Identifier: MIT
 *
 * Channels: how one is made, what is refused, what allocates, and the forms for many items at once.
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
      unit(null_is_an_item_like_any_other),
      unit(many_go_in_as_far_as_there_is_room),
      unit(many_go_to_waiting_receivers_first_and_then_into_the_room),
      unit(many_are_taken_from_the_room_and_from_waiting_senders_the_oldest_first),
      unit(many_into_a_dropping_channel_all_go_in),
  };
  return test_run(tests);
}
