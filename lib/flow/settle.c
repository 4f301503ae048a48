/* SPDX-License-Identifier: MIT
 *
 * What calls have brought: their output goes on to the queues of others, stages finish, the run is stopped. Everything
 * here is under the pipeline's lock.
 *
 * Invariants
 * 1. in = done + failed + dropped + queued + taken and not yet counted, at every unlock.
 * 2. A chunk whose calls are over holds no place of any target while it waits for one: so who waits for whom follows
 *    the links, which have no circle.
 * 3. A stage is finished once: nobody feeds it any more or it is closed, its queue is empty, no chunk is out, its flush
 *    was called. Then its targets have one feeder less.
 * 4. A closed stage takes no more: what is or comes into its queue, and what a chunk of it that is PAUSED has left,
 *    goes to whoever sees to_drop.
 */
#include "flow/queue.h"
#include "kernel/context.h"

#define BATCH_NS 100000 /* a chunk is cut so that it takes about this long; one or two us go into each */

/* --- ending early --------------------------------------------------------------------------------- */

/* It takes no more. Whoever feeds only closed stages is closed as well; from sinks to sources. */
static void close_stage(uvf_pipeline_t *p, uvf_stage_t *s) {
  uvf__u32_store(&s->closed, 1);
  p->to_drop = 1;
  uvf__stage_touch(s);
  for (size_t i = p->nstages; i-- > 0;) {
    uvf_stage_t *up = p->order[i];
    int all = up->nouts > 0;
    for (unsigned int k = 0; k < up->nouts; k++) all = all && up->outs[k].to->closed;
    if (!all || up->unwanted || up->finished) continue;
    uvf__u32_store(&up->closed, 1);
    uvf__u32_store(&up->unwanted, 1);
    if (up->o.kind == UVF_STAGE_ASYNC) p->to_end = 1;
    uvf__stage_touch(up);
  }
}

void uvf__flow_stop(uvf_pipeline_t *p, int status) {
  if (p->status == 0) p->status = status;
  uvf__u32_store(&p->stop, 1);
  p->to_drop = 1;
  for (size_t i = 0; i < p->nstages; i++) {
    uvf__u32_store(&p->order[i]->closed, 1);
    uvf__stage_touch(p->order[i]);
  }
}

static void give_places_back(uvf_stage_t *s, uvf__chunk_t *c) {
  for (unsigned int i = 0; i < s->nouts; i++) {
    uvf__stage_free_places(s->outs[i].to, c->room[i]);
    c->room[i] = 0;
  }
}

static void free_worker(uvf_stage_t *s, uvf__chunk_t *c) {
  if (c->slot == NULL) return;
  c->slot->next = s->free_slots;
  s->free_slots = c->slot;
  c->slot = NULL;
  s->busy--;
}

/* No more calls of it; it is flushed at the next look. */
static void calls_over(uvf_stage_t *s, uvf__chunk_t *c) {
  s->out += c->nout;
  c->state = UVF__CHUNK_DONE;
  if (s->o.ordered && s->order != c) give_places_back(s, c); /* invariant 2 */
  if (s->o.ordered && !uvf__stage_pulls(s)) free_worker(s, c);
  uvf__stage_touch(s);
}

/* What a chunk that waits for a token has not begun. */
static int drop_paused(uvf_stage_t *s, void **items) {
  uvf__chunk_t *c = s->order;
  int n = 0;
  while (c->state != UVF__CHUNK_PAUSED) c = c->next;
  for (uint32_t at = (uint32_t)(c->span >> 32); at < (uint32_t)c->span; at++) items[n++] = c->in[at].item;
  c->span = 0;
  c->taken += (size_t)n;
  s->paused--;
  calls_over(s, c);
  return n;
}

/* Items that nobody will handle (UVF__FLOW_BATCH at most): counted, and handed to the caller, who drops them without
 * the lock. */
int uvf__flow_drop_some(uvf_pipeline_t *p, uvf_stage_t **stage, void **items) {
  for (size_t i = 0; i < p->nstages; i++) {
    uvf_stage_t *s = p->order[i];
    int n = 0;
    if (!s->closed) continue;
    if (s->paused > 0) {
      n = drop_paused(s, items);
    } else if (s->queued > 0) {
      uvf__entry_t e;
      while (n < UVF__FLOW_BATCH && s->queued > 0) {
        uvf__queue_get(s, &e, 1);
        items[n++] = e.item;
      }
      uvf__stage_free_places(s, (size_t)n);
    }
    if (n == 0) continue;
    s->dropped += (uint64_t)n;
    uvf__stage_touch(s);
    *stage = s;
    return n;
  }
  p->to_drop = 0;
  return 0;
}

