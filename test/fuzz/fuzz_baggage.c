/* SPDX-License-Identifier: MIT
 *
 * baggage, reading: any text. What the reader hands out lies inside the text, in order, and is of the grammar; copied
 * it reads as the same again; decoded and encoded again it means the same.
 */
#include "fuzz.h"

static int is_blank(char c) { return c == ' ' || c == '\t'; }

static int is_value_byte(char c) { return c >= 0x21 && c <= 0x7e && strchr("\",;\\", c) == NULL; }

static int is_key_byte(char c) { return c >= 0x21 && c <= 0x7e && strchr("\"(),/:;<=>?@[\\]{}", c) == NULL; }

static void check_inside(uvf_text_t part, uvf_text_t whole) {
  MUST(part.base >= whole.base && part.base + part.len <= whole.base + whole.len);
}

static void check_key(uvf_text_t key) {
  MUST(key.len > 0);
  for (size_t i = 0; i < key.len; i++) MUST(is_key_byte(key.base[i]));
}

/* Code points counted by their lengths; 0 if it is not UTF-8. By arithmetic on the value, as the codec does not. */
static int is_utf8(const char *text, size_t len) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  for (size_t i = 0; i < len;) {
    uint8_t c = (uint8_t)text[i];
    uint32_t point;
    size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
    if (n == 0 || len - i < n) return 0;
    point = n == 1 ? c : c & (0x7fu >> n);
    for (size_t k = 1; k < n; k++) {
      if ((uint8_t)text[i + k] >> 6 != 2) return 0;
      point = point << 6 | ((uint8_t)text[i + k] & 0x3fu);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return 0;
    i += n;
  }
  return 1;
}

/* Decodes; encodes and decodes that again. */
static void check_value(uvf_text_t value) {
  static char plain[UVF_BAGGAGE_MAX + 1], again[UVF_BAGGAGE_MAX + 1], header[UVF_BAGGAGE_MAX + 1];
  uvf_baggage_t b;
  size_t len = 0;
  int n;
  for (size_t i = 0; i < value.len; i++) MUST(is_value_byte(value.base[i]));
  n = uvf_baggage_decode(value, plain, sizeof(plain));
  MUST(n >= 0 && (size_t)n <= value.len && plain[n] == '\0');
  MUST(is_utf8(plain, (size_t)n));
  MUST(uvf_baggage_decode(value, again, (size_t)n) == UV_ENOBUFS);
  if (uvf_baggage_put(header, sizeof(header), &len, "k", plain, (size_t)n) == UV_E2BIG) {
    MUST(3 * (size_t)n + 2 > UVF_BAGGAGE_MAX);
    return;
  }
  MUST(len > 1 && len == strlen(header));
  MUST(uvf_baggage_init(&b, header, len) == 0 && uvf_baggage_next(&b) == 0);
  MUST(uvf_baggage_decode(b.value, again, sizeof(again)) == n && memcmp(plain, again, (size_t)n) == 0);
  MUST(uvf_baggage_next(&b) == UV_EOF);
}

static int same_text(uvf_text_t a, uvf_text_t b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

/* The member alone, copied: the same key, value and properties. */
static void check_copy(uvf_baggage_t *b) {
  static char header[UVF_BAGGAGE_MAX + 1];
  size_t len = 0;
  uvf_baggage_t copy;
  uvf_text_t key, value, key2, value2;
  int err;
  MUST(uvf_baggage_copy(header, sizeof(header), &len, b) == 0);
  MUST(len == b->member.len && memcmp(header, b->member.base, len) == 0);
  MUST(uvf_baggage_init(&copy, header, len) == 0 && uvf_baggage_next(&copy) == 0);
  MUST(same_text(copy.key, b->key) && same_text(copy.value, b->value));
  while ((err = uvf_baggage_next_property(b, &key, &value)) == 0) {
    check_inside(key, b->member);
    check_key(key);
    if (value.base != NULL) {
      check_inside(value, b->member);
      check_value(value);
    }
    MUST(uvf_baggage_next_property(&copy, &key2, &value2) == 0);
    MUST(same_text(key, key2) && same_text(value, value2) && (value.base == NULL) == (value2.base == NULL));
  }
  MUST(err == UV_EOF && uvf_baggage_next_property(&copy, &key2, &value2) == UV_EOF);
  MUST(uvf_baggage_next(&copy) == UV_EOF);
}

static void check_member(uvf_baggage_t *b) {
  check_inside(b->key, b->member);
  check_inside(b->value, b->member);
  check_key(b->key);
  MUST(b->key.base == b->member.base && b->value.base > b->key.base + b->key.len);
  MUST(!is_blank(b->member.base[b->member.len - 1]));
  check_value(b->value);
  check_copy(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const uvf_text_t whole = {(const char *)data, size};
  const char *from = whole.base;
  size_t members = 0, pieces = size != 0;
  uvf_baggage_t b;
  int err = uvf_baggage_init(&b, whole.base, size);
  MUST(err == (size > UVF_BAGGAGE_MAX ? UV_E2BIG : 0));
  for (size_t i = 0; i < size; i++) pieces += data[i] == ',';
  while ((err = uvf_baggage_next(&b)) == 0 || err == UV_EINVAL) {
    members++;
    check_inside(b.member, whole);
    MUST(b.member.base >= from);
    from = b.member.base + b.member.len;
    if (err == 0)
      check_member(&b);
    else
      MUST(b.key.base == NULL && b.value.base == NULL);
  }
  if (size > UVF_BAGGAGE_MAX)
    MUST(members == 0 && err == UV_E2BIG);
  else if (pieces > UVF_BAGGAGE_MEMBERS)
    MUST(members == UVF_BAGGAGE_MEMBERS && err == UV_E2BIG);
  else
    MUST(members == pieces && err == UV_EOF);
  MUST(uvf_baggage_next(&b) == err);
  return 0;
}
