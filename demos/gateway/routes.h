/* SPDX-License-Identifier: MIT
 *
 * What the gateway serves.
 */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "request.h"

void healthz_start(request_t *request);
void echo_start(request_t *request);
void slow_start(request_t *request);
void work_start(request_t *request);
void fan_start(request_t *request);

/* How many functions of /work run on the pool now. */
unsigned int work_running(void);

#endif
