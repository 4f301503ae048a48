/* SPDX-License-Identifier: MIT
 *
 * Deadlines of a loop: a hierarchical timing wheel. Arm and disarm are O(1) and flat from one to a million; nothing
 * is allocated.
 */
#ifndef UVF_KERNEL_DEADLINE_H
#define UVF_KERNEL_DEADLINE_H

#include <stdint.h>

#include "kernel/list.h"

#define UVF__WHEEL_LEVELS 7
#define UVF__WHEEL_SLOTS 64

/* The clock of deadlines: uv_hrtime, unless a test has put its own in. */
extern uint64_t (*uvf__clock_ns)(void);

#define UVF__NS_PER_MS UINT64_C(1000000)

/* ms after now_ns; what is too far to be counted is UINT64_MAX: never. */
static inline uint64_t uvf__after_ms(uint64_t now_ns, uint64_t ms) {
  return ms > (UINT64_MAX - now_ns) / UVF__NS_PER_MS ? UINT64_MAX : now_ns + ms * UVF__NS_PER_MS;
}

/* A uvf__deadline_t whose link.prev is NULL is not armed. */

typedef struct uvf__wheel_s {
  uint64_t tick; /* time of the last run, in ticks of 2^20 ns */
  uint64_t armed;
  uint64_t bits[UVF__WHEEL_LEVELS]; /* slot s of level l is not empty */
  uvf__link_t *slots[UVF__WHEEL_LEVELS][UVF__WHEEL_SLOTS];
} uvf__wheel_t;

void uvf__wheel_init(uvf__wheel_t *w, uint64_t now_ns);

/* Arms d for d->at_ns. Returns when the wheel wants to run next because of it: at_ns, or earlier for a far one;
 * UINT64_MAX for one that is further than the wheel reaches (146 years), which is not armed at all. */
uint64_t uvf__wheel_arm(uvf__wheel_t *w, uvf__deadline_t *d);

/* Takes d out, wherever it is; it must be armed or on a list of due ones. */
void uvf__wheel_disarm(uvf__wheel_t *w, uvf__deadline_t *d);

/* Moves what is due (at_ns <= now_ns) to *due, which must be empty; they still count as armed until disarmed. Never
 * gives one that is not due. */
void uvf__wheel_run(uvf__wheel_t *w, uint64_t now_ns, uvf__link_t **due);

/* When it wants to run next; UINT64_MAX: never. */
uint64_t uvf__wheel_next(const uvf__wheel_t *w);

#endif
