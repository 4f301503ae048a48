/* SPDX-License-Identifier: MIT
 *
 * The loops' side of the conservation soak: a crew is a loop on a thread of its own with a few dozen actors, requests
 * that are started again with something else whenever they have ended, and a timer that makes the contexts which all
 * threads use, ends them, and starts the actors that idle.
 */
#ifndef UVFLOW_SOAK_CONSERVE_CREW_H
#define UVFLOW_SOAK_CONSERVE_CREW_H

#include "conserve_world.h"

enum { ACTORS = 24, INPUTS = 3 };

enum { SEND, RECV, EACH, SELECT, MERGE };

enum { CANCELLED = 1, SILENT = 2 };

struct crew_s;

/* Its fields are the loop's. */
typedef struct actor_s {
  struct crew_s *crew;
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

typedef struct crew_s {
  lane_t lane;
  size_t index;
  source_t *source;
  uvf_ctx_t *root; /* until its close callback */
  uv_timer_t timer;
  int stopping;
  int lazy; /* what has ended is started by the timer only, so that the loop sleeps in between */
  uint64_t merged;
  size_t nbusy; /* of crew_count_busy */
  actor_t actors[ACTORS];
  atomic_int ask; /* the watchdog wants a dump */
} crew_t;

static crew_t crews[CREWS];

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
  source_t *s = crew->source;
  HOLDS(actor->busy);
  HOLDS_FOR(!actor->cancelled || status == UV_ECANCELED, status);
  actor->busy = 0;
  for (size_t i = 0; i < actor->nboxes; i++) box_put(actor->boxes[i]);
  if (crew->stopping) return;
  if (one_in(s, 32)) actor_cancel(&crew->actors[below(s, ACTORS)]);
  if (one_in(s, 16)) try_something(s);
  if (crew->lazy || (status != 0 && one_in(s, 2))) return;
  actor_start(actor);
}

static void on_sent(uvf_chan_req_t *req, int status) {
  actor_t *actor = req->data;
  source_t *s = actor->crew->source;
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
  source_t *s = actor->crew->source;
  HOLDS(status != UV_EOF || uvf_chan_is_closed(actor->boxes[0]->chan));
  if (status == 0) items_got(s, &req->item, 1);
  ended(s, status, UV_EOF, 0);
  actor_end(actor, status);
}

static void on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  actor_t *actor = each->data;
  source_t *s = actor->crew->source;
  HOLDS(actor->busy);
  HOLDS_FOR(n >= 1 && n <= 64, n);
  HOLDS_FOR(actor->cancelled == 0 || (actor->cancelled == CANCELLED && n == 1), n);
  if (actor->cancelled == CANCELLED) actor->cancelled = SILENT; /* what had been handed to it by then, and no more */
  items_got(s, items, n);
  moved(s);
  if (one_in(s, 32)) uvf_ctx_cancel(each->ctx);
  if (one_in(s, 16)) actor_cancel(actor);
  if (actor->cancelled == CANCELLED) actor->cancelled = SILENT;
  if (one_in(s, 16)) try_something(s);
}

static void on_each_end(uvf_chan_each_t *each, int status) {
  actor_t *actor = each->data;
  HOLDS(status != 0);
  HOLDS(status != UV_EOF || uvf_chan_is_closed(actor->boxes[0]->chan));
  ended(actor->crew->source, status, UV_EOF, 0);
  actor_end(actor, status);
}

static void on_selected(uvf_select_t *select, int status) {
  actor_t *actor = select->data;
  choice_settle(actor->crew->source, &actor->choice, status, select->index);
  ended(actor->crew->source, status, status == UV_EPIPE ? UV_EPIPE : UV_EOF, 0);
  actor_end(actor, status);
}

static void on_merged(uvf_chan_merge_t *merge, int status) {
  actor_t *actor = merge->data;
  HOLDS_FOR(status == merge->status, status);
  actor->crew->merged += merge->count;
  ended(actor->crew->source, status, UV_EPIPE, 0);
  actor_end(actor, status);
}

/* --- starts --- */

static uvf_chan_t *actor_box(actor_t *actor, size_t slot) {
  return (actor->boxes[actor->nboxes++] = box_get(slot))->chan;
}

