/* SPDX-License-Identifier: MIT
 *
 * Drawing a pipeline: what both forms of it share. Characters are looked at here and not by the C library, whose
 * answers depend on the locale of the process.
 *
 * Of a stage is told what tells something: no figure that follows from the others, no trouble that there was not. While
 * the pipeline runs also no line that would come and go, so that a drawing made again and again keeps its shape.
 */
#include "flow/draw.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "kernel/alloc.h"

#define LIVE_COLUMNS 14 /* "queued 128/128", "calls 12345678" */

/* --- characters ----------------------------------------------------------------------------------- */

typedef struct range_s {
  uint32_t first, last;
} range_t;

/* Drawn over the character before; sorted. Marks of the scripts that are written most, joiners, variation selectors. */
static const range_t zero[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x05bf, 0x05bf}, {0x05c1, 0x05c2},   {0x05c4, 0x05c5},
    {0x05c7, 0x05c7}, {0x0610, 0x061a}, {0x064b, 0x065f}, {0x0670, 0x0670}, {0x06d6, 0x06dc},   {0x06df, 0x06e4},
    {0x06e7, 0x06e8}, {0x06ea, 0x06ed}, {0x0900, 0x0902}, {0x093a, 0x093a}, {0x093c, 0x093c},   {0x0941, 0x0948},
    {0x094d, 0x094d}, {0x0951, 0x0957}, {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e},   {0x1160, 0x11ff},
    {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200d}, {0x2060, 0x2064}, {0x20d0, 0x20f0},   {0x302a, 0x302d},
    {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0x1f3fb, 0x1f3ff}, {0xe0100, 0xe01ef},
};

/* Two columns; sorted. */
static const range_t wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x26a1, 0x26a1},   {0x2705, 0x2705},
    {0x2728, 0x2728},   {0x274c, 0x274c},   {0x2753, 0x2755},   {0x2757, 0x2757},   {0x2795, 0x2797},
    {0x2b1b, 0x2b1c},   {0x2b50, 0x2b50},   {0x2b55, 0x2b55},   {0x2e80, 0x303e},   {0x3041, 0x33ff},
    {0x3400, 0x4dbf},   {0x4e00, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
    {0xfe10, 0xfe19},   {0xfe30, 0xfe6f},   {0xff01, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18aff},
    {0x1b000, 0x1b2ff}, {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a}, {0x1f200, 0x1f320}, {0x1f32d, 0x1f335},
    {0x1f337, 0x1f37c}, {0x1f37e, 0x1f393}, {0x1f3a0, 0x1f3ca}, {0x1f3e0, 0x1f3f0}, {0x1f3f8, 0x1f43e},
    {0x1f440, 0x1f440}, {0x1f442, 0x1f4fc}, {0x1f4ff, 0x1f53d}, {0x1f54b, 0x1f567}, {0x1f5fb, 0x1f64f},
    {0x1f680, 0x1f6c5}, {0x1f6d0, 0x1f6d2}, {0x1f6eb, 0x1f6ec}, {0x1f6f4, 0x1f6fc}, {0x1f7e0, 0x1f7eb},
    {0x1f90c, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x2fffd}, {0x30000, 0x3fffd},
};

static int is_in(uint32_t c, const range_t *ranges, size_t n) {
  while (n > 0) {
    const range_t *middle = &ranges[n / 2];
    if (c >= middle->first && c <= middle->last) return 1;
    if (c > middle->last) {
      ranges = middle + 1;
      n -= n / 2 + 1;
    } else {
      n /= 2;
    }
  }
  return 0;
}

/* Controls of the terminal, and what turns the direction of writing for all that follows. */
static int steers(uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

/* The character that begins at s and its bytes; 0: there is none. */
static size_t decode(const unsigned char *s, uint32_t *c) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
  if (len == 0) return 0;
  *c = len == 1 ? s[0] : s[0] & (0x7fu >> len);
  for (size_t i = 1; i < len; i++) {
    if ((s[i] & 0xc0) != 0x80) return 0; /* the end of the string as well */
    *c = *c << 6 | (s[i] & 0x3fu);
  }
  return *c < least[len] || *c > 0x10ffff || (*c >= 0xd800 && *c <= 0xdfff) ? 0 : len;
}

