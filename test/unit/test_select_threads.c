/* SPDX-License-Identifier: MIT
 *
 * Selects that meet across threads and loops: nobody deadlocks, each deal has two sides, and no item is lost or
 * doubled.
 */
#include "unit/chan_crowd.h"

/* --- blocked threads --- */

static void a_blocked_select_makes_the_case_happen_that_can(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 5; row++) {
    uvf_chan_t *in = chan_of(0), *out = chan_of(0);
    uvf_select_case_t cases[3] = {{.chan = UVF_CHAN_NONE},
                                  {.chan = in, .kind = UVF_SELECT_RECV, .item = ITEM(-1)},
                                  {.chan = out, .kind = UVF_SELECT_SEND, .item = ITEM(5)}};
    blocker_t b = {.kind = SELECT_WAIT, .ctx = f->root, .cases = cases, .n = 3};
    call_t call = {0};
    static const int status[] = {0, 0, UV_EOF, UV_EPIPE, 0};
    static const size_t index[] = {1, 2, 1, 2, 1};
    blocker_start(&b);
    await_waiting(in, 0, 1);
    await_waiting(out, 1, 0);
    if (row == 0) put(in, 7, 7);
    if (row == 1) take(out, 5, 5);
    if (row == 2) uvf_chan_close(in);
    if (row == 3) uvf_chan_close(out);
    if (row == 4) send_start(&call, f->root, in, ITEM(7));
    blocker_join(&b);
    assert_int_equal(b.result, status[row]);
    assert_int_equal(b.n, index[row]);
    assert_int_equal(NUMBER(cases[1].item), row == 0 || row == 4 ? 7 : -1);
    assert_int_equal(NUMBER(cases[2].item), 5);
    assert_waiting(in, 0, 0, 0);
    assert_waiting(out, 0, 0, 0);
    if (row == 4) run_until(&f->loop, &call.calls, 1);
    uvf_chan_release(in);
    uvf_chan_release(out);
  }
}

static void a_blocked_select_without_cases_waits_for_its_context(void **state) {
  fixture_t *f = *state;
  uvf_select_case_t off[2] = {{.chan = UVF_CHAN_NONE}, {.chan = UVF_CHAN_NONE, .kind = UVF_SELECT_SEND}};
  for (int timed = 0; timed < 2; timed++) {
    for (size_t n = 0; n <= 2; n += 2) {
      uvf_ctx_t *ctx = timed ? timeout_of(f->root, 10) : child_of(f->root);
      blocker_t b = {.kind = SELECT_WAIT, .ctx = ctx, .cases = n > 0 ? off : NULL, .n = n};
      blocker_start(&b);
      if (!timed) uvf_ctx_cancel(ctx);
      blocker_join(&b);
      assert_int_equal(b.result, timed ? UV_ETIMEDOUT : UV_ECANCELED);
      assert_int_equal(b.n, n);
      if (timed) assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
      uvf_ctx_release(ctx);
    }
  }
}

/* --- two loops, both select, in opposite orders --- */

typedef struct duel_s {
  lane_t lane;
  uvf_select_t sel;
  uvf_select_case_t cases[4];
  size_t n;
  uvf_chan_t *x, *y;
  int first; /* receives x and sends y; the other one the reverse */
  int rounds, done, failed;
  int sent[2], received[2]; /* by channel: x, y */
  uint64_t sum_sent, sum_received;
  gate_t over;
} duel_t;

static void duel_cases(duel_t *d) {
  uvf_select_case_t recv = {.chan = d->first ? d->x : d->y, .kind = UVF_SELECT_RECV};
  uvf_select_case_t send = {.chan = d->first ? d->y : d->x, .kind = UVF_SELECT_SEND, .item = ITEM(d->done + 1)};
  d->cases[0] = d->first ? recv : send;
  d->cases[1] = d->first ? send : recv;
  d->cases[2] = d->cases[0]; /* and once more */
  d->cases[3] = (uvf_select_case_t){.chan = UVF_CHAN_NONE};
  d->n = 4;
}

static void on_duel(uvf_select_t *sel, int status) {
  duel_t *d = sel->data;
  uvf_select_case_t *c = &d->cases[sel->index < 4 ? sel->index : 0];
  int which = c->chan == d->y;
  if (status != 0 || sel->index >= 3) {
    d->failed = 1;
    gate_open(&d->over, 1);
    return;
  }
  if (c->kind == UVF_SELECT_SEND) {
    d->sent[which]++;
    d->sum_sent += (uint64_t)NUMBER(c->item);
  } else {
    d->received[which]++;
    d->sum_received += (uint64_t)NUMBER(c->item);
  }
  if (++d->done == d->rounds) {
    gate_open(&d->over, 1);
    return;
  }
  duel_cases(d);
  if (uvf_select_start(sel->ctx, sel, d->cases, d->n, on_duel) != 0) d->failed = 2;
}

