/*
 * window.c - where arena regions are mapped. See window.h.
 *
 * The table is written on open and close and read without a lock: an entry
 * is one pointer, and a reader holds a pointer into the region, which its
 * owner may not close under it.
 */
#include "window.h"

#include "sys.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

enum { GRANULES = (WINDOW_END - WINDOW_BASE) / WINDOW_GRANULE, TRIES = 64 };

static _Atomic(void *) table[GRANULES];

static uint64_t granules_of(uint64_t size)
{
	return (size + WINDOW_GRANULE - 1) / WINDOW_GRANULE;
}

/* The address of try number `i` for `seed`: scattered, so that regions of strangers rarely meet. */
static uintptr_t candidate(uint64_t size, uint64_t seed, unsigned i)
{
	uint64_t room = GRANULES - granules_of(size) + 1;
	uint64_t h = (seed + i) * 0x9e3779b97f4a7c15u;
	return WINDOW_BASE + (h ^ h >> 29) % room * WINDOW_GRANULE;
}

/* Of an arena here, even if nothing of it is mapped any more: old pointers must not come to be into another. */
static bool is_taken(uintptr_t at, uint64_t size)
{
	uint64_t first = (at - WINDOW_BASE) / WINDOW_GRANULE;
	for (uint64_t i = 0; i < granules_of(size); i++)
		if (atomic_load(&table[first + i]))
			return true;
	return false;
}

static int map_at(int fd, uint64_t size, int prot, int flags, uintptr_t at, void **addr)
{
	if (is_taken(at, size))
		return EEXIST;
	int err = sys_map_lazily((void *)at, size, prot, flags | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0, addr);
	if (!err && (uintptr_t)*addr != at) { /* a kernel before 4.17 took it for a wish */
		sys_unmap(*addr, size);
		err = EEXIST;
	}
	return err;
}

uintptr_t window_pick(uint64_t size, uint64_t seed)
{
	for (unsigned i = 0; i < TRIES && granules_of(size) <= GRANULES; i++) {
		uintptr_t at = candidate(size, seed, i);
		void *addr;
		if (!map_at(-1, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, at, &addr)) {
			sys_unmap(addr, size);
			return at;
		}
	}
	return 0;
}

int window_map(int fd, uint64_t size, int prot, uintptr_t wanted, bool only_wanted, uint64_t seed, void **addr)
{
	int err = EEXIST;
	if (granules_of(size) > GRANULES)
		return ENOMEM;
	if (wanted >= WINDOW_BASE && wanted < WINDOW_END && wanted % WINDOW_GRANULE == 0 &&
	    size <= WINDOW_END - wanted)
		err = map_at(fd, size, prot, MAP_SHARED, wanted, addr);
	for (unsigned i = 0; err == EEXIST && !only_wanted && i < TRIES; i++)
		err = map_at(fd, size, prot, MAP_SHARED, candidate(size, seed, i), addr);
	return err;
}

void window_set(void *addr, uint64_t size, void *arena)
{
	uint64_t first = ((uintptr_t)addr - WINDOW_BASE) / WINDOW_GRANULE;
	for (uint64_t i = 0; i < granules_of(size); i++)
		atomic_store(&table[first + i], arena);
}

void *window_get(const void *p)
{
	return atomic_load_explicit(&table[((uintptr_t)p - WINDOW_BASE) / WINDOW_GRANULE], memory_order_relaxed);
}
