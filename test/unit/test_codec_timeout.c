/* SPDX-License-Identifier: MIT
 *
 * serve/timeout.c: grpc-timeout, x-envoy-expected-rq-timeout-ms, and the budget made of them.
 */
#include "unit/codec_probe.h"

#define S_NS (UINT64_C(1000) * MS_NS)
#define UNTOUCHED UINT64_C(0x5a5a5a5a5a5a5a5a)
#define ROUNDS 200000

typedef int (*parse_fn)(const char *text, size_t len, uint64_t *ns);
typedef int (*format_fn)(uint64_t ns, char *buf, size_t size);

typedef struct parse_row_s {
  const char *text;
  size_t len;
  int err;
  uint64_t ns;
} parse_row_t;

static void check_parse(parse_fn parse, const parse_row_t *rows, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char *text = exact(rows[i].text, rows[i].len);
    uint64_t ns = UNTOUCHED;
    int err = parse(text, rows[i].len, &ns);
    check_row(err == rows[i].err && ns == (err == 0 ? rows[i].ns : UNTOUCHED), text, rows[i].len);
    free(text);
  }
}

typedef struct format_row_s {
  uint64_t ns;
  const char *text;
} format_row_t;

/* Into every size from none to more than enough. */
static void check_format(format_fn format, uint64_t ns, const char *wanted) {
  size_t len = strlen(wanted);
  for (size_t size = 0; size <= len + 2; size++) {
    char *buf = exact("????????????????????????", size);
    int n = format(ns, buf, size);
    if (size > len) {
      check_row(n == (int)len && memcmp(buf, wanted, len + 1) == 0, wanted, len);
    } else {
      check_row(n == UV_ENOBUFS, wanted, len);
      for (size_t i = 0; i < size; i++) assert_int_equal(buf[i], '?');
    }
    free(buf);
  }
}

/* --- grpc-timeout --- */

static void digits_and_a_unit_are_a_time(void **state) {
  static const parse_row_t rows[] = {
      {TEXT("1n"), 0, 1},
      {TEXT("1u"), 0, 1000},
      {TEXT("1m"), 0, 1000000},
      {TEXT("1S"), 0, UINT64_C(1000000000)},
      {TEXT("1M"), 0, UINT64_C(60000000000)},
      {TEXT("1H"), 0, UINT64_C(3600000000000)},
      {TEXT("100m"), 0, UINT64_C(100000000)},
      {TEXT("99999999n"), 0, UINT64_C(99999999)},
      {TEXT("99999999S"), 0, UINT64_C(99999999000000000)},
      {TEXT("99999999M"), 0, UINT64_C(5999999940000000000)},
      {TEXT("00000007m"), 0, UINT64_C(7000000)},
      {TEXT("007S"), 0, UINT64_C(7000000000)},
  };
  (void)state;
  check_parse(uvf_grpc_timeout_parse, rows, ARRAY_SIZE(rows));
}

static void a_time_of_zero_is_one_that_is_over(void **state) {
  static const parse_row_t rows[] = {
      {TEXT("0n"), 0, 0}, {TEXT("0u"), 0, 0}, {TEXT("0m"), 0, 0},        {TEXT("0S"), 0, 0},
      {TEXT("0M"), 0, 0}, {TEXT("0H"), 0, 0}, {TEXT("00000000H"), 0, 0},
  };
  (void)state;
  check_parse(uvf_grpc_timeout_parse, rows, ARRAY_SIZE(rows));
}

static void hours_that_cannot_be_counted_are_no_deadline(void **state) {
  static const parse_row_t rows[] = {
      {TEXT("5124095H"), 0, UINT64_C(18446742000000000000)},
      {TEXT("5124096H"), 0, UVF_NO_DEADLINE},
      {TEXT("99999999H"), 0, UVF_NO_DEADLINE},
  };
  (void)state;
  check_parse(uvf_grpc_timeout_parse, rows, ARRAY_SIZE(rows));
}

