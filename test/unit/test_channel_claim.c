/* SPDX-License-Identifier: MIT
 *
 * Who ends a send, a receive, a for-each or a select: every end against every other, one after the other before the
 * loop has run. The first one decides, the second changes nothing, and the item is where the first one left it.
 */
#include "unit/chan_probe.h"

enum { SEND, RECV, EACH, SELECT_SEND, SELECT_RECV, KINDS };

static const char *const kind_names[] = {"send", "recv", "each", "select send", "select recv"};

typedef struct party_s {
  union {
    uvf_op_t op;
    uvf_chan_req_t req;
    uvf_chan_each_t each;
    uvf_select_t sel;
  } u; /* first: the callbacks find their party by it */
  uvf_select_case_t cases[3];
  int kind;
  int calls, status, items;
  size_t index;
  void *item;
} party_t;

static void party_ended(void *request, int status) {
  party_t *p = request;
  p->calls++;
  p->status = status == p->u.op.status ? status : -1;
}

static void on_req(uvf_chan_req_t *req, int status) {
  party_t *p = (party_t *)(void *)req;
  party_ended(p, status);
  if (p->kind == RECV && status == 0) {
    p->items++;
    p->item = req->item;
  }
}

static void on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  party_t *p = (party_t *)(void *)each;
  p->items += (int)n;
  p->item = items[n - 1];
}

static void on_end(uvf_chan_each_t *each, int status) { party_ended(each, status); }

static void on_select(uvf_select_t *sel, int status) {
  party_t *p = (party_t *)(void *)sel;
  party_ended(p, status);
  p->index = sel->index;
  if (p->kind == SELECT_RECV && status == 0) {
    p->items++;
    p->item = p->cases[1].item;
  }
}

static int sends(int kind) { return kind == SEND || kind == SELECT_SEND; }

/* Waits for an item, or with ITEM(42), when this returns. */
static void party_start(party_t *p, int kind, uvf_ctx_t *ctx, uvf_chan_t *chan) {
  memset(p, 0xa5, sizeof *p);
  p->kind = kind;
  p->calls = p->items = 0;
  p->status = 1;
  p->item = ITEM(-1);
  p->index = 77;
  p->cases[0].chan = p->cases[2].chan = UVF_CHAN_NONE;
  p->cases[0].kind = p->cases[2].kind = UVF_SELECT_RECV;
  p->cases[1].chan = chan;
  p->cases[1].kind = kind == SELECT_SEND ? UVF_SELECT_SEND : UVF_SELECT_RECV;
  p->cases[1].item = kind == SELECT_SEND ? ITEM(42) : ITEM(-1);
  switch (kind) {
    case SEND: assert_int_equal(uvf_chan_send(ctx, &p->u.req, chan, ITEM(42), on_req), 0); break;
    case RECV: assert_int_equal(uvf_chan_recv(ctx, &p->u.req, chan, on_req), 0); break;
    case EACH: assert_int_equal(uvf_chan_each(ctx, &p->u.each, chan, 0, on_items, on_end), 0); break;
    default: assert_int_equal(uvf_select_start(ctx, &p->u.sel, p->cases, 3, on_select), 0); break;
  }
  if (kind == EACH) run_ready(uvf_ctx_loop(ctx)); /* from the loop it looks, and then waits */
  assert_waiting(chan, 0, sends(kind), !sends(kind));
  assert_int_equal(p->calls, 0);
}

/* --- the ends --- */

enum { SERVE, SERVE_FAR, OP_CANCEL, CTX_CANCEL, CTX_CANCEL_FAR, DEADLINE, CLOSE, CLOSE_FAR, ROOT, ENDS };

static const char *const end_names[] = {"serve",      "serve on a thread",      "op cancel",
                                        "ctx cancel", "ctx cancel on a thread", "deadline",
                                        "close",      "close on a thread",      "root"};

typedef struct scene_s {
  party_t party;
  uvf_chan_t *chan;
  uvf_ctx_t *root, *ctx;
  int rc; /* of the last end: what the partner or the canceller got */
  void *item;
} scene_t;

