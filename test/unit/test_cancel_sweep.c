/* SPDX-License-Identifier: MIT
 *
 * Many children that end with their parent, while other threads cancel some of them, and while threads are blocked
 * under them: each child has one cause, whole, whoever was first.
 */
#include <stdatomic.h>

#include "unit/probe.h"

#define MANY 1000 /* several sweeps of cancel.c */
#define FEW 3
#define THREADS 2
#define PARENT_CAUSE (-77)

static size_t rounds(void) { return test_scaled(40000, 20); }

/* One round: the loop cancels the parent of some leaves, threads cancel the leaves, all at nearly the same moment. They
 * meet by spinning, since a wake-up takes longer than what is to be met. */
typedef struct hunt_s hunt_t;

typedef struct hunter_s {
  hunt_t *hunt;
  int id;
  uint64_t seed;
  size_t at; /* the leaf that it has cancelled in this round, */
  int seen;  /* and its cause when the cancel had returned */
} hunter_t;

struct hunt_s {
  uvf_ctx_t *children[FEW];
  hunter_t hunters[THREADS];
  atomic_uint round; /* the hunters' signal */
  atomic_uint ready; /* so many have seen it */
  atomic_uint done;
};

static int cause_of(int id, size_t i) { return -1000 * (id + 1) - (int)i; }

static void await(atomic_uint *word, unsigned int value) {
  for (int spins = 0; atomic_load(word) != value; spins++) {
    if (spins > 10000) uv_sleep(0); /* the others want a processor, too */
  }
}

/* Some hundred nanoseconds at most. */
static void dawdle(uint64_t *seed) {
  volatile int x = 0;
  for (uint64_t n = test_rand(seed) % 400; n > 0; n--) x = x + 1;
}

static void hunter_main(void *arg) {
  hunter_t *h = arg;
  for (unsigned int round = 1; round <= (unsigned int)rounds(); round++) {
    await(&h->hunt->round, round);
    h->at = (size_t)(test_rand(&h->seed) % FEW);
    uvf_ctx_t *child = h->hunt->children[h->at];
    atomic_fetch_add(&h->hunt->ready, 1);
    await(&h->hunt->ready, THREADS + 1);
    dawdle(&h->seed);
    uvf_ctx_cancel_cause(child, cause_of(h->id, h->at), &h->hunt->children[h->at]);
    h->seen = uvf_ctx_err(child) == UV_ECANCELED ? uvf_ctx_cause(child, NULL) : 0;
    atomic_fetch_add(&h->hunt->done, 1);
  }
}

/* The cause is that of the parent or of one of the hunters, with the same one's data, and has never been another.
 * Returns 1 if it is the parent's. */
static int assert_whole(const hunt_t *hunt, size_t i) {
  void *data = NULL;
  int cause = uvf_ctx_cause(hunt->children[i], &data);
  assert_int_equal(uvf_ctx_err(hunt->children[i]), UV_ECANCELED);
  for (int id = 0; id < THREADS; id++) {
    if (hunt->hunters[id].at == i) assert_int_equal(hunt->hunters[id].seen, cause);
  }
  if (cause == PARENT_CAUSE) {
    assert_ptr_equal(data, hunt);
    return 1;
  }
  assert_ptr_equal(data, &hunt->children[i]);
  assert_true(cause == cause_of(0, i) || cause == cause_of(1, i));
  return 0;
}

