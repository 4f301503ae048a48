/* SPDX-License-Identifier: MIT
 *
 * uvflow/pipeline.h: pipelines: graphs of stages that run on the thread pool and the loop, with backpressure.
 *
 * A stage takes items one at a time and emits none, one or many for each, on any of its numbered output ports. A port
 * is linked to an input of another stage, which has one bounded queue for all of them. All cores work, memory is
 * bounded, and no item is lost: each ends in a stage that emits nothing for it, in a drop function, or in an error.
 *
 *  kind    | its function runs                                  | and returns
 *  --------+----------------------------------------------------+------------------------------------------------------
 *  SOURCE  | on the pool, again and again; item is NULL         | 0: call me again; UV_EOF: that was all
 *  WORK    | on the pool, on up to `workers` threads at once    | 0; UV_EOF: no more input, please; else an error
 *  LOOP    | on the loop thread, one at a time                  | the same
 *  ASYNC   | on the loop thread: starts something, up to        | 0: uvf_flow_done() follows, once, or has been called
 *          | `workers` at once                                  | inside; else it is over with that, as for LOOP
 *
 * A LOOP or ASYNC stage without inputs (inputs = 0) is a source on the loop: its function is called with item NULL, as
 * SOURCE is, and UV_EOF (of ASYNC: by uvf_flow_done) says that that was all. So a channel feeds a pipeline: receive in
 * the function, emit in the callback.
 *
 * What becomes of an item
 * =======================
 *
 *  the function returned | the item                                | and then
 *  ----------------------+-----------------------------------------+---------------------------------------------------
 *  0                     | was the function's: freed, passed on    | counted `done`
 *  UV_EOF                | the same                                | counted `done`; the stage takes no more: what
 *                        |                                         | waits for it is dropped, and who feeds only
 *                        |                                         | finished stages is stopped as well, up to the
 *                        |                                         | sources
 *  UV_EPIPE, which       | is the library's again: to this stage's | counted `dropped`; nobody wants this output:
 *  uvf_emit has said     | drop function                           | nothing went wrong; so return uvf_emit(...)
 *  anything else         | is the library's again                  | if nobody wants the output any more, as UV_EPIPE;
 *                        |                                         | else by the stage's policy:
 *                        |                                         | FAIL  to its drop function, counted `failed`; the
 *                        |                                         |       pipeline ends with that error
 *                        |                                         | SKIP  to its drop function, counted `failed`
 *                        |                                         | RETRY handed in again, up to `retries` times, each
 *                        |                                         |       time with a token of the limiter if there is
 *                        |                                         |       one; then as FAIL, RETRY_SKIP as SKIP
 *  - (never called)      | to its stage's drop function            | counted `dropped`: after an early stop, a failure,
 *                        |                                         | a cancel
 *
 *  At every stage, at the end: in = done + failed + dropped. What a call had emitted before it failed was emitted. An
 *  error of a source has no item, and no drop function is called: FAIL ends the pipeline, SKIP and RETRY call it again
 *  (RETRY `retries` times in a row at most). UV_EPIPE of a source, from uvf_emit, is as 0: it is not called again if
 *  none of its outputs is wanted; what it wanted to emit is its own to free.
 *
 * A stage is finished when everybody who feeds it is, its queue is empty and no call of it is under way; then its flush
 * function is called, once, which may emit; then those that it feeds may finish. The pipeline is done when all stages
 * are.
 *
 * Threads: making, linking, running, cancelling, drawing: the loop thread of the context it is run under. Functions of
 * SOURCE and WORK: pool threads; a stage with one worker is never called twice at once, and its calls are ordered.
 * Nothing blocks a pool thread but your functions; pipelines share uvf_work_limit() with jobs, and give a thread back
 * every few milliseconds when others wait for one. No more calls than that are made on the pool at once, however many
 * workers there are. Items that a call has emitted are passed on when it has returned; with short calls, when a row of
 * them has (some 100 us), or, if one of the row lasts, after some milliseconds.
 *
 * Common functions
 * ================
 *
 *  makes B of A             | B = make(A); err = uvf_emit(flow, 0, B); free(err ? B : A); return err;
 *  begins I/O (ASYNC)       | binds its handle to flow->ctx by a guard; its callback is the one way out: it emits,
 *                           | and calls uvf_flow_done(flow, status)
 *  receives from a channel  | uvf_chan_recv(flow->ctx, ...); its callback emits and calls uvf_flow_done. The pipeline's
 *  (ASYNC, inputs = 0)      | done callback closes the channel, so that its senders learn of an early end
 *  has had enough           | return UV_EOF; for all of the pipeline: cancel a context of yours that it runs under
 */