static void serve(void *arg) {
  scene_t *s = arg;
  s->item = ITEM(-1);
  s->rc = sends(s->party.kind) ? uvf_chan_try_recv(s->chan, &s->item) : uvf_chan_try_send(s->chan, ITEM(42));
}

static void make(scene_t *s, int end) {
  s->rc = 77;
  switch (end) {
    case SERVE: serve(s); break;
    case SERVE_FAR: on_thread(serve, s); break;
    case OP_CANCEL: s->rc = uvf_op_cancel(&s->party.u.op); break;
    case CTX_CANCEL: uvf_ctx_cancel(s->ctx); break;
    case CTX_CANCEL_FAR: on_thread(cancel_ctx, s->ctx); break;
    case DEADLINE: expire(s->ctx); break;
    case CLOSE: uvf_chan_close(s->chan); break;
    case CLOSE_FAR: on_thread(close_chan, s->chan); break;
    default:
      if (s->root == NULL) break;
      uvf_ctx_close(s->root, NULL);
      s->root = NULL;
      break;
  }
}

static int is_serve(int end) { return end == SERVE || end == SERVE_FAR; }
static int is_close(int end) { return end == CLOSE || end == CLOSE_FAR; }

static int status_of(int end, int kind) {
  if (is_serve(end)) return 0;
  if (is_close(end)) return sends(kind) ? UV_EPIPE : UV_EOF;
  return end == DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED;
}

static void scene_open(scene_t *s, fixture_t *f, int kind) {
  s->chan = chan_of(0);
  assert_int_equal(uvf_ctx_background(&f->loop, &s->root), 0);
  s->ctx = timeout_of(s->root, HOUR_MS);
  party_start(&s->party, kind, s->ctx, s->chan);
}

static void scene_close(scene_t *s, fixture_t *f) {
  uvf_chan_close(s->chan); /* the end of a for-each that was served */
  for (int i = 0; i < 5 && s->party.calls == 0; i++) turn(&f->loop);
  turn(&f->loop);
  assert_int_equal(s->party.calls, 1);
  uvf_ctx_release(s->ctx);
  if (s->root != NULL) uvf_ctx_close(s->root, NULL);
  turn(&f->loop);
  assert_int_equal(s->party.calls, 1);
}

/* The canceller of a request that has ended is told so. A context that another thread has cancelled has not ended its
 * requests before its loop comes by: the canceller may still be the one who does. */
static void assert_second(scene_t *s, int first, int second) {
  if (is_serve(second)) {
    int partner_sends = !sends(s->party.kind);
    assert_int_equal(s->rc, !is_close(first) ? UV_EAGAIN : partner_sends ? UV_EPIPE : UV_EOF);
  }
  if (second == OP_CANCEL && first != CTX_CANCEL_FAR) assert_int_equal(s->rc, UV_EBUSY);
}

static void every_end_against_every_other_the_first_one_decides(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    for (int first = 0; first < ENDS; first++) {
      for (int second = 0; second < ENDS; second++) {
        scene_t s;
        int served = is_serve(first);
        if (kind == EACH && served) continue; /* goes on: below */
        print_message("%s: %s, then %s\n", kind_names[kind], end_names[first], end_names[second]);
        scene_open(&s, f, kind);
        make(&s, first);
        if (served) assert_int_equal(s.rc, 0);
        if (served && sends(kind)) assert_int_equal(NUMBER(s.item), 42);
        if (first == OP_CANCEL) assert_int_equal(s.rc, 0);
        assert_int_equal(s.party.calls, 0);
        make(&s, second);
        assert_second(&s, first, second);
        assert_int_equal(s.party.calls, 0);
        turn(&f->loop);
        assert_int_equal(s.party.calls, 1);
        assert_int_equal(s.party.status, status_of(first, kind));
        assert_int_equal(uvf_op_cancel(&s.party.u.op), UV_EBUSY);
        assert_int_equal(s.party.items, served && !sends(kind));
        if (s.party.items) assert_int_equal(NUMBER(s.party.item), 42);
        if (kind >= SELECT_SEND) assert_int_equal(s.party.index, served || is_close(first) ? 1 : 3);
        if (kind == SELECT_RECV && !served) assert_int_equal(NUMBER(s.party.cases[1].item), -1);
        if (kind == SELECT_SEND) assert_int_equal(NUMBER(s.party.cases[1].item), 42);
        if (kind == SEND) assert_int_equal(NUMBER(s.party.u.req.item), 42);
        assert_counters(s.chan, served, served, 0);
        assert_waiting(s.chan, 0, 0, 0);
        scene_close(&s, f);
        uvf_chan_release(s.chan);
      }
    }
  }
}

