/* SPDX-License-Identifier: MIT
 *
 * The graph of a pipeline: stages in the order they were added, and the links between them, known at both ends.
 *
 * Invariants
 * 1. Loop thread only, and nothing changes while it runs: so the engine reads all of this without a lock.
 * 2. A link is in from->outs[port] and, once, in to->feeders. Both have room for it before either is changed.
 * 3. The room of both arrays follows from their length, room_for(): no field says it.
 */
#include "flow/graph.h"

#include <string.h>

#include "kernel/alloc.h"
#include "kernel/rule.h"

#define CAPACITY_DEFAULT 128

void uvf_stage_options_init(uvf_stage_options_t *options, int kind, const char *name, uvf_stage_fn fn, void *data) {
  if (options == NULL) return;
  memset(options, 0, sizeof *options);
  options->name = name;
  options->kind = kind;
  options->fn = fn;
  options->data = data;
  options->inputs = UVF_PORTS_DEFAULT;
  options->outputs = UVF_PORTS_DEFAULT;
  options->workers = 1;
  options->capacity = CAPACITY_DEFAULT;
  options->on_error = UVF_ON_ERROR_FAIL;
}

/* --- pipelines ------------------------------------------------------------------------------------ */

/* A zeroed struct, and behind it a copy of its name. */
static void *named(size_t size, const char *text, char **name) {
  size_t len = strlen(text) + 1;
  char *block = uvf__malloc(size + len);
  if (block == NULL) return NULL;
  memset(block, 0, size);
  memcpy(block + size, text, len);
  *name = block + size;
  return block;
}

int uvf_pipeline_create(const char *name, uvf_pipeline_t **out) {
  uvf_pipeline_t *pipeline;
  char *copy;
  if (name == NULL || out == NULL) return UV_EINVAL;
  pipeline = named(sizeof *pipeline, name, &copy);
  if (pipeline == NULL) return UV_ENOMEM;
  pipeline->name = copy;
  pipeline->end = &pipeline->stages;
  *out = pipeline;
  return 0;
}

int uvf_pipeline_destroy(uvf_pipeline_t *pipeline) {
  uvf_stage_t *stage;
  if (pipeline == NULL) return 0;
  UVF__RULE(!pipeline->running, "uvf_pipeline_destroy", "a pipeline is destroyed when it is done, not while it runs");
  if (pipeline->running) return UV_EBUSY;
  while ((stage = pipeline->stages) != NULL) {
    pipeline->stages = stage->next;
    uvf__free(stage->outs);
    uvf__free(stage->feeders);
    uvf__free(stage);
  }
  uvf__free(pipeline);
  return 0;
}

/* --- stages --------------------------------------------------------------------------------------- */

static int options_known(const uvf_stage_options_t *o) {
  return o != NULL && o->name != NULL && o->fn != NULL && o->kind >= UVF_STAGE_SOURCE && o->kind <= UVF_STAGE_ASYNC &&
         o->on_error >= UVF_ON_ERROR_FAIL && o->on_error <= UVF_ON_ERROR_RETRY_SKIP;
}

/* What follows from the kind. */
static void settle(uvf_stage_options_t *o) {
  if (o->inputs == UVF_PORTS_DEFAULT) o->inputs = o->kind == UVF_STAGE_SOURCE ? 0 : 1;
  if (o->kind == UVF_STAGE_SOURCE || o->kind == UVF_STAGE_LOOP) {
    if (o->workers > 1) o->workers = 1;
    o->item_timeout_ms = 0;
  }
}

int uvf_pipeline_add(uvf_pipeline_t *pipeline, const uvf_stage_options_t *options, uvf_stage_t **stage) {
  uvf_stage_t *s;
  char *copy;
  if (pipeline == NULL || stage == NULL || !options_known(options)) return UV_EINVAL;
  if (pipeline->running) return UV_EBUSY;
  s = named(sizeof *s, options->name, &copy);
  if (s == NULL) return UV_ENOMEM;
  s->pipeline = pipeline;
  s->index = pipeline->nstages++;
  s->name = copy;
  s->o = *options;
  s->o.name = copy;
  settle(&s->o);
  *pipeline->end = s;
  pipeline->end = &s->next;
  *stage = s;
  return 0;
}

