/* SPDX-License-Identifier: MIT
 *
 * serve/baggage.c: reading baggage.
 */
#include "unit/codec_probe.h"

static int is_text(uvf_text_t text, const char *wanted) {
  if (wanted == NULL) return text.base == NULL && text.len == 0;
  return text.base != NULL && text.len == strlen(wanted) && memcmp(text.base, wanted, text.len) == 0;
}

/* What a reader of the text returns, member by member, drawn as one line: `key=value` and `;key=value` as they were
 * sent, members in brackets, `!` for a malformed one, and the code that ends it. */
static void draw(const char *text, size_t len, char *out, size_t size) {
  char *copy = exact(text, len);
  uvf_baggage_t b;
  uvf_text_t key, value;
  size_t n = 0;
  int err;
  uvf_baggage_init(&b, copy, len);
  out[0] = '\0';
  while ((err = uvf_baggage_next(&b)) == 0 || err == UV_EINVAL) {
    if (err != 0) {
      n += (size_t)snprintf(out + n, size - n, "!");
      continue;
    }
    n += (size_t)snprintf(out + n, size - n, "[%.*s=%.*s", (int)b.key.len, b.key.base, (int)b.value.len, b.value.base);
    while (uvf_baggage_next_property(&b, &key, &value) == 0) {
      n += (size_t)snprintf(out + n, size - n, ";%.*s", (int)key.len, key.base);
      if (value.base != NULL) n += (size_t)snprintf(out + n, size - n, "=%.*s", (int)value.len, value.base);
    }
    n += (size_t)snprintf(out + n, size - n, "]");
    assert_true(n < size);
  }
  snprintf(out + n, size - n, "%s", err == UV_EOF ? "" : uv_err_name(err));
  free(copy);
}

typedef struct row_s {
  const char *text;
  size_t len;
  const char *drawn;
} row_t;

static void check_rows(const row_t *rows, size_t n) {
  char drawn[1024];
  for (size_t i = 0; i < n; i++) {
    draw(rows[i].text, rows[i].len, drawn, sizeof(drawn));
    if (strcmp(drawn, rows[i].drawn) != 0) printf("drawn: %s\nwanted: %s\n", drawn, rows[i].drawn);
    check_row(strcmp(drawn, rows[i].drawn) == 0, rows[i].text, rows[i].len);
  }
}

