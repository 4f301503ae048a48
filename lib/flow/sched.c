/* SPDX-License-Identifier: MIT
 *
 * What runs next: everything here is under the pipeline's one lock, which is held for some dozens of instructions for
 * each row of calls (a chunk), not for each item.
 *
 * Invariants
 * 1. While it is not closed held <= capacity + workers (retries); it counts: entries in the queue, places kept for
 *    chunks of feeders, entries that a chunk has taken beyond the one it begins with (in ordered stages: with that one,
 *    and until they are sent on). So at most capacity + workers items are alive at a stage.
 * 2. A chunk is taken only if each of its stage's targets has a place for every entry it takes: a stage that emits one
 *    for one never waits with a full hand. What it emits beyond stays in its chunk, which counts as a worker, until
 *    there is room: the stage is not called meanwhile by that worker, and nobody blocks.
 * 3. A chunk is in stage->order from being taken to being flushed, as it was taken; if the stage is ordered only the
 *    first is flushed. One that was stolen from another stands right behind it. One that is to call again, and may have
 *    to wait for a token (PAUSED, of ordered stages), keeps its place there.
 * 4. The most downstream stage that can go on goes on first: what is begun is brought to its end before more is begun,
 *    and a worker that emits finds its own output next, while it is warm. Two exceptions, for stages with many workers:
 *    they are fed before they run dry, and what is cheap behind them waits until it is a handful, or nothing else is to
 *    be done.
 */
#include "flow/queue.h"

#define BATCH UVF__FLOW_BATCH
#define QUICK_NS 1000      /* calls that take less together do not hold up anybody */
#define WORTH_NS 3000      /* calls that take less together are not worth another thread's while */
#define BACKLOG_NS 50000   /* of work that waits: one more runner */
#define BEHIND_NS 100000   /* with work for one more for so long: one more runner */
#define PASSED_OVER_MAX 16 /* how often cheap calls may be put off */
#define PASSED_OVER_NS 100000
#define LONG_NS 30000

/* --- room ----------------------------------------------------------------------------------------- */

/* How many one-for-one entries its targets have places for. */
static size_t room_behind(const uvf_stage_t *s) {
  size_t room = SIZE_MAX;
  for (unsigned int i = 0; i < s->nouts; i++) {
    const uvf_stage_t *to = s->outs[i].to;
    size_t left;
    if (to->closed) continue;
    left = uvf__stage_places(to);
    if (left < room) room = left;
  }
  return room;
}

/* How many of n calls its limiter lets it make. */
static size_t tokens_for(uvf_stage_t *s, size_t want) {
  size_t n = 0;
  if (s->o.limiter == NULL) return want;
  while (n < want && s->tokens > 0) s->tokens--, n++;
  while (n < want && uvf_limiter_try(s->o.limiter, 1) == 0) n++;
  if (n == 0 && !s->limited) s->pipeline->to_wait = 1;
  s->limited = n == 0;
  return n;
}

static int wants_flush(const uvf_stage_t *s) {
  return !s->finished && !s->flushed && s->o.flush != NULL && uvf__stage_ended(s) && s->queued == 0 && s->active == 0;
}

/* How many calls it could begin now. */
static size_t can_take(const uvf_stage_t *s) {
  size_t n = s->batch;
  size_t room;
  if (s->closed || s->free_slots == NULL || s->idle == NULL) return 0;
  if (uvf__stage_pulls(s)) {
    if (s->eof) return 0;
  } else {
    if (s->queued == 0) return 0;
    if (s->queued < n) n = s->queued;
    if (s->workers > 1) { /* leave some for the others */
      size_t share = (s->queued + s->workers - 1) / s->workers;
      if (share < n) n = share;
    }
  }
  room = room_behind(s);
  if (room < n) n = room;
  if (s->o.ordered && s->outstanding + n > s->window) n = s->outstanding < s->window ? s->window - s->outstanding : 0;
  return n;
}

/* --- taking --------------------------------------------------------------------------------------- */

