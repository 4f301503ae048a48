/* SPDX-License-Identifier: MIT
 *
 * serve/baggage_put.c: writing baggage.
 */
#include "unit/codec_probe.h"

#define ROOM (UVF_BAGGAGE_MAX + 1)

typedef struct out_s {
  char buf[ROOM];
  size_t len;
} out_t;

static int put(out_t *out, const char *key, const char *value) {
  return uvf_baggage_put(out->buf, sizeof(out->buf), &out->len, key, value, strlen(value));
}

static void members_are_joined_by_commas_and_properties_by_semicolons(void **state) {
  static out_t out;
  (void)state;
  out.len = 0;
  assert_int_equal(put(&out, "userId", "alice"), 0);
  assert_string_equal(out.buf, "userId=alice");
  assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, "ttl", "30", 2), 0);
  assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, "internal", NULL, 0), 0);
  assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, "note", "", 0), 0);
  assert_int_equal(put(&out, "serverNode", "DF 28"), 0);
  assert_int_equal(uvf_baggage_put(out.buf, sizeof(out.buf), &out.len, "empty", NULL, 0), 0);
  assert_string_equal(out.buf, "userId=alice;ttl=30;internal;note=,serverNode=DF%2028,empty=");
  assert_int_equal(out.len, strlen(out.buf));
}

static void what_may_not_stand_in_a_header_is_encoded(void **state) {
  static const struct {
    const char *value;
    size_t len;
    const char *header;
  } rows[] = {
      {TEXT("plain"), "k=plain"},
      {TEXT(" \t\r\n"), "k=%20%09%0D%0A"},
      {TEXT(",;\"\\%"), "k=%2C%3B%22%5C%25"},
      {TEXT("\0a\x7f"), "k=%00a%7F"},
      {TEXT("%41"), "k=%2541"},
      {TEXT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "k=%C3%A4%E2%82%AC%F0%9F%98%80"},
      {TEXT("!#$&'()*+-./09:<=>?@AZ[]^_`az{|}~"), "k=!#$&'()*+-./09:<=>?@AZ[]^_`az{|}~"},
  };
  static out_t out;
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char *value = exact(rows[i].value, rows[i].len);
    out.len = 0;
    assert_int_equal(uvf_baggage_put(out.buf, sizeof(out.buf), &out.len, "k", value, rows[i].len), 0);
    assert_string_equal(out.buf, rows[i].header);
    free(value);
  }
}

static void keys_that_are_no_tokens_and_values_that_are_not_utf8_are_refused(void **state) {
  static const char *const keys[] = {"", " ", "a b", "a=", "a,b", "a;b", "\"a\"", "(a)", "a/b", "\xc3\xa4", "a\x7f"};
  static const char *const values[] = {"\xff",
                                       "\xc3",
                                       "\xc3(",
                                       "\x80",
                                       "\xc0\x80",
                                       "\xe2\x82",
                                       "\xed\xa0\x80",
                                       "\xf4\x90\x80\x80",
                                       "fine\xe0\x80",
                                       "\xf0\x9f\x98",
                                       "\xf8\x88\x80\x80\x80"};
  static out_t out;
  (void)state;
  out.len = 0;
  assert_int_equal(put(&out, "k", "v"), 0);
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    assert_int_equal(put(&out, keys[i], "v"), UV_EINVAL);
    assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, keys[i], "v", 1), UV_EINVAL);
    assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, keys[i], NULL, 0), UV_EINVAL);
  }
  for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
    size_t len = strlen(values[i]);
    assert_int_equal(put(&out, "k", values[i]), UV_EINVAL);
    assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, "p", values[i], len), UV_EINVAL);
  }
  assert_string_equal(out.buf, "k=v");
  assert_int_equal(out.len, 3);
}

static void a_value_that_ends_inside_a_character_is_refused_though_the_rest_follows(void **state) {
  static const char euro[] = "\xe2\x82\xac", smile[] = "\xf0\x9f\x98\x80";
  static out_t out;
  (void)state;
  out.len = 0;
  for (size_t len = 1; len <= 4; len++) {
    int whole = len == 3 ? 0 : UV_EINVAL;
    if (len <= 3) assert_int_equal(uvf_baggage_put(out.buf, sizeof(out.buf), &out.len, "k", euro, len), whole);
    whole = len == 4 ? 0 : UV_EINVAL;
    assert_int_equal(uvf_baggage_put(out.buf, sizeof(out.buf), &out.len, "k", smile, len), whole);
  }
  assert_string_equal(out.buf, "k=%E2%82%AC,k=%F0%9F%98%80");
}

