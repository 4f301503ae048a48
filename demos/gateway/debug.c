/* SPDX-License-Identifier: MIT
 *
 * What the debug server shows: the live tree of contexts, counters, and the pipeline.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "gateway.h"
#include "routes.h"

const char *step_word(uvf_drain_step_t step, char *buf, size_t size) {
  snprintf(buf, size, "%s", uvf_drain_step_name(step));
  for (char *c = buf; *c; c++)
    if (*c == ' ') *c = '-';
  return buf;
}

/* Answers with what `print` writes. */
static void answer_with(request_t *request, void (*print)(const gateway_t *gateway, FILE *out)) {
  char *text = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&text, &len);
  if (out) {
    print(request->server->gateway, out);
    if (fclose(out) == 0) request_answer(request, 200, TYPE_TEXT, text, len);
  }
  free(text);
  if (!request->status) request_answer_text(request, 503, "out of memory\n");
}

static void print_counters(const gateway_t *gateway, FILE *out) {
  const uvf_drain_t *drain = &gateway->app.drain;
  char word[32];
  counters_print(&gateway->app.counters, out);
  fprintf(out, "shed %" PRIu64 "\nrefused %" PRIu64 "\ncancelled %" PRIu64 "\n", drain->shed, drain->refused,
          drain->cancelled);
  fprintf(out, "connections %" PRIu64 "\nmax_conns %zu\n", drain->connections, gateway->app.options.max_conns);
  fprintf(out, "jobs %u\ndrain %s\n", work_running(), step_word(drain->step, word, sizeof(word)));
  stats_print(&gateway->stats, out);
}

static void print_contexts(const gateway_t *gateway, FILE *out) { uvf_ctx_dump(gateway->root, out); }

static void print_pipelines(const gateway_t *gateway, FILE *out) {
  if (gateway->stats.pipeline) uvf_pipeline_draw(gateway->stats.pipeline, out, UVF_DRAW_TEXT, UVF_DRAW_STATS);
}

static void counters_start(request_t *request) { answer_with(request, print_counters); }
static void contexts_start(request_t *request) { answer_with(request, print_contexts); }
static void pipelines_start(request_t *request) { answer_with(request, print_pipelines); }

const route_t DEBUG_ROUTES[] = {
    {"/counters", METHOD_GET, counters_start},
    {"/contexts", METHOD_GET, contexts_start},
    {"/pipelines", METHOD_GET, pipelines_start},
    {NULL, 0, NULL},
};
