/* SPDX-License-Identifier: MIT */
#include "table.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_LEAST = 5 };

static void format_ns(char *buf, size_t size, uint64_t ns) {
  if (ns < 1000)
    snprintf(buf, size, "%" PRIu64 " ns", ns);
  else if (ns < UINT64_C(1000000))
    snprintf(buf, size, "%.1f us", (double)ns / 1e3);
  else if (ns < UINT64_C(1000000000))
    snprintf(buf, size, "%.1f ms", (double)ns / 1e6);
  else
    snprintf(buf, size, "%.1f s", (double)ns / 1e9);
}

static void format_rate(char *buf, size_t size, double rate) {
  if (rate < 1e3)
    snprintf(buf, size, "%.1f", rate);
  else if (rate < 1e6)
    snprintf(buf, size, "%.1fk", rate / 1e3);
  else
    snprintf(buf, size, "%.1fM", rate / 1e6);
}

static int name_width(const uvf_pipeline_t *pipeline) {
  size_t width = NAME_LEAST;
  const uvf_stage_t *stage;
  for (size_t i = 0; (stage = uvf_pipeline_stage(pipeline, i)) != NULL; i++) {
    uvf_stage_stats_t stats;
    uvf_stage_stats(stage, &stats);
    if (strlen(stats.name) > width) width = strlen(stats.name);
  }
  return (int)width;
}

int table_print(const uvf_pipeline_t *pipeline, FILE *f) {
  int width = name_width(pipeline);
  const uvf_stage_t *stage;
  fprintf(f, "%-*s %9s %9s %9s %9s %9s %9s %9s %9s %9s\n", width, "stage", "in", "out", "done", "failed", "dropped",
          "retried", "median", "99th", "per s");
  for (size_t i = 0; (stage = uvf_pipeline_stage(pipeline, i)) != NULL; i++) {
    uvf_stage_stats_t s;
    char median[32], p99[32], rate[32];
    uvf_stage_stats(stage, &s);
    format_ns(median, sizeof(median), s.median_ns);
    format_ns(p99, sizeof(p99), s.p99_ns);
    format_rate(rate, sizeof(rate), s.rate_per_s);
    fprintf(f, "%-*s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9s %9s %9s\n",
            width, s.name, s.in, s.out, s.done, s.failed, s.dropped, s.retried, median, p99, rate);
  }
  return fflush(f) || ferror(f) ? UV_EIO : 0;
}
