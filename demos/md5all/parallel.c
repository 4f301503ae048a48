/* SPDX-License-Identifier: MIT
 *
 * A job for every file, as soon as it is found: simple, and fast enough. But the walk waits for nobody: a tree of ten
 * million files becomes ten million jobs in memory. That is what the pipeline of bounded.c is for.
 */
#include <stdlib.h>

#include "modes.h"

typedef struct parallel_s {
  run_t *run;
  uv_idle_t walking; /* a step of the walk in every turn of the loop */
  int is_walking;
  size_t jobs; /* that have not ended */
  int err;
} parallel_t;

typedef struct file_job_s {
  uvf_work_t job;
  parallel_t *parallel;
  file_t *file;
  int err; /* of the file; 0: it was digested, or not begun */
} file_job_t;

static int stopped(void *arg) { return uvf_work_err(arg); }

/* Called by uvflow on a thread of the pool. */
static int digest_one(uvf_work_t *job) {
  file_job_t *one = container_of(job, file_job_t, job);
  run_t *run = one->parallel->run;
  digester_t digester = {0};
  one->err = digester_open(&digester, &run->algorithm);
  if (!one->err) one->err = digest_file(&digester, &run->tally, one->file, stopped, job);
  digester_close(&digester);
  return one->err;
}

/* Called by uvflow on the loop when the job has ended, or was withdrawn because the context has. */
static void on_digested(uvf_work_t *job, int status) {
  file_job_t *one = container_of(job, file_job_t, job);
  parallel_t *parallel = one->parallel;
  tally_t *tally = &parallel->run->tally;
  if (!status) {
    tally_digested(tally, one->file);
  } else if (one->err && one->err != UV_ECANCELED) {
    tally_failed(tally, one->file, one->err);
  } else {
    tally_not_done(tally, one->file);
  }
  free(one);
  parallel->jobs--;
}

static int on_found(void *arg, file_t *file) {
  parallel_t *parallel = arg;
  file_job_t *one = malloc(sizeof(*one));
  if (!one) return UV_ENOMEM;
  one->parallel = parallel;
  one->file = file;
  one->err = 0;
  int err = uvf_work_start(parallel->run->ctx, &one->job, digest_one, on_digested, NULL);
  if (err) free(one);
  if (!err) parallel->jobs++;
  return err;
}

static void on_walk_closed(uv_handle_t *handle) {
  parallel_t *parallel = container_of((uv_idle_t *)handle, parallel_t, walking);
  parallel->is_walking = 0;
}

/* Called by libuv in every turn. A step is short, so the loop stays awake for Ctrl-C and for jobs that end. */
static void on_idle(uv_idle_t *idle) {
  parallel_t *parallel = container_of(idle, parallel_t, walking);
  int err = uvf_ctx_err(parallel->run->ctx);
  if (!err) err = walk_step(&parallel->run->walk, on_found, parallel);
  if (!err) return;
  if (err != UV_EOF) parallel->err = err;
  uv_close(HANDLE(idle), on_walk_closed);
}

int parallel(run_t *run) {
  parallel_t parallel = {.run = run};
  uv_loop_t *loop = uvf_ctx_loop(run->ctx);
  int err = uv_idle_init(loop, &parallel.walking);
  if (err) return err;
  uv_idle_start(&parallel.walking, on_idle);
  parallel.is_walking = 1;
  while (parallel.is_walking || parallel.jobs) uv_run(loop, UV_RUN_ONCE);
  return parallel.err;
}
