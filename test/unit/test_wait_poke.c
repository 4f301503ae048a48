/* SPDX-License-Identifier: MIT
 *
 * Blocked threads and ends of contexts: who is woken by an end and who is not, a deadline that never comes, and which
 * thread may block.
 */
#include "unit/chan_probe.h"
#include "kernel/wait.h"

/* --- threads that count how often they look --- */

typedef struct sleeper_s {
  uvf_ctx_t *ctx;
  uint32_t lock;
  uvf__queue_t queue;
  atomic_int looks;
  int wanted; /* looks that there should have been */
  int result;
  uv_thread_t thread;
} sleeper_t;

static uint64_t on_look(uvf_op_t *op) {
  sleeper_t *s = ((uvf_wait_t *)(void *)op)->uvf__object;
  atomic_fetch_add(&s->looks, 1);
  return UINT64_MAX;
}

static int leave(uvf_op_t *op) {
  uvf_wait_t *wait = (uvf_wait_t *)(void *)op;
  sleeper_t *s = wait->uvf__object;
  uvf__lock(&s->lock);
  uvf__queue_remove(&s->queue, &wait->uvf__waiter);
  uvf__unlock(&s->lock);
  return 1;
}

static const uvf__op_type_t sleeper_type = {
    .name = "sleeper", .withdraw = leave, .deliver = uvf__wait_deliver, .posted = uvf__wait_posted};

static void sleeper_main(void *arg) {
  sleeper_t *s = arg;
  uvf__parker_t parker;
  uvf_wait_t wait;
  s->result = uvf__wait_block_begin(s->ctx, &wait, &sleeper_type, s, 0, &parker);
  if (s->result != 0) return;
  parker.wake = on_look;
  uvf__lock(&s->lock);
  uvf__queue_push(&s->queue, &wait.uvf__waiter);
  uvf__unlock(&s->lock);
  s->result = uvf__block_end(uvf__wait_op(&wait), "sleeper");
}

static void await_look(sleeper_t *s) {
  uint64_t end_ns = uv_hrtime() + 20000 * MS_NS;
  while (atomic_load(&s->looks) < s->wanted && uv_hrtime() < end_ns) uv_sleep(0);
  assert_true(atomic_load(&s->looks) >= s->wanted);
}

/* Asleep when it returns, or on its way there with nothing that could keep it from it. */
static void sleeper_start(sleeper_t *s, uvf_ctx_t *ctx) {
  memset(s, 0, sizeof *s);
  s->ctx = ctx;
  s->result = 1;
  s->wanted = 1;
  assert_int_equal(uv_thread_create(&s->thread, sleeper_main, s), 0);
  await_look(s);
}

/* One more look, asked for, and waited for. */
static void look_again(sleeper_t *s) {
  s->wanted++;
  uvf__lock(&s->lock);
  assert_int_equal(uvf__wait_prod(s->queue.first->op), 1);
  uvf__unlock(&s->lock);
  await_look(s);
}

static int sleeper_join(sleeper_t *s) {
  assert_int_equal(uv_thread_join(&s->thread), 0);
  return s->result;
}

/* How many sleepers of the hub have been poked, and have not looked since. */
static int poked(uvf__hub_t *hub) {
  int count = 0;
  uv_mutex_lock(&hub->sleep_lock);
  for (uvf__link_t *l = hub->sleepers; l != NULL; l = l->next) {
    uvf__parker_t *parker = UVF__CONTAINER(l, uvf__parker_t, link);
    uv_mutex_lock(&parker->lock);
    count += parker->poked;
    uv_mutex_unlock(&parker->lock);
  }
  uv_mutex_unlock(&hub->sleep_lock);
  return count;
}

/* --- whom an end wakes --- */

enum { OF_ANOTHER, OF_A_CHILD, OF_A_TREE, BY_ANOTHER_THREAD, BY_DEADLINE, OF_A_ROOT, ENDS };

static int roots_closed;
static void on_root_closed(uvf_ctx_t *root) {
  (void)root;
  roots_closed++;
}

