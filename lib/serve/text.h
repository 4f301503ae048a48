/* SPDX-License-Identifier: MIT
 *
 * Characters, for the codecs: without locale, and without reading what is not theirs. Pieces of text are [p, end).
 */
#ifndef UVF_SERVE_TEXT_H
#define UVF_SERVE_TEXT_H

#include <stddef.h>

static inline int uvf__is_digit(char c) { return c >= '0' && c <= '9'; }

/* The value of a hexadecimal digit; -1: none. */
static inline int uvf__hex_value(char c) {
  if (uvf__is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* May stand in the value of a baggage member. */
int uvf__is_value_char(char c);

/* Where the blanks, the characters of a token, of a value that p begins with end. A value stops at an escape that is
 * none, at its percent sign. */
const char *uvf__skip_blanks(const char *p, const char *end);
const char *uvf__skip_token(const char *p, const char *end);
const char *uvf__skip_value(const char *p, const char *end);

/* Of the bytes at s, n > 0 of them: the length of the sequence they begin with, if it is well-formed UTF-8; else,
 * negative, how many are the beginning of one that breaks off: what one U+FFFD stands for. */
int uvf__utf8_step(const unsigned char *s, size_t n);

#endif /* UVF_SERVE_TEXT_H */
