/* SPDX-License-Identifier: MIT
 *
 * Conservation: 2 loops and 6 more threads send and receive numbered items through channels that they share, by
 * request, by blocking, at once, by select, for-each and merge, while contexts end, requests are cancelled and channels
 * are closed and replaced, all at random from one seed. In the end every item was received once, or dropped once, or is
 * still its sender's; the channels' own figures agree; and all memory is back.
 *
 * test/soak/conserve runs it on many seeds. By hand: soak/channels --seed N --items N.
 */
#include "conserve_actor.h"
#include "conserve_thread.h"

static uint64_t given_seed; /* 0: none */
static size_t given_items;

/* --- for the watchdog --- */

static uint64_t moves_of(size_t i) { return atomic_load_explicit(&sources[i].moves, memory_order_relaxed); }

static double part_done(void) { return (double)atomic_load(&ledger.used) / (double)ledger.n; }

static void show_channels(void) {
  for (size_t i = 0; i < SLOTS; i++) {
    uvf_chan_stats_t stats;
    box_t *box = box_get(i);
    uvf_chan_stats(box->chan, &stats);
    fprintf(stderr, "channel %zu: capacity %zu, length %zu, %zu senders, %zu receivers, closed %d, users %d\n", i,
            uvf_chan_capacity(box->chan), stats.length, stats.senders, stats.receivers, uvf_chan_is_closed(box->chan),
            atomic_load(&box->users) - 1);
    box_put(box);
  }
}

static watchdog_t watchdog = {.n = CREWS + THREADS, .moves = moves_of, .part = part_done, .stuck = show_channels};

/* --- the end of the world, in one of four orders --- */

static void wind_down(source_t *s) {
  switch (below(&s->dice, 4)) {
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
  uint64_t merged = b->merged, hands;
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
  crews_start(&all);
  threads_start();
  watchdog_start(&watchdog);
  while (!all_used()) uv_sleep(1);
  wind_down(own);
  world_close();
  watchdog_stop(&watchdog);
  b = ledger_balance();
  for (int kind = 0; kind < 5; kind++)
    printf("%s%s %llu", kind > 0 ? ", " : "", kinds_of_end[kind], (unsigned long long)b.seen[kind]);
  printf("\nresult: seed %llu items %zu received %zu dropped %zu returned %zu doubled %zu lost %zu seconds %.2f\n",
         (unsigned long long)seed, ledger.n, b.of[RECEIVED], b.of[DROPPED], b.of[RETURNED],
         atomic_load(&ledger.doubled), b.of[OUT] + b.of[NEW], (double)(uv_hrtime() - begin) / 1e9);
  assert_int_equal(atomic_load(&complaints), 0);
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
