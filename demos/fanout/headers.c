/* SPDX-License-Identifier: MIT */
#include "headers.h"

#include <string.h>

int headers_add(struct curl_slist **headers, const char *line) {
  struct curl_slist *longer = curl_slist_append(*headers, line);
  if (!longer) return UV_ENOMEM;
  *headers = longer;
  return 0;
}

int headers_for(const uvf_ctx_t *ctx, struct curl_slist **headers) {
  char line[128] = "grpc-timeout: ";
  size_t len = strlen(line);
  const uvf_trace_t *trace = uvf_ctx_trace(ctx);
  uint8_t span_id[sizeof(trace->span_id)];
  int err = 0;
  *headers = NULL;
  if (uvf_grpc_timeout_format(uvf_ctx_remaining_ns(ctx), line + len, sizeof(line) - len) > 0)
    err = headers_add(headers, line);
  if (err || !trace) return err;
  err = uvf_span_new(span_id);
  strcpy(line, "traceparent: ");
  len = strlen(line);
  if (!err && uvf_traceparent_format(trace, span_id, line + len, sizeof(line) - len) > 0)
    err = headers_add(headers, line);
  if (err) {
    curl_slist_free_all(*headers);
    *headers = NULL;
  }
  return err;
}
