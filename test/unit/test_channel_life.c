/* SPDX-License-Identifier: MIT
 *
 * Channels on one thread: starts, what callbacks may do, references, drop functions, misuse.
 */
#include "unit/chan_probe.h"

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

static void no_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  (void)items;
  *(int *)each->data = (int)n;
}
static void each_ended(uvf_chan_each_t *each, int status) { *(int *)each->data = status; }
static void select_ended(uvf_select_t *sel, int status) { *(int *)sel->data = status; }

static void a_dump_names_what_waits_and_where_it_was_started(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *in = chan_of(0), *out = chan_of(0);
  uvf_select_case_t cases[1] = {{.chan = in, .kind = UVF_SELECT_RECV}};
  call_t send = {0}, recv = {0};
  int each_status = 1, select_status = 1;
  uvf_chan_each_t each = {.data = &each_status};
  uvf_select_t sel = {.data = &select_status};
  static const char *const names[] = {"send", "recv", "each", "select"};
  char text[4096];
  size_t n;
  FILE *file = tmpfile();
  assert_non_null(file);
  send_start(&send, f->root, out, ITEM(1));
  recv_start(&recv, f->root, in);
  assert_int_equal(uvf_chan_each(f->root, &each, in, 0, no_items, each_ended), 0);
  assert_int_equal(uvf_select_start(f->root, &sel, cases, 1, select_ended), 0);
  run_ready(&f->loop);
  assert_int_equal(uvf_ctx_dump(f->root, file), 0);
  rewind(file);
  n = fread(text, 1, sizeof text - 1, file);
  text[n] = 0;
  assert_int_equal(fclose(file), 0);
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) assert_non_null(strstr(text, names[i]));
  if (test_rules_on()) assert_non_null(strstr(text, "test_channel_life.c:")); /* where it was started */
  uvf_chan_close(in);
  uvf_chan_close(out);
  run_until(&f->loop, &recv.calls, 1);
  turn(&f->loop);
  assert_ended(&send, UV_EPIPE);
  assert_ended(&recv, UV_EOF);
  assert_int_equal(each_status, UV_EOF);
  assert_int_equal(select_status, UV_EOF);
  uvf_chan_release(in);
  uvf_chan_release(out);
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
  uvf_chan_release(uvf_chan_retain(nosy->chan)); /* a pair is nothing */
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
      unit(a_start_under_a_context_that_is_over_touches_no_channel),
      unit(a_waiting_request_holds_the_loop_and_is_counted_under_its_context),
      unit(a_dump_names_what_waits_and_where_it_was_started),
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