/* The same three calls into every size: those that fit are there, those that do not have changed nothing. */
static void every_size_holds_what_fits_and_is_otherwise_left_alone(void **state) {
  static const char *const after[] = {"", "a=1", "a=1;p=%20", "a=1;p=%20,bb=22"};
  (void)state;
  for (size_t size = 0; size <= strlen(after[3]) + 2; size++) {
    char *buf = malloc(size + 1);
    size_t len = 0, done = 0;
    assert_non_null(buf);
    memset(buf, '?', size + 1);
    for (size_t i = 0; i < 3 && done == i; i++) {
      size_t was = len;
      int err = i == 0   ? uvf_baggage_put(buf, size, &len, "a", "1", 1)
                : i == 1 ? uvf_baggage_put_property(buf, size, &len, "p", " ", 1)
                         : uvf_baggage_put(buf, size, &len, "bb", "22", 2);
      done += err == 0;
      if (err == 0) continue;
      assert_int_equal(err, UV_ENOBUFS);
      assert_int_equal(len, was);
      for (size_t k = len + (done > 0); k <= size; k++) assert_int_equal(buf[k], '?');
    }
    assert_int_equal(done, (size > strlen(after[1])) + (size > strlen(after[2])) + (size > strlen(after[3])));
    assert_int_equal(len, strlen(after[done]));
    if (done > 0) assert_string_equal(buf, after[done]);
    assert_int_equal(buf[size], '?');
    free(buf);
  }
}

static void a_property_needs_a_member(void **state) {
  static out_t out;
  (void)state;
  out.len = 0;
  assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, "p", NULL, 0), UV_EINVAL);
  assert_int_equal(out.len, 0);
}

static void a_member_more_than_180_is_refused_and_a_property_is_not(void **state) {
  static out_t out;
  uvf_baggage_t b;
  (void)state;
  out.len = 0;
  for (int i = 0; i < UVF_BAGGAGE_MEMBERS; i++) assert_int_equal(put(&out, "a", "1"), 0);
  assert_int_equal(put(&out, "a", "1"), UV_E2BIG);
  assert_int_equal(uvf_baggage_init(&b, "c=3", 3), 0);
  assert_int_equal(uvf_baggage_next(&b), 0);
  assert_int_equal(uvf_baggage_copy(out.buf, sizeof(out.buf), &out.len, &b), UV_E2BIG);
  assert_int_equal(out.len, 4 * UVF_BAGGAGE_MEMBERS - 1);
  assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, "p", NULL, 0), 0);
}

static void a_byte_more_than_8192_is_refused_however_large_the_buffer(void **state) {
  char *buf = malloc(4 * UVF_BAGGAGE_MAX), *value = malloc(UVF_BAGGAGE_MAX + 1);
  size_t len = 0;
  (void)state;
  assert_non_null(buf);
  assert_non_null(value);
  memset(value, 'x', UVF_BAGGAGE_MAX + 1);
  assert_int_equal(uvf_baggage_put(buf, 4 * UVF_BAGGAGE_MAX, &len, "k", value, UVF_BAGGAGE_MAX - 1), UV_E2BIG);
  assert_int_equal(uvf_baggage_put(buf, 4 * UVF_BAGGAGE_MAX, &len, "k", value, UVF_BAGGAGE_MAX + 1), UV_E2BIG);
  assert_int_equal(uvf_baggage_put(buf, 4 * UVF_BAGGAGE_MAX, &len, "k", value, SIZE_MAX), UV_E2BIG);
  assert_int_equal(len, 0);
  assert_int_equal(uvf_baggage_put(buf, 4 * UVF_BAGGAGE_MAX, &len, "k", value, UVF_BAGGAGE_MAX - 2), 0);
  assert_int_equal(len, UVF_BAGGAGE_MAX);
  assert_int_equal(uvf_baggage_put_property(buf, 4 * UVF_BAGGAGE_MAX, &len, "p", NULL, 0), UV_E2BIG);
  assert_int_equal(uvf_baggage_put(buf, 4 * UVF_BAGGAGE_MAX, &len, "a", NULL, 0), UV_E2BIG);
  /* Encoded it would be three times as long. */
  memset(value, ' ', UVF_BAGGAGE_MAX);
  len = 0;
  assert_int_equal(uvf_baggage_put(buf, 4 * UVF_BAGGAGE_MAX, &len, "k", value, 2731), UV_E2BIG);
  assert_int_equal(uvf_baggage_put(buf, 4 * UVF_BAGGAGE_MAX, &len, "k", value, 2730), 0);
  assert_int_equal(len, UVF_BAGGAGE_MAX);
  free(value);
  free(buf);
}