#ifndef UVFLOW_PIPELINE_H
#define UVFLOW_PIPELINE_H

#include <limits.h>
#include <stdio.h>

#include "base.h"
#include "sync.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- the graph -------------------------------------------------------------------------------- */

/* Opaque. */
typedef struct uvf_pipeline_s uvf_pipeline_t;

/* A stage of a pipeline; opaque, gone with it. */
typedef struct uvf_stage_s uvf_stage_t;

/* A call of a stage's function: what it is given, and emits through. */
typedef struct uvf_flow_s uvf_flow_t;

enum { UVF_STAGE_SOURCE = 1, UVF_STAGE_WORK, UVF_STAGE_LOOP, UVF_STAGE_ASYNC };

/* What an error of a stage's function does: see the table. */
enum { UVF_ON_ERROR_FAIL = 0, UVF_ON_ERROR_SKIP, UVF_ON_ERROR_RETRY, UVF_ON_ERROR_RETRY_SKIP };

/* Handles one item: see the tables. */
typedef int (*uvf_stage_fn)(uvf_flow_t *flow, void *item);

/* After the last item; may emit. 0, or an error, which fails the pipeline. Where the function runs (ASYNC: on the
 * loop). */
typedef int (*uvf_stage_flush_fn)(uvf_flow_t *flow);

/* Gets an item that nobody will handle. On the pool or the loop thread; no lock is held. */
typedef void (*uvf_stage_drop_fn)(void *item, void *data);

typedef struct uvf_stage_options_s {
  const char *name; /* copied; unique in its pipeline */
  uvf_stage_fn fn;
  uvf_stage_flush_fn flush; /* may be NULL */
  uvf_stage_drop_fn drop;   /* may be NULL: forgotten, but counted */
  void *data;               /* flow->data of its calls, and the drop function's */
  uvf_limiter_t *limiter; /* paces its calls: one token each. NULL: none. It stays until the pipeline is destroyed; with
                             * a burst below 1 the run ends with UV_EINVAL */
  size_t capacity;        /* of its queue. No feeder is called while it is full: so there are at most this many items,
                             * and one in each call, and what the feeders' last calls emitted beyond one each */
  size_t window; /* if ordered: how many items may be taken, from the first unfinished one on; 0: capacity, which
                             * it cannot exceed; nor 1,024 */
  uint64_t item_timeout_ms; /* of one call; 0: none. Past it uvf_flow_err says UV_ETIMEDOUT: return that. Of WORK and
                             * ASYNC, others have none */
  int kind;                 /* UVF_STAGE_* */
  unsigned int inputs;      /* ports; UVF_PORTS_DEFAULT: 1, a SOURCE's 0. LOOP, ASYNC: 0 makes it a source */
  unsigned int outputs;     /* UVF_PORTS_DEFAULT: as many as are linked */
  unsigned int workers;     /* calls at once: WORK, ASYNC; of others it is 1 */
  int ordered;              /* WORK, ASYNC: its output leaves in the order of its input, however many workers */
  int on_error;             /* UVF_ON_ERROR_* */
  unsigned int retries;     /* of UVF_ON_ERROR_RETRY */
} uvf_stage_options_t;

