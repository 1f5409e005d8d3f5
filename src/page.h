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

/* Is the unit among those whose pages this process's engine hands out? */
static inline bool page_unit_mine(const struct shmb_arena *a, span_t w)
{
	return w == span_make(SPAN_SMALL, 0, atomic_load_explicit(&a->hold, memory_order_relaxed));
}

#endif