uvf__glyph_t uvf__glyph_next(const char **text) {
  uvf__glyph_t glyph = {*text, 0, 1};
  uint32_t c = 0;
  glyph.len = decode((const unsigned char *)*text, &c);
  if (glyph.len == 0 || steers(c)) {
    *text += glyph.len == 0 ? 1 : glyph.len;
    return (uvf__glyph_t){"?", 1, 1};
  }
  *text += glyph.len;
  if (is_in(c, zero, sizeof zero / sizeof *zero)) glyph.width = 0;
  if (is_in(c, wide, sizeof wide / sizeof *wide)) glyph.width = 2;
  return glyph;
}

/* --- facts: numbers ------------------------------------------------------------------------------- */

/* In whole numbers, as how printf writes a fraction depends on the locale. At most 1e18; no zeros at its end. */
static void put_number(char *to, double value, unsigned int places, const char *unit) {
  uint64_t scale = 1;
  uint64_t n;
  for (unsigned int i = 0; i < places; i++) scale *= 10;
  n = (uint64_t)(value * (double)scale + 0.5);
  for (; places > 0 && n % 10 == 0; places--) {
    n /= 10;
    scale /= 10;
  }
  if (places == 0) {
    (void)snprintf(to, UVF__FACT_SIZE, "%" PRIu64 "%s", n, unit);
  } else {
    (void)snprintf(to, UVF__FACT_SIZE, "%" PRIu64 ".%0*" PRIu64 "%s", n / scale, (int)places, n % scale, unit);
  }
}

void uvf__draw_rate(char *to, double rate) {
  static const char *const units[] = {"/s", "k/s", "M/s", "G/s"};
  size_t k = 0;
  if (!(rate > 0)) rate = 0;
  if (rate > 1e18) rate = 1e18;
  while (k < 3 && rate >= (k == 0 ? 9999.5 : 999.5)) {
    rate /= 1000;
    k++;
  }
  put_number(to, rate, rate < 1 ? 2 : rate < (k == 0 ? 9.95 : 99.95) ? 1 : 0, units[k]);
}

void uvf__draw_limit(char *to, double rate) {
  if (rate >= 0.0005 && rate <= 1e15) {
    put_number(to, rate, rate < 1 ? 3 : rate < 10 ? 2 : rate < 100 ? 1 : 0, "/s");
  } else {
    *to = '\0';
  }
}

void uvf__draw_duration(char *to, uint64_t ns) {
  static const char *const units[] = {" ns", " us", " ms", " s"};
  double value = (double)ns;
  size_t k = 0;
  while (k < 3 && value >= 995) {
    value /= 1000;
    k++;
  }
  if (value >= 99.5) value = 10 * (double)(uint64_t)(value / 10 + 0.5);
  put_number(to, value, value < 9.95, units[k]);
}

/* --- facts: lines --------------------------------------------------------------------------------- */

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
fact(uvf__facts_t *facts, const char *format, ...) {
  uvf__fact_t *at = &facts->at[facts->n++];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(at->label, sizeof at->label, format, args);
  va_end(args);
  at->value[0] = '\0';
}

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static void
figure(uvf__facts_t *facts, const char *label, const char *format, ...) {
  uvf__fact_t *at = &facts->at[facts->n];
  va_list args;
  fact(facts, "%s", label);
  va_start(args, format);
  (void)vsnprintf(at->value, sizeof at->value, format, args);
  va_end(args);
}

static void trouble(uvf__facts_t *facts, const char *label, uint64_t n) {
  if (n > 0) figure(facts, label, "%" PRIu64, n);
}

/* --- facts: what a stage is ----------------------------------------------------------------------- */

static void tell_kind(const uvf_stage_t *s, uvf__facts_t *facts) {
  static const char *const kinds[] = {"?", "source", "work", "loop", "async"};
  const char *source = s->o.kind != UVF_STAGE_SOURCE && uvf__stage_pulls(s) ? " source" : "";
  if (s->o.kind == UVF_STAGE_WORK || (s->o.kind == UVF_STAGE_ASYNC && (*source == '\0' || s->o.workers != 1))) {
    fact(facts, "%s%s x%u", kinds[s->o.kind], source, s->o.workers);
  } else {
    fact(facts, "%s%s", kinds[s->o.kind], source);
  }
}

static void tell_limit(uvf_limiter_t *limiter, uvf__facts_t *facts) {
  char limit[UVF__FACT_SIZE];
  double rate;
  uvf__lock(&limiter->uvf__lock); /* uvf_limiter_set may change it on any thread */
  rate = limiter->uvf__rate;
  uvf__unlock(&limiter->uvf__lock);
  uvf__draw_limit(limit, rate);
  if (*limit == '\0') {
    fact(facts, "limited");
  } else {
    fact(facts, "limit %.40s", limit);
  }
}

