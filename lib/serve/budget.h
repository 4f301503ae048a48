/* SPDX-License-Identifier: MIT
 *
 * The budget of retries, as retry.c uses it. NULL: no budget. Any thread.
 */
#ifndef UVF_SERVE_BUDGET_H
#define UVF_SERVE_BUDGET_H

#include "uvflow/serve.h"

void uvf__budget_note(uvf_retry_budget_t *budget, int success);
int uvf__budget_allows(const uvf_retry_budget_t *budget);

#endif
