/* SPDX-License-Identifier: MIT */
#include "live.h"

enum { EVERY_MS = 50 };

/* The cursor to where the last drawing began, and that one away. */
static void wipe(live_t *live) {
  if (live->lines) printf("\033[%uF\033[J", live->lines);
  live->lines = 0;
}

/* Called by libuv. The drawing goes through a file, so that its lines can be counted. */
static void on_tick(uv_timer_t *timer) {
  live_t *live = timer->data;
  rewind(live->scratch);
  if (uvf_pipeline_draw(live->pipeline, live->scratch, UVF_DRAW_TEXT, live->flags)) return;
  long left = ftell(live->scratch);
  rewind(live->scratch);
  wipe(live);
  for (int c; left-- > 0 && (c = getc(live->scratch)) != EOF;) {
    putchar(c);
    live->lines += c == '\n';
  }
  fflush(stdout);
}

int live_begin(live_t *live, uvf_ctx_t *ctx, const uvf_pipeline_t *pipeline, unsigned int flags) {
  live->pipeline = pipeline;
  live->flags = flags;
  live->lines = 0;
  if (uv_guess_handle(1) != UV_TTY) return 0;
  if (!(live->scratch = tmpfile())) return UV_EIO;
  int err = uv_timer_init(uvf_ctx_loop(ctx), &live->timer);
  live->timer.data = live;
  if (!err && (err = uvf_guard_start(ctx, &live->guard, (uv_handle_t *)&live->timer, NULL)))
    uv_close((uv_handle_t *)&live->timer, NULL);
  if (!err) err = uv_timer_start(&live->timer, on_tick, EVERY_MS, EVERY_MS);
  return err;
}

void live_end(live_t *live) {
  wipe(live);
  uvf_guard_close(&live->guard); /* UV_EBUSY: it was never started */
  if (live->scratch) fclose(live->scratch);
  live->scratch = NULL;
}
