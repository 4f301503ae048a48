/* SPDX-License-Identifier: MIT
 *
 * Wait groups: a count of what is under way on any thread, and waits for its end.
 *
 * Count and state are one atomic word, `count << 2 | WAITERS | CLOSED`, so that who has nobody to tell makes one locked
 * instruction. The lock guards the list of entries and the queue of waits.
 *
 * Invariants
 * 1. WAITERS is set, under the lock, before a wait is pushed, and cleared, under the lock, when the queue is empty. So
 *    while the lock is held it says whether the queue has anybody.
 * 2. The group is `over` when it is closed and the count is 0. The step that makes it so is, with WAITERS set, made
 *    under the lock, and in the same hold all waits are taken out of the queue and claimed: who was told stays told.
 *    Without WAITERS it is one compare-and-swap, which could not have happened had a wait come first.
 * 3. Nobody who ends a thing touches the group after a wait could have learnt of it. A wait ends with 0 in two ways:
 *    - It was in the queue: it is told by whoever made the group over, after that one's unlock.
 *    - It found the group over, under the lock. Then the step had been made. Made without the lock, it was its maker's
 *      last touch. Made under the lock, the maker had let go, or the wait could not have had it: and that was the last.
 *    Others may have counted down before: without the lock, that was their last touch; under it, they have let go too.
 *    So the callback of the last wait may free the group. (A wait that its own context has ended still needs the group
 *    for its withdrawal: it must stay until that one's callback as well, as the header says.)
 * 4. Every count-down is a read-modify-write (acquire, release) of the one word, so whoever learns that the group is
 *    over sees what all of those did before.
 * 5. The lock is a leaf: nothing is allocated or told under it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "kernel/alloc.h"
#include "kernel/wait.h"
#include "uvflow/group.h"

enum { CLOSED = 1, WAITERS = 2, ONE = 4 };

#define COUNT_MAX (UINT64_MAX >> 2)
#define NAMES_AT_HAND 64

static uint64_t load(const uvf_waitgroup_t *group) {
  return atomic_load_explicit((const uvf__au64 *)&group->uvf__word, memory_order_acquire);
}

static int swap(uvf_waitgroup_t *group, uint64_t *from, uint64_t to) {
  return atomic_compare_exchange_weak_explicit((uvf__au64 *)&group->uvf__word, from, to, memory_order_acq_rel,
                                               memory_order_acquire);
}

static int is_over(uint64_t word) { return (word & ~(uint64_t)WAITERS) == CLOSED; }

/* --- the steps -------------------------------------------------------------------------------- */

/* Under the lock: makes a step, and with it the group over if that is what it comes to; fills `told` then. The word is
 * what `step` makes of it. */
static uint64_t step_locked(uvf_waitgroup_t *group, uint64_t (*step)(uint64_t word), uvf__told_t *told) {
  uint64_t word = load(group);
  uint64_t next;
  do {
    next = step(word);
    if (is_over(next)) next &= ~(uint64_t)WAITERS;
  } while (!swap(group, &word, next));
  if (is_over(next) && (word & WAITERS)) {
    while (uvf__queue_take(&group->uvf__waits, told) != NULL) {}
  }
  return word;
}

/* Makes a step without the lock, unless waits would have to be told. Returns the word before it. */
static uint64_t make_step(uvf_waitgroup_t *group, uint64_t (*step)(uint64_t word)) {
  uvf__told_t told;
  uint64_t word = load(group);
  for (;;) {
    uint64_t next = step(word);
    if (UVF__UNLIKELY(is_over(next) && (word & WAITERS))) break;
    if (next == word || swap(group, &word, next)) return word;
  }
  uvf__told_init(&told);
  uvf__lock(&group->uvf__lock);
  word = step_locked(group, step, &told);
  uvf__unlock(&group->uvf__lock);
  uvf__tell(&told);
  return word;
}

static uint64_t step_done(uint64_t word) { return word >= ONE ? word - ONE : word; }
static uint64_t step_close(uint64_t word) { return word | CLOSED; }
static uint64_t step_reopen(uint64_t word) { return word & ~(uint64_t)CLOSED; }

static int count_in(uvf_waitgroup_t *group, uint64_t n) {
  uint64_t word = load(group);
  do {
    if (n > COUNT_MAX - word / ONE) return UV_E2BIG;
  } while (!swap(group, &word, word + n * ONE));
  return 0;
}

void uvf_waitgroup_init(uvf_waitgroup_t *group) {
  if (group == NULL) return;
  group->uvf__word = 0;
  group->uvf__lock = 0;
  group->uvf__entries = NULL;
  group->uvf__waits.first = NULL;
}

int uvf_waitgroup_add(uvf_waitgroup_t *group, uint64_t n) {
  if (group == NULL) return UV_EINVAL;
  return n > 0 ? count_in(group, n) : 0;
}

int uvf_waitgroup_done(uvf_waitgroup_t *group) {
  uint64_t before;
  if (group == NULL) return UV_EINVAL;
  before = make_step(group, step_done);
  UVF__RULE(before >= ONE, "uvf_waitgroup_done", "nothing is under way: more was done than added");
  return before >= ONE ? 0 : UV_EINVAL;
}

int uvf_waitgroup_close(uvf_waitgroup_t *group) {
  return group != NULL && (make_step(group, step_close) & CLOSED) == 0;
}

int uvf_waitgroup_reopen(uvf_waitgroup_t *group) {
  return group != NULL && (make_step(group, step_reopen) & CLOSED) != 0;
}