static void any_other_grpc_timeout_is_refused(void **state) {
  static const parse_row_t rows[] = {
      {TEXT(""), UV_EINVAL, 0},         {TEXT("n"), UV_EINVAL, 0},          {TEXT("1"), UV_EINVAL, 0},
      {TEXT("100"), UV_EINVAL, 0},      {TEXT("100000000n"), UV_EINVAL, 0}, {TEXT("000000001n"), UV_EINVAL, 0},
      {TEXT("1s"), UV_EINVAL, 0},       {TEXT("1h"), UV_EINVAL, 0},         {TEXT("1N"), UV_EINVAL, 0},
      {TEXT("1U"), UV_EINVAL, 0},       {TEXT("1ms"), UV_EINVAL, 0},        {TEXT("-1S"), UV_EINVAL, 0},
      {TEXT("+1S"), UV_EINVAL, 0},      {TEXT(" 1S"), UV_EINVAL, 0},        {TEXT("1S "), UV_EINVAL, 0},
      {TEXT("1 S"), UV_EINVAL, 0},      {TEXT("\t1S"), UV_EINVAL, 0},       {TEXT("1.5S"), UV_EINVAL, 0},
      {TEXT("1e3S"), UV_EINVAL, 0},     {TEXT("0x1S"), UV_EINVAL, 0},       {TEXT("1,0S"), UV_EINVAL, 0},
      {TEXT("1_0S"), UV_EINVAL, 0},     {TEXT("S1"), UV_EINVAL, 0},         {TEXT("1S1S"), UV_EINVAL, 0},
      {TEXT("1\0S"), UV_EINVAL, 0},     {TEXT("1S\0"), UV_EINVAL, 0},       {TEXT("\0001S"), UV_EINVAL, 0},
      {TEXT("\xb2S"), UV_EINVAL, 0},    {TEXT("\xd9\xa1S"), UV_EINVAL, 0},  {TEXT("1\xc2\xb5"), UV_EINVAL, 0},
      {TEXT("infinity"), UV_EINVAL, 0}, {TEXT("nan"), UV_EINVAL, 0},        {TEXT("1S\r\n"), UV_EINVAL, 0},
  };
  (void)state;
  check_parse(uvf_grpc_timeout_parse, rows, ARRAY_SIZE(rows));
}

static void of_all_bytes_only_six_are_units_and_ten_are_digits(void **state) {
  int units = 0, digits = 0;
  (void)state;
  for (int c = 0; c < 256; c++) {
    const char unit[2] = {'1', (char)c}, digit[2] = {(char)c, 'n'};
    uint64_t ns;
    units += uvf_grpc_timeout_parse(unit, 2, &ns) == 0;
    digits += uvf_grpc_timeout_parse(digit, 2, &ns) == 0;
  }
  assert_int_equal(units, 6);
  assert_int_equal(digits, 10);
}

