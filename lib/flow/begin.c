/* SPDX-License-Identifier: MIT
 *
 * The memory of a run: all that it needs is there before it begins (but for output that exceeds a batch, see uvf_emit),
 * and is given back when it is over. Loop thread; nobody else knows of the run yet, or any more.
 */
#include <string.h>

#include "flow/flow.h"
#include "kernel/alloc.h"

static void free_stage(uvf_stage_t *s) {
  if (s->ctx != NULL && s->ctx != s->pipeline->ctx) uvf_ctx_release(s->ctx);
  s->ctx = NULL;
  for (unsigned int i = 0; s->slots != NULL && i < s->workers; i++) {
    if (s->slots[i].own != NULL) uvf_ctx_release(s->slots[i].own);
  }
  for (size_t i = 0; s->chunks != NULL && i < s->nchunks; i++) {
    if (s->chunks[i].out != s->chunks[i].out_first) uvf__free(s->chunks[i].out);
  }
  uvf__free(s->slots);
  uvf__free(s->chunks);
  uvf__free(s->entries);
  uvf__free(s->rooms);
  uvf__free(s->ports_closed);
  uvf__free(s->ring);
  s->slots = NULL;
  s->chunks = NULL;
  s->entries = NULL;
  s->rooms = NULL;
  s->ports_closed = NULL;
  s->ring = NULL;
}

void uvf__flow_free_run(uvf_pipeline_t *p) {
  for (uvf_stage_t *s = p->stages; s != NULL; s = s->next) free_stage(s);
  uvf__free(p->runners);
  uvf__free(p->order);
  p->runners = NULL;
  p->order = NULL;
}

/* Sizes come from options, so they are checked. What is large is not zeroed: then much of it is never touched. */
static void *large(size_t n, size_t size) { return n == 0 || n > SIZE_MAX / 2 / size ? NULL : uvf__malloc(n * size); }

static void *array(size_t n, size_t size) {
  void *block = large(n, size);
  if (block != NULL) memset(block, 0, n * size);
  return block;
}

static void chunk_init(uvf_stage_t *s, size_t i) {
  uvf__chunk_t *c = &s->chunks[i];
  size_t batch = uvf__stage_batch_max(s);
  c->stage = s;
  c->flow.data = s->o.data;
  c->flow.stage = s;
  c->in = &s->entries[3 * i * batch];
  c->again = c->in + batch;
  c->out = c->out_first = c->again + batch;
  c->out_max = batch;
  c->nports = s->nouts;
  c->room = &s->rooms[i * s->nouts];
  c->closed = s->ports_closed;
  c->next = s->idle;
  s->idle = c;
}

static int slot_init(uvf_stage_t *s, unsigned int i) {
  uvf__slot_t *slot = &s->slots[i];
  slot->index = i;
  slot->next = s->free_slots;
  s->free_slots = slot;
  if (s->o.kind != UVF_STAGE_WORK || s->o.item_timeout_ms == 0) return 0;
  return uvf_ctx_with_cancel(s->pipeline->ctx, &slot->own);
}

/* Rows of calls that may be out at once. In order many may be done and wait for the first. */
static size_t chunks_of(const uvf_stage_t *s) {
  if (!s->o.ordered || uvf__stage_pulls(s)) return s->workers;
  return s->window < UVF__FLOW_WINDOW_MAX ? s->window : UVF__FLOW_WINDOW_MAX;
}

static void prepare_ports(uvf_stage_t *s) {
  s->has_rivals = 0;
  for (unsigned int i = 0; i < s->nouts; i++) {
    uvf_stage_t *to = s->outs[i].to;
    unsigned int lead = 0;
    while (s->outs[lead].to != to) lead++;
    s->outs[i].lead = lead;
    s->ports_closed[i] = &to->closed;
    if (to->nfeeders > 1) s->has_rivals = 1;
  }
}

