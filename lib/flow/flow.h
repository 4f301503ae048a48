/* SPDX-License-Identifier: MIT
 *
 * The pipeline from inside: the graph, and what a run adds to it.
 */
#ifndef UVF_FLOW_FLOW_H
#define UVF_FLOW_FLOW_H

#include <stdatomic.h>

#include "kernel/wait.h"
#include "uvflow/context.h"
#include "uvflow/pipeline.h"
#include "uvflow/work.h"

/* An item that waits for a stage, or has been emitted by one. */
typedef struct uvf__entry_s {
  void *item;
  uint32_t port; /* the input it came in by; emitted: the output */
  uint32_t retry;
} uvf__entry_t;

typedef struct uvf__port_s {
  uvf_stage_t *to; /* NULL: not linked */
  unsigned int input;
  unsigned int lead; /* a run: the lowest port that leads to the same target: places there are kept under that */
} uvf__port_t;

#define UVF__FLOW_BATCH 128
#define UVF__FLOW_BATCH_ORDERED 16
#define UVF__FLOW_WINDOW_MAX 1024
#define UVF__FLOW_LINGER_NS 20000

/* PAUSED: it keeps its place, and its next call is made when there is a token. */
enum { UVF__CHUNK_IDLE, UVF__CHUNK_RUNNING, UVF__CHUNK_PAUSED, UVF__CHUNK_DONE };

/* A worker of a stage: who has it makes a call. */
typedef struct uvf__slot_s {
  struct uvf__slot_s *next; /* free */
  unsigned int index;
  uvf_ctx_t *own; /* WORK with a timeout: what its calls are given, below the pipeline's; else NULL */
} uvf__slot_t;

/* A row of calls of a stage: what it has taken, and what it has emitted. IDLE ones are in stage->idle, the others in
 * stage->order, as they were taken. It has a worker as long as calls may be made; where output is not ordered, until
 * that is sent on. */
typedef struct uvf__chunk_s {
  uvf_flow_t flow; /* what the function is given; first, as it is cast back */
  /* constant */
  uvf_stage_t *stage;
  uvf__entry_t *in;
  uvf__entry_t *again;     /* to be handed in once more */
  uvf__entry_t *out_first; /* `out`, until that grows */
  uint32_t **closed;       /* by port: its target's `closed` */
  uint32_t *room;          /* by port: places in its target's queue that are kept for it; under the lock */
  unsigned int nports;
  /* whoever makes its calls; between them under the lock */
  uint32_t row; /* of a source: failures in a row */
  uvf__entry_t *out;
  size_t nout, out_max;
  size_t nagain;
  size_t tokens; /* of its limiter, that its calls have not used */
  int flushing;  /* it is the call of the flush function */
  int pending;   /* ASYNC: uvf_flow_done is still to come */
  int pause;     /* its calls are over for now: it is to be PAUSED */
  int refused;   /* uvf_emit has said UV_EPIPE */
  int status;    /* UV_EOF, or the error that ends the pipeline */
  uint64_t done, failed, dropped, retried;
  uint64_t deadline_ns;
  uint64_t now_ns;  /* when its calls began; then when they were over */
  uint64_t each_ns; /* what a call took, on average */
  /* both, atomic: others may steal entries, and send on what is ready while a call lasts */
  _Alignas(8) uint64_t span;  /* next << 32 | end, of `in`: not begun yet */
  _Alignas(8) uint64_t ready; /* of `out`: emitted by calls that are over */
  /* under the lock */
  struct uvf__chunk_s *next;
  uvf__slot_t *slot;
  int state;
  uint64_t turn;  /* p->turns when it was taken */
  size_t flushed; /* of `out`: sent on */
  size_t taken;   /* entries it was, when it is done */
  size_t owed;    /* entries that still count in the stage's queue, though they were taken */
  char apart[64];
} uvf__chunk_t;

#define UVF__LATENCY_PARTS 16u /* of an octave */
#define UVF__LATENCY_BUCKETS (UVF__LATENCY_PARTS * 42)

