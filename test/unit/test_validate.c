/* SPDX-License-Identifier: MIT
 *
 * Every defect of a graph with its message, which of two is told, and messages cut to size.
 */
#include "unit/graph_probe.h"

/* Checks what is wrong with p, and frees it. */
static void assert_defect(uvf_pipeline_t *p, const char *wanted) {
  char message[400];
  memset(message, 0x7e, sizeof message);
  assert_int_equal(uvf_pipeline_validate(p, message, sizeof message), UV_EINVAL);
  assert_string_equal(message, wanted);
  assert_int_equal(uvf_pipeline_validate(p, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_validate(p, NULL, 10), UV_EINVAL);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void assert_valid(const uvf_pipeline_t *p) {
  char message[400];
  memset(message, 0x7e, sizeof message);
  assert_int_equal(uvf_pipeline_validate(p, message, sizeof message), 0);
  assert_string_equal(message, "");
  assert_int_equal(uvf_pipeline_validate(p, NULL, 0), 0);
}

/* source -> work -> sink, all in order; what a test adds or breaks is what is wrong. */
typedef struct good_s {
  uvf_pipeline_t *p;
  uvf_stage_t *source, *work, *sink;
} good_t;

static good_t good(void) {
  good_t g;
  g.p = pipeline_of("p");
  g.source = source_of(g.p, "source");
  g.work = work_of(g.p, "work");
  g.sink = stage_of(g.p, UVF_STAGE_LOOP, "sink");
  chain(g.source, g.work);
  chain(g.work, g.sink);
  return g;
}

/* --- graphs that can run --- */

static void a_chain_can_run(void **state) {
  good_t g = good();
  (void)state;
  assert_valid(g.p);
  assert_int_equal(uvf_pipeline_destroy(g.p), 0);
}

static void a_source_that_emits_nothing_can_run(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  (void)state;
  (void)source_of(p, "alone");
  assert_valid(p);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void two_sources_two_sinks_branches_and_two_links_between_the_same_stages_can_run(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = source_of(p, "a"), *b = source_of(p, "b"), *c = ports_of(p, "c", 2, 3), *d = ports_of(p, "d", 2, 0);
  uvf_stage_t *e = work_of(p, "e");
  (void)state;
  link_to(a, 0, c, 0);
  link_to(b, 0, c, 1);
  link_to(b, 1, c, 1);
  link_to(c, 0, d, 1);
  link_to(c, 1, d, 0);
  link_to(c, 2, e, 0);
  assert_valid(p);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

/* --- defects --- */

static void no_pipeline(void **state) {
  char message[40] = "x";
  (void)state;
  assert_int_equal(uvf_pipeline_validate(NULL, message, sizeof message), UV_EINVAL);
  assert_string_equal(message, "there is no pipeline");
  assert_int_equal(uvf_pipeline_validate(NULL, NULL, 0), UV_EINVAL);
}

static void no_stage(void **state) {
  (void)state;
  assert_defect(pipeline_of("empty"), "pipeline \"empty\" has no stage");
}

static void two_names_alike(void **state) {
  good_t g = good();
  (void)state;
  chain(g.sink, work_of(g.p, "work"));
  assert_defect(g.p, "two stages are called \"work\"");
}

static void no_source(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = ports_of(p, "a", 0, UVF_PORTS_DEFAULT);
  (void)state;
  chain(a, work_of(p, "b"));
  assert_defect(p, "pipeline \"p\" has no source");
}

static void zero_workers(void **state) {
  static const int kinds[] = {UVF_STAGE_SOURCE, UVF_STAGE_WORK, UVF_STAGE_LOOP, UVF_STAGE_ASYNC};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    good_t g = good();
    uvf_stage_options_t o = options_of(kinds[i], "lazy");
    uvf_stage_t *s;
    o.workers = 0;
    s = add(g.p, &o);
    if (kinds[i] != UVF_STAGE_SOURCE) chain(g.source, s);
    assert_defect(g.p, "stage \"lazy\" has no workers");
  }
}

static void zero_capacity(void **state) {
  good_t g = good();
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, "full");
  (void)state;
  o.capacity = 0;
  chain(g.source, add(g.p, &o));
  assert_defect(g.p, "stage \"full\" has no capacity");
}

static void a_retry_without_number(void **state) {
  good_t g = good();
  uvf_stage_options_t o = options_of(UVF_STAGE_ASYNC, "fetch");
  (void)state;
  o.on_error = UVF_ON_ERROR_RETRY;
  o.retries = 1;
  chain(g.source, add(g.p, &o));
  assert_valid(g.p);
  o.name = "fetch again";
  o.retries = 0;
  chain(g.source, add(g.p, &o));
  assert_defect(g.p, "stage \"fetch again\" retries on errors, but its number of retries is 0");
}

static void a_source_with_inputs(void **state) {
  good_t g = good();
  uvf_stage_options_t o = options_of(UVF_STAGE_SOURCE, "well");
  (void)state;
  o.inputs = 2;
  (void)add(g.p, &o);
  assert_defect(g.p, "stage \"well\" is a source, but its number of inputs is 2");
}

static void an_output_out_of_range(void **state) {
  good_t g = good();
  uvf_stage_t *s = ports_of(g.p, "split", 1, 2);
  (void)state;
  chain(g.source, s);
  link_to(s, 2, g.sink, 0);
  assert_defect(g.p, "output 2 of stage \"split\" is out of range: its number of outputs is 2");
}

static void an_input_out_of_range(void **state) {
  good_t g = good();
  (void)state;
  link_to(g.source, 1, g.sink, 1);
  assert_defect(g.p, "input 1 of stage \"sink\" is out of range: its number of inputs is 1 (output 1 of \"source\")");
}

static void a_source_that_is_fed(void **state) {
  good_t g = good();
  (void)state;
  chain(g.sink, source_of(g.p, "second"));
  assert_defect(g.p, "input 0 of stage \"second\" is out of range: its number of inputs is 0 (output 0 of \"sink\")");
}

static void an_output_that_is_not_linked(void **state) {
  good_t g = good();
  (void)state;
  chain(g.source, ports_of(g.p, "end", 1, 1));
  assert_defect(g.p, "output 0 of stage \"end\" is not linked");
  g = good();
  link_to(g.work, 2, g.sink, 0); /* 0 is, 1 is not */
  assert_defect(g.p, "output 1 of stage \"work\" is not linked");
  g = good();
  chain(g.source, ports_of(g.p, "wide", 1, UINT_MAX - 1));
  assert_defect(g.p, "output 0 of stage \"wide\" is not linked");
}

static void an_input_that_is_not_linked(void **state) {
  good_t g = good();
  uvf_stage_t *join;
  (void)state;
  (void)work_of(g.p, "apart");
  assert_defect(g.p, "input 0 of stage \"apart\" is not linked");
  g = good();
  join = ports_of(g.p, "join", UINT_MAX - 1, 0);
  link_to(g.source, 1, join, 0);
  link_to(g.work, 1, join, 2);
  assert_defect(g.p, "input 1 of stage \"join\" is not linked");
}

static void a_stage_that_nothing_reaches(void **state) {
  good_t g = good();
  (void)state;
  (void)ports_of(g.p, "island", 0, 0);
  assert_defect(g.p, "no source reaches stage \"island\"");
}

static void a_circle_that_nothing_reaches(void **state) {
  good_t g = good();
  uvf_stage_t *a = work_of(g.p, "a"), *b = work_of(g.p, "b");
  (void)state;
  chain(a, b);
  chain(b, a);
  assert_defect(g.p, "no source reaches stage \"a\"");
}

static void no_sink(void **state) {
  uvf_pipeline_t *p = pipeline_of("round");
  uvf_stage_t *a = source_of(p, "a"), *b = work_of(p, "b");
  (void)state;
  chain(a, b);
  chain(b, b);
  assert_defect(p, "pipeline \"round\" has no sink: every stage has outputs");
}

static void a_cycle(void **state) {
  good_t g = good();
  (void)state;
  link_to(g.work, 1, g.work, 0);
  assert_defect(g.p, "there is a cycle: output 1 of stage \"work\", back to stage \"work\"");
}

static void a_cycle_is_told_from_the_stage_on_it_that_was_added_first(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *tail = work_of(p, "tail"), *a = source_of(p, "a"), *d = work_of(p, "d"), *b = work_of(p, "b");
  uvf_stage_t *c = work_of(p, "c");
  (void)state;
  chain(a, b);
  chain(b, c);
  chain(c, tail); /* behind the cycle, not on it */
  chain(c, d);
  chain(d, b);
  assert_defect(p, "there is a cycle: output 0 of stage \"d\", output 0 of stage \"b\", output 1 of stage \"c\", "
                   "back to stage \"d\"");
}

/* --- which is told --- */

/* Adds defects from the last check to the first: each newcomer is what is told from then on. */
static void of_several_defects_the_most_basic_one_is_told(void **state) {
  char message[200];
  good_t g = good();
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, "broken");
  uvf_stage_t *s;
  (void)state;
#define assert_told(text)                                                                                              \
  (assert_int_equal(uvf_pipeline_validate(g.p, message, sizeof message), UV_EINVAL), assert_string_equal(message, text))
  link_to(g.work, 1, g.work, 0);
  assert_told("there is a cycle: output 1 of stage \"work\", back to stage \"work\"");
  chain(g.sink, g.work);
  assert_told("pipeline \"p\" has no sink: every stage has outputs");
  s = ports_of(g.p, "island", 0, UVF_PORTS_DEFAULT);
  chain(s, g.work);
  assert_told("no source reaches stage \"island\"");
  link_to(g.source, 2, g.work, 0);
  assert_told("output 1 of stage \"source\" is not linked");
  link_to(g.source, 3, g.work, 1);
  assert_told("input 1 of stage \"work\" is out of range: its number of inputs is 1 (output 3 of \"source\")");
  o.on_error = UVF_ON_ERROR_RETRY;
  (void)add(g.p, &o);
  assert_told("stage \"broken\" retries on errors, but its number of retries is 0");
  g.p->stages->o.capacity = 0; /* the first stage that is wrong */
  assert_told("stage \"source\" has no capacity");
  g.p->stages->o.workers = 0;
  assert_told("stage \"source\" has no workers");
  g.p->stages->o.kind = UVF_STAGE_WORK;
  assert_told("pipeline \"p\" has no source");
  (void)work_of(g.p, "sink");
  assert_told("two stages are called \"sink\"");
#undef assert_told
  assert_int_equal(uvf_pipeline_destroy(g.p), 0);
}

/* --- random --- */

static void a_link_back_makes_a_cycle_of_any_graph_and_the_message_follows_real_links(void **state) {
  uint64_t seed = test_seed();
  int cycles = 0;
  (void)state;
  for (int round = 0; round < 300; round++) {
    size_t n = 3 + test_rand(&seed) % 20;
    uvf_pipeline_t *p = random_pipeline(&seed, n, 3 * n);
    uvf_stage_t *a = p->stages, *b = p->stages;
    char message[4000];
    const char *at;
    unsigned int next = 0;                                     /* the port that leads from a to the stage named next */
    for (uvf_stage_t *s = p->stages; s != NULL; s = s->next) { /* mends what is not the point */
      if (s->o.kind == UVF_STAGE_SOURCE) continue;
      for (unsigned int i = 0; i < s->o.inputs; i++) link_to(p->stages, p->stages->nouts, s, i);
    }
    assert_int_equal(uvf_pipeline_validate(p, message, sizeof message), 0);
    a = uvf_pipeline_stage(p, 1 + test_rand(&seed) % (n - 1));
    b = uvf_pipeline_stage(p, 1 + test_rand(&seed) % (n - 1));
    if (b->o.kind != UVF_STAGE_SOURCE) chain(a, b);
    if (uvf_pipeline_validate(p, message, sizeof message) == 0 || strncmp(message, "there is", 8) != 0) {
      assert_int_equal(uvf_pipeline_destroy(p), 0);
      continue;
    }
    cycles++;
    at = strchr(message, ':') + 2;
    a = NULL;
    for (;;) { /* each stage that is named is fed by the one before */
      unsigned int port = 0;
      size_t index = 0;
      int used = 0, last = sscanf(at, "output %u of stage \"stage %zu\", %n", &port, &index, &used) != 2;
      if (last) assert_int_equal(sscanf(at, "back to stage \"stage %zu\"%n", &index, &used), 1);
      b = uvf_pipeline_stage(p, index);
      if (a != NULL) assert_ptr_equal(a->outs[next].to, b);
      at += used;
      if (last) break;
      a = b;
      next = port;
    }
    assert_string_equal(at, "");
    assert_int_equal(uvf_pipeline_destroy(p), 0);
  }
  assert_true(cycles > 20);
}

/* --- messages --- */

static void a_message_is_cut_to_size_between_characters(void **state) {
  static const char name[] = "a\xcc\x81 \xe6\xae\xb5 \xf0\x9f\x8e\x89"; /* 2, 3 and 4 bytes */
  good_t g = good();
  char full[200], message[220];
  size_t len;
  (void)state;
  (void)work_of(g.p, name);
  (void)work_of(g.p, name);
  assert_int_equal(uvf_pipeline_validate(g.p, full, sizeof full), UV_EINVAL);
  assert_string_equal(full, "two stages are called \"a\xcc\x81 \xe6\xae\xb5 \xf0\x9f\x8e\x89\"");
  len = strlen(full);
  for (size_t size = 0; size < len + 5; size++) {
    size_t kept = size == 0 ? 0 : size > len ? len : size - 1;
    memset(message, 0x7e, sizeof message);
    assert_int_equal(uvf_pipeline_validate(g.p, message, size), UV_EINVAL);
    for (size_t i = size; i < sizeof message; i++) assert_int_equal(message[i], 0x7e);
    if (size == 0) continue;
    while (kept < len && ((unsigned char)full[kept] & 0xc0) == 0x80) kept--;
    assert_int_equal(strlen(message), kept);
    assert_memory_equal(message, full, kept);
  }
  assert_int_equal(uvf_pipeline_destroy(g.p), 0);
}

static void a_message_of_many_parts_is_cut_as_well(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *source = source_of(p, "source"), *first = NULL, *last = source;
  char message[100], name[16];
  (void)state;
  for (int i = 0; i < 50; i++) {
    uvf_stage_t *s;
    snprintf(name, sizeof name, "stage %d", i);
    s = work_of(p, name);
    chain(last, s);
    if (first == NULL) first = s;
    last = s;
  }
  chain(last, first);
  chain(last, work_of(p, "sink"));
  memset(message, 0x7e, sizeof message);
  assert_int_equal(uvf_pipeline_validate(p, message, 71), UV_EINVAL);
  assert_string_equal(message, "there is a cycle: output 0 of stage \"stage 0\", output 0 of stage \"stag");
  for (size_t i = 71; i < sizeof message; i++) assert_int_equal(message[i], 0x7e);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void without_memory_it_says_so(void **state) {
  good_t g = good();
  size_t blocks = test_alloc_live();
  char message[40];
  int failures = 0;
  (void)state;
  for (size_t n = 1;; n++) {
    int rc;
    test_alloc_fail_at(n);
    rc = uvf_pipeline_validate(g.p, message, sizeof message);
    assert_int_equal(test_alloc_live(), blocks);
    if (!test_alloc_failed()) break;
    assert_int_equal(rc, UV_ENOMEM);
    assert_string_equal(message, "out of memory");
    failures++;
  }
  test_alloc_fail_at(0);
  assert_int_equal(failures, 2);
  assert_valid(g.p);
  assert_int_equal(uvf_pipeline_destroy(g.p), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_chain_can_run),
      unit(a_source_that_emits_nothing_can_run),
      unit(two_sources_two_sinks_branches_and_two_links_between_the_same_stages_can_run),
      unit(no_pipeline),
      unit(no_stage),
      unit(two_names_alike),
      unit(no_source),
      unit(zero_workers),
      unit(zero_capacity),
      unit(a_retry_without_number),
      unit(a_source_with_inputs),
      unit(an_output_out_of_range),
      unit(an_input_out_of_range),
      unit(a_source_that_is_fed),
      unit(an_output_that_is_not_linked),
      unit(an_input_that_is_not_linked),
      unit(a_stage_that_nothing_reaches),
      unit(a_circle_that_nothing_reaches),
      unit(no_sink),
      unit(a_cycle),
      unit(a_cycle_is_told_from_the_stage_on_it_that_was_added_first),
      unit(of_several_defects_the_most_basic_one_is_told),
      unit(a_link_back_makes_a_cycle_of_any_graph_and_the_message_follows_real_links),
      unit(a_message_is_cut_to_size_between_characters),
      unit(a_message_of_many_parts_is_cut_as_well),
      unit(without_memory_it_says_so),
  };
  return test_run(tests);
}
