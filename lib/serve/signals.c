/* SPDX-License-Identifier: MIT
 *
 * Signals that end a context.
 *
 * Invariants (loop thread)
 * 1. Each handle is bound to the parent by a guard, so it is closed by the parent's end or by a stop, once.
 * 2. `uvf__open` counts the handles that are not closed; with the last one the reference to the context goes, then the
 *    close callback comes. They do not hold the loop.
 * 3. signum is written once. A signal that finds it written ends the process.
 */
#include <signal.h>
#include <stdlib.h>

#include "kernel/context.h"
#include "uvflow/serve.h"

static void on_signal(uv_signal_t *handle, int signum) {
  uvf_signals_t *signals = handle->data;
  if (signals->signum != 0) _Exit(128 + signum);
  signals->signum = signum;
  uvf_ctx_cancel_cause(signals->ctx, signum, NULL);
  if (signals->uvf__cb != NULL) signals->uvf__cb(signals, signum);
}

static void on_closed(uv_handle_t *handle) {
  uvf_signals_t *signals = handle->data;
  uvf__link_remove(&signals->uvf__owned[(uv_signal_t *)handle - signals->uvf__handles].link);
  if (--signals->uvf__open > 0) return;
  signals->uvf__on = 0;
  uvf_ctx_release(signals->ctx);
  if (signals->uvf__close_cb != NULL) signals->uvf__close_cb(signals);
}

/* 0: caught and bound. On an error the handle is closed, or being closed. */
static int catch_signal(uvf_ctx_t *parent, uvf_signals_t *signals, size_t i, int signum) {
  uv_signal_t *handle = &signals->uvf__handles[i];
  int err = uv_signal_init(uvf__ctx_hub(parent)->loop, handle);
  if (err != 0) return err;
  handle->data = signals;
  err = uv_signal_start(handle, on_signal, signum);
  if (err == 0) err = (uvf_guard_start)(parent, &signals->uvf__guards[i], (uv_handle_t *)handle, on_closed);
  if (err != 0) {
    uv_close((uv_handle_t *)handle, NULL);
    return err;
  }
  uv_unref((uv_handle_t *)handle);
  signals->uvf__owned[i].handle = (uv_handle_t *)handle;
  uvf__link_push(&uvf__ctx_hub(parent)->owned, &signals->uvf__owned[i].link);
  return 0;
}

/* The first `n` are caught: takes that back. */
static void give_up(uvf_signals_t *signals, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uvf_guard_stop(&signals->uvf__guards[i]);
    uvf__link_remove(&signals->uvf__owned[i].link);
    uv_close((uv_handle_t *)&signals->uvf__handles[i], NULL);
  }
  signals->uvf__on = 0;
  uvf_ctx_release(signals->ctx);
}

/* A signal that two handles catch would come twice, and look like a second one. */
static int has_twins(const int signums[], size_t n) {
  for (size_t i = 1; i < n; i++) {
    for (size_t j = 0; j < i; j++) {
      if (signums[i] == signums[j]) return 1;
    }
  }
  return 0;
}

int uvf_signals_start(uvf_ctx_t *parent, uvf_signals_t *signals, const int signums[], size_t n, uvf_signals_cb cb,
                      uvf_ctx_t **ctx) {
  static const int usual[] = {SIGINT, SIGTERM};
  int err;
  if (parent == NULL || signals == NULL || (cb == NULL && ctx == NULL)) return UV_EINVAL;
  if (signums == NULL) {
    signums = usual;
    n = sizeof usual / sizeof *usual;
  }
  if (n == 0 || n > UVF_SIGNALS_MAX || has_twins(signums, n)) return UV_EINVAL;
  UVF__RULE(!uvf__op_is_live(uvf__ctx_hub(parent), (uvf_op_t *)(void *)&signals->uvf__guards[0]), "uvf_signals_start",
            "these signals are already caught");
  err = uvf_ctx_with_cancel(parent, &signals->ctx);
  if (err != 0) return err;
  uvf_ctx_set_name(signals->ctx, "signals");
  signals->signum = 0;
  signals->uvf__cb = cb;
  signals->uvf__close_cb = NULL;
  signals->uvf__open = (uint32_t)n;
  signals->uvf__count = (uint32_t)n;
  signals->uvf__on = 1;
  for (size_t i = 0; i < n; i++) {
    err = catch_signal(parent, signals, i, signums[i]);
    if (err == 0) continue;
    give_up(signals, i);
    return err;
  }
  if (ctx != NULL) *ctx = uvf_ctx_retain(signals->ctx);
  return 0;
}

int uvf_signals_stop(uvf_signals_t *signals, uvf_signals_close_cb close_cb) {
  if (signals == NULL) return UV_EINVAL;
  if (!signals->uvf__on) return UV_EBUSY;
  signals->uvf__on = 0;
  signals->uvf__close_cb = close_cb;
  for (size_t i = 0; i < signals->uvf__count; i++) uvf_guard_close(&signals->uvf__guards[i]);
  return 0;
}