static void members_and_properties_are_read_in_order(void **state) {
  static const row_t rows[] = {
      {TEXT(""), ""},
      {TEXT("a=1"), "[a=1]"},
      {TEXT("a=1,b=2"), "[a=1][b=2]"},
      {TEXT("a=1,a=2,a=1"), "[a=1][a=2][a=1]"},
      {TEXT("userId=alice,serverNode=DF%2028,isProduction=false"),
       "[userId=alice][serverNode=DF%2028][isProduction=false]"},
      {TEXT("key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue"),
       "[key1=value1;property1;property2][key2=value2][key3=value3;propertyKey=propertyValue]"},
      {TEXT("a=;p;q=;r=1"), "[a=;p;q=;r=1]"},
      {TEXT("a=b=c=="), "[a=b=c==]"},
      {TEXT("a=1;p=q=r;s==,b=="), "[a=1;p=q=r;s==][b==]"},
      {TEXT("A=1,a=2"), "[A=1][a=2]"},
      {TEXT("%41=1"), "[%41=1]"}, /* a key is no percent-encoding */
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

static void blanks_around_keys_values_and_members_do_not_count(void **state) {
  static const row_t rows[] = {
      {TEXT(" a=1 "), "[a=1]"},
      {TEXT("\ta\t=\t1\t,\tb\t=\t2\t"), "[a=1][b=2]"},
      {TEXT("a =   1 \t ,  b=2"), "[a=1][b=2]"},
      {TEXT("a=1 ; p ; q = 2 ;r=3"), "[a=1;p;q=2;r=3]"},
      {TEXT("a= ,b= ; p = "), "[a=][b=;p=]"},
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

static void a_malformed_member_is_told_and_does_not_hide_the_next(void **state) {
  static const row_t rows[] = {
      {TEXT("a,b=2"), "![b=2]"},     /* no value */
      {TEXT("a;p=1,b=2"), "![b=2]"}, /* a property's is not the member's */
      {TEXT("=1,b=2"), "![b=2]"},    /* no key */
      {TEXT(";p,b=2"), "![b=2]"},
      {TEXT("a b=1,b=2"), "![b=2]"},
      {TEXT("a=1 2,b=2"), "![b=2]"},
      {TEXT("a=\"x\",b=2"), "![b=2]"},
      {TEXT("a=x\\y,b=2"), "![b=2]"},
      {TEXT("(a)=1,b=2"), "![b=2]"},
      {TEXT("a=1;,b=2"), "![b=2]"}, /* a property that is empty */
      {TEXT("a=1;;p,b=2"), "![b=2]"},
      {TEXT("a=1;=2,b=2"), "![b=2]"},
      {TEXT("a=1;p q,b=2"), "![b=2]"},
      {TEXT("a=1;p=\"q\",b=2"), "![b=2]"},
      {TEXT("a=%,b=2"), "![b=2]"},
      {TEXT("a=%2,b=2"), "![b=2]"},
      {TEXT("a=%2g,b=2"), "![b=2]"},
      {TEXT("a=%g2,b=2"), "![b=2]"},
      {TEXT("a=1;p=%,b=2"), "![b=2]"},
      {TEXT("a=%4"), "!"},
      {TEXT("a=\x7f,b=2"), "![b=2]"},
      {TEXT("a=\x01,b=2"), "![b=2]"},
      {TEXT("a=1\0,b=2"), "![b=2]"},
      {TEXT("\0a=1,b=2"), "![b=2]"},
      {TEXT("a\0=1,b=2"), "![b=2]"},
      {TEXT("a=\xc3\xa4,b=2"), "![b=2]"}, /* not even well-formed UTF-8 may stand raw */
      {TEXT("\xc3\xa4=1,b=2"), "![b=2]"},
      {TEXT("a=1\r\n,b=2"), "![b=2]"},
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

static void an_empty_member_is_malformed(void **state) {
  static const row_t rows[] = {
      {TEXT(","), "!!"},
      {TEXT(" "), "!"},
      {TEXT("a=1,"), "[a=1]!"},
      {TEXT(",a=1"), "![a=1]"},
      {TEXT("a=1, ,b=2"), "[a=1]![b=2]"},
  };
  (void)state;
  check_rows(rows, ARRAY_SIZE(rows));
}

/* The characters of RFC 9110's token and of the specification's baggage-octet, counted out. */
static void each_byte_may_stand_where_the_grammar_has_it(void **state) {
  static const char token_marks[] = "!#$%&'*+-.^_`|~";
  (void)state;
  for (int c = 0; c < 256; c++) {
    char text[] = "k?=v?";
    uvf_baggage_t b;
    int is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    int in_key = is_alnum || (c != 0 && strchr(token_marks, c) != NULL);
    int in_value = c == 0x21 || (c >= 0x23 && c <= 0x2b) || (c >= 0x2d && c <= 0x3a) || (c >= 0x3c && c <= 0x5b) ||
                   (c >= 0x5d && c <= 0x7e);
    text[1] = (char)c;
    text[4] = 'v';
    /* A blank is taken for one around the key, and "k==v" is a value that begins with a '='. */
    if (c != ' ' && c != '\t' && c != '=') {
      uvf_baggage_init(&b, text, 5);
      assert_int_equal(uvf_baggage_next(&b), in_key ? 0 : UV_EINVAL);
    }
    text[1] = 'k';
    text[4] = (char)c;
    if (c == ' ' || c == '\t' || c == ',' || c == '%') continue;
    uvf_baggage_init(&b, text, 5);
    assert_int_equal(uvf_baggage_next(&b), in_value ? 0 : UV_EINVAL);
  }
}

static void a_member_is_handed_out_as_it_was_sent(void **state) {
  static const char text[] = " a = 1 ; p , x y , b=2";
  uvf_baggage_t b;
  (void)state;
  assert_int_equal(uvf_baggage_init(&b, text, strlen(text)), 0);
  assert_int_equal(uvf_baggage_next(&b), 0);
  assert_true(is_text(b.member, "a = 1 ; p"));
  assert_true(is_text(b.key, "a"));
  assert_true(is_text(b.value, "1"));
  assert_ptr_equal(b.member.base, text + 1);
  assert_int_equal(uvf_baggage_next(&b), UV_EINVAL);
  assert_true(is_text(b.member, "x y"));
  assert_true(is_text(b.key, NULL));
  assert_true(is_text(b.value, NULL));
  assert_int_equal(uvf_baggage_next(&b), 0);
  assert_true(is_text(b.member, "b=2"));
  assert_int_equal(uvf_baggage_next(&b), UV_EOF);
  assert_true(is_text(b.member, NULL));
  assert_int_equal(uvf_baggage_next(&b), UV_EOF);
}

static void properties_belong_to_the_member_that_was_read_last(void **state) {
  static const char text[] = "a=1;p;q=;r=%20,b=2,c,d=4;s";
  uvf_baggage_t b;
  uvf_text_t key, value;
  (void)state;
  assert_int_equal(uvf_baggage_init(&b, text, strlen(text)), 0);
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), UV_EOF);
  assert_int_equal(uvf_baggage_next(&b), 0);
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), 0);
  assert_true(is_text(key, "p") && is_text(value, NULL));
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), 0);
  assert_true(is_text(key, "q") && is_text(value, ""));
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), 0);
  assert_true(is_text(key, "r") && is_text(value, "%20"));
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), UV_EOF);
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), UV_EOF);
  assert_int_equal(uvf_baggage_next(&b), 0); /* b */
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), UV_EOF);
  assert_int_equal(uvf_baggage_next(&b), UV_EINVAL); /* c */
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), UV_EOF);
  assert_int_equal(uvf_baggage_next(&b), 0); /* d, whose property nobody asks for */
  assert_int_equal(uvf_baggage_next(&b), UV_EOF);
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), UV_EOF);
}

