/* SPDX-License-Identifier: MIT
 *
 * Drawings as text, letter by letter. For Graphviz, of random graphs, without memory: test_draw_lines.c; with
 * figures: test_draw_figures.c.
 */
#include "unit/draw_probe.h"

/* --- graphs --- */

static uvf_pipeline_t *policies(void) {
  uvf_pipeline_t *p = pipeline_of("policies");
  uvf_stage_options_t o = options_of(UVF_STAGE_ASYNC, "fetch");
  uvf_stage_t *list = source_of(p, "list"), *fetch, *parse, *store;
  static uvf_limiter_t limiter;
  assert_int_equal(uvf_limiter_init(&limiter, 40, 5), 0);
  o.workers = 20;
  o.capacity = 1000;
  o.ordered = 1;
  o.window = 50;
  o.on_error = UVF_ON_ERROR_RETRY;
  o.retries = 3;
  o.limiter = &limiter;
  o.item_timeout_ms = 1500;
  fetch = add(p, &o);
  o = options_of(UVF_STAGE_WORK, "parse");
  o.workers = 4;
  o.ordered = 1;
  o.on_error = UVF_ON_ERROR_SKIP;
  parse = add(p, &o);
  store = stage_of(p, UVF_STAGE_LOOP, "store");
  chain(list, fetch);
  chain(fetch, parse);
  chain(parse, store);
  return p;
}

/* Wide characters, combining ones, emoji; what is no character, and what would steer the terminal. */
static uvf_pipeline_t *names(void) {
  uvf_pipeline_t *p = pipeline_of("\xe7\xae\xa1\xe9\x81\x93");
  uvf_stage_t *wide = source_of(p, "\xe8\xaf\xbb\xe5\x8f\x96"), *marks = work_of(p, "re\xcc\x81sume\xcc\x81");
  uvf_stage_t *bad = work_of(p, "b\xff\x1b[1m\xe6\xae"), *emoji = work_of(p, "go \xf0\x9f\x9a\x80");
  uvf_stage_t *hangul = work_of(p, "\xed\x95\x9c\xea\xb8\x80 \xef\xbc\xa1"), *accents = work_of(p, "na\xc3\xafve");
  link_to(wide, 0, marks, 0);
  link_to(wide, 1, bad, 0);
  chain(marks, emoji);
  chain(bad, hangul);
  chain(bad, accents);
  return p;
}

static uvf_pipeline_t *long_names(void) {
  uvf_pipeline_t *p = pipeline_of("long names");
  uvf_stage_t *a = source_of(p, "reads every file of a directory and all below it");
  uvf_stage_t *b = work_of(p, "\xe4\xb8\x80\xe4\xba\x8c\xe4\xb8\x89\xe5\x9b\x9b\xe4\xba\x94\xe5\x85\xad\xe4\xb8\x83"
                              "\xe5\x85\xab\xe4\xb9\x9d\xe5\x8d\x81\xe4\xb8\x80\xe4\xba\x8c\xe4\xb8\x89");
  uvf_stage_t *c = work_of(p, "0123456789012345678901234567890123456789012345678901234567890123456789"
                              "01234567890123456789012345678901234567890123456789");
  chain(a, b);
  chain(b, c);
  return p;
}

/* Links that skip columns: one by the first port, one by the last. */
static uvf_pipeline_t *skips(void) {
  uvf_pipeline_t *p = pipeline_of("skips");
  uvf_stage_t *a = source_of(p, "a"), *b = work_of(p, "b"), *c = work_of(p, "c"), *d = ports_of(p, "d", 3, 0);
  link_to(a, 0, d, 0);
  link_to(a, 1, b, 0);
  link_to(a, 2, d, 2);
  chain(b, c);
  link_to(c, 0, d, 1);
  return p;
}

/* Two links that change places, and so a detour; a third that crosses. */
static uvf_pipeline_t *swap(void) {
  uvf_pipeline_t *p = pipeline_of("swap");
  uvf_stage_t *a = source_of(p, "a"), *b = ports_of(p, "b", 2, 0), *c = ports_of(p, "c", 2, 0);
  link_to(a, 0, b, 1);
  link_to(a, 1, b, 0);
  link_to(a, 2, c, 1);
  link_to(a, 3, c, 0);
  return p;
}

/* --- as text --- */

