/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <stdlib.h>

enum {
  PERIOD_MS = 1000,
  SAMPLE = 8,       /* one in so many is timed: looking at the clock is a good part of what a small request costs */
  MOST_TIMES = 8192 /* then the newest replace the oldest */
};

struct batch_s {
  uint64_t began_ns;
  uint64_t count, timed;
  double rate_per_s;
  double p50_us, p99_us;
  uint64_t times_ns[MOST_TIMES];
};

void stats_note(stats_t *stats, uint64_t began_ns) {
  batch_t *batch = stats->batch;
  if (!batch || batch->count++ % SAMPLE) return;
  batch->times_ns[batch->timed++ % MOST_TIMES] = uv_hrtime() - began_ns;
}

static batch_t *new_batch(void) {
  batch_t *batch = malloc(sizeof(*batch));
  if (!batch) return NULL;
  batch->count = 0;
  batch->timed = 0;
  batch->began_ns = uv_hrtime();
  return batch;
}

/* --- second: on the loop ------------------------------------------------------------------------------------- */

/* Called by uvflow when the second is over, or the pipeline. */
static void on_second(uvf_sleep_t *sleep, int status) {
  stats_t *stats = container_of(sleep, stats_t, sleep);
  batch_t *full = stats->batch;
  uvf_flow_t *flow = stats->second;
  if (!status) {
    stats->batch = new_batch();
    if (full) status = uvf_emit(flow, 0, full);
    if (full && status) free(full);
  }
  uvf_flow_done(flow, status);
}

static int second(uvf_flow_t *flow, void *none) {
  stats_t *stats = flow->data;
  (void)none;
  stats->second = flow;
  return uvf_sleep_start(flow->ctx, &stats->sleep, PERIOD_MS, on_second);
}

/* --- sort: on the pool --------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return (x > y) - (x < y);
}

static int sort(uvf_flow_t *flow, void *item) {
  batch_t *batch = item;
  size_t n = batch->timed < MOST_TIMES ? (size_t)batch->timed : MOST_TIMES;
  qsort(batch->times_ns, n, sizeof(batch->times_ns[0]), compare);
  batch->p50_us = n ? (double)batch->times_ns[n / 2] / 1e3 : 0;
  batch->p99_us = n ? (double)batch->times_ns[n * 99 / 100] / 1e3 : 0;
  batch->rate_per_s = (double)batch->count * 1e9 / (double)(uv_hrtime() - batch->began_ns);
  return uvf_emit(flow, 0, batch);
}

/* --- publish: on the loop ------------------------------------------------------------------------------------ */

static int publish(uvf_flow_t *flow, void *item) {
  stats_t *stats = flow->data;
  const batch_t *batch = item;
  stats->rate_per_s = batch->rate_per_s;
  stats->p50_us = batch->p50_us;
  stats->p99_us = batch->p99_us;
  free(item);
  return 0;
}

/* --- the pipeline -------------------------------------------------------------------------------------------- */

static void drop(void *item, void *data) {
  (void)data;
  free(item);
}

/* Called by uvflow when nothing of it is left. */
static void on_over(uvf_pipeline_t *pipeline, int status, void *arg) {
  stats_t *stats = arg;
  (void)status; /* its context's end */
  free(stats->batch);
  stats->batch = NULL;
  stats->pipeline = NULL;
  uvf_pipeline_destroy(pipeline);
}

static int add(stats_t *stats, int kind, const char *name, uvf_stage_fn fn, uvf_stage_t **last) {
  uvf_stage_options_t options;
  uvf_stage_t *stage;
  uvf_stage_options_init(&options, kind, name, fn, stats);
  options.drop = drop;
  options.capacity = 4;
  if (kind == UVF_STAGE_ASYNC) options.inputs = 0; /* a source */
  int err = uvf_pipeline_add(stats->pipeline, &options, &stage);
  if (!err && *last) err = uvf_pipeline_chain(*last, stage);
  if (!err) *last = stage;
  return err;
}

int stats_start(stats_t *stats, uvf_ctx_t *ctx) {
  uvf_stage_t *last = NULL;
  int err = uvf_pipeline_create("times of answers", &stats->pipeline);
  if (err) return err;
  stats->batch = new_batch();
  if (!stats->batch) err = UV_ENOMEM;
  if (!err) err = add(stats, UVF_STAGE_ASYNC, "second", second, &last);
  if (!err) err = add(stats, UVF_STAGE_WORK, "sort", sort, &last);
  if (!err) err = add(stats, UVF_STAGE_LOOP, "publish", publish, &last);
  if (!err) err = uvf_pipeline_run(ctx, stats->pipeline, on_over, stats);
  if (err) on_over(stats->pipeline, err, stats);
  return err;
}

void stats_print(const stats_t *stats, FILE *out) {
  fprintf(out, "rate_per_s %.0f\np50_us %.1f\np99_us %.1f\n", stats->rate_per_s, stats->p50_us, stats->p99_us);
}