struct uvf_stage_s {
  /* the graph; constant while it runs */
  uvf_pipeline_t *pipeline;
  uvf_stage_t *next; /* in the order they were added */
  size_t index;
  char *name;
  uvf_stage_options_t o;
  uvf__port_t *outs;
  unsigned int nouts;
  uvf_stage_t **feeders; /* one for each link that ends here */
  size_t nfeeders;
  /* a run; constant */
  unsigned int workers;
  uvf_ctx_t *ctx; /* of its calls; of ASYNC its own: it ends when the stage is unwanted */
  uvf__entry_t *ring;
  size_t ring_size;
  size_t window; /* ordered: of `outstanding`, at most */
  size_t nchunks;
  int has_rivals; /* others feed what it feeds */
  uvf__chunk_t *chunks;
  uvf__slot_t *slots;
  uvf__entry_t *entries; /* the chunks' arrays */
  uint32_t *rooms;
  uint32_t **ports_closed;
  /* read with every item, by many threads; written once, under the lock */
  uint32_t closed;   /* takes no more */
  uint32_t unwanted; /* closed because nobody takes its output */
  char apart[64];
  /* under the pipeline's lock */
  size_t first, queued;
  size_t held;         /* of the capacity: queued, kept for chunks of feeders, taken and not begun */
  unsigned int active; /* chunks that are not IDLE */
  unsigned int busy;   /* workers that are not free */
  unsigned int paused;
  int dirty;          /* chunks of it may be flushed, or it may be finished: to be looked at */
  size_t batch;       /* how many calls make a chunk */
  uint64_t cost_ns;   /* of a call, lately; 0: not known */
  size_t outstanding; /* ordered: entries taken and not flushed */
  uint64_t turn;      /* when it was last taken from; counts with p->turns */
  uvf__slot_t *free_slots;
  uvf__chunk_t *idle;
  uvf__chunk_t *order;
  uvf__chunk_t **order_end;
  size_t open_feeders;
  unsigned int passed_over; /* how often what waits was not worth a turn */
  uint64_t passed_ns;       /* since when */
  int eof;                  /* a source that has said so */
  int flushed;              /* its flush function was called */
  int finished;
  int limited;     /* it would go on but for a token */
  uint64_t tokens; /* of its limiter, in hand */
  uint64_t in, out, done, failed, dropped, retried;
  uint64_t latency[UVF__LATENCY_BUCKETS]; /* of calls, by sample: how many took so long, see stats.c */
  /* loop */
  int limit_waits; /* a wait for a token is under way */
  uvf_limiter_wait_t limit_wait;
};

typedef struct uvf__runner_s {
  uvf_work_t job;
  uvf_pipeline_t *pipeline;
  int on; /* loop: the job was started and has not come back */
} uvf__runner_t;

struct uvf_pipeline_s {
  char *name;
  uvf_stage_t *stages;
  uvf_stage_t **end;
  size_t nstages;
  int running;
  /* a run */
  uvf_op_t op; /* holds context, root and loop; delivered when there is something for the loop */
  uvf_ctx_t *ctx;
  uvf_pipeline_cb cb;
  void *arg;
  uvf_stage_t **order; /* from sources to sinks */
  uvf__runner_t *runners;
  unsigned int nrunners;
  unsigned int jobs; /* loop: runners that are on */
  int armed;         /* loop: the operation is PENDING, or on its way to being delivered */
  int readied;       /* loop: not armed, and made ready */
  int in_service;    /* loop: being delivered */
  uint64_t turn;     /* loop: the turn it had its share of, until: */
  uint64_t turn_ends_ns;
  int more; /* loop: it had its share of the turn */
  uvf__waiter_t later;
  unsigned int calls;   /* loop: ASYNC calls and limiter waits under way */
  uvf__timeout_t watch; /* loop: looks whether somebody is stuck */
  uint64_t watch_ns;    /* loop: how far ahead; 0: it is not on */
  uint64_t seen;        /* chunks finished when it last looked */
  uint64_t start_ns, end_ns;
  char apart1[64];
  uint32_t lock;
  char apart2[64];
  uint32_t hint; /* counts whatever may be work; read without the lock */
  char apart3[64];
  uint32_t stop;               /* no call is begun any more; also read without the lock */
  int status;                  /* why; 0: it ran to its end */
  uvf_stage_t *failed;         /* whose error that is */
  unsigned int running_chunks; /* on pool threads */
  unsigned int waiting;        /* runners that wait for a thread */
  int on_loop;                 /* some stage's calls are made there; constant */
  unsigned int sources;        /* stages that pull; constant */
  int parallel;                /* some WORK stage has more than one worker; constant */
  unsigned int open;           /* stages that are not finished */
  uint64_t finished_chunks;
  uint64_t turns;      /* chunks taken */
  uint64_t seen_turns; /* when the watch last looked */
  int rescue;          /* it has found a call that lasts and holds up others: steal those first */
  int fed;             /* the last one was for a hungry stage */
  uint64_t left_ns;    /* when a runner last left for want of work */
  uint64_t linger_ns;  /* how long they look on before that */
  int to_wait;         /* some stage has found its limiter without a token: the loop stands in the line for it */
  uint64_t gone_ns;    /* between the last two looks */
  uint64_t looked_ns;  /* when a runner last looked what is to be done */
  uint64_t behind_ns;  /* how long there has been something for one more */
  unsigned int wanted; /* runners that the loop has been called to start */
  int dirty;           /* some stage is */
  int to_drop;         /* some closed stage has something in its queue */
  int to_end;          /* some ASYNC stage is unwanted, and its context still to be ended by the loop */
};

