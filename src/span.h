/* span.h - runs of 64 KiB units: who has which. See span.c. */
#ifndef SHMB_SPAN_H
#define SHMB_SPAN_H

#include "arena.h"

#define SPAN_NONE (~(uint64_t)0)

/*
 * Takes `n` units in a row for this process, committed, all words TAKING: the
 * caller turns them into what they are to be. `align`: of the first unit's
 * address, in units, a power of two. small: within SMALL_UNITS and with their
 * block map. *zeroed: the memory reads as zeros. SPAN_NONE: no such run, or
 * the file system is full.
 */
uint64_t span_take(struct shmb_arena *a, uint64_t n, uint64_t align, bool small, bool *zeroed);

/* The same for exactly the units from `start` on. */
bool span_take_at(struct shmb_arena *a, uint64_t start, uint64_t n, bool *zeroed);

/* Units in a row that are free and populated already, *n of them at most; SPAN_NONE: none was found. */
uint64_t span_take_populated(struct shmb_arena *a, uint64_t *n, bool small);

/* Gives back units whose words are TAKING by this process. */
void span_return(struct shmb_arena *a, uint64_t start, uint64_t n);

/* Changes a unit's word from exactly `from` to TAKING by this process. */
bool span_seize(struct shmb_arena *a, uint64_t unit, span_t from);

/* Gives the pages of free units back to the system until `keep` at most stay populated. */
void span_trim(struct shmb_arena *a, uint64_t keep);

/* Makes both bitmaps and both counts agree with the words again. */
void span_resync(struct shmb_arena *a);

#endif
