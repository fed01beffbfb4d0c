// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <stdbool.h>
#include <stdint.h>

/// How often the calling thread has allocated memory since it began.
uint64_t pglease_allocations(void);

/// False where another allocator stands in glibc's place (a sanitizer's): nothing is counted then.
bool pglease_counts_allocations(void);
