/* SPDX-License-Identifier: MIT
 *
 * The figures as JSON, one object a line and one line for each implementation of each row:
 *   row, name (what the row is), impl, ns (the median), min, max, unit ("ns" or "bytes", of all three), samples
 * and where they are known: cpu_ns, goal (with ours), x_ours and its interval, workers.
 */
#include <stdio.h>

#include "bench.h"
#include "bench_report.h"

static FILE *json;
static unsigned int forced_workers;

void bench_json_open(const bench_options_t *o) {
  forced_workers = o->workers;
  if (!o->json) return;
  json = fopen(o->json, "w");
  if (!json) bench_fail(o->json, UV_EIO);
}

/* The names are the bench's and its peers' own: printable, and only quotes and backslashes want an escape. */
static void quoted(const char *text) {
  fputc('"', json);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', json);
    fputc(*text, json);
  }
  fputc('"', json);
}

static void line(const bench_outcome_t *outcome, int i) {
  const bench_row_t *row = outcome->row;
  const bench_result_t *r = &outcome->results[i];
  double goal = i == 0 ? bench_goal(row, outcome->results) : 0;
  fputs("{\"row\":", json);
  quoted(row->name);
  fputs(",\"name\":", json);
  quoted(row->title);
  fputs(",\"impl\":", json);
  quoted(outcome->names[i]);
  fprintf(json, ",\"ns\":%.3f,\"min\":%.3f,\"max\":%.3f,\"unit\":\"%s\",\"samples\":%d", r->median, r->min, r->max,
          row->flags & BENCH_BYTES ? "bytes" : "ns", r->samples);
  if (r->cpu > 0) fprintf(json, ",\"cpu_ns\":%.3f", r->cpu);
  if (goal > 0) fprintf(json, ",\"goal\":%.0f", goal);
  if (r->ratio > 0) {
    fprintf(json, ",\"x_ours\":%.4f,\"x_ours_low\":%.4f,\"x_ours_high\":%.4f", r->ratio, r->ratio_low, r->ratio_high);
  }
  if (row->workers) fprintf(json, ",\"workers\":%u", forced_workers ? forced_workers : row->workers);
  fputs("}\n", json);
}

void bench_json_row(const bench_outcome_t *outcome) {
  if (!json) return;
  for (int i = 0; i < outcome->lanes; i++) {
    if (outcome->results[i].there) line(outcome, i);
  }
  fflush(json);
}

void bench_json_close(void) {
  if (json && fclose(json)) bench_fail("writing the JSON file", UV_EIO);
  json = NULL;
}
