/* SPDX-License-Identifier: MIT
 *
 * The world of the conservation soak: the channels that all its threads share, and what any thread may do with them.
 *
 * A channel stands in a box that counts its users. When the last of them has put it back nobody sends, receives or
 * waits any more, so its figures are final: they must add up, and are added up over all channels.
 */
#ifndef UVFLOW_SOAK_CONSERVE_WORLD_H
#define UVFLOW_SOAK_CONSERVE_WORLD_H

#include "conserve_ledger.h"

enum { SLOTS = 10, CASES = 5, MANY = 40 };

/* --- channels --- */

typedef struct box_s {
  uvf_chan_t *chan;
  int full;
  atomic_int users;
} box_t;

typedef struct slot_s {
  uv_mutex_t mutex; /* guards box */
  box_t *box;
} slot_t;

static slot_t slots[SLOTS];

/* Of all channels that are gone. */
static struct { atomic_size_t sent, received, dropped, left, closed; } figures;

static box_t *box_new(source_t *s) {
  static const size_t capacities[] = {0, 1, 2, 8, 128};
  uvf_chan_options_t options = {0, UVF_CHAN_WAIT, on_drop, &ledger};
  box_t *box = malloc(sizeof *box);
  if (box == NULL) abort();
  options.capacity = capacities[below(&s->dice, ARRAY_SIZE(capacities))];
  if (one_in(&s->dice, 5))
    options.full = options.capacity > 0 && one_in(&s->dice, 2) ? UVF_CHAN_DROP_OLDEST : UVF_CHAN_DROP_NEWEST;
  if (uvf_chan_create_ex(&options, &box->chan) != 0) abort();
  box->full = options.full;
  atomic_init(&box->users, 1);
  return box;
}

/* The figures of a channel, which at any moment add up; and nobody waits for what is there. */
static uvf_chan_stats_t box_stats(const box_t *box) {
  size_t capacity = uvf_chan_capacity(box->chan);
  int closed = uvf_chan_is_closed(box->chan);
  uvf_chan_stats_t stats;
  uvf_chan_stats(box->chan, &stats);
  HOLDS_FOR(stats.sent == stats.received + stats.dropped + stats.length, stats.sent);
  HOLDS_FOR(stats.length <= capacity, stats.length);
  HOLDS_FOR(stats.senders == 0 || (stats.length == capacity && !closed), stats.senders);
  HOLDS_FOR(stats.receivers == 0 || (stats.length == 0 && !closed), stats.receivers);
  return stats;
}

static box_t *box_get(size_t i) {
  box_t *box;
  uv_mutex_lock(&slots[i].mutex);
  box = slots[i].box;
  atomic_fetch_add(&box->users, 1);
  uv_mutex_unlock(&slots[i].mutex);
  return box;
}

static void box_put(box_t *box) {
  uvf_chan_stats_t stats;
  if (atomic_fetch_sub(&box->users, 1) != 1) return;
  stats = box_stats(box);
  HOLDS_FOR(stats.senders == 0, stats.senders);
  HOLDS_FOR(stats.receivers == 0, stats.receivers);
  atomic_fetch_add(&figures.sent, (size_t)stats.sent);
  atomic_fetch_add(&figures.received, (size_t)stats.received);
  atomic_fetch_add(&figures.dropped, (size_t)stats.dropped);
  atomic_fetch_add(&figures.left, stats.length);
  atomic_fetch_add(&figures.closed, (size_t)uvf_chan_is_closed(box->chan));
  uvf_chan_release(box->chan); /* what is left in there is dropped */
  free(box);
}

static void box_drain(source_t *s, box_t *box) {
  void *items[MANY];
  size_t n;
  int err;
  while ((err = uvf_chan_try_recv_many(box->chan, items, 1 + below(&s->dice, MANY), &n)) == 0) items_got(s, items, n);
  HOLDS_FOR(err == UV_EOF, err); /* it is closed */
}

/* Closes a channel, and there it stays for others to find until the next replacement. */
static void box_close(source_t *s, size_t i) {
  box_t *box = box_get(i);
  uvf_chan_close(box->chan);
  (void)box_stats(box);
  if (one_in(&s->dice, 2)) box_drain(s, box);
  box_put(box);
}

/* Closes a channel before or after a new one has taken its place, or not at all; drained or not. */
static void box_replace(source_t *s, size_t i) {
  box_t *next = box_new(s), *old;
  if (one_in(&s->dice, 2)) box_close(s, i);
  uv_mutex_lock(&slots[i].mutex);
  old = slots[i].box;
  slots[i].box = next;
  uv_mutex_unlock(&slots[i].mutex);
  if (!one_in(&s->dice, 8)) uvf_chan_close(old->chan); /* else those who wait there end by their contexts */
  if (uvf_chan_is_closed(old->chan) && one_in(&s->dice, 2)) box_drain(s, old);
  box_put(old);
}

/* A channel that drops, and would: to send there for ever is no way to run a soak. */
static int box_drops(source_t *s, box_t *box) {
  if (box->full == UVF_CHAN_WAIT || one_in(&s->dice, 64)) return 0;
  return 2 * uvf_chan_length(box->chan) >= uvf_chan_capacity(box->chan);
}

/* How many to send there at once. */
static size_t box_room(const box_t *box) {
  size_t capacity = uvf_chan_capacity(box->chan);
  return box->full == UVF_CHAN_WAIT || capacity > MANY ? MANY : 1 + capacity;
}

