/* SPDX-License-Identifier: MIT
 *
 * The queue of a stage, and the count of its places. All under the pipeline's lock.
 */
#ifndef UVF_FLOW_QUEUE_H
#define UVF_FLOW_QUEUE_H

#include <string.h>

#include "flow/flow.h"

/* To be looked at before anybody takes: chunks of it may be flushed, or it may be finished. */
static inline void uvf__stage_touch(uvf_stage_t *s) {
  s->dirty = 1;
  s->pipeline->dirty = 1;
}

/* Places in its queue are free again: those that feed it may have something pending. */
static inline void uvf__stage_free_places(uvf_stage_t *s, size_t n) {
  if (n == 0) return;
  s->held -= n;
  for (size_t i = 0; i < s->nfeeders; i++) uvf__stage_touch(s->feeders[i]);
}

/* Nothing comes to it any more. */
static inline int uvf__stage_ended(const uvf_stage_t *s) {
  return s->closed || (uvf__stage_pulls(s) ? s->eof : s->open_feeders == 0);
}

static inline size_t uvf__stage_places(const uvf_stage_t *s) {
  return s->held < s->o.capacity ? s->o.capacity - s->held : 0;
}

/* n entries in the ring from `at`: how many of them lie before its end. */
static inline size_t uvf__ring_straight(const uvf_stage_t *s, size_t at, size_t n) {
  return s->ring_size - at < n ? s->ring_size - at : n;
}

/* Room for n entries at the end of the queue; their index in the ring, where they may wrap. */
static inline size_t uvf__queue_add(uvf_stage_t *s, size_t n) {
  size_t at = s->first + s->queued;
  if (at >= s->ring_size) at -= s->ring_size;
  s->queued += n;
  if (s->closed) s->pipeline->to_drop = 1;
  return at;
}

static inline void uvf__queue_put(uvf_stage_t *s, const uvf__entry_t *e) { s->ring[uvf__queue_add(s, 1)] = *e; }

static inline void uvf__queue_put_first(uvf_stage_t *s, const uvf__entry_t *e) {
  s->first = s->first == 0 ? s->ring_size - 1 : s->first - 1;
  s->ring[s->first] = *e;
  s->queued++;
  if (s->closed) s->pipeline->to_drop = 1;
}

static inline void uvf__queue_get(uvf_stage_t *s, uvf__entry_t *to, size_t n) {
  size_t straight = uvf__ring_straight(s, s->first, n);
  memcpy(to, &s->ring[s->first], straight * sizeof *to);
  if (straight < n) memcpy(to + straight, s->ring, (n - straight) * sizeof *to);
  s->first += n;
  if (s->first >= s->ring_size) s->first -= s->ring_size;
  s->queued -= n;
}

#endif
