/* SPDX-License-Identifier: MIT
 *
 * Outcomes that nobody has measured, to feed reports with. A line is a row: name;title;goal;series;x and then an
 * implementation and its figure each, "Go: WithTimeout=812".
 */
#ifndef UVFLOW_BENCH_REPORT_OUTCOMES_H
#define UVFLOW_BENCH_REPORT_OUTCOMES_H

#include <stdlib.h>
#include <string.h>

#include "bench_report.h"

#define OUTCOMES_MAX 64
#define OUTCOMES_FIELDS 32

typedef struct outcomes_s {
  size_t n;
  bench_outcome_t outcome[OUTCOMES_MAX];
  bench_row_t row[OUTCOMES_MAX];
  char *text[OUTCOMES_MAX];
} outcomes_t;

/* Cuts the text at each ';'. */
static inline int outcomes_cut(char *text, char *fields[OUTCOMES_FIELDS]) {
  int count = 0;
  while (text && count < OUTCOMES_FIELDS) {
    fields[count++] = text;
    text = strchr(text, ';');
    if (text) *text++ = '\0';
  }
  return count;
}

static inline void outcomes_add(outcomes_t *o, const char *line) {
  bench_row_t *row = &o->row[o->n];
  bench_outcome_t *outcome = &o->outcome[o->n];
  char *fields[OUTCOMES_FIELDS];
  char *text = o->text[o->n++] = strdup(line);
  int count = outcomes_cut(text, fields);
  *row = (bench_row_t){.name = fields[0], .title = fields[1], .goal = strtod(fields[2], NULL), .flags = BENCH_SIDE};
  if (*fields[3]) {
    row->series = fields[3];
    row->x = strtod(fields[4], NULL);
  }
  *outcome = (bench_outcome_t){.row = row};
  for (int i = 5; i < count; i++) {
    char *figure = strrchr(fields[i], '=');
    double median = strtod(figure + 1, NULL);
    *figure = '\0';
    outcome->names[outcome->lanes] = fields[i];
    outcome->results[outcome->lanes++] =
        (bench_result_t){.there = 1, .samples = 5, .median = median, .min = median * 0.98, .max = median * 1.03};
  }
}

static inline outcomes_t *outcomes_make(const char *const lines[]) {
  outcomes_t *o = calloc(1, sizeof(*o));
  for (size_t i = 0; lines[i]; i++) outcomes_add(o, lines[i]);
  return o;
}

static inline void outcomes_free(outcomes_t *o) {
  for (size_t i = 0; i < o->n; i++) free(o->text[i]);
  free(o);
}

#endif
