/* SPDX-License-Identifier: MIT
 *
 * The wheel: level l has 64 slots of 64^l ticks each; a tick is 2^20 ns (1.05 ms). A deadline is filed by the highest
 * 6-bit digit in which its tick differs from the wheel's: near ones precisely, far ones coarsely; they move down when
 * their slot's time comes, at most once a level.
 *
 * Invariants (loop thread only; no lock)
 * 1. All of level l lie before all of level l+1, and within a level slots are in order of time, none before the
 *    wheel's own digit. So the next one is in the first used slot of the lowest used level.
 * 2. bits[l] has bit s exactly when slots[l][s] is not empty.
 * 3. Nothing is given out as due unless at_ns <= now_ns was checked for itself, or its whole tick is past: never
 *    early.
 * 4. A deadline on the list of due ones has left its slot: its prev pointer leads outside `slots`, which is how
 *    disarm tells.
 */
#include "kernel/deadline.h"

#include <string.h>
#include <uv.h>

#include "kernel/atomic.h"

#define TICK_BITS 20
#define DIGIT_BITS 6
#define DIGIT_MASK 63u
#define SCAN_MAX 256

uint64_t (*uvf__clock_ns)(void) = uv_hrtime;

/* Position of the highest set bit; v is not 0. */
static unsigned int high_bit(uint64_t v) {
#if defined(__GNUC__) || defined(__clang__)
  return 63u - (unsigned int)__builtin_clzll(v);
#else
  unsigned int n = 0;
  while (v >>= 1) n++;
  return n;
#endif
}

static unsigned int low_bit(uint64_t v) {
#if defined(__GNUC__) || defined(__clang__)
  return (unsigned int)__builtin_ctzll(v);
#else
  unsigned int n = 0;
  while (!(v & 1)) v >>= 1, n++;
  return n;
#endif
}

static uvf__deadline_t *deadline_of(uvf__link_t *link) { return UVF__CONTAINER(link, uvf__deadline_t, link); }

void uvf__wheel_init(uvf__wheel_t *w, uint64_t now_ns) {
  memset(w, 0, sizeof *w);
  w->tick = now_ns >> TICK_BITS;
}

/* Files d; returns the time its slot begins, or at_ns where the slot is one tick. */
static uint64_t file(uvf__wheel_t *w, uvf__deadline_t *d) {
  uint64_t tick = d->at_ns >> TICK_BITS;
  uint64_t differs;
  unsigned int level = 0;
  unsigned int shift;
  unsigned int slot;
  if (tick < w->tick) tick = w->tick;
  differs = tick ^ w->tick;
  if (differs > DIGIT_MASK) level = high_bit(differs) / DIGIT_BITS;
  if (level >= UVF__WHEEL_LEVELS) {
    d->link.prev = NULL;
    return UINT64_MAX;
  }
  shift = level * DIGIT_BITS;
  slot = (unsigned int)(tick >> shift) & DIGIT_MASK;
  uvf__link_push(&w->slots[level][slot], &d->link);
  w->bits[level] |= UINT64_C(1) << slot;
  return level == 0 ? d->at_ns : tick >> shift << shift << TICK_BITS;
}

uint64_t uvf__wheel_arm(uvf__wheel_t *w, uvf__deadline_t *d) {
  uint64_t wake = file(w, d);
  if (wake != UINT64_MAX) w->armed++;
  return wake;
}

void uvf__wheel_disarm(uvf__wheel_t *w, uvf__deadline_t *d) {
  uvf__link_t **prev = d->link.prev;
  uvf__link_remove(&d->link);
  w->armed--;
  if (*prev == NULL) {
    uvf__link_t **first = &w->slots[0][0];
    uintptr_t offset = (uintptr_t)prev - (uintptr_t)first;
    if (offset < sizeof w->slots) {
      size_t i = offset / sizeof *first;
      w->bits[i / UVF__WHEEL_SLOTS] &= ~(UINT64_C(1) << (i % UVF__WHEEL_SLOTS));
    }
  }
}

/* The first used slot and its first tick; 0 if the wheel is empty. */
static int first_slot(const uvf__wheel_t *w, unsigned int *level, unsigned int *slot, uint64_t *tick) {
  for (unsigned int l = 0; l < UVF__WHEEL_LEVELS; l++) {
    unsigned int shift = l * DIGIT_BITS;
    if (w->bits[l] == 0) continue;
    *level = l;
    *slot = low_bit(w->bits[l]);
    *tick = ((w->tick >> shift & ~(uint64_t)DIGIT_MASK) | *slot) << shift;
    return 1;
  }
  return 0;
}

/* Moves a slot's nodes to the end of the due ones at *end, in the order they were armed; all of them, or those whose
 * time has come. Returns the new end. */
static uvf__link_t **take_due(uvf__link_t **from, int all, uint64_t now_ns, uvf__link_t **end) {
  uvf__link_t **new_end = end;
  uvf__link_t *next;
  for (uvf__link_t *n = *from; n != NULL; n = next) {
    next = n->next;
    if (!all && deadline_of(n)->at_ns > now_ns) continue;
    uvf__link_remove(n);
    uvf__link_push(end, n); /* a slot holds the newest first: this turns them round */
    if (new_end == end) new_end = &n->next;
  }
  return new_end;
}

/* Nodes of one slot of a higher level go down, each to the level its time is now at. */
static void cascade(uvf__wheel_t *w, unsigned int level, unsigned int slot) {
  uvf__link_t *list;
  uvf__link_t *next;
  uvf__link_move(&w->slots[level][slot], &list);
  w->bits[level] &= ~(UINT64_C(1) << slot);
  for (uvf__link_t *n = list; n != NULL; n = next) {
    next = n->next;
    file(w, deadline_of(n));
  }
}

void uvf__wheel_run(uvf__wheel_t *w, uint64_t now_ns, uvf__link_t **due) {
  uint64_t target = now_ns >> TICK_BITS;
  unsigned int level;
  unsigned int slot;
  uint64_t tick;
  if (target < w->tick) return;
  while (first_slot(w, &level, &slot, &tick) && tick <= target) {
    w->tick = tick;
    if (level > 0) {
      cascade(w, level, slot);
      continue;
    }
    due = take_due(&w->slots[0][slot], tick < target, now_ns, due);
    if (w->slots[0][slot] != NULL) break; /* the rest of this very tick */
    w->bits[0] &= ~(UINT64_C(1) << slot);
  }
  w->tick = target;
}

uint64_t uvf__wheel_next(const uvf__wheel_t *w) {
  unsigned int level;
  unsigned int slot;
  uint64_t tick;
  uint64_t min = UINT64_MAX;
  int scanned = 0;
  if (!first_slot(w, &level, &slot, &tick)) return UINT64_MAX;
  if (level > 0) return tick << TICK_BITS;
  for (uvf__link_t *n = w->slots[0][slot]; n != NULL; n = n->next) {
    if (deadline_of(n)->at_ns < min) min = deadline_of(n)->at_ns;
    if (++scanned == SCAN_MAX) return tick << TICK_BITS; /* too many to look at: come when the tick begins */
  }
  return min;
}
