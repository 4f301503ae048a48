/* SPDX-License-Identifier: MIT
 *
 * In the place of backends.c where libh2o was not found.
 */
#include "backends.h"

backends_t *backends_start(uvf_ctx_t *parent, targets_t *targets) {
  (void)parent;
  (void)targets;
  fputs("fanout: built without servers of its own (libh2o was not found); give it URLs to ask: fanout URL...\n",
        stderr);
  return NULL;
}

int backends_failed(const backends_t *backends) {
  (void)backends;
  return 1;
}

void backends_stop(backends_t *backends) { (void)backends; }

void backends_free(backends_t *backends) { (void)backends; }