/* n members, the last without a comma. */
static size_t fill_members(char *text, size_t n, const char *member) {
  size_t len = 0;
  for (size_t i = 0; i < n; i++) {
    if (i > 0) text[len++] = ',';
    memcpy(text + len, member, strlen(member));
    len += strlen(member);
  }
  return len;
}

static void a_hundred_and_eighty_members_are_read_and_no_more(void **state) {
  static const struct {
    const char *member;
    size_t n, read;
    int end;
  } rows[] = {{"a=1", 180, 180, UV_EOF},   {"a=1", 181, 180, UV_E2BIG},
              {"", 180, 180, UV_EOF},      {"", 181, 180, UV_E2BIG},
              {"bad", 200, 180, UV_E2BIG}, {"abcdefgh=abcdefgh;ijklmnop=qrstuvwxyz0123", 180, 180, UV_EOF}};
  char *text = malloc(UVF_BAGGAGE_MAX);
  (void)state;
  assert_non_null(text);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    size_t len = fill_members(text, rows[i].n, rows[i].member), read = 0;
    uvf_baggage_t b;
    int err;
    assert_int_equal(uvf_baggage_init(&b, text, len), 0);
    while ((err = uvf_baggage_next(&b)) == 0 || err == UV_EINVAL) read++;
    assert_int_equal(read, rows[i].read);
    assert_int_equal(err, rows[i].end);
    assert_int_equal(uvf_baggage_next(&b), rows[i].end);
  }
  free(text);
}

static void a_text_of_8192_bytes_is_read_and_of_one_more_refused(void **state) {
  char *text = malloc(UVF_BAGGAGE_MAX + 1), *plain = malloc(UVF_BAGGAGE_MAX + 1);
  uvf_baggage_t b;
  (void)state;
  assert_non_null(text);
  assert_non_null(plain);
  memset(text, 'x', UVF_BAGGAGE_MAX + 1);
  text[1] = '=';
  assert_int_equal(uvf_baggage_init(&b, text, UVF_BAGGAGE_MAX), 0);
  assert_int_equal(uvf_baggage_next(&b), 0);
  assert_int_equal(b.value.len, UVF_BAGGAGE_MAX - 2);
  assert_int_equal(uvf_baggage_decode(b.value, plain, UVF_BAGGAGE_MAX + 1), UVF_BAGGAGE_MAX - 2);
  assert_int_equal(uvf_baggage_next(&b), UV_EOF);
  assert_int_equal(uvf_baggage_init(&b, text, UVF_BAGGAGE_MAX + 1), UV_E2BIG);
  assert_int_equal(uvf_baggage_next(&b), UV_E2BIG);
  assert_int_equal(uvf_baggage_next(&b), UV_E2BIG);
  /* Not looked at: this length is nobody's memory. */
  assert_int_equal(uvf_baggage_init(&b, text, SIZE_MAX), UV_E2BIG);
  assert_int_equal(uvf_baggage_next(&b), UV_E2BIG);
  free(plain);
  free(text);
}

