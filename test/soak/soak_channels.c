/* SPDX-License-Identifier: MIT
 *
 * Conservation: 2 loops and 6 more threads send and receive numbered items through channels that they share, by request,
 * by blocking, at once, by select, for-each and merge, while contexts end, requests are cancelled and channels are
 * closed and replaced, all at random from one seed. In the end every item was received once, or dropped once, or is
 * still its sender's; the channels' own figures agree; and all memory is back.
 *
 * test/soak/conserve runs it on many seeds. By hand: soak/channels --seed N --items N.
 */
#include "conserve_crew.h"
#include "conserve_thread.h"

#define STUCK_NS (UINT64_C(60000) * MS_NS)

static uint64_t given_seed; /* 0: none */
static size_t given_items;

/* --- the watchdog: shows how far it is, and what is stuck --- */

static struct {
  uv_thread_t thread;
  uv_mutex_t mutex; /* guards end */
  uv_cond_t cond;
  int end;
} watchdog;

static uint64_t all_moves(void) {
  uint64_t n = 0;
  for (size_t i = 0; i < SOURCES; i++) n += atomic_load_explicit(&sources[i].moves, memory_order_relaxed);
  return n;
}

static void show_progress(void) {
  double part = (double)atomic_load(&ledger.used) / (double)ledger.n;
  if (uv_guess_handle(2) == UV_TTY) fprintf(stderr, "\r%3.0f %% of %zu items ", part * 100, ledger.n);
}

static void show_stuck(void) {
  fprintf(stderr, "\nnothing has moved for a minute; %zu of %zu items were given out\n", atomic_load(&ledger.used),
          ledger.n);
  for (size_t i = 0; i < CREWS; i++) atomic_store(&crews[i].ask, 1);
  uv_sleep(2000);
  for (size_t i = 0; i < CREWS; i++) {
    if (atomic_load(&crews[i].ask)) fprintf(stderr, "loop %zu does not answer\n", i);
  }
  for (size_t i = 0; i < SLOTS; i++) {
    uvf_chan_stats_t stats;
    box_t *box = box_get(i);
    uvf_chan_stats(box->chan, &stats);
    fprintf(stderr, "channel %zu: capacity %zu, length %zu, %zu senders, %zu receivers, closed %d, users %d\n", i,
            uvf_chan_capacity(box->chan), stats.length, stats.senders, stats.receivers, uvf_chan_is_closed(box->chan),
            atomic_load(&box->users) - 1);
    box_put(box);
  }
  fflush(NULL);
  _Exit(1);
}

static void watch(void *arg) {
  uint64_t moves = 0, since = uv_hrtime();
  (void)arg;
  uv_mutex_lock(&watchdog.mutex);
  while (!watchdog.end) {
    uint64_t now;
    uv_cond_timedwait(&watchdog.cond, &watchdog.mutex, 500 * MS_NS);
    now = uv_hrtime();
    if (all_moves() != moves) since = now;
    moves = all_moves();
    show_progress();
    if (now - since > STUCK_NS) show_stuck();
  }
  uv_mutex_unlock(&watchdog.mutex);
}

static void watchdog_start(void) {
  memset(&watchdog, 0, sizeof watchdog);
  assert_int_equal(uv_mutex_init(&watchdog.mutex), 0);
  assert_int_equal(uv_cond_init(&watchdog.cond), 0);
  assert_int_equal(uv_thread_create(&watchdog.thread, watch, NULL), 0);
}

static void watchdog_stop(void) {
  uv_mutex_lock(&watchdog.mutex);
  watchdog.end = 1;
  uv_cond_signal(&watchdog.cond);
  uv_mutex_unlock(&watchdog.mutex);
  assert_int_equal(uv_thread_join(&watchdog.thread), 0);
  uv_cond_destroy(&watchdog.cond);
  uv_mutex_destroy(&watchdog.mutex);
  if (uv_guess_handle(2) == UV_TTY) fprintf(stderr, "\r%40s\r", "");
}

/* --- the end of the world, in one of four orders --- */

