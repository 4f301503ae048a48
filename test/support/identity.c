/* SPDX-License-Identifier: MIT */
#include "identity.h"

UVF_VALUE_DEFINE(identity, struct identity);
UVF_VALUE_DEFINE(delegate, struct identity);