static void duel_start(void *arg) {
  duel_t *d = arg;
  duel_cases(d);
  d->sel.data = d;
  if (uvf_select_start(d->lane.root, &d->sel, d->cases, d->n, on_duel) != 0) abort();
}

static void selects_on_two_loops_meet_in_a_rendezvous_thousands_of_times(void **state) {
  duel_t *d[2];
  int rounds = (int)test_scaled(10000, 5);
  uvf_chan_t *x = chan_of(0), *y = chan_of(0);
  (void)state;
  for (int i = 0; i < 2; i++) {
    d[i] = calloc(1, sizeof *d[i]);
    assert_non_null(d[i]);
    d[i]->x = x;
    d[i]->y = y;
    d[i]->first = i == 0;
    d[i]->rounds = rounds;
    gate_init(&d[i]->over);
    lane_start(&d[i]->lane);
  }
  for (int i = 0; i < 2; i++) lane_post(&d[i]->lane, duel_start, d[i]);
  for (int i = 0; i < 2; i++) gate_pass(&d[i]->over);
  for (int i = 0; i < 2; i++) lane_wait(&d[i]->lane);
  for (int i = 0; i < 2; i++) lane_stop(&d[i]->lane);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(d[i]->failed, 0);
    assert_int_equal(d[i]->done, rounds);
    assert_int_equal(d[i]->sent[0], d[1 - i]->received[0]);
    assert_int_equal(d[i]->sent[1], d[1 - i]->received[1]);
    assert_int_equal(d[i]->sum_sent, d[1 - i]->sum_received);
  }
  assert_counters(x, (uint64_t)d[1]->sent[0], (uint64_t)d[1]->sent[0], 0);
  assert_counters(y, (uint64_t)d[0]->sent[1], (uint64_t)d[0]->sent[1], 0);
  assert_waiting(x, 0, 0, 0);
  assert_waiting(y, 0, 0, 0);
  print_message("%d deals on one channel, %d on the other\n", d[1]->sent[0], d[0]->sent[1]);
  for (int i = 0; i < 2; i++) gate_destroy(&d[i]->over);
  for (int i = 0; i < 2; i++) free(d[i]);
  uvf_chan_release(x);
  uvf_chan_release(y);
}

/* --- locks in one order --- */

typedef struct storm_s {
  uvf_chan_t **chans;
  int n, rounds;
  uint64_t seed;
  int sent, received, failed;
} storm_t;

static void storm(void *arg) {
  storm_t *s = arg;
  for (int i = 0; i < s->rounds; i++) {
    uvf_select_case_t cases[6];
    size_t index;
    int rc;
    for (int k = 0; k < 6; k++) {
      cases[k].chan = s->chans[test_rand(&s->seed) % (uint64_t)s->n];
      cases[k].kind = test_rand(&s->seed) % 2 ? UVF_SELECT_SEND : UVF_SELECT_RECV;
      cases[k].item = ITEM(1);
    }
    rc = uvf_select_try(cases, 6, &index);
    if (rc == UV_EAGAIN) continue;
    if (rc != 0 || index >= 6) {
      s->failed = 1;
      continue;
    }
    if (cases[index].kind == UVF_SELECT_SEND) s->sent++;
    if (cases[index].kind == UVF_SELECT_RECV) s->received++;
  }
}

