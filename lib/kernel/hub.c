/* SPDX-License-Identifier: MIT
 *
 * Parties: the loop thread (runs the handles' callbacks and everything a user calls there), other threads (post),
 * libuv.
 *
 * Invariants
 * 1. Everything not marked "any thread" in hub.h is touched by the loop thread only, until `closed`; from then on by
 *    whoever holds `gate`.
 * 2. Whoever makes `posts` not empty answers for the wake-up: it sends the async unless the loop is draining (the
 *    loop looks at posts again after it has taken that flag down; both are sequentially consistent, so one of the two
 *    sees the other). Later posters owe nothing.
 * 3. `shut`, `closed` and uv_async_send are under `gate`, so no send races with uv_close, and none follows it. From
 *    `shut` to `closed` the loop is sure to look at the posts once more; a poster that finds `closed` settles them
 *    itself: only memory is left to settle then.
 * 4. The idle handle is active whenever the ready list, the grave or todo is not empty and no drain is running: the
 *    loop never blocks on them.
 * 5. The async handle is ref'd exactly while owed > 0.
 * 6. A turn that has called back from prepare does not block in its poll: a callback may have set what the user's
 *    `while (!done) uv_run(loop, UV_RUN_ONCE)` waits for, and libuv's own callbacks but prepare's all come after it.
 *
 * Deadlock: `gate` is a leaf: under it we take no other lock, call no user code, and release no context of another
 * hub. The registry's lock is a leaf as well. (A bridge's lock may be held while a gate is taken, never the other way
 * round.)
 */
#include "kernel/hub.h"

#include <limits.h>
#include <string.h>

#include "kernel/context.h"
#include "kernel/wait.h"

#define DRAIN_MAX 1024u /* callbacks and posts per drain; then the loop looks at its descriptors again */
#define NS_PER_MS UINT64_C(1000000)

_Thread_local uintptr_t uvf__thread_number;

UVF__COLD uintptr_t uvf__thread_new(void) {
  static _Atomic(uintptr_t) last;
  return uvf__thread_number = atomic_fetch_add(&last, 1) + 1;
}

/* --- registry --------------------------------------------------------------------------------- */

static uv_once_t registry_once = UV_ONCE_INIT;
static uv_mutex_t registry_lock;
static uvf__hub_t *registry;

static void registry_init(void) {
  if (uv_mutex_init(&registry_lock) != 0) uvf__rule_broken("uvf_ctx_background", "no mutex to be had");
}

static void registry_enter(void) {
  uv_once(&registry_once, registry_init);
  uv_mutex_lock(&registry_lock);
}

static uvf__hub_t *registry_find(const uv_loop_t *loop) {
  uvf__hub_t *hub = registry;
  while (hub != NULL && (hub->loop != loop || hub->leaving)) hub = hub->next;
  return hub;
}

uvf__hub_t *uvf__hub_find(const uv_loop_t *loop) {
  uvf__hub_t *hub;
  registry_enter();
  hub = registry_find(loop);
  uv_mutex_unlock(&registry_lock);
  return hub;
}

/* Which hub's loop this thread has polled last, and how many hubs had left the registry by then: as long as no more
 * have, that one is still there. (A loop may go on without a hub, get another one, or move to another thread.) */
static _Atomic(unsigned int) hubs_left;
static _Thread_local const uv_loop_t *here_loop;
static _Thread_local uvf__hub_t *here_hub;
static _Thread_local unsigned int here_left;

static void note_here(uvf__hub_t *hub) {
  here_loop = hub->loop;
  here_hub = hub;
  here_left = atomic_load_explicit(&hubs_left, memory_order_acquire);
}

uvf__hub_t *uvf__hub_here(const uv_loop_t *loop) {
  unsigned int left = atomic_load_explicit(&hubs_left, memory_order_acquire);
  return UVF__LIKELY(here_loop == loop && here_left == left) ? here_hub : uvf__hub_find(loop);
}

