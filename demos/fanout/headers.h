/* SPDX-License-Identifier: MIT
 *
 * What a call tells the server it asks: how long its caller will wait, and which trace it belongs to.
 */
#ifndef FANOUT_HEADERS_H
#define FANOUT_HEADERS_H

#include <curl/curl.h>

#include "common.h"

/* `grpc-timeout`, if ctx has a deadline, and `traceparent` with a new span, if it carries a trace. For
 * CURLOPT_HTTPHEADER; the caller frees the list when the transfer is over. 0 or UV_E*. */
int headers_for(const uvf_ctx_t *ctx, struct curl_slist **headers);

/* Appends a line. 0 or UV_ENOMEM, and the list is as it was. */
int headers_add(struct curl_slist **headers, const char *line);

#endif
