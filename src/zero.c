/* zero.c - zeros in a region's memory, for what a program asks of the kernel. See preload_api.h. */
#include "arena.h"
#include "preload_api.h"
#include "shadow.h"
#include "sys.h"
#include "window.h"

#include <string.h>

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The arena that is mapped at p and shared; *end: where that ends to be so. */
static struct shmb_arena *shared_at(uintptr_t p, uintptr_t *end)
{
	struct shmb_arena *a = window_has((void *)p) ? window_get((void *)p) : NULL;
	uintptr_t granule = p / WINDOW_GRANULE * WINDOW_GRANULE + WINDOW_GRANULE;
	if (!window_has((void *)p))
		*end = p < WINDOW_BASE ? WINDOW_BASE : UINTPTR_MAX;
	else
		*end = granule;
	if (!a || atomic_load(&a->retired))
		return NULL;
	uintptr_t stop = (uintptr_t)a->map + a->lay.size;
	*end = p < stop ? stop : granule; /* between a region and the next granule there is nothing */
	return p < stop ? a : NULL;
}

bool preload_shared(const void *p, size_t len, size_t *n)
{
	uintptr_t end;
	bool ours = shared_at((uintptr_t)p, &end) != NULL;
	*n = least(len, end - (uintptr_t)p);
	return ours;
}

/* Through another mapping where this one may not be written to. */
static bool zero_run(char *p, uint64_t len)
{
	void *again;
	if (!sys_populate(p, len)) {
		memset(p, 0, len);
		return true;
	}
	if (sys_map_again(p, len, &again))
		return false;
	memset(again, 0, len);
	sys_unmap(again, len);
	return true;
}

/* Populated, and somebody's: a hole must not be written to. */
static bool in_use(const struct shmb_arena *a, uint64_t unit)
{
	enum span_kind k = span_kind_of(span_get(a, unit));
	return k == SPAN_SMALL || k == SPAN_HEAD || k == SPAN_CONT;
}

bool preload_zero(void *p, size_t len)
{
	uintptr_t unused;
	const struct shmb_arena *a = shared_at((uintptr_t)p, &unused);
	if (!a || (char *)p + len <= a->data)
		return true;
	uint64_t from = (char *)p > a->data ? (uint64_t)((char *)p - a->data) : 0;
	uint64_t end = least((uint64_t)((char *)p + len - a->data), units_ready(a) << UNIT_SHIFT);
	bool done = true;
	if (from < end)
		shadow_leave(a, a->data + from, end - from);
	while (from < end && done) {
		uint64_t to = from;
		while (to < end && in_use(a, to >> UNIT_SHIFT))
			to = least(end, ((to >> UNIT_SHIFT) + 1) << UNIT_SHIFT);
		if (to > from)
			done = zero_run(a->data + from, to - from);
		from = ((to >> UNIT_SHIFT) + 1) << UNIT_SHIFT;
	}
	return done;
}
