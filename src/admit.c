/*
 * admit.c - a look at a region before this process writes to it: the counts of
 * its header and the slots that were ever taken.
 *
 * Others may be at work, so only that is asked which holds at every moment
 * (sound.h). What there can be much of is not looked at, or an attach would
 * take the longer the more is in use, nor at what it does not read anyway: words
 * of units and boxes, pages, blocks, magazines, depots, names. Who comes upon them checks them. Nor is what is written
 * later: whoever may write to a region is trusted from then on.
 */
#include "admit.h"

#include "sound.h"

static bool slots_sound(const struct shmb_arena *a)
{
	uint32_t n = slots_high(a);
	for (uint32_t i = 0; i < n; i++)
		if (sound_slot(&a->slots[i]))
			return false;
	return true;
}

int admit(const struct shmb_arena *a)
{
	uint64_t is, most;
	bool sound = !sound_header(a->hdr, &a->lay, &is, &most) && slots_sound(a);
	return sound ? 0 : SHMB_ECORRUPT;
}
