/* SPDX-License-Identifier: MIT
 *
 * The drawing for Graphviz. Its labels are read twice there, for the string and for entities of HTML: so quotes,
 * backslashes and ampersands are escaped, and what is no character is a question mark.
 */
#include <string.h>

#include "flow/draw.h"
#include "kernel/alloc.h"

static void put_label(FILE *f, const char *text) {
  while (*text != '\0') {
    uvf__glyph_t glyph = uvf__glyph_next(&text);
    if (*glyph.bytes == '"' || *glyph.bytes == '\\') (void)fputc('\\', f);
    (void)fwrite(glyph.bytes, 1, glyph.len, f);
    if (*glyph.bytes == '&') (void)fputs("amp;", f);
  }
}

static void put_stage(FILE *f, const uvf_stage_t *s, unsigned int flags) {
  uvf__facts_t facts;
  uvf__draw_facts(s, flags, &facts);
  (void)fprintf(f, "  s%zu [label=\"", s->index);
  put_label(f, s->name);
  for (size_t i = 0; i < facts.n; i++) {
    (void)fputs("\\n", f);
    put_label(f, facts.at[i].label);
    if (facts.at[i].value[0] != '\0') (void)fputc(' ', f);
    put_label(f, facts.at[i].value);
  }
  (void)fputs("\"];\n", f);
}

/* Only what is worth saying, in brackets. */
static void put_arrow(FILE *f, const uvf__arrow_t *arrow) {
  const char *before = " [";
  (void)fprintf(f, "  s%zu -> s%zu", arrow->from->index, arrow->to->index);
  if (uvf__shows_outputs(arrow->from)) {
    (void)fprintf(f, "%staillabel=\"%u\"", before, arrow->port);
    before = ", ";
  }
  if (uvf__shows_input(arrow)) {
    (void)fprintf(f, "%sheadlabel=\"%u\"", before, arrow->input);
    before = ", ";
  }
  if (arrow->back) {
    (void)fprintf(f, "%sstyle=dashed, constraint=false", before);
    before = ", ";
  }
  (void)fputs(*before == ',' ? "];\n" : ";\n", f);
}

int uvf__draw_dot(const uvf_pipeline_t *pipeline, FILE *f, unsigned int flags) {
  char message[512];
  uvf__arrows_t arrows;
  int rc = uvf_pipeline_validate(pipeline, message, sizeof message);
  if (rc == UV_ENOMEM || uvf__arrows_init(&arrows, pipeline) != 0) return UV_ENOMEM;
  (void)fputs("digraph {\n  rankdir=LR;\n  labelloc=t;\n  label=\"", f);
  put_label(f, pipeline->name);
  if (rc != 0) {
    (void)fputs("\\ncannot run: ", f);
    put_label(f, message);
  }
  (void)fputs("\";\n  node [shape=box];\n", f);
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) put_stage(f, s, flags);
  for (size_t i = 0; i < arrows.n; i++) put_arrow(f, &arrows.at[i]);
  (void)fputs("}\n", f);
  uvf__arrows_free(&arrows);
  return 0;
}
