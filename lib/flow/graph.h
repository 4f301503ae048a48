/* SPDX-License-Identifier: MIT
 *
 * The graph as the rest of flow/ sees it: ports that count, and the order from the sources to the sinks. Loop thread.
 */
#ifndef UVF_FLOW_GRAPH_H
#define UVF_FLOW_GRAPH_H

#include "flow/flow.h"

/* How many outputs it has: as many as were asked for, or as are linked. (o.inputs was settled by add.) */
static inline unsigned int uvf__stage_outputs(const uvf_stage_t *stage) {
  return stage->o.outputs == UVF_PORTS_DEFAULT ? stage->nouts : stage->o.outputs;
}

/* uvf__flow_order with the caller's memory: writes to `order` every stage after all that feed it, and returns how many
 * those are: fewer than there are if there is a cycle, as the stages on it and those behind it have no place. To
 * waits[], by index: the links a stage without a place waits for, or 0. Both have a place for each stage. */
size_t uvf__graph_order(const uvf_pipeline_t *pipeline, uvf_stage_t **order, size_t *waits);

#endif
