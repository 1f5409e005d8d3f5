/* slot.h - which processes are attached. See slot.c. */
#ifndef SHMB_SLOT_H
#define SHMB_SLOT_H

#include "arena.h"

/*
 * Takes the lease of a free slot: a->slot_lease and *slot are set. SHMB_ESLOTS.
 * *left: its last process was killed in it, and is to be recovered before
 * slot_begin(), which makes this process the holder; a->holder is the caller's to set.
 */
int slot_take(struct shmb_arena *a, int fd, unsigned *slot, bool *left);
holder_t slot_begin(struct shmb_arena *a, unsigned slot);

/* Is `h` the present tenure of its slot? A stale one's process has been recovered. */
static inline bool holder_current(const struct shmb_arena *a, holder_t h)
{
	unsigned s = holder_slot(h);
	return h && s < SLOTS && s < atomic_load_explicit(&a->hdr->slots_high, memory_order_acquire) &&
	       atomic_load_explicit(&a->slots[s].word, memory_order_acquire) == ((h & GEN_MASK) << 8 | SLOT_LIVE);
}

/* Ends the tenure that the caller, holding the slot's lease, has cleaned up after. */
void slot_retire(struct shmb_arena *a, unsigned slot);

#endif
