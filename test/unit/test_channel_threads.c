/* SPDX-License-Identifier: MIT
 *
 * Channels between threads: loops on threads of their own, wake-ups, cancels from elsewhere, and crowds.
 */
#include "kernel/context.h"
#include "unit/chan_crowd.h"

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

enum { LATE_WAIT, LATE_MANY, LATE_SELECT_WAIT, LATE_REQ, LATE_EACH, LATE_SELECT, LATE_KINDS };

typedef struct late_s {
  union {
    uvf_chan_req_t req;
    uvf_chan_each_t each;
    uvf_select_t sel;
  } u; /* first */
  int kind, sends;
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  lane_t *lane;
  uvf_select_case_t cases[1];
  int got, status;
  gate_t done;
} late_t;

static void late_end(late_t *late, int status) {
  late->got += status == 0;
  late->status = status;
  gate_open(&late->done, 1);
}

static void late_thread(void *arg) {
  late_t *late = arg;
  void *item[2] = {ITEM(9), ITEM(10)};
  size_t n;
  int rc;
  switch (late->kind) {
    case LATE_WAIT:
      rc = late->sends ? uvf_chan_send_wait(late->ctx, late->chan, item[0])
                       : uvf_chan_recv_wait(late->ctx, late->chan, item);
      break;
    case LATE_MANY:
      rc = late->sends ? uvf_chan_send_many_wait(late->ctx, late->chan, item, 2, &n)
                       : uvf_chan_recv_many_wait(late->ctx, late->chan, item, 2, &n);
      if (n > 0) rc = 0;
      break;
    default: rc = uvf_select_wait(late->ctx, late->cases, 1, &n); break;
  }
  late_end(late, rc);
}

static void late_on_req(uvf_chan_req_t *req, int status) { late_end((late_t *)(void *)req, status); }
static void late_on_select(uvf_select_t *sel, int status) { late_end((late_t *)(void *)sel, status); }
static void late_on_end(uvf_chan_each_t *each, int status) { late_end((late_t *)(void *)each, status); }
static void late_on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  (void)items;
  ((late_t *)(void *)each)->got += (int)n;
}

static void late_context(void *arg) {
  late_t *late = arg;
  if (uvf_ctx_with_cancel(late->lane->root, &late->ctx) != 0) abort();
}

static void late_start(void *arg) {
  late_t *late = arg;
  int rc = 0;
  if (late->kind == LATE_REQ && late->sends) {
    rc = uvf_chan_send(late->ctx, &late->u.req, late->chan, ITEM(9), late_on_req);
  } else if (late->kind == LATE_REQ) {
    rc = uvf_chan_recv(late->ctx, &late->u.req, late->chan, late_on_req);
  }
  if (late->kind == LATE_EACH) rc = uvf_chan_each(late->ctx, &late->u.each, late->chan, 0, late_on_items, late_on_end);
  if (late->kind == LATE_SELECT) rc = uvf_select_start(late->ctx, &late->u.sel, late->cases, 1, late_on_select);
  if (rc != 0) abort();
}

