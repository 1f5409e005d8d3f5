/* boxes.h - the boxes of an arena: entries, states, their way from maker to owner. See boxes.c. */
#ifndef SHMB_BOXES_H
#define SHMB_BOXES_H

#include "arena.h"

/* An entry in MAKING by this process; NULL: none left, or no memory. */
struct box_shm *boxes_take(struct shmb_arena *a);

/* Gives a MAKING or DROPPING entry of this process's back, its block freed already. */
void boxes_give(struct shmb_arena *a, struct box_shm *b);

/* From exactly `from` to `to`, waking who waits; false: somebody else changed it. */
bool boxes_change(struct box_shm *b, uint64_t from, enum box_state to, holder_t owner);

/* Waits while the word is `seen`: a while, or until it turns out that nobody is at it (true). */
bool boxes_wait(struct shmb_arena *a, struct box_shm *b, uint64_t seen);

/*
 * For recovery, before the dead process's magazines are given on: its boxes
 * become HALF or ABANDONED. A block that one of those magazines lists is not a
 * half-made box's.
 */
void boxes_abandon(struct shmb_arena *a, holder_t dead, holder_t hold);

static inline uint32_t boxes_number(const struct shmb_arena *a, const struct box_shm *b)
{
	return (uint32_t)(b - a->boxes) + 1;
}

#endif
