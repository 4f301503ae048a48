/* SPDX-License-Identifier: MIT
 *
 * What the tests of drawings share: a drawing into a string, and the graphs that are drawn in more than one way.
 */
#ifndef UVFLOW_TEST_DRAW_PROBE_H
#define UVFLOW_TEST_DRAW_PROBE_H

#include "unit/graph_probe.h"

/* --- drawing into a string --- */

static char drawn[200000];

static inline const char *draw(const uvf_pipeline_t *p, int format, unsigned int flags) {
  FILE *f = tmpfile();
  size_t n;
  assert_non_null(f);
  assert_int_equal(uvf_pipeline_draw(p, f, format, flags), 0);
  rewind(f);
  n = fread(drawn, 1, sizeof drawn - 1, f);
  assert_true(n < sizeof drawn - 1);
  drawn[n] = '\0';
  fclose(f);
  return drawn;
}

/* Draws p as text, and frees it. */
static inline void assert_text(uvf_pipeline_t *p, unsigned int flags, const char *wanted) {
  assert_string_equal(draw(p, UVF_DRAW_TEXT, flags), wanted);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static inline void assert_dot(uvf_pipeline_t *p, unsigned int flags, const char *wanted) {
  assert_string_equal(draw(p, UVF_DRAW_DOT, flags), wanted);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

/* --- graphs --- */

/* A source that gives to two handlers by its ports, which meet again. */
static inline uvf_pipeline_t *fan(void) {
  uvf_pipeline_t *p = pipeline_of("batch");
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, "upper");
  uvf_stage_t *source = source_of(p, "source"), *upper, *reverse, *join, *sink;
  o.workers = 5;
  upper = add(p, &o);
  o.name = "reverse";
  reverse = add(p, &o);
  join = work_of(p, "join");
  sink = stage_of(p, UVF_STAGE_LOOP, "sink");
  link_to(source, 0, upper, 0);
  link_to(source, 1, reverse, 0);
  chain(upper, join);
  chain(reverse, join);
  chain(join, sink);
  return p;
}

static inline uvf_pipeline_t *broken(void) {
  uvf_pipeline_t *p = pipeline_of("broken");
  uvf_stage_options_t o = options_of(UVF_STAGE_SOURCE, "island");
  uvf_stage_t *a = source_of(p, "a"), *b = work_of(p, "b"), *c = ports_of(p, "c", 2, 3), *d = ports_of(p, "d", 1, 1);
  chain(a, b);
  chain(b, c);
  link_to(c, 1, b, 0);
  link_to(c, 2, d, 0);
  o.outputs = UINT_MAX - 1;
  (void)add(p, &o);
  return p;
}

static inline uvf_pipeline_t *longest(void) {
  uvf_pipeline_t *p = pipeline_of("longest");
  uvf_stage_t *last = source_of(p, "stage 0"), *second = NULL;
  char name[16];
  for (int i = 1; i < 9; i++) {
    uvf_stage_t *s;
    snprintf(name, sizeof name, "stage %d", i);
    s = work_of(p, name);
    chain(last, s);
    if (i == 1) second = s;
    last = s;
  }
  link_to(second, 1, last, 0);
  return p;
}

/* With figures as a run leaves them. */
static inline uvf_pipeline_t *figures(void) {
  uvf_pipeline_t *p = pipeline_of("figures");
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, "square");
  uvf_stage_t *a = source_of(p, "gen"), *b, *c = stage_of(p, UVF_STAGE_LOOP, "sum");
  o.workers = 4;
  o.on_error = UVF_ON_ERROR_SKIP;
  b = add(p, &o);
  chain(a, b);
  chain(b, c);
  p->start_ns = 1000;
  p->end_ns = p->start_ns + UINT64_C(2000000000);
  a->in = a->done = 1235;
  a->out = 1235;
  b->in = 1235;
  b->done = 1100;
  b->out = 1100;
  b->failed = 2;
  b->retried = 1;
  b->dropped = 3;
  b->queued = 126;
  b->busy = 4;
  c->in = 1100;
  c->done = 19;
  return p;
}

#endif
