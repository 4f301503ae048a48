/* SPDX-License-Identifier: MIT
 *
 * The share: how many threads of libuv's pool all jobs of the process may hold, and who gets the next one.
 */
#ifndef UVF_WORK_SHARE_H
#define UVF_WORK_SHARE_H

#include "kernel/hub.h"

/* Where a claimant stands. Its grant is a post: from GRANTED until that is applied it cannot join the line again, but
 * the loop, when it is in need and too busy to have applied it, may use the slot at once (USED). */
enum { UVF__CLAIM_NONE, UVF__CLAIM_IN_LINE, UVF__CLAIM_GRANTED, UVF__CLAIM_USED };

/* A hub's place in the line for a slot; while it is not NONE it is counted in hub->busy. */
typedef struct uvf__claimant_s {
  uvf__post_t grant; /* posted to the hub when it gets one */
  uvf__hub_t *hub;
  uint64_t since_ns;  /* when it was granted */
  _Atomic(int) stand; /* written under the share's lock */
  struct uvf__claimant_s *next;
} uvf__claimant_t;

/* Reads the environment, once. */
void uvf__share_init(void);

/* Threads of libuv's pool. */
unsigned int uvf__share_pool_size(void);

/* A slot now: 1; or a place in the line: 0 (nothing new, if it has one). Loop thread. */
int uvf__share_take(uvf__claimant_t *c);

/* Gives a slot back: the first in the line has it then. Any thread. */
void uvf__share_give(void);

/* The same for one that yields to others: if c is in the line itself, it goes behind them first. */
void uvf__share_yield(uvf__claimant_t *c);

/* For a runner of c's hub that has just given its slot back and sees a job: the loop may have found no slot while
 * this one was held, and be too busy to fetch the grant. 1: it has a slot again. Pool thread. */
int uvf__share_retake(uvf__claimant_t *c);

/* Gives up its place, or the slot it was granted. 1: it is NONE now, and not counted any more: the caller sees to
 * busy; 0: the post will come. Loop thread. */
int uvf__share_leave(uvf__claimant_t *c);

/* The grant's post has come: 1 if the slot is still to be used. Loop thread. */
int uvf__share_arrived(uvf__claimant_t *c);

/* More are held than allowed, since the limit was lowered. Any thread. */
int uvf__share_over(void);

/* Jobs may hold every thread of the pool: whoever else waits for one depends on us. Any thread. */
int uvf__share_is_whole_pool(void);

/* Gives a slot back if that is so: 1. Asked for by every runner, it sheds as many as there are too many. Any thread. */
int uvf__share_shed(void);

/* Somebody else than c is in the line. Any thread. */
int uvf__share_wanted(uvf__claimant_t *c);

#endif
