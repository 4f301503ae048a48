/* SPDX-License-Identifier: MIT
 *
 * W3C Baggage: a reader that walks over somebody's text. The writer is baggage_put.c.
 *
 * No value can hold a comma, and nothing is quoted: so members are told apart before they are looked at, and one that
 * is malformed does not hide the next. The reader checks a member with all its properties when it comes to it; what it
 * hands out later needs no second look.
 */
#include <string.h>

#include "serve/text.h"
#include "uvflow/codec.h"

/* key [= value], with the blanks around; ends at a semicolon or the end. value->base is NULL if there is none.
 * Returns where it ended; NULL: malformed. */
static const char *parse_pair(const char *p, const char *end, uvf_text_t *key, uvf_text_t *value) {
  key->base = p = uvf__skip_blanks(p, end);
  p = uvf__skip_token(p, end);
  key->len = (size_t)(p - key->base);
  value->base = NULL;
  value->len = 0;
  if (key->len == 0) return NULL;
  p = uvf__skip_blanks(p, end);
  if (p < end && *p == '=') {
    value->base = p = uvf__skip_blanks(p + 1, end);
    p = uvf__skip_value(p, end);
    value->len = (size_t)(p - value->base);
    p = uvf__skip_blanks(p, end);
  }
  return p == end || *p == ';' ? p : NULL;
}

/* --- reading --- */

static void forget_member(uvf_baggage_t *b) {
  const uvf_text_t none = {NULL, 0};
  b->member = b->key = b->value = b->uvf__properties = none;
}

int uvf_baggage_init(uvf_baggage_t *baggage, const char *text, size_t len) {
  if (baggage == NULL) return UV_EINVAL;
  forget_member(baggage);
  baggage->uvf__at = NULL;
  baggage->uvf__end = NULL;
  baggage->uvf__members = 0;
  baggage->uvf__err = UV_EOF;
  if (len == 0) return 0;
  if (text == NULL) return baggage->uvf__err = UV_EINVAL;
  if (len > UVF_BAGGAGE_MAX) return baggage->uvf__err = UV_E2BIG;
  baggage->uvf__at = text;
  baggage->uvf__end = text + len;
  return 0;
}

/* Takes the piece up to the next comma; there may be none after the last one, but an empty one. */
static uvf_text_t take_member(uvf_baggage_t *b) {
  const char *end = memchr(b->uvf__at, ',', (size_t)(b->uvf__end - b->uvf__at));
  uvf_text_t member;
  const char *next = end != NULL ? end + 1 : NULL;
  if (end == NULL) end = b->uvf__end;
  member.base = uvf__skip_blanks(b->uvf__at, end);
  while (end > member.base && (end[-1] == ' ' || end[-1] == '\t')) end--;
  member.len = (size_t)(end - member.base);
  b->uvf__at = next;
  return member;
}

static int parse_member(uvf_baggage_t *b) {
  const char *end = b->member.base + b->member.len;
  const char *first;
  const char *p = parse_pair(b->member.base, end, &b->key, &b->value);
  uvf_text_t key, value;
  if (p == NULL || b->value.base == NULL) return UV_EINVAL;
  first = p;
  while (p != end) {
    p = parse_pair(p + 1, end, &key, &value);
    if (p == NULL) return UV_EINVAL;
  }
  b->uvf__properties.base = first;
  b->uvf__properties.len = (size_t)(end - first);
  return 0;
}

int uvf_baggage_next(uvf_baggage_t *baggage) {
  uvf_text_t member;
  if (baggage == NULL) return UV_EINVAL;
  forget_member(baggage);
  if (baggage->uvf__at != NULL && baggage->uvf__members == UVF_BAGGAGE_MEMBERS) {
    baggage->uvf__at = NULL;
    baggage->uvf__err = UV_E2BIG;
  }
  if (baggage->uvf__at == NULL) return baggage->uvf__err;
  baggage->uvf__members++;
  member = baggage->member = take_member(baggage);
  if (parse_member(baggage) == 0) return 0;
  forget_member(baggage);
  baggage->member = member;
  return UV_EINVAL;
}

int uvf_baggage_next_property(uvf_baggage_t *baggage, uvf_text_t *key, uvf_text_t *value) {
  const char *p, *end;
  if (baggage == NULL || key == NULL || value == NULL) return UV_EINVAL;
  if (baggage->uvf__properties.len == 0) return UV_EOF;
  p = baggage->uvf__properties.base;
  end = p + baggage->uvf__properties.len;
  p = parse_pair(p + 1, end, key, value);
  baggage->uvf__properties.base = p;
  baggage->uvf__properties.len = (size_t)(end - p);
  return 0;
}

/* --- decoding --- */

static const char *take_byte(const char *p, unsigned char *byte) {
  if (*p != '%') {
    *byte = (unsigned char)*p;
    return p + 1;
  }
  *byte = (unsigned char)(uvf__hex_value(p[1]) * 16 + uvf__hex_value(p[2]));
  return p + 3;
}

/* The length of what a well-formed value means; writes it to out, unless that is NULL. */
static size_t decode(uvf_text_t value, char *out) {
  static const unsigned char replacement[] = {0xef, 0xbf, 0xbd};
  const char *p = value.base, *end = p + value.len;
  size_t len = 0;
  while (p < end) {
    unsigned char s[4] = {0};
    const char *ahead = p;
    size_t n = 0, wide;
    int step;
    do ahead = take_byte(ahead, &s[n++]);
    while (n < sizeof(s) && s[0] >= 0x80 && ahead < end);
    step = uvf__utf8_step(s, n);
    wide = step > 0 ? (size_t)step : sizeof(replacement);
    if (out != NULL) memcpy(out + len, step > 0 ? s : replacement, wide);
    len += wide;
    for (int i = 0; i < (step > 0 ? step : -step); i++) p += *p == '%' ? 3 : 1;
  }
  return len;
}

int uvf_baggage_decode(uvf_text_t value, char *buf, size_t size) {
  size_t len = 0;
  if (buf == NULL || (value.base == NULL && value.len != 0)) return UV_EINVAL;
  if (value.len > UVF_BAGGAGE_MAX) return UV_E2BIG;
  if (value.len != 0) {
    const char *end = value.base + value.len;
    if (uvf__skip_value(value.base, end) != end) return UV_EINVAL;
    len = decode(value, NULL);
  }
  if (size <= len) return UV_ENOBUFS;
  if (len != 0) decode(value, buf);
  buf[len] = '\0';
  return (int)len;
}
