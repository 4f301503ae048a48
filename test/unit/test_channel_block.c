/* SPDX-License-Identifier: MIT
 *
 * Threads that block in a channel: what they get, in which order, and all that ends them.
 */
#include "unit/chan_probe.h"

/* --- blocked threads: what they get --- */

static void a_blocked_receiver_gets_the_item_of_whoever_sends(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < 3; i++) {
    for (int by_request = 0; by_request < 2; by_request++) {
      uvf_chan_t *chan = chan_of(capacities[i]);
      blocker_t b = {.kind = RECV_WAIT, .ctx = f->root, .chan = chan};
      call_t send = {0};
      blocker_start(&b);
      await_waiting(chan, 0, 1);
      if (by_request) send_start(&send, f->root, chan, ITEM(5));
      if (!by_request) put(chan, 5, 5);
      blocker_join(&b); /* the loop does not run: it need not */
      assert_int_equal(b.result, 0);
      assert_int_equal(NUMBER(b.item), 5);
      assert_counters(chan, 1, 1, 0);
      if (by_request) run_until(&f->loop, &send.calls, 1);
      if (by_request) assert_ended(&send, 0);
      uvf_chan_release(chan);
    }
  }
}

static void a_blocked_senders_item_is_taken_by_whoever_receives(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < 3; i++) {
    int capacity = (int)capacities[i];
    uvf_chan_t *chan = chan_of(capacities[i]);
    blocker_t b = {.kind = SEND_WAIT, .ctx = f->root, .chan = chan, .item = ITEM(capacity + 1)};
    put(chan, 1, capacity);
    blocker_start(&b);
    await_waiting(chan, 1, 0);
    take(chan, 1, 1);
    blocker_join(&b);
    assert_int_equal(b.result, 0);
    take(chan, 2, capacity + 1);
    uvf_chan_release(chan);
  }
}

