/* SPDX-License-Identifier: MIT
 *
 * What the headers of a request say to a server that keeps deadlines and traces.
 */
#ifndef GATEWAY_HEAD_H
#define GATEWAY_HEAD_H

#include "common.h"

typedef struct head_s {
  uint64_t timeout_ns;       /* what the client grants; UVF_NO_DEADLINE: it does not say */
  const h2o_header_t *wrong; /* a header that says a time, but not so that it can be understood */
  const char *wrong_because;
} head_t;

/* Reads the headers that grant a time. Both, or one of them twice: the smallest counts. 0, or UV_EINVAL and `wrong`. */
int head_read_timeout(const h2o_req_t *req, head_t *head);

/* The trace that the request belongs to; one that begins here if it brings none. 0, or UV_E*: no random numbers. */
int head_read_trace(const h2o_req_t *req, uvf_trace_t *trace);

/* Its baggage, malformed members left out, as "baggage: ..." for a request of ours. Empty if there is none. */
void head_copy_baggage(const h2o_req_t *req, char *line, size_t size);

#endif