/* --- output --------------------------------------------------------------------------------------- */

static int put_out(uvf_stage_t *s, uvf__chunk_t *c, const uvf__entry_t *out) {
  uvf__port_t *port = &s->outs[out->port];
  uvf_stage_t *to = port->to;
  uvf__entry_t e = {out->item, port->input, 0};
  uint32_t *room = &c->room[port->lead];
  if (to->closed && to->queued >= to->o.capacity) return 0; /* until that is dropped; the rest is for retries */
  if (*room > 0) {
    --*room;
  } else if (to->held < to->o.capacity || to->closed) {
    to->held++;
  } else {
    return 0;
  }
  uvf__queue_put(to, &e);
  to->in++;
  return 1;
}

/* The first of the chunk's, as many as find a place, where they all go one way; how many. */
static size_t put_row(uvf__chunk_t *c, const uvf__port_t *port) {
  uvf_stage_t *to = port->to;
  const uvf__entry_t *out = &c->out[c->flushed];
  size_t n = c->nout - c->flushed;
  size_t most = c->room[0] + uvf__stage_places(to);
  size_t straight;
  size_t at;
  if (n > most) n = most;
  if (n > c->room[0]) {
    to->held += n - c->room[0];
    c->room[0] = 0;
  } else {
    c->room[0] -= (uint32_t)n;
  }
  at = uvf__queue_add(to, n);
  straight = uvf__ring_straight(to, at, n);
  memcpy(&to->ring[at], out, straight * sizeof *out);
  if (straight < n) memcpy(to->ring, out + straight, (n - straight) * sizeof *out);
  to->in += n;
  return n;
}

/* Moves what the chunk has emitted on, what finds a place; 1 if all of it. A target that was full stays so meanwhile:
 * the order of what goes to one target is kept. */
static int flush_chunk(uvf_stage_t *s, uvf__chunk_t *c) {
  size_t kept = 0;
  size_t put = s->nouts == 1 && s->outs[0].input == 0 && !s->outs[0].to->closed ? put_row(c, &s->outs[0]) : 0;
  for (size_t i = c->flushed + put; i < c->nout; i++) {
    if (!put_out(s, c, &c->out[i])) c->out[kept++] = c->out[i];
  }
  c->nout = kept;
  c->flushed = 0;
  give_places_back(s, c);
  return kept == 0;
}

/* A call lasts: what those before it have emitted is sent on meanwhile. */
static void send_on(uvf_stage_t *s, uvf__chunk_t *c) {
  size_t ready = (size_t)atomic_load_explicit((uvf__au64 *)&c->ready, memory_order_acquire);
  while (c->flushed < ready && put_out(s, c, &c->out[c->flushed])) c->flushed++;
}

void uvf__flow_send_on(uvf_pipeline_t *p) {
  for (size_t i = 0; i < p->nstages; i++) {
    uvf_stage_t *s = p->order[i];
    for (uvf__chunk_t *c = s->order; c != NULL; c = c->next) {
      int under_way = c->state == UVF__CHUNK_RUNNING || c->state == UVF__CHUNK_PAUSED;
      if (under_way && uvf__stage_on_pool(s)) send_on(s, c);
      if (s->o.ordered) break;
    }
  }
  uvf__flow_settle_slow(p);
}

/* --- finishing ------------------------------------------------------------------------------------ */

static void chunk_free(uvf_stage_t *s, uvf__chunk_t **at) {
  uvf__chunk_t *c = *at;
  *at = c->next;
  if (c->next == NULL) s->order_end = at;
  uvf__stage_free_places(s, c->owed);
  c->state = UVF__CHUNK_IDLE;
  c->next = s->idle;
  s->idle = c;
  s->outstanding -= c->taken;
  s->active--;
  free_worker(s, c);
}

