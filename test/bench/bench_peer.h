/* SPDX-License-Identifier: MIT
 *
 * Peers: programs that do a row's work by other means (peers/peer.h says how they are spoken to).
 */
#ifndef UVFLOW_BENCH_PEER_RUN_H
#define UVFLOW_BENCH_PEER_RUN_H

#include <stdio.h>

#include "bench.h"
#include "bench_child.h"

typedef struct bench_peer_impl_s {
  char program[1024];
  char row[64]; /* "rotate-*" is every row that begins so */
  char name[96];
} bench_peer_impl_t;

/* Asks every program in the directory what it has, in the order of their names. NULL: there are no peers. */
void bench_peers_find(const char *directory);

/* The nth implementation of the row; NULL when there are no more. */
const bench_peer_impl_t *bench_peer_of(const bench_row_t *row, int nth);

/* One line for each program: what it says of itself. */
void bench_peers_about(FILE *out);

typedef struct bench_peer_work_s {
  size_t size;
  unsigned int workers;
  uint64_t sample_ns;
  int once;
} bench_peer_work_t;

/* Starts the program and waits until it is warm. NULL: it has failed, and standard error says how. */
bench_child_t *bench_peer_start(const bench_peer_impl_t *impl, const bench_row_t *row, const bench_peer_work_t *work);
/* Has it take a sample and waits for that. Not 0: it has failed. */
int bench_peer_sample(bench_child_t *run, bench_sample_t *s);
/* Ends it and waits for its end. Not 0: it has failed. */
int bench_peer_stop(bench_child_t *run);

#endif
