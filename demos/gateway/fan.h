/* SPDX-License-Identifier: MIT
 *
 * The backends that /fan asks.
 */
#ifndef GATEWAY_FAN_H
#define GATEWAY_FAN_H

#include "../fanout/http.h" /* libcurl under contexts */
#include "options.h"
#include "request.h"

typedef struct backends_s {
  http_t http;
  uvf_waitgroup_t fans; /* that are under way: curl stays until the last has ended */
  uvf_wait_t wait;
  char *urls[MOST_BACKENDS];
  size_t count;
} backends_t;

/* Reads a list of URLs, separated by commas. 0, or -1: stderr says why. backends_free in every case. */
int backends_parse(backends_t *backends, const char *list);
void backends_free(backends_t *backends);

/* Adds one. 0, UV_ENOMEM, UV_ENOBUFS. */
int backends_add(backends_t *backends, const char *url, size_t len);

/* curl's handles are bound to ctx. `transfers`: at once. 0 or UV_E*. */
int backends_open(backends_t *backends, uvf_ctx_t *ctx, size_t transfers);

/* Waits for the last /fan, and closes curl; cb comes then, on the loop. */
int backends_close(backends_t *backends, uvf_ctx_t *ctx, uvf_wait_cb cb);

#endif