/* Ends something that `ctx` is not under. */
static void end_something(fixture_t *f, uvf_ctx_t *ctx, int which) {
  uvf_ctx_t *other = which == OF_A_CHILD ? child_of(ctx) : child_of(f->root);
  uvf_ctx_t *below = child_of(other);
  uvf_ctx_t *timed = timeout_of(f->root, HOUR_MS);
  uvf_ctx_t *root = NULL;
  switch (which) {
    case OF_ANOTHER: uvf_ctx_cancel(below); break;
    case OF_A_CHILD:
    case OF_A_TREE: uvf_ctx_cancel(other); break;
    case BY_ANOTHER_THREAD: on_thread(cancel_ctx, other); break;
    case BY_DEADLINE: expire(timed); break;
    default:
      assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
      uvf_ctx_close(root, on_root_closed);
      break;
  }
  turn(&f->loop);
  uvf_ctx_release(below);
  uvf_ctx_release(other);
  uvf_ctx_release(timed);
}

static void an_end_wakes_no_thread_that_is_blocked_under_another_context(void **state) {
  fixture_t *f = *state;
  static sleeper_t sleepers[3];
  uvf_ctx_t *a = child_of(f->root), *b = timeout_of(f->root, HOUR_MS);
  uvf__hub_t *hub = uvf__ctx_hub(f->root);
  int were_poked = 0, looks[3];
  turn(&f->loop);
  sleeper_start(&sleepers[0], a);
  sleeper_start(&sleepers[1], b);
  sleeper_start(&sleepers[2], f->root);
  for (int round = 0; round < 10; round++) {
    for (int which = 0; which < ENDS; which++) {
      end_something(f, a, which);
      were_poked += poked(hub);
      for (int i = 0; i < 3; i++) look_again(&sleepers[i]);
    }
  }
  for (int i = 0; i < 3; i++) looks[i] = atomic_load(&sleepers[i].looks);
  uvf_ctx_cancel(a);
  assert_int_equal(sleeper_join(&sleepers[0]), UV_ECANCELED);
  were_poked += poked(hub);
  uvf_ctx_cancel(b);
  assert_int_equal(sleeper_join(&sleepers[1]), UV_ECANCELED);
  were_poked += poked(hub);
  fixture_close_root(f);
  assert_int_equal(sleeper_join(&sleepers[2]), UV_ECANCELED);
  assert_int_equal(were_poked, 0);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(looks[i], sleepers[i].wanted);
    assert_int_equal(atomic_load(&sleepers[i].looks), sleepers[i].wanted);
  }
  uvf_ctx_release(a);
  uvf_ctx_release(b);
  assert_int_equal(roots_closed, 10);
}

static void an_end_wakes_all_who_are_blocked_below_it_however_deep(void **state) {
  fixture_t *f = *state;
  static sleeper_t sleepers[5], other;
  turn(&f->loop);
  for (int foreign = 0; foreign < 2; foreign++) {
    uvf_ctx_t *ctx[5], *beside = child_of(f->root);
    ctx[0] = child_of(f->root);
    for (int i = 1; i < 5; i++) ctx[i] = i == 3 ? timeout_of(ctx[1], HOUR_MS) : child_of(ctx[i - 1]);
    for (int i = 0; i < 5; i++) sleeper_start(&sleepers[i], ctx[i]);
    sleeper_start(&other, beside);
    if (foreign) { /* the descendants end when their loop comes by */
      on_thread(cancel_ctx, ctx[0]);
      assert_int_equal(sleeper_join(&sleepers[0]), UV_ECANCELED);
      turn(&f->loop);
    } else {
      uvf_ctx_cancel(ctx[0]);
      assert_int_equal(sleeper_join(&sleepers[0]), UV_ECANCELED);
    }
    for (int i = 1; i < 5; i++) assert_int_equal(sleeper_join(&sleepers[i]), UV_ECANCELED);
    look_again(&other);
    assert_int_equal(atomic_load(&other.looks), other.wanted);
    uvf_ctx_cancel(beside);
    assert_int_equal(sleeper_join(&other), UV_ECANCELED);
    for (int i = 0; i < 5; i++) uvf_ctx_release(ctx[i]);
    uvf_ctx_release(beside);
  }
}

