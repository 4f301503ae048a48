/* SPDX-License-Identifier: MIT */
#include "kernel/rule.h"

#include <stdio.h>
#include <stdlib.h>

void (*uvf__rule_hook)(const char *function, const char *rule);

_Noreturn void uvf__rule_broken(const char *function, const char *rule) {
  if (uvf__rule_hook != NULL) uvf__rule_hook(function, rule);
  fprintf(stderr, "uvflow: %s: %s\n", function, rule);
  fflush(stderr);
  abort();
}
