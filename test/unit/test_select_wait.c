/* SPDX-License-Identifier: MIT
 *
 * Select on one thread: waits. The first event decides, the others leave no trace; and what its callback may do.
 */
#include "unit/select_probe.h"

/* --- waiting --- */

static void none_ready_it_waits_and_the_first_event_decides_and_the_losers_leave(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 6; row++) {
    uvf_chan_t *in = chan_of(1), *out = chan_of(1), *in2 = chan_of(0), *out2 = chan_of(0);
    uvf_select_case_t cases[4] = {receives(in), sends(out, 50), receives(in2), sends(out2, 60)};
    choice_t c = {0};
    static const int status[] = {0, 0, 0, 0, UV_EOF, UV_EPIPE};
    static const size_t index[] = {0, 1, 2, 3, 2, 3};
    put(out, 1, 1);
    choice_start(&c, f->root, cases, 4);
    assert_waiting(in, 0, 0, 1);
    assert_waiting(out, 1, 1, 0);
    assert_waiting(in2, 0, 0, 1);
    assert_waiting(out2, 0, 1, 0);
    turn(&f->loop);
    assert_int_equal(c.calls, 0);
    switch (row) {
      case 0: put(in, 5, 5); break;
      case 1: take(out, 1, 1); break;
      case 2: put(in2, 5, 5); break;
      case 3: take(out2, 60, 60); break;
      case 4: uvf_chan_close(in2); break;
      default: uvf_chan_close(out2); break;
    }
    assert_int_equal(c.calls, 0);
    assert_int_equal(choice_cancel(&c), UV_EBUSY);
    /* Before its loop has come by: it deals with nobody else. */
    if (row != 0) put(in, 7, 7);
    if (row != 2 && row != 4) assert_int_equal(uvf_chan_try_send(in2, ITEM(8)), UV_EAGAIN);
    if (row > 1) take(out, 1, 1);
    if (row > 1) assert_nothing_there(out, UV_EAGAIN);
    if (row < 3) assert_nothing_there(out2, UV_EAGAIN);
    turn(&f->loop);
    assert_chose(&c, status[row], index[row]);
    assert_int_equal(NUMBER(cases[0].item), row == 0 ? 5 : -1);
    assert_int_equal(NUMBER(cases[1].item), 50);
    assert_int_equal(NUMBER(cases[2].item), row == 2 ? 5 : -1);
    assert_int_equal(NUMBER(cases[3].item), 60);
    assert_waiting(in, row != 0, 0, 0);
    assert_waiting(out, row < 2, 0, 0);
    if (row == 1) take(out, 50, 50);
    assert_waiting(in2, 0, 0, 0);
    assert_waiting(out2, 0, 0, 0);
    uvf_chan_release(in);
    uvf_chan_release(out);
    uvf_chan_release(in2);
    uvf_chan_release(out2);
  }
}

static void it_waits_in_line_with_the_others(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  journal_t journal = {0};
  call_t before = {.id = 1, .journal = &journal}, after = {.id = 3, .journal = &journal};
  choice_t c = {.id = 2, .journal = &journal};
  uvf_select_case_t cases[1] = {receives(chan)};
  recv_start(&before, f->root, chan);
  choice_start(&c, f->root, cases, 1);
  recv_start(&after, f->root, chan);
  put(chan, 11, 13);
  run_until(&f->loop, &journal.n, 3);
  assert_got(&before, 11);
  assert_chose(&c, 0, 0);
  assert_int_equal(NUMBER(cases[0].item), 12);
  assert_got(&after, 13);
  uvf_chan_release(chan);
}

static void a_channel_may_be_in_several_cases(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 4; row++) {
    uvf_chan_t *chan = chan_of(0);
    uvf_select_case_t cases[4] = {receives(chan), sends(chan, 50), receives(chan), sends(chan, 60)};
    choice_t c = {0};
    choice_start(&c, f->root, cases, 4);
    turn(&f->loop);
    assert_int_equal(c.calls, 0); /* it never deals with itself */
    assert_waiting(chan, 0, 2, 2);
    if (row == 0) put(chan, 5, 5);
    if (row == 1) take(chan, 50, 50);
    if (row == 2) uvf_chan_close(chan);
    if (row == 3) assert_int_equal(choice_cancel(&c), 0);
    if (row == 0) assert_int_equal(uvf_chan_try_send(chan, ITEM(6)), UV_EAGAIN);
    if (row == 1) assert_nothing_there(chan, UV_EAGAIN);
    turn(&f->loop);
    assert_int_equal(c.calls, 1);
    assert_waiting(chan, 0, 0, 0);
    if (row == 0) assert_chose(&c, 0, 0);
    if (row == 0) assert_int_equal(NUMBER(cases[0].item), 5);
    if (row == 1) assert_chose(&c, 0, 1);
    if (row == 2) assert_true(c.index < 4 && c.status == (c.index % 2 ? UV_EPIPE : UV_EOF));
    if (row == 3) assert_chose(&c, UV_ECANCELED, 4);
    uvf_chan_release(chan);
  }
}

