/* SPDX-License-Identifier: MIT
 *
 * The calls of a chunk: without any lock, on a pool thread or the loop.
 *
 * Invariants
 * 1. An entry of a chunk is begun by whoever moves the chunk's span past it: its worker, one by one, or a thief, who
 *    takes from the end (sched.c). Where a stage has one worker there are no thieves: then the span only says where to
 *    go on.
 * 2. Each entry that was begun is counted once: done, failed, dropped or again; or it is put back, where the chunk is
 *    to be PAUSED (of ordered stages: what is to be tried again must keep its place; and may have to wait for a token).
 * 3. What is emitted stays in the chunk until its calls are over: so a stage never waits for another inside a call.
 *    `ready` says how much of it others may send on meanwhile (under the pipeline's lock, under which `out` is
 *    replaced, too).
 *
 * Where the 12 ns of an item go that runs through a source and three stages on one worker, 3 ns a stage (row
 * pipe-squares of the bench, by a profile):
 *
 *   5.5  the calls (pull, work_as): taking the entry, is anything closed or over, what was returned, publishing it
 *   2.5  uvf_emit: into the chunk's output
 *   1.5  the user's four functions
 *   1    reading the clock, once a row of calls
 *   1    chunks: made, handed on, settled, each for up to some hundred items, under the lock; copying what is sent on
 *   0.5  the bench's own sum to compare with
 */
#include <string.h>

#include "flow/flow.h"
#include "kernel/alloc.h"
#include "kernel/context.h"

#define NS_PER_MS UINT64_C(1000000)
#define EXACT_BELOW 8 /* calls in a row */
#define LOOK_EVERY 16 /* calls; the first of a chunk always */

void uvf__flow_drop(uvf_stage_t *s, void *item) {
  if (s->o.drop != NULL) s->o.drop(item, s->o.data);
}

static int is_closed(const uvf_stage_t *s) { return uvf__u32_load(&s->closed) != 0; }
static int is_unwanted(const uvf_stage_t *s) { return uvf__u32_load(&s->unwanted) != 0; }
static int is_over(const uvf_stage_t *s) { return is_closed(s) || uvf__ctx_err(s->pipeline->ctx) != 0; }

/* --- entries -------------------------------------------------------------------------------------- */

/* Of a chunk from whose end others may steal: its next entry; NULL: none is left. */
static inline uvf__entry_t *next_shared(uvf__chunk_t *c) {
  uvf__au64 *span = (uvf__au64 *)&c->span;
  uint64_t word = atomic_load_explicit(span, memory_order_relaxed);
  do {
    if ((uint32_t)(word >> 32) >= (uint32_t)word) return NULL;
  } while (!atomic_compare_exchange_weak_explicit(span, &word, word + (UINT64_C(1) << 32), memory_order_acq_rel,
                                                  memory_order_relaxed));
  return &c->in[word >> 32];
}

/* The one it has just been given is the next again. */
static void put_back(uvf__chunk_t *c) {
  atomic_fetch_sub_explicit((uvf__au64 *)&c->span, UINT64_C(1) << 32, memory_order_acq_rel);
}

static int may_retry(const uvf_stage_t *s, uint32_t retries, int rc) {
  return rc != 0 && rc != UV_EOF && s->o.on_error >= UVF_ON_ERROR_RETRY && retries < s->o.retries && !is_over(s);
}

/* The function passes on what uvf_emit said. */
static int is_refusal(const uvf__chunk_t *c, int rc) { return rc == UV_EPIPE && c->refused; }

static void fail(uvf__chunk_t *c, int rc) {
  c->failed++;
  if (!uvf__stage_skips(c->stage) && (c->status == 0 || c->status == UV_EOF)) c->status = rc;
}

enum { OVER, ONCE_MORE };

/* What becomes of an entry whose call ended with rc, not 0. */
static UVF__COLD int settle_failed(uvf__chunk_t *c, uvf__entry_t *e, int rc) {
  uvf_stage_t *s = c->stage;
  if (rc == UV_EOF) {
    c->done++;
    if (c->status == 0) c->status = rc;
    return OVER;
  }
  if (is_refusal(c, rc) || is_unwanted(s)) { /* nothing went wrong */
    c->dropped++;
    uvf__flow_drop(s, e->item);
    return OVER;
  }
  if (!may_retry(s, e->retry, rc)) {
    uvf__flow_drop(s, e->item);
    fail(c, rc);
    return OVER;
  }
  c->retried++;
  e->retry++;
  if (!s->o.ordered) {
    c->again[c->nagain++] = *e;
    return OVER;
  }
  /* It must not lose its place. A call that began on the loop is not begun again from inside the last one's end. */
  if (s->o.limiter == NULL && s->o.kind != UVF_STAGE_ASYNC) return ONCE_MORE;
  put_back(c);
  c->pause = 1;
  return OVER;
}

