/* SPDX-License-Identifier: MIT
 *
 * What a pipeline has done, stage by stage, as a table. The other demos of pipelines print theirs with it, too.
 */
#ifndef SQUARES_TABLE_H
#define SQUARES_TABLE_H

#include <stdio.h>
#include <uvflow.h>

/* One row for each stage, in the order they were added. 0, or UV_EIO: f could not be written. */
int table_print(const uvf_pipeline_t *pipeline, FILE *f);

#endif
