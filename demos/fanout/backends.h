/* SPDX-License-Identifier: MIT
 *
 * HTTP servers of fanout's own, for a look at it without a network: libh2o on the same loop.
 */
#ifndef FANOUT_BACKENDS_H
#define FANOUT_BACKENDS_H

#include "options.h"

typedef struct backends_s backends_t;

/* Starts them under a child of parent and adds their URLs to targets. To be called before other handles than uvflow's
 * are on the loop: h2o makes handles that would hold it for ever, and all that are found then are unreferenced. NULL,
 * or backends_failed: stderr says why. */
backends_t *backends_start(uvf_ctx_t *parent, targets_t *targets);
int backends_failed(const backends_t *backends);

/* Stops listening and ends what is being answered: asynchronous, done when the loop has no more to do.

 * NULL: nothing. */
void backends_stop(backends_t *backends);

/* Frees the rest; the loop must have run to its end, and must not be running now. NULL: nothing. */
void backends_free(backends_t *backends);

#endif
