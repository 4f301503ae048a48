/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdlib.h>
#include <string.h>

/* "12 ns", "3.4 us", ... */
static const char *format_time(char *text, size_t size, uint64_t ns) {
  static const char *const UNITS[] = {"ns", "us", "ms", "s"};
  double value = (double)ns;
  size_t unit = 0;
  for (; value >= 1000 && unit < 3; unit++) value /= 1000;
  snprintf(text, size, "%.*f %s", unit && value < 100 ? 1 : 0, value, UNITS[unit]);
  return text;
}

/* One stage; what it emitted. */
static int report_stage(const uvf_stage_t *stage, uint64_t *out) {
  uvf_stage_stats_t stats;
  char median[32], p99[32];
  uvf_stage_stats(stage, &stats);
  fprintf(stderr, "%-8s %9llu %9llu %9llu %7llu %8llu %9s %9s %11.0f\n", stats.name, (unsigned long long)stats.in,
          (unsigned long long)stats.out, (unsigned long long)stats.done, (unsigned long long)stats.failed,
          (unsigned long long)stats.dropped, format_time(median, sizeof(median), stats.median_ns),
          format_time(p99, sizeof(p99), stats.p99_ns), stats.rate_per_s);
  /* Each item that came to it has ended in one of three ways; and of a chain, each that was emitted has arrived. */
  int fits = stats.in == stats.done + stats.failed + stats.dropped && (!*out || *out == stats.in);
  *out = stats.out;
  return fits ? 0 : UV_EPROTO;
}

int report_stages(const uvf_pipeline_t *pipeline) {
  int err = 0;
  uint64_t out = 0;
  uvf_stage_t *stage;
  fprintf(stderr, "%-8s %9s %9s %9s %7s %8s %9s %9s %11s\n", "stage", "in", "out", "done", "failed", "dropped",
          "median", "99%", "done/s");
  for (size_t i = 0; (stage = uvf_pipeline_stage(pipeline, i)); i++) {
    if (report_stage(stage, &out)) err = UV_EPROTO;
  }
  fputs(err ? "the counts of the stages do not add up\n" : "at every stage in = done + failed + dropped\n", stderr);
  return err;
}

void report_totals(const tally_t *tally, uint64_t took_ns) {
  char text[192], time[32], rate[32];
  tally_describe(tally, text, sizeof(text));
  format_bytes(rate, sizeof(rate), (double)atomic_load(&tally->bytes) * 1e9 / (double)took_ns);
  fprintf(stderr, "%s in %s, %s/s\n", text, format_time(time, sizeof(time), took_ns), rate);
  fputs(tally_adds_up(tally) ? "found = digested + failed + not done\n" : "the counts of the files do not add up\n",
        stderr);
}

/* Lines of ASCII where others might come out as something else. */
static int is_utf8(void) {
  static const char *const VARIABLES[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (size_t i = 0; i < sizeof(VARIABLES) / sizeof(VARIABLES[0]); i++) {
    const char *value = getenv(VARIABLES[i]);
    if (value && *value) return strstr(value, "UTF-8") || strstr(value, "utf8") || strstr(value, "utf-8");
  }
  return 0;
}

int report_drawing(const uvf_pipeline_t *pipeline) {
  unsigned int flags = uv_guess_handle(1) == UV_TTY && is_utf8() ? 0 : UVF_DRAW_PLAIN;
  return uvf_pipeline_draw(pipeline, stdout, UVF_DRAW_TEXT, flags);
}
