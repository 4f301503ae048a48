/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <stddef.h>
#include <string.h>

/* Each function takes the place where its part should begin and returns the place behind it, or NULL. */
enum { DEPTH_MOST = 64 };

static const char *value(const char *at, int depth);

static const char *blanks(const char *at) { return at + strspn(at, " \t\r\n"); }

static const char *literal(const char *at, const char *word) {
  size_t len = strlen(word);
  return strncmp(at, word, len) == 0 ? at + len : NULL;
}

static const char *digits(const char *at) {
  size_t n = strspn(at, "0123456789");
  return n ? at + n : NULL;
}

static const char *number(const char *at) {
  if (*at == '-') at++;
  at = *at == '0' ? at + 1 : digits(at); /* no leading zero */
  if (at && *at == '.') at = digits(at + 1);
  if (at && (*at == 'e' || *at == 'E')) {
    at++;
    if (*at == '+' || *at == '-') at++;
    at = digits(at);
  }
  return at;
}

static const char *string(const char *at) {
  if (*at++ != '"') return NULL;
  while (*at != '"') {
    if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7f) return NULL; /* ours are ASCII */
    if (*at++ != '\\') continue;
    if (*at == 'u') {
      if (strspn(at + 1, "0123456789abcdefABCDEF") < 4) return NULL;
      at += 5;
    } else if (*at && strchr("\"\\/bfnrt", *at)) {
      at++;
    } else {
      return NULL;
    }
  }
  return at + 1;
}

/* A list or an object, from its bracket on. */
static const char *items(const char *at, char close, int named, int depth) {
  at = blanks(at + 1);
  if (*at == close) return at + 1;
  for (;;) {
    if (named) {
      at = string(at);
      if (!at) return NULL;
      at = blanks(at);
      if (*at != ':') return NULL;
      at = blanks(at + 1);
    }
    at = value(at, depth + 1);
    if (!at) return NULL;
    at = blanks(at);
    if (*at == close) return at + 1;
    if (*at != ',') return NULL;
    at = blanks(at + 1);
  }
}

static const char *value(const char *at, int depth) {
  if (depth > DEPTH_MOST) return NULL;
  switch (*at) {
    case '{': return items(at, '}', 1, depth);
    case '[': return items(at, ']', 0, depth);
    case '"': return string(at);
    case 't': return literal(at, "true");
    case 'f': return literal(at, "false");
    case 'n': return literal(at, "null");
    default: return number(at);
  }
}

int json_valid(const char *text) {
  const char *at = value(blanks(text), 0);
  return at && !*blanks(at);
}
