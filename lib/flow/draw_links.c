/* SPDX-License-Identifier: MIT
 *
 * The links of a pipeline as a table, and which of them lead back: without those it is a graph with an order, as a
 * drawing from left to right needs, whatever validate says of it.
 */
#include "flow/draw.h"
#include "kernel/alloc.h"

enum { NEW = 0, OPEN = 1, DONE = 2 };

typedef struct visit_s {
  int state;
  size_t next;               /* its link to be followed next */
  const uvf_stage_t *parent; /* whom the walk came from */
} visit_t;

/* Depth first, without recursion. A link to a stage that is OPEN closes a circle. */
static void visit_from(uvf__arrows_t *arrows, visit_t *visits, const uvf_stage_t *s) {
  if (visits[s->index].state != NEW) return;
  visits[s->index] = (visit_t){OPEN, arrows->first[s->index], NULL};
  while (s != NULL) {
    visit_t *v = &visits[s->index];
    uvf__arrow_t *arrow;
    visit_t *to;
    if (v->next == arrows->first[s->index + 1]) {
      v->state = DONE;
      s = v->parent;
      continue;
    }
    arrow = &arrows->at[v->next++];
    to = &visits[arrow->to->index];
    arrow->back = to->state == OPEN;
    if (to->state != NEW) continue;
    *to = (visit_t){OPEN, arrows->first[arrow->to->index], s};
    s = arrow->to;
  }
}

static void find_back(uvf__arrows_t *arrows, visit_t *visits, const uvf_pipeline_t *pipeline) {
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    if (s->nfeeders == 0) visit_from(arrows, visits, s);
  }
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) visit_from(arrows, visits, s);
}

static void list_all(uvf__arrows_t *arrows, const uvf_pipeline_t *pipeline) {
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    arrows->first[s->index] = arrows->n;
    for (unsigned int port = 0; port < s->nouts; port++) {
      if (s->outs[port].to == NULL) continue;
      arrows->at[arrows->n++] = (uvf__arrow_t){s, s->outs[port].to, port, s->outs[port].input, 0, 0, 0};
    }
  }
  arrows->first[pipeline->nstages] = arrows->n;
}

int uvf__arrows_init(uvf__arrows_t *arrows, const uvf_pipeline_t *pipeline) {
  visit_t *visits = uvf__draw_array(pipeline->nstages, sizeof *visits);
  size_t n = 0;
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) n += s->nfeeders;
  arrows->n = 0;
  arrows->at = uvf__draw_array(n, sizeof *arrows->at);
  arrows->first = uvf__draw_array(pipeline->nstages + 1, sizeof *arrows->first);
  if (visits == NULL || arrows->at == NULL || arrows->first == NULL) {
    uvf__free(visits);
    uvf__arrows_free(arrows);
    return UV_ENOMEM;
  }
  list_all(arrows, pipeline);
  find_back(arrows, visits, pipeline);
  uvf__free(visits);
  return 0;
}

void uvf__arrows_free(uvf__arrows_t *arrows) {
  uvf__free(arrows->at);
  uvf__free(arrows->first);
  arrows->at = NULL;
  arrows->first = NULL;
}
