/* SPDX-License-Identifier: MIT
 *
 * grpc-timeout and x-envoy-expected-rq-timeout-ms: any text, against the grammar once more, written as a machine that
 * eats one byte at a time; and any eight bytes as a time, there and back.
 */
#include "fuzz.h"

/* a * b + c, saturating. */
static uint64_t times_plus(uint64_t a, uint64_t b, uint64_t c) {
  if (b != 0 && a > UINT64_MAX / b) return UINT64_MAX;
  return a * b > UINT64_MAX - c ? UINT64_MAX : a * b + c;
}

static int expect_grpc(const uint8_t *p, size_t n, uint64_t *ns) {
  static const uint64_t s = UINT64_C(1000000000);
  uint64_t value = 0;
  size_t i = 0;
  for (; i < n && p[i] >= '0' && p[i] <= '9'; i++) value = times_plus(value, 10, (uint64_t)(p[i] - '0'));
  if (i == 0 || i > 8 || i + 1 != n) return UV_EINVAL;
  switch (p[i]) {
    case 'H': *ns = times_plus(value, 3600 * s, 0); return 0;
    case 'M': *ns = times_plus(value, 60 * s, 0); return 0;
    case 'S': *ns = times_plus(value, s, 0); return 0;
    case 'm': *ns = times_plus(value, s / 1000, 0); return 0;
    case 'u': *ns = times_plus(value, s / 1000000, 0); return 0;
    case 'n': *ns = value; return 0;
    default: return UV_EINVAL;
  }
}

static int expect_envoy(const uint8_t *p, size_t n, uint64_t *ns) {
  uint64_t value = 0;
  size_t i = 0;
  for (; i < n && p[i] >= '0' && p[i] <= '9'; i++) value = times_plus(value, 10, (uint64_t)(p[i] - '0'));
  if (i == 0 || i > 20 || i != n) return UV_EINVAL;
  *ns = value == 0 ? UVF_NO_DEADLINE : times_plus(value, 1000000, 0);
  return 0;
}

typedef int (*parse_fn)(const char *text, size_t len, uint64_t *ns);
typedef int (*format_fn)(uint64_t ns, char *buf, size_t size);

/* A time comes back no shorter, and what came back is a fixed point. */
static void check_round(uint64_t ns, parse_fn parse, format_fn format, size_t room) {
  char first[32], second[32];
  uint64_t back, again;
  int n = format(ns, first, room);
  MUST(n >= 0 && (size_t)n < room && first[n] == '\0' && strlen(first) == (size_t)n);
  MUST((n == 0) == (ns == UVF_NO_DEADLINE));
  MUST(format(ns, second, (size_t)n) == UV_ENOBUFS);
  if (n == 0) return;
  MUST(parse(first, (size_t)n, &back) == 0);
  MUST(back >= ns);
  n = format(back, second, room);
  MUST(n >= 0);
  if (back == UVF_NO_DEADLINE) return;
  MUST(parse(second, (size_t)n, &again) == 0 && again == back);
  MUST(strcmp(first, second) == 0);
}

static void check_time(uint64_t ns) {
  uint64_t back;
  char buf[UVF_GRPC_TIMEOUT_SIZE];
  int n = uvf_grpc_timeout_format(ns, buf, sizeof(buf));
  check_round(ns, uvf_grpc_timeout_parse, uvf_grpc_timeout_format, UVF_GRPC_TIMEOUT_SIZE);
  check_round(ns, uvf_envoy_timeout_parse, uvf_envoy_timeout_format, UVF_ENVOY_TIMEOUT_SIZE);
  if (n > 0 && uvf_grpc_timeout_parse(buf, (size_t)n, &back) == 0 && back != UVF_NO_DEADLINE) {
    MUST(back - ns <= ns / 100000);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint64_t untouched = UINT64_C(0x5a5a5a5a5a5a5a5a);
  uint64_t ns = untouched, wanted = untouched;
  int err = expect_grpc(data, size, &wanted);
  MUST(uvf_grpc_timeout_parse((const char *)data, size, &ns) == err && ns == wanted);
  if (err == 0) check_time(ns);
  ns = wanted = untouched;
  err = expect_envoy(data, size, &wanted);
  MUST(uvf_envoy_timeout_parse((const char *)data, size, &ns) == err && ns == wanted);
  if (err == 0) check_time(ns);
  if (size >= sizeof(ns)) {
    memcpy(&ns, data, sizeof(ns));
    check_time(ns);
    check_time(ns >> (data[sizeof(ns) - 1] & 63));
  }
  return 0;
}