static void a_huge_key_is_refused(void **state) {
  static out_t out;
  size_t len = (size_t)1 << 20;
  char *key = malloc(len + 1);
  (void)state;
  assert_non_null(key);
  memset(key, 'k', len);
  key[len] = '\0';
  out.len = 0;
  assert_int_equal(put(&out, key, "v"), UV_E2BIG);
  assert_int_equal(put(&out, "k", "v"), 0);
  assert_int_equal(uvf_baggage_put_property(out.buf, sizeof(out.buf), &out.len, key, NULL, 0), UV_E2BIG);
  assert_int_equal(out.len, 3);
  free(key);
}

static void all_members_but_some_are_passed_on_byte_by_byte(void **state) {
  static const char text[] = "a=1 ; p , bad, secret=x;q, b = %C3%A4;r=2 ,c=";
  static out_t out;
  uvf_baggage_t b;
  int err;
  (void)state;
  out.len = 0;
  assert_int_equal(uvf_baggage_init(&b, text, strlen(text)), 0);
  while ((err = uvf_baggage_next(&b)) != UV_EOF) {
    if (err == 0 && b.key.len == 6 && memcmp(b.key.base, "secret", 6) == 0) continue;
    assert_int_equal(uvf_baggage_copy(out.buf, sizeof(out.buf), &out.len, &b), err);
  }
  assert_string_equal(out.buf, "a=1 ; p,b = %C3%A4;r=2,c=");
  assert_int_equal(out.len, strlen(out.buf));
  /* The reader is at its end: there is nothing to copy. */
  assert_int_equal(uvf_baggage_copy(out.buf, sizeof(out.buf), &out.len, &b), UV_EINVAL);
}

static void a_copy_fits_or_changes_nothing(void **state) {
  static const char text[] = "a=1;p";
  uvf_baggage_t b;
  (void)state;
  assert_int_equal(uvf_baggage_init(&b, text, strlen(text)), 0);
  assert_int_equal(uvf_baggage_next(&b), 0);
  for (size_t size = 0; size <= 13; size++) {
    char *buf = malloc(size + 1);
    size_t len = 0;
    assert_non_null(buf);
    memset(buf, '?', size + 1);
    assert_int_equal(uvf_baggage_copy(buf, size, &len, &b), size > 5 ? 0 : UV_ENOBUFS);
    assert_int_equal(len, size > 5 ? 5 : 0);
    if (size > 5) {
      assert_int_equal(uvf_baggage_copy(buf, size, &len, &b), size > 11 ? 0 : UV_ENOBUFS);
      assert_string_equal(buf, size > 11 ? "a=1;p,a=1;p" : "a=1;p");
      assert_int_equal(len, strlen(buf));
    } else if (size > 0) {
      assert_int_equal(buf[0], '?');
    }
    assert_int_equal(buf[size], '?');
    free(buf);
  }
}

/* A well-formed code point of any length. */
static size_t random_point(uint64_t *seed, char *out) {
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000}, most[] = {0x7f, 0x7ff, 0xffff, 0x10ffff};
  size_t more = test_rand(seed) & 3;
  uint32_t point = least[more] + (uint32_t)(test_rand(seed) % (most[more] - least[more] + 1));
  if (point >= 0xd800 && point <= 0xdfff) point = 0xfffd;
  if (more == 0) {
    out[0] = (char)point;
    return 1;
  }
  for (size_t i = more; i > 0; i--, point >>= 6) out[i] = (char)(0x80 | (point & 0x3f));
  out[0] = (char)(point | (more == 1 ? 0xc0u : more == 2 ? 0xe0u : 0xf0u));
  return more + 1;
}