static void a_for_each_that_was_handed_an_item_gives_it_before_whatever_ends_it(void **state) {
  fixture_t *f = *state;
  for (int first = SERVE; first <= SERVE_FAR; first++) {
    for (int second = 0; second < ENDS; second++) {
      scene_t s;
      print_message("each: %s, then %s\n", end_names[first], end_names[second]);
      scene_open(&s, f, EACH);
      make(&s, first);
      assert_int_equal(s.rc, 0);
      make(&s, second);
      if (is_serve(second)) assert_int_equal(s.rc, UV_EAGAIN); /* it does not wait now, and there is no room */
      if (second == OP_CANCEL) assert_int_equal(s.rc, 0);      /* it had not ended */
      if (second == OP_CANCEL) assert_int_equal(uvf_op_cancel(&s.party.u.op), UV_EBUSY); /* now it has */
      assert_int_equal(s.party.calls + s.party.items, 0);
      turn(&f->loop);
      assert_int_equal(s.party.items, 1);
      assert_int_equal(NUMBER(s.party.item), 42);
      assert_int_equal(s.party.u.each.count, 1);
      assert_int_equal(s.party.calls, !is_serve(second));
      if (!is_serve(second)) assert_int_equal(s.party.status, status_of(second, EACH));
      scene_close(&s, f);
      assert_counters(s.chan, 1, 1, 0);
      assert_int_equal(s.party.items, 1);
      uvf_chan_release(s.chan);
    }
  }
}

/* --- who is over does not stand in the way --- */

static void a_waiter_whose_context_another_thread_cancelled_gets_nothing_and_the_next_one_does(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    uvf_chan_t *chan = chan_of(0);
    uvf_ctx_t *ctx = child_of(f->root);
    scene_t s = {.chan = chan};
    call_t next = {0};
    party_start(&s.party, kind, ctx, chan);
    if (sends(kind)) send_start(&next, f->root, chan, ITEM(43));
    if (!sends(kind)) recv_start(&next, f->root, chan);
    assert_waiting(chan, 0, sends(kind) ? 2 : 0, sends(kind) ? 0 : 2);
    on_thread(cancel_ctx, ctx);
    serve(&s); /* its loop does not know yet */
    assert_int_equal(s.rc, 0);
    if (sends(kind)) assert_int_equal(NUMBER(s.item), 43);
    turn(&f->loop);
    assert_int_equal(s.party.calls, 1);
    assert_int_equal(s.party.status, UV_ECANCELED);
    assert_int_equal(s.party.items, 0);
    assert_ended(&next, 0);
    if (!sends(kind)) assert_int_equal(NUMBER(next.item), 42);
    assert_waiting(chan, 0, 0, 0);
    uvf_ctx_release(ctx);
    uvf_chan_release(chan);
  }
}

static void a_sender_whose_context_another_thread_cancelled_does_not_move_up(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(2);
  uvf_ctx_t *ctx = child_of(f->root);
  call_t over[2] = {0}, live[2] = {0};
  put(chan, 1, 2);
  for (int i = 0; i < 2; i++) {
    send_start(&over[i], ctx, chan, ITEM(50 + i));
    send_start(&live[i], f->root, chan, ITEM(3 + i));
  }
  on_thread(cancel_ctx, ctx);
  take(chan, 1, 4);
  assert_nothing_there(chan, UV_EAGAIN);
  turn(&f->loop);
  for (int i = 0; i < 2; i++) {
    assert_ended(&over[i], UV_ECANCELED);
    assert_int_equal(NUMBER(over[i].item), 50 + i);
    assert_ended(&live[i], 0);
  }
  assert_counters(chan, 4, 4, 0);
  uvf_ctx_release(ctx);
  uvf_chan_release(chan);
}

