/* SPDX-License-Identifier: MIT
 *
 * The books of the conservation soak: what became of every item, and what its sources keep.
 *
 * An item is a number, sent as the pointer of that value (number 0 is NULL, an item like any other). Its fate moves
 *
 *   NEW -> OUT (its source sends it) -> RECEIVED | DROPPED: by whoever got it, if it was OUT, else it was doubled
 *                                    -> RETURNED: by its source, whose send failed; from there OUT again, or never
 *
 * Fates are relaxed atomics on purpose: the order between a sender and a receiver must come from the channel alone.
 * Each item has a mark too, a plain word that its source writes before the send and that who gets it reads and wipes: a
 * channel that does not hand the sender's writes on is found out by a wrong mark, or by ThreadSanitizer.
 */
#ifndef UVFLOW_SOAK_CONSERVE_LEDGER_H
#define UVFLOW_SOAK_CONSERVE_LEDGER_H

#include "soak.h"

enum { NEW, OUT, RECEIVED, DROPPED, RETURNED, FATES };

enum { BLOCK = 64, STASH = 256, THREADS = 6, SOURCES = CREWS + THREADS + 1 };

/* Who sends: a thread, or all requests of one loop; the last one is the test's own. Each its thread's alone, but for
 * `moves`. */
typedef struct source_s {
  dice_t dice;
  size_t next, end, block; /* numbers it may send for the first time, and how many it was given at once */
  size_t nstash;
  void *stash[STASH]; /* RETURNED, to be sent again */
  uint64_t sent;      /* sends of its own that ended with 0 */
  uint64_t received;
  uint64_t merged;  /* items that merges passed on */
  uint64_t seen[8]; /* how often each kind of end came, see status_kind */
  atomic_size_t moves;
  char apart[64]; /* each source on cache lines of its own */
} source_t;

static struct {
  size_t n;
  atomic_uchar *fates;
  uint32_t *marks;
  atomic_size_t given; /* numbers that sources were given */
  atomic_size_t used;  /* of these, sent for the first time, block by block */
  atomic_size_t drops; /* calls of the drop function */
  atomic_size_t doubled;
} ledger;

static source_t sources[SOURCES];

/* --- items --- */

static uint32_t mark_of(size_t number) { return (uint32_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 32) | 1; }

static int all_used(void) { return atomic_load(&ledger.used) >= ledger.n; }

static void moved(source_t *s) {
  atomic_store_explicit(&s->moves, atomic_load_explicit(&s->moves, memory_order_relaxed) + 1, memory_order_relaxed);
}

static void refate(size_t number, unsigned char from, unsigned char to) {
  unsigned char old = atomic_exchange_explicit(&ledger.fates[number], to, memory_order_relaxed);
  if (old == from) return;
  atomic_fetch_add(&ledger.doubled, 1);
  HOLDS_FOR(old == from, number);
}

static int fresh(source_t *s, size_t *number) {
  if (s->next == s->end) {
    size_t start = atomic_load(&ledger.given) < ledger.n ? atomic_fetch_add(&ledger.given, BLOCK) : ledger.n;
    if (start >= ledger.n) return 0;
    s->next = start;
    s->end = ledger.n - start < BLOCK ? ledger.n : start + BLOCK;
    s->block = s->end - s->next;
  }
  *number = s->next++;
  if (s->next == s->end) atomic_fetch_add(&ledger.used, s->block);
  return 1;
}

/* An item to send: one that came back, or a new one. 0: none is left. */
static int item_take(source_t *s, void **item) {
  size_t number;
  if (s->nstash == 0 || (s->nstash < STASH / 2 && one_in(&s->dice, 4))) {
    if (fresh(s, &number)) {
      refate(number, NEW, OUT);
      ledger.marks[number] = mark_of(number);
      *item = (void *)(uintptr_t)number;
      return 1;
    }
    if (s->nstash == 0) return 0;
  }
  *item = s->stash[--s->nstash];
  refate((size_t)(uintptr_t)*item, RETURNED, OUT);
  return 1;
}

static size_t items_take(source_t *s, void **items, size_t max) {
  size_t n = 0;
  while (n < max && item_take(s, &items[n])) n++;
  return n;
}

/* A send that failed: nobody has seen the item. It is tried again, or kept for good. */
static void item_back(source_t *s, void *item) {
  size_t number = (size_t)(uintptr_t)item;
  refate(number, OUT, RETURNED);
  HOLDS_FOR(ledger.marks[number] == mark_of(number), number);
  if (s->nstash < STASH && !one_in(&s->dice, 128)) s->stash[s->nstash++] = item;
}

static void item_got(void *item, unsigned char fate) {
  size_t number = (size_t)(uintptr_t)item;
  HOLDS_FOR(number < ledger.n, number);
  if (number >= ledger.n) return;
  refate(number, OUT, fate);
  HOLDS_FOR(ledger.marks[number] == mark_of(number), number);
  ledger.marks[number] = 0;
}

static void items_got(source_t *s, void *const *items, size_t n) {
  for (size_t i = 0; i < n; i++) item_got(items[i], RECEIVED);
  s->received += n;
}

static void on_drop(void *item, void *arg) {
  HOLDS(arg == &ledger);
  atomic_fetch_add(&ledger.drops, 1);
  item_got(item, DROPPED);
}

/* --- how things end --- */

static const char *const kinds_of_end[8] = {"done", "closed", "canceled", "timed out", "not now"};

static int kind_of_end(int status) {
  switch (status) {
    case 0: return 0;
    case UV_EOF:
    case UV_EPIPE: return 1;
    case UV_ECANCELED: return 2;
    case UV_ETIMEDOUT: return 3;
    case UV_EAGAIN: return 4;
    default: return 5;
  }
}

/* Counts an end; of a failure it must be one of ours: `closed` is UV_EOF or UV_EPIPE, `not_now` UV_EAGAIN or 0. */
static void ended(source_t *s, int status, int closed, int not_now) {
  HOLDS_FOR(status == 0 || status == closed ||
                (not_now != 0 ? status == not_now : status == UV_ECANCELED || status == UV_ETIMEDOUT),
            status);
  s->seen[kind_of_end(status)]++;
  moved(s);
}

/* --- the balance --- */

typedef struct balance_s {
  size_t of[FATES];
  uint64_t sent, received, merged;
  uint64_t seen[8];
} balance_t;

/* Every thread is joined. */
static balance_t ledger_balance(void) {
  balance_t b;
  memset(&b, 0, sizeof b);
  for (size_t i = 0; i < ledger.n; i++) b.of[atomic_load_explicit(&ledger.fates[i], memory_order_relaxed)]++;
  for (size_t i = 0; i < SOURCES; i++) {
    b.sent += sources[i].sent;
    b.received += sources[i].received;
    b.merged += sources[i].merged;
    for (size_t k = 0; k < 8; k++) b.seen[k] += sources[i].seen[k];
  }
  return b;
}

static void ledger_open(size_t n, uint64_t *seed) {
  memset(&ledger, 0, sizeof ledger);
  memset(sources, 0, sizeof sources);
  ledger.n = n;
  ledger.fates = calloc(n, sizeof *ledger.fates);
  ledger.marks = calloc(n, sizeof *ledger.marks);
  assert_true(ledger.fates != NULL && ledger.marks != NULL);
  for (size_t i = 0; i < SOURCES; i++) sources[i].dice = dice_from(seed);
}

static void ledger_close(void) {
  free(ledger.fates);
  free(ledger.marks);
}

#endif
