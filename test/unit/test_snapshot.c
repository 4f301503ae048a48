/* SPDX-License-Identifier: MIT
 *
 * The snapshot: which value a reader gets, when each is freed and how often, by one thread and by many; and what no
 * program does in its lifetime: so many gets that their count is folded.
 */
#include <stdatomic.h>

#include "unit/probe.h"

#define ALIVE UINT64_C(0xa11fea11fea11fe1)
#define DEAD UINT64_C(0xdeaddeaddeaddead)
#define COUNT_BITS 48
#define FOLD (UINT64_C(1) << 32)

typedef struct config_s {
  uint64_t magic;
  uint64_t number;
  uint64_t check; /* ~number: a value is seen whole */
} config_t;

static atomic_size_t configs_freed;
static atomic_size_t configs_broken;
static journal_t order; /* of the frees, in the tests with one thread */

static config_t *config_of(uint64_t number) {
  config_t *config = malloc(sizeof *config);
  if (config == NULL) abort();
  config->magic = ALIVE;
  config->number = number;
  config->check = ~number;
  return config;
}

static int is_whole(const config_t *config) { return config->magic == ALIVE && config->check == ~config->number; }

static void config_free(void *value) {
  config_t *config = value;
  if (!is_whole(config)) atomic_fetch_add(&configs_broken, 1);
  config->magic = DEAD;
  atomic_fetch_add(&configs_freed, 1);
  free(config);
}

static void config_free_in_order(void *value) {
  journal_add(&order, (int)((config_t *)value)->number);
  config_free(value);
}

static int setup(void **state) {
  atomic_store(&configs_freed, 0);
  atomic_store(&configs_broken, 0);
  order.n = 0;
  *state = (void *)(uintptr_t)test_alloc_live();
  return 0;
}

static int teardown(void **state) {
  assert_int_equal(atomic_load(&configs_broken), 0);
  assert_int_equal(test_alloc_live(), (uintptr_t)*state);
  return 0;
}

static size_t freed(void) { return atomic_load(&configs_freed); }

static void publish(uvf_snapshot_t *snapshot, int number) {
  assert_int_equal(uvf_snapshot_publish(snapshot, config_of((uint64_t)number), config_free_in_order), 0);
}

static void begin(uvf_snapshot_t *snapshot) {
  memset(snapshot, 0xdb, sizeof *snapshot);
  assert_int_equal(uvf_snapshot_init(snapshot, config_of(0), config_free_in_order), 0);
}

static void assert_gets(uvf_snapshot_t *snapshot, uvf_snapshot_ref_t *ref, uint64_t number) {
  config_t *config = uvf_snapshot_get(snapshot, ref);
  assert_ptr_equal(config, ref->value);
  assert_true(is_whole(config));
  assert_int_equal(config->number, number);
}

/* --- one thread --- */

static void a_reader_gets_what_was_published_last(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t ref;
  (void)state;
  begin(&snapshot);
  for (int i = 0; i < 1000; i++) {
    assert_gets(&snapshot, &ref, (uint64_t)i);
    uvf_snapshot_put(&snapshot, &ref);
    publish(&snapshot, i + 1);
    assert_int_equal(freed(), i + 1); /* nobody had it: at once, and not before */
  }
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  assert_int_equal(freed(), 1001);
}