static void two_handlers_side_by_side_are_drawn_with_ports_and_a_joint(void **state) {
  (void)state;
  assert_text(fan(), 0,
              "batch\n"
              "┌────────┐      ┌───────────┐     ┌───────────┐    ┌───────────┐\n"
              "│ source ├0────►│ upper     ├─┬──►│ join      ├───►│ sink      │\n"
              "│ source ├1─┐   │ work x5   │ │   │ work x1   │    │ loop      │\n"
              "└────────┘  │   │ queue 256 │ │   │ queue 256 │    │ queue 256 │\n"
              "            │   └───────────┘ │   └───────────┘    └───────────┘\n"
              "            │   ┌───────────┐ │\n"
              "            └──►│ reverse   ├─┘\n"
              "                │ work x5   │\n"
              "                │ queue 256 │\n"
              "                └───────────┘\n");
}

static void plain_lines_are_ascii(void **state) {
  (void)state;
  assert_text(fan(), UVF_DRAW_PLAIN,
              "batch\n"
              "+--------+      +-----------+     +-----------+    +-----------+\n"
              "| source +0---->| upper     +-+-->| join      +--->| sink      |\n"
              "| source +1-+   | work x5   | |   | work x1   |    | loop      |\n"
              "+--------+  |   | queue 256 | |   | queue 256 |    | queue 256 |\n"
              "            |   +-----------+ |   +-----------+    +-----------+\n"
              "            |   +-----------+ |\n"
              "            +-->| reverse   +-+\n"
              "                | work x5   |\n"
              "                | queue 256 |\n"
              "                +-----------+\n");
}

static void kinds_workers_capacities_and_policies_are_told(void **state) {
  (void)state;
  assert_text(policies(), 0,
              "policies\n"
              "┌────────┐    ┌─────────────────┐    ┌─────────────┐    ┌───────────┐\n"
              "│ list   ├───►│ fetch           ├───►│ parse       ├───►│ store     │\n"
              "│ source │    │ async x20       │    │ work x4     │    │ loop      │\n"
              "└────────┘    │ queue 1000      │    │ queue 256   │    │ queue 256 │\n"
              "              │ ordered 50      │    │ ordered     │    └───────────┘\n"
              "              │ retry 3         │    │ skip errors │\n"
              "              │ limit 40/s      │    └─────────────┘\n"
              "              │ timeout 1500 ms │\n"
              "              └─────────────────┘\n");
}

static void boxes_stay_aligned_with_wide_and_combining_characters_and_what_is_none(void **state) {
  (void)state;
  assert_text(names(), 0,
              "管道\n"
              "┌────────┐      ┌───────────┐      ┌───────────┐\n"
              "│ 读取   ├0────►│ résumé    ├─────►│ go 🚀     │\n"
              "│ source ├1─┐   │ work x1   │      │ work x1   │\n"
              "└────────┘  │   │ queue 256 │      │ queue 256 │\n"
              "            │   └───────────┘      └───────────┘\n"
              "            │   ┌───────────┐      ┌───────────┐\n"
              "            └──►│ b??[1m??  ├0────►│ 한글 Ａ   │\n"
              "                │ work x1   ├1─┐   │ work x1   │\n"
              "                │ queue 256 │  │   │ queue 256 │\n"
              "                └───────────┘  │   └───────────┘\n"
              "                               │   ┌───────────┐\n"
              "                               └──►│ naïve     │\n"
              "                                   │ work x1   │\n"
              "                                   │ queue 256 │\n"
              "                                   └───────────┘\n");
}

static void long_names_go_on_below_and_end_in_dots(void **state) {
  (void)state;
  assert_text(long_names(), 0,
              "long names\n"
              "┌──────────────────────────┐    ┌──────────────────────────┐    ┌──────────────────────────┐\n"
              "│ reads every file of a di ├───►│ 一二三四五六七八九十一二 ├───►│ 012345678901234567890123 │\n"
              "│ rectory and all below it │    │ 三                       │    │ 456789012345678901234567 │\n"
              "│ source                   │    │ work x1                  │    │ 890123456789012345678901 │\n"
              "└──────────────────────────┘    │ queue 256                │    │ 234567890123456789012... │\n"
              "                                └──────────────────────────┘    │ work x1                  │\n"
              "                                                                │ queue 256                │\n"
              "                                                                └──────────────────────────┘\n");
}

static void links_that_skip_columns_go_round_the_boxes(void **state) {
  (void)state;
  assert_text(skips(), 0,
              "skips\n"
              "┌────────┐                                              ┌───────────┐\n"
              "│ a      ├0───────────────────────────────────────────0►│ d         │\n"
              "│ source ├1───┐   ┌───────────┐    ┌───────────┐ ┌────1►│ work x1   │\n"
              "│        ├2─┐ └──►│ b         ├───►│ c         ├─┘ ┌──2►│ queue 256 │\n"
              "└────────┘  │     │ work x1   │    │ work x1   │   │    └───────────┘\n"
              "            │     │ queue 256 │    │ queue 256 │   │\n"
              "            │     └───────────┘    └───────────┘   │\n"
              "            └──────────────────────────────────────┘\n");
}

