/* depot.h - where magazines are that no thread has: the pool and the depots. See depot.c. */
#ifndef SHMB_DEPOT_H
#define SHMB_DEPOT_H

#include "context.h"

enum { GRAINS_PER_UNIT = UNIT / GRAIN };

/* In order, and that is all: what a kill in between leaves. Who must see it at once takes a lock or a word by exchange. */
#define store(to, value) atomic_store_explicit(to, value, memory_order_release)

static inline uint32_t mag_number(const struct shmb_arena *a, const struct mag_shm *m)
{
	return (uint32_t)(m - a->mags) + 1;
}

static inline uint32_t mag_count(const struct mag_shm *m)
{
	return atomic_load_explicit(&m->count, memory_order_relaxed);
}

static inline void mag_count_set(struct mag_shm *m, uint32_t n)
{
	atomic_store_explicit(&m->count, n, memory_order_release);
}

/*
 * The magazine as another process left it, or NULL where it cannot be one:
 * the region is data from strangers, and the hot path believes what it finds.
 */
struct mag_shm *mag_checked(const struct shmb_arena *a, uint32_t number, unsigned class);

/*
 * An empty magazine in the thread's `transit`; NULL: none to be had. It is the
 * one that the thread gave back last, if nobody has taken it: that is in its
 * cache. pool_return: of one that was not the calling thread's.
 */
struct mag_shm *pool_take(struct tctx *t, unsigned class);
void pool_give_back(struct tctx *t, struct mag_shm *m);
void pool_return(struct shmb_arena *a, struct mag_shm *m);

/* Finds magazines whose returner was killed before it could say so. */
void pool_resync(struct shmb_arena *a);

/* How many magazines of a class its depot is to hold, and how many it does. */
uint32_t depot_limit(unsigned class);
uint32_t depot_count(const struct depot_shm *d);

/* False: it holds `limit`, or somebody is at it. */
bool depot_push(struct shmb_arena *a, struct mag_shm *m, uint32_t limit);

/*
 * A magazine with blocks, in transit and this thread's; NULL: none, or somebody
 * is at the depot. use: for its blocks, so none that others may want back soon;
 * else any, to be emptied.
 */
struct mag_shm *depot_pop(struct tctx *t, unsigned class, bool use);

/* Is it in the depot of its class? Under that depot's lock, or with nobody writing. */
bool depot_lists(const struct shmb_arena *a, unsigned class, uint32_t number);

/* Tried, not waited for. */
bool depot_lock(struct shmb_arena *a, unsigned class);
void depot_unlock(struct shmb_arena *a, unsigned class);

#endif