/* --- select: cases over random channels --- */

typedef struct choice_s {
  size_t n;
  uvf_select_case_t cases[CASES];
  box_t *boxes[CASES];
} choice_t;

static void choice_make(source_t *s, choice_t *choice) {
  memset(choice, 0xff, sizeof *choice); /* nothing may count on private fields */
  choice->n = one_in(&s->dice, 64) ? 0 : 1 + below(&s->dice, CASES);
  for (size_t i = 0; i < choice->n; i++) {
    uvf_select_case_t *c = &choice->cases[i];
    box_t *box = one_in(&s->dice, 16) ? NULL : box_get(below(&s->dice, SLOTS));
    choice->boxes[i] = box;
    c->chan = box == NULL ? UVF_CHAN_NONE : box->chan;
    c->kind = UVF_SELECT_RECV;
    c->item = choice; /* untouched, unless this case receives */
    if (one_in(&s->dice, 2) || (box != NULL && box_drops(s, box)) || !item_take(s, &c->item)) continue;
    c->kind = UVF_SELECT_SEND;
  }
}

static void choice_settle(source_t *s, choice_t *choice, int status, size_t index) {
  int of_a_case = status == 0 || status == UV_EOF || status == UV_EPIPE;
  HOLDS_FOR(of_a_case ? index < choice->n : index == choice->n, index);
  if ((status == UV_EOF || status == UV_EPIPE) && index < choice->n) {
    HOLDS(choice->cases[index].kind == (status == UV_EOF ? UVF_SELECT_RECV : UVF_SELECT_SEND));
    HOLDS(uvf_chan_is_closed(choice->cases[index].chan));
  }
  for (size_t i = 0; i < choice->n; i++) {
    uvf_select_case_t *c = &choice->cases[i];
    int happened = status == 0 && i == index;
    if (c->kind == UVF_SELECT_RECV) {
      if (happened) items_got(s, &c->item, 1);
      HOLDS(happened || c->item == choice);
    } else if (happened) {
      s->sent++;
    } else {
      item_back(s, c->item);
    }
    if (choice->boxes[i] != NULL) box_put(choice->boxes[i]);
  }
}

/* --- without waiting: for loops and threads --- */

static void settle_sends(source_t *s, void **items, size_t n, size_t sent) {
  HOLDS_FOR(sent <= n, sent);
  s->sent += sent;
  for (size_t i = sent; i < n; i++) item_back(s, items[i]);
}

static int try_sends(source_t *s, box_t *box) {
  void *items[MANY];
  size_t n = items_take(s, items, one_in(&s->dice, 2) ? 1 : 1 + below(&s->dice, box_room(box))), sent = n + 1;
  int err;
  if (n == 0) return UV_EAGAIN;
  if (n == 1) {
    err = uvf_chan_try_send(box->chan, items[0]);
    sent = err == 0;
  } else {
    err = uvf_chan_try_send_many(box->chan, items, n, &sent);
    HOLDS_FOR((err == 0) == (sent > 0), sent);
  }
  settle_sends(s, items, n, sent);
  ended(s, err, UV_EPIPE, UV_EAGAIN);
  return err;
}

static int try_recvs(source_t *s, box_t *box) {
  void *items[MANY];
  size_t n = MANY + 1;
  int err;
  if (one_in(&s->dice, 2)) {
    err = uvf_chan_try_recv(box->chan, items);
    n = err == 0;
  } else {
    err = uvf_chan_try_recv_many(box->chan, items, 1 + below(&s->dice, MANY), &n);
    HOLDS_FOR((err == 0) == (n > 0) && n <= MANY, n);
  }
  items_got(s, items, n);
  ended(s, err, UV_EOF, UV_EAGAIN);
  return err;
}

static void try_choice(source_t *s) {
  choice_t choice;
  size_t index = CASES + 1;
  int err;
  choice_make(s, &choice);
  err = uvf_select_try(choice.cases, choice.n, &index);
  choice_settle(s, &choice, err, index);
  ended(s, err, err == UV_EPIPE ? UV_EPIPE : UV_EOF, UV_EAGAIN);
}

/* One thing that needs no waiting. */
static void try_something(source_t *s) {
  box_t *box = box_get(below(&s->dice, SLOTS));
  switch (below(&s->dice, 8)) {
    case 0: try_choice(s); break;
    case 1: (void)box_stats(box); break;
    case 2:
    case 3:
    case 4:
      if (!box_drops(s, box)) try_sends(s, box);
      break;
    default: try_recvs(s, box); break;
  }
  box_put(box);
}

/* --- the world --- */

static void world_open(source_t *s) {
  memset(&figures, 0, sizeof figures);
  for (size_t i = 0; i < SLOTS; i++) {
    assert_int_equal(uv_mutex_init(&slots[i].mutex), 0);
    slots[i].box = box_new(s);
  }
}

static void world_close_channels(source_t *s) {
  for (size_t i = 0; i < SLOTS; i++) {
    uvf_chan_close(slots[i].box->chan);
    if (one_in(&s->dice, 2)) box_drain(s, slots[i].box);
  }
}

/* Every loop and thread is gone. */
static void world_close(void) {
  for (size_t i = 0; i < SLOTS; i++) {
    HOLDS_FOR(atomic_load(&slots[i].box->users) == 1, i);
    box_put(slots[i].box);
    uv_mutex_destroy(&slots[i].mutex);
  }
}

#endif