/* --- a deadline that never comes --- */

static atomic_int clock_looks;

static uint64_t counting_clock(void) {
  atomic_fetch_add(&clock_looks, 1);
  return uv_hrtime();
}

static void a_deadline_at_the_end_of_time_lets_the_thread_sleep(void **state) {
  static const uint64_t rows[] = {UINT64_MAX - 1, UINT64_MAX - 1000, UINT64_MAX - MS_NS, UINT64_MAX / 2};
  fixture_t *f = *state;
  static sleeper_t sleeper;
  turn(&f->loop);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_ctx_t *ctx = NULL;
    int looks;
    assert_int_equal(uvf_ctx_with_deadline(f->root, rows[i], &ctx), 0);
    uvf__clock_ns = counting_clock;
    atomic_store(&clock_looks, 0);
    sleeper_start(&sleeper, ctx);
    for (int ms = 0; ms < 50 && atomic_load(&clock_looks) < 1000; ms++) uv_sleep(1); /* time to do wrong */
    looks = atomic_load(&clock_looks);
    uvf_ctx_cancel(ctx);
    assert_int_equal(sleeper_join(&sleeper), UV_ECANCELED);
    uvf__clock_ns = uv_hrtime;
    assert_true(looks > 0);
    if (looks > 100) fail_msg("row %d: it looked at the clock %d times", (int)i, looks);
    assert_int_equal(atomic_load(&sleeper.looks), 1);
    uvf_ctx_release(ctx);
  }
}

/* --- who may block --- */

static void feed_when_it_waits(void *arg) {
  uvf_chan_t *chan = arg;
  uint64_t end_ns = uv_hrtime() + 5000 * MS_NS;
  while (chan_stats_of(chan).receivers == 0 && uv_hrtime() < end_ns) uv_sleep(0);
  (void)uvf_chan_try_send(chan, ITEM(7));
}

static struct {
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  void *item;
  int result;
} here;

static void receive_here(void *arg) {
  (void)arg;
  here.result = uvf_chan_recv_wait(here.ctx, here.chan, &here.item);
}

static void a_thread_that_has_only_set_a_loop_up_may_block(void **state) {
  fixture_t *f = *state; /* set up here; some other thread might run it */
  lane_t *lane = calloc(1, sizeof *lane);
  assert_non_null(lane);
  lane_start(lane);
  lane_turn(lane);
  here.chan = chan_of(1);
  for (int own = 0; own < 2; own++) {
    const char *rule;
    here.ctx = own ? f->root : lane->root;
    here.item = NULL;
    here.result = 1;
    lane_post(lane, feed_when_it_waits, here.chan);
    rule = test_expect_rule(receive_here, NULL);
    if (!test_rules_on()) receive_here(NULL);
    lane_wait(lane);
    assert_null(rule);
    assert_int_equal(here.result, 0);
    assert_int_equal(NUMBER(here.item), 7);
  }
  turn(&f->loop); /* from now on it runs one */
  here.ctx = lane->root;
  if (test_rules_on()) {
    const char *rule = test_expect_rule(receive_here, NULL);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_chan_recv_wait: ", strlen("uvf_chan_recv_wait: "));
  } else {
    receive_here(NULL);
    assert_int_equal(here.result, UV_EPERM);
  }
  assert_waiting(here.chan, 0, 0, 0);
  uvf_chan_release(here.chan);
  lane_stop(lane);
  free(lane);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(an_end_wakes_no_thread_that_is_blocked_under_another_context),
      unit(an_end_wakes_all_who_are_blocked_below_it_however_deep),
      unit(a_deadline_at_the_end_of_time_lets_the_thread_sleep),
      unit(a_thread_that_has_only_set_a_loop_up_may_block),
  };
  return test_run(tests);
}
