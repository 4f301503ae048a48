/* SPDX-License-Identifier: MIT
 *
 * Is it a graph that can run? The checks go from what is wrong with one thing by itself to what is wrong with the
 * whole, and each may rely on those before it: names first, as messages tell stages apart by them; ports before paths,
 * as an open port explains a path that is missing.
 */
#include <stdarg.h>
#include <string.h>

#include "flow/graph.h"
#include "kernel/alloc.h"

/* --- the message ---------------------------------------------------------------------------------- */

typedef struct text_s {
  char *buf; /* NULL: nobody wants to know */
  size_t size;
  size_t len; /* that it would have had */
} text_t;

/* Bytes of the character that begins with this one. */
static size_t char_len(unsigned char lead) { return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4; }

/* The text was cut at `len`: what is left of a character goes as well. */
static void trim(char *buf, size_t len) {
  size_t at = len;
  while (at > 0 && len - at < 3 && ((unsigned char)buf[at - 1] & 0xc0) == 0x80) at--;
  if (at > 0 && at - 1 + char_len((unsigned char)buf[at - 1]) > len) buf[at - 1] = '\0';
}

static void append(text_t *text, const char *format, ...) {
  va_list args;
  size_t room = text->len < text->size ? text->size - text->len : 0;
  int n;
  if (room == 0) return;
  va_start(args, format);
  n = vsnprintf(text->buf + text->len, room, format, args);
  va_end(args);
  if (n < 0) return;
  text->len += (size_t)n;
  if (text->len >= text->size) trim(text->buf, text->size - 1);
}

/* A defect, and its code. */
#define DEFECT(text, ...) (append(text, __VA_ARGS__), UV_EINVAL)

/* --- stages by themselves ------------------------------------------------------------------------- */

static int check_names(const uvf_pipeline_t *pipeline, text_t *text) {
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    for (const uvf_stage_t *other = pipeline->stages; other != s; other = other->next) {
      if (strcmp(s->name, other->name) == 0) return DEFECT(text, "two stages are called \"%s\"", s->name);
    }
  }
  return 0;
}

static int check_options(const uvf_stage_t *s, text_t *text) {
  if (s->o.workers == 0) return DEFECT(text, "stage \"%s\" has no workers", s->name);
  if (s->o.capacity == 0) return DEFECT(text, "stage \"%s\" has no capacity", s->name);
  if (s->o.on_error >= UVF_ON_ERROR_RETRY && s->o.retries == 0)
    return DEFECT(text, "stage \"%s\" retries on errors, but its number of retries is 0", s->name);
  if (s->o.kind == UVF_STAGE_SOURCE && s->o.inputs > 0)
    return DEFECT(text, "stage \"%s\" is a source, but its number of inputs is %u", s->name, s->o.inputs);
  return 0;
}

/* --- ports ---------------------------------------------------------------------------------------- */

static int check_ranges(const uvf_stage_t *s, text_t *text) {
  for (unsigned int port = 0; port < s->nouts; port++) {
    const uvf__port_t *out = &s->outs[port];
    if (out->to == NULL) continue;
    if (port >= uvf__stage_outputs(s))
      return DEFECT(text, "output %u of stage \"%s\" is out of range: its number of outputs is %u", port, s->name,
                    uvf__stage_outputs(s));
    if (out->input >= out->to->o.inputs)
      return DEFECT(text, "input %u of stage \"%s\" is out of range: its number of inputs is %u (output %u of \"%s\")",
                    out->input, out->to->name, out->to->o.inputs, port, s->name);
  }
  return 0;
}

static int is_fed(const uvf_stage_t *s, unsigned int input) {
  for (size_t i = 0; i < s->nfeeders; i++) {
    const uvf_stage_t *feeder = s->feeders[i];
    for (unsigned int port = 0; port < feeder->nouts; port++) {
      if (feeder->outs[port].to == s && feeder->outs[port].input == input) return 1;
    }
  }
  return 0;
}

static int check_linked(const uvf_stage_t *s, text_t *text) {
  for (unsigned int input = 0; input < s->o.inputs; input++) {
    if (!is_fed(s, input)) return DEFECT(text, "input %u of stage \"%s\" is not linked", input, s->name);
  }
  for (unsigned int port = 0; port < uvf__stage_outputs(s); port++) {
    if (port >= s->nouts || s->outs[port].to == NULL)
      return DEFECT(text, "output %u of stage \"%s\" is not linked", port, s->name);
  }
  return 0;
}

/* --- the whole ------------------------------------------------------------------------------------ */

static int check_source(const uvf_pipeline_t *pipeline, text_t *text) {
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    if (s->o.kind == UVF_STAGE_SOURCE || uvf__stage_pulls(s)) return 0;
  }
  return DEFECT(text, "pipeline \"%s\" has no source", pipeline->name);
}