static void flush_stage(uvf_stage_t *s) {
  uvf__chunk_t **at = &s->order;
  while (*at != NULL) {
    uvf__chunk_t *c = *at;
    if (c->state == UVF__CHUNK_DONE && flush_chunk(s, c)) {
      chunk_free(s, at);
    } else if (s->o.ordered) {
      return;
    } else {
      at = &c->next;
    }
  }
}

/* Others may wait for them. */
void uvf__flow_return_tokens(uvf_stage_t *s) {
  if (s->tokens > 0) uvf_limiter_unreserve(s->o.limiter, (double)s->tokens);
  s->tokens = 0;
}

static void finish_stage(uvf_pipeline_t *p, uvf_stage_t *s) {
  if (s->finished || !uvf__stage_ended(s) || s->queued > 0 || s->active > 0) return;
  if (s->o.flush != NULL && !s->flushed && !p->stop) return;
  s->finished = 1;
  uvf__u32_store(&s->closed, 1);
  p->open--;
  uvf__flow_return_tokens(s);
  for (unsigned int i = 0; i < s->nouts; i++) {
    s->outs[i].to->open_feeders--;
    uvf__stage_touch(s->outs[i].to);
  }
}

void uvf__flow_settle_slow(uvf_pipeline_t *p) {
  do {
    p->dirty = 0;
    for (size_t i = p->nstages; i-- > 0;) {
      uvf_stage_t *s = p->order[i];
      if (!s->dirty) continue;
      s->dirty = 0;
      flush_stage(s);
      finish_stage(p, s);
    }
  } while (p->dirty);
  uvf__u32_store(&p->hint, p->hint + 1);
}

static void learn_cost(uvf_stage_t *s, uint64_t each_ns, uint64_t calls) {
  uint64_t ns = each_ns;
  uint64_t batch;
  unsigned int bucket = 0;
  s->cost_ns = s->cost_ns == 0 ? each_ns : s->cost_ns - s->cost_ns / 4 + each_ns / 4 + 1;
  batch = BATCH_NS / s->cost_ns;
  s->batch = batch < 1 ? 1 : batch < uvf__stage_batch_max(s) ? (size_t)batch : uvf__stage_batch_max(s);
  while (ns >= UINT64_C(2) * UVF__LATENCY_PARTS) ns >>= 1, bucket += UVF__LATENCY_PARTS;
  bucket += (unsigned int)ns;
  s->latency[bucket < UVF__LATENCY_BUCKETS ? bucket : UVF__LATENCY_BUCKETS - 1] += calls;
}

/* Its counts go to the stage's. */
static void count(uvf_stage_t *s, uvf__chunk_t *c) {
  if (c->done + c->failed > 0) learn_cost(s, c->each_ns, c->done + c->failed);
  s->done += c->done;
  s->failed += c->failed;
  s->dropped += c->dropped;
  s->retried += c->retried;
  if (uvf__stage_pulls(s)) {
    s->in += c->done + c->failed;
  } else {
    c->taken += (size_t)(c->done + c->failed + c->dropped);
  }
  c->done = c->failed = c->dropped = c->retried = 0;
  if (s->o.limiter != NULL) s->tokens += c->tokens;
  c->tokens = 0;
}

/* The calls of a chunk have been made, or the next one has to wait for a token. */
void uvf__flow_finish(uvf__chunk_t *c) {
  uvf_stage_t *s = c->stage;
  uvf_pipeline_t *p = s->pipeline;
  int err = uvf__ctx_err(p->ctx);
  count(s, c);
  p->finished_chunks++;
  if (c->pause) {
    c->pause = 0;
    c->state = UVF__CHUNK_PAUSED;
    s->paused++;
    if (s->closed) p->to_drop = 1;
    return;
  }
  c->taken += c->nagain;
  for (size_t i = c->nagain; i-- > 0;) {
    uvf__queue_put_first(s, &c->again[i]);
    if (c->owed > 0)
      c->owed--;
    else
      s->held++;
  }
  calls_over(s, c);
  if (err != 0 && !p->stop) uvf__flow_stop(p, err); /* what ended first is what it ends with */
  if (c->status == UV_EOF && uvf__stage_pulls(s)) {
    s->eof = 1;
  } else if (c->status == UV_EOF) {
    close_stage(p, s);
  } else if (c->status != 0) {
    if (!p->stop) p->failed = s;
    uvf__flow_stop(p, c->status);
  }
  uvf__flow_settle(p);
}
