/* SPDX-License-Identifier: MIT
 *
 * The bench: rows of implementations that do the same thing, sampled in turn.
 *
 * A row names what is measured, the goal, and up to eight implementations: the library first, then what a program
 * without it would write on plain libuv. The harness sets all of them up, warms each up, then takes five samples of
 * each (a row may ask for more), interleaved (ours, raw, ours, raw ...), so that a change of the machine's mood hits
 * them alike. Before each sample it works for half of one that does not count, since it has paused for the others: it
 * can take the kernel a tenth of a second to give two threads a processor each. A figure is the median; the smallest
 * and largest sample stand beside it. Rows that ask for more samples also get the median of the ratios within each
 * turn, with the interval in which it lies with 95% confidence or more.
 *
 * Speed is never a test: a goal that was missed is printed, and the program still exits with 0.
 */
#ifndef UVFLOW_BENCH_H
#define UVFLOW_BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <uvflow.h>

#define BENCH_MAX_IMPLS 8
/* A row's own implementations, then those of the peers (bench_peer.c). */
#define BENCH_MAX_LANES 24
#define BENCH_HOUR_MS UINT64_C(3600000)

/* What one sample has gathered. Implementations add to it: what they leave out of `amount` is set-up that the row's
 * text says is not timed. */
typedef struct bench_sample_s {
  uint64_t ops;    /* operations done */
  uint64_t amount; /* ns, or bytes, that they took */
  uint64_t cpu_ns; /* CPU time of the whole process meanwhile, where the row shows it */
} bench_sample_t;

typedef struct bench_impl_s {
  const char *name;
  void *(*setup)(size_t size); /* NULL: it cannot be run here, and is left out */
  /* Does about `ops` operations (whole rounds, at least one) and adds to the sample. */
  void (*run)(void *state, uint64_t ops, bench_sample_t *sample);
  void (*teardown)(void *state);
} bench_impl_t;

enum {
  BENCH_BYTES = 1,       /* the figure is bytes, not ns */
  BENCH_ONCE = 2,        /* one sample, no warm-up: the figure has no noise, or can be taken only once in a process */
  BENCH_OWN_PROCESS = 4, /* run in a child process */
  BENCH_ELAPSED = 8,     /* most of it is untimed set-up: samples are measured by the clock, not by their amount */
  BENCH_SIDE = 16        /* stands in the table side by side (bench_side.c) */
};

typedef struct bench_row_s bench_row_t;

struct bench_row_s {
  const char *name;     /* NULL ends the list */
  const char *title;    /* one line for the table */
  const char *what;     /* exactly what is timed, and what is not: for the reader who doubts */
  const char *peer;     /* the best peer's figure, measured elsewhere: a constant */
  double goal;          /* 0: none */
  double goal_ratio;    /* 0: none; how many times the second implementation's figure ours may be */
  double goal_more;     /* 0: none; by how much ours may be above the second implementation's figure */
  size_t size;          /* how many are outstanding, children, in flight ... */
  unsigned int workers; /* not 0: in a child process with a pool of workers + 1 threads; CPU time is shown */
  unsigned int flags;
  unsigned int samples; /* 0: 5. Where figures are near a limit: more, and their interval is shown */
  const char *series;   /* not NULL: a point of this chart ("timeout by timeouts outstanding"), whose title it is */
  double x;             /* where on its axis it stands */
  /* Not NULL: says why the row cannot be run here (then it is left out), or NULL. */
  const char *(*missing)(const bench_row_t *row);
  const bench_impl_t *impls[BENCH_MAX_IMPLS]; /* ours first; NULL ends the list when it is shorter */
};

/* Results of one implementation of one row. */
typedef struct bench_result_s {
  int there; /* 0: filtered out */
  int samples;
  double median;
  double min;
  double max;
  double cpu; /* CPU time per operation of the median sample; 0: not measured */
  /* Against the first implementation, sample by sample; 0: not looked at. */
  double ratio;
  double ratio_low;
  double ratio_high;
} bench_result_t;

/* A row when it has been run: its own implementations first, then those of the peers. Names live as long as the
 * program. */
typedef struct bench_outcome_s {
  const bench_row_t *row;
  int lanes;
  const char *names[BENCH_MAX_LANES];
  bench_result_t results[BENCH_MAX_LANES];
} bench_outcome_t;

#define BENCH_MAX_MISSING 8

typedef struct bench_options_s {
  const char *row;                        /* only this row, or the rows whose names begin so */
  int side;                               /* the rows of the table side by side, and that table */
  const char *peers;                      /* the directory of the peers' programs; NULL: none */
  const char *missing[BENCH_MAX_MISSING]; /* peers that are not there, and why, to be named under the table */
  const char *markdown;
  const char *svg;
  /* Row md5: the programs, and where its tree is. */
  const char *md5all;
  const char *md5_go;
  const char *md5_tree;
  const char *impl;     /* only implementations whose names contain this */
  unsigned int workers; /* not 0: set the pool up for this many workers and run pool rows in this process */
  int quick;
  int child; /* write results for the parent instead of a table */
  const char *json;
} bench_options_t;

