/* SPDX-License-Identifier: MIT
 *
 * What several peers in C and C++ do alike: the rows' work, and looking at what malloc has handed out.
 */
#ifndef UVFLOW_BENCH_PEER_WORK_H
#define UVFLOW_BENCH_PEER_WORK_H

#include <malloc.h>

#include "peer.h"

#define PEER_SEED UINT64_C(0x9e3779b97f4a7c15)

/* The row random-1m: which one is next. */
static inline size_t peer_random(uint64_t *seed, size_t n) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return (size_t)(*seed % n);
}

/* The row job-1us-w4: reads the clock until so much time is over. */
static inline void peer_spin_clock(uint64_t ns) {
  uint64_t from = peer_now_ns();
  while (peer_now_ns() - from < ns) {}
}

/* A pipeline's items are 1, 3, 5 ...: what so many of them, squared so many times, add up to. */
static inline uint64_t peer_sum_of(uint64_t items, size_t squares) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < items; i++) {
    uint64_t number = 2 * i + 1;
    for (size_t k = 0; k < squares; k++) number *= number;
    sum += number;
  }
  return sum;
}

/* The row bytes: what malloc has handed out, its own 8 bytes and rounding a block included. */
static inline uint64_t peer_allocated(void) {
  struct mallinfo2 m = mallinfo2();
  return (uint64_t)m.uordblks + (uint64_t)m.hblkhd;
}

#endif
