/* SPDX-License-Identifier: MIT
 *
 * For-each: a receiver that goes on until the channel is closed and drained.
 *
 * It is one operation that is delivered many times. Where it is (each->uvf__where; the loop's, as all here):
 *
 *   WAITING   in the channel's queue of receivers, PENDING. A sender gives it one item and claims it; a close claims
 *             it.
 *   LATER     in the hub's list for the next turn, PENDING: it has had its share of this one.
 *   RUNNING   being delivered. Before a call of the items callback that is not its last it is made PENDING again,
 *             in no queue, so that the callback may end it as any other; then that end is on the ready list when the
 *             callback returns, or has been told inside it, if that has run the loop (uvf__ended).
 *   and ready, claimed: status 0: go on; anything else: the end. A cancel that comes while it is claimed to go on is
 *             noted (uvf__stopping), and is the end then.
 *
 * Invariants
 * 1. Items are taken from the channel only when they are given to the callback at once: nothing is in its hand when it
 *    ends, but the one item a sender claimed it with; that one is given before the end, whatever the end is.
 * 2. It takes nothing once its context is over, also if its loop does not know yet (uvf__op_rearm looks).
 * 3. It is queued only while PENDING, under the channel's lock, when that has nothing to take.
 */
#include "chan/chan.h"
#include "kernel/context.h"

#define BATCH 64
#define TURN_MAX 1024
#define LINGER_RARELY 8

enum { WAITING, LATER, RUNNING };

static uvf_chan_each_t *each_of(uvf_op_t *op) { return (uvf_chan_each_t *)(void *)op; }
static uvf_op_t *op_of(uvf_chan_each_t *each) { return (uvf_op_t *)(void *)each; }

static int withdraw(uvf_op_t *op) {
  uvf_chan_each_t *each = each_of(op);
  if (each->uvf__where == WAITING) {
    uvf__queue_leave(&each->uvf__chan->lock, &each->uvf__chan->receivers, &each->uvf__waiter);
  } else if (each->uvf__where == LATER) {
    uvf__queue_remove(&uvf__ctx_hub(op->ctx)->later, &each->uvf__waiter);
  }
  each->uvf__where = RUNNING;
  return 1;
}

/* The last touch. */
static int finish(uvf_chan_each_t *each, int status) {
  uvf_op_t *op = op_of(each);
  uvf_chan_t *chan = each->uvf__chan;
  int *ended = each->uvf__ended;
  op->status = status;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  each->uvf__end(each, status);
  uvf_chan_release(chan);
  if (ended == NULL) return 1;
  *ended = 1; /* inside its own items callback, which runs the loop: retired when that has returned */
  return 0;
}

/* What it may still take in this turn, and at once. */
static size_t share(uvf__hub_t *hub, uvf_chan_each_t *each) {
  if (each->uvf__turn != hub->turn) {
    each->uvf__turn = hub->turn;
    each->uvf__turn_left = each->uvf__turn_max;
  }
  return each->uvf__turn_left < BATCH ? each->uvf__turn_left : BATCH;
}

/* Nothing is there. If the last items came from another thread, that may be about to send more: being put to sleep and
 * woken would cost the loop some microseconds and the sender a system call. Tried ever more rarely if it does not
 * pay. */
static void linger(uvf_chan_each_t *each) {
  if (each->uvf__linger == 0) return;
  if (--each->uvf__linger > 0) return;
  if (uvf__chan_linger(each->uvf__chan, UVF__CHAN_ITEMS)) {
    each->uvf__in_vain = 0;
  } else if (each->uvf__in_vain < LINGER_RARELY) {
    each->uvf__in_vain++;
  }
  each->uvf__linger = 1u << each->uvf__in_vain;
}

/* Items, how many of at most max; with `waits`, none means that it is queued, or has been made ready for its end.
 * PENDING, in no queue. */
static size_t take(uvf_chan_each_t *each, void **items, size_t max, int waits) {
  uvf_chan_t *chan = each->uvf__chan;
  uvf__chan_after_t after;
  int why;
  size_t n;
  uvf__chan_after_init(&after);
  uvf__lock_many(&chan->lock);
  n = uvf__chan_take_many(each->ctx, chan, items, max, &after, &why);
  if (n == 0 && waits && why == UV_EAGAIN) {
    uvf__unlock(&chan->lock);
    linger(each);
    uvf__lock_many(&chan->lock);
    n = uvf__chan_take_many(each->ctx, chan, items, max, &after, &why);
  }
  waits = waits && n == 0;
  if (waits && why == UV_EAGAIN) {
    each->uvf__where = WAITING;
    chan->waited++;
    uvf__queue_push(&chan->receivers, &each->uvf__waiter);
  }
  uvf__unlock(&chan->lock);
  if (waits && why != UV_EAGAIN) uvf__wait_now(op_of(each), why);
  uvf__chan_after(chan, &after);
  return n;
}

