/* SPDX-License-Identifier: MIT
 *
 * The whole program.
 */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "fan.h"
#include "options.h"
#include "stats.h"

enum { MOST_SERVICES = 3 };

struct gateway_s {
  options_t options;
  uv_loop_t loop;
  uvf_ctx_t *root;
  uvf_signals_t signals;
  server_t app;
  server_t debug;
  server_t own; /* backends of the program's own, if it has them */
  int has_own;
  uvf_services_t services;
  uvf_service_t list[MOST_SERVICES];
  size_t count;
  backends_t backends;
  stats_t stats;
  int status;
};

/* Of debug.c. */
extern const route_t DEBUG_ROUTES[];

/* "lame-duck": the name of a step as one word. */
const char *step_word(uvf_drain_step_t step, char *buf, size_t size);

#endif
