/* SPDX-License-Identifier: MIT */
#include "head.h"

#include <string.h>

static const char GRPC_TIMEOUT[] = "grpc-timeout";
static const char ENVOY_TIMEOUT[] = "x-envoy-expected-rq-timeout-ms";

/* h2o has lowered the names. */
static int is_named(const h2o_header_t *header, const char *name, size_t len) {
  return header->name->len == len && memcmp(header->name->base, name, len) == 0;
}

int head_read_timeout(const h2o_req_t *req, head_t *head) {
  head->timeout_ns = UVF_NO_DEADLINE;
  for (size_t i = 0; i < req->headers.size; i++) {
    const h2o_header_t *header = &req->headers.entries[i];
    uint64_t timeout_ns;
    int err;
    if (is_named(header, GRPC_TIMEOUT, sizeof(GRPC_TIMEOUT) - 1)) {
      err = uvf_grpc_timeout_parse(header->value.base, header->value.len, &timeout_ns);
      head->wrong_because = "is not one to eight digits and a unit: H, M, S, m, u or n";
    } else if (is_named(header, ENVOY_TIMEOUT, sizeof(ENVOY_TIMEOUT) - 1)) {
      err = uvf_envoy_timeout_parse(header->value.base, header->value.len, &timeout_ns);
      head->wrong_because = "is not a number of milliseconds of one to twenty digits";
    } else {
      continue;
    }
    head->wrong = header;
    if (err) return err;
    if (timeout_ns < head->timeout_ns) head->timeout_ns = timeout_ns;
  }
  return 0;
}

int head_read_trace(const h2o_req_t *req, uvf_trace_t *trace) {
  ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("traceparent"), -1);
  if (at != -1) {
    h2o_iovec_t value = req->headers.entries[at].value;
    if (uvf_traceparent_parse(value.base, value.len, trace) == 0) return 0;
  }
  return uvf_trace_new(trace);
}

void head_copy_baggage(const h2o_req_t *req, char *line, size_t size) {
  static const char NAME[] = "baggage: ";
  size_t len = 0, start = sizeof(NAME) - 1;
  memcpy(line, NAME, start);
  for (ssize_t at = -1; (at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("baggage"), at)) != -1;) {
    uvf_baggage_t baggage;
    uvf_baggage_init(&baggage, req->headers.entries[at].value.base, req->headers.entries[at].value.len);
    for (int err; (err = uvf_baggage_next(&baggage)) == 0 || err == UV_EINVAL;)
      if (!err) uvf_baggage_copy(line + start, size - start, &len, &baggage); /* no room: left out */
  }
  if (!len) line[0] = '\0';
}
