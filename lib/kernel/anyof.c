/* SPDX-License-Identifier: MIT
 *
 * A context of several parents. In the tree it is a child of the first; in each of the others' lists of children
 * stands a link that leads to it.
 *
 * Invariants (loop thread)
 * 1. The links are part of the context's block; each is listed from birth until the context is over or freed,
 *    whichever parent that came from.
 * 2. A listed link is a hold of its parent. Giving it back may free that parent, which may itself be such a context:
 *    to keep that from recursing, it is not dropped here but handed to the next drain.
 */
#include <string.h>

#include "kernel/context.h"

typedef struct any_link_s {
  uvf__node_t node; /* kind UVF__NODE_ANY_LINK */
  uvf_ctx_t *owner;
  uvf_ctx_t *parent;
} any_link_t;

typedef struct any_s {
  uvf_ctx_t ctx;
  size_t n;
  any_link_t links[];
} any_t;

uvf_ctx_t *uvf__any_target(uvf__node_t *node) { return UVF__CONTAINER(node, any_link_t, node)->owner; }

void uvf__any_unlink(uvf_ctx_t *ctx) {
  any_t *any = (any_t *)(void *)ctx;
  for (size_t i = 0; i < any->n; i++) {
    any_link_t *link = &any->links[i];
    if (link->node.link.prev == NULL) continue;
    uvf__link_remove(&link->node.link);
    uvf__ctx_unhold_later(link->parent);
  }
}

int uvf_ctx_with_any(uvf_ctx_t *const parents[], size_t n, uvf_ctx_t **out) {
  uvf_ctx_t *over = NULL;
  any_t *any;
  int err;
  if (parents == NULL || n == 0 || out == NULL) return UV_EINVAL;
  for (size_t i = 0; i < n; i++) {
    if (parents[i] == NULL || uvf__ctx_hub(parents[i]) != uvf__ctx_hub(parents[0])) return UV_EINVAL;
    if (over == NULL && uvf__ctx_err(parents[i]) != 0) over = parents[i];
  }
  err = uvf__ctx_enter(parents[0], "uvf_ctx_with_any");
  if (err != 0) return err;
  if (n > (SIZE_MAX - sizeof *any) / sizeof *any->links) return UV_ENOMEM;
  any = uvf__malloc(sizeof *any + (n - 1) * sizeof *any->links);
  if (any == NULL) return UV_ENOMEM;
  uvf__ctx_init(&any->ctx, parents[0]->root, parents[0], UVF__CTX_ANY, 0);
  any->n = over != NULL ? 0 : n - 1;
  for (size_t i = 1; i < n; i++) {
    if (parents[i]->deadline.at_ns < any->ctx.deadline.at_ns) any->ctx.deadline.at_ns = parents[i]->deadline.at_ns;
  }
  for (size_t i = 0; i < any->n; i++) {
    any_link_t *link = &any->links[i];
    memset(&link->node, 0, sizeof link->node);
    link->node.kind = UVF__NODE_ANY_LINK;
    link->owner = &any->ctx;
    link->parent = parents[i + 1];
    link->parent->node.holds++;
    uvf__link_push(&link->parent->children, &link->node.link);
  }
  uvf__ctx_plant(&any->ctx, over != NULL ? over : parents[0]);
  *out = &any->ctx;
  return 0;
}