typedef struct decode_row_s {
  const char *value;
  size_t len;
  const char *plain;
  size_t plain_len;
} decode_row_t;

/* Into every size from none to more than enough. */
static void check_decode(const decode_row_t *row) {
  char *value = exact(row->value, row->len);
  const uvf_text_t text = {value, row->len};
  for (size_t size = 0; size <= row->plain_len + 2; size++) {
    char *buf = malloc(size + 1);
    int n;
    assert_non_null(buf);
    memset(buf, '?', size + 1);
    n = uvf_baggage_decode(text, buf, size);
    if (size > row->plain_len) {
      check_row(n == (int)row->plain_len, row->value, row->len);
      check_row(memcmp(buf, row->plain, row->plain_len) == 0 && buf[n] == '\0', row->value, row->len);
    } else {
      check_row(n == UV_ENOBUFS, row->value, row->len);
      for (size_t i = 0; i < size; i++) assert_int_equal(buf[i], '?');
    }
    assert_int_equal(buf[size], '?');
    free(buf);
  }
  free(value);
}

static void percent_encoding_is_decoded(void **state) {
  static const decode_row_t rows[] = {
      {TEXT(""), TEXT("")},
      {TEXT("plain"), TEXT("plain")},
      {TEXT("DF%2028"), TEXT("DF 28")},
      {TEXT("%2c%3B%22%5C%25"), TEXT(",;\"\\%")},
      {TEXT("%25%34%31"), TEXT("%41")}, /* once, not twice */
      {TEXT("a+b"), TEXT("a+b")},       /* a plus is no blank */
      {TEXT("%00"), TEXT("\0")},
      {TEXT("a%00b"), TEXT("a\0b")},
      {TEXT("%C3%A4"), TEXT("\xc3\xa4")},
      {TEXT("%e2%82%ac"), TEXT("\xe2\x82\xac")},
      {TEXT("%F0%9F%98%80!"), TEXT("\xf0\x9f\x98\x80!")},
      {TEXT("%ED%9F%BF%EE%80%80"), TEXT("\xed\x9f\xbf\xee\x80\x80")}, /* around the surrogates */
      {TEXT("%F4%8F%BF%BF"), TEXT("\xf4\x8f\xbf\xbf")},               /* the last one */
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check_decode(&rows[i]);
}

#define FFFD "\xef\xbf\xbd"

static void what_is_not_utf8_is_replaced_a_run_at_a_time(void **state) {
  static const decode_row_t rows[] = {
      {TEXT("%FF"), TEXT(FFFD)},
      {TEXT("%FFa%FE"), TEXT(FFFD "a" FFFD)},
      {TEXT("%80%BF"), TEXT(FFFD FFFD)},          /* continuations of nothing */
      {TEXT("%C3"), TEXT(FFFD)},                  /* broken off by the end */
      {TEXT("%C3x"), TEXT(FFFD "x")},             /* by a character */
      {TEXT("%C3%C3%A4"), TEXT(FFFD "\xc3\xa4")}, /* by another beginning */
      {TEXT("%E2%82"), TEXT(FFFD)},               /* two bytes of three: one run */
      {TEXT("%E2%82x"), TEXT(FFFD "x")},
      {TEXT("%F0%9F%98"), TEXT(FFFD)},
      {TEXT("%F0%9F%98%F0%9F%98%80"), TEXT(FFFD "\xf0\x9f\x98\x80")},
      {TEXT("%C0%80"), TEXT(FFFD FFFD)}, /* overlong */
      {TEXT("%C1%BF"), TEXT(FFFD FFFD)},
      {TEXT("%E0%80%80"), TEXT(FFFD FFFD FFFD)},
      {TEXT("%E0%9F%BF"), TEXT(FFFD FFFD FFFD)},
      {TEXT("%F0%80%80%80"), TEXT(FFFD FFFD FFFD FFFD)},
      {TEXT("%ED%A0%80"), TEXT(FFFD FFFD FFFD)},         /* a surrogate */
      {TEXT("%F4%90%80%80"), TEXT(FFFD FFFD FFFD FFFD)}, /* beyond the last */
      {TEXT("%F5%80%80%80"), TEXT(FFFD FFFD FFFD FFFD)},
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) check_decode(&rows[i]);
}

static void what_is_no_value_is_not_decoded(void **state) {
  static const row_t rows[] = {
      {TEXT("%"), ""},   {TEXT("%4"), ""},  {TEXT("a%"), ""},  {TEXT("%4g"), ""},      {TEXT("%%"), ""},
      {TEXT("a b"), ""}, {TEXT("a,b"), ""}, {TEXT("a;b"), ""}, {TEXT("\xc3\xa4"), ""}, {TEXT("\0"), ""},
  };
  const uvf_text_t nothing = {NULL, 0}, nobody = {NULL, 1}, huge = {"x", SIZE_MAX};
  char buf[8];
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char *value = exact(rows[i].text, rows[i].len);
    const uvf_text_t text = {value, rows[i].len};
    memset(buf, '?', sizeof(buf));
    check_row(uvf_baggage_decode(text, buf, sizeof(buf)) == UV_EINVAL && buf[0] == '?', value, rows[i].len);
    free(value);
  }
  assert_int_equal(uvf_baggage_decode(nothing, buf, sizeof(buf)), 0);
  assert_string_equal(buf, "");
  assert_int_equal(uvf_baggage_decode(nobody, buf, sizeof(buf)), UV_EINVAL);
  assert_int_equal(uvf_baggage_decode(huge, buf, sizeof(buf)), UV_E2BIG);
}

