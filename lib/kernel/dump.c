/* SPDX-License-Identifier: MIT
 *
 * Looking inside: names, counts, figures, and a drawing of the tree. Loop thread; reads only.
 *
 * Invariant: the drawing is iterative, with a stack of MAX_DEPTH places; what lies deeper is counted, by a walk that
 * needs none, and said.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "kernel/context.h"
#include "uvflow/io.h"

#define MAX_DEPTH 64

static const char *const kind_names[] = {
    "background", "todo",           "with_cancel", "with_timeout", "with_deadline", "with_timeout", "with_deadline",
    "with_value", "without_cancel", "with_any",    "with_remote",  "any link",      "bridge"};

void uvf_ctx_set_name(uvf_ctx_t *ctx, const char *name) {
  if (ctx != NULL) ctx->name = name;
}

const char *uvf_ctx_name(const uvf_ctx_t *ctx) {
  if (ctx == NULL) return "";
  return ctx->name != NULL ? ctx->name : kind_names[ctx->node.kind];
}

/* --- describe
 * ------------------------------------------------------------------------------------------------------------ */

/* Written from the end, since the chain is followed from the leaf to the root: one pass, no stack. */
size_t uvf_ctx_describe(const uvf_ctx_t *ctx, char *buf, size_t size) {
  size_t total = 0;
  size_t at = size; /* where the text begins so far; buf[size - 1] is the terminator */
  int cut = 0;
  if (ctx == NULL) {
    if (buf != NULL && size > 0) buf[0] = '\0';
    return 0;
  }
  if (buf != NULL && size > 0) buf[--at] = '\0';
  for (const uvf_ctx_t *c = ctx; c != NULL; c = c->parent) {
    const char *name = uvf_ctx_name(c);
    size_t len = strlen(name);
    size_t dot = c->parent != NULL;
    total += len + dot;
    if (buf == NULL || size == 0 || cut) continue;
    if (len + dot > at) {
      cut = 1;
      continue;
    }
    at -= len;
    memcpy(buf + at, name, len);
    if (dot) buf[--at] = '.';
  }
  if (buf == NULL || size == 0) return total;
  memmove(buf, buf + at, size - at);
  if (cut) { /* the first dots of what is left make room for the sign that something is missing */
    size_t len = strlen(buf);
    size_t room = size - 1 - len;
    size_t dots = 3;
    if (room < dots) { /* give up as much of the start as it takes */
      size_t drop = dots - room;
      if (drop > len) drop = len;
      memmove(buf, buf + drop, len - drop + 1);
      len -= drop;
      if (dots > size - 1) dots = size - 1;
    }
    memmove(buf + dots, buf, len + 1);
    memset(buf, '.', dots);
  }
  return total;
}

/* --- figures
 * -------------------------------------------------------------------------------------------------------------- */

void uvf_ctx_counts(const uvf_ctx_t *ctx, uvf_ctx_counts_t *counts) {
  if (counts == NULL) return;
  memset(counts, 0, sizeof *counts);
  if (ctx == NULL) return;
  for (const uvf__link_t *n = ctx->children; n != NULL; n = n->next) counts->children++;
  for (const uvf_op_t *op = ctx->ops; op != NULL; op = op->uvf__next) {
    unsigned int flags = uvf__op_type(op)->flags;
    if (flags & UVF__OP_WATCH) {
      counts->watchers++;
    } else if (flags & UVF__OP_GUARD) {
      counts->guards++;
    } else {
      counts->ops++;
    }
  }
}

void uvf_ctx_stats(const uvf_ctx_t *ctx, uvf_stats_t *stats) {
  const uvf__hub_t *hub;
  if (stats == NULL) return;
  memset(stats, 0, sizeof *stats);
  if (ctx == NULL) return;
  hub = uvf__ctx_hub(ctx);
  stats->contexts = hub->ncontexts;
  stats->live = hub->nlive;
  stats->deadlines = hub->wheel.armed;
  stats->ops = hub->nops;
  stats->ready = hub->nready;
  stats->delivered = hub->ndelivered;
  stats->roots = hub->nroots;
}

/* --- the drawing
 * ------------------------------------------------------------------------------------------------------------ */

typedef struct pen_s {
  FILE *out;
  int failed;
  int depth;
  /* per level: what is still to come */
  const uvf__link_t *children[MAX_DEPTH];
  const uvf_op_t *ops[MAX_DEPTH];
} pen_t;

static void put(pen_t *pen, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (vfprintf(pen->out, format, args) < 0) pen->failed = 1;
  va_end(args);
}

static int more_at(const pen_t *pen, int level) { return pen->children[level] != NULL || pen->ops[level] != NULL; }

/* The branches on the left of a line at the present depth. */
static void put_branches(pen_t *pen) {
  for (int i = 0; i < pen->depth; i++) {
    int last = i == pen->depth - 1;
    put(pen, "%s", last ? (more_at(pen, i) ? "├─ " : "└─ ") : (more_at(pen, i) ? "│  " : "   "));
  }
}

static void put_ctx(pen_t *pen, const uvf_ctx_t *ctx, uint64_t now_ns) {
  int err = uvf__ctx_err(ctx);
  put_branches(pen);
  put(pen, "%s", kind_names[ctx->node.kind]);
  if (ctx->name != NULL) put(pen, " \"%s\"", ctx->name);
  if (err != 0) {
    put(pen, "  over: %s", uv_err_name(err));
    if (ctx->cause != err) put(pen, ", cause %d", ctx->cause);
    if (ctx->cause < 0 && ctx->cause != err) put(pen, " (%s)", uv_strerror(ctx->cause));
  } else if (ctx->deadline.at_ns != UVF_NO_DEADLINE) {
    uint64_t at_ns = ctx->deadline.at_ns;
    put(pen, "  %.1f ms left", at_ns > now_ns ? (double)(at_ns - now_ns) / 1e6 : 0.0);
    if (ctx->deadline.link.prev == NULL) put(pen, " (an ancestor's)");
  }
  put(pen, "  refs %u\n", (unsigned int)atomic_load(&ctx->refs));
}

