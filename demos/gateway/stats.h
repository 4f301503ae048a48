/* SPDX-License-Identifier: MIT
 *
 * How long answers take: a pipeline that looks once a second. The loop only notes times; sorting them is a matter of
 * the thread pool.
 *
 *   second (on the loop)  ->  sort (on the pool)  ->  publish (on the loop)
 */
#ifndef GATEWAY_STATS_H
#define GATEWAY_STATS_H

#include "server.h"

typedef struct batch_s batch_t;

typedef struct stats_s {
  /* of the last second */
  double rate_per_s;
  double p50_us, p99_us;
  /* of stats.c */
  uvf_pipeline_t *pipeline; /* NULL: it does not run */
  uvf_flow_t *second;
  uvf_sleep_t sleep;
  batch_t *batch; /* that is being filled; NULL: times are not noted */
} stats_t;

/* Runs it under ctx, until that ends. 0 or UV_E*. */
int stats_start(stats_t *stats, uvf_ctx_t *ctx);

/* Notes that a request was answered, and of one in so many how long it took. */
void stats_note(stats_t *stats, uint64_t began_ns);

void stats_print(const stats_t *stats, FILE *out);

#endif
