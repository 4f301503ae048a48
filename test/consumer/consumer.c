/* SPDX-License-Identifier: MIT
 *
 * Uses something of every header of an installed uvflow: a job and a guarded timer under a deadline. Returns 0 when all of it worked.
 */
#include <stdio.h>
#include <uvflow.h>

static int ran;
static int answered;
static int handles_closed;
static int roots_closed;

static int work(uvf_work_t *job) {
  ran = 1;
  return uvf_ctx_err(job->ctx);
}

static void on_done(uvf_work_t *job, int status) {
  (void)job;
  answered += status == 0;
}

static void on_timer(uv_timer_t *timer) { (void)timer; }

static void on_handle_closed(uv_handle_t *handle) {
  (void)handle;
  handles_closed++;
}

static void on_root_closed(uvf_ctx_t *root) {
  (void)root;
  roots_closed++;
}

static int check(int ok, const char *what) {
  if (!ok) fprintf(stderr, "failed: %s\n", what);
  return ok ? 0 : 1;
}

int main(void) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  uvf_ctx_t *ctx;
  uvf_work_t job;
  uvf_guard_t guard;
  uv_timer_t timer;
  int failures = 0;

  failures += check(uvf_version() == UVF_VERSION_HEX, "the library is the headers' version");
  if (check(uv_loop_init(&loop) == 0, "uv_loop_init")) return 1;
  if (check(uvf_ctx_background(&loop, &root) == 0, "background")) return 1;
  if (check(uvf_ctx_with_timeout(root, 60000, &ctx) == 0, "with_timeout")) return 1;
  if (check(uvf_work_start(ctx, &job, work, on_done, NULL) == 0, "work_start")) return 1;
  if (check(uv_timer_init(&loop, &timer) == 0, "timer_init")) return 1;
  if (check(uv_timer_start(&timer, on_timer, 60000, 0) == 0, "timer_start")) return 1;
  if (check(uvf_guard_start(ctx, &guard, (uv_handle_t *)&timer, on_handle_closed) == 0, "guard_start")) return 1;

  while (!answered && uv_run(&loop, UV_RUN_ONCE)) {}
  failures += check(ran && answered == 1, "the job ran and was answered once");

  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  uvf_ctx_close(root, on_root_closed);
  uv_run(&loop, UV_RUN_DEFAULT);
  failures += check(handles_closed == 1, "the guarded timer was closed once");
  failures += check(roots_closed == 1, "the root was closed once");
  failures += check(uv_loop_close(&loop) == 0, "nothing is left on the loop");
  if (failures == 0) printf("uvflow %s works\n", uvf_version_string());
  return failures;
}
