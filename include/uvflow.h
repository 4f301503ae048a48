/* SPDX-License-Identifier: MIT
 *
 * uvflow: contexts, cancellable jobs, channels, groups and everything that runs under them, for programs that live on a
 * libuv loop. This header includes all the others; each of them stands alone as well.
 */
#ifndef UVFLOW_H
#define UVFLOW_H

#include "uvflow/base.h"
#include "uvflow/channel.h"
#include "uvflow/codec.h"
#include "uvflow/context.h"
#include "uvflow/group.h"
#include "uvflow/io.h"
#include "uvflow/pipeline.h"
#include "uvflow/serve.h"
#include "uvflow/sync.h"
#include "uvflow/work.h"

#endif /* UVFLOW_H */