static void put_op(pen_t *pen, const uvf_op_t *op) {
  static const char *const states[] = {"?", "pending", "committed", "claimed", "ready", "told, waits for its release"};
  put_branches(pen);
  put(pen, "[%s", uvf__op_type(op)->name);
  if (uvf__op_type(op)->flags & UVF__OP_HANDLE) {
    const char *type = uv_handle_type_name(uv_handle_get_type(((const uvf_guard_t *)(const void *)op)->uvf__of.handle));
    put(pen, " of a uv_%s_t", type != NULL ? type : "handle");
  }
  put(pen, "]  %s", states[uvf__u32_load(&op->uvf__state)]);
  if (op->uvf__site != NULL) put(pen, "  started at %s", op->uvf__site);
  put(pen, "\n");
}

static void put_link(pen_t *pen, const uvf__node_t *node) {
  put_branches(pen);
  if (node->kind == UVF__NODE_BRIDGE) {
    put(pen, "-> a child on another loop\n");
  } else {
    uvf__node_t *link = UVF__CONTAINER(&node->link, uvf__node_t, link);
    put(pen, "-> %s of several parents\n", uvf_ctx_name(uvf__any_target(link)));
  }
}

/* Contexts below one that is too deep to draw, without a stack: down by the first child, on by the next, up by the
 * parent. */
static uint64_t count_below(const uvf_ctx_t *top) {
  uint64_t n = 0;
  const uvf_ctx_t *ctx = top;
  const uvf__link_t *next = top->children;
  for (;;) {
    const uvf__node_t *node;
    while (next == NULL) {
      if (ctx == top) return n;
      next = ctx->node.link.next;
      /* without_cancel and any-of children hang where they are listed: under parent, or under the root, which is
       * never below `top` */
      ctx = ctx->parent;
    }
    node = UVF__CONTAINER(next, const uvf__node_t, link);
    if (node->kind >= UVF__NODE_ANY_LINK) {
      next = next->next;
      continue;
    }
    n++;
    ctx = UVF__CONTAINER(node, const uvf_ctx_t, node);
    next = ctx->children;
  }
}

/* What a root's end waits for outside the tree: contexts that are over, and what cannot be told yet under them. */
static void put_stragglers(pen_t *pen, const uvf__root_t *root, uint64_t now_ns) {
  for (const uvf__link_t *n = root->stragglers; n != NULL; n = n->next) {
    const uvf_ctx_t *ctx = UVF__CONTAINER(n, const uvf_ctx_t, node.link);
    char path[256];
    if (ctx->ops == NULL || ctx == &root->ctx) continue; /* the root's own are drawn with it */
    uvf_ctx_describe(ctx, path, sizeof path);
    pen->depth = 0;
    put(pen, "still held: %s\n", path);
    put_ctx(pen, ctx, now_ns);
    pen->depth = 1;
    pen->children[0] = NULL;
    for (const uvf_op_t *op = ctx->ops; op != NULL; op = op->uvf__next) {
      pen->ops[0] = op->uvf__next;
      put_op(pen, op);
    }
  }
  pen->depth = 0;
  if (root->hub->nready > 0)
    put(pen, "%" PRIu64 " operations of this loop wait for their callback\n", root->hub->nready);
}

int uvf_ctx_dump(const uvf_ctx_t *ctx, FILE *out) {
  pen_t pen;
  uint64_t now_ns = uvf__clock_ns();
  if (ctx == NULL || out == NULL) return UV_EINVAL;
  pen.out = out;
  pen.failed = 0;
  pen.depth = 0;
  put_ctx(&pen, ctx, now_ns);
  pen.depth = 1;
  pen.children[0] = ctx->children;
  pen.ops[0] = ctx->ops;
  while (pen.depth > 0) {
    int level = pen.depth - 1;
    const uvf_ctx_t *child;
    const uvf__node_t *node;
    if (pen.ops[level] != NULL) {
      const uvf_op_t *op = pen.ops[level];
      pen.ops[level] = op->uvf__next;
      put_op(&pen, op);
      continue;
    }
    if (pen.children[level] == NULL) {
      pen.depth--;
      continue;
    }
    node = UVF__CONTAINER(pen.children[level], const uvf__node_t, link);
    pen.children[level] = node->link.next;
    if (node->kind >= UVF__NODE_ANY_LINK) {
      put_link(&pen, node);
      continue;
    }
    child = UVF__CONTAINER(node, const uvf_ctx_t, node);
    put_ctx(&pen, child, now_ns);
    if (child->children == NULL && child->ops == NULL) continue;
    if (pen.depth == MAX_DEPTH) {
      put_branches(&pen);
      put(&pen, "... and %" PRIu64 " contexts below\n", count_below(child));
      continue;
    }
    pen.children[pen.depth] = child->children;
    pen.ops[pen.depth] = child->ops;
    pen.depth++;
  }
  if (uvf__ctx_is_root(ctx)) put_stragglers(&pen, ctx->root, now_ns);
  if (fflush(out) != 0) pen.failed = 1;
  return pen.failed ? UV_EIO : 0;
}