/* Of the checks that walk about: both by index, or as a queue. */
typedef struct memory_s {
  uvf_stage_t **stages;
  size_t *marks;
} memory_t;

static int check_reach(const memory_t *m, const uvf_pipeline_t *pipeline, text_t *text) {
  size_t n = 0;
  for (uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    m->marks[s->index] = (size_t)uvf__stage_pulls(s);
    if (uvf__stage_pulls(s)) m->stages[n++] = s;
  }
  for (size_t i = 0; i < n; i++) {
    for (unsigned int port = 0; port < m->stages[i]->nouts; port++) {
      uvf_stage_t *to = m->stages[i]->outs[port].to;
      if (to == NULL || m->marks[to->index]) continue;
      m->marks[to->index] = 1;
      m->stages[n++] = to;
    }
  }
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    if (!m->marks[s->index]) return DEFECT(text, "no source reaches stage \"%s\"", s->name);
  }
  return 0;
}

static int check_sink(const uvf_pipeline_t *pipeline, text_t *text) {
  for (const uvf_stage_t *s = pipeline->stages; s != NULL; s = s->next) {
    if (uvf__stage_outputs(s) == 0) return 0;
  }
  return DEFECT(text, "pipeline \"%s\" has no sink: every stage has outputs", pipeline->name);
}

/* A stage that stands on a cycle, and to m->stages, by index, the next on it. One that has no place in the order has a
 * feeder that has none either, so the way back over such feeders ends in a circle. */
static uvf_stage_t *find_cycle(const memory_t *m, const uvf_pipeline_t *pipeline) {
  uvf_stage_t *s = pipeline->stages;
  uvf_stage_t *first;
  while (m->marks[s->index] == 0) s = s->next;
  for (size_t steps = 0; steps < 2 * pipeline->nstages; steps++) { /* once to get there, once all round */
    size_t i = 0;
    while (m->marks[s->feeders[i]->index] == 0) i++;
    m->stages[s->feeders[i]->index] = s;
    s = s->feeders[i];
  }
  first = s;
  for (uvf_stage_t *next = m->stages[s->index]; next != s; next = m->stages[next->index]) {
    if (next->index < first->index) first = next;
  }
  return first;
}

static int check_cycle(const memory_t *m, const uvf_pipeline_t *pipeline, text_t *text) {
  const uvf_stage_t *first;
  const uvf_stage_t *s;
  if (uvf__graph_order(pipeline, m->stages, m->marks) == pipeline->nstages) return 0;
  first = s = find_cycle(m, pipeline);
  append(text, "there is a cycle: ");
  do {
    unsigned int port = 0;
    while (s->outs[port].to != m->stages[s->index]) port++;
    append(text, "output %u of stage \"%s\", ", port, s->name);
    s = m->stages[s->index];
  } while (s != first);
  return DEFECT(text, "back to stage \"%s\"", first->name);
}

static int check_paths(const uvf_pipeline_t *pipeline, text_t *text) {
  memory_t m;
  int rc;
  m.stages = uvf__malloc(pipeline->nstages * sizeof *m.stages);
  m.marks = m.stages == NULL ? NULL : uvf__malloc(pipeline->nstages * sizeof *m.marks);
  if (m.marks == NULL) {
    uvf__free(m.stages);
    append(text, "out of memory");
    return UV_ENOMEM;
  }
  rc = check_reach(&m, pipeline, text);
  if (rc == 0) rc = check_sink(pipeline, text);
  if (rc == 0) rc = check_cycle(&m, pipeline, text);
  uvf__free(m.marks);
  uvf__free(m.stages);
  return rc;
}

int uvf_pipeline_validate(const uvf_pipeline_t *pipeline, char *message, size_t size) {
  typedef int (*stage_check)(const uvf_stage_t *, text_t *);
  static const stage_check of_stages[] = {check_options, check_ranges, check_linked};
  text_t text = {message, message == NULL ? 0 : size, 0};
  int rc;
  if (text.size > 0) message[0] = '\0';
  if (pipeline == NULL) return DEFECT(&text, "there is no pipeline");
  if (pipeline->nstages == 0) return DEFECT(&text, "pipeline \"%s\" has no stage", pipeline->name);
  rc = check_names(pipeline, &text);
  if (rc == 0) rc = check_source(pipeline, &text);
  for (size_t i = 0; rc == 0 && i < sizeof of_stages / sizeof *of_stages; i++) {
    for (const uvf_stage_t *s = pipeline->stages; rc == 0 && s != NULL; s = s->next) rc = of_stages[i](s, &text);
  }
  return rc != 0 ? rc : check_paths(pipeline, &text);
}
