/* SPDX-License-Identifier: MIT
 *
 * How long a request may take: the two headers that say it, and what a server makes of them.
 */
#include <string.h>

#include "serve/text.h"
#include "uvflow/codec.h"

#define MS_NS UINT64_C(1000000)
#define GRPC_DIGITS 8
#define GRPC_MOST UINT64_C(99999999)
#define ENVOY_DIGITS 20 /* of UINT64_MAX */

/* From the finest; each is a whole multiple of the one before. */
static const struct {
  char letter;
  uint64_t ns;
} units[] = {
    {'n', 1},
    {'u', UINT64_C(1000)},
    {'m', MS_NS},
    {'S', UINT64_C(1000) * MS_NS},
    {'M', UINT64_C(60000) * MS_NS},
    {'H', UINT64_C(3600000) * MS_NS},
};
#define UNITS (sizeof(units) / sizeof(units[0]))

static uint64_t saturating_mul(uint64_t a, uint64_t b) { return a > UINT64_MAX / b ? UINT64_MAX : a * b; }

static uint64_t divide_up(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

/* Nothing but digits, at least one and at most `most`; what does not fit is UINT64_MAX. */
static int parse_decimal(const char *text, size_t len, size_t most, uint64_t *value) {
  uint64_t sum = 0;
  if (len == 0 || len > most) return UV_EINVAL;
  for (size_t i = 0; i < len; i++) {
    uint64_t digit;
    if (!uvf__is_digit(text[i])) return UV_EINVAL;
    digit = (uint64_t)(text[i] - '0');
    sum = saturating_mul(sum, 10);
    sum = digit > UINT64_MAX - sum ? UINT64_MAX : sum + digit;
  }
  *value = sum;
  return 0;
}

/* value in decimal, and what follows it, which may be empty. */
static int format_decimal(uint64_t value, const char *suffix, char *buf, size_t size) {
  char digits[ENVOY_DIGITS];
  size_t first = sizeof(digits);
  size_t n, tail = strlen(suffix);
  do digits[--first] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  n = sizeof(digits) - first;
  if (size <= n + tail) return UV_ENOBUFS;
  memcpy(buf, digits + first, n);
  memcpy(buf + n, suffix, tail + 1);
  return (int)(n + tail);
}

/* Of UVF_NO_DEADLINE: no header. */
static int format_nothing(char *buf, size_t size) {
  if (size == 0) return UV_ENOBUFS;
  buf[0] = '\0';
  return 0;
}

int uvf_grpc_timeout_parse(const char *text, size_t len, uint64_t *timeout_ns) {
  uint64_t value;
  size_t unit = 0;
  int err;
  if (text == NULL || timeout_ns == NULL || len == 0) return UV_EINVAL;
  while (unit < UNITS && units[unit].letter != text[len - 1]) unit++;
  if (unit == UNITS) return UV_EINVAL;
  err = parse_decimal(text, len - 1, GRPC_DIGITS, &value);
  if (err != 0) return err;
  *timeout_ns = saturating_mul(value, units[unit].ns);
  return 0;
}

int uvf_grpc_timeout_format(uint64_t timeout_ns, char *buf, size_t size) {
  char suffix[2] = {0, 0};
  uint64_t value = timeout_ns;
  size_t unit = 0;
  if (buf == NULL) return UV_EINVAL;
  if (timeout_ns == UVF_NO_DEADLINE) return format_nothing(buf, size);
  /* UINT64_MAX ns are 5,124,096 hours: one of the units always does. */
  while (value > GRPC_MOST) value = divide_up(timeout_ns, units[++unit].ns);
  /* A coarser unit that says the same in fewer digits. */
  while (value != 0 && unit + 1 < UNITS && value % (units[unit + 1].ns / units[unit].ns) == 0) {
    value /= units[unit + 1].ns / units[unit].ns;
    unit++;
  }
  suffix[0] = units[unit].letter;
  return format_decimal(value, suffix, buf, size);
}

int uvf_envoy_timeout_parse(const char *text, size_t len, uint64_t *timeout_ns) {
  uint64_t ms;
  int err;
  if (text == NULL || timeout_ns == NULL) return UV_EINVAL;
  err = parse_decimal(text, len, ENVOY_DIGITS, &ms);
  if (err != 0) return err;
  *timeout_ns = ms == 0 ? UVF_NO_DEADLINE : saturating_mul(ms, MS_NS);
  return 0;
}

int uvf_envoy_timeout_format(uint64_t timeout_ns, char *buf, size_t size) {
  if (buf == NULL) return UV_EINVAL;
  if (timeout_ns == UVF_NO_DEADLINE) return format_nothing(buf, size);
  return format_decimal(timeout_ns == 0 ? 1 : divide_up(timeout_ns, MS_NS), "", buf, size);
}

uint64_t uvf_budget_ns(uint64_t incoming_ns, uint64_t maximum_ns, uint64_t margin_ns) {
  uint64_t least = incoming_ns < maximum_ns ? incoming_ns : maximum_ns;
  if (least == UVF_NO_DEADLINE) return UVF_NO_DEADLINE;
  return least > margin_ns ? least - margin_ns : 0;
}

uint64_t uvf_budget_deadline_ns(uint64_t from_ns, uint64_t budget_ns) {
  return budget_ns > UVF_NO_DEADLINE - from_ns ? UVF_NO_DEADLINE : from_ns + budget_ns;
}
