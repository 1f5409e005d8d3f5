/* commit.h - the memory under units: see commit.c. Of units below, unless said otherwise: TAKING, by this process. */
#ifndef SHMB_COMMIT_H
#define SHMB_COMMIT_H

#include "arena.h"
#include "sys.h"

enum { HUGE_UNITS = HUGE_PAGE >> UNIT_SHIFT }; /* units of a huge page */

/* The tables of all units below `end`, whoever has them: any number of processes may do it at once. */
bool commit_tables(struct shmb_arena *a, uint64_t end);

/* The memory of units that have none; the block map of units, some of which may have it. 0 or an errno. */
int commit_data(struct shmb_arena *a, uint64_t start, uint64_t n, bool huge_too);
int commit_map(struct shmb_arena *a, uint64_t start, uint64_t n);

/* Whether a whole huge page is worth it now. */
bool commit_is_huge(const struct shmb_arena *a);

/* True: the memory is the system's again and reads as zeros. */
bool commit_undo(struct shmb_arena *a, uint64_t start, uint64_t n);

#endif