static void tell_policies(const uvf_stage_t *s, uvf__facts_t *facts) {
  if (s->o.ordered && s->o.window > 0) {
    fact(facts, "ordered %zu", s->o.window);
  } else if (s->o.ordered) {
    fact(facts, "ordered");
  }
  if (s->o.on_error == UVF_ON_ERROR_SKIP) fact(facts, "skip errors");
  if (s->o.on_error == UVF_ON_ERROR_RETRY) fact(facts, "retry %u", s->o.retries);
  if (s->o.limiter != NULL) tell_limit(s->o.limiter, facts);
  if (s->o.item_timeout_ms > 0) fact(facts, "timeout %" PRIu64 " ms", s->o.item_timeout_ms);
}

/* --- facts: how it goes --------------------------------------------------------------------------- */

/* What a call takes. A worst that reads as the median does is worth no line. */
static void tell_times(const uvf_stage_stats_t *stats, int live, uvf__facts_t *facts) {
  char median[UVF__FACT_SIZE] = "-"; /* keeps a place for them while it runs */
  char p99[UVF__FACT_SIZE] = "-";
  if (stats->p99_ns > 0) {
    uvf__draw_duration(median, stats->median_ns);
    uvf__draw_duration(p99, stats->p99_ns);
  }
  if (live || stats->p99_ns > 0) figure(facts, "call", "%s", median);
  if (live || strcmp(median, p99) != 0) figure(facts, "p99", "%s", p99);
}

/* A line that may come while it runs comes last, and stays. */
static void tell_figures(const uvf_stage_t *s, uvf__facts_t *facts) {
  char rate[UVF__FACT_SIZE];
  uvf_stage_stats_t stats;
  int pulls = uvf__stage_pulls(s);
  int live;
  if (uvf_stage_stats(s, &stats) != 0) return;
  uvf__lock(&s->pipeline->lock);
  live = s->pipeline->running || !stats.finished;
  uvf__unlock(&s->pipeline->lock);
  if (live) facts->columns = LIVE_COLUMNS;
  if (live && !pulls) figure(facts, "queued", "%zu/%zu", stats.queued, s->o.capacity);
  if (live && !stats.finished) figure(facts, "busy", "%u/%u", stats.busy, s->o.workers);
  if (live && stats.finished) fact(facts, "finished");
  figure(facts, pulls ? "calls" : "done", "%" PRIu64, pulls ? stats.in : stats.done);
  if (uvf__stage_outputs(s) > 0) figure(facts, "out", "%" PRIu64, stats.out);
  uvf__draw_rate(rate, stats.rate_per_s);
  figure(facts, "rate", "%s", rate);
  tell_times(&stats, live, facts);
  trouble(facts, "failed", stats.failed);
  trouble(facts, "retried", stats.retried);
  trouble(facts, "dropped", stats.dropped);
}

/* At most: kind, queue or queued, four policies, and nine more figures. */
void uvf__draw_facts(const uvf_stage_t *stage, unsigned int flags, uvf__facts_t *facts) {
  int stats = (flags & UVF_DRAW_STATS) != 0;
  facts->n = 0;
  facts->columns = 0;
  tell_kind(stage, facts);
  if (!stats && !uvf__stage_pulls(stage)) fact(facts, "queue %zu", stage->o.capacity);
  tell_policies(stage, facts);
  if (stats) tell_figures(stage, facts);
}

/* --- the call ------------------------------------------------------------------------------------- */

void *uvf__draw_array(size_t n, size_t size) {
  void *array;
  if (n >= SIZE_MAX / size) return NULL;
  array = uvf__malloc((n + 1) * size);
  if (array != NULL) memset(array, 0, (n + 1) * size);
  return array;
}

int uvf_pipeline_draw(const uvf_pipeline_t *pipeline, FILE *f, int format, unsigned int flags) {
  int rc;
  if (pipeline == NULL || f == NULL || (flags & ~(unsigned int)(UVF_DRAW_STATS | UVF_DRAW_PLAIN)) != 0)
    return UV_EINVAL;
  if (format != UVF_DRAW_TEXT && format != UVF_DRAW_DOT) return UV_EINVAL;
  rc = format == UVF_DRAW_DOT ? uvf__draw_dot(pipeline, f, flags) : uvf__draw_text(pipeline, f, flags);
  if (rc == 0 && (fflush(f) != 0 || ferror(f))) rc = UV_EIO;
  return rc;
}
