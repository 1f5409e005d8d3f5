/*
 * tally.h - what of each rule of a preloaded program lives, and did at most.
 * See tally.c. All of it does nothing in an arena without rules.
 */
#ifndef SHMB_TALLY_H
#define SHMB_TALLY_H

#include "arena.h"

static inline bool tally_wanted(const struct shmb_arena *a)
{
	return atomic_load_explicit(&a->hdr->rules_gen, memory_order_acquire) != 0;
}

/* `n` blocks of a class have come to a thread, from the engine or in a magazine. */
void tally_enter(struct shmb_arena *a, unsigned class, uint32_t n);

/* A magazine is to leave its thread: its blocks' tags go. */
void tally_untag(struct shmb_arena *a, const struct mag_shm *m);

/* And `n` blocks of it have left, or were freed without one. */
void tally_leave(struct shmb_arena *a, unsigned class, uint32_t n);

/* A block that was freed round the magazines. */
void tally_leave_one(struct shmb_arena *a, uint32_t grain, unsigned class);

/* A live block of the calling thread's, just issued or resized, is the rule's whose entry that is. */
void tally_tag(struct shmb_arena *a, uint32_t grain, unsigned class, unsigned entry);
void tally_tag_large(struct shmb_arena *a, uint64_t unit, uint64_t n, unsigned entry);

/* A large block has another size, or is free. */
void tally_resize_large(struct shmb_arena *a, uint64_t unit, uint64_t have, uint64_t want);
void tally_free_large(struct shmb_arena *a, uint64_t unit, uint64_t n);

/* What is out of a class is in that entry's sum from now on; RULE_NONE: in nobody's. */
void tally_attribute(struct shmb_arena *a, unsigned class, unsigned entry);

/*
 * Takes the tags of entries that are `gone` off, and of small blocks all those
 * in classes that are not `tagged`; NULL for one: it does not matter. `fd`: the region's.
 */
void tally_sweep(struct shmb_arena *a, int fd, const bool *gone, const uint8_t *tagged);

#endif
