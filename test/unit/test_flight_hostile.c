/* SPDX-License-Identifier: MIT
 *
 * Single flight and those who mean it harm: keys chosen to fall into one chain, and a flight that is destroyed while a
 * caller is not back from its call yet.
 */
#include "unit/test_flight.h"

/* --- keys that were chosen --- */

#define BITS 10
#define KEYS (1 << BITS)

static uvf_flight_call_t *calls[KEYS];
static int nstarted, nanswered;

static void keep_call(uvf_flight_call_t *call, void *arg) {
  (void)arg;
  if (nstarted < KEYS) calls[nstarted] = call;
  nstarted++;
}

static void count_answer(uvf_wait_t *wait, int status) {
  (void)wait;
  nanswered += status == 0;
}

typedef struct shape_s {
  const char *name;
  size_t (*key)(unsigned int i, uint64_t words[2 * BITS]); /* its length */
} shape_t;

/* Flips pairs of words so that multiplying by any odd number, and folding by half a word, leaves no difference. */
static size_t paired(unsigned int i, uint64_t words[2 * BITS]) {
  static const int folds[] = {29, 31, 32, 33};
  for (unsigned int p = 0; p < BITS; p++) {
    int fold = folds[p % 4 == 3 ? 0 : p % 4]; /* the commonest shifts of such functions */
    words[2 * p] = p * 77 ^ (uint64_t)(i >> p & 1) << 63;
    words[2 * p + 1] = p * 99 ^ (uint64_t)(i >> p & 1) << 63 ^ (uint64_t)(i >> p & 1) << (63 - fold);
  }
  return 16 * BITS;
}

static size_t paired_by_29(unsigned int i, uint64_t words[2 * BITS]) {
  for (unsigned int p = 0; p < BITS; p++) {
    uint64_t bit = i >> p & 1;
    words[2 * p] = p * 77 ^ bit << 63;
    words[2 * p + 1] = p * 99 ^ bit << 63 ^ bit << 34;
  }
  return 16 * BITS;
}

static size_t counted(unsigned int i, uint64_t words[2 * BITS]) {
  words[0] = i;
  return 8;
}

static size_t counted_high(unsigned int i, uint64_t words[2 * BITS]) {
  words[0] = (uint64_t)i << (64 - BITS);
  return 8;
}

static size_t in_its_tail(unsigned int i, uint64_t words[2 * BITS]) {
  words[0] = 1;
  words[1] = i;
  return 11;
}

static size_t longest_chain(const uvf_flight_t *flight) {
  struct link_s {
    struct link_s *next; /* the first field of a call */
  } *const *table = flight->uvf__table;
  size_t longest = 0;
  for (size_t i = 0; i < flight->uvf__buckets; i++) {
    size_t length = 0;
    for (const struct link_s *l = table[i]; l != NULL; l = l->next) length++;
    if (length > longest) longest = length;
  }
  return longest;
}

static void keys_cannot_be_chosen_to_fall_into_one_chain(void **state) {
  static const shape_t shapes[] = {
      {"paired by 29", paired_by_29}, {"paired", paired},           {"counted", counted},
      {"counted high", counted_high}, {"in its tail", in_its_tail},
  };
  fixture_t *f = *state;
  uvf_wait_t *waits = calloc(KEYS, sizeof *waits);
  assert_non_null(waits);
  for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
    uvf_flight_t flight;
    size_t longest;
    flight_open(&flight, f->root);
    nstarted = nanswered = 0;
    for (unsigned int k = 0; k < KEYS; k++) {
      uint64_t words[2 * BITS] = {0};
      size_t len = shapes[i].key(k, words);
      assert_int_equal(uvf_flight_do(f->root, &waits[k], &flight, words, len, keep_call, NULL, count_answer), 0);
    }
    run_until(&f->loop, &nstarted, KEYS);
    assert_int_equal(nstarted, KEYS); /* all of them differ */
    assert_true(flight.uvf__buckets >= KEYS);
    longest = longest_chain(&flight);
    for (int k = 0; k < KEYS; k++) assert_int_equal(uvf_flight_end(calls[k], 0, NULL, NULL), 0);
    run_until(&f->loop, &nanswered, KEYS);
    assert_int_equal(uvf_flight_destroy(&flight), 0);
    /* By chance 6 or 7; 20 once in 10^15 runs. */
    if (longest > 20) fail_msg("%s: a chain of %d", shapes[i].name, (int)longest);
  }
  free(waits);
}

