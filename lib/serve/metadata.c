/* SPDX-License-Identifier: MIT
 *
 * Metadata: many request values in one.
 *
 * Invariants
 * 1. A set is one block, written before its context is born and never again: the header, the pairs, then the text of
 *    the pairs that are new in it. Any thread may read it.
 * 2. A pair that came from an ancestor points into that one's set, whose context every descendant keeps.
 */
#include <string.h>

#include "kernel/alloc.h"
#include "uvflow/serve.h"

typedef struct set_s {
  size_t n;
  uvf_metadata_t pairs[];
} set_t;

static char set_key;

static const set_t *set_of(const uvf_ctx_t *ctx) { return uvf_ctx_value(ctx, &set_key); }

static char lower(char c) { return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c); }

static int is_key_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

static int is_binary(const char *key, size_t len) {
  static const char suffix[] = "-bin";
  if (len < sizeof suffix - 1) return 0;
  for (size_t i = 0; i < sizeof suffix - 1; i++) {
    if (lower(key[len - (sizeof suffix - 1) + i]) != suffix[i]) return 0;
  }
  return 1;
}

static int is_valid(const uvf_metadata_t *pair) {
  size_t len;
  if (pair->key == NULL || (pair->value == NULL && pair->value_len > 0)) return 0;
  len = strlen(pair->key);
  if (len == 0) return 0;
  for (size_t i = 0; i < len; i++) {
    if (!is_key_char(lower(pair->key[i]))) return 0;
  }
  if (is_binary(pair->key, len)) return 1;
  for (size_t i = 0; i < pair->value_len; i++) {
    if (pair->value[i] < ' ' || pair->value[i] > '~') return 0;
  }
  return 1;
}

static int equals_lowered(const char *lowered, const char *key) {
  while (*lowered != '\0' && *lowered == lower(*key)) {
    lowered++;
    key++;
  }
  return *lowered == *key;
}

/* 1 if one of these pairs takes the place of an older one of that key. */
static int is_replaced(const char *key, const uvf_metadata_t pairs[], size_t n, int how) {
  if (how != UVF_METADATA_SET) return 0;
  for (size_t i = 0; i < n; i++) {
    if (equals_lowered(key, pairs[i].key)) return 1;
  }
  return 0;
}

/* Copies the pair, its key in lower case, to `text`; returns what is behind that. */
static char *copy_pair(uvf_metadata_t *to, const uvf_metadata_t *from, char *text) {
  size_t len = strlen(from->key);
  to->key = text;
  for (size_t i = 0; i < len; i++) *text++ = lower(from->key[i]);
  *text++ = '\0';
  to->value = text;
  to->value_len = from->value_len;
  if (from->value_len > 0) memcpy(text, from->value, from->value_len);
  text += from->value_len;
  *text++ = '\0';
  return text;
}

/* The bytes of a set of `older` + n pairs; 0: more than there can be, or a bad pair. */
static size_t size_of(size_t older, const uvf_metadata_t pairs[], size_t n) {
  size_t size = sizeof(set_t);
  if (n > SIZE_MAX / 4 / sizeof *pairs - older) return 0;
  size += (older + n) * sizeof *pairs;
  for (size_t i = 0; i < n; i++) {
    size_t more;
    if (!is_valid(&pairs[i])) return 0;
    more = strlen(pairs[i].key) + 2;
    if (pairs[i].value_len > SIZE_MAX / 2 - more || more + pairs[i].value_len > SIZE_MAX / 2 - size) return 0;
    size += more + pairs[i].value_len;
  }
  return size;
}

int uvf_ctx_with_metadata(uvf_ctx_t *parent, const uvf_metadata_t pairs[], size_t n, int how, uvf_ctx_t **ctx) {
  const set_t *old;
  set_t *set;
  char *text;
  size_t size;
  int err;
  if (parent == NULL || ctx == NULL || (pairs == NULL && n > 0)) return UV_EINVAL;
  if (how != UVF_METADATA_ADD && how != UVF_METADATA_SET) return UV_EINVAL;
  if (n == 0) return uvf_ctx_with_cancel(parent, ctx);
  old = set_of(parent);
  size = size_of(old != NULL ? old->n : 0, pairs, n);
  if (size == 0) return UV_EINVAL;
  set = uvf__malloc(size);
  if (set == NULL) return UV_ENOMEM;
  set->n = 0;
  for (size_t i = 0; old != NULL && i < old->n; i++) {
    if (!is_replaced(old->pairs[i].key, pairs, n, how)) set->pairs[set->n++] = old->pairs[i];
  }
  text = (char *)&set->pairs[set->n + n];
  for (size_t i = 0; i < n; i++) text = copy_pair(&set->pairs[set->n++], &pairs[i], text);
  err = uvf_ctx_with_value(parent, &set_key, set, uvf__free, ctx);
  if (err != 0) uvf__free(set);
  return err;
}

size_t uvf_ctx_metadata(const uvf_ctx_t *ctx, const uvf_metadata_t **pairs) {
  const set_t *set = set_of(ctx);
  if (pairs != NULL) *pairs = set != NULL ? set->pairs : NULL;
  return set != NULL ? set->n : 0;
}

const char *uvf_metadata_get(const uvf_ctx_t *ctx, const char *key) {
  const set_t *set = set_of(ctx);
  if (key == NULL) return NULL;
  for (size_t i = set != NULL ? set->n : 0; i > 0; i--) {
    if (strcmp(set->pairs[i - 1].key, key) == 0) return set->pairs[i - 1].value;
  }
  return NULL;
}
