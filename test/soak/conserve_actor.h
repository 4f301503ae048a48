/* SPDX-License-Identifier: MIT
 *
 * The loops' side of the conservation soak: each crew has a few dozen actors, requests that are started again with
 * something else whenever they have ended.
 */
#ifndef UVFLOW_SOAK_CONSERVE_ACTOR_H
#define UVFLOW_SOAK_CONSERVE_ACTOR_H

#include "conserve_world.h"

enum { ACTORS = 24, INPUTS = 3 };

enum { SEND, RECV, EACH, SELECT, MERGE };

enum { CANCELLED = 1, SILENT = 2 };

/* Its fields are the loop's. */
typedef struct actor_s {
  crew_t *crew;
  source_t *source;
  int kind;
  int busy;      /* started, and its callback has not been entered */
  int cancelled; /* CANCELLED: by a cancel that got 0; SILENT: and a for-each has no more to give */
  union {
    uvf_chan_req_t req;
    uvf_chan_each_t each;
    uvf_select_t select;
    uvf_chan_merge_t merge;
  } u;
  choice_t choice;
  box_t *boxes[1 + INPUTS];
  size_t nboxes;
} actor_t;

static actor_t actors[CREWS][ACTORS];

static void actor_start(actor_t *actor);

/* --- ends --- */

static void actor_cancel(actor_t *actor) {
  int err;
  if (!actor->busy) return;
  if (actor->kind == MERGE) {
    uvf_chan_merge_cancel(&actor->u.merge);
    return;
  }
  err = uvf_op_cancel((uvf_op_t *)&actor->u.req);
  HOLDS_FOR(err == UV_EBUSY || (err == 0 && !actor->cancelled), err);
  if (err == 0) actor->cancelled = CANCELLED;
}

/* In its callback: its channels are put back, others may be cancelled, and it goes on. */
static void actor_end(actor_t *actor, int status) {
  crew_t *crew = actor->crew;
  source_t *s = actor->source;
  HOLDS(actor->busy);
  HOLDS_FOR(!actor->cancelled || status == UV_ECANCELED, status);
  actor->busy = 0;
  for (size_t i = 0; i < actor->nboxes; i++) box_put(actor->boxes[i]);
  if (crew->stopping) return;
  if (one_in(&s->dice, 32)) actor_cancel(&actors[crew->index][below(&s->dice, ACTORS)]);
  if (one_in(&s->dice, 16)) try_something(s);
  if (crew->lazy || (status != 0 && one_in(&s->dice, 2))) return;
  actor_start(actor);
}

static void on_sent(uvf_chan_req_t *req, int status) {
  actor_t *actor = req->data;
  source_t *s = actor->source;
  if (status == 0) {
    s->sent++;
  } else {
    item_back(s, req->item);
  }
  ended(s, status, UV_EPIPE, 0);
  actor_end(actor, status);
}

static void on_received(uvf_chan_req_t *req, int status) {
  actor_t *actor = req->data;
  source_t *s = actor->source;
  HOLDS(status != UV_EOF || uvf_chan_is_closed(actor->boxes[0]->chan));
  if (status == 0) items_got(s, &req->item, 1);
  ended(s, status, UV_EOF, 0);
  actor_end(actor, status);
}

static void on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  actor_t *actor = each->data;
  source_t *s = actor->source;
  HOLDS(actor->busy);
  HOLDS_FOR(n >= 1 && n <= 64, n);
  HOLDS_FOR(actor->cancelled == 0 || (actor->cancelled == CANCELLED && n == 1), n);
  if (actor->cancelled == CANCELLED) actor->cancelled = SILENT; /* what had been handed to it by then, and no more */
  items_got(s, items, n);
  moved(s);
  if (one_in(&s->dice, 32)) uvf_ctx_cancel(each->ctx);
  if (one_in(&s->dice, 16)) actor_cancel(actor);
  if (actor->cancelled == CANCELLED) actor->cancelled = SILENT;
  if (one_in(&s->dice, 16)) try_something(s);
}

static void on_each_end(uvf_chan_each_t *each, int status) {
  actor_t *actor = each->data;
  HOLDS(status != 0);
  HOLDS(status != UV_EOF || uvf_chan_is_closed(actor->boxes[0]->chan));
  ended(actor->source, status, UV_EOF, 0);
  actor_end(actor, status);
}