static uvf__chunk_t *chunk_new(uvf_stage_t *s, size_t n) {
  uvf__chunk_t *c = s->idle;
  c->turn = s->turn = ++s->pipeline->turns;
  s->idle = c->next;
  c->next = NULL;
  c->slot = s->free_slots;
  s->free_slots = c->slot->next;
  s->busy++;
  c->flow.worker = c->slot->index;
  c->flow.ctx = c->slot->own != NULL ? c->slot->own : s->ctx;
  *s->order_end = c;
  s->order_end = &c->next;
  c->state = UVF__CHUNK_RUNNING;
  c->flushing = c->pending = c->pause = c->refused = c->status = 0;
  c->nagain = c->nout = c->flushed = 0;
  c->ready = 0;
  c->done = c->failed = c->dropped = c->retried = 0;
  c->owed = c->taken = c->tokens = 0;
  s->active++;
  for (unsigned int i = 0; i < s->nouts; i++) {
    uvf_stage_t *to = s->outs[i].to;
    c->room[i] = to->closed || s->outs[i].lead != i ? 0 : (uint32_t)n;
    to->held += c->room[i];
  }
  return c;
}

/* One that was put aside goes on where it was. */
static uvf__chunk_t *take_paused(uvf_stage_t *s) {
  uvf__chunk_t *c = s->order;
  if (s->closed || tokens_for(s, 1) == 0) return NULL;
  while (c->state != UVF__CHUNK_PAUSED) c = c->next;
  c->state = UVF__CHUNK_RUNNING;
  c->tokens = 1;
  s->paused--;
  return c;
}

/* The first of n that are called is the worker's own; but in order all stay in the count until they are sent on: a
 * worker is free before that. */
static void keep_places(uvf_stage_t *s, uvf__chunk_t *c, size_t n) {
  size_t own = s->o.ordered ? 0 : 1;
  c->owed = n - own;
  uvf__stage_free_places(s, own);
}

static uvf__chunk_t *take(uvf_stage_t *s) {
  size_t n;
  uvf__chunk_t *c;
  if (s->paused > 0) return take_paused(s);
  n = can_take(s);
  if (n > 0) n = tokens_for(s, n);
  if (n == 0) {
    if (s->o.flush == NULL || !wants_flush(s)) return NULL;
    s->flushed = 1;
    c = chunk_new(s, 0);
    c->flushing = 1;
    c->span = 0;
    return c;
  }
  c = chunk_new(s, n);
  c->span = n;
  c->tokens = n; /* means something with a limiter only */
  if (uvf__stage_pulls(s)) return c;
  uvf__queue_get(s, c->in, n);
  s->passed_over = 0;
  s->outstanding += n;
  keep_places(s, c, n);
  return c;
}

/* --- stealing ------------------------------------------------------------------------------------- */

static int may_steal_of(const uvf_stage_t *s) {
  return s->workers > 1 && s->free_slots != NULL && s->idle != NULL && s->o.kind == UVF_STAGE_WORK && !s->closed;
}

/* From the end of the order to right behind its victim, which is not there already. */
static void move_behind(uvf_stage_t *s, uvf__chunk_t *victim, uvf__chunk_t *c) {
  uvf__chunk_t **at = &victim->next;
  while (*at != c) at = &(*at)->next;
  *at = NULL;
  s->order_end = at;
  c->next = victim->next;
  victim->next = c;
}

/* Half of what the victim has taken and not begun; 0: nothing. It goes on meanwhile. */
static uint32_t cut(uvf__chunk_t *victim, uint32_t *from) {
  uvf__au64 *span = (uvf__au64 *)&victim->span;
  uint64_t word = atomic_load_explicit(span, memory_order_relaxed);
  uint32_t next = (uint32_t)(word >> 32);
  uint32_t end = (uint32_t)word;
  uint32_t n;
  if (next >= end) return 0;
  n = next == 0 ? end / 2 : (end - next + 1) / 2; /* the first is what it has a place of its own for */
  *from = end - n;
  if (n == 0 || !atomic_compare_exchange_strong_explicit(span, &word, (uint64_t)next << 32 | *from,
                                                         memory_order_acq_rel, memory_order_relaxed)) {
    return 0;
  }
  return n;
}

/* From one that was taken by `turn`. */
static uvf__chunk_t *steal_from(uvf_stage_t *s, uvf__chunk_t *v, uint64_t turn) {
  uint32_t from;
  uint32_t n = v->state == UVF__CHUNK_RUNNING && v->turn <= turn ? cut(v, &from) : 0;
  uvf__chunk_t *c;
  if (n == 0) return NULL;
  c = chunk_new(s, 0);
  if (v->next != c) move_behind(s, v, c);
  memcpy(c->in, &v->in[from], n * sizeof *c->in);
  for (unsigned int i = 0; i < s->nouts; i++) {
    uint32_t part = v->room[i] < n ? v->room[i] : n;
    v->room[i] -= part;
    c->room[i] = part;
  }
  v->owed -= v->owed < n ? v->owed : n;
  keep_places(s, c, n);
  c->span = n;
  return c;
}

