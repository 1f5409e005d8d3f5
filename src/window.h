/*
 * window.h - the range of addresses where arena regions are mapped, so that
 * "is this pointer ours" is a subtraction and a compare with constants,
 * however many regions are open.
 *
 * The range is one where nothing else settles: below position-independent
 * executables (0x5555...), far from the top-down mmap area, outside what
 * AddressSanitizer uses. ThreadSanitizer allows only its last 320 GiB.
 */
#ifndef SHMB_WINDOW_H
#define SHMB_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__has_feature) && !defined(__SANITIZE_THREAD__) /* clang */
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WINDOW_BASE ((uintptr_t)0x550000000000)
#else
#define WINDOW_BASE ((uintptr_t)0x500000000000)
#endif
#define WINDOW_END ((uintptr_t)0x555000000000)
#define WINDOW_GRANULE ((uintptr_t)1 << 30) /* regions start at multiples; SHMB_ALIGN_MAX */

static inline bool window_has(const void *p)
{
	return (uintptr_t)p - WINDOW_BASE < WINDOW_END - WINDOW_BASE;
}

/*
 * Maps `size` bytes of `fd` in the window: at `wanted`, if not 0 and free;
 * else, unless `only_wanted`, at a place that `seed` picks. EEXIST: taken.
 */
int window_map(int fd, uint64_t size, int prot, uintptr_t wanted, bool only_wanted, uint64_t seed, void **addr);

/* An address that a new region may settle at, free here now; 0: none. */
uintptr_t window_pick(uint64_t size, uint64_t seed);

/* Who is at an address: set when an arena is mapped, NULL when it has gone. */
void window_set(void *addr, uint64_t size, void *arena);
void *window_get(const void *p); /* p must lie in the window */

#endif
