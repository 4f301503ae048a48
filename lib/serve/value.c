/* SPDX-License-Identifier: MIT
 *
 * Values that every request has: its id, its trace.
 */
#include <string.h>

#include "kernel/alloc.h"
#include "uvflow/serve.h"

static char id_key;
static char trace_key;

/* The child owns the copy; on an error it is freed. */
static int with_copy(uvf_ctx_t *parent, const void *key, const void *from, size_t len, uvf_ctx_t **ctx) {
  char *copy = uvf__malloc(len + 1);
  int err;
  if (copy == NULL) return UV_ENOMEM;
  memcpy(copy, from, len);
  copy[len] = '\0';
  err = uvf_ctx_with_value(parent, key, copy, uvf__free, ctx);
  if (err != 0) uvf__free(copy);
  return err;
}

int uvf_ctx_with_request_id(uvf_ctx_t *parent, const char *id, size_t len, uvf_ctx_t **ctx) {
  if (parent == NULL || id == NULL || len == 0 || len == SIZE_MAX || ctx == NULL) return UV_EINVAL;
  return with_copy(parent, &id_key, id, len, ctx);
}

const char *uvf_ctx_request_id(const uvf_ctx_t *ctx) { return uvf_ctx_value(ctx, &id_key); }

int uvf_ctx_with_trace(uvf_ctx_t *parent, const uvf_trace_t *trace, uvf_ctx_t **ctx) {
  if (parent == NULL || trace == NULL || ctx == NULL) return UV_EINVAL;
  return with_copy(parent, &trace_key, trace, sizeof *trace, ctx);
}

const uvf_trace_t *uvf_ctx_trace(const uvf_ctx_t *ctx) { return uvf_ctx_value(ctx, &trace_key); }