static void links_that_change_places_make_a_detour_and_what_crosses_does_not_join(void **state) {
  (void)state;
  assert_text(swap(), 0,
              "swap\n"
              "┌────────┐  ┌─────┐    ┌───────────┐\n"
              "│ a      ├0─┘ ┌───│──0►│ b         │\n"
              "│ source ├1───┘   └──1►│ work x1   │\n"
              "│        ├2─────┐      │ queue 256 │\n"
              "│        ├3───┐ │      └───────────┘\n"
              "└────────┘    │ │      ┌───────────┐\n"
              "              └─│────0►│ c         │\n"
              "                └────1►│ work x1   │\n"
              "                       │ queue 256 │\n"
              "                       └───────────┘\n");
}

static void a_graph_that_cannot_run_is_drawn_with_what_is_wrong(void **state) {
  (void)state;
  assert_text(broken(), 0,
              "broken\n"
              "┌────────┐     ┌───────────┐     ┌───────────┐\n"
              "│ a      ├────►│ b         ├───0►│ c         ├0x\n"
              "│ source │     │ work x1   │     │ work x1   ├1*   ┌───────────┐\n"
              "└────────┘     │ queue 256 │     │ queue 256 ├2───►│ d         ├x\n"
              "┌────────┐     └───────────┘     └───────────┘     │ work x1   │\n"
              "│ island ├0x                                       │ queue 256 │\n"
              "│ source ├1x                                       └───────────┘\n"
              "│        ├2x\n"
              "│        ├3x\n"
              "│        ├4x\n"
              "│        ├5x\n"
              "│        ├6x\n"
              "│        ├7x\n"
              "└────────┘\n"
              "* back: output 1 of \"c\" to input 0 of \"b\"\n"
              "cannot run: input 1 of stage \"c\" is not linked\n");
}

/* clang-format off */
static void what_is_too_wide_goes_on_below(void **state) {
  (void)state;
  assert_text(longest(), 0, 
              "longest\n"
              "┌─────────┐    ┌───────────┐      ┌───────────┐    ┌───────────┐    ┌───────────┐    ┌───────────┐    ┌───────────┐\n"
              "│ stage 0 ├───►│ stage 1   ├0────►│ stage 2   ├───►│ stage 3   ├───►│ stage 4   ├───►│ stage 5   ├───►│ stage 6   ├─(1)\n"
              "│ source  │    │ work x1   ├1─┐   │ work x1   │    │ work x1   │    │ work x1   │    │ work x1   │    │ work x1   │\n"
              "└─────────┘    │ queue 256 │  │   │ queue 256 │    │ queue 256 │    │ queue 256 │    │ queue 256 │    │ queue 256 │\n"
              "               └───────────┘  │   └───────────┘    └───────────┘    └───────────┘    └───────────┘    └───────────┘\n"
              "                              └─────────────────────────────────────────────────────────────────────────────────────(2)\n"
              "\n"
              "       ┌───────────┐     ┌───────────┐\n"
              "(1)───►│ stage 7   ├─┬──►│ stage 8   │\n"
              "       │ work x1   │ │   │ work x1   │\n"
              "       │ queue 256 │ │   │ queue 256 │\n"
              "       └───────────┘ │   └───────────┘\n"
              "(2)──────────────────┘\n");
}
/* clang-format on */

static void a_pipeline_without_stages_has_its_name(void **state) {
  (void)state;
  assert_text(pipeline_of("empty"), 0, "empty\ncannot run: pipeline \"empty\" has no stage\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(two_handlers_side_by_side_are_drawn_with_ports_and_a_joint),
      unit(plain_lines_are_ascii),
      unit(kinds_workers_capacities_and_policies_are_told),
      unit(boxes_stay_aligned_with_wide_and_combining_characters_and_what_is_none),
      unit(long_names_go_on_below_and_end_in_dots),
      unit(links_that_skip_columns_go_round_the_boxes),
      unit(links_that_change_places_make_a_detour_and_what_crosses_does_not_join),
      unit(a_graph_that_cannot_run_is_drawn_with_what_is_wrong),
      unit(what_is_too_wide_goes_on_below),
      unit(a_pipeline_without_stages_has_its_name),
  };
  return test_run(tests);
}
