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

/* Of a process that has one. */
static inline struct slot_shm *slot_own(const struct shmb_arena *a)
{
	return &a->slots[holder_slot(atomic_load_explicit(&a->holder, memory_order_relaxed))];
}

/* The slot's hold as it is now. */
static inline holder_t slot_hold(const struct shmb_arena *a, unsigned slot)
{
	return hold_make(slot, atomic_load(&a->slots[slot].hold) >> 1);
}

enum { SLOT_EVICTING = 1 }; /* in the hold word */

/* Does the slot's record say that `h` is its present tenure, or hold? */
static inline bool slot_names(const struct slot_shm *s, holder_t h)
{
	if (h & HOLD)
		return atomic_load_explicit(&s->hold, memory_order_acquire) >> 1 == (h & GEN_MASK);
	return atomic_load_explicit(&s->word, memory_order_acquire) == ((h & GEN_MASK) << 8 | SLOT_LIVE);
}

/* Is `h` current? A stale one's process has been recovered, or evicted. */
static inline bool holder_current(const struct shmb_arena *a, holder_t h)
{
	unsigned s = holder_slot(h);
	return h && s < SLOTS && s < atomic_load_explicit(&a->hdr->slots_high, memory_order_acquire) &&
	       slot_names(&a->slots[s], h);
}

/* Ends the tenure that the caller, holding the slot's lease, has cleaned up after. */
void slot_retire(struct shmb_arena *a, unsigned slot);

#endif
