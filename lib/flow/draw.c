/* SPDX-License-Identifier: MIT
 *
 * Drawing a pipeline: what both forms of it share. Characters are looked at here and not by the C library, whose
 * answers depend on the locale of the process.
 */
#include "flow/draw.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "kernel/alloc.h"

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

/* --- what is said of a stage ---------------------------------------------------------------------- */

static void fact(uvf__facts_t *facts, const char *format, ...) {
  va_list args;
  va_start(args, format);
  (void)vsnprintf(facts->line[facts->n++], UVF__FACT_SIZE, format, args);
  va_end(args);
}

/* One decimal below 10. In whole numbers: how printf writes a fraction depends on the locale. */
static void fact_rate(uvf__facts_t *facts, double rate) {
  uint64_t tenths;
  if (!(rate > 0)) rate = 0;
  if (rate > 1e18) rate = 1e18;
  tenths = (uint64_t)(rate * 10 + 0.5);
  if (tenths < 100) {
    fact(facts, "%" PRIu64 ".%" PRIu64 "/s", tenths / 10, tenths % 10);
  } else {
    fact(facts, "%" PRIu64 "/s", (uint64_t)(rate + 0.5));
  }
}

static void facts_policies(const uvf_stage_t *s, uvf__facts_t *facts) {
  if (s->o.ordered && s->o.window > 0) {
    fact(facts, "ordered %zu", s->o.window);
  } else if (s->o.ordered) {
    fact(facts, "ordered");
  }
  if (s->o.on_error == UVF_ON_ERROR_SKIP) fact(facts, "skip errors");
  if (s->o.on_error == UVF_ON_ERROR_RETRY) fact(facts, "retry %u", s->o.retries);
  if (s->o.limiter != NULL) fact(facts, "limited");
  if (s->o.item_timeout_ms > 0) fact(facts, "timeout %" PRIu64 " ms", s->o.item_timeout_ms);
}

static void facts_stats(const uvf_stage_t *s, uvf__facts_t *facts) {
  uvf_stage_stats_t stats;
  memset(&stats, 0, sizeof stats);
  if (uvf_stage_stats(s, &stats) != 0) return;
  fact(facts, "%s %" PRIu64, s->o.kind == UVF_STAGE_SOURCE ? "calls" : "in", stats.in);
  fact(facts, "out %" PRIu64, stats.out);
  if (stats.failed > 0) fact(facts, "failed %" PRIu64, stats.failed);
  if (stats.retried > 0) fact(facts, "retried %" PRIu64, stats.retried);
  fact(facts, "dropped %" PRIu64, stats.dropped);
  if (s->o.kind != UVF_STAGE_SOURCE) fact(facts, "queued %zu/%zu", stats.queued, s->o.capacity);
  fact(facts, "busy %u/%u", stats.busy, s->o.workers);
  fact_rate(facts, stats.rate_per_s);
}

/* At most: kind, queue or queued, four policies, and seven more figures: FACTS_MAX. */
void uvf__draw_facts(const uvf_stage_t *stage, unsigned int flags, uvf__facts_t *facts) {
  static const char *const kinds[] = {"?", "source", "work", "loop", "async"};
  int many = stage->o.kind == UVF_STAGE_WORK || stage->o.kind == UVF_STAGE_ASYNC;
  facts->n = 0;
  if (many) {
    fact(facts, "%s x%u", kinds[stage->o.kind], stage->o.workers);
  } else {
    fact(facts, "%s", kinds[stage->o.kind]);
  }
  if (!(flags & UVF_DRAW_STATS) && stage->o.kind != UVF_STAGE_SOURCE) fact(facts, "queue %zu", stage->o.capacity);
  facts_policies(stage, facts);
  if (flags & UVF_DRAW_STATS) facts_stats(stage, facts);
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
