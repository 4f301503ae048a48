/* SPDX-License-Identifier: MIT
 *
 * Figures of a stage, for any thread, under the pipeline's lock: counters of the scheduler, and how long its calls
 * took, from samples (one for each chunk, which counts for all of its calls), in buckets that grow with the time.
 */
#include "flow/flow.h"

/* The longest time that is counted there. The first 2 * PARTS buckets are single nanoseconds, then each octave has
 * PARTS. */
static uint64_t edge_ns(unsigned int bucket) {
  unsigned int octave = bucket / UVF__LATENCY_PARTS;
  uint64_t part = bucket % UVF__LATENCY_PARTS;
  return octave < 2 ? bucket : ((UVF__LATENCY_PARTS + part + 1) << (octave - 1)) - 1;
}

/* The time that the given share of the calls did not exceed; at most a sixteenth too long. */
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
  return edge_ns(i);
}

int uvf_stage_stats(const uvf_stage_t *stage, uvf_stage_stats_t *stats) {
  uvf_pipeline_t *p;
  uint64_t ns;
  if (stage == NULL || stats == NULL) return UV_EINVAL;
  p = stage->pipeline;
  uvf__lock_many(&p->lock);
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
