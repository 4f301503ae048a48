/* SPDX-License-Identifier: MIT
 *
 * Request values. Every context points at the nearest one, itself included, that holds a value, and that one at the
 * next: a lookup never visits a context without a value.
 *
 * Invariant: the chain is made at birth and constant; each member is an ancestor, whose memory the asking context
 * holds. So any thread may walk it without a lock, also after the end.
 */
#include "kernel/context.h"

int uvf_ctx_with_value(uvf_ctx_t *parent, const void *key, void *value, uvf_value_free_cb free_cb, uvf_ctx_t **out) {
  uvf_ctx_t *ctx;
  uvf__vctx_t *v;
  int err;
  if (key == NULL || out == NULL) return UV_EINVAL;
  err = uvf__ctx_new(parent, UVF__CTX_VALUE, "uvf_ctx_with_value", &ctx);
  if (UVF__UNLIKELY(err != 0)) return err;
  v = (uvf__vctx_t *)ctx;
  v->key = key;
  v->value = value;
  v->free_cb = free_cb;
  v->outer = parent->values;
  ctx->values = v;
  uvf__ctx_plant(ctx, parent);
  *out = ctx;
  return 0;
}

static const uvf__vctx_t *find(const uvf_ctx_t *ctx, const void *key) {
  const uvf__vctx_t *v = ctx != NULL ? ctx->values : NULL;
  while (v != NULL && v->key != key) v = v->outer;
  return v;
}

void *uvf_ctx_value(const uvf_ctx_t *ctx, const void *key) {
  const uvf__vctx_t *v = find(ctx, key);
  return v != NULL ? v->value : NULL;
}

int uvf_ctx_find(const uvf_ctx_t *ctx, const void *key, void **value) {
  const uvf__vctx_t *v = find(ctx, key);
  if (v == NULL) return 0;
  if (value != NULL) *value = v->value;
  return 1;
}
