/* orphan.h - units of small blocks whose process is gone. See orphan.c. */
#ifndef SHMB_ORPHAN_H
#define SHMB_ORPHAN_H

#include "arena.h"

/*
 * Takes the right to change the free blocks of an orphaned unit whose word was
 * `w`; false: it is not orphaned, or somebody else has it. The pair to it
 * gives the unit back to the span table where no block of it is left.
 */
bool orphan_adopt(struct shmb_arena *a, uint64_t unit, span_t w);
void orphan_leave(struct shmb_arena *a, uint64_t unit, span_t w);

/* Are there words of the dead that nobody has looked at since? */
static inline bool orphan_pending(const struct shmb_arena *a)
{
	return atomic_load_explicit(&a->hdr->orphans, memory_order_relaxed) != 0;
}

/*
 * Looks at some units on; frees those that nothing is left in, and adds free
 * blocks of `class` to `m`, which only the caller reaches. True: it added some.
 */
bool orphan_collect(struct shmb_arena *a, struct mag_shm *m, unsigned class);

/* Looks at all units, once; and at the strays in this process's own. */
void orphan_collect_all(struct shmb_arena *a);

/* Frees a live block that no magazine can take now: whoever holds its unit collects it. */
void block_stray(struct shmb_arena *a, uint32_t grain);
void block_stray_as(struct shmb_arena *a, uint32_t grain, unsigned class); /* one without a byte */

#endif