static void on_selected(uvf_select_t *select, int status) {
  actor_t *actor = select->data;
  choice_settle(actor->source, &actor->choice, status, select->index);
  ended(actor->source, status, status == UV_EPIPE ? UV_EPIPE : UV_EOF, 0);
  actor_end(actor, status);
}

static void on_merged(uvf_chan_merge_t *merge, int status) {
  actor_t *actor = merge->data;
  HOLDS_FOR(status == merge->status, status);
  actor->source->merged += merge->count;
  ended(actor->source, status, UV_EPIPE, 0);
  actor_end(actor, status);
}

/* --- starts --- */

static uvf_chan_t *actor_box(actor_t *actor, size_t slot) {
  return (actor->boxes[actor->nboxes++] = box_get(slot))->chan;
}

/* From channels to one that stands behind them, so that no item goes round in circles. */
static int start_merge(actor_t *actor, uvf_ctx_t *ctx) {
  source_t *s = actor->source;
  uvf_chan_t *inputs[INPUTS], *out;
  size_t n = 0, last = 1 + below(&s->dice, SLOTS - 1);
  out = actor_box(actor, last);
  for (size_t i = below(&s->dice, last); i < last && n < INPUTS; i += 1 + below(&s->dice, SLOTS))
    inputs[n++] = actor_box(actor, i);
  return uvf_chan_merge(ctx, &actor->u.merge, inputs, n, out, on_merged);
}

static int start_send(actor_t *actor, uvf_ctx_t *ctx) {
  source_t *s = actor->source;
  uvf_chan_t *chan = actor_box(actor, below(&s->dice, SLOTS));
  void *item;
  if (box_drops(s, actor->boxes[0]) || !item_take(s, &item)) return 1;
  return uvf_chan_send(ctx, &actor->u.req, chan, item, on_sent);
}

static int start_kind(actor_t *actor, uvf_ctx_t *ctx) {
  source_t *s = actor->source;
  switch (actor->kind) {
    case SEND: return start_send(actor, ctx);
    case RECV: return uvf_chan_recv(ctx, &actor->u.req, actor_box(actor, below(&s->dice, SLOTS)), on_received);
    case EACH:
      return uvf_chan_each(ctx, &actor->u.each, actor_box(actor, below(&s->dice, SLOTS)), below(&s->dice, 4) * 70,
                           on_items, on_each_end);
    case SELECT:
      choice_make(s, &actor->choice);
      return uvf_select_start(ctx, &actor->u.select, actor->choice.cases, actor->choice.n, on_selected);
    default: return start_merge(actor, ctx);
  }
}

/* Starts something, or leaves it idle. */
static void actor_start(actor_t *actor) {
  static const int menu[] = {SEND, SEND, SEND, RECV, RECV, EACH, EACH, SELECT, SELECT, MERGE};
  uvf_ctx_t *ctx = ctx_get(&actor->source->dice, actor->crew->index);
  int err;
  memset(&actor->u, 0xff, sizeof actor->u); /* nothing may count on zeroed memory */
  actor->kind = menu[below(&actor->source->dice, ARRAY_SIZE(menu))];
  actor->nboxes = 0;
  actor->cancelled = 0;
  actor->busy = 1;
  actor->u.req.data = actor; /* data is the first field of all of them */
  err = start_kind(actor, ctx);
  uvf_ctx_release(ctx);
  if (err == 0) return;
  HOLDS_FOR(err == 1, err); /* 1: nothing to send, or nothing it should */
  actor->busy = 0;
  for (size_t i = 0; i < actor->nboxes; i++) box_put(actor->boxes[i]);
}

/* --- the crew's hooks --- */

static void crew_start_some(crew_t *crew) {
  for (size_t i = 0; i < ACTORS; i++) {
    actor_t *actor = &actors[crew->index][i];
    actor->crew = crew;
    actor->source = &sources[crew->index];
    if (!actor->busy && one_in(&crew->dice, 2)) actor_start(actor);
  }
}

static size_t crew_busy(crew_t *crew) {
  size_t busy = 0;
  for (size_t i = 0; i < ACTORS; i++) busy += (size_t)actors[crew->index][i].busy;
  return busy;
}

#endif
