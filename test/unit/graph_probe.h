/* SPDX-License-Identifier: MIT
 *
 * What the tests of graphs share: pipelines made in a line or two, whose functions are never called.
 */
#ifndef UVFLOW_TEST_GRAPH_PROBE_H
#define UVFLOW_TEST_GRAPH_PROBE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow/graph.h"
#include "support/support.h"

static inline int never_fn(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  return 0;
}

static inline uvf_stage_options_t options_of(int kind, const char *name) {
  uvf_stage_options_t o;
  uvf_stage_options_init(&o, kind, name, never_fn, NULL);
  o.capacity = 256; /* drawings tell it: they need not change with the default */
  return o;
}

static inline uvf_pipeline_t *pipeline_of(const char *name) {
  uvf_pipeline_t *p = NULL;
  assert_int_equal(uvf_pipeline_create(name, &p), 0);
  assert_non_null(p);
  return p;
}

static inline uvf_stage_t *add(uvf_pipeline_t *p, const uvf_stage_options_t *o) {
  uvf_stage_t *s = NULL;
  assert_int_equal(uvf_pipeline_add(p, o, &s), 0);
  assert_non_null(s);
  return s;
}

static inline uvf_stage_t *stage_of(uvf_pipeline_t *p, int kind, const char *name) {
  uvf_stage_options_t o = options_of(kind, name);
  return add(p, &o);
}

static inline uvf_stage_t *source_of(uvf_pipeline_t *p, const char *name) {
  return stage_of(p, UVF_STAGE_SOURCE, name);
}
static inline uvf_stage_t *work_of(uvf_pipeline_t *p, const char *name) { return stage_of(p, UVF_STAGE_WORK, name); }

/* A stage with so many inputs and outputs. */
static inline uvf_stage_t *ports_of(uvf_pipeline_t *p, const char *name, unsigned int inputs, unsigned int outputs) {
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, name);
  o.inputs = inputs;
  o.outputs = outputs;
  return add(p, &o);
}

static inline void link_to(uvf_stage_t *from, unsigned int port, uvf_stage_t *to, unsigned int input) {
  assert_int_equal(uvf_pipeline_link(from, port, to, input), 0);
}

static inline void chain(uvf_stage_t *from, uvf_stage_t *to) { assert_int_equal(uvf_pipeline_chain(from, to), 0); }

/* A graph of n stages (at most 64) with up to `links` links, forward only: so it has no cycle. */
static inline uvf_pipeline_t *random_pipeline(uint64_t *state, size_t n, size_t links) {
  uvf_pipeline_t *p = pipeline_of("random");
  uvf_stage_t *stages[64];
  char name[32];
  for (size_t i = 0; i < n; i++) {
    uvf_stage_options_t o;
    snprintf(name, sizeof name, "stage %zu", i);
    o = options_of(1 + (int)(test_rand(state) % 4), name);
    if (i == 0) o.kind = UVF_STAGE_SOURCE;
    if (o.kind == UVF_STAGE_WORK) o.ordered = test_rand(state) % 2 == 0;
    o.workers = 1 + (unsigned int)(test_rand(state) % 4);
    if (o.kind != UVF_STAGE_SOURCE) o.inputs = 1 + (unsigned int)(test_rand(state) % 3);
    stages[i] = add(p, &o);
  }
  for (size_t i = 0; i < links; i++) {
    size_t to = 1 + test_rand(state) % (n - 1);
    size_t from = test_rand(state) % to;
    unsigned int inputs = stages[to]->o.inputs;
    if (inputs == 0) continue;
    link_to(stages[from], stages[from]->nouts, stages[to], (unsigned int)(test_rand(state) % inputs));
  }
  return p;
}

#endif