extern const bench_row_t bench_context_rows[];
extern const bench_row_t bench_tree_rows[];
extern const bench_row_t bench_chain_rows[];
extern const bench_row_t bench_value_rows[];
extern const bench_row_t bench_bytes_rows[];
extern const bench_row_t bench_watch_rows[];
extern const bench_row_t bench_thread_rows[];
extern const bench_row_t bench_job_rows[];
extern const bench_row_t bench_chan_rows[];
extern const bench_row_t bench_chan_thread_rows[];
extern const bench_row_t bench_pong_rows[];
extern const bench_row_t bench_pong_thread_rows[];
extern const bench_row_t bench_wake_rows[];
extern const bench_row_t bench_select_rows[];
extern const bench_row_t bench_sync_rows[];
extern const bench_row_t bench_turn_rows[];
extern const bench_row_t bench_group_rows[];
extern const bench_row_t bench_request_rows[];
extern const bench_row_t bench_blocks_rows[];
extern const bench_row_t bench_pipe_rows[];
extern const bench_row_t bench_pipe_work_rows[];
extern const bench_row_t bench_pipe_loop_rows[];
extern const bench_row_t bench_md5_rows[];

/* Must come before the rows of bench_md5.c are run: where their programs and their tree are. */
void bench_md5_options(const bench_options_t *o);

/* --- for implementations (bench_loop.c) --------------------------------------------------------------------------- */

/* A loop as a server's: something (here an async handle that nobody sends to) keeps it alive between requests, on both
 * sides alike. */
typedef struct bench_loop_s {
  uv_loop_t loop;
  uv_async_t listener;
  uvf_ctx_t *root; /* NULL: plain libuv */
} bench_loop_t;

void bench_loop_open(bench_loop_t *b, int with_root);
/* Closes root and loop; anything that stays open is a failure of the bench. */
void bench_loop_close(bench_loop_t *b);
/* One turn that does not block. */
void bench_turn(bench_loop_t *b);

/* Work that is put off to the loop must be paid too: rows that never need the loop give it a turn after this many
 * operations. */
#define BENCH_TURN_EVERY 256
#define bench_turn_due(i) (((i) & (BENCH_TURN_EVERY - 1)) == BENCH_TURN_EVERY - 1)

/* Says what failed and exits with 1. */
_Noreturn void bench_fail(const char *what, int err);

static inline void bench_must(const char *what, int err) {
  if (err) bench_fail(what, err);
}

/* Never returns NULL. */
void *bench_alloc(size_t n, size_t size);

/* Rows of short chains have so many of them that together they are this many contexts, or timers. */
#define BENCH_CHAINED 10000

/* CPU time of the process so far. */
uint64_t bench_cpu_ns(void);

/* A result that the compiler must believe somebody reads. */
extern volatile uintptr_t bench_sink;

/* --- raw libuv, shared by several rows (bench_raw.c) -------------------------------------------------------------- */

extern const bench_impl_t bench_raw_timer_naive;
extern const bench_impl_t bench_raw_timer_pooled;
extern const bench_impl_t bench_raw_timer_rotate;
extern const bench_impl_t bench_raw_timer_random;
extern const bench_impl_t bench_raw_timer_stop_all;
extern const bench_impl_t bench_raw_timer_close_all;
extern const bench_impl_t bench_raw_timer_stop_lists;
extern const bench_impl_t bench_raw_malloc;
extern const bench_impl_t bench_raw_chase;

/* --- running and printing ----------------------------------------------------------------------------------------- */

/* A peer has failed and is left out: the program goes on, and ends with BENCH_EXIT_PEER. */
extern int bench_failed;
#define BENCH_EXIT_PEER 3

/* Names, and no results. */
void bench_outcome_init(const bench_row_t *row, bench_outcome_t *outcome);
/* Runs the row in this process. */
void bench_run_row(const bench_row_t *row, const bench_options_t *o, bench_outcome_t *outcome);
/* Runs it in a child process of this program; bench_child_report is the other end of the pipe. */
void bench_spawn_row(const bench_row_t *row, const bench_options_t *o, bench_outcome_t *outcome);
void bench_child_report(const bench_outcome_t *outcome);

void bench_table_begin(const bench_options_t *o);
void bench_table_row(const bench_outcome_t *outcome);
/* In place of the two: the file alone, and what is measured, a line on standard error as it is. */
void bench_side_begin(const bench_options_t *o, size_t rows);
void bench_side_row(const bench_outcome_t *outcome);
/* The table side by side, and the charts. */
void bench_side_end(const bench_options_t *o, const bench_outcome_t *outcomes, size_t n);
/* JSON lines, one for each implementation. */
void bench_json_open(const bench_options_t *o);
void bench_json_row(const bench_outcome_t *outcome);
void bench_json_close(void);
/* Says how many rows were printed. */
void bench_table_end(size_t rows);

#endif
