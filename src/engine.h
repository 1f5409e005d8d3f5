/*
 * engine.h - jemalloc, as the supplier of small blocks from this process's
 * spans. What it hands out has no state in the block map yet, and what it
 * takes back has none any more. An arena's engine is made with the first small
 * block that this process asks of it. See engine.c.
 */
#ifndef SHMB_ENGINE_H
#define SHMB_ENGINE_H

#include "arena.h"

enum {
	ENGINE_SHARDS = 8, /* jemalloc arenas a process uses for one of ours, at most */
	ENGINE_BATCH = 64
};

/* Once: registers fork handlers, to be called before any are registered that take locks under which the engine is called. */
int engine_setup(void);

/* Has this process's jemalloc been set up? Before, the engine makes sure that it can be. */
bool engine_started(void);

/* Forgets the spans and destroys the jemalloc arenas. In a forked child only the former. */
void engine_close(struct shmb_arena *a);

/* Begins anew with nothing, for a hold that has nothing. No other thread is in the engine. */
void engine_renew(struct shmb_arena *a, holder_t hold);

/* `thread` is the number of the caller's thread record, NO_THREAD where it has none: threads are spread over jemalloc's arenas by it. */

/*
 * A block of `class`, its pages noted, in data grains. align: 0, or a multiple
 * of PAGE, for a class of whole pages. False: no memory.
 */
bool engine_alloc(struct shmb_arena *a, unsigned thread, unsigned class, size_t align, uint32_t *grain);

/* Up to `want` blocks, ENGINE_BATCH at most, into `grains`; how many: 0 stands for no memory. */
unsigned engine_alloc_many(struct shmb_arena *a, unsigned thread, unsigned class, unsigned want, uint32_t *grains);

/* Takes `n` blocks back, ENGINE_BATCH at most, that lie in units of page_unit_mine(). */
void engine_free_many(struct shmb_arena *a, const uint32_t *grains, unsigned n);

/* Gives slabs and pages that jemalloc holds empty back to the span table. */
void engine_purge(struct shmb_arena *a);

/* By which numbers jemalloc knows the arenas of its own that serve this one. How many. */
unsigned engine_numbers(struct shmb_arena *a, unsigned out[ENGINE_SHARDS]);

/* jemalloc's own JSON or text about all arenas of its own in this process. */
void engine_stats(void (*write)(void *, const char *), void *opaque, const char *opts);

#endif
