/* SPDX-License-Identifier: MIT
 *
 * The grammar that the codecs share: RFC 9110's tokens and blanks, W3C Baggage's values, and UTF-8.
 */
#include "serve/text.h"

#include <string.h>

static int is_token_char(char c) {
  static const char marks[] = "!#$%&'*+-.^_`|~";
  if (uvf__is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return 1;
  return memchr(marks, c, sizeof(marks) - 1) != NULL;
}

int uvf__is_value_char(char c) { return c > ' ' && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\'; }

static int is_escape(const char *p, const char *end) {
  return end - p >= 3 && *p == '%' && uvf__hex_value(p[1]) >= 0 && uvf__hex_value(p[2]) >= 0;
}

const char *uvf__skip_blanks(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\t')) p++;
  return p;
}

const char *uvf__skip_token(const char *p, const char *end) {
  while (p < end && is_token_char(*p)) p++;
  return p;
}

const char *uvf__skip_value(const char *p, const char *end) {
  while (p < end && uvf__is_value_char(*p)) {
    if (*p != '%')
      p++;
    else if (is_escape(p, end))
      p += 3;
    else
      break;
  }
  return p;
}

int uvf__utf8_step(const unsigned char *s, size_t n) {
  unsigned char low = 0x80, high = 0xbf;
  int more;
  if (s[0] < 0x80) return 1;
  if (s[0] < 0xc2 || s[0] > 0xf4) return -1;
  more = s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
  /* Overlong forms, surrogates and what is beyond U+10FFFF show in the second byte. */
  if (s[0] == 0xe0) low = 0xa0;
  if (s[0] == 0xed) high = 0x9f;
  if (s[0] == 0xf0) low = 0x90;
  if (s[0] == 0xf4) high = 0x8f;
  for (int i = 1; i <= more; i++) {
    if ((size_t)i >= n || s[i] < low || s[i] > high) return -i;
    low = 0x80;
    high = 0xbf;
  }
  return more + 1;
}