static void an_item_for_a_receiver_that_is_over_stays_in_the_room(void **state) {
  fixture_t *f = *state;
  for (int kind = RECV; kind < KINDS; kind++) {
    uvf_chan_t *chan;
    uvf_ctx_t *ctx;
    party_t party;
    if (sends(kind)) continue;
    chan = chan_of(1);
    ctx = child_of(f->root);
    party_start(&party, kind, ctx, chan);
    on_thread(cancel_ctx, ctx);
    put(chan, 1, 1);
    assert_waiting(chan, 1, 0, 0);
    turn(&f->loop);
    assert_int_equal(party.status, UV_ECANCELED);
    assert_int_equal(party.items, 0);
    take(chan, 1, 1);
    uvf_ctx_release(ctx);
    uvf_chan_release(chan);
  }
}

/* --- all that waits under one context --- */

static void the_end_of_a_context_ends_all_that_wait_under_it_newest_first(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *rooms[2] = {chan_of(0), chan_of(0)};
  uvf_ctx_t *ctx = child_of(f->root);
  journal_t journal = {0};
  call_t calls[6] = {0};
  for (int i = 0; i < 6; i++) {
    calls[i].id = i;
    calls[i].journal = &journal;
    if (i % 2) send_start(&calls[i], ctx, rooms[1], ITEM(i));
    if (!(i % 2)) recv_start(&calls[i], ctx, rooms[0]);
  }
  uvf_ctx_cancel_cause(ctx, 4711, NULL);
  assert_waiting(rooms[0], 0, 0, 0); /* at once */
  assert_waiting(rooms[1], 0, 0, 0);
  assert_int_equal(journal.n, 0);
  run_until(&f->loop, &journal.n, 6);
  assert_journal(&journal, 5, 4, 3, 2, 1, 0);
  for (int i = 0; i < 6; i++) assert_ended(&calls[i], UV_ECANCELED);
  uvf_ctx_release(ctx);
  for (int i = 0; i < 2; i++) uvf_chan_release(rooms[i]);
}

static void a_deadline_ends_a_wait_never_early(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    uvf_chan_t *chan = chan_of(0);
    uvf_ctx_t *ctx = timeout_of(f->root, 60);
    party_t party;
    party_start(&party, kind, ctx, chan);
    run_until(&f->loop, &party.calls, 1);
    assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
    assert_int_equal(party.status, UV_ETIMEDOUT);
    assert_int_equal(party.items, 0);
    assert_waiting(chan, 0, 0, 0);
    uvf_ctx_release(ctx);
    uvf_chan_release(chan);
  }
}

static void a_close_of_the_root_ends_everything_that_waits_and_what_was_received_stands(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chans[KINDS];
  party_t parties[KINDS];
  uvf_chan_t *had = chan_of(1);
  call_t recv = {0};
  for (int kind = 0; kind < KINDS; kind++) {
    chans[kind] = chan_of(0);
    party_start(&parties[kind], kind, f->root, chans[kind]);
  }
  recv_start(&recv, f->root, had);
  put(had, 1, 1);
  fixture_close_root(f);
  assert_got(&recv, 1);
  for (int kind = 0; kind < KINDS; kind++) {
    assert_int_equal(parties[kind].calls, 1);
    assert_int_equal(parties[kind].status, UV_ECANCELED);
    assert_waiting(chans[kind], 0, 0, 0);
    uvf_chan_release(chans[kind]);
  }
  uvf_chan_release(had);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(every_end_against_every_other_the_first_one_decides),
      unit(a_for_each_that_was_handed_an_item_gives_it_before_whatever_ends_it),
      unit(a_waiter_whose_context_another_thread_cancelled_gets_nothing_and_the_next_one_does),
      unit(a_sender_whose_context_another_thread_cancelled_does_not_move_up),
      unit(an_item_for_a_receiver_that_is_over_stays_in_the_room),
      unit(the_end_of_a_context_ends_all_that_wait_under_it_newest_first),
      unit(a_deadline_ends_a_wait_never_early),
      unit(a_close_of_the_root_ends_everything_that_waits_and_what_was_received_stands),
  };
  return test_run(tests);
}