static void what_need_not_wait_does_not(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(2);
  void *items[5];
  blocker_t rows[] = {
      {.kind = SEND_WAIT, .ctx = f->root, .chan = chan, .item = ITEM(1)},
      {.kind = RECV_WAIT, .ctx = f->root, .chan = chan},
      {.kind = SEND_MANY_WAIT, .ctx = f->root, .chan = chan, .items = items, .n = 2},
      {.kind = RECV_MANY_WAIT, .ctx = f->root, .chan = chan, .items = items + 2, .n = 3},
      {.kind = SEND_MANY_WAIT, .ctx = f->root, .chan = chan, .items = items, .n = 0},
      {.kind = RECV_MANY_WAIT, .ctx = f->root, .chan = chan, .items = items, .n = 0},
  };
  static const size_t n[] = {0, 0, 2, 2, 0, 0};
  items[0] = ITEM(2);
  items[1] = ITEM(3);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    blocker_start(&rows[i]);
    blocker_join(&rows[i]);
    assert_int_equal(rows[i].result, 0);
    assert_int_equal(rows[i].n, n[i]);
  }
  assert_int_equal(NUMBER(rows[1].item), 1);
  assert_int_equal(NUMBER(items[2]), 2);
  assert_int_equal(NUMBER(items[3]), 3);
  assert_int_equal(chan_stats_of(chan).waited, 0);
  uvf_chan_release(chan);
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  void *item, *items[1] = {NULL};
  size_t n = 77;
  assert_int_equal(uvf_chan_send_wait(NULL, chan, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_send_wait(f->root, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_recv_wait(NULL, chan, &item), UV_EINVAL);
  assert_int_equal(uvf_chan_recv_wait(f->root, NULL, &item), UV_EINVAL);
  assert_int_equal(uvf_chan_recv_wait(f->root, chan, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_send_many_wait(NULL, chan, items, 1, &n), UV_EINVAL);
  assert_int_equal(uvf_chan_send_many_wait(f->root, NULL, items, 1, &n), UV_EINVAL);
  assert_int_equal(uvf_chan_send_many_wait(f->root, chan, NULL, 1, &n), UV_EINVAL);
  assert_int_equal(uvf_chan_send_many_wait(f->root, chan, items, 1, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_recv_many_wait(NULL, chan, items, 1, &n), UV_EINVAL);
  assert_int_equal(uvf_chan_recv_many_wait(f->root, NULL, items, 1, &n), UV_EINVAL);
  assert_int_equal(uvf_chan_recv_many_wait(f->root, chan, NULL, 1, &n), UV_EINVAL);
  assert_int_equal(uvf_chan_recv_many_wait(f->root, chan, items, 1, NULL), UV_EINVAL);
  uvf_chan_release(chan);
}

static void blocked_threads_are_served_in_the_order_they_came(void **state) {
  fixture_t *f = *state;
  for (int sending = 0; sending < 2; sending++) {
    uvf_chan_t *chan = chan_of(0);
    blocker_t b[4];
    call_t between = {0};
    memset(b, 0, sizeof b);
    for (int i = 0; i < 4; i++) {
      b[i] = (blocker_t){.kind = sending ? SEND_WAIT : RECV_WAIT, .ctx = f->root, .chan = chan, .item = ITEM(i + 1)};
      blocker_start(&b[i]);
      await_waiting(chan, sending ? i + 1 + (i == 3) : 0, sending ? 0 : i + 1 + (i == 3));
      if (i == 2 && sending) send_start(&between, f->root, chan, ITEM(77));
      if (i == 2 && !sending) recv_start(&between, f->root, chan);
    }
    if (sending) {
      take(chan, 1, 3);
      take(chan, 77, 77);
      take(chan, 4, 4);
    } else {
      put(chan, 1, 5);
    }
    for (int i = 0; i < 4; i++) {
      blocker_join(&b[i]);
      assert_int_equal(b[i].result, 0);
      if (!sending) assert_int_equal(NUMBER(b[i].item), i == 3 ? 5 : i + 1);
    }
    run_until(&f->loop, &between.calls, 1);
    assert_ended(&between, 0);
    if (!sending) assert_int_equal(NUMBER(between.item), 4);
    uvf_chan_release(chan);
  }
}

static void many_are_sent_by_blocking_as_often_as_it_takes(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < 4; i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    void *items[20];
    blocker_t b = {.kind = SEND_MANY_WAIT, .ctx = f->root, .chan = chan, .items = items, .n = 20};
    for (int k = 0; k < 20; k++) items[k] = ITEM(k + 1);
    blocker_start(&b);
    for (int k = 1; k <= 20; k++) {
      while (uvf_chan_length(chan) == 0 && chan_stats_of(chan).senders == 0) uv_sleep(0);
      take(chan, k, k);
    }
    blocker_join(&b);
    assert_int_equal(b.result, 0);
    assert_int_equal(b.n, 20);
    uvf_chan_release(chan);
  }
}

static void a_close_amid_many_says_how_many_went_in(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(3);
  void *items[10];
  blocker_t b = {.kind = SEND_MANY_WAIT, .ctx = f->root, .chan = chan, .items = items, .n = 10};
  for (int k = 0; k < 10; k++) items[k] = ITEM(k + 1);
  blocker_start(&b);
  await_waiting(chan, 1, 0);
  take(chan, 1, 2);
  while (chan_stats_of(chan).length < 3 || chan_stats_of(chan).senders < 1) uv_sleep(0);
  uvf_chan_close(chan);
  blocker_join(&b);
  assert_int_equal(b.result, UV_EPIPE);
  assert_int_equal(b.n, 5);
  take(chan, 3, 5);
  assert_nothing_there(chan, UV_EOF);
  uvf_chan_release(chan);
}

static void many_are_received_after_blocking_for_the_first(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(8);
  void *items[5] = {NULL}, *sent[8];
  blocker_t b = {.kind = RECV_MANY_WAIT, .ctx = f->root, .chan = chan, .items = items, .n = 5};
  size_t n;
  for (int k = 0; k < 8; k++) sent[k] = ITEM(k + 1);
  blocker_start(&b);
  await_waiting(chan, 0, 1);
  assert_int_equal(uvf_chan_try_send_many(chan, sent, 8, &n), 0); /* in one go: the first wakes it */
  assert_int_equal(n, 8);
  blocker_join(&b);
  assert_int_equal(b.result, 0);
  assert_int_equal(b.n, 5);
  for (int k = 0; k < 5; k++) assert_int_equal(NUMBER(items[k]), k + 1);
  take(chan, 6, 8);
  uvf_chan_close(chan);
  blocker_start(&b);
  blocker_join(&b);
  assert_int_equal(b.result, UV_EOF);
  assert_int_equal(b.n, 0);
  uvf_chan_release(chan);
}

/* --- blocked threads: how they end --- */

enum { END_CANCEL, END_CANCEL_FAR, END_DEADLINE, END_CLOSE, END_CLOSE_FAR, END_PARENT, END_ROOT, ENDS };

static void everything_that_ends_a_blocked_thread(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind <= SELECT_WAIT; kind++) {
    for (int end = 0; end < ENDS; end++) {
      int sending = kind == SEND_WAIT || kind == SEND_MANY_WAIT;
      uvf_chan_t *chan = chan_of(0);
      uvf_ctx_t *root, *parent, *ctx;
      void *items[2] = {ITEM(1), ITEM(2)};
      uvf_select_case_t cases[2] = {{.chan = UVF_CHAN_NONE}, {.chan = chan, .kind = UVF_SELECT_RECV}};
      blocker_t b = {.kind = kind, .chan = chan, .items = items, .n = 2, .cases = cases, .item = ITEM(1)};
      int wanted = UV_ECANCELED;
      size_t n = kind == SELECT_WAIT ? 2 : 0;
      assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
      parent = child_of(root);
      ctx = end == END_DEADLINE ? timeout_of(parent, 30) : child_of(parent);
      b.ctx = ctx;
      blocker_start(&b);
      if (end != END_DEADLINE) await_waiting(chan, sending, !sending);
      switch (end) {
        case END_CANCEL: uvf_ctx_cancel(ctx); break;
        case END_CANCEL_FAR: on_thread(cancel_ctx, ctx); break;
        case END_DEADLINE: wanted = UV_ETIMEDOUT; break; /* no loop runs: the thread watches it itself */
        case END_CLOSE: uvf_chan_close(chan); break;
        case END_CLOSE_FAR: on_thread(close_chan, chan); break;
        case END_PARENT: uvf_ctx_cancel(parent); break;
        default: uvf_ctx_close(root, NULL); break;
      }
      if (end == END_CLOSE || end == END_CLOSE_FAR) {
        wanted = sending ? UV_EPIPE : UV_EOF;
        if (kind == SELECT_WAIT) n = 1;
      }
      blocker_join(&b);
      assert_int_equal(b.result, wanted);
      if (kind >= SEND_MANY_WAIT) assert_int_equal(b.n, n);
      if (kind == SEND_WAIT || kind == RECV_WAIT) assert_int_equal(NUMBER(b.item), 1); /* *item: on success only */
      if (end == END_DEADLINE) assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
      if (end == END_DEADLINE) assert_true(b.took_ns <= 30 * MS_NS + GENEROUS_NS);
      assert_waiting(chan, 0, 0, 0);
      assert_counters(chan, 0, 0, 0);
      uvf_ctx_release(ctx);
      uvf_ctx_release(parent);
      if (end != END_ROOT) uvf_ctx_close(root, NULL);
      turn(&f->loop);
      uvf_chan_release(chan);
    }
  }
}

static void under_a_context_that_is_over_nothing_is_sent_or_received(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  for (int kind = 0; kind <= SELECT_WAIT; kind++) {
    uvf_chan_t *chan = chan_of(4);
    void *items[2] = {ITEM(1), ITEM(2)};
    uvf_select_case_t cases[2] = {{.chan = chan, .kind = UVF_SELECT_SEND, .item = ITEM(5)},
                                  {.chan = chan, .kind = UVF_SELECT_RECV}};
    blocker_t b = {.kind = kind, .ctx = ctx, .chan = chan, .items = items, .n = 2, .cases = cases};
    put(chan, 7, 8); /* both room and items */
    blocker_start(&b);
    blocker_join(&b);
    assert_int_equal(b.result, UV_ETIMEDOUT);
    if (kind >= SEND_MANY_WAIT) assert_int_equal(b.n, kind == SELECT_WAIT ? 2 : 0);
    take(chan, 7, 8);
    assert_nothing_there(chan, UV_EAGAIN);
    uvf_chan_release(chan);
  }
  uvf_ctx_release(ctx);
}

static void a_close_wakes_all(void **state) {
  fixture_t *f = *state;
  enum { N = 12 };
  for (int sending = 0; sending < 2; sending++) {
    uvf_chan_t *chan = chan_of(0);
    blocker_t b[N];
    for (int i = 0; i < N; i++) {
      b[i] = (blocker_t){.kind = sending ? SEND_WAIT : RECV_WAIT, .ctx = f->root, .chan = chan};
      blocker_start(&b[i]);
    }
    await_waiting(chan, sending ? N : 0, sending ? 0 : N);
    uvf_chan_close(chan);
    for (int i = 0; i < N; i++) blocker_join(&b[i]);
    for (int i = 0; i < N; i++) assert_int_equal(b[i].result, sending ? UV_EPIPE : UV_EOF);
    uvf_chan_release(chan);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_blocked_receiver_gets_the_item_of_whoever_sends),
      unit(a_blocked_senders_item_is_taken_by_whoever_receives),
      unit(what_need_not_wait_does_not),
      unit(null_arguments_are_refused),
      unit(blocked_threads_are_served_in_the_order_they_came),
      unit(many_are_sent_by_blocking_as_often_as_it_takes),
      unit(a_close_amid_many_says_how_many_went_in),
      unit(many_are_received_after_blocking_for_the_first),
      unit(everything_that_ends_a_blocked_thread),
      unit(under_a_context_that_is_over_nothing_is_sent_or_received),
      unit(a_close_wakes_all),
  };
  return test_run(tests);
}
