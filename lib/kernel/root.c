/* SPDX-License-Identifier: MIT
 *
 * Roots, and how they are closed. Loop thread throughout.
 *
 * Invariants
 * 1. A root's steps: OPEN -> WAITING (closed by the user; something is still owed) -> SETTLING (nothing was owed; its
 *    reaper handle is closed, twice, so that we come back from libuv's own phase of close callbacks) -> back to WAITING
 *    if a callback started something meanwhile, else GONE. A step is only made by uvf_ctx_close, by the last owed thing
 *    (live or busy reaching 0), by a new root, or by a close callback.
 *    Twice, because libuv runs the close callbacks of one turn newest first: a turn later those of every handle that
 *    was closed before, bound ones and ones closed by hand, have been called.
 * 2. The last root of a hub takes the hub with it, in between: SETTLING -> hub shut (its handles are closing) -> all
 *    their callbacks -> reaper, again as long as it finds something to deliver -> hub closed -> GONE.
 * 3. The user's callback is the last thing; then the reference taken over from the user is released, and with the
 *    last reference the root's memory goes, and with the last root's the hub's.
 */
#include <uv.h>

#include "kernel/context.h"

enum { OPEN, WAITING, SETTLING, GONE };

static int new_root(uv_loop_t *loop, uint8_t kind, uvf_ctx_t **out) {
  uvf__root_t *root;
  int err;
  if (loop == NULL || out == NULL) return UV_EINVAL;
  uvf__spin_calibrate();
  uvf__alloc_settle(); /* this block must go back to where it came from */
  root = uvf__malloc(sizeof *root);
  if (root == NULL) return UV_ENOMEM;
  err = uvf__hub_acquire(loop, &root->hub);
  if (err != 0) {
    uvf__free(root);
    return err;
  }
  uvf__ctx_init(&root->ctx, root, NULL, kind, 0);
  root->live = 0;
  root->closing = OPEN;
  root->close_cb = NULL;
  root->stragglers = NULL;
  root->next = root->hub->roots;
  root->hub->roots = root;
  if (root->hub->nroots++ == 1) uvf__root_check_all(root->hub); /* it waits no longer for the hub's requests */
  *out = &root->ctx;
  return 0;
}

int uvf_ctx_background(uv_loop_t *loop, uvf_ctx_t **root) { return new_root(loop, UVF__CTX_BACKGROUND, root); }
int uvf_ctx_todo(uv_loop_t *loop, uvf_ctx_t **root) { return new_root(loop, UVF__CTX_TODO, root); }

static void reap(uvf__root_t *root, uv_close_cb then) {
  uv_idle_init(root->hub->loop, &root->reaper);
  root->reaper.data = root;
  uv_close((uv_handle_t *)&root->reaper, then);
}

/* Out of the hub's lists and counts, which are the loop's alone only until the hub is closed. */
static void leave_hub(uvf__root_t *root) {
  uvf__hub_t *hub = root->hub;
  uvf__root_t **at = &hub->roots;
  while (*at != root) at = &(*at)->next;
  *at = root->next;
  hub->nroots--;
  hub->ncontexts--;
  root->closing = GONE;
  root->ctx.node.flags |= UVF__CTX_CLOSED_ROOT;
}

static void tell(uvf__root_t *root) {
  if (root->close_cb != NULL) root->close_cb(&root->ctx);
  uvf_ctx_release(&root->ctx);
}

/* By libuv: the handles are gone, and so is everything that was closed before them. What was started meanwhile is
 * answered from here, and handles that were bound and closed by that have a turn more. */
static void on_gone(uv_handle_t *reaper) {
  uvf__root_t *root = reaper->data;
  uvf__hub_t *hub = root->hub;
  if (uvf__hub_drain_last(hub) || root->live > 0) {
    reap(root, on_gone);
    return;
  }
  leave_hub(root);
  uvf__hub_close(hub);
  tell(root);
  uvf__hub_unref(hub); /* the handles' reference */
}

void uvf__root_handles_closed(uvf__hub_t *hub) { reap(hub->roots, on_gone); }

static int may_settle(const uvf__root_t *root) {
  return root->live == 0 && (root->hub->nroots > 1 || root->hub->busy == 0);
}

/* By libuv, two phases after nothing was owed any more: the handles that were bound under the root are gone. */
static void on_settled(uv_handle_t *reaper) {
  uvf__root_t *root = reaper->data;
  uvf__hub_t *hub = root->hub;
  if (!may_settle(root)) {
    root->closing = WAITING;
    return;
  }
  uvf__hub_unowe(hub);
  if (hub->nroots > 1) {
    leave_hub(root);
    tell(root);
  } else {
    uvf__hub_shut(hub);
  }
}

/* By libuv, a phase after nothing was owed any more. Once more: libuv runs the close callbacks of one turn newest
 * first, so those of handles bound under the root, closed a moment before the reaper, are still to come. */
static void on_quiet(uv_handle_t *reaper) { reap(reaper->data, on_settled); }

static void check(uvf__root_t *root) {
  if (root->closing != WAITING || !may_settle(root)) return;
  root->closing = SETTLING;
  reap(root, on_quiet);
}

void uvf_ctx_close(uvf_ctx_t *ctx, uvf_ctx_close_cb cb) {
  uvf__root_t *root;
  if (ctx == NULL) return;
  UVF__RULE(uvf__ctx_is_root(ctx), "uvf_ctx_close", "only a root can be closed: cancel this context instead");
  if (!uvf__ctx_is_root(ctx)) return;
  if (uvf__hub_enter(uvf__ctx_hub(ctx), "uvf_ctx_close") != 0) return;
  root = ctx->root;
  UVF__RULE(root->closing == OPEN, "uvf_ctx_close", "this root is closed already");
  if (root->closing != OPEN) return;
  root->closing = WAITING;
  root->close_cb = cb;
  uvf__hub_owe(root->hub);
  uvf__ctx_end_as(ctx, UV_ECANCELED, UV_ESHUTDOWN, NULL);
  check(root);
}

void uvf__root_live(uvf_ctx_t *ctx) { ctx->root->live++; }

void uvf__root_unlive(uvf__root_t *root) {
  if (--root->live == 0) check(root);
}

void uvf__root_check_all(uvf__hub_t *hub) {
  uvf__root_t *next;
  for (uvf__root_t *root = hub->roots; root != NULL; root = next) {
    next = root->next;
    check(root);
  }
}
