/* SPDX-License-Identifier: MIT
 *
 * W3C Trace Context: where a request stands in its trace.
 */
#include <string.h>

#include "serve/text.h"
#include "uvflow/codec.h"

/* version - trace id - span id - flags */
#define AT_TRACE_ID 3
#define AT_SPAN_ID 36
#define AT_FLAGS 53
#define LENGTH 55

#define KNOWN_FLAGS (UVF_TRACE_SAMPLED | UVF_TRACE_RANDOM)

/* n bytes of lower-case hexadecimal. Returns whether it was that, and *any whether a byte is not zero. */
static int parse_hex(const char *text, uint8_t *bytes, size_t n, int *any) {
  *any = 0;
  for (size_t i = 0; i < n; i++) {
    char high = text[2 * i], low = text[2 * i + 1];
    if (uvf__hex_value(high) < 0 || uvf__hex_value(low) < 0) return 0;
    if ((high >= 'A' && high <= 'F') || (low >= 'A' && low <= 'F')) return 0;
    bytes[i] = (uint8_t)(uvf__hex_value(high) * 16 + uvf__hex_value(low));
    if (bytes[i] != 0) *any = 1;
  }
  return 1;
}

static void format_hex(char *text, const uint8_t *bytes, size_t n) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < n; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
}

static int is_zero(const uint8_t *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (bytes[i] != 0) return 0;
  }
  return 1;
}

int uvf_traceparent_parse(const char *text, size_t len, uvf_trace_t *trace) {
  uvf_trace_t found;
  uint8_t version;
  int any;
  if (text == NULL || trace == NULL || len < LENGTH) return UV_EINVAL;
  if (text[AT_TRACE_ID - 1] != '-' || text[AT_SPAN_ID - 1] != '-' || text[AT_FLAGS - 1] != '-') return UV_EINVAL;
  if (!parse_hex(text, &version, 1, &any) || version == 0xff) return UV_EINVAL;
  if (len > LENGTH && (version == 0 || text[LENGTH] != '-')) return UV_EINVAL;
  if (!parse_hex(text + AT_TRACE_ID, found.trace_id, sizeof(found.trace_id), &any) || !any) return UV_EINVAL;
  if (!parse_hex(text + AT_SPAN_ID, found.span_id, sizeof(found.span_id), &any) || !any) return UV_EINVAL;
  if (!parse_hex(text + AT_FLAGS, &found.flags, 1, &any)) return UV_EINVAL;
  found.flags &= version == 0 ? KNOWN_FLAGS : UVF_TRACE_SAMPLED;
  *trace = found;
  return 0;
}

int uvf_traceparent_format(const uvf_trace_t *trace, const uint8_t *span_id, char *buf, size_t size) {
  uint8_t flags;
  if (trace == NULL || buf == NULL) return UV_EINVAL;
  if (span_id == NULL) span_id = trace->span_id;
  if (is_zero(trace->trace_id, sizeof(trace->trace_id)) || is_zero(span_id, sizeof(trace->span_id))) return UV_EINVAL;
  if (size <= LENGTH) return UV_ENOBUFS;
  flags = trace->flags & KNOWN_FLAGS;
  memcpy(buf, "00-", AT_TRACE_ID);
  format_hex(buf + AT_TRACE_ID, trace->trace_id, sizeof(trace->trace_id));
  buf[AT_SPAN_ID - 1] = '-';
  format_hex(buf + AT_SPAN_ID, span_id, sizeof(trace->span_id));
  buf[AT_FLAGS - 1] = '-';
  format_hex(buf + AT_FLAGS, &flags, 1);
  buf[LENGTH] = '\0';
  return LENGTH;
}

/* Zeros are no id: one in 2^64 is not waited for. */
static int random_id(uint8_t *id, size_t size) {
  int err = uv_random(NULL, NULL, id, size, 0, NULL);
  if (err == 0) id[size - 1] |= id[0] == 0;
  return err;
}

int uvf_span_new(uint8_t span_id[8]) { return span_id != NULL ? random_id(span_id, 8) : UV_EINVAL; }

int uvf_trace_new(uvf_trace_t *trace) {
  int err;
  if (trace == NULL) return UV_EINVAL;
  err = random_id(trace->trace_id, sizeof trace->trace_id);
  if (err == 0) err = random_id(trace->span_id, sizeof trace->span_id);
  trace->flags = UVF_TRACE_RANDOM;
  return err;
}
