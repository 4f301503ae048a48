/* SPDX-License-Identifier: MIT
 *
 * What the unit tests of channels share: numbers as items, requests that take notes, drop functions that do, and
 * threads that block until something lets them go.
 */
#ifndef UVFLOW_TEST_CHAN_PROBE_H
#define UVFLOW_TEST_CHAN_PROBE_H

#include "kernel/atomic.h"
#include "kernel/context.h"
#include "unit/probe.h"

/* --- items: small numbers; 0 is NULL --- */

#define ITEM(n) ((void *)(uintptr_t)(n))
#define NUMBER(item) ((int)(uintptr_t)(item))

/* --- channels --- */

static const size_t capacities[] = {0, 1, 2, 8, 128, 1000};

static inline uvf_chan_t *chan_of(size_t capacity) {
  uvf_chan_t *chan = NULL;
  assert_int_equal(uvf_chan_create(capacity, &chan), 0);
  assert_non_null(chan);
  return chan;
}

#define DROPS_MAX 2048

typedef struct drops_s {
  int n;
  int item[DROPS_MAX];
  uintptr_t thread; /* of the last one */
  void (*then)(struct drops_s *drops);
  void *arg;
} drops_t;

static inline void on_drop(void *item, void *arg) {
  drops_t *drops = arg;
  if (drops->n < DROPS_MAX) drops->item[drops->n] = NUMBER(item);
  drops->n++;
  drops->thread = uvf__thread();
  if (drops->then != NULL) drops->then(drops);
}

static inline uvf_chan_t *chan_dropping(size_t capacity, int full, drops_t *drops) {
  uvf_chan_options_t options = {capacity, full, on_drop, drops};
  uvf_chan_t *chan = NULL;
  assert_int_equal(uvf_chan_create_ex(&options, &chan), 0);
  assert_non_null(chan);
  return chan;
}

static inline uvf_chan_stats_t chan_stats_of(uvf_chan_t *chan) {
  uvf_chan_stats_t stats;
  memset(&stats, 0xff, sizeof stats);
  uvf_chan_stats(chan, &stats);
  return stats;
}

/* Also looks at the equation that always holds. */
#define assert_waiting(chan, wanted_length, wanted_senders, wanted_receivers)                                          \
  do {                                                                                                                 \
    uvf_chan_stats_t stats_ = chan_stats_of(chan);                                                                     \
    assert_int_equal(stats_.length, (wanted_length));                                                                  \
    assert_int_equal(stats_.senders, (wanted_senders));                                                                \
    assert_int_equal(stats_.receivers, (wanted_receivers));                                                            \
    assert_int_equal(uvf_chan_length(chan), (wanted_length));                                                          \
    assert_int_equal(stats_.sent, stats_.received + stats_.dropped + stats_.length);                                   \
  } while (0)

#define assert_counters(chan, wanted_sent, wanted_received, wanted_dropped)                                            \
  do {                                                                                                                 \
    uvf_chan_stats_t stats_ = chan_stats_of(chan);                                                                     \
    assert_int_equal(stats_.sent, (wanted_sent));                                                                      \
    assert_int_equal(stats_.received, (wanted_received));                                                              \
    assert_int_equal(stats_.dropped, (wanted_dropped));                                                                \
    assert_int_equal(stats_.sent, stats_.received + stats_.dropped + stats_.length);                                   \
  } while (0)

static inline void put(uvf_chan_t *chan, int from, int to) {
  for (int i = from; i <= to; i++) assert_int_equal(uvf_chan_try_send(chan, ITEM(i)), 0);
}

/* Takes what is in there: from .. to and nothing else. */
static inline void take(uvf_chan_t *chan, int from, int to) {
  void *item;
  for (int i = from; i <= to; i++) {
    item = ITEM(-1);
    assert_int_equal(uvf_chan_try_recv(chan, &item), 0);
    assert_int_equal(NUMBER(item), i);
  }
}

static inline void assert_nothing_there(uvf_chan_t *chan, int wanted) {
  void *item = ITEM(-1);
  assert_int_equal(uvf_chan_try_recv(chan, &item), wanted);
  assert_ptr_equal(item, ITEM(-1)); /* written on success only */
}

/* --- a send or a receive that takes notes --- */

typedef struct call_s {
  uvf_chan_req_t req;
  int id;
  int calls;
  int status;
  void *item;
  journal_t *journal;                /* or NULL */
  void (*then)(struct call_s *call); /* or NULL; runs inside the callback */
  void *arg;
} call_t;

static inline void on_call(uvf_chan_req_t *req, int status) {
  call_t *call = (call_t *)req;
  call->calls++;
  call->status = status;
  call->item = req->item;
  if (status != req->status) call->status = -1;
  if (call->journal != NULL) journal_add(call->journal, call->id);
  if (call->then != NULL) call->then(call);
}

