/* SPDX-License-Identifier: MIT
 *
 * Select: one of n cases, exactly one.
 *
 * The protocol, between selects on any number of threads
 * 1. A select that arrives takes the locks of all its channels, each once, in order of address. Everybody else holds
 *    one of these locks at a time and takes nothing under it, so there is no cycle.
 * 2. Under all of them it is in no queue, so nobody can claim it: it may take any case that is ready without claiming
 *    itself. The partner, which may be another select that waits in channels whose locks we do not hold, is
 *    claimed by CAS; if that is lost, the partner has ended otherwise and is gone from this queue: look again. Each
 *    round removes a waiter, so this ends.
 * 3. If no case is ready it enters the queue of every case, and then lets go of the locks. From then on
 *    whoever comes to one of these channels may claim it, once, for the case whose waiter it found there. The
 *    operation is one, the waiters are many: the others fail to claim it and forget them.
 * 4. The claimant marks the waiter that won. The select, back on its loop or thread, takes its other waiters out of
 *    their queues, under one channel's lock at a time: only from then on may its memory go.
 *
 * Random among those that are ready: one pass counts them and keeps the k-th with probability 1/k.
 */
#include "chan/chan.h"
#include "kernel/context.h"

static uvf_select_t *sel_of(uvf_op_t *op) { return (uvf_select_t *)(void *)op; }
static uvf_op_t *op_of(uvf_select_t *sel) { return (uvf_op_t *)(void *)sel; }

