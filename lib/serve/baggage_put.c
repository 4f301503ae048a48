/* SPDX-License-Identifier: MIT
 *
 * W3C Baggage: a writer that appends to the caller's buffer. Everything is checked and measured before the first byte
 * is written.
 */
#include <string.h>

#include "serve/text.h"
#include "uvflow/codec.h"

static int is_utf8(const char *text, size_t len) {
  const unsigned char *s = (const unsigned char *)text;
  while (len > 0) {
    int step = uvf__utf8_step(s, len);
    if (step < 0) return 0;
    s += step;
    len -= (size_t)step;
  }
  return 1;
}

static int stands_for_itself(char c) { return uvf__is_value_char(c) && c != '%'; }

static size_t encoded_length(const char *value, size_t len) {
  size_t sum = len;
  for (size_t i = 0; i < len; i++) sum += stands_for_itself(value[i]) ? 0 : 2;
  return sum;
}

static char *encode(char *out, const char *value, size_t len) {
  static const char digits[] = "0123456789ABCDEF";
  for (size_t i = 0; i < len; i++) {
    if (stands_for_itself(value[i])) {
      *out++ = value[i];
    } else {
      *out++ = '%';
      *out++ = digits[(unsigned char)value[i] >> 4];
      *out++ = digits[(unsigned char)value[i] & 15];
    }
  }
  return out;
}

/* Whether `more` bytes may be appended. */
static int check_room(size_t size, size_t len, size_t more) {
  if (len > size) return UV_EINVAL;
  if (len > UVF_BAGGAGE_MAX || more > UVF_BAGGAGE_MAX - len) return UV_E2BIG;
  return size <= len + more ? UV_ENOBUFS : 0;
}

/* Whether one member more may be appended to those that are there. */
static int check_members(const char *buf, size_t len) {
  const char *p = buf, *end = buf + len;
  size_t members = 1;
  if (len == 0) return 0;
  while ((p = memchr(p, ',', (size_t)(end - p))) != NULL) {
    p++;
    members++;
  }
  return members >= UVF_BAGGAGE_MEMBERS ? UV_E2BIG : 0;
}

/* `before` (none if NUL), key, and = value, unless that is NULL. */
static int append(char *buf, size_t size, size_t *len, char before, const char *key, const char *value,
                  size_t value_len) {
  size_t key_len = strlen(key);
  size_t more = key_len + (before != '\0');
  char *p;
  int err;
  if (key_len == 0 || uvf__skip_token(key, key + key_len) != key + key_len) return UV_EINVAL;
  if (value != NULL) {
    /* Long enough to overflow the sums: not looked at. */
    if (key_len > UVF_BAGGAGE_MAX || value_len > UVF_BAGGAGE_MAX) return UV_E2BIG;
    if (!is_utf8(value, value_len)) return UV_EINVAL;
    more += 1 + encoded_length(value, value_len);
  }
  err = check_room(size, *len, more);
  if (err != 0) return err;
  p = buf + *len;
  if (before != '\0') *p++ = before;
  memcpy(p, key, key_len);
  p += key_len;
  if (value != NULL) {
    *p++ = '=';
    p = encode(p, value, value_len);
  }
  *p = '\0';
  *len += more;
  return 0;
}

int uvf_baggage_put(char *buf, size_t size, size_t *len, const char *key, const char *value, size_t value_len) {
  int err;
  if (buf == NULL || len == NULL || key == NULL || (value == NULL && value_len != 0)) return UV_EINVAL;
  if (*len > size) return UV_EINVAL;
  err = check_members(buf, *len);
  if (err != 0) return err;
  return append(buf, size, len, *len == 0 ? '\0' : ',', key, value != NULL ? value : "", value_len);
}

int uvf_baggage_put_property(char *buf, size_t size, size_t *len, const char *key, const char *value,
                             size_t value_len) {
  if (buf == NULL || len == NULL || key == NULL || (value == NULL && value_len != 0)) return UV_EINVAL;
  if (*len == 0 || *len > size) return UV_EINVAL;
  return append(buf, size, len, ';', key, value, value_len);
}

int uvf_baggage_copy(char *buf, size_t size, size_t *len, const uvf_baggage_t *baggage) {
  size_t comma;
  int err;
  if (buf == NULL || len == NULL || baggage == NULL || baggage->key.base == NULL) return UV_EINVAL;
  comma = *len != 0;
  err = check_room(size, *len, comma + baggage->member.len);
  if (err == 0) err = check_members(buf, *len);
  if (err != 0) return err;
  if (comma) buf[*len] = ',';
  memcpy(buf + *len + comma, baggage->member.base, baggage->member.len);
  *len += comma + baggage->member.len;
  buf[*len] = '\0';
  return 0;
}
