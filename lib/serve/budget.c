/* SPDX-License-Identifier: MIT
 *
 * The budget of retries: tokens, in thousandths, that failures take and successes give back. One atomic word, any
 * thread; each change is a compare and exchange, so none is lost and the bounds hold.
 */
#include "serve/budget.h"

#include "kernel/atomic.h"

#define ONE 1000u /* a token */

int uvf_retry_budget_init(uvf_retry_budget_t *budget, double max_tokens, double ratio) {
  if (budget == NULL || !(max_tokens >= 1 && max_tokens <= 1000000) || !(ratio > 0 && ratio <= max_tokens))
    return UV_EINVAL;
  budget->uvf__max = (uint32_t)(max_tokens * ONE + 0.5);
  budget->uvf__ratio = (uint32_t)(ratio * ONE + 0.5);
  if (budget->uvf__ratio == 0) budget->uvf__ratio = 1;
  uvf__u32_store(&budget->uvf__tokens, budget->uvf__max);
  return 0;
}

double uvf_retry_budget_tokens(const uvf_retry_budget_t *budget) {
  return budget != NULL ? (double)uvf__u32_load(&budget->uvf__tokens) / ONE : 0;
}

void uvf__budget_note(uvf_retry_budget_t *budget, int success) {
  uint32_t had;
  uint32_t has;
  if (budget == NULL) return;
  do {
    had = uvf__u32_load(&budget->uvf__tokens);
    if (success) {
      has = budget->uvf__max - had > budget->uvf__ratio ? had + budget->uvf__ratio : budget->uvf__max;
    } else {
      has = had > ONE ? had - ONE : 0;
    }
  } while (!uvf__u32_claim(&budget->uvf__tokens, had, has));
}

int uvf__budget_allows(const uvf_retry_budget_t *budget) {
  return budget == NULL || uvf__u32_load(&budget->uvf__tokens) > budget->uvf__max / 2;
}
