/* SPDX-License-Identifier: MIT */
#include "bench_pipe.h"

/* Each turn needs the one before: a processor cannot overlap them. The compiler cannot leave them out either: the last
 * state decides what is returned, if only in a case that practically never comes. Nor can it make one turn of many, as
 * it could of a multiplication and an addition. The peers do the same. */
uint64_t pipe_spin(uint64_t number, uint64_t spins) {
  uint64_t state = number;
  for (uint64_t i = 0; i < spins; i++) state = (state ^ state >> 29) * UINT64_C(6364136223846793005);
  return state == UINT64_C(0x5851f42d4c957f2d) ? 1 : number;
}

#define CALIBRATION_SPINS 200000
#define CALIBRATION_ROUNDS 20

uint64_t pipe_spins_for(uint64_t ns) {
  static uint64_t best_ns; /* the rounds that were interrupted are longer */
  for (int round = 0; round < CALIBRATION_ROUNDS && (round > 0 || !best_ns); round++) {
    uint64_t start = uv_hrtime();
    bench_sink = (uintptr_t)pipe_spin(bench_sink | 1, CALIBRATION_SPINS);
    uint64_t took = uv_hrtime() - start;
    if (!best_ns || took < best_ns) best_ns = took;
  }
  return ns * CALIBRATION_SPINS / best_ns;
}

uint64_t pipe_expected(const pipe_task_t *task, uint64_t items) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < items; i++) {
    uint64_t number = pipe_number(i);
    for (unsigned int k = 0; k < task->squares; k++) number *= number;
    sum += number;
  }
  return sum;
}