static void null_arguments_of_a_reader_are_refused(void **state) {
  uvf_baggage_t b;
  uvf_text_t key, value = {"x", 1};
  (void)state;
  assert_int_equal(uvf_baggage_init(NULL, "a=1", 3), UV_EINVAL);
  assert_int_equal(uvf_baggage_init(&b, NULL, 3), UV_EINVAL);
  assert_int_equal(uvf_baggage_next(&b), UV_EINVAL);
  assert_int_equal(uvf_baggage_init(&b, NULL, 0), 0);
  assert_int_equal(uvf_baggage_next(&b), UV_EOF);
  assert_int_equal(uvf_baggage_next(NULL), UV_EINVAL);
  assert_int_equal(uvf_baggage_init(&b, "a=1;p", 5), 0);
  assert_int_equal(uvf_baggage_next(&b), 0);
  assert_int_equal(uvf_baggage_next_property(NULL, &key, &value), UV_EINVAL);
  assert_int_equal(uvf_baggage_next_property(&b, NULL, &value), UV_EINVAL);
  assert_int_equal(uvf_baggage_next_property(&b, &key, NULL), UV_EINVAL);
  assert_int_equal(uvf_baggage_next_property(&b, &key, &value), 0); /* it was not used up */
  value.base = "x";
  value.len = 1;
  assert_int_equal(uvf_baggage_decode(value, NULL, 9), UV_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      codec(members_and_properties_are_read_in_order),
      codec(blanks_around_keys_values_and_members_do_not_count),
      codec(a_malformed_member_is_told_and_does_not_hide_the_next),
      codec(an_empty_member_is_malformed),
      codec(each_byte_may_stand_where_the_grammar_has_it),
      codec(a_member_is_handed_out_as_it_was_sent),
      codec(properties_belong_to_the_member_that_was_read_last),
      codec(a_hundred_and_eighty_members_are_read_and_no_more),
      codec(a_text_of_8192_bytes_is_read_and_of_one_more_refused),
      codec(percent_encoding_is_decoded),
      codec(what_is_not_utf8_is_replaced_a_run_at_a_time),
      codec(what_is_no_value_is_not_decoded),
      codec(null_arguments_of_a_reader_are_refused),
  };
  return test_run(tests);
}
