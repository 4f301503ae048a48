/* SPDX-License-Identifier: MIT
 *
 * uvflow: contexts, cancellable jobs and everything that runs under them, for programs that live on a libuv loop.
 * This header includes all the others; each of them stands alone as well.
 */
#ifndef UVFLOW_H
#define UVFLOW_H

#include "uvflow/base.h"
#include "uvflow/context.h"
#include "uvflow/io.h"
#include "uvflow/work.h"

#endif /* UVFLOW_H */