/* Under the lock. */
static void registry_remove(uvf__hub_t *hub) {
  uvf__hub_t **at = &registry;
  while (*at != hub) at = &(*at)->next;
  *at = hub->next;
}

int uvf__hub_thread_has_loop(void) {
  int found = 0;
  registry_enter();
  for (uvf__hub_t *hub = registry; hub != NULL && !found; hub = hub->next) found = uvf__on_loop_surely(hub);
  uv_mutex_unlock(&registry_lock);
  return found;
}

int uvf_owns_handle(const uv_handle_t *handle) {
  int owns = 0;
  if (handle == NULL) return 0;
  registry_enter();
  for (uvf__hub_t *hub = registry; hub != NULL && !owns; hub = hub->next) { /* a closing one of the loop included */
    if (hub->loop != handle->loop) continue;
    owns = (uintptr_t)handle - (uintptr_t)hub < sizeof *hub;
    for (uvf__link_t *link = hub->owned; link != NULL && !owns; link = link->next) {
      owns = handle == UVF__CONTAINER(link, uvf__owned_t, link)->handle;
    }
    for (uvf__root_t *root = hub->roots; root != NULL && !owns; root = root->next) {
      owns = handle == (const uv_handle_t *)&root->reaper;
    }
  }
  uv_mutex_unlock(&registry_lock);
  return owns;
}

/* --- posts ------------------------------------------------------------------------------------ */

/* Where a node keeps its successor. */
static uintptr_t *post_next(uintptr_t node) {
  void *p = (void *)(node & ~(uintptr_t)UVF__POST_MASK);
  switch (node & UVF__POST_MASK) {
    case UVF__POST_CTX: return &((uvf_ctx_t *)p)->post_next;
    case UVF__POST_OP: return &((uvf_op_t *)p)->uvf__post;
    default: return &((uvf__post_t *)p)->next;
  }
}

static void post_apply(uintptr_t node, int closed) {
  void *p = (void *)(node & ~(uintptr_t)UVF__POST_MASK);
  switch (node & UVF__POST_MASK) {
    case UVF__POST_CTX: uvf__ctx_posted(p, closed); break;
    case UVF__POST_OP: uvf__op_type(p)->posted(p); break;
    default: ((uvf__post_t *)p)->apply(p, closed); break;
  }
}

/* Applies at most max posts, oldest first; returns how many. What is left of a batch waits in `todo`, so that threads
 * that post without end cannot hold the loop here. */
static unsigned int apply_posts(uvf__hub_t *hub, unsigned int max, int closed) {
  unsigned int n = 0;
  if (hub->todo == 0) {
    uintptr_t list;
    if (atomic_load_explicit(&hub->posts, memory_order_relaxed) == 0) return 0;
    list = atomic_exchange(&hub->posts, 0);
    while (list != 0) { /* turn it round: first come, first applied */
      uintptr_t *next = post_next(list);
      uintptr_t rest = *next;
      *next = hub->todo;
      hub->todo = list;
      list = rest;
    }
  }
  hub->posting = 1;
  while (hub->todo != 0 && n < max) {
    uintptr_t node = hub->todo;
    hub->todo = *post_next(node);
    post_apply(node, closed);
    n++;
  }
  hub->posting = 0;
  return n;
}

/* The hub is closed: settles what was posted. Frees outside the gate, because a free function is the user's and may
 * release other contexts, and because freeing may release the hub. */