#define UVF_PORTS_DEFAULT UINT_MAX
#define UVF_PORT_MAX 65535u /* the highest number of a port that can be linked */

/* The defaults: one worker, capacity 128, FAIL, everything else none. Then change what you want. Any thread. */
UVF_EXTERN void uvf_stage_options_init(uvf_stage_options_t *options, int kind, const char *name, uvf_stage_fn fn,
                                       void *data);

/* An empty pipeline. UV_EINVAL, UV_ENOMEM. */
UVF_EXTERN int uvf_pipeline_create(const char *name, uvf_pipeline_t **out);

/* Frees it. Not while it runs: misuse (UV_EBUSY); from its done callback on it is fine. NULL: 0. */
UVF_EXTERN int uvf_pipeline_destroy(uvf_pipeline_t *pipeline);

/* One more stage. 0 and *stage. UV_EINVAL: NULL, an unknown kind or policy. UV_EBUSY: it runs. UV_ENOMEM. */
UVF_EXTERN int uvf_pipeline_add(uvf_pipeline_t *pipeline, const uvf_stage_options_t *options, uvf_stage_t **stage);

/* Output `port` of `from` feeds input `input` of `to`. An output feeds one input; an input may be fed by many.
 * UV_EINVAL: NULL, stages of two pipelines, a port above UVF_PORT_MAX. UV_EEXIST: the port is linked. UV_ENOMEM,
 * UV_EBUSY. (Ports out of range are found by validate, so that one may link before one knows.) */
UVF_EXTERN int uvf_pipeline_link(uvf_stage_t *from, unsigned int port, uvf_stage_t *to, unsigned int input);

/* from's next free output to to's input 0: all that a chain needs. */
UVF_EXTERN int uvf_pipeline_chain(uvf_stage_t *from, uvf_stage_t *to);

/* Is it a graph that can run? 0; or a code, and in message (may be NULL; cut to size) what is wrong, with stage and
 * port:
 * UV_EINVAL for all of: no stage, no source, no sink, an unlinked port, a port out of range, a stage that nothing
 * reaches, a cycle, zero workers, zero capacity, two names alike, a retry without number, a SOURCE with inputs.
 * UV_ENOMEM: it could not look. Loop thread. */
UVF_EXTERN int uvf_pipeline_validate(const uvf_pipeline_t *pipeline, char *message, size_t size);

/* --- running ---------------------------------------------------------------------------------- */

/* Exactly once for a run that returned 0, on the loop thread, when no call, item or job of it is left. status: 0; the
 * first error of a stage with FAIL (the cause of the pipeline's context, too); or the err of the context. */
typedef void (*uvf_pipeline_cb)(uvf_pipeline_t *pipeline, int status, void *arg);

/* Runs it, under a context of its own below ctx. It may be run again when it is done. Loop thread; does not block;
 * nothing of yours is called inside. 0: cb will come. What validate says, if it is not 0. UV_ENOMEM: nothing happened.
 * UV_EBUSY: it runs. */
UVF_EXTERN int uvf_pipeline_run(uvf_ctx_t *ctx, uvf_pipeline_t *pipeline, uvf_pipeline_cb cb, void *arg);

/* In the done callback and after it: the stage whose error the status is; NULL if it was none's. Loop thread. */
UVF_EXTERN uvf_stage_t *uvf_pipeline_failed(const uvf_pipeline_t *pipeline);

/* Ends it early: what waits goes to the drop functions; calls under way are waited for (uvf_flow_err tells them; the
 * flow->ctx of ASYNC ends, and uvf_flow_done is owed as ever); then cb comes with UV_ECANCELED. To give a cause, run it
 * under a context of your own and cancel that. Loop thread. Nothing if it does not run, or NULL. */
UVF_EXTERN void uvf_pipeline_cancel(uvf_pipeline_t *pipeline);

