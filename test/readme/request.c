/* SPDX-License-Identifier: MIT
 *
 * A first program, from README.md and the headers: a timeout, a request value and a pool job, once in time and once not.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

static const char request_id_key;

struct sum {
  uvf_work_t job;
  unsigned int ms;
  long result;
};

static int sum_fn(uvf_work_t *job) {
  struct sum *s = job->data;
  printf("(%s) begins\n", (const char *)uvf_ctx_value(job->ctx, &request_id_key));
  for (unsigned int i = 0; i < s->ms / 10; i++) {
    int err = uvf_work_err(job);
    if (err) return err;
    uv_sleep(10);
    s->result += i;
  }
  return 0;
}

static void sum_done(uvf_work_t *job, int status) {
  struct sum *s = job->data;
  const char *id = uvf_ctx_value(job->ctx, &request_id_key);
  if (status) {
    printf("(%s) failed: %s, cause %s\n", id, uv_err_name(status), uv_err_name(uvf_ctx_cause(job->ctx, NULL)));
  } else {
    printf("(%s) result %ld\n", id, s->result);
  }
}

static void sum_release(uvf_work_t *job) { free(job->data); }

static void id_free(void *value) {
  printf("(%s) freed\n", (char *)value);
  free(value);
}

static int request(uvf_ctx_t *root, const char *id, unsigned int work_ms, unsigned int timeout_ms) {
  uvf_ctx_t *timed, *ctx;
  struct sum *s;
  char *copy;
  int err = uvf_ctx_with_timeout(root, timeout_ms, &timed);
  if (err) return err;
  copy = malloc(strlen(id) + 1);
  err = copy != NULL ? uvf_ctx_with_value(timed, &request_id_key, strcpy(copy, id), id_free, &ctx) : UV_ENOMEM;
  uvf_ctx_release(timed);
  if (err) {
    free(copy);
    return err;
  }
  s = calloc(1, sizeof *s);
  if (s == NULL) {
    uvf_ctx_release(ctx);
    return UV_ENOMEM;
  }
  s->job.data = s;
  s->ms = work_ms;
  err = uvf_work_start(ctx, &s->job, sum_fn, sum_done, sum_release);
  if (err) free(s);
  uvf_ctx_release(ctx);
  return err;
}

int main(void) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err;
  if (uv_loop_init(&loop) || uvf_ctx_background(&loop, &root)) return 1;
  if (request(root, "fast", 50, 20000)) return 1;
  if (request(root, "slow", 60000, 100)) return 1;
  uv_run(&loop, UV_RUN_DEFAULT);
  uvf_ctx_close(root, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  err = uv_loop_close(&loop);
  printf("uv_loop_close %d\n", err);
  return err != 0;
}