/* From channels to one that stands behind them, so that no item goes round in circles. */
static int start_merge(actor_t *actor, uvf_ctx_t *ctx) {
  source_t *s = actor->crew->source;
  uvf_chan_t *inputs[INPUTS], *out;
  size_t n = 0, last = 1 + below(s, SLOTS - 1);
  out = actor_box(actor, last);
  for (size_t i = below(s, last); i < last && n < INPUTS; i += 1 + below(s, SLOTS)) inputs[n++] = actor_box(actor, i);
  return uvf_chan_merge(ctx, &actor->u.merge, inputs, n, out, on_merged);
}

static int start_send(actor_t *actor, uvf_ctx_t *ctx) {
  source_t *s = actor->crew->source;
  uvf_chan_t *chan = actor_box(actor, below(s, SLOTS));
  void *item;
  if (box_drops(s, actor->boxes[0]) || !item_take(s, &item)) return 1;
  return uvf_chan_send(ctx, &actor->u.req, chan, item, on_sent);
}

static int start_kind(actor_t *actor, uvf_ctx_t *ctx) {
  source_t *s = actor->crew->source;
  switch (actor->kind) {
    case SEND: return start_send(actor, ctx);
    case RECV: return uvf_chan_recv(ctx, &actor->u.req, actor_box(actor, below(s, SLOTS)), on_received);
    case EACH:
      return uvf_chan_each(ctx, &actor->u.each, actor_box(actor, below(s, SLOTS)), below(s, 4) * 70, on_items,
                           on_each_end);
    case SELECT:
      choice_make(s, &actor->choice);
      return uvf_select_start(ctx, &actor->u.select, actor->choice.cases, actor->choice.n, on_selected);
    default: return start_merge(actor, ctx);
  }
}