static void what_is_done_after_a_cancel_never_meets_whom_it_ended_whenever_that_began(void **state) {
  lane_t lane;
  uint64_t seed = test_seed();
  size_t rounds = test_scaled(3000, 6);
  int wrong = 0;
  (void)state;
  lane_start(&lane);
  lane_turn(&lane);
  for (size_t i = 0; i < rounds; i++) {
    late_t late = {.kind = (int)(i % LATE_KINDS), .lane = &lane, .chan = chan_of(8)};
    uv_thread_t thread;
    late.sends = late.kind != LATE_EACH && test_rand(&seed) % 2;
    gate_init(&late.done);
    late.cases[0] =
        (uvf_select_case_t){.chan = late.chan, .kind = late.sends ? UVF_SELECT_SEND : UVF_SELECT_RECV, .item = ITEM(9)};
    if (late.sends) put(late.chan, 1, 8);
    lane_call(&lane, late_context, &late);
    if (late.kind < LATE_REQ) assert_int_equal(uv_thread_create(&thread, late_thread, &late), 0);
    if (late.kind >= LATE_REQ) lane_post(&lane, late_start, &late);
    for (uint64_t k = test_rand(&seed) % 30000; k > 0; k--) (void)uvf_ctx_err(late.ctx);
    uvf_ctx_cancel(late.ctx);
    if (late.sends) take(late.chan, 1, 1);
    if (!late.sends) put(late.chan, 1, 1);
    gate_pass(&late.done);
    if (late.kind < LATE_REQ) assert_int_equal(uv_thread_join(&thread), 0);
    if (late.kind >= LATE_REQ) lane_wait(&lane);
    wrong += late.status != UV_ECANCELED || late.got != 0 || uvf_chan_length(late.chan) != (late.sends ? 7 : 1);
    uvf_ctx_release(late.ctx);
    lane_call(&lane, lane_nothing, NULL);
    uvf_chan_release(late.chan);
    gate_destroy(&late.done);
  }
  lane_stop(&lane);
  assert_int_equal(wrong, 0);
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

/* --- a loop that closes --- */

typedef struct stream_s {
  uvf_chan_t *chan;
  uint32_t stop;
  int sent;
} stream_t;

static void send_on_and_on(void *arg) {
  stream_t *s = arg;
  while (uvf__u32_load(&s->stop) == 0) {
    if (uvf_chan_try_send(s->chan, ITEM(s->sent + 1)) == 0) s->sent++;
  }
}

static void a_loop_that_closes_while_others_send_leaves_the_rest_in_the_channel(void **state) {
  uint64_t seed = test_seed();
  int rounds = (int)test_scaled(200, 10);
  static const int consumers[] = {CONSUME_EACH, CONSUME_LANE, CONSUME_SELECT_LANE};
  (void)state;
  for (int i = 0; i < rounds; i++) {
    enum { ROOM = 1 << 20 };
    lane_t lane;
    stream_t stream = {.chan = chan_of((size_t)(i % 4) * 10)};
    worker_t w = {.kind = consumers[i % 3], .chan = {stream.chan, NULL}, .lane = &lane, .n = ROOM};
    uv_thread_t thread;
    void *item;
    int next = 0;
    w.got = malloc(ROOM * sizeof *w.got);
    assert_non_null(w.got);
    gate_init(&w.done);
    lane_start(&lane);
    lane_call(&lane, worker_on_lane, &w);
    assert_int_equal(uv_thread_create(&thread, send_on_and_on, &stream), 0);
    for (uint64_t k = test_rand(&seed) % 100000; k > 0; k--) (void)uvf__u32_load(&stream.stop);
    lane_stop(&lane);
    uvf__u32_store(&stream.stop, 1);
    assert_int_equal(uv_thread_join(&thread), 0);
    gate_pass(&w.done);
    assert_int_equal(w.status, UV_ECANCELED);
    assert_true(w.at <= ROOM);
    while (next < w.at) {
      assert_int_equal(w.got[next], next + 1);
      next++;
    }
    while (uvf_chan_try_recv(stream.chan, &item) == 0) assert_int_equal(NUMBER(item), ++next);
    assert_int_equal(next, stream.sent);
    assert_waiting(stream.chan, 0, 0, 0);
    gate_destroy(&w.done);
    free(w.got);
    uvf_chan_release(stream.chan);
  }
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
      unit(a_deadline_ends_a_blocked_thread_while_the_loop_is_stuck),
      unit(a_thousand_items_for_a_loop_that_is_busy_elsewhere_wake_it_once),
      unit(a_thousand_items_for_a_loop_that_sleeps_or_is_busy_make_one_wake_up),
      unit(items_for_a_loop_that_stands_in_a_callback_of_ours_need_no_wake_up),
      unit(who_cancels_and_then_sends_never_reaches_whom_it_cancelled),
      unit(a_cancel_and_a_partner_at_once_agree_on_where_the_item_is),
      unit(what_is_done_after_a_cancel_never_meets_whom_it_ended_whenever_that_began),
      unit(what_was_done_before_a_send_or_a_close_is_seen_behind_it),
      unit(what_is_sent_as_many_stands_together),
      unit(a_loop_that_closes_while_others_send_leaves_the_rest_in_the_channel),
      unit(crowds_of_every_kind_lose_nothing_and_double_nothing),
  };
  return test_run(tests);
}