/* A source: there is nothing to take, it is called again and again. */
static inline int uvf__stage_pulls(const uvf_stage_t *s) { return s->o.inputs == 0 && s->o.kind != UVF_STAGE_WORK; }

/* What has failed for good does not end the run. */
static inline int uvf__stage_skips(const uvf_stage_t *s) {
  return s->o.on_error == UVF_ON_ERROR_SKIP || s->o.on_error == UVF_ON_ERROR_RETRY_SKIP;
}

static inline int uvf__stage_on_pool(const uvf_stage_t *s) {
  return s->o.kind == UVF_STAGE_SOURCE || s->o.kind == UVF_STAGE_WORK;
}

/* One token, one call, where there is a limiter. An ordered stage has many chunks. */
static inline size_t uvf__stage_batch_max(const uvf_stage_t *s) {
  if (s->o.kind == UVF_STAGE_ASYNC || s->o.limiter != NULL) return 1;
  return s->o.ordered ? UVF__FLOW_BATCH_ORDERED : UVF__FLOW_BATCH;
}

/* validate.c: stages from sources to sinks into order[], which has room for all. 0, UV_EINVAL for a cycle,
 * UV_ENOMEM. */
int uvf__flow_order(const uvf_pipeline_t *pipeline, uvf_stage_t **order);

/* sched.c: what runs next. Under the lock. */
enum { UVF__ON_POOL = 1, UVF__ON_LOOP = 2 };
uvf__chunk_t *uvf__flow_pick(uvf_pipeline_t *p, int where);
int uvf__flow_may_steal(uvf_pipeline_t *p, uint64_t turn); /* from one that was taken by then */
int uvf__flow_has_work(uvf_pipeline_t *p, int where);
unsigned int uvf__flow_wants_runners(uvf_pipeline_t *p, uint64_t now_ns); /* how many more would help */

/* settle.c: what calls have brought. Under the lock. */
void uvf__flow_finish(uvf__chunk_t *c);
void uvf__flow_settle_slow(uvf_pipeline_t *p);
static inline void uvf__flow_settle(uvf_pipeline_t *p) {
  if (p->dirty) uvf__flow_settle_slow(p);
}
void uvf__flow_return_tokens(uvf_stage_t *s);
void uvf__flow_send_on(uvf_pipeline_t *p);
void uvf__flow_stop(uvf_pipeline_t *p, int status);
int uvf__flow_drop_some(uvf_pipeline_t *p, uvf_stage_t **stage, void **items);

/* call.c: makes the calls of a chunk. No lock. 1: they are over; 0: ASYNC, to be done later. */
int uvf__flow_call(uvf__chunk_t *c);
void uvf__flow_settle_async(uvf__chunk_t *c, int rc); /* its one call has ended with rc */
void uvf__flow_drop(uvf_stage_t *s, void *item);

/* runner.c. No lock. */
int uvf__flow_runner(uvf_work_t *job);       /* the function of the jobs */
void uvf__flow_drop_all(uvf_pipeline_t *p);  /* what nobody will handle */
void uvf__flow_call_loop(uvf_pipeline_t *p); /* there is something for the loop; any thread */

/* begin.c: the memory of a run. Loop thread. */
int uvf__flow_begin(uvf_pipeline_t *p);
void uvf__flow_free_run(uvf_pipeline_t *p);

#endif
