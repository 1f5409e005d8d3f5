/*
 * freeze.h - this process's writes to a mapped region, held while it is
 * copied. See freeze.c.
 */
#ifndef SHMB_FREEZE_H
#define SHMB_FREEZE_H

#include "arena.h"

struct freeze {
	int fd; /* -1: nothing is held */
	uint64_t signals;
};

/*
 * From here to freeze_end() the calling thread must not write to the region:
 * nobody would let it go on. Its signals are blocked. False: not to be had
 * here, or not for this thread.
 */
bool freeze_begin(struct freeze *f, struct shmb_arena *a);
void freeze_end(struct freeze *f, struct shmb_arena *a);

/* Whole pages. hold: later writes wait. Else they go on, those that wait too. */
int freeze_range(const struct freeze *f, const void *from, uint64_t len, bool hold);

/* A write that waits; false: there is none. */
bool freeze_next(const struct freeze *f, uintptr_t *at);

#endif
