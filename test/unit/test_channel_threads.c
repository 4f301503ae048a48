/* SPDX-License-Identifier: MIT
 *
 * Channels between threads: blocked senders and receivers, loops on threads of their own, wake-ups, and crowds.
 */
#include "kernel/context.h"
#include "unit/chan_crowd.h"

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

/* --- a loop that is held in a callback --- */

typedef struct hold_s {
  gate_t entered, leave;
} hold_t;

static void hold_init(hold_t *hold) {
  gate_init(&hold->entered);
  gate_init(&hold->leave);
}

static void hold_destroy(hold_t *hold) {
  gate_destroy(&hold->entered);
  gate_destroy(&hold->leave);
}

static void hold_here(void *arg) {
  hold_t *hold = arg;
  gate_open(&hold->entered, 1);
  gate_pass(&hold->leave);
}

typedef struct timed_s {
  lane_t *lane;
  uvf_ctx_t *ctx;
} timed_t;

static void make_timed(void *arg) {
  timed_t *timed = arg;
  if (uvf_ctx_with_timeout(timed->lane->root, 30, &timed->ctx) != 0) abort();
}

static void a_deadline_ends_a_blocked_thread_while_the_loop_is_stuck(void **state) {
  uvf_chan_t *chan = chan_of(0);
  lane_t lane;
  hold_t hold;
  timed_t timed = {&lane, NULL};
  (void)state;
  hold_init(&hold);
  lane_start(&lane);
  lane_call(&lane, make_timed, &timed);
  lane_post(&lane, hold_here, &hold);
  gate_pass(&hold.entered);
  {
    blocker_t b = {.kind = RECV_WAIT, .ctx = timed.ctx, .chan = chan};
    blocker_start(&b);
    blocker_join(&b);
    assert_int_equal(b.result, UV_ETIMEDOUT);
    assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(timed.ctx));
  }
  assert_waiting(chan, 0, 0, 0);
  gate_open(&hold.leave, 1);
  lane_wait(&lane);
  uvf_ctx_release(timed.ctx);
  lane_stop(&lane);
  hold_destroy(&hold);
  uvf_chan_release(chan);
}

/* --- wake-ups --- */

#define ITEMS 1000

typedef struct sleeper_s {
  lane_t lane;
  uvf_chan_t *chan;
  uvf_chan_each_t each;
  uvf_chan_req_t reqs[ITEMS];
  uvf__hub_t *hub;
  uv_async_cb own; /* the hub's */
  int wakes, got, ends;
  hold_t hold;
  int hold_in_items;
} sleeper_t;

static sleeper_t *awake;

static void count_wake(uv_async_t *async) {
  awake->wakes++;
  awake->own(async);
}

static void count_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  sleeper_t *s = each->data;
  (void)items;
  s->got += (int)n;
  if (s->hold_in_items) {
    s->hold_in_items = 0;
    hold_here(&s->hold);
  }
}

static void count_end(uvf_chan_each_t *each, int status) { ((sleeper_t *)each->data)->ends += status == UV_EOF; }

static void count_recv(uvf_chan_req_t *req, int status) { ((sleeper_t *)req->data)->got += status == 0; }

static void sleeper_each(void *arg) {
  sleeper_t *s = arg;
  s->each.data = s;
  if (uvf_chan_each(s->lane.root, &s->each, s->chan, 0, count_items, count_end) != 0) abort();
}

static void sleeper_recvs(void *arg) {
  sleeper_t *s = arg;
  for (int i = 0; i < ITEMS; i++) {
    s->reqs[i].data = s;
    if (uvf_chan_recv(s->lane.root, &s->reqs[i], s->chan, count_recv) != 0) abort();
  }
}

static void sleeper_watch(void *arg) {
  sleeper_t *s = arg;
  s->hub = uvf__ctx_hub(s->lane.root);
  s->own = s->hub->async.async_cb;
  s->hub->async.async_cb = count_wake;
  s->wakes = 0;
}

static void sleeper_unwatch(void *arg) {
  sleeper_t *s = arg;
  s->hub->async.async_cb = s->own;
}