static void random_values_come_back(void **state) {
  uint64_t seed = test_seed();
  static char values[8][256], plain[ROOM];
  size_t lens[8];
  static out_t out;
  (void)state;
  for (int round = 0; round < 5000; round++) {
    size_t n = 1 + test_rand(&seed) % 8;
    uvf_baggage_t b;
    uvf_text_t key, value;
    out.len = 0;
    for (size_t i = 0; i < n; i++) {
      size_t points = test_rand(&seed) % 60;
      lens[i] = 0;
      for (size_t k = 0; k < points; k++) lens[i] += random_point(&seed, values[i] + lens[i]);
      assert_int_equal(uvf_baggage_put(out.buf, ROOM, &out.len, "key", values[i], lens[i]), 0);
      assert_int_equal(uvf_baggage_put_property(out.buf, ROOM, &out.len, "p", values[i], lens[i]), 0);
    }
    assert_int_equal(uvf_baggage_init(&b, out.buf, out.len), 0);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(uvf_baggage_next(&b), 0);
      assert_int_equal(uvf_baggage_decode(b.value, plain, ROOM), (int)lens[i]);
      assert_memory_equal(plain, values[i], lens[i]);
      assert_int_equal(uvf_baggage_next_property(&b, &key, &value), 0);
      assert_int_equal(uvf_baggage_decode(value, plain, ROOM), (int)lens[i]);
      assert_memory_equal(plain, values[i], lens[i]);
    }
    assert_int_equal(uvf_baggage_next(&b), UV_EOF);
  }
}

static void null_arguments_of_a_writer_are_refused(void **state) {
  char buf[16];
  size_t len = 0, beyond = sizeof(buf) + 1;
  uvf_baggage_t b;
  (void)state;
  assert_int_equal(uvf_baggage_init(&b, "a=1", 3), 0);
  assert_int_equal(uvf_baggage_copy(buf, sizeof(buf), &len, &b), UV_EINVAL); /* not read yet */
  assert_int_equal(uvf_baggage_next(&b), 0);
  assert_int_equal(uvf_baggage_put(NULL, 0, &len, "a", "1", 1), UV_EINVAL);
  assert_int_equal(uvf_baggage_put(buf, sizeof(buf), NULL, "a", "1", 1), UV_EINVAL);
  assert_int_equal(uvf_baggage_put(buf, sizeof(buf), &len, NULL, "1", 1), UV_EINVAL);
  assert_int_equal(uvf_baggage_put(buf, sizeof(buf), &len, "a", NULL, 1), UV_EINVAL);
  assert_int_equal(uvf_baggage_copy(NULL, 0, &len, &b), UV_EINVAL);
  assert_int_equal(uvf_baggage_copy(buf, sizeof(buf), NULL, &b), UV_EINVAL);
  assert_int_equal(uvf_baggage_copy(buf, sizeof(buf), &len, NULL), UV_EINVAL);
  assert_int_equal(uvf_baggage_put(buf, sizeof(buf), &beyond, "a", "1", 1), UV_EINVAL);
  assert_int_equal(uvf_baggage_put_property(buf, sizeof(buf), &beyond, "a", "1", 1), UV_EINVAL);
  assert_int_equal(uvf_baggage_copy(buf, sizeof(buf), &beyond, &b), UV_EINVAL);
  assert_int_equal(uvf_baggage_put(buf, sizeof(buf), &len, "a", "1", 1), 0);
  assert_int_equal(uvf_baggage_put_property(NULL, 0, &len, "p", NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_baggage_put_property(buf, sizeof(buf), NULL, "p", NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_baggage_put_property(buf, sizeof(buf), &len, NULL, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_baggage_put_property(buf, sizeof(buf), &len, "p", NULL, 1), UV_EINVAL);
  assert_string_equal(buf, "a=1");
  assert_int_equal(len, 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      codec(members_are_joined_by_commas_and_properties_by_semicolons),
      codec(what_may_not_stand_in_a_header_is_encoded),
      codec(keys_that_are_no_tokens_and_values_that_are_not_utf8_are_refused),
      codec(a_value_that_ends_inside_a_character_is_refused_though_the_rest_follows),
      codec(every_size_holds_what_fits_and_is_otherwise_left_alone),
      codec(a_property_needs_a_member),
      codec(a_member_more_than_180_is_refused_and_a_property_is_not),
      codec(a_byte_more_than_8192_is_refused_however_large_the_buffer),
      codec(a_huge_key_is_refused),
      codec(all_members_but_some_are_passed_on_byte_by_byte),
      codec(a_copy_fits_or_changes_nothing),
      codec(random_values_come_back),
      codec(null_arguments_of_a_writer_are_refused),
  };
  return test_run(tests);
}
