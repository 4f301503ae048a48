/* SPDX-License-Identifier: MIT */
#include "uvflow.h"