/* A send for each item would set the handle's mark each time; the library's own frugality must keep it off. */
#ifndef _WIN32
static int async_pending(sleeper_t *s) { return __atomic_load_n(&s->hub->async.pending, __ATOMIC_SEQ_CST); }
static void async_clear(sleeper_t *s) { __atomic_store_n(&s->hub->async.pending, 0, __ATOMIC_SEQ_CST); }
#else
static int async_pending(sleeper_t *s) { return s->wakes; }
static void async_clear(sleeper_t *s) { (void)s; }
#endif

static sleeper_t *sleeper_start(void (*receive)(void *)) {
  sleeper_t *s = calloc(1, sizeof *s);
  assert_non_null(s);
  awake = s;
  s->chan = chan_of(ITEMS);
  hold_init(&s->hold);
  lane_start(&s->lane);
  lane_turn(&s->lane);
  lane_call(&s->lane, receive, s);
  lane_turn(&s->lane);
  lane_call(&s->lane, sleeper_watch, s);
  return s;
}

static void sleeper_stop(sleeper_t *s, int wakes) {
  lane_turn(&s->lane);
  lane_call(&s->lane, sleeper_unwatch, s);
  assert_int_equal(s->got, ITEMS);
  assert_int_equal(s->wakes, wakes);
  uvf_chan_close(s->chan);
  lane_stop(&s->lane);
  uvf_chan_release(s->chan);
  hold_destroy(&s->hold);
  free(s);
}

static void a_thousand_items_for_a_loop_that_is_busy_elsewhere_wake_it_once(void **state) {
  (void)state;
  for (int plain = 0; plain < 2; plain++) {
    sleeper_t *s = sleeper_start(plain ? sleeper_recvs : sleeper_each);
    lane_post(&s->lane, hold_here, &s->hold); /* in a callback that is not the library's */
    gate_pass(&s->hold.entered);
    put(s->chan, 1, 1);
    assert_int_not_equal(async_pending(s), 0);
    async_clear(s);
    put(s->chan, 2, ITEMS);
    assert_int_equal(async_pending(s), 0); /* not one more */
    gate_open(&s->hold.leave, 1);
    lane_wait(&s->lane);
    sleeper_stop(s, 0); /* what the first one wrote wakes the loop, whose own look at its posts finds all: no mark */
  }
}

static void a_thousand_items_for_a_loop_that_sleeps_or_is_busy_make_one_wake_up(void **state) {
  (void)state;
  for (int plain = 0; plain < 2; plain++) {
    sleeper_t *s = sleeper_start(plain ? sleeper_recvs : sleeper_each);
    lane_post(&s->lane, hold_here, &s->hold);
    gate_pass(&s->hold.entered);
    put(s->chan, 1, ITEMS);
    gate_open(&s->hold.leave, 1);
    lane_wait(&s->lane);
    sleeper_stop(s, 1);
  }
}

static void items_for_a_loop_that_stands_in_a_callback_of_ours_need_no_wake_up(void **state) {
  sleeper_t *s = sleeper_start(sleeper_each);
  int wakes;
  (void)state;
  s->hold_in_items = 1;
  put(s->chan, 1, 1);
  gate_pass(&s->hold.entered);
  async_clear(s); /* the first one's: it came as the loop fell asleep, and was found without */
  wakes = s->wakes;
  put(s->chan, 2, ITEMS);
  assert_int_equal(async_pending(s), 0);
  gate_open(&s->hold.leave, 1);
  sleeper_stop(s, wakes);
}

/* --- a context that another thread cancels --- */

typedef struct target_s {
  lane_t *lane;
  uvf_chan_t *chan;
  uvf_ctx_t *ctx;
  uvf_chan_req_t req;
  gate_t ended;
  int status;
  int sending;
} target_t;

static void target_end(uvf_chan_req_t *req, int status) {
  target_t *t = req->data;
  t->status = status;
  gate_open(&t->ended, 1);
}

static void target_start(void *arg) {
  target_t *t = arg;
  int rc;
  if (uvf_ctx_with_cancel(t->lane->root, &t->ctx) != 0) abort();
  t->req.data = t;
  if (t->sending) rc = uvf_chan_send(t->ctx, &t->req, t->chan, ITEM(5), target_end);
  if (!t->sending) rc = uvf_chan_recv(t->ctx, &t->req, t->chan, target_end);
  if (rc != 0) abort();
}