int uvf_waitgroup_is_closed(const uvf_waitgroup_t *group) { return group != NULL && (load(group) & CLOSED) != 0; }

uint64_t uvf_waitgroup_count(const uvf_waitgroup_t *group) { return group != NULL ? load(group) / ONE : 0; }

/* --- things with names ------------------------------------------------------------------------ */

#if UVF__RULES
static int is_in(uvf_waitgroup_t *group, const uvf_waitgroup_entry_t *entry) {
  const uvf__link_t *l;
  uvf__lock(&group->uvf__lock);
  for (l = group->uvf__entries; l != NULL && l != &entry->uvf__link; l = l->next) {}
  uvf__unlock(&group->uvf__lock);
  return l != NULL;
}
#endif

int uvf_waitgroup_enter(uvf_waitgroup_t *group, uvf_waitgroup_entry_t *entry, const char *name) {
  int err;
  if (group == NULL || entry == NULL) return UV_EINVAL;
  UVF__RULE(!is_in(group, entry), "uvf_waitgroup_enter", "the entry is in already");
  uvf__lock(&group->uvf__lock);
  err = count_in(group, 1);
  if (err == 0) {
    entry->name = name;
    entry->group = group;
    uvf__link_push(&group->uvf__entries, &entry->uvf__link);
  }
  uvf__unlock(&group->uvf__lock);
  return err;
}

int uvf_waitgroup_leave(uvf_waitgroup_entry_t *entry) {
  uvf_waitgroup_t *group;
  uvf__told_t told;
  if (entry == NULL) return UV_EINVAL;
  group = entry->group;
  UVF__RULE(group != NULL, "uvf_waitgroup_leave", "the entry is not in: it has left already");
  if (group == NULL) return UV_EINVAL;
  uvf__told_init(&told);
  uvf__lock(&group->uvf__lock);
  uvf__link_remove(&entry->uvf__link);
  entry->group = NULL;
  step_locked(group, step_done, &told);
  uvf__unlock(&group->uvf__lock);
  uvf__tell(&told);
  return 0;
}

uint64_t uvf_waitgroup_names(uvf_waitgroup_t *group, const char **names, size_t max, size_t *copied) {
  uint64_t count;
  size_t n = 0;
  if (copied != NULL) *copied = 0;
  if (group == NULL) return 0;
  if (names == NULL) max = 0;
  uvf__lock(&group->uvf__lock);
  for (const uvf__link_t *l = group->uvf__entries; l != NULL && n < max; l = l->next) {
    names[n++] = UVF__CONTAINER(l, const uvf_waitgroup_entry_t, uvf__link)->name;
  }
  count = load(group) / ONE;
  uvf__unlock(&group->uvf__lock);
  if (copied != NULL) *copied = n;
  return count;
}

/* Without memory for all names those at hand must do; the rest are "others". */
void uvf_waitgroup_dump(uvf_waitgroup_t *group, FILE *f) {
  const char *few[NAMES_AT_HAND];
  const char **names = few;
  const char **many = NULL;
  size_t max = NAMES_AT_HAND;
  size_t n;
  uint64_t others;
  if (group == NULL || f == NULL) return;
  others = load(group) / ONE;
  if (others > max && others < SIZE_MAX / sizeof *many / 2) {
    many = uvf__malloc((size_t)others * sizeof *many);
    if (many != NULL) {
      names = many;
      max = (size_t)others;
    }
  }
  others = uvf_waitgroup_names(group, names, max, &n);
  for (size_t i = 0; i < n; i++) {
    if (names[i] == NULL) continue;
    fprintf(f, "under way: %s\n", names[i]);
    others--;
  }
  fprintf(f, "%" PRIu64 " others under way\n", others);
  if (many != NULL) uvf__free((void *)many);
}

/* --- waits ------------------------------------------------------------------------------------ */

static int withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf_waitgroup_t *group = wait->uvf__object;
  uvf__lock(&group->uvf__lock);
  if (uvf__queue_remove(&group->uvf__waits, &wait->uvf__waiter) && group->uvf__waits.first == NULL) {
    atomic_fetch_and_explicit((uvf__au64 *)&group->uvf__word, ~(uint64_t)WAITERS, memory_order_acq_rel);
  }
  uvf__unlock(&group->uvf__lock);
  return 1;
}

static const uvf__op_type_t wait_type = {.name = "wait group wait",
                                         .withdraw = withdraw,
                                         .deliver = uvf__wait_deliver,
                                         .posted = uvf__wait_posted,
                                         .flags = 0};

static void start(uvf_wait_t *wait) {
  uvf_waitgroup_t *group = wait->uvf__object;
  uint64_t word;
  uvf__lock(&group->uvf__lock);
  word = load(group);
  while (!is_over(word) && !swap(group, &word, word | WAITERS)) {}
  if (!is_over(word)) uvf__queue_push(&group->uvf__waits, &wait->uvf__waiter);
  uvf__unlock(&group->uvf__lock);
  if (is_over(word)) uvf__wait_now(uvf__wait_op(wait), 0);
}

int(uvf_waitgroup_wait)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_waitgroup_t *group, uvf_wait_cb cb) {
  return uvf__wait_request(ctx, wait, &wait_type, group, 0, cb, start, "uvf_waitgroup_wait");
}

int uvf_waitgroup_join(uvf_ctx_t *ctx, uvf_waitgroup_t *group) {
  return uvf__wait_blocking(ctx, &wait_type, group, 0, NULL, start, "uvf_waitgroup_join");
}