/* The same for a call of a source: it has no item. */
static void settle_source(uvf__chunk_t *c, int rc) {
  if (rc == UV_EOF || (rc != 0 && is_unwanted(c->stage))) {
    if (c->status == 0) c->status = UV_EOF;
  } else if (!is_refusal(c, rc) && may_retry(c->stage, c->row, rc)) {
    c->retried++;
    c->row++;
  } else {
    c->row = 0;
    if (rc == 0 || is_refusal(c, rc)) {
      c->done++;
    } else {
      fail(c, rc);
    }
  }
}

/* --- calls on the pool and of LOOP ------------------------------------------------------------------ */

static void set_own_deadline(uvf__chunk_t *c) {
  uvf_ctx_t *own = c->slot->own;
  uint64_t end_ns = c->stage->pipeline->ctx->deadline.at_ns;
  if (own == NULL) return;
  atomic_store_explicit((uvf__au64 *)&own->deadline.at_ns, c->deadline_ns < end_ns ? c->deadline_ns : end_ns,
                        memory_order_relaxed);
}

static void no_clock(uvf__chunk_t *c) {
  c->deadline_ns = UINT64_MAX;
  set_own_deadline(c);
}

static void start_clock(uvf__chunk_t *c) {
  uint64_t now_ns = uvf__clock_ns();
  c->deadline_ns = UINT64_MAX;
  if (c->stage->o.item_timeout_ms < (UINT64_MAX - now_ns) / NS_PER_MS)
    c->deadline_ns = now_ns + c->stage->o.item_timeout_ms * NS_PER_MS;
  set_own_deadline(c);
}

/* On the loop nobody else could close the stage meanwhile. */
static uint32_t look_every(const uvf_stage_t *s) { return s->o.kind == UVF_STAGE_LOOP ? 1 : LOOK_EVERY; }

static void pull(uvf__chunk_t *c) {
  uvf_stage_t *s = c->stage;
  const uvf_ctx_t *ctx = s->pipeline->ctx;
  uvf_stage_fn fn = s->o.fn;
  size_t want = (size_t)c->span;
  uint32_t every = look_every(s);
  size_t calls = 0;
  while (calls < want && c->nout < want && c->status == 0 && !is_closed(s)) {
    int rc;
    if (calls++ % every == 0 && uvf__ctx_err(ctx) != 0) break;
    c->flow.retry = c->row;
    c->tokens = 0;
    c->refused = 0;
    rc = fn(&c->flow, NULL);
    if (UVF__LIKELY(rc == 0 && c->row == 0)) {
      c->done++;
    } else {
      settle_source(c, rc);
    }
    atomic_store_explicit((uvf__au64 *)&c->ready, c->nout, memory_order_release);
  }
}

/* `shared`: others may steal; a constant, so that there are two of these, each with its own way through the entries. */
static inline void work_as(uvf__chunk_t *c, const int shared) {
  uvf_stage_t *s = c->stage;
  const uvf_ctx_t *ctx = s->pipeline->ctx;
  uvf_stage_fn fn = s->o.fn;
  uint64_t span = shared ? 0 : c->span;
  uint32_t at = (uint32_t)(span >> 32);
  uint32_t end = (uint32_t)span;
  uint32_t every = look_every(s);
  uint32_t looks = 0;
  while (!c->pause) {
    uvf__entry_t *e;
    int rc;
    if (shared) {
      if ((e = next_shared(c)) == NULL) break;
    } else {
      if (at == end) break;
      e = &c->in[at++];
    }
    /* The end of the context closes the stage as well, once the loop has seen it. */
    if (UVF__UNLIKELY(is_closed(s) || c->status != 0 || (looks++ % every == 0 && uvf__ctx_err(ctx) != 0))) {
      c->dropped++;
      uvf__flow_drop(s, e->item);
      continue;
    }
    c->flow.input = e->port;
    do {
      c->flow.retry = e->retry;
      if (UVF__UNLIKELY(s->o.item_timeout_ms > 0)) start_clock(c);
      c->tokens = 0;
      c->refused = 0;
      rc = fn(&c->flow, e->item);
      if (UVF__UNLIKELY(rc != 0) && !shared) c->span = (uint64_t)at << 32 | end; /* it may be put back */
    } while (UVF__UNLIKELY(rc != 0) && settle_failed(c, e, rc) == ONCE_MORE);
    if (UVF__LIKELY(rc == 0)) c->done++;
    atomic_store_explicit((uvf__au64 *)&c->ready, c->nout, memory_order_release);
  }
}

static void work(uvf__chunk_t *c) {
  if (c->stage->workers < 2) {
    work_as(c, 0);
  } else {
    work_as(c, 1);
  }
}

/* --- ASYNC ------------------------------------------------------------------------------------------ */

