/* SPDX-License-Identifier: MIT
 *
 * Invariants
 * 1. share_lock guards the line and where each claimant stands. One is in the line from take (0) until its grant is
 *    posted or it leaves; it is granted at most once per place. Under the lock nothing else is taken but a hub's
 *    gate, inside the post of a grant; that is a leaf.
 * 2. held counts the slots given out. It exceeds limit only after the limit was lowered; then nothing is granted
 *    until it is below.
 * 3. The line is not empty only while no slot is free: whoever frees one, or raises the limit, grants under the same
 *    lock.
 * 4. A claimant's hub stays open while it waits (it is counted in busy), so a grant always arrives.
 */
#include "work/share.h"

#include <stdlib.h>

#include "kernel/rule.h"
#include "uvflow/work.h"

#define POOL_DEFAULT 4u
#define POOL_MAX 1024u
#define STALE_NS UINT64_C(2000000) /* a slot that its loop was too busy to fetch for so long may be taken */

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t share_lock;
static unsigned int pool_size;
static _Atomic(unsigned int) limit;
static _Atomic(unsigned int) held;
static _Atomic(unsigned int) in_line;
static uvf__claimant_t *line;
static uvf__claimant_t *granted; /* slots on their way, oldest first */

static unsigned int default_limit(void) { return pool_size > 1 ? pool_size - 1 : 1; }

/* The pool's size cannot be asked for: read as libuv reads it (atoi; at least 1, at most 1024). */
static void init(void) {
  char text[32];
  size_t size = sizeof text;
  int rc = uv_os_getenv("UV_THREADPOOL_SIZE", text, &size);
  pool_size = POOL_DEFAULT;
  if (rc == 0) {
    int n = atoi(text);
    pool_size = n == 0 ? 1 : n < 0 || (unsigned int)n > POOL_MAX ? POOL_MAX : (unsigned int)n;
  }
  atomic_store(&limit, default_limit());
  if (uv_mutex_init(&share_lock) != 0) uvf__rule_broken("uvf_work_start", "no mutex to be had");
}

void uvf__share_init(void) { uv_once(&once, init); }

unsigned int uvf__share_pool_size(void) { return pool_size; }

static int slot_free(void) { return atomic_load(&held) < atomic_load(&limit); }

/* Both lists are short: at most one place for each loop of the process. Under the lock. */
static void append(uvf__claimant_t **list, uvf__claimant_t *c) {
  while (*list != NULL) list = &(*list)->next;
  c->next = NULL;
  *list = c;
}

static void remove_from(uvf__claimant_t **list, uvf__claimant_t *c) {
  while (*list != c) list = &(*list)->next;
  *list = c->next;
}

/* Under the lock. */
static void grant(void) {
  while (line != NULL && slot_free()) {
    uvf__claimant_t *c = line;
    line = c->next;
    atomic_fetch_sub(&in_line, 1);
    atomic_fetch_add(&held, 1);
    atomic_store(&c->stand, UVF__CLAIM_GRANTED);
    c->since_ns = uv_hrtime();
    append(&granted, c);
    uvf__hub_post_busy(c->hub, (uintptr_t)&c->grant | UVF__POST_CALL);
  }
}

/* Under the lock. */
static void give(void) {
  atomic_fetch_sub(&held, 1);
  grant();
}

/* Under the lock. */
static void join(uvf__claimant_t *c) {
  append(&line, c);
  atomic_store(&c->stand, UVF__CLAIM_IN_LINE);
  atomic_fetch_add(&in_line, 1);
  c->hub->busy++;
}

/* Under the lock: takes the slot that was granted to c. */
static void use_grant(uvf__claimant_t *c) {
  remove_from(&granted, c);
  atomic_store(&c->stand, UVF__CLAIM_USED);
}

int uvf__share_take(uvf__claimant_t *c) {
  int taken = 1;
  if (atomic_load(&c->stand) == UVF__CLAIM_IN_LINE) return 0;
  uv_mutex_lock(&share_lock);
  if (atomic_load(&c->stand) == UVF__CLAIM_GRANTED) {
    use_grant(c);
  } else if (line == NULL && slot_free()) {
    atomic_fetch_add(&held, 1);
  } else if (granted != NULL && uv_hrtime() - granted->since_ns > STALE_NS) {
    use_grant(granted);
  } else {
    taken = 0;
    if (atomic_load(&c->stand) == UVF__CLAIM_NONE) join(c);
  }
  uv_mutex_unlock(&share_lock);
  return taken;
}

void uvf__share_give(void) {
  uv_mutex_lock(&share_lock);
  give();
  uv_mutex_unlock(&share_lock);
}

int uvf__share_retake(uvf__claimant_t *c) {
  int taken = 1;
  uv_mutex_lock(&share_lock);
  if (atomic_load(&c->stand) == UVF__CLAIM_GRANTED) {
    use_grant(c);
  } else if (line == NULL && slot_free()) {
    atomic_fetch_add(&held, 1);
  } else {
    taken = 0;
  }
  uv_mutex_unlock(&share_lock);
  return taken;
}

void uvf__share_yield(uvf__claimant_t *c) {
  uv_mutex_lock(&share_lock);
  if (atomic_load(&c->stand) == UVF__CLAIM_IN_LINE) {
    remove_from(&line, c);
    append(&line, c);
  }
  give();
  uv_mutex_unlock(&share_lock);
}

int uvf__share_leave(uvf__claimant_t *c) {
  int left = 0;
  uv_mutex_lock(&share_lock);
  if (atomic_load(&c->stand) == UVF__CLAIM_IN_LINE) {
    remove_from(&line, c);
    atomic_fetch_sub(&in_line, 1);
    atomic_store(&c->stand, UVF__CLAIM_NONE);
    left = 1;
  } else if (atomic_load(&c->stand) == UVF__CLAIM_GRANTED) {
    use_grant(c);
    give();
  }
  uv_mutex_unlock(&share_lock);
  return left;
}

int uvf__share_arrived(uvf__claimant_t *c) {
  int slot;
  uv_mutex_lock(&share_lock);
  slot = atomic_load(&c->stand) == UVF__CLAIM_GRANTED;
  if (slot) use_grant(c);
  atomic_store(&c->stand, UVF__CLAIM_NONE);
  uv_mutex_unlock(&share_lock);
  return slot;
}

int uvf__share_is_whole_pool(void) { return atomic_load_explicit(&limit, memory_order_relaxed) >= pool_size; }

int uvf__share_over(void) {
  return atomic_load_explicit(&held, memory_order_relaxed) > atomic_load_explicit(&limit, memory_order_relaxed);
}

int uvf__share_shed(void) {
  int over;
  uv_mutex_lock(&share_lock);
  over = uvf__share_over();
  if (over) give();
  uv_mutex_unlock(&share_lock);
  return over;
}

int uvf__share_wanted(uvf__claimant_t *c) {
  return atomic_load_explicit(&in_line, memory_order_relaxed) >
         (atomic_load(&c->stand) == UVF__CLAIM_IN_LINE ? 1u : 0u);
}

int uvf_work_set_limit(unsigned int threads) {
  uvf__share_init();
  uv_mutex_lock(&share_lock);
  if (threads == 0) threads = default_limit();
  atomic_store(&limit, threads < pool_size ? threads : pool_size);
  grant();
  uv_mutex_unlock(&share_lock);
  return 0;
}

unsigned int uvf_work_limit(void) {
  uvf__share_init();
  return atomic_load(&limit);
}