static int stage_memory(uvf_stage_t *s) {
  size_t batch = uvf__stage_batch_max(s);
  s->nchunks = chunks_of(s);
  if (s->o.capacity > SIZE_MAX / 2 || s->workers > SIZE_MAX / 4 / batch) return UV_ENOMEM;
  if (s->nchunks > SIZE_MAX / 4 / (s->nouts + 1)) return UV_ENOMEM;
  s->ring_size = s->o.capacity + (size_t)s->workers * batch + 1;
  s->ring = large(s->ring_size, sizeof *s->ring);
  s->slots = array(s->workers, sizeof *s->slots);
  s->chunks = array(s->nchunks, sizeof *s->chunks);
  s->entries = large(s->nchunks, 3 * batch * sizeof *s->entries);
  s->rooms = array(s->nchunks * s->nouts + 1, sizeof *s->rooms);
  s->ports_closed = array(s->nouts + 1, sizeof *s->ports_closed);
  if (s->ring == NULL || s->slots == NULL || s->chunks == NULL || s->entries == NULL || s->rooms == NULL ||
      s->ports_closed == NULL)
    return UV_ENOMEM;
  prepare_ports(s);
  for (size_t i = s->nchunks; i-- > 0;) chunk_init(s, i);
  return 0;
}

/* Other threads may be reading those of the last run. */
static void reset_figures(uvf_stage_t *s) {
  uvf__lock(&s->pipeline->lock);
  s->in = s->out = s->done = s->failed = s->dropped = s->retried = 0;
  s->queued = 0;
  s->active = s->busy = 0;
  s->finished = 0;
  memset(s->latency, 0, sizeof s->latency);
  s->turn = 0;
  uvf__unlock(&s->pipeline->lock);
}

static int stage_init(uvf_stage_t *s) {
  int err;
  s->workers = s->o.kind == UVF_STAGE_WORK || s->o.kind == UVF_STAGE_ASYNC ? s->o.workers : 1;
  s->window = s->o.window != 0 && s->o.window < s->o.capacity ? s->o.window : s->o.capacity;
  s->batch = 1; /* until it is known what a call costs */
  s->first = s->held = s->outstanding = 0;
  s->paused = 0;
  s->closed = s->unwanted = 0;
  s->passed_over = 0;
  s->passed_ns = 0;
  s->eof = s->flushed = s->dirty = 0;
  s->open_feeders = s->nfeeders;
  s->idle = s->order = NULL;
  s->free_slots = NULL;
  s->order_end = &s->order;
  s->cost_ns = s->tokens = 0;
  s->limited = s->limit_waits = 0;
  reset_figures(s);
  s->ctx = s->pipeline->ctx;
  err = stage_memory(s);
  if (err == 0 && s->o.kind == UVF_STAGE_ASYNC) err = uvf_ctx_with_cancel(s->pipeline->ctx, &s->ctx);
  for (unsigned int i = s->workers; i-- > 0 && err == 0;) err = slot_init(s, i);
  return err;
}

/* 0, or a code: then free_run is still to be called. */
int uvf__flow_begin(uvf_pipeline_t *p) {
  unsigned int most = uvf_work_limit();
  unsigned int want = 0;
  p->stop = 0;
  p->status = 0;
  p->jobs = p->calls = p->running_chunks = p->waiting = 0;
  p->finished_chunks = p->seen = 0;
  p->looked_ns = uv_hrtime();
  p->watch_ns = 0;
  p->sources = 0;
  p->turn = p->turn_ends_ns = 0;
  p->turns = p->seen_turns = 0;
  p->rescue = 0;
  p->failed = NULL;
  p->fed = 0;
  p->behind_ns = p->left_ns = p->gone_ns = 0;
  p->to_wait = 0;
  p->linger_ns = UVF__FLOW_LINGER_NS;
  p->wanted = 0;
  p->hint = 0;
  p->dirty = p->to_drop = p->to_end = p->on_loop = p->parallel = 0;
  p->open = (unsigned int)p->nstages;
  p->armed = p->readied = p->in_service = p->more = 0;
  p->order = uvf__malloc(p->nstages * sizeof(uvf_stage_t *));
  if (p->order == NULL) return UV_ENOMEM;
  for (uvf_stage_t *s = p->stages; s != NULL; s = s->next) {
    int err = stage_init(s);
    if (err != 0) return err;
    if (uvf__stage_pulls(s)) p->sources++;
    if (uvf__stage_on_pool(s)) {
      want += s->workers;
      if (s->workers > 1) p->parallel = 1;
    } else {
      p->on_loop = 1;
    }
  }
  p->nrunners = want < most ? want : most;
  p->runners = uvf__malloc((p->nrunners + 1) * sizeof *p->runners);
  if (p->runners == NULL) return UV_ENOMEM;
  for (unsigned int i = 0; i < p->nrunners; i++) {
    p->runners[i].pipeline = p;
    p->runners[i].on = 0;
  }
  return uvf__flow_order(p, p->order);
}
