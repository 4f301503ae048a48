/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "report.h"

enum { FIRST_MS = 200, EVERY_MS = 100, BAR = 24 }; /* a run that is over at once shows none */

int format_bytes(char *text, size_t size, double bytes) {
  static const char *const UNITS[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
  size_t unit = 0;
  while (bytes >= 999.95 && unit + 1 < sizeof(UNITS) / sizeof(UNITS[0])) {
    bytes /= 1000;
    unit++;
  }
  return snprintf(text, size, "%.*f %s", unit ? 1 : 0, bytes, UNITS[unit]);
}

/* While the walk goes on nobody knows how many files there will be, and no time that is left can be told. */
static void show(const tally_t *tally, double seconds) {
  unsigned long long found = atomic_load(&tally->found);
  unsigned long long ended = atomic_load(&tally->digested) + atomic_load(&tally->failed);
  double bytes = (double)atomic_load(&tally->bytes);
  char sum[32], rate[32];
  format_bytes(sum, sizeof(sum), bytes);
  format_bytes(rate, sizeof(rate), bytes / seconds);
  if (!atomic_load(&tally->walked)) {
    fprintf(stderr, "\r%llu files done, %llu found so far; %s, %s/s \033[K", ended, found, sum, rate);
    return;
  }
  char bar[BAR + 1];
  size_t filled = found ? (size_t)(ended * BAR / found) : BAR;
  memset(bar, '.', BAR);
  memset(bar, '#', filled < BAR ? filled : BAR);
  bar[BAR] = '\0';
  fprintf(stderr, "\r[%s] %llu of %llu files; %s, %s/s", bar, ended, found, sum, rate);
  if (ended) fprintf(stderr, "; about %.0f s left", seconds * (double)(found - ended) / (double)ended);
  fputs(" \033[K", stderr);
}

/* Called by libuv. */
static void on_tick(uv_timer_t *timer) {
  progress_t *progress = container_of(timer, progress_t, timer);
  atomic_store(&progress->tally->line_shown, 1);
  show(progress->tally, (double)(uv_hrtime() - progress->began_ns) / 1e9);
  fflush(stderr);
}

int progress_start(progress_t *progress, uvf_ctx_t *ctx, tally_t *tally) {
  progress->tally = tally;
  progress->began_ns = uv_hrtime();
  if (uv_guess_handle(2) != UV_TTY) return 0;
  int err = uv_timer_init(uvf_ctx_loop(ctx), &progress->timer);
  if (err) return err;
  err = uvf_guard_start(ctx, &progress->guard, HANDLE(&progress->timer), NULL);
  if (err) {
    uv_close(HANDLE(&progress->timer), NULL);
    return err;
  }
  return uv_timer_start(&progress->timer, on_tick, FIRST_MS, EVERY_MS);
}

void progress_wipe(tally_t *tally) {
  if (atomic_exchange(&tally->line_shown, 0)) fputs("\r\033[K", stderr);
}
