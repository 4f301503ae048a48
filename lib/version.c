/* SPDX-License-Identifier: MIT */
#include "uvflow/base.h"

unsigned int uvf_version(void) { return UVF_VERSION_HEX; }

const char *uvf_version_string(void) { return UVF_VERSION_STRING; }
