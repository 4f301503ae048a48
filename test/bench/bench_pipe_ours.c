/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "bench_pipe.h"

static int gen(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  (void)item;
  if (p->next == p->end) return UV_EOF;
  return uvf_emit(flow, 0, pipe_item(pipe_number(p->next++)));
}

static int square(uvf_flow_t *flow, void *item) {
  uint64_t number = (uintptr_t)item;
  return uvf_emit(flow, 0, pipe_item(number * number));
}

/* Items that are not counted are even, before and after they were squared. */
static int gen_slowly(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  if (p->slow_left > 0) {
    if (--p->slow_left == 0) p->from_ns = uv_hrtime();
    return uvf_emit(flow, 0, pipe_item(2));
  }
  return gen(flow, item);
}

static int square_slowly(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  uint64_t number = (uintptr_t)item;
  if (number % 2 == 0) return uvf_emit(flow, 0, pipe_item(pipe_spin(number, p->slow_spins)));
  return square(flow, item);
}

static int sum_slowly(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  if ((uintptr_t)item % 2 != 0) p->sum += (uintptr_t)item;
  return 0;
}

static int sum(uvf_flow_t *flow, void *item) {
  pipe_ours_t *p = flow->data;
  p->sum += (uintptr_t)item;
  return 0;
}

static pipe_ours_t *new_with(pipe_task_t task, uvf_stage_fn source, uint64_t slow, uint64_t slow_ns) {
  pipe_ours_t *p = bench_alloc(1, sizeof(*p));
  uvf_stage_options_t o;
  bench_loop_open(&p->b, 1);
  p->task = task;
  p->slow = slow;
  p->slow_spins = pipe_spins_for(slow_ns);
  bench_must("uvf_pipeline_create", uvf_pipeline_create("bench", &p->pipeline));
  uvf_stage_options_init(&o, UVF_STAGE_SOURCE, "gen", source, p);
  pipe_ours_stage(p, &o);
  return p;
}

pipe_ours_t *pipe_ours_new(pipe_task_t task) { return new_with(task, gen, 0, 0); }

pipe_ours_t *pipe_ours_new_with(uvf_stage_fn source) { return new_with((pipe_task_t){0}, source, 0, 0); }

pipe_ours_t *pipe_ours_new_slowly(pipe_task_t task, uint64_t items, uint64_t ns) {
  return new_with(task, gen_slowly, items, ns);
}

void pipe_ours_stage(pipe_ours_t *p, const uvf_stage_options_t *o) {
  uvf_stage_t *stage;
  bench_must("uvf_pipeline_add", uvf_pipeline_add(p->pipeline, o, &stage));
  if (p->last) bench_must("uvf_pipeline_chain", uvf_pipeline_chain(p->last, stage));
  p->last = stage;
}

void pipe_ours_square(pipe_ours_t *p) {
  char name[16];
  uvf_stage_options_t o;
  snprintf(name, sizeof(name), "sq%u", ++p->task.squares);
  uvf_stage_options_init(&o, UVF_STAGE_WORK, name, p->slow ? square_slowly : square, p);
  pipe_ours_stage(p, &o);
}

void pipe_ours_sum(pipe_ours_t *p, int kind) {
  uvf_stage_options_t o;
  uvf_stage_options_init(&o, kind, "sum", p->slow ? sum_slowly : sum, p);
  pipe_ours_stage(p, &o);
}

static void on_done(uvf_pipeline_t *pipeline, int status, void *arg) {
  pipe_ours_t *p = arg;
  (void)pipeline;
  bench_must("a pipeline's status", status);
  uv_stop(&p->b.loop);
}

/* Starting a run, and its end, are in it, as little as there is of them in many thousands of items. */
void pipe_ours_run(void *state, uint64_t ops, bench_sample_t *s) {
  pipe_ours_t *p = state;
  p->next = 0;
  p->end = ops;
  p->sum = 0;
  p->slow_left = p->slow;
  uint64_t cpu = bench_cpu_ns();
  p->from_ns = uv_hrtime();
  bench_must("uvf_pipeline_run", uvf_pipeline_run(p->b.root, p->pipeline, on_done, p));
  uv_run(&p->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - p->from_ns;
  if (!p->slow) s->cpu_ns += bench_cpu_ns() - cpu; /* the dear items cannot be told from the others there */
  s->ops += ops;
  if (p->sum != pipe_expected(&p->task, ops)) bench_fail("the pipeline's sum is wrong", 0);
}

void pipe_ours_delete(void *state) {
  pipe_ours_t *p = state;
  bench_must("uvf_pipeline_destroy", uvf_pipeline_destroy(p->pipeline));
  bench_loop_close(&p->b);
  free(p);
}
