/* SPDX-License-Identifier: MIT
 *
 * What every file of the demo wants.
 */
#ifndef GATEWAY_COMMON_H
#define GATEWAY_COMMON_H

#ifndef H2O_USE_LIBUV
#define H2O_USE_LIBUV 1 /* libh2o has a loop of its own as well */
#endif
#include <h2o.h>

#include "../fanout/common.h" /* container_of, HANDLE, MS_NS, complain */

typedef struct server_s server_t;
typedef struct conn_s conn_t;
typedef struct request_s request_t;
typedef struct gateway_s gateway_t;

#endif
