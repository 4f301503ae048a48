/* SPDX-License-Identifier: MIT
 *
 * What the rows of pipelines share: a pipeline that is run again and again, and the work that an item is.
 *
 * Items are numbers that are passed as pointers: odd ones, so that none is 0, which is how a hand-written pipeline says
 * that no more follow. Every run adds up what arrives, and compares it with what a plain loop over the same numbers
 * gives: an item that was lost, doubled or changed stops the bench.
 */
#ifndef UVFLOW_BENCH_PIPE_H
#define UVFLOW_BENCH_PIPE_H

#include "bench.h"

#define PIPE_CAPACITY 128
#define PIPE_MAX_THREADS 1008 /* --workers takes 1000 at most */
#define PIPE_IN_FLIGHT 64

/* What a worker writes stands on lines of its own. */
typedef struct pipe_line_s {
  uint64_t n;
  char pad[120];
} pipe_line_t;

/* What an item of a run goes through, however it is carried. */
typedef struct pipe_task_s {
  unsigned int squares; /* how many times it is squared */
  uint64_t spins;       /* or how many turns of a loop are done for it */
} pipe_task_t;

/* --- items (bench_pipe_task.c) ------------------------------------------------------------------------------------ */

static inline void *pipe_item(uint64_t number) {
  return (void *)(uintptr_t)number; /* NOLINT(performance-no-int-to-ptr) */
}

/* The n-th: 1, 3, 5 ... */
static inline uint64_t pipe_number(uint64_t n) { return 2 * n + 1; }

/* What all of a run's items add up to, at its end. */
uint64_t pipe_expected(const pipe_task_t *task, uint64_t items);

/* Spins for a while that depends on nothing but the processor: no clock is read. Returns what it was given. */
uint64_t pipe_spin(uint64_t number, uint64_t spins);

/* How many turns of the loop take so long on this machine, when nothing disturbs it. Measured once in a process. */
uint64_t pipe_spins_for(uint64_t ns);

/* --- the library's (bench_pipe_ours.c) ---------------------------------------------------------------------------- */

typedef struct pipe_ours_s pipe_ours_t;

struct pipe_ours_s {
  bench_loop_t b;
  uvf_pipeline_t *pipeline;
  uvf_stage_t *last; /* of the chain, as far as it was made */
  pipe_task_t task;
  /* the source's */
  pipe_line_t gap0;
  uint64_t next;
  uint64_t end;
  uint64_t slow; /* so many dear items come first ... */
  uint64_t slow_left;
  uint64_t slow_spins;
  uint64_t from_ns; /* ... and the clock starts behind them */
  /* the sink's */
  pipe_line_t gap1;
  uint64_t sum;
  /* of a stage that starts something for each item (bench_pipe_loop.c) */
  pipe_line_t gap2;
  uv_idle_t idle;
  uvf_flow_t *under_way[PIPE_IN_FLIGHT];
  uintptr_t numbers[PIPE_IN_FLIGHT];
  size_t nunder_way;
};

/* A pipeline that begins with the source. */
pipe_ours_t *pipe_ours_new(pipe_task_t task);
/* With a source of the row's own, which emits what is between next and end. */
pipe_ours_t *pipe_ours_new_with(uvf_stage_fn source);
/* The same; each of its runs begins with some items, neither counted nor timed, that cost so much in every stage that
 * squares: so that there are runners for all stages when the cheap items come. */
pipe_ours_t *pipe_ours_new_slowly(pipe_task_t task, uint64_t items, uint64_t ns);
/* Puts a stage at the end of the chain. */
void pipe_ours_stage(pipe_ours_t *p, const uvf_stage_options_t *o);
/* The stages that most rows are made of. */
void pipe_ours_square(pipe_ours_t *p);
void pipe_ours_sum(pipe_ours_t *p, int kind);

/* The bench's run and teardown. */
void pipe_ours_run(void *state, uint64_t ops, bench_sample_t *s);
void pipe_ours_delete(void *state);

/* --- rows of theirs that need a file of their own ----------------------------------------------------------------- */

/* By hand, a thread for each stage, bounded queues between them (bench_pipe_raw.c). */
typedef struct pipe_raw_s pipe_raw_t;
/* workers: threads of the stages between source and sink; batch: what is sent and received at once. */
pipe_raw_t *pipe_raw_new(pipe_task_t task, unsigned int stages, unsigned int workers, size_t batch);
void pipe_raw_run(void *state, uint64_t ops, bench_sample_t *s);
void pipe_raw_delete(void *state);

/* A loop on one thread that calls the stages through pointers: nothing that carries items can cost less. */
void *pipe_plain_new(pipe_task_t task);
void pipe_plain_run(void *state, uint64_t ops, bench_sample_t *s);

#endif
