/* SPDX-License-Identifier: MIT
 *
 * serve/trace.c: traceparent.
 */
#include "unit/codec_probe.h"

#define TRACE_ID "0af7651916cd43dd8448eb211c80319c"
#define SPAN_ID "b7ad6b7169203331"
#define ZEROS_16 "0000000000000000"
#define LENGTH 55

static const uvf_trace_t example = {
    .trace_id = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c},
    .span_id = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31},
    .flags = UVF_TRACE_SAMPLED,
};

static int same_trace(const uvf_trace_t *a, const uvf_trace_t *b) {
  return memcmp(a->trace_id, b->trace_id, sizeof(a->trace_id)) == 0 &&
         memcmp(a->span_id, b->span_id, sizeof(a->span_id)) == 0 && a->flags == b->flags;
}

/* Parses it as the example with these flags; flags < 0: refuses it and touches nothing. */
static void check_parse(const char *text, size_t len, int flags) {
  char *copy = exact(text, len);
  uvf_trace_t trace, wanted = example;
  memset(&trace, 0x5a, sizeof(trace));
  if (flags < 0) {
    memset(&wanted, 0x5a, sizeof(wanted));
  } else {
    wanted.flags = (uint8_t)flags;
  }
  check_row(uvf_traceparent_parse(copy, len, &trace) == (flags < 0 ? UV_EINVAL : 0), text, len);
  check_row(same_trace(&trace, &wanted), text, len);
  free(copy);
}

typedef struct row_s {
  const char *text;
  size_t len;
  int flags;
} row_t;

static void check_rows(const row_t *rows, size_t n) {
  for (size_t i = 0; i < n; i++) check_parse(rows[i].text, rows[i].len, rows[i].flags);
}

static void version_00_is_read_with_the_flags_that_are_known(void **state) {
  static const row_t rows[] = {
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-00"), 0},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-01"), UVF_TRACE_SAMPLED},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-02"), UVF_TRACE_RANDOM},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-03"), UVF_TRACE_SAMPLED | UVF_TRACE_RANDOM},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-04"), 0},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-09"), UVF_TRACE_SAMPLED},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-ff"), UVF_TRACE_SAMPLED | UVF_TRACE_RANDOM},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-fc"), 0},
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