static void hunt_once(fixture_t *f, hunt_t *hunt, uint64_t *seed, size_t *by_parent) {
  uvf_ctx_t *parent = child_of(f->root);
  for (size_t i = 0; i < FEW; i++) hunt->children[i] = i % 3 ? child_of(parent) : timeout_of(parent, HOUR_MS);
  atomic_store(&hunt->ready, 0);
  atomic_store(&hunt->done, 0);
  atomic_fetch_add(&hunt->round, 1);
  atomic_fetch_add(&hunt->ready, 1);
  await(&hunt->ready, THREADS + 1);
  dawdle(seed);
  uvf_ctx_cancel_cause(parent, PARENT_CAUSE, hunt);
  int over = 0;
  for (size_t i = 0; i < FEW; i++) over += uvf_ctx_err(hunt->children[i]) == UV_ECANCELED;
  await(&hunt->done, THREADS);
  assert_int_equal(over, FEW);
  for (size_t i = 0; i < FEW; i++) *by_parent += (size_t)assert_whole(hunt, i);
  turn(&f->loop); /* what the hunters have posted */
  assert_int_equal(stats_of(f->root).deadlines, 0);
  for (size_t i = 0; i < FEW; i++) uvf_ctx_release(hunt->children[i]);
  uvf_ctx_release(parent);
}

static void children_that_threads_cancel_while_their_parent_ends_have_one_whole_cause(void **state) {
  fixture_t *f = *state;
  hunt_t *hunt = calloc(1, sizeof(*hunt));
  uv_thread_t threads[THREADS];
  uint64_t seed = test_seed();
  size_t by_parent = 0;
  assert_non_null(hunt);
  for (int id = 0; id < THREADS; id++) {
    hunt->hunters[id] = (hunter_t){.hunt = hunt, .id = id, .seed = test_rand(&seed)};
    assert_int_equal(uv_thread_create(&threads[id], hunter_main, &hunt->hunters[id]), 0);
  }
  for (size_t round = 0; round < rounds(); round++) hunt_once(f, hunt, &seed, &by_parent);
  for (int id = 0; id < THREADS; id++) assert_int_equal(uv_thread_join(&threads[id]), 0);
  print_message("of %zu children the parent was first with %zu\n", rounds() * FEW, by_parent);
  assert_true(by_parent > 0 && by_parent < rounds() * FEW); /* otherwise nothing has met */
  assert_int_equal(counts_of(f->root).children, 0);
  free(hunt);
}

typedef struct sleeper_s {
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  uv_sem_t begun;
  int status;
} sleeper_t;

static void sleeper_main(void *arg) {
  sleeper_t *s = arg;
  void *item;
  uv_sem_post(&s->begun);
  s->status = uvf_chan_recv_wait(s->ctx, s->chan, &item);
}

static void a_thread_that_is_blocked_under_one_of_many_children_wakes_with_their_parents_end(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *children[MANY];
  for (int round = 0; round < 50; round++) {
    uvf_ctx_t *parent = child_of(f->root);
    sleeper_t s = {.status = 1};
    uv_thread_t thread;
    for (size_t i = 0; i < MANY; i++) children[i] = child_of(parent);
    s.ctx = children[(size_t)round * 19 % MANY];
    assert_int_equal(uvf_chan_create(0, &s.chan), 0);
    assert_int_equal(uv_sem_init(&s.begun, 0), 0);
    assert_int_equal(uv_thread_create(&thread, sleeper_main, &s), 0);
    uv_sem_wait(&s.begun); /* it is about to block, or blocks already: both have to end */
    if (round % 2) uv_sleep(1);
    uvf_ctx_cancel_cause(parent, PARENT_CAUSE, NULL);
    assert_int_equal(uv_thread_join(&thread), 0); /* nothing else would end it */
    assert_int_equal(s.status, UV_ECANCELED);
    assert_int_equal(uvf_ctx_cause(s.ctx, NULL), PARENT_CAUSE);
    uv_sem_destroy(&s.begun);
    uvf_chan_release(s.chan);
    for (size_t i = 0; i < MANY; i++) uvf_ctx_release(children[i]);
    uvf_ctx_release(parent);
  }
  turn(&f->loop);
  assert_int_equal(counts_of(f->root).children, 0);
}