static void a_value_stays_as_long_as_a_reader_holds_it_and_goes_with_the_last(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t refs[3][2];
  (void)state;
  begin(&snapshot);
  for (int i = 0; i < 3; i++) {
    for (int k = 0; k < 2; k++) assert_gets(&snapshot, &refs[i][k], (uint64_t)i);
    publish(&snapshot, i + 1);
  }
  assert_int_equal(freed(), 0);
  for (int i = 0; i < 3; i++) assert_true(is_whole(refs[i][0].value));
  uvf_snapshot_put(&snapshot, &refs[1][0]);
  uvf_snapshot_put(&snapshot, &refs[2][0]);
  assert_int_equal(freed(), 0);
  uvf_snapshot_put(&snapshot, &refs[1][1]);
  assert_journal(&order, 1);
  assert_true(is_whole(refs[0][0].value));
  uvf_snapshot_put(&snapshot, &refs[0][0]);
  uvf_snapshot_put(&snapshot, &refs[0][1]);
  assert_journal(&order, 1, 0);
  uvf_snapshot_put(&snapshot, &refs[2][1]);
  assert_journal(&order, 1, 0, 2);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  assert_journal(&order, 1, 0, 2, 3);
}

static void puts_before_and_after_the_replacement_count_alike(void **state) {
  (void)state;
  for (int before = 0; before <= 5; before++) {
    uvf_snapshot_t snapshot;
    uvf_snapshot_ref_t refs[5];
    order.n = 0;
    begin(&snapshot);
    for (int i = 0; i < 5; i++) assert_gets(&snapshot, &refs[i], 0);
    for (int i = 0; i < before; i++) uvf_snapshot_put(&snapshot, &refs[i]);
    publish(&snapshot, 1);
    assert_int_equal(order.n, before == 5);
    for (int i = before; i < 5; i++) {
      assert_int_equal(order.n, 0);
      uvf_snapshot_put(&snapshot, &refs[i]);
    }
    assert_journal(&order, 0);
    assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  }
}