static uint64_t random_u64(void) {
  static _Thread_local uint64_t x;
  if (x == 0) x = (uv_hrtime() ^ (uint64_t)(uintptr_t)&x) | 1;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

/* --- locks in order of address -------------------------------------------------------------------- */

static uvf_select_case_t *merge(uvf_select_case_t *a, uvf_select_case_t *b) {
  uvf_select_case_t *list = NULL;
  uvf_select_case_t **end = &list;
  while (a != NULL && b != NULL) {
    uvf_select_case_t **from = (uintptr_t)a->chan <= (uintptr_t)b->chan ? &a : &b;
    *end = *from;
    *from = (*from)->uvf__order;
    end = &(*end)->uvf__order;
  }
  *end = a != NULL ? a : b;
  return list;
}

/* The cases that are on, sorted by channel: bottom-up merge sort, runs of 2^i cases in run[i]. */
static uvf_select_case_t *sort(uvf_select_case_t *cases, size_t n) {
  uvf_select_case_t *run[sizeof(size_t) * 8] = {NULL};
  uvf_select_case_t *list = NULL;
  size_t used = 0;
  for (size_t i = 0; i < n; i++) {
    uvf_select_case_t *one = &cases[i];
    size_t k = 0;
    if (one->chan == UVF_CHAN_NONE) continue;
    one->uvf__order = NULL;
    for (; run[k] != NULL; k++) {
      one = merge(run[k], one);
      run[k] = NULL;
    }
    run[k] = one;
    if (k >= used) used = k + 1;
  }
  for (size_t k = 0; k < used; k++) list = merge(run[k], list);
  return list;
}

static void lock_all(uvf_select_case_t *order) {
  uvf_chan_t *last = NULL;
  for (; order != NULL; order = order->uvf__order) {
    if (order->chan != last) uvf__lock(&order->chan->lock);
    last = order->chan;
  }
}

static void unlock_all(uvf_select_case_t *order) {
  uvf_chan_t *last = NULL;
  for (; order != NULL; order = order->uvf__order) {
    if (order->chan != last) uvf__unlock(&order->chan->lock);
    last = order->chan;
  }
}

/* --- under all the locks -------------------------------------------------------------------------- */

/* Perhaps: the partners that wait may turn out to be gone. */
static int looks_ready(const uvf_select_case_t *c) {
  const uvf_chan_t *chan = c->chan;
  if (chan->closed) return 1;
  if (c->kind == UVF_SELECT_RECV) return uvf__chan_count(chan) > 0 || chan->senders.first != NULL;
  return chan->receivers.first != NULL || uvf__chan_count(chan) < chan->capacity || chan->full != UVF_CHAN_WAIT;
}

static uvf_select_case_t *pick(uvf_select_case_t *order) {
  uvf_select_case_t *picked = NULL;
  uint64_t ready = 0;
  for (; order != NULL; order = order->uvf__order) {
    if (looks_ready(order) && random_u64() % ++ready == 0) picked = order;
  }
  return picked;
}

/* Makes one case happen, if any can: 0, UV_EOF or UV_EPIPE, and *happened. UV_EAGAIN: none. */
static int happen(uvf_select_case_t *order, uvf__chan_after_t *after, uvf_select_case_t **happened) {
  uvf_select_case_t *c;
  while ((c = pick(order)) != NULL) {
    int rc = c->kind == UVF_SELECT_RECV ? uvf__chan_take(c->chan, &c->uvf__waiter.item, after)
                                        : uvf__chan_place(c->chan, c->item, after);
    *happened = c;
    if (rc != UV_EAGAIN) return rc;
  }
  return UV_EAGAIN;
}

static void enqueue_all(uvf_select_t *sel, int holds) {
  for (uvf_select_case_t *c = sel->uvf__order; c != NULL; c = c->uvf__order) {
    uvf_chan_t *chan = c->chan;
    c->uvf__waiter.item = c->item;
    if (holds) uvf_chan_retain(chan);
    chan->waited++;
    uvf__queue_push(c->kind == UVF_SELECT_RECV ? &chan->receivers : &chan->senders, &c->uvf__waiter);
  }
}

/* --- a select ------------------------------------------------------------------------------------- */

static int check_cases(const uvf_select_case_t *cases, size_t n) {
  if (cases == NULL && n > 0) return UV_EINVAL;
  for (size_t i = 0; i < n; i++) {
    if (cases[i].kind != UVF_SELECT_RECV && cases[i].kind != UVF_SELECT_SEND) return UV_EINVAL;
  }
  return 0;
}

static void fill(uvf_select_t *sel, uvf_select_case_t *cases, size_t n, uvf_select_cb cb) {
  sel->index = n;
  sel->uvf__cb = cb;
  sel->uvf__cases = cases;
  sel->uvf__n = n;
  sel->uvf__waits = 0;
  for (size_t i = 0; i < n; i++) uvf__waiter_init(&cases[i].uvf__waiter, op_of(sel));
  sel->uvf__order = sort(cases, n);
}

static void settle(uvf_select_t *sel, uvf_select_case_t *c, int status) {
  sel->index = (size_t)(c - sel->uvf__cases);
  if (c->kind == UVF_SELECT_RECV && status == 0) c->item = c->uvf__waiter.item;
}

static void start(uvf_select_t *sel, int holds) {
  uvf__chan_after_t after;
  uvf_select_case_t *c = NULL;
  int rc;
  uvf__chan_after_init(&after);
  lock_all(sel->uvf__order);
  rc = uvf__ctx_err(sel->ctx); /* once more: what others do after its end must not meet it */
  if (rc == 0) rc = happen(sel->uvf__order, &after, &c);
  if (rc == UV_EAGAIN) {
    sel->uvf__waits = holds;
    enqueue_all(sel, holds);
  }
  unlock_all(sel->uvf__order);
  if (rc != UV_EAGAIN) {
    if (c != NULL) settle(sel, c, rc);
    uvf__wait_now(op_of(sel), rc);
  }
  if (c != NULL) uvf__chan_after(c->chan, &after);
}

/* Point 4. */
static void leave_all(uvf_select_t *sel) {
  for (uvf_select_case_t *c = sel->uvf__order; c != NULL; c = c->uvf__order) {
    uvf_chan_t *chan = c->chan;
    uvf__queue_leave(&chan->lock, c->kind == UVF_SELECT_RECV ? &chan->receivers : &chan->senders, &c->uvf__waiter);
  }
}

/* It was claimed by whoever came to one of its channels. */
static void won(uvf_select_t *sel) {
  leave_all(sel);
  if (sel->status != 0 && sel->status != UV_EOF && sel->status != UV_EPIPE) return; /* its context's err */
  for (uvf_select_case_t *c = sel->uvf__order; c != NULL; c = c->uvf__order) {
    if (c->uvf__waiter.won) settle(sel, c, sel->status);
  }
}

static int withdraw(uvf_op_t *op) {
  leave_all(sel_of(op));
  return 1;
}

static void posted(uvf_op_t *op) {
  if (sel_of(op)->uvf__waits) won(sel_of(op));
  uvf__op_ready(op);
}

static int deliver(uvf_op_t *op) {
  uvf_select_t *sel = sel_of(op);
  int waited = sel->uvf__waits;
  uvf_select_case_t *c = sel->uvf__order;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  while (waited && c != NULL) { /* before the callback: then the cases are the caller's again. Drop functions may run */
    uvf_select_case_t *next = c->uvf__order;
    uvf_chan_release(c->chan);
    c = next;
  }
  sel->uvf__cb(sel, op->status);
  return 1;
}

static const uvf__op_type_t select_type = {"select", withdraw, deliver, posted, 0, NULL};

int(uvf_select_start)(uvf_ctx_t *ctx, uvf_select_t *sel, uvf_select_case_t *cases, size_t n, uvf_select_cb cb) {
  int rc;
  if (ctx == NULL || sel == NULL || cb == NULL || check_cases(cases, n) != 0) return UV_EINVAL;
  rc = uvf__op_begin(ctx, op_of(sel), &select_type, "uvf_select_start");
  if (rc < 0) return rc;
  fill(sel, cases, n, cb);
  if (rc > 0) start(sel, 1);
  return 0;
}

int uvf_select_try(uvf_select_case_t *cases, size_t n, size_t *index) {
  uvf__chan_after_t after;
  uvf_select_t sel;
  uvf_select_case_t *c = NULL;
  int rc;
  if (index == NULL || check_cases(cases, n) != 0) return UV_EINVAL;
  fill(&sel, cases, n, NULL);
  uvf__chan_after_init(&after);
  lock_all(sel.uvf__order);
  rc = happen(sel.uvf__order, &after, &c);
  unlock_all(sel.uvf__order);
  if (rc != UV_EAGAIN) settle(&sel, c, rc);
  *index = sel.index;
  if (c != NULL) uvf__chan_after(c->chan, &after);
  return rc;
}

int uvf_select_wait(uvf_ctx_t *ctx, uvf_select_case_t *cases, size_t n, size_t *index) {
  uvf_select_t sel;
  uvf__parker_t parker;
  int err;
  if (ctx == NULL || index == NULL || check_cases(cases, n) != 0) return UV_EINVAL;
  *index = n;
  err = uvf__block_check_early("uvf_select_wait");
  if (err == 0) err = uvf__block_begin(ctx, op_of(&sel), &select_type, &parker);
  if (err != 0) return err;
  fill(&sel, cases, n, NULL);
  start(&sel, 0);
  err = uvf__block_end(op_of(&sel), "uvf_select_wait");
  if (sel.index == n) won(&sel); /* it did not happen at once */
  *index = sel.index;
  return err;
}
