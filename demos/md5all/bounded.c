/* SPDX-License-Identifier: MIT
 *
 * walk -> digest -> collect: a pipeline. The walk is held up while CAPACITY files are found and not begun, so memory
 * does not depend on how many there are (but for the result, which has to be sorted).
 */
#include <stdlib.h>

#include "modes.h"
#include "report.h"

enum { CAPACITY = 1024 }; /* enough for the walk to be ahead of big directories, and some 200 KiB */

typedef struct bounded_s {
  run_t *run;
  uvf_pipeline_t *pipeline;
  digester_t *digesters; /* one for each worker */
  int over;
  int status;
} bounded_t;

/* --- the stages ---------------------------------------------------------------------------------------------- */

static int on_found(void *arg, file_t *file) { return uvf_emit(arg, 0, file); }

/* SOURCE, on the pool. */
static int walk(uvf_flow_t *flow, void *item) {
  bounded_t *bounded = flow->data;
  (void)item;
  return walk_step(&bounded->run->walk, on_found, flow);
}

static int stopped(void *arg) { return uvf_flow_err(arg); }

/* WORK, on up to --workers threads of the pool. What it returns an error for is given up. */
static int digest(uvf_flow_t *flow, void *item) {
  bounded_t *bounded = flow->data;
  file_t *file = item;
  file->status = digest_file(&bounded->digesters[flow->worker], &bounded->run->tally, file, stopped, flow);
  return file->status ? file->status : uvf_emit(flow, 0, file);
}

/* WORK with one worker: so one thread at a time, but whichever has just digested something. A LOOP stage would do, and
 * wake the loop's thread for every few files. */
static int collect(uvf_flow_t *flow, void *item) {
  bounded_t *bounded = flow->data;
  tally_digested(&bounded->run->tally, item);
  return 0;
}

/* Called by uvflow, on any thread, with a file whose digest failed or that nobody will see to any more. */
static void give_up(void *item, void *data) {
  bounded_t *bounded = data;
  file_t *file = item;
  if (file->status && file->status != UV_ECANCELED) {
    tally_failed(&bounded->run->tally, file, file->status);
  } else {
    tally_not_done(&bounded->run->tally, file);
  }
}

/* --- the pipeline -------------------------------------------------------------------------------------------- */

static int add_stage(bounded_t *bounded, uvf_stage_options_t *options, uvf_stage_t **last) {
  uvf_stage_t *stage;
  options->capacity = CAPACITY;
  options->drop = give_up;
  int err = uvf_pipeline_add(bounded->pipeline, options, &stage);
  if (!err && *last) err = uvf_pipeline_chain(*last, stage);
  *last = stage;
  return err;
}

static int build(bounded_t *bounded) {
  uvf_stage_options_t options;
  uvf_stage_t *last = NULL;
  int err = uvf_pipeline_create("md5all", &bounded->pipeline);
  if (err) return err;
  uvf_stage_options_init(&options, UVF_STAGE_SOURCE, "walk", walk, bounded);
  if ((err = add_stage(bounded, &options, &last))) return err;
  uvf_stage_options_init(&options, UVF_STAGE_WORK, "digest", digest, bounded);
  options.workers = bounded->run->options->workers;
  options.on_error = UVF_ON_ERROR_SKIP;
  if ((err = add_stage(bounded, &options, &last))) return err;
  uvf_stage_options_init(&options, UVF_STAGE_WORK, "collect", collect, bounded);
  return add_stage(bounded, &options, &last);
}

/* Called by uvflow on the loop when no file is left in the pipeline. */
static void on_over(uvf_pipeline_t *pipeline, int status, void *arg) {
  bounded_t *bounded = arg;
  (void)pipeline;
  bounded->over = 1;
  bounded->status = status;
}

static int run_pipeline(bounded_t *bounded) {
  run_t *run = bounded->run;
  int err = 0;
  bounded->digesters = calloc(run->options->workers, sizeof(*bounded->digesters));
  if (!bounded->digesters) return UV_ENOMEM;
  for (unsigned int i = 0; i < run->options->workers && !err; i++) {
    err = digester_open(&bounded->digesters[i], &run->algorithm);
  }
  if (!err) err = uvf_pipeline_run(run->ctx, bounded->pipeline, on_over, bounded);
  if (!err) {
    while (!bounded->over) uv_run(uvf_ctx_loop(run->ctx), UV_RUN_ONCE);
    err = bounded->status;
    if (run->options->stats && report_stages(bounded->pipeline) && !err) err = UV_EPROTO;
  }
  for (unsigned int i = 0; i < run->options->workers; i++) digester_close(&bounded->digesters[i]);
  free(bounded->digesters);
  return err;
}

int bounded(run_t *run) {
  bounded_t bounded = {.run = run};
  int err = build(&bounded);
  if (!err) err = run_pipeline(&bounded);
  uvf_pipeline_destroy(bounded.pipeline);
  return err;
}

int bounded_draw(run_t *run) {
  bounded_t bounded = {.run = run};
  int err = build(&bounded);
  if (!err) err = report_drawing(bounded.pipeline);
  uvf_pipeline_destroy(bounded.pipeline);
  return err;
}