static uvf__chunk_t *steal_of(uvf_stage_t *s, uint64_t turn) {
  if (!may_steal_of(s)) return NULL;
  for (uvf__chunk_t *v = s->order; v != NULL; v = v->next) {
    uvf__chunk_t *c = steal_from(s, v, turn);
    if (c != NULL) return c;
  }
  return NULL;
}

static uvf__chunk_t *steal(uvf_pipeline_t *p, uint64_t turn) {
  uvf__chunk_t *c = NULL;
  for (size_t i = p->nstages; i-- > 0 && p->parallel && c == NULL;) c = steal_of(p->order[i], turn);
  return c;
}

/* --- what the runners and the loop ask ------------------------------------------------------------ */

static int is_for(const uvf_stage_t *s, int where) { return uvf__stage_on_pool(s) == (where == UVF__ON_POOL); }

/* As far as one can tell without asking its limiter. */
static int may_take(const uvf_stage_t *s) {
  return !(s->limited && s->tokens == 0) && (s->paused > 0 || can_take(s) > 0);
}

/* Of all sources the one whose turn was the longest ago. */
static uvf__chunk_t *take_source(uvf_stage_t *s, int where) {
  uvf_pipeline_t *p = s->pipeline;
  uvf_stage_t *best = s;
  uvf__chunk_t *c;
  for (size_t i = 0; i < p->nstages; i++) {
    uvf_stage_t *o = p->order[i];
    if (o->turn < best->turn && uvf__stage_pulls(o) && is_for(o, where) && may_take(o)) best = o;
  }
  c = take(best);
  return c == NULL && best != s ? take(s) : c;
}

/* Of those that feed the same queue the one whose turn was the longest ago, so that none keeps all of its places. */
static uvf__chunk_t *take_fairly(uvf_stage_t *s, int where) {
  uvf_stage_t *best = s;
  uvf__chunk_t *c;
  if (s->paused == 0 && can_take(s) == 0) return take(s);
  for (unsigned int i = 0; s->has_rivals && i < s->nouts; i++) {
    const uvf_stage_t *to = s->outs[i].to;
    for (size_t k = 0; s->outs[i].lead == i && k < to->nfeeders; k++) {
      uvf_stage_t *f = to->feeders[k];
      if (f->turn < best->turn && is_for(f, where) && may_take(f)) best = f;
    }
  }
  c = uvf__stage_pulls(best) && s->pipeline->sources > 1 ? take_source(best, where) : take(best);
  return c == NULL && best != s ? take(s) : c;
}

/* What waits for s, which has many workers, will be done before f, which feeds it, could bring more: by a call in no
 * time, or as a source. */
static int is_due(const uvf_stage_t *s, const uvf_stage_t *f) {
  uint64_t call_ns = f->cost_ns * f->batch;
  if (!uvf__stage_on_pool(f) || call_ns == 0) return 0;
  if (call_ns <= QUICK_NS && s->queued < s->workers * s->batch) return 1;
  return uvf__stage_pulls(f) && s->queued * s->cost_ns / s->workers <= 2 * call_ns;
}

/* Stages with many workers are fed before they run dry. */
static uvf__chunk_t *take_for_hungry(uvf_pipeline_t *p) {
  for (size_t i = p->nstages; i-- > 0;) {
    const uvf_stage_t *s = p->order[i];
    if (s->workers < 2 || s->closed || s->o.kind != UVF_STAGE_WORK || s->queued >= s->o.capacity) continue;
    for (size_t k = 0; k < s->nfeeders; k++) {
      uvf_stage_t *f = s->feeders[k];
      uvf__chunk_t *c = is_due(s, f) ? take_fairly(f, UVF__ON_POOL) : NULL;
      if (c != NULL) return c;
    }
  }
  return NULL;
}

/* A few cheap calls are not worth a turn of their own while there is something else to do; for a while. */
static int is_worth_it(uvf_stage_t *s) {
  if (uvf__stage_pulls(s) || s->queued == 0 || s->paused > 0) return 1;
  if (s->queued >= BATCH / 2 || s->queued >= s->o.capacity / 2) return 1;
  if (s->cost_ns == 0 || s->queued * s->cost_ns >= QUICK_NS || ++s->passed_over > PASSED_OVER_MAX) return 1;
  if (s->pipeline->gone_ns > LONG_NS) return 1; /* nothing is won beside such calls */
  if (s->passed_over == 1) s->passed_ns = s->pipeline->looked_ns;
  return s->pipeline->looked_ns > s->passed_ns + PASSED_OVER_NS;
}