uvf_stage_t *uvf_pipeline_stage(const uvf_pipeline_t *pipeline, size_t index) {
  uvf_stage_t *s = pipeline == NULL ? NULL : pipeline->stages;
  while (s != NULL && index-- > 0) s = s->next;
  return s;
}

const char *uvf_stage_name(const uvf_stage_t *stage) { return stage == NULL ? "" : stage->name; }

/* --- links ---------------------------------------------------------------------------------------- */

/* The places of an array of n elements: the next power of two. */
static size_t room_for(size_t n) {
  size_t room = 1;
  if (n == 0) return 0;
  while (room < n) room *= 2;
  return room;
}

/* An array for `want` elements with the `have` of the old one, or NULL; the old one itself if it has the room. */
static void *grown(void *old, size_t have, size_t want, size_t size) {
  void *array;
  if (room_for(want) == room_for(have)) return old;
  if (room_for(want) > SIZE_MAX / size) return NULL;
  array = uvf__malloc(room_for(want) * size);
  if (array != NULL && have > 0) memcpy(array, old, have * size);
  return array;
}

/* Makes room for one more feeder of `to` and for the output `port` of `from`: both, or nothing is changed. */
static int make_room(uvf_stage_t *from, unsigned int port, uvf_stage_t *to) {
  unsigned int nouts = port < from->nouts ? from->nouts : port + 1;
  uvf__port_t *outs = grown(from->outs, from->nouts, nouts, sizeof *outs);
  uvf_stage_t **feeders = outs == NULL ? NULL : grown(to->feeders, to->nfeeders, to->nfeeders + 1, sizeof(void *));
  if (feeders == NULL) {
    if (outs != from->outs) uvf__free(outs);
    return UV_ENOMEM;
  }
  if (outs != from->outs) uvf__free(from->outs);
  if (feeders != to->feeders) uvf__free(to->feeders);
  from->outs = outs;
  to->feeders = feeders;
  for (; from->nouts < nouts; from->nouts++) from->outs[from->nouts] = (uvf__port_t){NULL, 0, 0};
  return 0;
}

int uvf_pipeline_link(uvf_stage_t *from, unsigned int port, uvf_stage_t *to, unsigned int input) {
  if (from == NULL || to == NULL || from->pipeline != to->pipeline) return UV_EINVAL;
  if (port > UVF_PORT_MAX || input > UVF_PORT_MAX) return UV_EINVAL;
  if (from->pipeline->running) return UV_EBUSY;
  if (port < from->nouts && from->outs[port].to != NULL) return UV_EEXIST;
  if (make_room(from, port, to) != 0) return UV_ENOMEM;
  from->outs[port].to = to;
  from->outs[port].input = input;
  to->feeders[to->nfeeders++] = from;
  return 0;
}

int uvf_pipeline_chain(uvf_stage_t *from, uvf_stage_t *to) {
  unsigned int port = 0;
  if (from == NULL) return UV_EINVAL;
  while (port < from->nouts && from->outs[port].to != NULL) port++;
  return uvf_pipeline_link(from, port, to, 0);
}

/* --- order ---------------------------------------------------------------------------------------- */

/* A stage gets its place when the last of its feeders has, and `order` itself is the queue of those whose targets are
 * still to be told. */
size_t uvf__graph_order(const uvf_pipeline_t *pipeline, uvf_stage_t **order, size_t *waits) {
  size_t n = 0;
  for (uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    waits[s->index] = s->nfeeders;
    if (s->nfeeders == 0) order[n++] = s;
  }
  for (size_t i = 0; i < n; i++) {
    for (unsigned int port = 0; port < order[i]->nouts; port++) {
      uvf_stage_t *to = order[i]->outs[port].to;
      if (to != NULL && --waits[to->index] == 0) order[n++] = to;
    }
  }
  return n;
}

int uvf__flow_order(const uvf_pipeline_t *pipeline, uvf_stage_t **order) {
  size_t *waits = uvf__malloc((pipeline->nstages + 1) * sizeof *waits);
  size_t n;
  if (waits == NULL) return UV_ENOMEM;
  n = uvf__graph_order(pipeline, order, waits);
  uvf__free(waits);
  return n == pipeline->nstages ? 0 : UV_EINVAL;
}