static void every_flight_has_a_key_of_its_own(void **state) {
  fixture_t *f = *state;
  uvf_flight_t a, b;
  flight_open(&a, f->root);
  flight_open(&b, f->root);
  assert_memory_not_equal(&a.uvf__seed, &b.uvf__seed, sizeof a.uvf__seed);
  assert_int_equal(sizeof a.uvf__seed, 16);
  assert_int_equal(uvf_flight_destroy(&a), 0);
  assert_int_equal(uvf_flight_destroy(&b), 0);
}

/* --- a flight that ends while a caller has not returned --- */

typedef struct far_s {
  lane_t lane;
  uvf_flight_t *flight; /* on the test's loop */
  caller_t caller;
  desk_t desk;
  int rc;
} far_t;

static void ask_from_far(void *arg) {
  far_t *far = arg;
  far->rc = ask_len(&far->caller, far->lane.root, far->flight, "key", 3, &far->desk);
}

static void end_and_destroy(desk_t *desk, uvf_flight_call_t *call) {
  far_t *far = UVF__CONTAINER(desk, far_t, desk);
  if (uvf_flight_end(call, 0, NULL, NULL) != 0 || uvf_flight_destroy(far->flight) != 0) desk->started = -1;
  memset(far->flight, 0xdb, sizeof *far->flight);
  free(far->flight);
}

/* The caller has posted its call and is about to wake the flight's loop: it stands at the gate of that, which we hold.
 * Meanwhile the loop comes by of itself, and everything ends. */
static void a_flight_may_be_destroyed_while_the_caller_of_its_last_call_has_not_returned(void **state) {
  fixture_t *f = *state;
  uvf__hub_t *hub = uvf__ctx_hub(f->root);
  far_t *far = calloc(1, sizeof *far);
  uvf_ctx_t *ctx = child_of(f->root);
  uint64_t end_ns, with, meanwhile, after;
  assert_non_null(far);
  lane_start(&far->lane);
  lane_turn(&far->lane);
  turn(&f->loop);
  far->desk.then = end_and_destroy;
  far->flight = malloc(sizeof *far->flight);
  assert_non_null(far->flight);
  flight_open(far->flight, ctx);
  uvf_ctx_release(ctx); /* the flight's own reference is the last */
  with = stats_of(f->root).contexts;
  uv_mutex_lock(&hub->gate);
  lane_post(&far->lane, ask_from_far, far);
  end_ns = uv_hrtime() + 20000 * MS_NS;
  while (atomic_load(&hub->posts) == 0 && uv_hrtime() < end_ns) uv_sleep(0);
  turn(&f->loop);
  meanwhile = stats_of(f->root).contexts;
  uv_mutex_unlock(&hub->gate);
  lane_wait(&far->lane);
  lane_turn(&far->lane);
  turn(&f->loop);
  after = stats_of(f->root).contexts;
  assert_int_equal(far->rc, 0);
  assert_int_equal(far->desk.started, 1);
  assert_answered(&far->caller, 0, NULL, 0);
  assert_int_equal(meanwhile, with); /* the caller, which looks at the context once more, has kept it */
  assert_int_equal(after, with - 1);
  lane_stop(&far->lane);
  free(far);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(keys_cannot_be_chosen_to_fall_into_one_chain),
      unit(every_flight_has_a_key_of_its_own),
      unit(a_flight_may_be_destroyed_while_the_caller_of_its_last_call_has_not_returned),
  };
  return test_run(tests);
}