/* Starts something, or leaves it idle. */
static void actor_start(actor_t *actor) {
  static const int menu[] = {SEND, SEND, SEND, RECV, RECV, EACH, EACH, SELECT, SELECT, MERGE};
  crew_t *crew = actor->crew;
  uvf_ctx_t *ctx = ctx_get(crew->source, crew->index);
  int err;
  memset(&actor->u, 0xff, sizeof actor->u); /* nothing may count on zeroed memory */
  actor->kind = menu[below(crew->source, ARRAY_SIZE(menu))];
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

/* --- contexts --- */

static uvf_ctx_t *crew_derive(crew_t *crew) {
  static const uint64_t timeouts_ms[] = {0, 1, 1, 2, 5, 20};
  source_t *s = crew->source;
  uvf_ctx_t *ctx = NULL, *parents[2];
  uint64_t ms = timeouts_ms[below(s, ARRAY_SIZE(timeouts_ms))];
  int err;
  parents[0] = one_in(s, 4) ? ctx_get(s, crew->index) : NULL; /* NULL also in the beginning */
  if (parents[0] == NULL) parents[0] = uvf_ctx_retain(crew->root);
  parents[1] = NULL;
  switch (below(s, 6)) {
    case 0: err = uvf_ctx_with_timeout(parents[0], ms, &ctx); break;
    case 1: err = uvf_ctx_with_deadline(parents[0], uv_hrtime() + ms * MS_NS, &ctx); break;
    case 2:
      parents[1] = ctx_get(s, crew->index);
      err = uvf_ctx_with_any(parents, parents[1] != NULL ? 2 : 1, &ctx);
      break;
    case 3:
      parents[1] = ctx_get(s, 1 - crew->index);
      err = uvf_ctx_with_remote(parents[1] != NULL ? parents[1] : parents[0], crew->root, &ctx);
      break;
    default: err = uvf_ctx_with_cancel(parents[0], &ctx);
  }
  HOLDS_FOR(err == 0, err);
  uvf_ctx_release(parents[0]);
  uvf_ctx_release(parents[1]);
  return ctx;
}

/* What has a deadline may end by that; everything else must be cancelled by somebody. */
static void crew_replace_ctx(crew_t *crew, size_t i, int cancel) {
  uvf_ctx_t *old = ctx_swap(crew->index, i, crew->stopping ? NULL : crew_derive(crew));
  if (cancel || (old != NULL && uvf_ctx_deadline_ns(old) == UVF_NO_DEADLINE)) uvf_ctx_cancel(old);
  uvf_ctx_release(old);
}

/* --- the timer --- */

static void crew_dump(crew_t *crew) {
  size_t busy = 0;
  for (size_t i = 0; i < ACTORS; i++) busy += (size_t)crew->actors[i].busy;
  fprintf(stderr, "loop %zu: %zu actors are busy\n", crew->index, busy);
  if (crew->root != NULL) uvf_ctx_dump(crew->root, stderr);
  atomic_store(&crew->ask, 0);
}

static void on_tick(uv_timer_t *timer) {
  crew_t *crew = timer->data;
  source_t *s = crew->source;
  if (atomic_load(&crew->ask)) crew_dump(crew);
  if (crew->stopping) return;
  if (one_in(s, 64)) crew->lazy = !crew->lazy;
  for (int i = 0; i < 2; i++) crew_replace_ctx(crew, below(s, CTXS), one_in(s, 2));
  if (one_in(s, 8)) ctx_cancel_one(s);
  for (size_t i = 0; i < ACTORS; i++) {
    if (!crew->actors[i].busy && one_in(s, 2)) actor_start(&crew->actors[i]);
  }
}

/* --- life; these run on the crew's thread --- */

static void crew_begin(void *arg) {
  crew_t *crew = arg;
  crew->root = crew->lane.root;
  for (size_t i = 0; i < CTXS; i++) crew_replace_ctx(crew, i, 0);
  if (uv_timer_init(&crew->lane.loop, &crew->timer) != 0) abort();
  crew->timer.data = crew;
  if (uv_timer_start(&crew->timer, on_tick, 1, 1) != 0) abort();
}

/* Starts nothing any more, and ends what is there, if it is not to be ended otherwise. */
static void crew_rest(void *arg) {
  crew_t *crew = arg;
  crew->stopping = 1;
  for (size_t i = 0; i < CTXS; i++) crew_replace_ctx(crew, i, 1);
}

static void crew_count_busy(void *arg) {
  crew_t *crew = arg;
  crew->nbusy = 0;
  for (size_t i = 0; i < ACTORS; i++) crew->nbusy += (size_t)crew->actors[i].busy;
}

static void crew_on_closed(uvf_ctx_t *root) {
  crew_t *crew = (crew_t *)uvf_ctx_loop(root)->data; /* the lane is its first field */
  crew->lane.roots_closed++;
  crew->root = NULL;
  uv_close((uv_handle_t *)&crew->timer, NULL);
}

static void crew_close(void *arg) {
  crew_t *crew = arg;
  crew->stopping = 1;
  crew->lane.root = NULL; /* lane_stop need not close it */
  uvf_ctx_close(crew->root, crew_on_closed);
}

/* --- all of them, from the test's thread --- */

static void crews_call(void (*fn)(void *)) {
  for (size_t i = 0; i < CREWS; i++) lane_call(&crews[i].lane, fn, &crews[i]);
}

static void crews_start(void) {
  memset(crews, 0, sizeof crews);
  for (size_t i = 0; i < CREWS; i++) {
    crews[i].index = i;
    crews[i].source = &sources[i];
    for (size_t k = 0; k < ACTORS; k++) crews[i].actors[k].crew = &crews[i];
    lane_start(&crews[i].lane);
  }
  crews_call(crew_begin);
}

/* Until every actor has ended, without closing anything. */
static void crews_rest(void) {
  crews_call(crew_rest);
  for (size_t i = 0; i < CREWS; i++) {
    do {
      uv_sleep(1);
      lane_call(&crews[i].lane, crew_count_busy, &crews[i]);
    } while (crews[i].nbusy > 0);
  }
}

static void crews_stop(void) {
  crews_call(crew_close);
  for (size_t i = 0; i < CREWS; i++) {
    lane_stop(&crews[i].lane);
    crew_count_busy(&crews[i]);
    HOLDS_FOR(crews[i].nbusy == 0, crews[i].nbusy);
  }
}

/* The contexts that are left: also after their loop is gone. */
static void crews_release(void) {
  for (size_t i = 0; i < CREWS; i++) {
    for (size_t k = 0; k < CTXS; k++) uvf_ctx_release(ctx_swap(i, k, NULL));
  }
}

#endif