static void a_try_or_a_start_never_deals_with_itself(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  uvf_select_case_t cases[2] = {receives(chan), sends(chan, 50)};
  size_t index = 77;
  assert_int_equal(uvf_select_try(cases, 2, &index), UV_EAGAIN);
  assert_int_equal(index, 2);
  assert_counters(chan, 0, 0, 0);
  assert_int_equal(uvf_ctx_err(f->root), 0);
  uvf_chan_release(chan);
}

static void a_channel_in_several_cases_with_room_goes_round_itself(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  int sent = 0, received = 0;
  for (int i = 0; i < 200; i++) {
    uvf_select_case_t cases[2] = {receives(chan), sends(chan, 50 + i)};
    choice_t c = {0};
    int had = (int)uvf_chan_length(chan);
    choice_start(&c, f->root, cases, 2);
    run_until(&f->loop, &c.calls, 1);
    assert_chose(&c, 0, had ? 0 : 1); /* with one item there is no room, with room no item */
    if (had) assert_int_equal(NUMBER(cases[0].item), 50 + i - 1);
    sent += !had;
    received += had;
  }
  assert_int_equal(sent, 100);
  assert_int_equal(received, 100);
  uvf_chan_release(chan);
}

static void selects_meet_each_other_and_exactly_one_case_of_each_happens(void **state) {
  fixture_t *f = *state;
  int which[2] = {0};
  uvf_chan_t *x = chan_of(0), *y = chan_of(0);
  for (int i = 0; i < 500; i++) {
    uvf_select_case_t a[2] = {receives(x), sends(y, 1000 + i)}, b[2] = {receives(y), sends(x, 2000 + i)};
    choice_t first = {0}, second = {0};
    choice_start(&first, f->root, a, 2);
    choice_start(&second, f->root, b, 2);
    assert_int_equal(first.calls, 0);
    run_until(&f->loop, &first.calls, 1);
    run_until(&f->loop, &second.calls, 1);
    assert_int_equal(first.status, 0);
    assert_int_equal(second.status, 0);
    assert_int_equal(first.index + second.index, 1); /* x: 0 and 1; y: 1 and 0 */
    if (first.index == 0) assert_int_equal(NUMBER(a[0].item), 2000 + i);
    if (first.index == 1) assert_int_equal(NUMBER(b[0].item), 1000 + i);
    which[first.index]++;
    assert_waiting(x, 0, 0, 0);
    assert_waiting(y, 0, 0, 0);
  }
  assert_fair(which, 2, 500);
  uvf_chan_release(x);
  uvf_chan_release(y);
}

static void a_select_meets_plain_requests_either_way_round(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 4; row++) {
    uvf_chan_t *chan = chan_of(0), *other = chan_of(0);
    int sending = row % 2, first = row / 2;
    uvf_select_case_t cases[2] = {receives(other), sending ? sends(chan, 5) : receives(chan)};
    choice_t c = {0};
    call_t call = {0};
    if (first) choice_start(&c, f->root, cases, 2);
    if (sending) recv_start(&call, f->root, chan);
    if (!sending) send_start(&call, f->root, chan, ITEM(5));
    if (!first) choice_start(&c, f->root, cases, 2);
    run_until(&f->loop, &c.calls, 1);
    run_until(&f->loop, &call.calls, 1);
    assert_chose(&c, 0, 1);
    assert_ended(&call, 0);
    assert_int_equal(NUMBER(sending ? call.item : cases[1].item), 5);
    assert_waiting(other, 0, 0, 0);
    uvf_chan_release(chan);
    uvf_chan_release(other);
  }
}