static void settle(uvf__hub_t *hub) {
  uv_mutex_lock(&hub->gate);
  while (apply_posts(hub, UINT_MAX, 1) > 0) {}
  while (hub->grave != NULL) {
    uvf_ctx_t *ctx = UVF__CONTAINER(uvf__link_pop(&hub->grave), uvf_ctx_t, node.link);
    uvf_ctx_t *parent = ctx->parent;
    int own_block = uvf__ctx_is_root(ctx) || ctx->node.kind == UVF__CTX_REMOTE;
    if (ctx->node.kind == UVF__CTX_REMOTE) hub->ncontexts--;
    uv_mutex_unlock(&hub->gate);
    if (ctx->node.kind == UVF__CTX_VALUE) {
      uvf__vctx_t *v = (uvf__vctx_t *)ctx;
      if (v->free_cb != NULL) v->free_cb(v->value);
    }
    if (own_block) uvf__ctx_free(ctx); /* a root's reference to the hub goes: the caller has one more */
    uv_mutex_lock(&hub->gate);
    if (!own_block) uvf__ctx_free(ctx);
    if (parent != NULL) uvf__ctx_unhold(parent);
  }
  uv_mutex_unlock(&hub->gate);
}

static void wake(uvf__hub_t *hub) {
  int closed;
  uv_mutex_lock(&hub->gate);
  closed = hub->closed;
  if (!closed && !hub->shut && !uv_is_closing((uv_handle_t *)&hub->async)) uv_async_send(&hub->async);
  uv_mutex_unlock(&hub->gate);
  if (closed) settle(hub);
}

void uvf__hub_post_busy(uvf__hub_t *hub, uintptr_t node) {
  uintptr_t *next = post_next(node);
  uintptr_t head = atomic_load_explicit(&hub->posts, memory_order_relaxed);
  do {
    *next = head;
  } while (!atomic_compare_exchange_weak(&hub->posts, &head, node));
  if (head == 0 && !atomic_load(&hub->draining)) wake(hub);
}

void uvf__hub_post(uvf__hub_t *hub, uintptr_t node) {
  uvf__hub_ref(hub); /* once it is pushed, what kept the hub for us may be settled at any moment */
  uvf__hub_post_busy(hub, node);
  uvf__hub_unref(hub);
}

/* --- the loop's side -------------------------------------------------------------------------- */

/* `thread` first: who finds that it is no guess any more must find the right one. */
static void learn_thread(uvf__hub_t *hub) {
  if (UVF__LIKELY(uvf__on_loop_surely(hub))) return;
  atomic_store_explicit(&hub->thread, uvf__thread(), memory_order_relaxed);
  atomic_store_explicit(&hub->provisional, 0, memory_order_release);
}

int uvf_ctx_run_here(uvf_ctx_t *ctx) {
  uvf__hub_t *hub;
  if (ctx == NULL) return UV_EINVAL;
  hub = uvf__ctx_hub(ctx);
  if (atomic_load_explicit(&hub->thread, memory_order_relaxed) != 0) learn_thread(hub); /* 0: closed */
  return 0;
}

UVF__COLD int uvf__hub_enter_slow(uvf__hub_t *hub, const char *function) {
  (void)function;
  if (atomic_load_explicit(&hub->thread, memory_order_relaxed) == 0) {
    UVF__RULE(0, function, "the root of this context is closed: nothing can be derived or started under it any more");
    return UV_EINVAL;
  }
  if (atomic_load_explicit(&hub->provisional, memory_order_relaxed)) { /* set up here, run there */
    atomic_store_explicit(&hub->thread, uvf__thread(), memory_order_relaxed);
    return 0;
  }
  UVF__RULE(0, function, "must be called on the thread that runs the context's loop");
  return UV_EINVAL;
}

static int something_to_do(uvf__hub_t *hub) { return hub->ready != NULL || hub->grave != NULL || hub->todo != 0; }

