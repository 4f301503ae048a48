/* SPDX-License-Identifier: MIT
 *
 * Single flight between loops: callers elsewhere than the executions, the loop of the executions closing or gone, and
 * everything at once.
 */
#include "unit/test_flight.h"

/* --- a caller on a lane; the flight on the test's own loop --- */

typedef struct far_s {
  lane_t lane;
  uvf_flight_t *flight;
  const char *key;
  desk_t desk;
  caller_t caller;
  int result;
} far_t;

static void far_ask(void *arg) {
  far_t *far = arg;
  far->result = ask_len(&far->caller, far->lane.root, far->flight, far->key, strlen(far->key), &far->desk);
}

static void far_cancel(void *arg) {
  far_t *far = arg;
  far->result = uvf_op_cancel((uvf_op_t *)&far->caller.note.wait);
}

static void far_open(far_t *far, uvf_flight_t *flight) {
  memset(far, 0, sizeof *far);
  far->flight = flight;
  far->key = "a";
  lane_start(&far->lane);
  lane_turn(&far->lane);
}

static void executions_start_on_the_flights_loop_and_callers_are_told_on_their_own(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  far_t far;
  caller_t near;
  result_t result = {0};
  uv_thread_t self = uv_thread_self();
  turn(&f->loop);
  assert_int_equal(uvf_flight_init(&flight, f->root), 0);
  far_open(&far, &flight);
  lane_call(&far.lane, far_ask, &far);
  assert_int_equal(far.result, 0);
  assert_int_equal(far.desk.started, 0); /* this loop has not run */
  await_started(f, &far.desk, 1);
  assert_true(uv_thread_equal(&far.desk.thread, &self));
  ask(&near, f->root, &flight, "a", &far.desk);
  assert_int_equal(uvf_flight_end(far.desk.calls[0], 0, &result, free_result), 0);
  run_until(&f->loop, &near.note.calls, 1);
  lane_turn(&far.lane);
  assert_answered(&near, 0, &result, 1);
  assert_answered(&far.caller, 0, &result, 1);
  assert_true(uv_thread_equal(&near.note.thread, &self));
  assert_true(uv_thread_equal(&far.caller.note.thread, &far.lane.thread));
  assert_int_equal(far.desk.started, 1);
  assert_int_equal(atomic_load(&result.freed), 1);
  lane_stop(&far.lane);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void a_result_is_freed_on_the_thread_of_the_last_that_was_told(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  far_t far;
  caller_t near;
  result_t result = {0};
  turn(&f->loop);
  assert_int_equal(uvf_flight_init(&flight, f->root), 0);
  far_open(&far, &flight);
  lane_call(&far.lane, far_ask, &far);
  ask(&near, f->root, &flight, "a", &far.desk);
  await_started(f, &far.desk, 1);
  assert_int_equal(uvf_flight_end(far.desk.calls[0], 0, &result, free_result), 0);
  lane_turn(&far.lane);
  assert_int_equal(far.caller.note.calls, 1);
  assert_int_equal(atomic_load(&result.freed), 0); /* the near one has not been told yet */
  run_until(&f->loop, &near.note.calls, 1);
  assert_int_equal(atomic_load(&result.freed), 1);
  lane_stop(&far.lane);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void a_caller_that_leaves_before_its_call_has_arrived_is_told_and_the_execution_starts(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  far_t far;
  turn(&f->loop);
  assert_int_equal(uvf_flight_init(&flight, f->root), 0);
  far_open(&far, &flight);
  lane_call(&far.lane, far_ask, &far);
  lane_call(&far.lane, far_cancel, &far);
  assert_int_equal(far.result, 0);
  lane_turn(&far.lane);
  assert_answered(&far.caller, UV_ECANCELED, NULL, 0);
  lane_stop(&far.lane); /* nothing of it is needed any more */
  await_started(f, &far.desk, 1);
  assert_int_equal(uvf_flight_end(far.desk.calls[0], 0, NULL, NULL), 0);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void a_call_from_another_loop_does_not_hold_the_flights(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  far_t far;
  turn(&f->loop);
  assert_int_equal(uvf_flight_init(&flight, f->root), 0);
  far_open(&far, &flight);
  lane_call(&far.lane, far_ask, &far);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  fixture_close_root(f); /* it is answered by the close: nothing is started under what is over */
  lane_turn(&far.lane);
  assert_answered(&far.caller, UV_ECANCELED, NULL, 0);
  assert_int_equal(far.desk.started, 0);
  lane_stop(&far.lane);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void where_the_flights_root_is_closed_callers_elsewhere_get_its_err(void **state) {
  fixture_t *f = *state;
  for (int other_root = 0; other_root < 2; other_root++) { /* its loop's hub is gone with it, or stays for another */
    uvf_flight_t flight;
    far_t far;
    uvf_ctx_t *root = NULL, *ctx;
    if (other_root) assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
    ctx = child_of(f->root);
    turn(&f->loop);
    assert_int_equal(uvf_flight_init(&flight, ctx), 0);
    fixture_close_root(f);
    far_open(&far, &flight);
    lane_call(&far.lane, far_ask, &far);
    assert_int_equal(far.result, 0);
    lane_turn(&far.lane);
    turn(&f->loop);
    assert_answered(&far.caller, UV_ECANCELED, NULL, 0);
    assert_int_equal(far.desk.started, 0);
    lane_stop(&far.lane);
    assert_int_equal(uvf_flight_destroy(&flight), 0);
    uvf_ctx_release(ctx);
    if (other_root) {
      f->root = root;
    } else {
      assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
    }
  }
}

/* --- the flight's loop closes as a caller asks --- */

typedef struct closing_s {
  lane_t lane; /* the flight's */
  uvf_flight_t flight;
  atomic_int here;
  uint64_t delay_ns;
} closing_t;

static void closing_init(void *arg) {
  closing_t *c = arg;
  if (uvf_flight_init(&c->flight, c->lane.root) != 0) abort();
}

static void closing_end(void *arg) {
  closing_t *c = arg;
  meet(&c->here, 2);
  spin_ns(c->delay_ns);
  lane_end(&c->lane);
}

static void end_here(desk_t *desk, uvf_flight_call_t *call) {
  (void)desk;
  if (uvf_flight_end(call, 0, NULL, NULL) != 0) abort();
}

static void a_call_and_the_close_of_the_flights_loop_at_once_are_answered_either_way(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  int started = 0, refused = 0, rounds = (int)test_scaled(1500, 10);
  turn(&f->loop);
  for (int i = 0; i < rounds; i++) {
    closing_t *c = calloc(1, sizeof *c);
    desk_t desk = {.then = end_here};
    caller_t callers[4];
    uint64_t delay_ns = test_rand(&seed) % 60000;
    assert_non_null(c);
    lane_start(&c->lane);
    lane_turn(&c->lane);
    lane_call(&c->lane, closing_init, c);
    c->delay_ns = test_rand(&seed) % 20000;
    lane_post(&c->lane, closing_end, c);
    meet(&c->here, 2);
    spin_ns(delay_ns);
    for (int k = 0; k < 4; k++) ask(&callers[k], f->root, &c->flight, k % 2 ? "a" : "b", &desk);
    for (int k = 0; k < 4; k++) run_until(&f->loop, &callers[k].note.calls, 1);
    lane_wait(&c->lane);
    assert_int_equal(uv_thread_join(&c->lane.thread), 0);
    assert_int_equal(c->lane.close_result, 0);
    gate_destroy(&c->lane.answered);
    uv_mutex_destroy(&c->lane.mutex);
    for (int k = 0; k < 4; k++) {
      assert_int_equal(callers[k].note.calls, 1);
      if (callers[k].note.status == 0) {
        started++;
      } else {
        assert_int_equal(callers[k].note.status, UV_ECANCELED);
        refused++;
      }
    }
    assert_int_equal(uvf_flight_destroy(&c->flight), 0);
    free(c);
  }
  assert_int_equal(started + refused, 4 * rounds);
  assert_true(refused > 0);
}

/* --- everything at once --- */

enum { KEYS = 6, ASKS = 24, LANES = 2 };

typedef struct soak_s soak_t;

typedef struct asker_s {
  caller_t callers[ASKS];
  int keys[ASKS];
  uvf_ctx_t *ctx; /* cancelled in the middle */
  uint64_t seed;
  soak_t *soak;
  atomic_int answers;
  lane_t lane;
} asker_t;

struct soak_s {
  uvf_flight_t flight;
  uint64_t seed; /* of the starts */
  uvf_flight_call_t *late[ASKS * (LANES + 1)];
  int nlate;
  atomic_int made, freed, wrong;
  uint32_t lock; /* guards the next two */
  uvf_flight_call_t *handed[ASKS * (LANES + 1)];
  int nhanded;
};

typedef struct product_s {
  atomic_int *freed;
  int key;
} product_t;

static void free_product(void *value) {
  product_t *product = value;
  atomic_fetch_add(product->freed, 1);
  memset(product, 0xdb, sizeof *product);
  free(product);
}

static void soak_end(soak_t *soak, uvf_flight_call_t *call) {
  product_t *product = malloc(sizeof *product);
  if (product == NULL) abort();
  product->freed = &soak->freed;
  memcpy(&product->key, uvf_flight_key(call, NULL), sizeof product->key);
  atomic_fetch_add(&soak->made, 1);
  if (uvf_flight_end(call, 0, product, free_product) != 0) abort();
}

static void soak_start(uvf_flight_call_t *call, void *arg) {
  soak_t *soak = arg;
  size_t len;
  const void *key = uvf_flight_key(call, &len);
  switch (test_rand(&soak->seed) % 4) {
    case 0: soak_end(soak, call); break;
    case 1:
      (void)uvf_flight_forget(&soak->flight, key, len); /* perhaps a successor of this one */
      soak->late[soak->nlate++] = call;
      break;
    case 2: soak->late[soak->nlate++] = call; break;
    default:
      uvf__lock(&soak->lock);
      soak->handed[soak->nhanded++] = call;
      uvf__unlock(&soak->lock);
      break;
  }
}

/* On another thread: ends what is handed to it until it has seen a NULL. */
static void soak_ender(void *arg) {
  soak_t *soak = arg;
  for (int i = 0;;) {
    uvf_flight_call_t *call = NULL;
    int there;
    uvf__lock(&soak->lock);
    there = i < soak->nhanded;
    if (there) call = soak->handed[i++];
    uvf__unlock(&soak->lock);
    if (there && call == NULL) return;
    if (there) {
      soak_end(soak, call);
    } else {
      uv_sleep(0);
    }
  }
}

static void soak_answer(uvf_wait_t *wait, int status) {
  caller_t *caller = (caller_t *)wait;
  asker_t *asker = caller->note.arg;
  soak_t *soak = asker->soak;
  const product_t *product = wait->value;
  if (status == 0 ? product == NULL || product->key != caller->note.id : status != UV_ECANCELED || product != NULL)
    atomic_fetch_add(&soak->wrong, 1);
  on_result(wait, status);
  atomic_fetch_add(&asker->answers, 1);
}

static void asker_go(void *arg) {
  asker_t *a = arg;
  uvf_ctx_t *root = a->lane.root;
  if (uvf_ctx_with_cancel(root, &a->ctx) != 0) abort();
  for (int i = 0; i < ASKS; i++) {
    int under = test_rand(&a->seed) % 3 == 0;
    a->keys[i] = (int)(test_rand(&a->seed) % KEYS);
    note_init(&a->callers[i].note, a->keys[i], NULL);
    a->callers[i].note.arg = a;
    if (uvf_flight_do(under ? a->ctx : root, &a->callers[i].note.wait, &a->soak->flight, &a->keys[i], sizeof(int),
                      soak_start, a->soak, soak_answer) != 0)
      abort();
    if (i == ASKS * 2 / 3) uvf_ctx_cancel(a->ctx);
  }
  uvf_ctx_release(a->ctx);
}

static void soak_round(fixture_t *f, asker_t *askers, uint64_t *seed) {
  soak_t *soak = calloc(1, sizeof *soak);
  uv_thread_t ender;
  assert_non_null(soak);
  soak->seed = test_rand(seed);
  assert_int_equal(uvf_flight_init(&soak->flight, f->root), 0);
  assert_int_equal(uv_thread_create(&ender, soak_ender, soak), 0);
  for (int i = 0; i <= LANES; i++) {
    askers[i].seed = test_rand(seed);
    askers[i].soak = soak;
    atomic_store(&askers[i].answers, 0);
    if (i < LANES) lane_post(&askers[i].lane, asker_go, &askers[i]);
  }
  asker_go(&askers[LANES]);
  for (int i = 0; i < LANES; i++) lane_wait(&askers[i].lane);
  for (int all = 0; !all;) { /* all who ask have asked; now until all are told */
    turn(&f->loop);
    while (soak->nlate > 0) soak_end(soak, soak->late[--soak->nlate]);
    all = atomic_load(&askers[LANES].answers) == ASKS;
    for (int i = 0; i < LANES; i++) {
      lane_call(&askers[i].lane, lane_nothing, NULL);
      all &= atomic_load(&askers[i].answers) == ASKS;
    }
  }
  turn(&f->loop); /* calls that nobody waits for may be left */
  while (soak->nlate > 0) soak_end(soak, soak->late[--soak->nlate]);
  uvf__lock(&soak->lock);
  soak->handed[soak->nhanded++] = NULL;
  uvf__unlock(&soak->lock);
  assert_int_equal(uv_thread_join(&ender), 0);
  for (int i = 0; i < LANES; i++) lane_turn(&askers[i].lane);
  for (int i = 0; i <= LANES; i++) {
    for (int k = 0; k < ASKS; k++) assert_int_equal(askers[i].callers[k].note.calls, 1);
  }
  assert_int_equal(atomic_load(&soak->wrong), 0);
  assert_int_equal(atomic_load(&soak->freed), atomic_load(&soak->made));
  assert_int_equal(uvf_flight_destroy(&soak->flight), 0);
  free(soak);
}

static void three_loops_and_a_thread_that_ends_share_executions_of_few_keys(void **state) {
  fixture_t *f = *state;
  asker_t *askers = calloc(LANES + 1, sizeof *askers);
  uint64_t seed = test_seed();
  int rounds = (int)test_scaled(400, 10);
  assert_non_null(askers);
  turn(&f->loop);
  for (int i = 0; i < LANES; i++) {
    lane_start(&askers[i].lane);
    lane_turn(&askers[i].lane);
  }
  askers[LANES].lane.root = f->root;
  for (int i = 0; i < rounds; i++) soak_round(f, askers, &seed);
  for (int i = 0; i < LANES; i++) lane_stop(&askers[i].lane);
  free(askers);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(executions_start_on_the_flights_loop_and_callers_are_told_on_their_own),
      unit(a_result_is_freed_on_the_thread_of_the_last_that_was_told),
      unit(a_caller_that_leaves_before_its_call_has_arrived_is_told_and_the_execution_starts),
      unit(a_call_from_another_loop_does_not_hold_the_flights),
      unit(where_the_flights_root_is_closed_callers_elsewhere_get_its_err),
      unit(a_call_and_the_close_of_the_flights_loop_at_once_are_answered_either_way),
      unit(three_loops_and_a_thread_that_ends_share_executions_of_few_keys),
  };
  return test_run(tests);
}