static void a_time_is_written_short_and_rounded_up(void **state) {
  static const format_row_t rows[] = {
      {0, "0n"},
      {1, "1n"},
      {999, "999n"},
      {1000, "1u"},
      {1001, "1001n"},
      {MS_NS, "1m"},
      {S_NS, "1S"},
      {90 * S_NS, "90S"},
      {60 * S_NS, "1M"},
      {3600 * S_NS, "1H"},
      {7200 * S_NS, "2H"},
      {UINT64_C(99999999), "99999999n"},
      {UINT64_C(100000000), "100m"},
      {UINT64_C(100000001), "100001u"},
      {UINT64_C(100000999), "100001u"},
      {UINT64_C(100001000), "100001u"},
      {UINT64_C(100001001), "100002u"},
      {UINT64_C(99999999000), "99999999u"},
      {UINT64_C(99999999001), "100S"}, /* 100,000 ms, rounded up, and shortened */
      {100 * S_NS + 1, "100001m"},
      {UINT64_C(99999999) * MS_NS, "99999999m"},
      {UINT64_C(99999999) * MS_NS + 1, "100000S"},
      {UINT64_C(99999999) * S_NS, "99999999S"},
      {UINT64_C(99999999) * S_NS + 1, "1666667M"},
      {UINT64_C(99999999) * 60 * S_NS, "99999999M"},
      {UINT64_C(99999999) * 60 * S_NS + 1, "1666667H"},
      {UVF_NO_DEADLINE - 1, "5124096H"},
      {UVF_NO_DEADLINE, ""},
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check_format(uvf_grpc_timeout_format, rows[i].ns, rows[i].text);
}

/* A time of any magnitude. */
static uint64_t random_time(uint64_t *seed) {
  uint64_t shift = test_rand(seed) & 63;
  return test_rand(seed) >> shift;
}

static void a_random_time_comes_back_no_shorter_and_hardly_longer(void **state) {
  uint64_t seed = test_seed();
  (void)state;
  for (int i = 0; i < ROUNDS; i++) {
    char buf[UVF_GRPC_TIMEOUT_SIZE], again[UVF_GRPC_TIMEOUT_SIZE];
    uint64_t ns = random_time(&seed), back;
    int n = uvf_grpc_timeout_format(ns, buf, sizeof(buf));
    assert_true(n >= 2);
    assert_int_equal(uvf_grpc_timeout_parse(buf, (size_t)n, &back), 0);
    assert_true(back >= ns);
    if (back == UVF_NO_DEADLINE) continue;
    assert_true(back - ns <= ns / 100000);
    if (ns <= UINT64_C(99999999)) assert_true(back == ns);
    assert_int_equal(uvf_grpc_timeout_format(back, again, sizeof(again)), n);
    assert_string_equal(buf, again);
  }
}

static void every_value_and_unit_that_is_written_comes_back_exactly(void **state) {
  static const uint64_t units[] = {1, 1000, MS_NS, S_NS, 60 * S_NS, 3600 * S_NS};
  uint64_t seed = test_seed();
  (void)state;
  for (int i = 0; i < ROUNDS; i++) {
    uint64_t unit = units[test_rand(&seed) % ARRAY_SIZE(units)];
    uint64_t ns = test_rand(&seed) % (unit == 3600 * S_NS ? 5124096 : 100000000) * unit, back;
    char buf[UVF_GRPC_TIMEOUT_SIZE];
    int n = uvf_grpc_timeout_format(ns, buf, sizeof(buf));
    assert_true(n >= 2);
    assert_int_equal(uvf_grpc_timeout_parse(buf, (size_t)n, &back), 0);
    assert_true(back == ns);
  }
}

/* --- x-envoy-expected-rq-timeout-ms --- */

static void milliseconds_are_a_time_and_zero_is_no_limit(void **state) {
  static const parse_row_t rows[] = {
      {TEXT("1"), 0, MS_NS},
      {TEXT("15000"), 0, 15 * S_NS},
      {TEXT("0015"), 0, 15 * MS_NS},
      {TEXT("0"), 0, UVF_NO_DEADLINE},
      {TEXT("00000000000000000000"), 0, UVF_NO_DEADLINE},
      {TEXT("00000000000000000001"), 0, MS_NS},
      {TEXT("18446744073709"), 0, UINT64_C(18446744073709000000)},
      {TEXT("18446744073710"), 0, UVF_NO_DEADLINE},
      {TEXT("1000000000000000000"), 0, UVF_NO_DEADLINE},
      {TEXT("18446744073709551615"), 0, UVF_NO_DEADLINE},
      {TEXT("18446744073709551616"), 0, UVF_NO_DEADLINE},
      {TEXT("99999999999999999999"), 0, UVF_NO_DEADLINE},
  };
  (void)state;
  check_parse(uvf_envoy_timeout_parse, rows, ARRAY_SIZE(rows));
}

static void any_other_envoy_timeout_is_refused(void **state) {
  static const parse_row_t rows[] = {
      {TEXT(""), UV_EINVAL, 0},     {TEXT(" "), UV_EINVAL, 0},   {TEXT("-1"), UV_EINVAL, 0},
      {TEXT("+1"), UV_EINVAL, 0},   {TEXT(" 1"), UV_EINVAL, 0},  {TEXT("1 "), UV_EINVAL, 0},
      {TEXT("1.0"), UV_EINVAL, 0},  {TEXT("1e3"), UV_EINVAL, 0}, {TEXT("0x10"), UV_EINVAL, 0},
      {TEXT("1m"), UV_EINVAL, 0},   {TEXT("1ms"), UV_EINVAL, 0}, {TEXT("1,000"), UV_EINVAL, 0},
      {TEXT("1\0"), UV_EINVAL, 0},  {TEXT("\0"), UV_EINVAL, 0},  {TEXT("1\0002"), UV_EINVAL, 0},
      {TEXT("\xb9"), UV_EINVAL, 0}, {TEXT("inf"), UV_EINVAL, 0}, {TEXT("000000000000000000001"), UV_EINVAL, 0},
  };
  (void)state;
  check_parse(uvf_envoy_timeout_parse, rows, ARRAY_SIZE(rows));
}

static void milliseconds_are_rounded_up_and_never_zero(void **state) {
  static const format_row_t rows[] = {
      {0, "1"},
      {1, "1"},
      {MS_NS - 1, "1"},
      {MS_NS, "1"},
      {MS_NS + 1, "2"},
      {15 * S_NS, "15000"},
      {UVF_NO_DEADLINE - 1, "18446744073710"},
      {UVF_NO_DEADLINE, ""},
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check_format(uvf_envoy_timeout_format, rows[i].ns, rows[i].text);
  assert_int_equal(strlen("18446744073710") + 1, UVF_ENVOY_TIMEOUT_SIZE);
}

static void random_milliseconds_come_back_less_than_one_longer(void **state) {
  uint64_t seed = test_seed();
  (void)state;
  for (int i = 0; i < ROUNDS; i++) {
    char buf[UVF_ENVOY_TIMEOUT_SIZE];
    uint64_t ns = random_time(&seed), back;
    int n = uvf_envoy_timeout_format(ns, buf, sizeof(buf));
    assert_true(n >= 1);
    assert_int_equal(uvf_envoy_timeout_parse(buf, (size_t)n, &back), 0);
    assert_true(back >= ns);
    if (back != UVF_NO_DEADLINE && ns != 0) assert_true(back - ns < MS_NS);
  }
}

/* --- both --- */

static void a_huge_text_is_refused_whatever_its_digits(void **state) {
  size_t len = (size_t)1 << 20;
  char *text = malloc(len);
  uint64_t ns = UNTOUCHED;
  (void)state;
  assert_non_null(text);
  memset(text, '1', len);
  assert_int_equal(uvf_envoy_timeout_parse(text, len, &ns), UV_EINVAL);
  text[len - 1] = 'n';
  assert_int_equal(uvf_grpc_timeout_parse(text, len, &ns), UV_EINVAL);
  assert_true(ns == UNTOUCHED);
  free(text);
}

static void null_arguments_of_the_times_are_refused(void **state) {
  uint64_t ns = UNTOUCHED;
  (void)state;
  assert_int_equal(uvf_grpc_timeout_parse(NULL, 0, &ns), UV_EINVAL);
  assert_int_equal(uvf_grpc_timeout_parse("1S", 2, NULL), UV_EINVAL);
  assert_int_equal(uvf_grpc_timeout_format(1, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_grpc_timeout_format(UVF_NO_DEADLINE, NULL, 10), UV_EINVAL);
  assert_int_equal(uvf_envoy_timeout_parse(NULL, 0, &ns), UV_EINVAL);
  assert_int_equal(uvf_envoy_timeout_parse("1", 1, NULL), UV_EINVAL);
  assert_int_equal(uvf_envoy_timeout_format(1, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_envoy_timeout_format(UVF_NO_DEADLINE, NULL, 10), UV_EINVAL);
  assert_true(ns == UNTOUCHED);
}

/* --- budget --- */

static void the_budget_is_the_smaller_time_less_the_margin(void **state) {
  static const uint64_t none = UVF_NO_DEADLINE;
  static const struct {
    uint64_t incoming, maximum, margin, budget;
  } rows[] = {
      {100, 200, 10, 90},
      {200, 100, 10, 90},
      {100, 100, 0, 100},
      {100, 200, 99, 1},
      {100, 200, 100, 0},
      {100, 200, 101, 0},
      {100, 200, none, 0},
      {0, 200, 10, 0},
      {0, 200, 0, 0},
      {200, 0, 10, 0},
      {0, 0, 0, 0},
      {none, 200, 10, 190},
      {none, 200, 0, 200},
      {200, none, 10, 190},
      {none, none, 10, none},
      {none, none, none, none},
      {none, none, 0, none},
      {0, none, 0, 0},
      {none, 0, 0, 0},
      {none - 1, none, 1, none - 2},
      {none - 1, none, none, 0},
      {none, none - 1, 0, none - 1},
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uint64_t budget = uvf_budget_ns(rows[i].incoming, rows[i].maximum, rows[i].margin);
    if (budget != rows[i].budget) print_message("row %u\n", (unsigned int)i);
    assert_true(budget == rows[i].budget);
  }
}

static void a_saturated_header_leaves_the_server_its_maximum(void **state) {
  uint64_t incoming;
  (void)state;
  assert_int_equal(uvf_grpc_timeout_parse(TEXT("99999999H"), &incoming), 0);
  assert_true(uvf_budget_ns(incoming, 30 * S_NS, S_NS) == 29 * S_NS);
  assert_int_equal(uvf_envoy_timeout_parse(TEXT("1000000000000000000"), &incoming), 0);
  assert_true(uvf_budget_ns(incoming, 30 * S_NS, S_NS) == 29 * S_NS);
}

static void a_budget_that_ends_beyond_the_clock_has_no_deadline(void **state) {
  static const uint64_t none = UVF_NO_DEADLINE;
  static const struct {
    uint64_t from, budget, deadline;
  } rows[] = {
      {1000, 0, 1000},         {1000, 500, 1500},   {0, 0, 0},       {1000, none, none}, {0, none, none},
      {1, none - 1, none},     {2, none - 1, none}, {none, 0, none}, {none, 1, none},    {none - 1, 1, none},
      {0, none - 1, none - 1},
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uint64_t deadline = uvf_budget_deadline_ns(rows[i].from, rows[i].budget);
    if (deadline != rows[i].deadline) print_message("row %u\n", (unsigned int)i);
    assert_true(deadline == rows[i].deadline);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      codec(digits_and_a_unit_are_a_time),
      codec(a_time_of_zero_is_one_that_is_over),
      codec(hours_that_cannot_be_counted_are_no_deadline),
      codec(any_other_grpc_timeout_is_refused),
      codec(of_all_bytes_only_six_are_units_and_ten_are_digits),
      codec(a_time_is_written_short_and_rounded_up),
      codec(a_random_time_comes_back_no_shorter_and_hardly_longer),
      codec(every_value_and_unit_that_is_written_comes_back_exactly),
      codec(milliseconds_are_a_time_and_zero_is_no_limit),
      codec(any_other_envoy_timeout_is_refused),
      codec(milliseconds_are_rounded_up_and_never_zero),
      codec(random_milliseconds_come_back_less_than_one_longer),
      codec(a_huge_text_is_refused_whatever_its_digits),
      codec(null_arguments_of_the_times_are_refused),
      codec(the_budget_is_the_smaller_time_less_the_margin),
      codec(a_saturated_header_leaves_the_server_its_maximum),
      codec(a_budget_that_ends_beyond_the_clock_has_no_deadline),
  };
  return test_run(tests);
}
