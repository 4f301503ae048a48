/* SPDX-License-Identifier: MIT
 *
 * What a server counts. Every request is counted in once and out once, with the status it was answered with: the sum of
 * all statuses is `answered`, and begun = answered + in flight at any time.
 */
#ifndef GATEWAY_COUNTERS_H
#define GATEWAY_COUNTERS_H

#include <stdint.h>
#include <stdio.h>

/* Those that are counted apart. */
#define COUNTED_STATUSES(X) X(200) X(400) X(404) X(405) X(499) X(502) X(503) X(504)

#define COUNTERS_ENUM(status) STATUS_##status,
enum { COUNTED_STATUSES(COUNTERS_ENUM) STATUS_OTHER, STATUS_COUNT };
#undef COUNTERS_ENUM

typedef struct counters_s {
  uint64_t begun;
  uint64_t answered;
  uint64_t by_status[STATUS_COUNT];
  uint64_t accepted;
  uint64_t evicted;
  uint64_t timed_out_idle;
  uint64_t timed_out_request;
  uint64_t timed_out_answer;
  uint64_t accept_errors;
} counters_t;

void counters_answer(counters_t *counters, int status);

/* "name value" a line. */
void counters_print(const counters_t *counters, FILE *out);

#endif