static void wind_down(source_t *s) {
  switch (below(s, 4)) {
    case 0: /* everything ends by itself, then the channels close, then the roots */
      threads_join();
      crews_rest();
      world_close_channels(s);
      crews_stop();
      break;
    case 1: /* the channels close under those that wait */
      threads_join();
      world_close_channels(s);
      crews_stop();
      break;
    case 2: /* the roots close, the channels are dropped as they are */
      threads_join();
      crews_stop();
      break;
    default: /* the roots close, and the loops go, while threads are still at it */
      crews_stop();
      uv_sleep(20);
      threads_join();
      world_close_channels(s);
      break;
  }
  crews_release();
}

/* --- the test --- */

static void check_figures(const balance_t *b) {
  uint64_t merged = 0, hands;
  for (size_t i = 0; i < CREWS; i++) merged += crews[i].merged;
  assert_int_equal(atomic_load(&figures.sent), b->sent + merged);
  assert_true(atomic_load(&figures.received) >= b->received + merged);
  hands = atomic_load(&figures.received) - b->received - merged; /* of merges that were ended early */
  assert_int_equal(atomic_load(&ledger.drops), atomic_load(&figures.dropped) + atomic_load(&figures.left) + hands);
  assert_int_equal(b->of[RECEIVED], b->received);
  assert_int_equal(b->of[DROPPED], atomic_load(&ledger.drops));
  printf("%zu by policy, %zu left in channels, %llu in the hand of merges; %llu merged; %zu channels closed\n",
         atomic_load(&figures.dropped), atomic_load(&figures.left), (unsigned long long)hands,
         (unsigned long long)merged, atomic_load(&figures.closed));
  if (ledger.n < 10000) return;
  /* that it was worth the while */
  assert_true(merged > 0 && atomic_load(&figures.dropped) > 0 && atomic_load(&figures.closed) > 0);
  assert_true(b->of[RECEIVED] > ledger.n / 2);
  assert_true(b->of[RETURNED] > 0);
  for (int kind = 0; kind < 5; kind++) assert_true(b->seen[kind] > 0);
}

static void every_item_is_received_once_or_dropped_once_or_still_its_senders(void **state) {
  uint64_t seed = given_seed != 0 ? given_seed : test_seed(), all = seed, begin = uv_hrtime();
  size_t blocks = test_alloc_live();
  source_t *own = &sources[SOURCES - 1];
  balance_t b;
  (void)state;
  if (given_seed != 0) printf("seed %llu\n", (unsigned long long)seed);
  fflush(stdout);
  ledger_open(given_items, &all);
  world_open(own);
  crews_start();
  threads_start();
  watchdog_start();
  while (!all_used()) uv_sleep(1);
  wind_down(own);
  world_close();
  watchdog_stop();
  b = ledger_balance();
  for (int kind = 0; kind < 5; kind++)
    printf("%s%s %llu", kind > 0 ? ", " : "", kinds_of_end[kind], (unsigned long long)b.seen[kind]);
  printf("\nresult: seed %llu items %zu received %zu dropped %zu returned %zu doubled %zu lost %zu seconds %.2f\n",
         (unsigned long long)seed, ledger.n, b.of[RECEIVED], b.of[DROPPED], b.of[RETURNED],
         atomic_load(&ledger.doubled), b.of[OUT] + b.of[NEW], (double)(uv_hrtime() - begin) / 1e9);
  assert_int_equal(atomic_load(&ledger.complaints), 0);
  assert_int_equal(b.of[NEW], 0);
  assert_int_equal(b.of[OUT], 0);
  check_figures(&b);
  ledger_close();
  assert_int_equal(test_alloc_live(), blocks);
}

/* --- the program --- */

static int usage(const char *program) {
  fprintf(stderr, "usage: %s [--seed N] [--items N]\n", program);
  return 2;
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_item_is_received_once_or_dropped_once_or_still_its_senders),
  };
  given_items = test_scaled(300000, 10);
  for (int i = 1; i < argc; i += 2) {
    unsigned long long value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;
    if (value == 0) return usage(argv[0]);
    if (strcmp(argv[i], "--seed") == 0) {
      given_seed = value;
    } else if (strcmp(argv[i], "--items") == 0) {
      given_items = (size_t)value;
    } else {
      return usage(argv[0]);
    }
  }
  return test_run(tests);
}