/* Of every kind and shape, among so many leaves that no sweep takes them all. */
static void leaves_among_children_with_operations_children_and_deadlines_all_end(void **state) {
  fixture_t *f = *state;
  static probe_t probes[MANY];
  uvf_ctx_t *children[MANY], *below[MANY] = {0}, *parent = child_of(f->root), *other = child_of(f->root);
  uint64_t seed = test_seed();
  int nprobes = 0, called = 0;
  for (size_t i = 0; i < MANY; i++) {
    uint64_t kind = test_rand(&seed) % 12;
    uvf_ctx_t *both[2] = {parent, other};
    if (kind == 0) {
      assert_int_equal(uvf_ctx_with_any(both, 2, &children[i]), 0);
    } else if (kind == 1) {
      assert_int_equal(uvf_ctx_with_timeout_cause(parent, HOUR_MS, -5, NULL, &children[i]), 0);
    } else if (kind == 2) {
      assert_int_equal(uvf_ctx_with_value(parent, &seed, &seed, NULL, &children[i]), 0);
    } else {
      children[i] = kind < 6 ? timeout_of(parent, HOUR_MS) : child_of(parent);
    }
    if (kind == 3 || kind == 7) below[i] = child_of(children[i]);
    probes[i] = (probe_t){0};
    if (kind == 4 || kind == 8) probe_start(&probes[nprobes++], children[i], 0, NULL);
    if (kind == 9) uvf_ctx_cancel_cause(children[i], -9, NULL);
  }
  uvf_ctx_cancel_cause(parent, PARENT_CAUSE, f);
  for (size_t i = 0; i < MANY; i++) {
    int cause = uvf_ctx_cause(children[i], NULL);
    assert_int_equal(uvf_ctx_err(children[i]), UV_ECANCELED);
    assert_true(cause == PARENT_CAUSE || cause == -9);
    if (below[i]) assert_over(below[i], UV_ECANCELED, PARENT_CAUSE);
  }
  assert_int_equal(stats_of(f->root).deadlines, 0);
  while (called < nprobes) {
    run_until(&f->loop, &probes[called].calls, 1);
    assert_int_equal(probes[called++].status, UV_ECANCELED);
  }
  for (size_t i = 0; i < MANY; i++) {
    if (below[i]) uvf_ctx_release(below[i]);
    uvf_ctx_release(children[i]);
  }
  uvf_ctx_release(parent);
  uvf_ctx_release(other);
  turn(&f->loop);
  assert_int_equal(counts_of(f->root).children, 0);
}

/* A long line of only children, in which others have their say: one that another thread has ended before, one with a
 * deadline of its own, one with an operation, one with a second child. Its place says what it is. */
enum { IN_LINE = 10, WITH_DEADLINE = 2, WITH_OPERATION = 5, WITH_SIBLING = 7 };

static void cancel_main(void *arg) { uvf_ctx_cancel_cause(arg, -9, NULL); }

static void cancel_elsewhere(uvf_ctx_t *ctx) {
  uv_thread_t thread;
  assert_int_equal(uv_thread_create(&thread, cancel_main, ctx), 0);
  assert_int_equal(uv_thread_join(&thread), 0);
}