static void null_is_a_value_and_needs_no_free_function(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t ref;
  int number = 0;
  (void)state;
  assert_int_equal(uvf_snapshot_init(&snapshot, NULL, NULL), 0);
  assert_null(uvf_snapshot_get(&snapshot, &ref));
  assert_int_equal(uvf_snapshot_publish(&snapshot, &number, NULL), 0);
  assert_null(ref.value);
  uvf_snapshot_put(&snapshot, &ref);
  assert_ptr_equal(uvf_snapshot_get(&snapshot, &ref), &number);
  uvf_snapshot_put(&snapshot, &ref);
  assert_int_equal(uvf_snapshot_publish(&snapshot, NULL, NULL), 0);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  assert_int_equal(uvf_snapshot_init(NULL, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_snapshot_publish(NULL, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_snapshot_destroy(NULL), UV_EINVAL);
}

static uvf_snapshot_t *to_publish_in;

/* No lock is held: it may use the snapshot. */
static void free_and_publish(void *value) {
  uvf_snapshot_t *snapshot = to_publish_in;
  uvf_snapshot_ref_t ref;
  config_free(value);
  if (snapshot == NULL) return;
  to_publish_in = NULL;
  if (uvf_snapshot_get(snapshot, &ref) == NULL) abort();
  uvf_snapshot_put(snapshot, &ref);
  if (uvf_snapshot_publish(snapshot, config_of(9), config_free) != 0) abort();
}

static void a_free_function_may_read_and_publish(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t ref;
  (void)state;
  assert_int_equal(uvf_snapshot_init(&snapshot, config_of(0), free_and_publish), 0);
  to_publish_in = &snapshot;
  assert_int_equal(uvf_snapshot_publish(&snapshot, config_of(1), free_and_publish), 0);
  assert_int_equal(freed(), 2);
  assert_gets(&snapshot, &ref, 9);
  uvf_snapshot_put(&snapshot, &ref);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  assert_int_equal(freed(), 3);
}

/* --- indices --- */

static void an_index_is_used_again_over_a_million_publishes(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t refs[100];
  size_t n = test_scaled(1000000, 20), live;
  (void)state;
  assert_int_equal(uvf_snapshot_init(&snapshot, config_of(0), config_free), 0);
  live = test_alloc_live();
  for (size_t i = 0; i < n; i++) {
    size_t k = i % ARRAY_SIZE(refs);
    if (i >= ARRAY_SIZE(refs)) uvf_snapshot_put(&snapshot, &refs[k]);
    assert_gets(&snapshot, &refs[k], i);
    assert_int_equal(uvf_snapshot_publish(&snapshot, config_of(i + 1), config_free), 0);
  }
  assert_int_equal(test_alloc_live(), live); /* one chunk held them all */
  assert_int_equal(freed(), n - ARRAY_SIZE(refs));
  for (size_t k = 0; k < ARRAY_SIZE(refs); k++) uvf_snapshot_put(&snapshot, &refs[k]);
  assert_int_equal(freed(), n);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
}

static void at_most_65535_old_values_can_have_readers(void **state) {
  enum { N = 65535 };
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t *refs = calloc(N, sizeof *refs);
  uvf_snapshot_ref_t ref;
  config_t *config = config_of(N + 1);
  (void)state;
  assert_non_null(refs);
  assert_int_equal(uvf_snapshot_init(&snapshot, config_of(0), config_free), 0);
  for (int i = 0; i < N; i++) {
    assert_gets(&snapshot, &refs[i], (uint64_t)i);
    assert_int_equal(uvf_snapshot_publish(&snapshot, config_of((uint64_t)i + 1), config_free), 0);
  }
  assert_int_equal(uvf_snapshot_publish(&snapshot, config, config_free), UV_EAGAIN);
  assert_gets(&snapshot, &ref, N); /* nothing happened */
  uvf_snapshot_put(&snapshot, &ref);
  assert_int_equal(freed(), 0);
  for (int i = 0; i < N; i++) assert_int_equal(((config_t *)refs[i].value)->number, i);
  uvf_snapshot_put(&snapshot, &refs[4711]);
  assert_int_equal(uvf_snapshot_publish(&snapshot, config, config_free), 0); /* by the place that came free */
  assert_gets(&snapshot, &refs[4711], N + 1);
  for (int i = 0; i < N; i++) uvf_snapshot_put(&snapshot, &refs[i]);
  assert_int_equal(freed(), N + 1);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  free(refs);
}

static void without_memory_nothing_happens(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t refs[256];
  config_t *config = config_of(256);
  size_t live = (uintptr_t)*state, n;
  for (n = 1;; n++) {
    int rc;
    test_alloc_fail_at(n);
    rc = uvf_snapshot_init(&snapshot, config, config_free);
    if (!test_alloc_failed()) {
      assert_int_equal(rc, 0);
      break;
    }
    assert_int_equal(rc, UV_ENOMEM);
    assert_int_equal(test_alloc_live(), live);
  }
  test_alloc_fail_at(0);
  assert_int_equal(n, 3);
  assert_int_equal(freed(), 0); /* the value stayed the caller's */
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  begin(&snapshot);
  for (int i = 0; i < 255; i++) {
    assert_gets(&snapshot, &refs[i], (uint64_t)i);
    publish(&snapshot, i + 1);
  }
  config = config_of(256);
  test_alloc_fail_at(1);
  assert_int_equal(uvf_snapshot_publish(&snapshot, config, config_free), UV_ENOMEM);
  assert_true(test_alloc_failed());
  test_alloc_fail_at(0);
  assert_gets(&snapshot, &refs[255], 255);
  assert_int_equal(uvf_snapshot_publish(&snapshot, config, config_free), 0);
  for (int i = 0; i < 256; i++) uvf_snapshot_put(&snapshot, &refs[i]);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
}

/* --- the fold --- */

/* As if n gets, and their puts, had happened since the last publish. */
static void pretend(uvf_snapshot_t *snapshot, const uvf_snapshot_ref_t *ref, uint64_t n) {
  atomic_fetch_add((_Atomic(uint64_t) *)&snapshot->uvf__word, n);
  atomic_fetch_sub((_Atomic(uint64_t) *)ref->uvf__version, n);
}

static uint64_t count_of(const uvf_snapshot_t *snapshot) {
  return snapshot->uvf__word & ((UINT64_C(1) << COUNT_BITS) - 1);
}

static void a_count_that_grows_large_is_folded_and_nothing_is_lost_by_it(void **state) {
  static const uint64_t pretended[] = {
      1, FOLD - 3, FOLD - 2, FOLD - 1, FOLD, 3 * FOLD, (UINT64_C(1) << COUNT_BITS) - 9};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(pretended); i++) {
    for (int puts = 0; puts <= 3; puts++) { /* of three, before the replacement */
      uvf_snapshot_t snapshot;
      uvf_snapshot_ref_t refs[3];
      order.n = 0;
      begin(&snapshot);
      publish(&snapshot, 1); /* the index is not 0 */
      assert_gets(&snapshot, &refs[0], 1);
      pretend(&snapshot, &refs[0], pretended[i]);
      assert_gets(&snapshot, &refs[1], 1);
      assert_gets(&snapshot, &refs[2], 1);
      assert_true(count_of(&snapshot) < FOLD + 2);
      assert_int_equal(snapshot.uvf__word >> COUNT_BITS, 1); /* it has not run over into the index */
      for (int k = 0; k < puts; k++) uvf_snapshot_put(&snapshot, &refs[k]);
      publish(&snapshot, 2);
      assert_int_equal(order.n, 1 + (puts == 3));
      for (int k = puts; k < 3; k++) {
        assert_int_equal(order.n, 1);
        uvf_snapshot_put(&snapshot, &refs[k]);
      }
      assert_journal(&order, 0, 1);
      assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
    }
  }
}

static void a_get_that_cannot_fold_leaves_it_to_the_next(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t refs[3];
  (void)state;
  begin(&snapshot);
  assert_gets(&snapshot, &refs[0], 0);
  pretend(&snapshot, &refs[0], FOLD);
  snapshot.uvf__lock = 1; /* a publisher is at it */
  assert_gets(&snapshot, &refs[1], 0);
  assert_true(count_of(&snapshot) == FOLD + 2);
  snapshot.uvf__lock = 0;
  assert_gets(&snapshot, &refs[2], 0);
  assert_true(count_of(&snapshot) == 0);
  for (int i = 0; i < 3; i++) uvf_snapshot_put(&snapshot, &refs[i]);
  assert_int_equal(freed(), 0);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  assert_int_equal(freed(), 1);
}

/* --- misuse --- */

typedef struct misuse_s {
  uvf_snapshot_t *snapshot;
  uvf_snapshot_ref_t *ref;
  int rc;
} misuse_t;

static void misuse_destroy(void *arg) { ((misuse_t *)arg)->rc = uvf_snapshot_destroy(((misuse_t *)arg)->snapshot); }
static void misuse_put(void *arg) { uvf_snapshot_put(((misuse_t *)arg)->snapshot, ((misuse_t *)arg)->ref); }
static void misuse_get(void *arg) { uvf_snapshot_get(((misuse_t *)arg)->snapshot, ((misuse_t *)arg)->ref); }

static void assert_misuse(void (*fn)(void *), misuse_t *m, const char *function) {
  const char *rule = test_expect_rule(fn, m);
  m->rc = 0;
  if (!test_rules_on()) {
    fn(m);
    return;
  }
  assert_non_null(rule);
  assert_memory_equal(rule, function, strlen(function));
}

static void misuse_is_named_and_changes_nothing(void **state) {
  uvf_snapshot_t snapshot;
  uvf_snapshot_ref_t refs[2];
  misuse_t m = {&snapshot, NULL, 0};
  misuse_t none = {NULL, &refs[0], 0};
  (void)state;
  begin(&snapshot);
  assert_gets(&snapshot, &refs[0], 0);
  assert_misuse(misuse_destroy, &m, "uvf_snapshot_destroy: "); /* a reader of the current one */
  if (!test_rules_on()) assert_int_equal(m.rc, UV_EBUSY);
  publish(&snapshot, 1);
  assert_misuse(misuse_destroy, &m, "uvf_snapshot_destroy: "); /* of an old one */
  if (!test_rules_on()) assert_int_equal(m.rc, UV_EBUSY);
  assert_int_equal(freed(), 0);
  assert_misuse(misuse_get, &m, "uvf_snapshot_get: ");
  assert_misuse(misuse_put, &m, "uvf_snapshot_put: ");
  assert_misuse(misuse_get, &none, "uvf_snapshot_get: ");
  assert_misuse(misuse_put, &none, "uvf_snapshot_put: ");
  uvf_snapshot_put(&snapshot, &refs[0]);
  assert_int_equal(freed(), 1);
  m.ref = &refs[0];
  assert_misuse(misuse_put, &m, "uvf_snapshot_put: "); /* twice */
  assert_int_equal(freed(), 1);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
}

/* --- threads --- */

enum { READERS = 4, HELD = 8 };

typedef struct reader_s {
  uvf_snapshot_t *snapshot;
  const atomic_int *stop;
  uint64_t seed;
  uint64_t reads, broken, backwards;
  uv_thread_t thread;
} reader_t;

/* Holds up to HELD of them for a while, and looks at each before it lets it go. */
static void read_on(void *arg) {
  reader_t *reader = arg;
  uvf_snapshot_ref_t refs[HELD];
  int held[HELD] = {0};
  uint64_t last = 0;
  while (!atomic_load(reader->stop)) {
    size_t k = test_rand(&reader->seed) % HELD;
    const config_t *config;
    if (held[k]) {
      reader->broken += !is_whole(refs[k].value);
      uvf_snapshot_put(reader->snapshot, &refs[k]);
    }
    config = uvf_snapshot_get(reader->snapshot, &refs[k]);
    held[k] = 1;
    reader->reads++;
    reader->broken += !is_whole(config);
    reader->backwards += config->number < last; /* newer ones follow older ones */
    last = config->number;
  }
  for (int k = 0; k < HELD; k++) {
    if (held[k]) uvf_snapshot_put(reader->snapshot, &refs[k]);
  }
}

typedef struct publisher_s {
  uvf_snapshot_t *snapshot;
  size_t n;
  _Atomic(uint64_t) *number;
  int wrong;
  uv_thread_t thread;
} publisher_t;

static void publish_on(void *arg) {
  publisher_t *publisher = arg;
  for (size_t i = 0; i < publisher->n; i++) {
    config_t *config = config_of(atomic_fetch_add(publisher->number, 1) + 1);
    if (uvf_snapshot_publish(publisher->snapshot, config, config_free) != 0) publisher->wrong++;
  }
}

/* Each value is seen whole while it is held and freed once, and a reader never sees an older one after a newer one (of
 * one publisher: several overtake each other between numbering and publishing). */
static void readers_and_publishers(size_t publishers, size_t n) {
  uvf_snapshot_t snapshot;
  reader_t readers[READERS];
  publisher_t pubs[3];
  _Atomic(uint64_t) number;
  atomic_int stop;
  uint64_t seed = test_seed();
  atomic_init(&number, 0);
  atomic_init(&stop, 0);
  assert_int_equal(uvf_snapshot_init(&snapshot, config_of(0), config_free), 0);
  for (int i = 0; i < READERS; i++) {
    memset(&readers[i], 0, sizeof readers[i]);
    readers[i].snapshot = &snapshot;
    readers[i].stop = &stop;
    readers[i].seed = test_rand(&seed);
    assert_int_equal(uv_thread_create(&readers[i].thread, read_on, &readers[i]), 0);
  }
  for (size_t i = 0; i < publishers; i++) {
    pubs[i] = (publisher_t){.snapshot = &snapshot, .n = n, .number = &number};
    assert_int_equal(uv_thread_create(&pubs[i].thread, publish_on, &pubs[i]), 0);
  }
  for (size_t i = 0; i < publishers; i++) {
    assert_int_equal(uv_thread_join(&pubs[i].thread), 0);
    assert_int_equal(pubs[i].wrong, 0);
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < READERS; i++) {
    assert_int_equal(uv_thread_join(&readers[i].thread), 0);
    assert_int_equal(readers[i].broken, 0);
    if (publishers == 1) assert_int_equal(readers[i].backwards, 0);
  }
  assert_int_equal(freed(), publishers * n); /* all but the current one */
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
  assert_int_equal(freed(), publishers * n + 1);
}

static void four_readers_and_a_publisher_see_whole_values_and_each_is_freed_once(void **state) {
  (void)state;
  readers_and_publishers(1, test_scaled(200000, 20));
}

static void four_readers_and_three_publishers_see_whole_values_and_each_is_freed_once(void **state) {
  (void)state;
  readers_and_publishers(3, test_scaled(60000, 20));
}

typedef struct folder_s {
  uvf_snapshot_t *snapshot;
  size_t n;
  uv_thread_t thread;
} folder_t;

static void fold_on(void *arg) {
  folder_t *folder = arg;
  for (size_t i = 0; i < folder->n; i++) {
    uvf_snapshot_ref_t ref;
    if (uvf_snapshot_get(folder->snapshot, &ref) == NULL) abort();
    uvf_snapshot_put(folder->snapshot, &ref);
  }
}

/* The version is held, so the pretended gets are its own, whoever folds them. */
static void folds_race_with_gets_and_with_each_other(void **state) {
  uvf_snapshot_t snapshot;
  folder_t folders[READERS];
  uvf_snapshot_ref_t ref;
  size_t n = test_scaled(200000, 20);
  (void)state;
  begin(&snapshot);
  assert_gets(&snapshot, &ref, 0);
  for (int i = 0; i < READERS; i++) {
    folders[i] = (folder_t){.snapshot = &snapshot, .n = n};
    assert_int_equal(uv_thread_create(&folders[i].thread, fold_on, &folders[i]), 0);
  }
  for (int i = 0; i < 2000; i++) {
    pretend(&snapshot, &ref, FOLD);
    for (int k = 0; k < 50; k++) fold_on(&(folder_t){.snapshot = &snapshot, .n = 1});
  }
  for (int i = 0; i < READERS; i++) assert_int_equal(uv_thread_join(&folders[i].thread), 0);
  fold_on(&(folder_t){.snapshot = &snapshot, .n = 1});
  assert_true(count_of(&snapshot) < FOLD);
  publish(&snapshot, 1);
  assert_int_equal(freed(), 0); /* ours is left, and it alone */
  uvf_snapshot_put(&snapshot, &ref);
  assert_int_equal(freed(), 1);
  assert_int_equal(uvf_snapshot_destroy(&snapshot), 0);
}

#define plain(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      plain(a_reader_gets_what_was_published_last),
      plain(a_value_stays_as_long_as_a_reader_holds_it_and_goes_with_the_last),
      plain(puts_before_and_after_the_replacement_count_alike),
      plain(null_is_a_value_and_needs_no_free_function),
      plain(a_free_function_may_read_and_publish),
      plain(an_index_is_used_again_over_a_million_publishes),
      plain(at_most_65535_old_values_can_have_readers),
      plain(without_memory_nothing_happens),
      plain(a_count_that_grows_large_is_folded_and_nothing_is_lost_by_it),
      plain(a_get_that_cannot_fold_leaves_it_to_the_next),
      plain(misuse_is_named_and_changes_nothing),
      plain(four_readers_and_a_publisher_see_whole_values_and_each_is_freed_once),
      plain(four_readers_and_three_publishers_see_whole_values_and_each_is_freed_once),
      plain(folds_race_with_gets_and_with_each_other),
  };
  return test_run(tests);
}