static void a_thousand_cases_are_one_select(void **state) {
  fixture_t *f = *state;
  enum { N = 1000, CHANS = 300 };
  uint64_t seed = test_seed();
  static uvf_chan_t *chans[CHANS];
  static uvf_select_case_t cases[N];
  for (int i = 0; i < CHANS; i++) chans[i] = chan_of(0);
  for (int round = 0; round < 30; round++) {
    choice_t c = {0};
    size_t at = test_rand(&seed) % N, count = test_alloc_count();
    for (int i = 0; i < N; i++) {
      uvf_chan_t *chan = chans[test_rand(&seed) % CHANS];
      cases[i] = test_rand(&seed) % 2 ? receives(chan) : sends(chan, i);
      if (test_rand(&seed) % 16 == 0) cases[i].chan = UVF_CHAN_NONE;
    }
    while (cases[at].chan == UVF_CHAN_NONE) at = (at + 1) % N;
    choice_start(&c, f->root, cases, N);
    if (cases[at].kind == UVF_SELECT_RECV) {
      put(cases[at].chan, 4711, 4711);
    } else {
      void *item;
      assert_int_equal(uvf_chan_try_recv(cases[at].chan, &item), 0);
      assert_ptr_equal(cases[NUMBER(item)].chan, cases[at].chan);
      at = (size_t)NUMBER(item);
    }
    run_until(&f->loop, &c.calls, 1);
    assert_int_equal(c.status, 0);
    assert_ptr_equal(cases[c.index].chan, cases[at].chan);
    assert_int_equal(cases[c.index].kind, cases[at].kind);
    if (cases[at].kind == UVF_SELECT_RECV) assert_int_equal(NUMBER(cases[c.index].item), 4711);
    if (cases[at].kind == UVF_SELECT_SEND) assert_int_equal(c.index, at);
    for (int i = 0; i < CHANS; i++) assert_waiting(chans[i], 0, 0, 0);
    assert_int_equal(test_alloc_count(), count); /* it allocates nothing */
  }
  for (int i = 0; i < CHANS; i++) uvf_chan_release(chans[i]);
}

/* --- references, from inside, misuse --- */

static void a_waiting_select_holds_its_channels(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  uvf_chan_t *full = chan_dropping(1, UVF_CHAN_WAIT, &drops), *empty = chan_of(1);
  uvf_select_case_t cases[3] = {sends(full, 5), receives(empty), sends(full, 6)};
  size_t live = test_alloc_live();
  choice_t c = {0};
  put(full, 1, 1);
  choice_start(&c, f->root, cases, 3);
  uvf_chan_release(full);
  uvf_chan_release(empty);
  turn(&f->loop);
  assert_int_equal(c.calls, 0);
  assert_int_equal(drops.n, 0);
  assert_int_equal(choice_cancel(&c), 0);
  assert_int_equal(drops.n, 0); /* no function of the user's inside */
  run_until(&f->loop, &c.calls, 1);
  assert_chose(&c, UV_ECANCELED, 3);
  assert_int_equal(drops.n, 1);
  assert_int_equal(drops.item[0], 1);
  assert_int_equal(test_alloc_live(), live - 2);
}

typedef struct heap_s {
  choice_t choice;
  uvf_select_case_t cases[3];
  int *freed;
} heap_t;

static void free_all(choice_t *c) {
  heap_t *heap = (heap_t *)c;
  int *freed = heap->freed;
  memset(heap, 0xdb, sizeof *heap);
  free(heap);
  ++*freed;
}

static void the_memory_of_request_and_cases_may_be_freed_in_the_callback(void **state) {
  fixture_t *f = *state;
  int freed = 0;
  for (int row = 0; row < 4; row++) {
    uvf_chan_t *a = chan_of(0), *b = chan_of(0);
    uvf_ctx_t *ctx = child_of(f->root);
    heap_t *heap = calloc(1, sizeof *heap);
    assert_non_null(heap);
    heap->choice.then = free_all;
    heap->freed = &freed;
    heap->cases[0] = receives(a);
    heap->cases[1] = sends(b, 2);
    heap->cases[2] = receives(a);
    if (row == 0) uvf_chan_close(a);
    choice_start(&heap->choice, ctx, heap->cases, 3);
    if (row == 1) put(a, 1, 1);
    if (row == 2) take(b, 2, 2);
    if (row == 3) uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    run_until(&f->loop, &freed, row + 1);
    uvf_chan_release(a);
    uvf_chan_release(b);
  }
}