static void who_cancels_and_then_sends_never_reaches_whom_it_cancelled(void **state) {
  lane_t lane;
  size_t rounds = test_scaled(2000, 10);
  (void)state;
  lane_start(&lane);
  lane_turn(&lane);
  for (size_t i = 0; i < rounds; i++) {
    target_t t = {.lane = &lane, .chan = chan_of(0), .sending = i % 2};
    void *item;
    gate_init(&t.ended);
    lane_call(&lane, target_start, &t);
    await_waiting(t.chan, t.sending, !t.sending);
    uvf_ctx_cancel(t.ctx); /* on this thread, while the lane's loop sleeps */
    if (t.sending) assert_int_equal(uvf_chan_try_recv(t.chan, &item), UV_EAGAIN);
    if (!t.sending) assert_int_equal(uvf_chan_try_send(t.chan, ITEM(1)), UV_EAGAIN);
    gate_pass(&t.ended);
    assert_int_equal(t.status, UV_ECANCELED);
    assert_counters(t.chan, 0, 0, 0);
    uvf_ctx_release(t.ctx);
    lane_call(&lane, lane_nothing, NULL);
    uvf_chan_release(t.chan);
    gate_destroy(&t.ended);
  }
  lane_stop(&lane);
}

typedef struct race_s {
  uvf_ctx_t *ctx;
  uint64_t spins;
} race_t;

static void cancel_after(void *arg) {
  race_t *race = arg;
  for (uint64_t i = 0; i < race->spins; i++) (void)uvf_ctx_err(race->ctx);
  uvf_ctx_cancel(race->ctx);
}

static void a_cancel_and_a_partner_at_once_agree_on_where_the_item_is(void **state) {
  lane_t lane;
  uint64_t seed = test_seed();
  int served = 0, rounds = (int)test_scaled(3000, 10);
  (void)state;
  lane_start(&lane);
  lane_turn(&lane);
  for (int i = 0; i < rounds; i++) {
    target_t t = {.lane = &lane, .chan = chan_of(0), .sending = i % 2};
    uv_thread_t thread;
    race_t race;
    void *item = ITEM(-1);
    int rc;
    gate_init(&t.ended);
    lane_call(&lane, target_start, &t);
    race.ctx = t.ctx;
    race.spins = test_rand(&seed) % 4000;
    assert_int_equal(uv_thread_create(&thread, cancel_after, &race), 0);
    for (uint64_t k = test_rand(&seed) % 70000; k > 0; k--) (void)uvf_ctx_err(t.ctx);
    rc = t.sending ? uvf_chan_try_recv(t.chan, &item) : uvf_chan_try_send(t.chan, ITEM(6));
    gate_pass(&t.ended);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_int_equal(t.status, rc == 0 ? 0 : UV_ECANCELED);
    if (rc != 0) assert_int_equal(rc, UV_EAGAIN);
    if (rc == 0) assert_int_equal(NUMBER(t.sending ? item : t.req.item), t.sending ? 5 : 6);
    served += rc == 0;
    assert_waiting(t.chan, 0, 0, 0);
    uvf_ctx_release(t.ctx);
    lane_call(&lane, lane_nothing, NULL);
    uvf_chan_release(t.chan);
    gate_destroy(&t.ended);
  }
  print_message("%d of %d were served\n", served, rounds);
  lane_stop(&lane);
}

/* --- what is seen --- */

typedef struct parcel_s {
  int content; /* plain: the channel orders it, which a thread sanitizer checks */
} parcel_t;

static void pack(void *arg) {
  worker_t *w = arg;
  parcel_t *parcels = w->u.req.data;
  for (int i = 0; i < w->n; i++) {
    parcels[i].content = i;
    if (uvf_chan_send_wait(w->ctx, w->chan[0], &parcels[i]) != 0) abort();
  }
  w->status = 1; /* seen by who gets EOF */
  uvf_chan_close(w->chan[0]);
}

static void what_was_done_before_a_send_or_a_close_is_seen_behind_it(void **state) {
  fixture_t *f = *state;
  enum { N = 500 };
  static parcel_t parcels[N];
  for (size_t i = 0; i < 4; i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    worker_t w = {.ctx = f->root, .n = N, .chan = {chan, NULL}};
    int next = 0;
    memset(parcels, 0xff, sizeof parcels);
    w.u.req.data = parcels;
    assert_int_equal(uv_thread_create(&w.thread, pack, &w), 0);
    while (next <= N) {
      void *item;
      int rc = uvf_chan_try_recv(chan, &item);
      if (rc == UV_EAGAIN) {
        uv_sleep(0);
        continue;
      }
      if (rc == UV_EOF) break;
      assert_int_equal(rc, 0);
      assert_int_equal(((parcel_t *)item)->content, next);
      ((parcel_t *)item)->content = -1; /* ours */
      next++;
    }
    assert_int_equal(w.status, 1);
    assert_int_equal(next, N);
    assert_int_equal(uv_thread_join(&w.thread), 0);
    uvf_chan_release(chan);
  }
}

