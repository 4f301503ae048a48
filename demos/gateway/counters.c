/* SPDX-License-Identifier: MIT */
#include "counters.h"

#include <inttypes.h>

void counters_answer(counters_t *counters, int status) {
  int at = STATUS_OTHER;
  switch (status) {
#define COUNTERS_CASE(number)                                                                                          \
  case number: at = STATUS_##number; break;
    COUNTED_STATUSES(COUNTERS_CASE)
#undef COUNTERS_CASE
    default: break;
  }
  counters->by_status[at]++;
  counters->answered++;
}

void counters_print(const counters_t *counters, FILE *out) {
  fprintf(out, "begun %" PRIu64 "\nanswered %" PRIu64 "\nin_flight %" PRIu64 "\n", counters->begun, counters->answered,
          counters->begun - counters->answered);
#define COUNTERS_LINE(number) fprintf(out, "status_" #number " %" PRIu64 "\n", counters->by_status[STATUS_##number]);
  COUNTED_STATUSES(COUNTERS_LINE)
#undef COUNTERS_LINE
  fprintf(out, "status_other %" PRIu64 "\n", counters->by_status[STATUS_OTHER]);
  fprintf(out, "client_left %" PRIu64 "\n", counters->by_status[STATUS_499]);
  fprintf(out, "accepted %" PRIu64 "\nevicted %" PRIu64 "\n", counters->accepted, counters->evicted);
  fprintf(out, "timed_out_idle %" PRIu64 "\ntimed_out_request %" PRIu64 "\ntimed_out_answer %" PRIu64 "\n",
          counters->timed_out_idle, counters->timed_out_request, counters->timed_out_answer);
  fprintf(out, "accept_errors %" PRIu64 "\n", counters->accept_errors);
}