static void again(choice_t *c) {
  if (c->calls == 100) return;
  if (uvf_select_start(c->sel.ctx, &c->sel, c->cases, c->n, on_choice) != 0) c->calls = -1000;
}

static void the_callback_may_start_it_again(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1), *none = chan_of(0);
  uvf_select_case_t cases[3] = {receives(chan), sends(chan, 5), receives(none)};
  choice_t c = {.then = again};
  choice_start(&c, f->root, cases, 3);
  run_until(&f->loop, &c.calls, 100);
  assert_counters(chan, 50, 50, 0);
  uvf_chan_release(chan);
  uvf_chan_release(none);
}

static void close_the_root(choice_t *c) {
  fixture_t *f = c->arg;
  uvf_ctx_t *root = f->root;
  f->root = NULL;
  uvf_ctx_close(root, NULL);
}

static void the_callback_may_close_the_root(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  uvf_select_case_t a[1] = {receives(chan)}, b[2] = {receives(chan), sends(chan, 6)};
  choice_t first = {.then = close_the_root, .arg = f}, second = {0};
  choice_start(&first, f->root, a, 1);
  choice_start(&second, f->root, b, 2);
  /* The second found the first waiting and dealt with it. */
  run_until(&f->loop, &first.calls, 1);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_chose(&first, 0, 0);
  assert_int_equal(NUMBER(a[0].item), 6);
  assert_chose(&second, 0, 1);
  uvf_chan_release(chan);
}

typedef struct misuse_s {
  uvf_ctx_t *ctx;
  uvf_select_t *sel;
  uvf_select_case_t *cases;
  int blocks, result;
} misuse_t;

static void misuse(void *arg) {
  misuse_t *m = arg;
  size_t index;
  m->result = m->blocks ? uvf_select_wait(m->ctx, m->cases, 1, &index)
                        : uvf_select_start(m->ctx, m->sel, m->cases, 1, on_choice);
}

static void starting_it_twice_or_elsewhere_or_blocking_on_a_loops_thread_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(0);
  uvf_select_case_t cases[1] = {receives(chan)}, more[1] = {receives(chan)};
  choice_t c = {0}, other = {0};
  lane_t lane;
  misuse_t rows[3];
  lane_start(&lane);
  lane_turn(&lane);
  choice_start(&c, f->root, cases, 1);
  turn(&f->loop);
  rows[0] = (misuse_t){f->root, &c.sel, more, 0, 1};
  rows[1] = (misuse_t){lane.root, &other.sel, more, 0, 1};
  rows[2] = (misuse_t){f->root, NULL, more, 1, 1};
  for (int i = 0; i < 3; i++) {
    const char *name = i == 2 ? "uvf_select_wait: " : "uvf_select_start: ";
    if (test_rules_on()) {
      const char *rule = test_expect_rule(misuse, &rows[i]);
      assert_non_null(rule);
      assert_memory_equal(rule, name, strlen(name));
    } else if (i > 0) {
      misuse(&rows[i]);
      assert_int_equal(rows[i].result, i == 2 ? UV_EPERM : UV_EINVAL);
    }
    assert_waiting(chan, 0, 0, 1);
  }
  lane_stop(&lane);
  put(chan, 1, 1);
  run_until(&f->loop, &c.calls, 1);
  assert_chose(&c, 0, 0);
  assert_int_equal(other.calls, 0);
  uvf_chan_release(chan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(none_ready_it_waits_and_the_first_event_decides_and_the_losers_leave),
      unit(it_waits_in_line_with_the_others),
      unit(a_channel_may_be_in_several_cases),
      unit(a_try_or_a_start_never_deals_with_itself),
      unit(a_channel_in_several_cases_with_room_goes_round_itself),
      unit(selects_meet_each_other_and_exactly_one_case_of_each_happens),
      unit(a_select_meets_plain_requests_either_way_round),
      unit(a_thousand_cases_are_one_select),
      unit(a_waiting_select_holds_its_channels),
      unit(the_memory_of_request_and_cases_may_be_freed_in_the_callback),
      unit(the_callback_may_start_it_again),
      unit(the_callback_may_close_the_root),
      unit(starting_it_twice_or_elsewhere_or_blocking_on_a_loops_thread_is_misuse),
  };
  return test_run(tests);
}