static inline void call_reset(call_t *call) {
  memset(&call->req, 0xa5, sizeof call->req); /* a start reads nothing of it */
  call->req.data = call;
  call->calls = 0;
  call->status = 1;
  call->item = ITEM(-1);
}

static inline void send_start(call_t *call, uvf_ctx_t *ctx, uvf_chan_t *chan, void *item) {
  call_reset(call);
  assert_int_equal(uvf_chan_send(ctx, &call->req, chan, item, on_call), 0);
  assert_int_equal(call->calls, 0); /* never inside */
  assert_ptr_equal(call->req.item, item);
  assert_ptr_equal(call->req.ctx, ctx);
  assert_ptr_equal(call->req.data, call);
}

static inline void recv_start(call_t *call, uvf_ctx_t *ctx, uvf_chan_t *chan) {
  call_reset(call);
  assert_int_equal(uvf_chan_recv(ctx, &call->req, chan, on_call), 0);
  assert_int_equal(call->calls, 0);
  assert_ptr_equal(call->req.ctx, ctx);
  assert_ptr_equal(call->req.data, call);
}

#define assert_ended(call, wanted_status)                                                                              \
  do {                                                                                                                 \
    assert_int_equal((call)->calls, 1);                                                                                \
    assert_int_equal((call)->status, (wanted_status));                                                                 \
  } while (0)

#define assert_got(call, wanted_item)                                                                                  \
  do {                                                                                                                 \
    assert_ended(call, 0);                                                                                             \
    assert_int_equal(NUMBER((call)->item), (wanted_item));                                                             \
  } while (0)

static inline int call_cancel(call_t *call) { return uvf_op_cancel((uvf_op_t *)&call->req); }

/* --- a thread that blocks --- */

enum { SEND_WAIT, RECV_WAIT, SEND_MANY_WAIT, RECV_MANY_WAIT, SELECT_WAIT };

typedef struct blocker_s {
  int kind;
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  void **items; /* many */
  size_t n;     /* many: how many wanted; afterwards: how many there were; select: the index */
  void *item;   /* not many */
  uvf_select_case_t *cases;
  int result;
  uint64_t took_ns;
  uv_thread_t thread;
} blocker_t;

static inline void blocker_main(void *arg) {
  blocker_t *b = arg;
  uint64_t begin = uv_hrtime();
  size_t n = SIZE_MAX;
  switch (b->kind) {
    case SEND_WAIT: b->result = uvf_chan_send_wait(b->ctx, b->chan, b->item); break;
    case RECV_WAIT: b->result = uvf_chan_recv_wait(b->ctx, b->chan, &b->item); break;
    case SEND_MANY_WAIT: b->result = uvf_chan_send_many_wait(b->ctx, b->chan, b->items, b->n, &n); break;
    case RECV_MANY_WAIT: b->result = uvf_chan_recv_many_wait(b->ctx, b->chan, b->items, b->n, &n); break;
    default: b->result = uvf_select_wait(b->ctx, b->cases, b->n, &n); break;
  }
  if (b->kind != SEND_WAIT && b->kind != RECV_WAIT) b->n = n;
  b->took_ns = uv_hrtime() - begin;
}

static inline void blocker_start(blocker_t *b) {
  b->result = 1;
  b->took_ns = 0;
  assert_int_equal(uv_thread_create(&b->thread, blocker_main, b), 0);
}

static inline void blocker_join(blocker_t *b) { assert_int_equal(uv_thread_join(&b->thread), 0); }

/* Until that many wait in the channel. */
static inline void await_waiting(uvf_chan_t *chan, int senders, int receivers) {
  uint64_t end = uv_hrtime() + 20000 * MS_NS;
  for (;;) {
    uvf_chan_stats_t stats = chan_stats_of(chan);
    if (stats.senders == (size_t)senders && stats.receivers == (size_t)receivers) return;
    if (uv_hrtime() > end) fail_msg("%d senders and %d receivers wait", (int)stats.senders, (int)stats.receivers);
    uv_sleep(0);
  }
}

/* Lets a context's deadline come now, by what the hub's timer does: a short one might come too soon. */
static inline void expire(uvf_ctx_t *ctx) {
  if (ctx->deadline.link.prev == NULL) return; /* over already */
  uvf__wheel_disarm(&uvf__ctx_hub(ctx)->wheel, &ctx->deadline);
  uvf__ctx_expire(ctx);
}

/* --- any thread, no assertion --- */

static inline void cancel_ctx(void *ctx) { uvf_ctx_cancel(ctx); }
static inline void close_chan(void *chan) { uvf_chan_close(chan); }
static inline void release_chan(void *chan) { uvf_chan_release(chan); }

#endif