static void end_line(fixture_t *f, int by_deadline) {
  static probe_t probes[MANY];
  static journal_t journal;
  uvf_ctx_t *line[MANY], *siblings[MANY] = {0};
  size_t ended_before = MANY / 2 + 3;
  int nprobes = 0;
  journal.n = 0;
  for (size_t i = 0; i < MANY; i++) {
    uvf_ctx_t *parent = i > 0 ? line[i - 1] : f->root;
    size_t what = i < MANY / 4 ? 0 : i % IN_LINE; /* the first ones: nothing but a line, longer than a sweep */
    if (i == 0 && by_deadline) {
      line[i] = timeout_of(parent, 1);
    } else {
      line[i] = what == WITH_DEADLINE && !by_deadline ? timeout_of(parent, HOUR_MS - i * 1000) : child_of(parent);
    }
    if (what == WITH_SIBLING) siblings[i] = child_of(parent);
    if (what == WITH_OPERATION) {
      probe_start(&probes[nprobes], line[i], nprobes, &journal);
      nprobes++;
    }
  }
  cancel_elsewhere(line[ended_before]); /* the loop does not know */
  if (by_deadline) {
    while (uvf_ctx_remaining_ns(line[0]) > 0) uv_sleep(1);
    uv_sleep(2);
    turn(&f->loop); /* libuv's timers come before its other handles */
  } else {
    uvf_ctx_cancel_cause(line[0], PARENT_CAUSE, f);
  }
  for (size_t i = 0; i < MANY; i++) {
    int err = by_deadline ? UV_ETIMEDOUT : UV_ECANCELED, cause = by_deadline ? UV_ETIMEDOUT : PARENT_CAUSE;
    assert_over(line[i], i < ended_before ? err : UV_ECANCELED, i < ended_before ? cause : -9);
    if (siblings[i])
      assert_over(siblings[i], i - 1 < ended_before ? err : UV_ECANCELED, i - 1 < ended_before ? cause : -9);
  }
  assert_int_equal(stats_of(f->root).deadlines, 0);
  run_until(&f->loop, &journal.n, nprobes);
  for (int i = 0; i < nprobes; i++) {
    assert_int_equal(journal.id[i], nprobes - 1 - i); /* those below first */
    assert_int_equal(probes[i].status, uvf_ctx_err(probes[i].watch.ctx));
  }
  for (size_t i = 0; i < MANY; i++) {
    if (siblings[i]) uvf_ctx_release(siblings[i]);
    uvf_ctx_release(line[i]);
  }
  turn(&f->loop);
  assert_int_equal(counts_of(f->root).children, 0);
}

static void a_line_of_only_children_ends_as_a_whole(void **state) { end_line(*state, 0); }

static void a_line_whose_deadline_comes_keeps_what_had_ended_before(void **state) { end_line(*state, 1); }

/* Nobody but the next one below holds those of a line: the last release frees all of it. */
static void a_line_that_only_its_last_one_holds_ends_and_is_freed(void **state) {
  fixture_t *f = *state;
  for (size_t length = 1; length <= MANY; length += length < 10 ? 1 : 97) {
    uvf_ctx_t *top = child_of(f->root), *last = top;
    for (size_t i = 0; i < length; i++) {
      uvf_ctx_t *next = child_of(last);
      if (last != top) uvf_ctx_release(last);
      last = next;
    }
    uvf_ctx_cancel_cause(top, PARENT_CAUSE, NULL);
    assert_over(last, UV_ECANCELED, PARENT_CAUSE);
    uvf_ctx_release(top);
    assert_over(last, UV_ECANCELED, PARENT_CAUSE);
    uvf_ctx_release(last);
    turn(&f->loop);
    assert_int_equal(counts_of(f->root).children, 0);
    assert_int_equal(stats_of(f->root).contexts, 1);
  }
}

/* The header makes a load of the call; a pointer to the function, or another language, gets the function. */
static void the_function_says_the_same_as_what_the_header_makes_of_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *live = child_of(f->root), *over = child_of(f->root);
  uvf_ctx_cancel(over);
  assert_int_equal((uvf_ctx_err)(live), 0);
  assert_int_equal(uvf_ctx_err(live), 0);
  assert_int_equal((uvf_ctx_err)(over), UV_ECANCELED);
  assert_int_equal(uvf_ctx_err(over), UV_ECANCELED);
  assert_int_equal((uvf_ctx_err)(NULL), UV_EINVAL);
  assert_int_equal(uvf_ctx_err(NULL), UV_EINVAL);
  uvf_ctx_release(live);
  uvf_ctx_release(over);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(children_that_threads_cancel_while_their_parent_ends_have_one_whole_cause),
      unit(a_thread_that_is_blocked_under_one_of_many_children_wakes_with_their_parents_end),
      unit(the_function_says_the_same_as_what_the_header_makes_of_it),
      unit(leaves_among_children_with_operations_children_and_deadlines_all_end),
      unit(a_line_of_only_children_ends_as_a_whole),
      unit(a_line_whose_deadline_comes_keeps_what_had_ended_before),
      unit(a_line_that_only_its_last_one_holds_ends_and_is_freed),
  };
  return test_run(tests);
}
