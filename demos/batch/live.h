/* SPDX-License-Identifier: MIT
 *
 * A pipeline that is drawn again and again, in place, while it runs: on a terminal only.
 */
#ifndef BATCH_LIVE_H
#define BATCH_LIVE_H

#include <stdio.h>
#include <uvflow.h>

typedef struct live_s {
  const uvf_pipeline_t *pipeline;
  unsigned int flags; /* UVF_DRAW_* */
  uv_timer_t timer;
  uvf_guard_t guard;
  FILE *scratch;
  unsigned int lines; /* of the drawing that stands on the terminal */
} live_t;

/* Until live_end, or the end of ctx. Where standard output is no terminal it does nothing. */
int live_begin(live_t *live, uvf_ctx_t *ctx, const uvf_pipeline_t *pipeline, unsigned int flags);

/* Takes away what was drawn. It need not have begun, if it is zeroed. */
void live_end(live_t *live);

#endif
