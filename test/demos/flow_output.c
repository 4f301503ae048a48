/* SPDX-License-Identifier: MIT */
#include "flow_output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void table_row(const text_t *text, const char *stage, table_row_t *row) {
  size_t len = strlen(stage);
  for (const char *line = text->at; line && *line;) {
    if (strncmp(line, stage, len) == 0 &&
        sscanf(line + len, " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &row->in, &row->out,
               &row->done, &row->failed, &row->dropped, &row->retried) == 6)
      return;
    line = strchr(line, '\n');
    if (line) line++;
  }
  print_error("no row of \"%s\" in:\n%.4000s\n", stage, text->at ? text->at : "");
  fail();
}

void hide_queues(text_t *text) {
  static const char QUEUE[] = "queue ";
  for (char *at = text->at; at && (at = strstr(at, QUEUE));) {
    at += strlen(QUEUE);
    for (; *at >= '0' && *at <= '9'; at++) *at = '#';
  }
}
