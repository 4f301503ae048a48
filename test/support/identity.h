/* SPDX-License-Identifier: MIT
 *
 * A request value with a typed key, declared here, defined in identity.c and used by tests: as a server has it, where
 * the key is known in one file only.
 */
#ifndef UVFLOW_TEST_IDENTITY_H
#define UVFLOW_TEST_IDENTITY_H

#include <uvflow.h>

struct identity {
  int user;
  int frees;
};

UVF_VALUE(identity, struct identity);
UVF_VALUE(delegate, struct identity); /* the same type under a key of its own */

#endif
