/* SPDX-License-Identifier: MIT
 *
 * Figures of a stage, for any thread, under the pipeline's lock: counters of the scheduler, and how long its calls
 * took, from samples (one for each chunk, which counts for all of its calls), in buckets of half powers of two.
 */
#include "flow/flow.h"

/* The time below which the given share of the calls stayed: the upper edge of its bucket. */
static uint64_t quantile_ns(const uvf_stage_t *s, double share) {
  uint64_t all = 0;
  uint64_t sum = 0;
  unsigned int i = 0;
  for (unsigned int k = 0; k < UVF__LATENCY_BUCKETS; k++) all += s->latency[k];
  if (all == 0) return 0;
  for (; i < UVF__LATENCY_BUCKETS - 1; i++) {
    sum += s->latency[i];
    if ((double)sum >= share * (double)all) break;
  }
  return (i & 1 ? UINT64_C(3) << (i / 2) : UINT64_C(2) << (i / 2));
}

int uvf_stage_stats(const uvf_stage_t *stage, uvf_stage_stats_t *stats) {
  uvf_pipeline_t *p;
  uint64_t ns;
  if (stage == NULL || stats == NULL) return UV_EINVAL;
  p = stage->pipeline;
  uvf__lock(&p->lock);
  stats->name = stage->name;
  stats->in = stage->in;
  stats->out = stage->out;
  stats->done = stage->done;
  stats->failed = stage->failed;
  stats->dropped = stage->dropped;
  stats->retried = stage->retried;
  stats->queued = stage->queued;
  stats->busy = stage->busy;
  stats->median_ns = quantile_ns(stage, 0.5);
  stats->p99_ns = quantile_ns(stage, 0.99);
  stats->finished = stage->finished;
  ns = p->start_ns == 0 ? 0 : (p->running ? uv_hrtime() : p->end_ns) - p->start_ns;
  stats->rate_per_s = ns == 0 ? 0 : (double)stage->done * 1e9 / (double)ns;
  uvf__unlock(&p->lock);
  return 0;
}