static void drain(uvf__hub_t *hub, int turn) {
  unsigned int left = DRAIN_MAX;
  hub->idle_on = 1; /* whatever becomes ready from here on is seen to below */
  atomic_store(&hub->draining, 1);
  if (turn) uvf__wait_turn(hub);
  while (left > 0) {
    left -= apply_posts(hub, left, 0);
    while (hub->grave != NULL && left > 0) {
      left--;
      uvf__ctx_bury(UVF__CONTAINER(uvf__link_pop(&hub->grave), uvf_ctx_t, node.link));
    }
    left -= uvf__op_deliver(hub, left);
    if (something_to_do(hub)) continue;
    atomic_store(&hub->draining, 0);
    if (atomic_load(&hub->posts) == 0) break;
    atomic_store(&hub->draining, 1);
  }
  atomic_store(&hub->draining, 0);
  hub->idle_on = something_to_do(hub) || hub->later.first != NULL || atomic_load(&hub->posts) != 0;
  if (!turn && left < DRAIN_MAX) hub->idle_on = 1; /* invariant 6 */
  if (uv_is_closing((uv_handle_t *)&hub->idle)) return;
  if (hub->idle_on) {
    hub->idle_on = 0;
    uvf__hub_kick_slow(hub);
  } else {
    uv_idle_stop(&hub->idle);
  }
}

static void on_async(uv_async_t *async) { learn_thread(async->data); /* the check callback of this turn drains */ }

static void on_idle(uv_idle_t *idle) { (void)idle; /* its being active is all: the poll does not block */ }

static void on_check(uv_check_t *check) {
  uvf__hub_t *hub = check->data;
  learn_thread(hub);
  drain(hub, 1);
}

static void on_prepare(uv_prepare_t *prepare) {
  uvf__hub_t *hub = prepare->data;
  learn_thread(hub);
  note_here(hub);
  drain(hub, 0);
  /* libuv 1.44 computes the poll's timeout from the time it read before the callbacks of this turn */
  if (hub->timer_due_ns != UINT64_MAX) uv_update_time(hub->loop);
}

UVF__COLD void uvf__hub_kick_slow(uvf__hub_t *hub) {
  if (hub->leaving) return; /* seen to by uvf__hub_drain_last */
  UVF__RULE(!uv_is_closing((uv_handle_t *)&hub->idle), "uv_close",
            "a handle of the library was closed by hand: skip those for which uvf_owns_handle() is true");
  if (uv_is_closing((uv_handle_t *)&hub->idle)) return;
  hub->idle_on = 1;
  uv_idle_start(&hub->idle, on_idle);
}

void uvf__hub_owe_slow(uvf__hub_t *hub, int on) {
  if (hub->leaving) return;
  if (on) {
    uv_ref((uv_handle_t *)&hub->async);
  } else {
    uv_unref((uv_handle_t *)&hub->async);
  }
}

/* --- deadlines -------------------------------------------------------------------------------- */

static void ring_due(uvf__hub_t *hub) {
  while (hub->ringing != NULL) {
    uvf__timeout_t *timeout = UVF__CONTAINER(hub->ringing, uvf__timeout_t, deadline.link);
    uvf__wheel_disarm(&hub->timeouts, &timeout->deadline);
    timeout->ring(timeout);
  }
}

void uvf__hub_run_deadlines(uvf__hub_t *hub) {
  uvf__link_t *due = NULL;
  uvf__wheel_run(&hub->wheel, uvf__clock_ns(), &due);
  while (due != NULL) {
    uvf_ctx_t *ctx = UVF__CONTAINER(due, uvf_ctx_t, deadline.link);
    uvf__wheel_disarm(&hub->wheel, &ctx->deadline);
    uvf__ctx_expire(ctx);
  }
  if (hub->timeouts.armed == 0) return;
  ring_due(hub); /* what a loop around this one was ringing */
  uvf__wheel_run(&hub->timeouts, uvf__clock_ns(), &hub->ringing);
  ring_due(hub);
}

void uvf__hub_ring_user(uvf__hub_t *hub) {
  if (hub->ringing != NULL) uvf__hub_alarm(hub, uvf__clock_ns());
  uvf__hub_alarm(hub, uvf__wheel_next(&hub->wheel)); /* on_timer would do that only when we have returned */
  uvf__hub_alarm(hub, uvf__wheel_next(&hub->timeouts));
}

void uvf__timeout_start(uvf__hub_t *hub, uvf__timeout_t *timeout, uint64_t at_ns,
                        void (*ring)(uvf__timeout_t *timeout)) {
  timeout->deadline.at_ns = at_ns;
  timeout->ring = ring;
  uvf__hub_alarm(hub, uvf__wheel_arm(&hub->timeouts, &timeout->deadline));
}