/* --- in a stage's function -------------------------------------------------------------------- */

struct uvf_flow_s {
  /* read-only */
  void *data; /* the stage's */
  uvf_ctx_t
      *ctx; /* the pipeline's, or below that: of ASYNC it ends also when nobody takes the stage's output any more; of
                   * a stage with item_timeout_ms it has the call's deadline. On the loop: to start things under. On the
                   * pool: for values, and for what blocks (..._wait), which ends with the call's time. Not to be kept
                   * beyond the call */
  uvf_stage_t *stage;
  unsigned int input;  /* the port the item came in by */
  unsigned int worker; /* 0 to workers - 1: no other call has it at the same time */
  unsigned int retry;  /* how many times this item was handed in before */
};

/* Emits an item (NULL is one, too) on an output port: it is the library's then. 0. UV_EPIPE: nobody takes what this
 * port gives any more: the item is still yours. If it is the one that the function was given, return UV_EPIPE: it goes
 * to the drop function; what the function has made it frees. A stage whose output nobody takes is not called again.
 * UV_EINVAL: no such port.
 * UV_ENOMEM: still yours, too. In the function only; of ASYNC: until uvf_flow_done. Never blocks: the stage is not
 * called again before there is room for what it emits. */
UVF_EXTERN int uvf_emit(uvf_flow_t *flow, unsigned int port, void *item);

/* 0 while the call's result is wanted; else why not: the pipeline's err; UV_ECANCELED: nobody takes the stage's output
 * any more; UV_ETIMEDOUT: the call's time is up (which uvf_ctx_err(flow->ctx) need not say on the pool). Cheap; for
 * long work. Where the function runs. NULL: UV_EINVAL. */
UVF_EXTERN int uvf_flow_err(const uvf_flow_t *flow);

/* Ends a call of ASYNC that returns, or has returned, 0: status as the function would have returned it. Loop thread,
 * once; flow is gone with it. 0. UV_EINVAL: NULL; also, where it does not stop a debug build, a call that is over. */
UVF_EXTERN int uvf_flow_done(uvf_flow_t *flow, int status);

/* --- looking ---------------------------------------------------------------------------------- */

typedef struct uvf_stage_stats_s {
  const char *name;
  uint64_t in;  /* items that came to it; of a source: calls, but not the one that said UV_EOF */
  uint64_t out; /* items it emitted */
  uint64_t done;
  uint64_t failed;
  uint64_t dropped;
  uint64_t retried;
  size_t queued;
  unsigned int busy;  /* calls under way */
  uint64_t median_ns; /* of a call; sampled */
  uint64_t p99_ns;
  double rate_per_s; /* items done, over the run */
  int finished;
} uvf_stage_stats_t;

/* A snapshot; also after the run. Any thread that keeps the pipeline from being destroyed. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_stage_stats(const uvf_stage_t *stage, uvf_stage_stats_t *stats);

/* As it was given; "" for NULL. */
UVF_EXTERN const char *uvf_stage_name(const uvf_stage_t *stage);

/* The stages in the order they were added; NULL past the last. */
UVF_EXTERN uvf_stage_t *uvf_pipeline_stage(const uvf_pipeline_t *pipeline, size_t index);

enum { UVF_DRAW_TEXT = 0, UVF_DRAW_DOT = 1 };
/* Flags: with figures; with lines of ASCII instead of box-drawing characters. */
enum { UVF_DRAW_STATS = 1, UVF_DRAW_PLAIN = 2 };

/* Draws the graph to f: as text, columns from the sources to the sinks; or for Graphviz. Also of one that would not
 * validate. 0; UV_EINVAL; UV_ENOMEM; UV_EIO: f could not be written. Loop thread; blocks as writing does. */
UVF_EXTERN int uvf_pipeline_draw(const uvf_pipeline_t *pipeline, FILE *f, int format, unsigned int flags);

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_PIPELINE_H */
