/* SPDX-License-Identifier: MIT
 *
 * One item there and one back: what the rows of that latency share. A court is two channels; a player is a thread that
 * plays once there and back, as often as it is asked to; mixed is a player and a loop.
 */
#ifndef UVFLOW_BENCH_PONG_H
#define UVFLOW_BENCH_PONG_H

#include "bench_flow.h"

#define BALL ((void *)&bench_sink)

static inline void must_be_ball(const void *item) {
  if (item != (const void *)&bench_sink) bench_fail("an item has changed", 0);
}

/* --- a court (bench_pong.c) --------------------------------------------------------------------------------------- */

typedef struct court_s court_t;

typedef struct end_s {
  court_t *court;
  uvf_chan_t *in;
  uvf_chan_t *out;
  uvf_chan_each_t each;
  uvf_chan_req_t req; /* when out cannot take the ball at once */
  int sending;
  int due; /* came while the send before was still to be told of */
} end_t;

struct court_s {
  bench_loop_t b;
  end_t end[2];
  uint64_t left; /* times that it comes back */
  int over;
};

court_t *court_new(size_t capacity);
void court_delete(court_t *c);
/* The loop plays end i. */
void court_each(court_t *c, int i);
/* As a program does it that must not block: at once if there is room, else with a request. */
void court_hit(end_t *e);

/* --- a player, and one with a loop (bench_pong_thread.c) ---------------------------------------------------------- */

typedef struct player_s player_t;

struct player_s {
  uv_thread_t thread;
  uv_sem_t go;
  void (*play)(player_t *p); /* once there and back, on the thread */
  void *data;
  uint64_t pause_ns; /* before each */
  uint64_t todo;     /* 0: go home */
  uint64_t spent_ns;
  void (*done)(player_t *p);
};

void player_start(player_t *p, void (*play)(player_t *p), void (*done)(player_t *p), void *data, uint64_t pause_ns);
void player_go(player_t *p, uint64_t ops);
void player_stop(player_t *p);

/* That the thread is through comes by an async handle of its own, which stops the loop, and by a semaphore, after which
 * what it has counted may be read. Neither is timed. */
typedef struct mixed_s {
  player_t player;
  uv_async_t all;
  uv_sem_t through;
  bench_loop_t *b;
  court_t *court;     /* ours; the loop plays end 1 */
  bench_loop_t own;   /* raw */
  list_queue_t there; /* raw queues */
  ring_queue_t back;
  flow_node_t node;
  uv_async_t async; /* raw, bare */
  uv_sem_t sem;
} mixed_t;

void mixed_start(mixed_t *m, bench_loop_t *b, void (*play)(player_t *p), uint64_t pause_ns);
void mixed_stop(mixed_t *m);
void mixed_run(void *state, uint64_t ops, bench_sample_t *s);
mixed_t *ours_mixed_new(size_t capacity, uint64_t pause_ns);
void ours_mixed_teardown(void *state);

#define PONG_WHAT                                                                                                      \
  "One item through one channel and back through another, again and again; nothing else is in either. Timed: there "   \
  "and back. "

#endif