static void a_higher_version_is_read_as_far_as_it_is_known(void **state) {
  static const row_t rows[] = {
      {TEXT("01-" TRACE_ID "-" SPAN_ID "-01"), UVF_TRACE_SAMPLED},
      {TEXT("01-" TRACE_ID "-" SPAN_ID "-02"), 0},
      {TEXT("fe-" TRACE_ID "-" SPAN_ID "-ff"), UVF_TRACE_SAMPLED},
      {TEXT("cc-" TRACE_ID "-" SPAN_ID "-01-"), UVF_TRACE_SAMPLED},
      {TEXT("cc-" TRACE_ID "-" SPAN_ID "-01-what-is-to-come"), UVF_TRACE_SAMPLED},
      {TEXT("cc-" TRACE_ID "-" SPAN_ID "-00-\xff\0 "), 0},
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

static void version_ff_and_malformed_versions_are_refused(void **state) {
  static const row_t rows[] = {
      {TEXT("ff-" TRACE_ID "-" SPAN_ID "-01"), -1},  {TEXT("ff-" TRACE_ID "-" SPAN_ID "-01-x"), -1},
      {TEXT("FE-" TRACE_ID "-" SPAN_ID "-01"), -1},  {TEXT("0g-" TRACE_ID "-" SPAN_ID "-01"), -1},
      {TEXT(".0-" TRACE_ID "-" SPAN_ID "-01"), -1},  {TEXT("0-" TRACE_ID "-" SPAN_ID "-01"), -1},
      {TEXT("000-" TRACE_ID "-" SPAN_ID "-01"), -1}, {TEXT("\0\0-" TRACE_ID "-" SPAN_ID "-01"), -1},
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

static void what_follows_must_be_set_off_and_version_00_has_nothing_more(void **state) {
  static const row_t rows[] = {
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-01-"), -1},     {TEXT("00-" TRACE_ID "-" SPAN_ID "-01-x"), -1},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-01 "), -1},     {TEXT("00-" TRACE_ID "-" SPAN_ID "-01\0"), -1},
      {TEXT("00-" TRACE_ID "-" SPAN_ID "-011"), -1},     {TEXT("cc-" TRACE_ID "-" SPAN_ID "-01."), -1},
      {TEXT("cc-" TRACE_ID "-" SPAN_ID "-01.more"), -1}, {TEXT("cc-" TRACE_ID "-" SPAN_ID "-011"), -1},
      {TEXT("cc-" TRACE_ID "-" SPAN_ID "-01\0-"), -1},
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

static void ids_of_zeros_are_refused_and_of_one_bit_are_not(void **state) {
  char text[] = "00-" ZEROS_16 ZEROS_16 "-" ZEROS_16 "-01";
  uvf_trace_t trace;
  (void)state;
  check_parse(TEXT("00-" ZEROS_16 ZEROS_16 "-" SPAN_ID "-01"), -1);
  check_parse(TEXT("00-" TRACE_ID "-" ZEROS_16 "-01"), -1);
  for (size_t i = 3; i < 35; i++) {
    for (size_t k = 36; k < 52; k++) {
      text[i] = text[k] = '1';
      assert_int_equal(uvf_traceparent_parse(text, LENGTH, &trace), 0);
      text[i] = text[k] = '0';
    }
  }
}

/* Every byte in every place: of hexadecimal digits the lower-case ones, between the fields a dash. */
static void each_place_takes_lower_case_hexadecimal_or_its_dash(void **state) {
  static const char good[] = "00-" TRACE_ID "-" SPAN_ID "-01";
  (void)state;
  for (size_t at = 0; at < LENGTH; at++) {
    int taken = 0, is_dash = at == 2 || at == 35 || at == 52;
    for (int c = 0; c < 256; c++) {
      char text[LENGTH];
      uvf_trace_t trace;
      memcpy(text, good, LENGTH);
      text[at] = (char)c;
      if (uvf_traceparent_parse(text, LENGTH, &trace) != 0) continue;
      taken++;
      assert_true(is_dash ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
    }
    assert_int_equal(taken, is_dash ? 1 : 16);
  }
}

static void a_text_cut_short_anywhere_is_refused(void **state) {
  static const char good[] = "cc-" TRACE_ID "-" SPAN_ID "-01-more";
  (void)state;
  for (size_t len = 0; len < LENGTH; len++) check_parse(good, len, -1);
  for (size_t len = LENGTH; len < sizeof(good); len++) check_parse(good, len, UVF_TRACE_SAMPLED);
}

static void blanks_around_it_are_the_parsers_to_take_off(void **state) {
  (void)state;
  check_parse(TEXT(" 00-" TRACE_ID "-" SPAN_ID "-01"), -1);
  check_parse(TEXT("00-" TRACE_ID "-" SPAN_ID "-01\t"), -1);
}

static void a_huge_future_text_is_read_and_a_huge_present_one_refused(void **state) {
  size_t len = (size_t)1 << 20;
  char *text = malloc(len);
  uvf_trace_t trace;
  (void)state;
  assert_non_null(text);
  memset(text, '-', len);
  memcpy(text, TEXT("01-" TRACE_ID "-" SPAN_ID "-01"));
  assert_int_equal(uvf_traceparent_parse(text, len, &trace), 0);
  assert_true(same_trace(&trace, &example));
  text[1] = '0';
  assert_int_equal(uvf_traceparent_parse(text, len, &trace), UV_EINVAL);
  free(text);
}

static void a_call_is_sent_with_the_trace_and_a_span_of_its_own(void **state) {
  static const uint8_t span[8] = {0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7};
  char buf[UVF_TRACEPARENT_SIZE];
  (void)state;
  assert_int_equal(uvf_traceparent_format(&example, span, buf, sizeof(buf)), LENGTH);
  assert_string_equal(buf, "00-" TRACE_ID "-00f067aa0ba902b7-01");
  assert_int_equal(uvf_traceparent_format(&example, NULL, buf, sizeof(buf)), LENGTH);
  assert_string_equal(buf, "00-" TRACE_ID "-" SPAN_ID "-01");
}

static void flags_that_nobody_knows_are_not_sent(void **state) {
  char buf[UVF_TRACEPARENT_SIZE];
  (void)state;
  for (int flags = 0; flags < 256; flags++) {
    uvf_trace_t trace = example;
    trace.flags = (uint8_t)flags;
    assert_int_equal(uvf_traceparent_format(&trace, NULL, buf, sizeof(buf)), LENGTH);
    assert_int_equal(buf[LENGTH - 2], '0');
    assert_int_equal(buf[LENGTH - 1], '0' + (flags & 3));
  }
}

static void what_cannot_be_sent_is_refused_and_the_buffer_left_alone(void **state) {
  static const uint8_t zeros[16];
  char buf[UVF_TRACEPARENT_SIZE] = "?";
  uvf_trace_t trace = example;
  (void)state;
  assert_int_equal(uvf_traceparent_format(&trace, zeros, buf, sizeof(buf)), UV_EINVAL);
  memcpy(trace.trace_id, zeros, sizeof(trace.trace_id));
  assert_int_equal(uvf_traceparent_format(&trace, NULL, buf, sizeof(buf)), UV_EINVAL);
  trace = example;
  memcpy(trace.span_id, zeros, sizeof(trace.span_id));
  assert_int_equal(uvf_traceparent_format(&trace, NULL, buf, sizeof(buf)), UV_EINVAL);
  assert_string_equal(buf, "?");
  /* Nobody asks for a span that is not sent. */
  assert_int_equal(uvf_traceparent_format(&trace, example.span_id, buf, sizeof(buf)), LENGTH);
}

static void every_size_but_the_whole_is_too_small(void **state) {
  (void)state;
  for (size_t size = 0; size <= UVF_TRACEPARENT_SIZE + 1; size++) {
    char *buf = malloc(size + 1);
    assert_non_null(buf);
    memset(buf, '?', size + 1);
    if (size >= UVF_TRACEPARENT_SIZE) {
      assert_int_equal(uvf_traceparent_format(&example, NULL, buf, size), LENGTH);
      assert_int_equal(strlen(buf), LENGTH);
    } else {
      assert_int_equal(uvf_traceparent_format(&example, NULL, buf, size), UV_ENOBUFS);
      for (size_t i = 0; i < size; i++) assert_int_equal(buf[i], '?');
    }
    assert_int_equal(buf[size], '?');
    free(buf);
  }
}

static void random_traces_come_back(void **state) {
  uint64_t seed = test_seed();
  (void)state;
  for (int i = 0; i < 100000; i++) {
    uvf_trace_t trace, back;
    char buf[UVF_TRACEPARENT_SIZE];
    for (size_t k = 0; k < sizeof(trace.trace_id); k++) trace.trace_id[k] = (uint8_t)test_rand(&seed);
    for (size_t k = 0; k < sizeof(trace.span_id); k++) trace.span_id[k] = (uint8_t)test_rand(&seed);
    trace.trace_id[test_rand(&seed) & 15] |= 1;
    trace.span_id[test_rand(&seed) & 7] |= 1;
    trace.flags = (uint8_t)(test_rand(&seed) & 3);
    assert_int_equal(uvf_traceparent_format(&trace, NULL, buf, sizeof(buf)), LENGTH);
    assert_int_equal(uvf_traceparent_parse(buf, LENGTH, &back), 0);
    assert_true(same_trace(&trace, &back));
  }
}

/* --- made here --- */

static int is_zero(const uint8_t *id, size_t size) {
  for (size_t i = 0; i < size; i++) {
    if (id[i] != 0) return 0;
  }
  return 1;
}

static void a_new_trace_is_random_says_so_and_can_be_sent(void **state) {
  enum { MANY = 500 };
  static uvf_trace_t traces[MANY];
  (void)state;
  memset(traces, 0xff, sizeof traces);
  for (size_t i = 0; i < MANY; i++) {
    char buf[UVF_TRACEPARENT_SIZE];
    uvf_trace_t back;
    assert_int_equal(uvf_trace_new(&traces[i]), 0);
    assert_int_equal(traces[i].flags, UVF_TRACE_RANDOM); /* not sampled: that is for others to say */
    assert_false(is_zero(traces[i].trace_id, sizeof traces[i].trace_id));
    assert_false(is_zero(traces[i].span_id, sizeof traces[i].span_id));
    assert_int_equal(uvf_traceparent_format(&traces[i], NULL, buf, sizeof buf), LENGTH);
    assert_memory_equal(buf, "00-", 3);
    assert_string_equal(buf + LENGTH - 3, "-02");
    assert_int_equal(uvf_traceparent_parse(buf, LENGTH, &back), 0);
    assert_true(same_trace(&traces[i], &back));
    for (size_t k = 0; k < i; k++) {
      assert_memory_not_equal(traces[i].trace_id, traces[k].trace_id, sizeof traces[i].trace_id);
      assert_memory_not_equal(traces[i].span_id, traces[k].span_id, sizeof traces[i].span_id);
    }
  }
  for (size_t at = 0; at < sizeof traces[0].trace_id; at++) { /* each of the bytes, not some */
    size_t same = 0;
    for (size_t i = 1; i < MANY; i++) same += traces[i].trace_id[at] == traces[0].trace_id[at];
    assert_true(same < MANY / 4);
  }
}

static void a_new_span_is_eight_bytes_for_a_call_of_the_trace(void **state) {
  uint8_t span[2 + 8 + 2], before[8] = {0};
  (void)state;
  for (int i = 0; i < 500; i++) {
    char buf[UVF_TRACEPARENT_SIZE];
    uvf_trace_t back;
    memset(span, 0x5a, sizeof span);
    assert_int_equal(uvf_span_new(span + 2), 0);
    assert_true(span[0] == 0x5a && span[1] == 0x5a && span[10] == 0x5a && span[11] == 0x5a);
    assert_memory_not_equal(span + 2, before, 8);
    assert_int_equal(uvf_traceparent_format(&example, span + 2, buf, sizeof buf), LENGTH);
    assert_int_equal(uvf_traceparent_parse(buf, LENGTH, &back), 0);
    assert_memory_equal(back.span_id, span + 2, 8);
    assert_memory_equal(back.trace_id, example.trace_id, sizeof back.trace_id);
    memcpy(before, span + 2, 8);
  }
}

/* Nobody waits for 64 zero bits: one whose first byte is zero is given a bit in its last, so it is not zero. */
static void a_new_id_cannot_be_zero(void **state) {
  int begin_with_zero = 0, end_odd = 0;
  (void)state;
  for (int i = 0; i < 10000; i++) {
    uvf_trace_t trace;
    assert_int_equal(uvf_trace_new(&trace), 0);
    begin_with_zero += (trace.trace_id[0] == 0) + (trace.span_id[0] == 0);
    end_odd += (trace.trace_id[0] == 0 && trace.trace_id[15] & 1) + (trace.span_id[0] == 0 && trace.span_id[7] & 1);
  }
  assert_true(begin_with_zero > 0); /* 78 or so */
  assert_int_equal(end_odd, begin_with_zero);
}

static void without_a_place_there_is_nothing_new(void **state) {
  (void)state;
  assert_int_equal(uvf_trace_new(NULL), UV_EINVAL);
  assert_int_equal(uvf_span_new(NULL), UV_EINVAL);
}

static void null_arguments_of_a_trace_are_refused(void **state) {
  char buf[UVF_TRACEPARENT_SIZE];
  uvf_trace_t trace;
  (void)state;
  assert_int_equal(uvf_traceparent_parse(NULL, LENGTH, &trace), UV_EINVAL);
  assert_int_equal(uvf_traceparent_parse(TEXT("00-" TRACE_ID "-" SPAN_ID "-01"), NULL), UV_EINVAL);
  assert_int_equal(uvf_traceparent_format(NULL, example.span_id, buf, sizeof(buf)), UV_EINVAL);
  assert_int_equal(uvf_traceparent_format(&example, NULL, NULL, sizeof(buf)), UV_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      codec(version_00_is_read_with_the_flags_that_are_known),
      codec(a_higher_version_is_read_as_far_as_it_is_known),
      codec(version_ff_and_malformed_versions_are_refused),
      codec(what_follows_must_be_set_off_and_version_00_has_nothing_more),
      codec(ids_of_zeros_are_refused_and_of_one_bit_are_not),
      codec(each_place_takes_lower_case_hexadecimal_or_its_dash),
      codec(a_text_cut_short_anywhere_is_refused),
      codec(blanks_around_it_are_the_parsers_to_take_off),
      codec(a_huge_future_text_is_read_and_a_huge_present_one_refused),
      codec(a_call_is_sent_with_the_trace_and_a_span_of_its_own),
      codec(flags_that_nobody_knows_are_not_sent),
      codec(what_cannot_be_sent_is_refused_and_the_buffer_left_alone),
      codec(every_size_but_the_whole_is_too_small),
      codec(random_traces_come_back),
      codec(a_new_trace_is_random_says_so_and_can_be_sent),
      codec(a_new_span_is_eight_bytes_for_a_call_of_the_trace),
      codec(a_new_id_cannot_be_zero),
      codec(without_a_place_there_is_nothing_new),
      codec(null_arguments_of_a_trace_are_refused),
  };
  return test_run(tests);
}