static void selects_over_the_same_channels_in_any_order_do_not_deadlock(void **state) {
  enum { THREADS = 4, CHANS = 5 };
  uv_thread_t threads[THREADS];
  storm_t storms[THREADS];
  uvf_chan_t *chans[CHANS];
  uint64_t seed = test_seed();
  size_t left = 0;
  int sent = 0, received = 0;
  (void)state;
  for (int i = 0; i < CHANS; i++) chans[i] = chan_of((size_t)i);
  for (int i = 0; i < THREADS; i++) {
    storms[i] = (storm_t){chans, CHANS, (int)test_scaled(20000, 5), test_rand(&seed), 0, 0, 0};
    assert_int_equal(uv_thread_create(&threads[i], storm, &storms[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(storms[i].failed, 0);
    sent += storms[i].sent;
    received += storms[i].received;
  }
  for (int i = 0; i < CHANS; i++) {
    left += uvf_chan_length(chans[i]);
    assert_waiting(chans[i], uvf_chan_length(chans[i]), 0, 0);
    uvf_chan_release(chans[i]);
  }
  assert_int_equal(sent, received + (int)left);
}

/* --- crowds --- */

static void crowds_with_selects_lose_nothing_and_double_nothing(void **state) {
  fixture_t *f = *state;
  static const int rows[][10] = {
      {PRODUCE_SELECT_WAIT, CONSUME_SELECT_WAIT, -1},
      {PRODUCE_SELECT_LANE, CONSUME_SELECT_LANE, -1},
      {PRODUCE_SELECT_LANE, PRODUCE_SELECT_LANE, CONSUME_SELECT_LANE, CONSUME_SELECT_LANE, -1},
      {PRODUCE_SELECT_WAIT, PRODUCE_SELECT_LANE, CONSUME_SELECT_WAIT, CONSUME_SELECT_LANE, -1},
      {PRODUCE_WAIT, PRODUCE_WAIT, CONSUME_SELECT_LANE, CONSUME_SELECT_WAIT, -1},
      {PRODUCE_SELECT_WAIT, PRODUCE_SELECT_LANE, CONSUME_EACH, CONSUME_WAIT, -1},
      {PRODUCE_SELECT_WAIT, PRODUCE_SELECT_LANE, PRODUCE_LANE, PRODUCE_WAIT, CONSUME_SELECT_WAIT, CONSUME_SELECT_LANE,
       CONSUME_EACH, CONSUME_LANE, CONSUME_WAIT, -1},
  };
  static const size_t caps[][2] = {{0, 0}, {1, 0}, {2, 128}};
  int each = (int)test_scaled(2000, 4);
  for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
    for (size_t row = 0; row < ARRAY_SIZE(rows); row++) {
      uvf_chan_t *first = chan_of(caps[i][0]), *second = chan_of(caps[i][1]);
      crowd_run(f->root, first, second, rows[row], each);
      assert_waiting(first, 0, 0, 0);
      assert_waiting(second, 0, 0, 0);
      uvf_chan_release(first);
      uvf_chan_release(second);
    }
  }
}

/* --- a cancel meets a partner --- */

typedef struct pair_s {
  uvf_ctx_t *ctx;
  uvf_chan_t *in, *out;
  uint64_t spins;
  int sent, received; /* what the other thread did to them: 0 or an error */
  void *item;
} pair_t;

static void deal_with_both(void *arg) {
  pair_t *p = arg;
  for (uint64_t i = 0; i < p->spins; i++) (void)uvf_ctx_err(p->ctx);
  p->sent = uvf_chan_try_send(p->in, ITEM(7));
  p->received = uvf_chan_try_recv(p->out, &p->item);
}

static void of_two_partners_and_a_cancel_at_once_exactly_one_wins(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  int count[3] = {0}, rounds = (int)test_scaled(2000, 5);
  for (int i = 0; i < rounds; i++) {
    uvf_ctx_t *ctx = child_of(f->root);
    uvf_chan_t *in = chan_of(0), *out = chan_of(0);
    uvf_select_case_t cases[2] = {{.chan = in, .kind = UVF_SELECT_RECV, .item = ITEM(-1)},
                                  {.chan = out, .kind = UVF_SELECT_SEND, .item = ITEM(5)}};
    blocker_t b = {.kind = SELECT_WAIT, .ctx = ctx, .cases = cases, .n = 2};
    pair_t p = {ctx, in, out, test_rand(&seed) % 2000, 1, 1, NULL};
    uv_thread_t thread;
    blocker_start(&b);
    await_waiting(in, 0, 1);
    await_waiting(out, 1, 0);
    assert_int_equal(uv_thread_create(&thread, deal_with_both, &p), 0);
    for (uint64_t k = test_rand(&seed) % 60000; k > 0; k--) (void)uvf_ctx_err(ctx);
    uvf_ctx_cancel(ctx);
    assert_int_equal(uv_thread_join(&thread), 0);
    blocker_join(&b);
    assert_int_equal(p.sent, b.n == 0 ? 0 : UV_EAGAIN);
    assert_int_equal(p.received, b.n == 1 ? 0 : UV_EAGAIN);
    assert_int_equal(b.result, b.n == 2 ? UV_ECANCELED : 0);
    assert_int_equal(NUMBER(cases[0].item), b.n == 0 ? 7 : -1);
    count[b.n]++;
    assert_waiting(in, 0, 0, 0);
    assert_waiting(out, 0, 0, 0);
    uvf_ctx_release(ctx);
    run_ready(&f->loop);
    uvf_chan_release(in);
    uvf_chan_release(out);
  }
  print_message("received %d, sent %d, cancelled %d\n", count[0], count[1], count[2]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_blocked_select_makes_the_case_happen_that_can),
      unit(a_blocked_select_without_cases_waits_for_its_context),
      unit(selects_on_two_loops_meet_in_a_rendezvous_thousands_of_times),
      unit(selects_over_the_same_channels_in_any_order_do_not_deadlock),
      unit(crowds_with_selects_lose_nothing_and_double_nothing),
      unit(of_two_partners_and_a_cancel_at_once_exactly_one_wins),
  };
  return test_run(tests);
}
