/* SPDX-License-Identifier: MIT
 *
 * Many connections that do the same: what each does when it is open and then every so often is the case's, and how they
 * ended is counted.
 */
#ifndef UVFLOW_TEST_GATEWAY_SWARM_H
#define UVFLOW_TEST_GATEWAY_SWARM_H

#include "client.h"
#include "table.h"

typedef struct swarm_s swarm_t;

typedef struct member_s {
  client_t client;
  swarm_t *swarm;
  size_t index;
  size_t step; /* ticks it has seen, while open */
  int held;    /* the client is libuv's */
} member_t;

struct swarm_s {
  /* in, before swarm_start */
  int port;
  size_t n;
  size_t at_once; /* so many are opened at each tick; 0: all */
  uint64_t tick_ms;
  void (*on_open)(member_t *member); /* may be NULL, as the next two */
  void (*on_answer)(member_t *member, const answer_t *answer);
  void (*on_tick)(member_t *member); /* every tick_ms, from the first after on_open */
  void *data;
  /* counted */
  size_t opened;     /* connected */
  size_t not_opened; /* refused, timed out */
  size_t closed;     /* by the other side */
  size_t left;       /* closed here */
  size_t answers;
  size_t by_status[STATUSES_MOST];
  uint64_t last_closed_ns; /* uv_hrtime of the last that the other side closed */
  int open;                /* connections and the timer; 0: it is over */
  /* private */
  uv_loop_t *loop;
  uv_timer_t timer;
  member_t *members;
  size_t started;
};

void swarm_start(swarm_t *swarm, uv_loop_t *loop);

/* Closes those that are still there (reset: with RST), and the timer. Run the loop until swarm->open is 0. */
void swarm_leave(swarm_t *swarm, int reset);

void swarm_free(swarm_t *swarm);

#endif