/* 0: uvf_flow_done was called, or will be; 1: it is over at once, with *result. */
static int begin_async(uvf__chunk_t *c, uvf__entry_t *e, int *result) {
  uvf_stage_t *s = c->stage;
  int rc = 0;
  if (s->o.item_timeout_ms > 0) {
    start_clock(c);
    rc = uvf_ctx_with_timeout(s->ctx, s->o.item_timeout_ms, &c->flow.ctx);
  }
  if (rc == 0) {
    c->pending = 1;
    c->tokens = 0;
    c->refused = 0;
    c->flow.input = e->port;
    c->flow.retry = uvf__stage_pulls(s) ? c->row : e->retry;
    rc = s->o.fn(&c->flow, e->item);
    if (rc == 0) return 0;
    UVF__RULE(c->pending, "uvf_flow_done", "a function that has ended its call must return 0");
    if (!c->pending) return 0;
    c->pending = 0;
    if (c->flow.ctx != s->ctx) uvf_ctx_release(c->flow.ctx);
  }
  c->flow.ctx = s->ctx;
  *result = rc;
  return 1;
}

void uvf__flow_settle_async(uvf__chunk_t *c, int rc) {
  if (uvf__stage_pulls(c->stage)) {
    settle_source(c, rc);
  } else if (rc == 0) {
    c->done++;
  } else {
    settle_failed(c, &c->in[0], rc);
  }
}

static int call_async(uvf__chunk_t *c) {
  int rc;
  if (uvf__stage_pulls(c->stage)) {
    if (is_over(c->stage)) return 1;
    c->in[0] = (uvf__entry_t){NULL, 0, 0};
  } else if (next_shared(c) == NULL) {
    return 1;
  } else if (is_over(c->stage)) {
    c->dropped++;
    uvf__flow_drop(c->stage, c->in[0].item);
    return 1;
  }
  if (!begin_async(c, &c->in[0], &rc)) return 0;
  uvf__flow_settle_async(c, rc);
  return 1;
}

/* --- all -------------------------------------------------------------------------------------------- */

int uvf__flow_call(uvf__chunk_t *c) {
  uvf_stage_t *s = c->stage;
  uint64_t start_ns = c->now_ns;
  if (UVF__UNLIKELY(c->flushing)) {
    int rc;
    no_clock(c);
    rc = s->o.flush(&c->flow);
    if (rc == UV_EOF || is_refusal(c, rc) || is_unwanted(s)) rc = 0;
    c->status = rc;
    c->now_ns = uv_hrtime();
    return 1;
  }
  /* What is known of the time is from before it was picked; that does not count among many calls. */
  if ((uint32_t)atomic_load_explicit((uvf__au64 *)&c->span, memory_order_relaxed) < EXACT_BELOW) start_ns = uv_hrtime();
  if (s->o.kind == UVF_STAGE_ASYNC) {
    if (!call_async(c)) return 0;
  } else if (uvf__stage_pulls(s)) {
    pull(c);
  } else {
    work(c);
  }
  c->now_ns = uv_hrtime();
  if (c->done + c->failed > 0) c->each_ns = (c->now_ns - start_ns) / (c->done + c->failed) + 1;
  return 1;
}

static int grow(uvf__chunk_t *c) {
  uvf_pipeline_t *p = c->stage->pipeline;
  size_t max = c->out_max * 2;
  uvf__entry_t *out = uvf__malloc(max * sizeof *out);
  uvf__entry_t *old = c->out;
  if (out == NULL) return UV_ENOMEM;
  memcpy(out, old, c->nout * sizeof *out);
  uvf__lock_many(&p->lock); /* somebody may be sending on what is ready */
  c->out = out;
  uvf__unlock(&p->lock);
  if (old != c->out_first) uvf__free(old);
  c->out_max = max;
  return 0;
}

/* Whatever does not happen with every item; one call, in tail position, so that uvf_emit needs no frame. */
static UVF__COLD int emit_slow(uvf__chunk_t *c, unsigned int port, void *item) {
  if (port >= c->nports) return UV_EINVAL;
  if (uvf__u32_load(c->closed[port]) != 0) {
    c->refused = 1;
    return UV_EPIPE;
  }
  if (c->nout == c->out_max && grow(c) != 0) return UV_ENOMEM;
  c->out[c->nout++] = (uvf__entry_t){item, port, 0};
  return 0;
}

int uvf_emit(uvf_flow_t *flow, unsigned int port, void *item) {
  uvf__chunk_t *c = (uvf__chunk_t *)(void *)flow; /* its first member */
  uvf__entry_t *out;
  if (UVF__UNLIKELY(flow == NULL)) return UV_EINVAL;
  if (UVF__UNLIKELY(port >= c->nports || c->nout == c->out_max || uvf__u32_load(c->closed[port]) != 0))
    return emit_slow(c, port, item);
  out = &c->out[c->nout++];
  out->item = item;
  out->port = port;
  out->retry = 0;
  return 0;
}

int uvf_flow_err(const uvf_flow_t *flow) {
  const uvf__chunk_t *c;
  int err;
  if (flow == NULL) return UV_EINVAL;
  c = (const uvf__chunk_t *)(const void *)flow;
  err = uvf__ctx_err(c->stage->pipeline->ctx);
  if (err != 0) return err;
  if (is_unwanted(c->stage)) return UV_ECANCELED;
  if (c->stage->o.item_timeout_ms > 0 && uvf__clock_ns() >= c->deadline_ns) return UV_ETIMEDOUT;
  return 0;
}
