/* SPDX-License-Identifier: MIT
 *
 * traceparent: any text is either refused for a reason found independently, or comes back as the same text; and any 25
 * bytes are a trace that comes back, but for what may not be sent.
 */
#include "fuzz.h"

#define LENGTH 55

static const char shape[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";

static int is_lower_hex(uint8_t c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

static int all_zeros(const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (p[i] != '0') return 0;
  }
  return 1;
}

static int is_valid(const uint8_t *p, size_t n) {
  if (n < LENGTH) return 0;
  for (size_t i = 0; i < LENGTH; i++) {
    if (shape[i] == 'h' ? !is_lower_hex(p[i]) : p[i] != '-') return 0;
  }
  if (memcmp(p, "ff", 2) == 0 || all_zeros(p + 3, 32) || all_zeros(p + 36, 16)) return 0;
  return n == LENGTH || (memcmp(p, "00", 2) != 0 && p[LENGTH] == '-');
}

static void check_text(const uint8_t *data, size_t size) {
  char out[UVF_TRACEPARENT_SIZE];
  uvf_trace_t trace;
  memset(&trace, 0x5a, sizeof(trace));
  if (!is_valid(data, size)) {
    uvf_trace_t before = trace;
    MUST(uvf_traceparent_parse((const char *)data, size, &trace) == UV_EINVAL);
    MUST(memcmp(&before, &trace, sizeof(trace)) == 0);
    return;
  }
  MUST(uvf_traceparent_parse((const char *)data, size, &trace) == 0);
  MUST(uvf_traceparent_format(&trace, NULL, out, sizeof(out)) == LENGTH && out[LENGTH] == '\0');
  /* Everything but the version, and the flags nobody knows. */
  MUST(memcmp(out, "00", 2) == 0 && memcmp(out + 2, data + 2, 51) == 0);
  MUST(trace.flags <= (UVF_TRACE_SAMPLED | UVF_TRACE_RANDOM));
  if (memcmp(data, "00-", 3) == 0 && data[53] == '0' && data[54] <= '3') MUST(memcmp(out, data, LENGTH) == 0);
}

static void check_bytes(const uint8_t *data) {
  char out[UVF_TRACEPARENT_SIZE];
  uvf_trace_t trace, back;
  int n;
  memcpy(trace.trace_id, data, 16);
  memcpy(trace.span_id, data + 16, 8);
  trace.flags = data[24];
  n = uvf_traceparent_format(&trace, NULL, out, sizeof(out));
  if (n == UV_EINVAL) return;
  MUST(n == LENGTH && is_valid((const uint8_t *)out, LENGTH));
  MUST(uvf_traceparent_parse(out, LENGTH, &back) == 0);
  MUST(memcmp(back.trace_id, trace.trace_id, 16) == 0 && memcmp(back.span_id, trace.span_id, 8) == 0);
  MUST(back.flags == (trace.flags & 3));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  check_text(data, size);
  if (size >= 25) check_bytes(data);
  return 0;
}
