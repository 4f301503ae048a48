/* SPDX-License-Identifier: MIT */
#include "report.h"

enum { EVERY_MS = 50 };

/* Called by libuv. */
static void on_tick(uv_timer_t *timer) {
  progress_t *progress = container_of(timer, progress_t, timer);
  const fan_t *fan = progress->fan;
  if (!fan->ctx) return; /* it has ended */
  double left = (double)uvf_ctx_remaining_ns(fan->ctx) / 1e9;
  fprintf(stderr, "\r%zu of %zu done, %zu under way, %.1f s until the deadline \033[K", fan->ended, fan->count,
          fan->running, left);
  fflush(stderr);
  progress->shown = 1;
}

int progress_start(progress_t *progress, uvf_ctx_t *ctx, const fan_t *fan) {
  progress->fan = fan;
  progress->shown = 0;
  if (uv_guess_handle(2) != UV_TTY) return 0;
  int err = uv_timer_init(uvf_ctx_loop(ctx), &progress->timer);
  if (err) return err;
  err = uvf_guard_start(ctx, &progress->guard, HANDLE(&progress->timer), NULL);
  if (err) {
    uv_close(HANDLE(&progress->timer), NULL);
    return err;
  }
  return uv_timer_start(&progress->timer, on_tick, EVERY_MS, EVERY_MS);
}

void progress_wipe(progress_t *progress) {
  if (!progress->shown) return;
  fputs("\r\033[K", stderr);
  progress->shown = 0;
}
