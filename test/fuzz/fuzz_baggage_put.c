/* SPDX-License-Identifier: MIT
 *
 * baggage, writing: the first byte is the size of the buffer (times 40, so that the longest text fits in some); then
 * one command a line: `m` or `p`, a key, and after a '=' a value. What was written is read back, member by member and
 * property by property.
 */
#include "fuzz.h"

#define COMMANDS 256

typedef struct command_s {
  int is_property;
  int has_value;
  char key[64];
  const char *value;
  size_t len;
} command_t;

/* Cuts the line at p; returns where the next begins. */
static const char *take_command(const char *p, const char *end, command_t *c) {
  const char *stop = memchr(p, '\n', (size_t)(end - p));
  const char *next = stop != NULL ? stop + 1 : end;
  size_t n = 0;
  if (stop == NULL) stop = end;
  memset(c, 0, sizeof(*c));
  if (p < stop) c->is_property = *p++ == 'p';
  while (p < stop && *p != '=' && n < sizeof(c->key) - 1) c->key[n++] = *p++;
  c->has_value = p < stop;
  if (c->has_value) {
    c->value = p + 1;
    c->len = (size_t)(stop - p - 1);
  }
  return next;
}

/* Writes it; on an error nothing may have changed. */
static int put(char *buf, size_t size, size_t *len, const command_t *c) {
  static char before[UVF_BAGGAGE_MAX + 1];
  size_t was = *len;
  int err;
  memcpy(before, buf, was);
  if (c->is_property)
    err = uvf_baggage_put_property(buf, size, len, c->key, c->value, c->len);
  else
    err = uvf_baggage_put(buf, size, len, c->key, c->value, c->len);
  MUST(memcmp(before, buf, was) == 0);
  if (err == 0)
    MUST(*len > was && *len < size && *len <= UVF_BAGGAGE_MAX && strlen(buf) == *len);
  else
    MUST(*len == was);
  MUST(err == 0 || err == UV_EINVAL || err == UV_ENOBUFS || err == UV_E2BIG);
  return err;
}

static void check_same(uvf_text_t key, uvf_text_t value, const command_t *c) {
  static char plain[UVF_BAGGAGE_MAX + 1];
  MUST(key.len == strlen(c->key) && memcmp(key.base, c->key, key.len) == 0);
  MUST(uvf_baggage_decode(value, plain, sizeof(plain)) == (int)c->len);
  if (c->len != 0) MUST(memcmp(plain, c->value, c->len) == 0);
}

static void check_all(const char *buf, size_t len, const command_t *done, size_t n) {
  uvf_baggage_t b;
  uvf_text_t key, value;
  MUST(uvf_baggage_init(&b, buf, len) == 0);
  for (size_t i = 0; i < n; i++) {
    if (done[i].is_property) {
      MUST(uvf_baggage_next_property(&b, &key, &value) == 0);
      MUST((value.base != NULL) == (done[i].value != NULL));
      check_same(key, value, &done[i]);
    } else {
      if (i > 0) MUST(uvf_baggage_next_property(&b, &key, &value) == UV_EOF);
      MUST(uvf_baggage_next(&b) == 0);
      check_same(b.key, b.value, &done[i]);
    }
  }
  MUST(uvf_baggage_next(&b) == UV_EOF);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static command_t done[COMMANDS];
  const char *p = (const char *)data, *end = p + size;
  size_t n = 0, room, len = 0;
  char *buf;
  if (size == 0) return 0;
  room = (size_t)data[0] * 40;
  buf = malloc(room + 1); /* one more than it is told, to see that it is left alone */
  MUST(buf != NULL);
  buf[room] = 'x';
  for (p++; p < end && n < COMMANDS;) {
    p = take_command(p, end, &done[n]);
    if (put(buf, room, &len, &done[n]) == 0) n++;
  }
  MUST(buf[room] == 'x');
  if (n > 0) check_all(buf, len, done, n);
  free(buf);
  return 0;
}