void uvf__timeout_stop(uvf__hub_t *hub, uvf__timeout_t *timeout) {
  if (timeout->deadline.link.prev != NULL) uvf__wheel_disarm(&hub->timeouts, &timeout->deadline);
}

static void on_timer(uv_timer_t *timer) {
  uvf__hub_t *hub = timer->data;
  learn_thread(hub);
  hub->timer_due_ns = UINT64_MAX;
  uvf__hub_run_deadlines(hub);
  uvf__hub_alarm(hub, uvf__wheel_next(&hub->wheel));
  uvf__hub_alarm(hub, uvf__wheel_next(&hub->timeouts));
}

/* libuv fires when its clock in whole ms has reached the target, up to 1 ms early: on_timer looks at the precise
 * clock and comes again 1 ms later. The target is absolute, so a stale uv_now() does no harm. Never 0: that would
 * starve the loop from inside on_timer. */
void uvf__hub_alarm_slow(uvf__hub_t *hub, uint64_t wake_ns) {
  uint64_t target_ms = wake_ns / NS_PER_MS;
  uint64_t now_ms = uv_now(hub->loop);
  if (uv_is_closing((uv_handle_t *)&hub->timer)) return;
  hub->timer_due_ns = wake_ns;
  uv_timer_start(&hub->timer, on_timer, target_ms > now_ms ? target_ms - now_ms : 1, 0);
}

/* --- life ------------------------------------------------------------------------------------- */

static void init_handles(uvf__hub_t *hub) {
  uv_loop_t *loop = hub->loop;
  uv_handle_t *handles[5];
  uv_prepare_init(loop, &hub->prepare);
  uv_check_init(loop, &hub->check);
  uv_idle_init(loop, &hub->idle);
  uv_timer_init(loop, &hub->timer);
  uv_prepare_start(&hub->prepare, on_prepare);
  uv_check_start(&hub->check, on_check);
  handles[0] = (uv_handle_t *)&hub->async;
  handles[1] = (uv_handle_t *)&hub->prepare;
  handles[2] = (uv_handle_t *)&hub->check;
  handles[3] = (uv_handle_t *)&hub->timer;
  handles[4] = (uv_handle_t *)&hub->idle; /* the one that holds the loop while it is active */
  for (int i = 0; i < 5; i++) {
    handles[i]->data = hub;
    if (i < 4) uv_unref(handles[i]);
  }
}

static int hub_new(uv_loop_t *loop, uvf__hub_t **out) {
  uvf__hub_t *hub = uvf__malloc(sizeof *hub);
  int err;
  if (hub == NULL) return UV_ENOMEM;
  memset(hub, 0, sizeof *hub);
  hub->loop = loop;
  atomic_init(&hub->provisional, 1);
  atomic_init(&hub->thread, uvf__thread());
  atomic_init(&hub->refs, 1);
  hub->ready_end = &hub->ready;
  hub->timer_due_ns = UINT64_MAX;
  uvf__wheel_init(&hub->wheel, uvf__clock_ns());
  uvf__wheel_init(&hub->timeouts, uvf__clock_ns());
  uvf__pool_init(&hub->nodes, sizeof(uvf_ctx_t));
  uvf__pool_init(&hub->wide, sizeof(uvf__vctx_t));
  err = uv_mutex_init(&hub->gate);
  if (err != 0) goto no_gate;
  err = uv_mutex_init(&hub->sleep_lock);
  if (err != 0) goto no_sleep_lock;
  err = uv_async_init(loop, &hub->async, on_async);
  if (err != 0) goto no_async;
  init_handles(hub);
  *out = hub;
  return 0;
no_async:
  uv_mutex_destroy(&hub->sleep_lock);
no_sleep_lock:
  uv_mutex_destroy(&hub->gate);
no_gate:
  uvf__free(hub);
  return err;
}