/* --- batches are not torn --- */

typedef struct batch_s {
  uvf_chan_t *chan;
  int id, rounds;
} batch_t;

static void send_batches(void *arg) {
  batch_t *b = arg;
  void *items[4];
  for (int i = 0; i < b->rounds; i++) {
    size_t sent = 0;
    for (int k = 0; k < 4; k++) items[k] = ITEM(b->id * 4 + k);
    while (uvf_chan_try_send_many(b->chan, items, 4, &sent) != 0) uv_sleep(0);
    if (sent != 4) abort();
  }
}

static void what_is_sent_as_many_stands_together(void **state) {
  enum { SENDERS = 3, ROUNDS = 200 };
  uvf_chan_t *chan = chan_of((size_t)4 * SENDERS * ROUNDS);
  uv_thread_t threads[SENDERS];
  batch_t batches[SENDERS];
  (void)state;
  for (int i = 0; i < SENDERS; i++) {
    batches[i] = (batch_t){chan, i + 1, ROUNDS};
    assert_int_equal(uv_thread_create(&threads[i], send_batches, &batches[i]), 0);
  }
  for (int i = 0; i < SENDERS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  for (int i = 0; i < SENDERS * ROUNDS; i++) {
    void *items[4];
    size_t n;
    assert_int_equal(uvf_chan_try_recv_many(chan, items, 4, &n), 0);
    assert_int_equal(n, 4);
    for (int k = 0; k < 4; k++) assert_int_equal(NUMBER(items[k]), NUMBER(items[0]) / 4 * 4 + k);
  }
  assert_nothing_there(chan, UV_EAGAIN);
  uvf_chan_release(chan);
}

/* --- crowds --- */

static void crowds_of_every_kind_lose_nothing_and_double_nothing(void **state) {
  fixture_t *f = *state;
  static const int rows[][10] = {
      {PRODUCE_WAIT, CONSUME_WAIT, -1},
      {PRODUCE_WAIT, CONSUME_EACH, -1},
      {PRODUCE_LANE, CONSUME_WAIT, -1},
      {PRODUCE_LANE, CONSUME_LANE, -1},
      {PRODUCE_WAIT, PRODUCE_WAIT, PRODUCE_WAIT, CONSUME_EACH, -1},
      {PRODUCE_MANY, PRODUCE_MANY, CONSUME_MANY, CONSUME_EACH, -1},
      {PRODUCE_WAIT, PRODUCE_TRY, PRODUCE_MANY, PRODUCE_LANE, CONSUME_WAIT, CONSUME_TRY, CONSUME_MANY, CONSUME_LANE,
       CONSUME_EACH, -1},
  };
  int each = (int)test_scaled(2000, 4);
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
      uvf_chan_t *chan = chan_of(capacities[i]);
      crowd_run(f->root, chan, NULL, rows[row], each);
      assert_waiting(chan, 0, 0, 0);
      assert_int_equal(chan_stats_of(chan).dropped, 0);
      uvf_chan_release(chan);
    }
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
      unit(a_deadline_ends_a_blocked_thread_while_the_loop_is_stuck),
      unit(a_thousand_items_for_a_loop_that_is_busy_elsewhere_wake_it_once),
      unit(a_thousand_items_for_a_loop_that_sleeps_or_is_busy_make_one_wake_up),
      unit(items_for_a_loop_that_stands_in_a_callback_of_ours_need_no_wake_up),
      unit(who_cancels_and_then_sends_never_reaches_whom_it_cancelled),
      unit(a_cancel_and_a_partner_at_once_agree_on_where_the_item_is),
      unit(what_was_done_before_a_send_or_a_close_is_seen_behind_it),
      unit(what_is_sent_as_many_stands_together),
      unit(crowds_of_every_kind_lose_nothing_and_double_nothing),
  };
  return test_run(tests);
}
