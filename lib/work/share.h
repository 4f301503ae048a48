/* SPDX-License-Identifier: MIT
 *
 * The share: how many threads of libuv's pool all jobs of the process may hold, and who gets the next one.
 */
#ifndef UVF_WORK_SHARE_H
#define UVF_WORK_SHARE_H

#include "kernel/hub.h"

/* A hub's place in the line for a slot. */
typedef struct uvf__claimant_s {
  uvf__post_t grant;     /* posted to the hub when it gets one; it must be counted in hub->busy while it waits */
  uvf__hub_t *hub;
  _Atomic(int) waiting;  /* set when it joins the line, cleared by whoever applies the grant or leaves */
  struct uvf__claimant_s *next;
} uvf__claimant_t;

/* Reads the environment, once. */
void uvf__share_init(void);

/* Threads of libuv's pool. */
unsigned int uvf__share_pool_size(void);

/* A slot now: 1; or a place in the line: 0 (nothing, if it has one). Loop thread. */
int uvf__share_take(uvf__claimant_t *c);

/* Gives a slot back: the first in the line has it then. Any thread. */
void uvf__share_give(void);

/* Out of the line: 1; 0 if the grant is on its way already. Loop thread. */
int uvf__share_leave(uvf__claimant_t *c);

/* More are held than allowed, since the limit was lowered. Any thread. */
int uvf__share_over(void);

/* Somebody else than c is in the line. Any thread. */
int uvf__share_wanted(uvf__claimant_t *c);

#endif