int uvf__hub_acquire(uv_loop_t *loop, uvf__hub_t **out) {
  uvf__hub_t *hub;
  int err = 0;
  registry_enter();
  hub = registry_find(loop);
  if (hub == NULL) {
    uvf__alloc_settle();
    err = hub_new(loop, &hub);
    if (err == 0) {
      hub->next = registry;
      registry = hub;
    }
  }
  uv_mutex_unlock(&registry_lock);
  if (err == 0) err = uvf__hub_enter(hub, "uvf_ctx_background");
  if (err != 0) return err;
  uvf__hub_ref(hub);
  *out = hub;
  return 0;
}

void uvf__hub_ref(uvf__hub_t *hub) { atomic_fetch_add_explicit(&hub->refs, 1, memory_order_relaxed); }

void uvf__hub_unref(uvf__hub_t *hub) {
  if (atomic_fetch_sub_explicit(&hub->refs, 1, memory_order_acq_rel) != 1) return;
  for (int i = 0; i < UVF__EXT_COUNT; i++) {
    if (hub->exts[i] != NULL) hub->exts[i]->destroy(hub->exts[i]);
  }
  uvf__pool_destroy(&hub->nodes);
  uvf__pool_destroy(&hub->wide);
  uv_mutex_destroy(&hub->sleep_lock);
  uv_mutex_destroy(&hub->gate);
  uvf__free(hub);
}

static void on_handle_closed(uv_handle_t *handle) {
  uvf__hub_t *hub = handle->data;
  if (--hub->open_handles == 0) uvf__root_handles_closed(hub);
}

void uvf__hub_shut(uvf__hub_t *hub) {
  uv_handle_t *handles[] = {(uv_handle_t *)&hub->async, (uv_handle_t *)&hub->prepare, (uv_handle_t *)&hub->check,
                            (uv_handle_t *)&hub->timer, (uv_handle_t *)&hub->idle};
  registry_enter();
  hub->leaving = 1; /* not found for a new root; still known as the owner of its handles */
  atomic_fetch_add(&hubs_left, 1);
  uv_mutex_unlock(&registry_lock);
  uv_mutex_lock(&hub->gate);
  hub->shut = 1;
  uv_mutex_unlock(&hub->gate);
  hub->open_handles = 1;
  for (size_t i = 0; i < sizeof handles / sizeof *handles; i++) {
    if (uv_is_closing(handles[i]))
      continue; /* closed by hand: gone before our last step, which comes two turns later */
    hub->open_handles++;
    uv_close(handles[i], on_handle_closed);
  }
  if (--hub->open_handles == 0) uvf__root_handles_closed(hub);
}

int uvf__hub_drain_last(uvf__hub_t *hub) {
  unsigned int n = 0;
  uintptr_t none;
  do {
    unsigned int posts;
    while ((posts = apply_posts(hub, DRAIN_MAX, 0)) > 0) n += posts;
    while (hub->grave != NULL) {
      n++;
      uvf__ctx_bury(UVF__CONTAINER(uvf__link_pop(&hub->grave), uvf_ctx_t, node.link));
    }
    n += uvf__op_deliver(hub, DRAIN_MAX);
    /* A write, though nothing is there: whoever posts from here on has read it, and sees that all contexts are over. */
    none = 0;
  } while (n == 0 && !atomic_compare_exchange_strong(&hub->posts, &none, 0));
  return n > 0 || something_to_do(hub);
}

void uvf__hub_close(uvf__hub_t *hub) {
  registry_enter();
  registry_remove(hub);
  uv_mutex_unlock(&registry_lock);
  uv_mutex_lock(&hub->gate);
  hub->closed = 1;
  atomic_store(&hub->thread, 0);
  uv_mutex_unlock(&hub->gate);
  settle(hub);
}

void uvf__hub_unbusy(uvf__hub_t *hub) {
  if (--hub->busy == 0) uvf__root_check_all(hub);
}