uvf__chunk_t *uvf__flow_pick(uvf_pipeline_t *p, int where) {
  uvf__chunk_t *c = NULL;
  uvf__flow_settle(p); /* what has waited for room has it before what is new */
  if (p->stop) return NULL;
  if (where == UVF__ON_POOL && p->rescue) {
    p->rescue = 0;
    c = steal(p, p->seen_turns);
    if (c != NULL) return c;
  }
  if (where == UVF__ON_POOL && p->parallel && !p->fed) c = take_for_hungry(p);
  if (where == UVF__ON_POOL) p->fed = c != NULL; /* not twice in a row: others come first then */
  for (int any = 0; any < 2 && c == NULL; any++) {
    for (size_t i = p->nstages; i-- > 0 && c == NULL;) {
      uvf_stage_t *s = p->order[i];
      if (is_for(s, where) && (any || is_worth_it(s))) c = take_fairly(s, where);
    }
  }
  return c != NULL || where != UVF__ON_POOL ? c : steal(p, UINT64_MAX);
}

int uvf__flow_may_steal(uvf_pipeline_t *p, uint64_t turn) {
  for (size_t i = 0; i < p->nstages && !p->stop; i++) {
    const uvf_stage_t *s = p->order[i];
    if (!may_steal_of(s)) continue;
    for (const uvf__chunk_t *c = s->order; c != NULL; c = c->next) {
      uint64_t word = atomic_load_explicit((const uvf__au64 *)&c->span, memory_order_relaxed);
      if (c->turn <= turn && c->state == UVF__CHUNK_RUNNING && (uint32_t)(word >> 32) < (uint32_t)word) return 1;
    }
  }
  return 0;
}

int uvf__flow_has_work(uvf_pipeline_t *p, int where) {
  if (p->stop || (where == UVF__ON_LOOP && !p->on_loop)) return 0;
  for (size_t i = 0; i < p->nstages; i++) {
    const uvf_stage_t *s = p->order[i];
    if (!is_for(s, where)) continue;
    if (s->o.flush != NULL && wants_flush(s)) return 1;
    if (may_take(s)) return 1;
  }
  return 0;
}

/* There is something to take that another thread could do, and that is worth its while: with cheap calls it would only
 * pass cache lines about. */
static int has_share(const uvf_pipeline_t *p) {
  for (size_t i = 0; i < p->nstages; i++) {
    const uvf_stage_t *s = p->order[i];
    if (uvf__stage_on_pool(s) && s->cost_ns * s->batch >= WORTH_NS && can_take(s) * s->cost_ns >= WORTH_NS) return 1;
  }
  return 0;
}

/* While costs are not known: as many as stages ask for that want more workers than one. Then one more when there has
 * been something for it to do for as long as it takes to wake a thread; more at once when there is much. */
unsigned int uvf__flow_wants_runners(uvf_pipeline_t *p, uint64_t now_ns) {
  unsigned int on = p->running_chunks + p->waiting;
  unsigned int wanted = 1;
  uint64_t backlog_ns = 0;
  uint64_t gone_ns = now_ns > p->looked_ns ? now_ns - p->looked_ns : 0; /* who read the clock first may look last */
  p->looked_ns = now_ns;
  p->gone_ns = gone_ns;
  if (p->stop || on >= p->nrunners) return 0;
  for (size_t i = 0; i < p->nstages; i++) {
    const uvf_stage_t *s = p->order[i];
    if (s->o.kind != UVF_STAGE_WORK) continue;
    if (s->cost_ns == 0) {
      wanted += s->workers - 1;
    } else if (s->busy < s->workers) {
      backlog_ns += s->queued * s->cost_ns;
    }
  }
  if (on > 0 && p->finished_chunks > 0) {
    if (has_share(p)) {
      p->behind_ns += gone_ns;
    } else {
      p->behind_ns -= gone_ns < p->behind_ns ? gone_ns : p->behind_ns;
    }
    wanted = on + (unsigned int)(backlog_ns / BACKLOG_NS);
    if (wanted == on && p->behind_ns > BEHIND_NS) wanted++;
  }
  if (wanted > p->nrunners) wanted = p->nrunners;
  if (wanted <= on || !uvf__flow_has_work(p, UVF__ON_POOL)) return 0;
  p->behind_ns = 0;
  return wanted - on;
}
