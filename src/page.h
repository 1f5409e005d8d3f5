/* page.h - page runs carved from the units this process holds. See page.c. */
#ifndef SHMB_PAGE_H
#define SHMB_PAGE_H

#include "arena.h"

void page_heap_open(struct shmb_arena *a);
void page_heap_close(struct shmb_arena *a);
void page_heap_renew(struct shmb_arena *a);  /* with nothing in it */
void page_heap_forget(struct shmb_arena *a); /* in a forked child: the parent's, unseen */

/* A run of `n` <= 16 pages whose address is a multiple of `align` pages; NULL: no memory. */
void *page_take(struct shmb_arena *a, unsigned n, unsigned align);

/* Gives a run back; no block of it is in use. */
void page_return(struct shmb_arena *a, void *addr, unsigned n);

/* Gives units back that no page of is in use. */
void page_trim(struct shmb_arena *a);

/*
 * Records class and phase of every page that the block at `grain` touches,
 * before the block is issued. One look where that is known already.
 */
void page_note(struct shmb_arena *a, uint32_t grain, unsigned class);

/* Is there a unit of small blocks, and room for one of the class up to its end? */
static inline bool page_fits(const struct shmb_arena *a, uint32_t grain, unsigned class)
{
	enum { UNIT_GRAINS = UNIT / GRAIN };
	uint64_t unit = grain / UNIT_GRAINS;
	return unit < units_ready(a) && span_kind_of(span_get(a, unit)) == SPAN_SMALL &&
	       grain % UNIT_GRAINS + class_size(class) / GRAIN <= UNIT_GRAINS;
}

/* And does the page say that a block of the class starts there? */
bool page_explains(const struct shmb_arena *a, uint32_t grain, unsigned class);

/*
 * Is the unit, whose word is `w`, among those whose pages this process's engine hands out? A word
 * alone may be a stranger's, who wrote it before this process attached.
 */
static inline bool page_unit_mine(const struct shmb_arena *a, uint64_t unit, span_t w)
{
	if (w != span_make(SPAN_SMALL, 0, atomic_load_explicit(&a->hold, memory_order_relaxed)))
		return false;
	const hint_t *had = atomic_load_explicit(&a->page_heap.had, memory_order_acquire);
	return had && unit < SMALL_UNITS && hint_get(had, unit);
}

#endif