static void posted(uvf_op_t *op) {
  if (each_of(op)->uvf__linger == 0) each_of(op)->uvf__linger = (uint32_t)uvf__ctx_hub(op->ctx)->posting;
  uvf__op_ready(op);
}

/* 1: it ended inside, and may be gone. */
static int give(uvf_chan_each_t *each, void **items, size_t n) {
  int ended = 0;
  each->count += n;
  each->uvf__turn_left -= n < each->uvf__turn_left ? n : each->uvf__turn_left;
  each->uvf__ended = &ended;
  each->uvf__items(each, items, n);
  if (ended) return 1;
  each->uvf__ended = NULL;
  return 0;
}

/* PENDING, with n items in items[]. Returns when it waits, for whatever, or has been ended. */
static int run(uvf_chan_each_t *each, uvf__hub_t *hub, void **items, size_t n) {
  do {
    size_t max = share(hub, each);
    if (n == 0 && max == 0) {
      each->uvf__where = LATER;
      uvf__wait_later(hub, &each->uvf__waiter);
      return 0;
    }
    if (n < max) n += take(each, items + n, max - n, n == 0);
    if (n == 0) return 0;
    if (give(each, items, n)) return 1;
    n = 0;
    if (uvf__u32_load(&each->uvf__state) != UVF__OP_PENDING) return 0;
  } while (uvf__ctx_err(each->ctx) == 0); /* else it ended on another thread, and its loop will come by */
  return 0;
}

static int deliver(uvf_op_t *op) {
  uvf_chan_each_t *each = each_of(op);
  void *items[BATCH];
  size_t n = 0;
  int err = each->uvf__stopping ? UV_ECANCELED : op->status;
  each->uvf__where = RUNNING;
  if (op->status == 0 && each->uvf__waiter.won) items[n++] = each->uvf__waiter.item;
  uvf__waiter_init(&each->uvf__waiter, op);
  if (err == 0) err = uvf__op_rearm(op);
  if (err != 0) {
    if (n > 0) give(each, items, n);
    return finish(each, err);
  }
  return run(each, uvf__ctx_hub(op->ctx), items, n);
}

/* Claimed, by a sender or a close, perhaps on another thread: that wrote the status under the channel's lock. */
static int stop(uvf_op_t *op) {
  uvf_chan_each_t *each = each_of(op);
  int status;
  uvf__lock(&each->uvf__chan->lock);
  status = op->status;
  uvf__unlock(&each->uvf__chan->lock);
  if (status != 0 || each->uvf__stopping) return UV_EBUSY;
  each->uvf__stopping = 1;
  return 0;
}

static const uvf__op_type_t each_type = {"each", withdraw, deliver, posted, 0, stop};

int(uvf_chan_each)(uvf_ctx_t *ctx, uvf_chan_each_t *each, uvf_chan_t *chan, size_t turn_max, uvf_chan_items_cb on_items,
                   uvf_chan_end_cb on_end) {
  int rc;
  if (ctx == NULL || each == NULL || chan == NULL || on_items == NULL || on_end == NULL) return UV_EINVAL;
  rc = uvf__op_begin(ctx, op_of(each), &each_type, "uvf_chan_each");
  if (rc < 0) return rc;
  each->count = 0;
  each->uvf__items = on_items;
  each->uvf__end = on_end;
  each->uvf__chan = uvf_chan_retain(chan);
  each->uvf__turn_max = turn_max != 0 ? turn_max : TURN_MAX;
  each->uvf__turn_left = 0;
  each->uvf__turn = uvf__ctx_hub(ctx)->turn - 1;
  each->uvf__where = RUNNING;
  each->uvf__stopping = 0;
  each->uvf__linger = 0;
  each->uvf__in_vain = 0;
  each->uvf__ended = NULL;
  uvf__waiter_init(&each->uvf__waiter, op_of(each));
  if (rc > 0) uvf__wait_now(op_of(each), 0);
  return 0;
}
