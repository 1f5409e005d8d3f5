/*
 * arena.h - an arena as this process has it open: where its tables are
 * mapped, the process's tenure of a slot, and what is private to it.
 *
 * Lock order, outermost first. None is held over a system call but
 * `setup_lock`, which is taken only where an arena is opened, closed, forked,
 * or first used by a forked child, and a bucket's where it commits a page.
 *   1 setup_lock (tenure.c)        2 a bucket's lock (lock.c, directory.c)
 *   3 jemalloc's own               4 pages.lock (page.c)
 *   5 a depot's lock: tried only   6 the one that keeps forks off (lease.c)
 *
 * The second and the fifth are in the region. DEBUG=1 builds assert the order
 * of the first five (lock.c); nothing is locked under the sixth. A bucket's lock is the only one anybody in another process waits for.
 */
#ifndef SHMB_ARENA_H
#define SHMB_ARENA_H

#include "blockmap.h"
#include "hint.h"
#include "layout.h"
#include "lease.h"
#include "region.h"

#include <pthread.h>


struct engine; /* engine.c */

/* Pages of the units this process holds: which are free. Private; see page.c. */
struct page_heap {
	pthread_mutex_t lock;
	uint64_t mapped;   /* bytes of the one mapping behind the arrays */
	uint16_t *free;    /* per unit: bit i set: page i is free */
	uint32_t *next, *prev;
	uint32_t bins[UNIT_PAGES + 1]; /* units by their longest free run, chained; number plus one */
	uint64_t held;     /* units */
	_Atomic(hint_t *) had; /* a bit a unit: this process's it was, so its word is none that was there before */
};

struct shmb_arena {
	/* What the hot path reads: one line that is hardly ever written. */
	_Alignas(64) char *data;
	block_t *blocks;
	char *no_mag;          /* what halves of pairs count from */
	_Atomic uint64_t limit; /* grains of data that have a block map and committed tables, as last seen */
	_Atomic span_t *spans;
	struct thread_shm *records; /* the region's thread records, mapped once more: see context.c */

	_Alignas(64) struct shmb_region *region;
	struct layout lay;
	char *map;
	struct header_shm *hdr;
	struct depot_shm *depots;
	struct slot_shm *slots;
	struct thread_shm *threads;
	struct mag_shm *mags;
	hint_t *mag_bits, *used_bits, *dirty_bits, *map_bits, *tag_bits, *box_bits;
	struct box_shm *boxes;
	struct bucket_shm *buckets;
	struct name_shm *names;
	struct rules_shm *rules;
	tag_t *tags, *unit_tags;
	_Atomic page_t *pages;

	bool fixed;           /* mapped at hdr->base */
	bool small_pages;     /* no huge ones */
	uint32_t guard;       /* bytes at the end of a block that are its canary; 0: the region is not hardened */
	uint64_t key[2];      /* of the canaries */
	_Atomic bool closed;
	_Atomic bool retired; /* a private snapshot of another process's: nothing is issued from it */
	_Atomic bool absent;  /* another process's, of which nothing is mapped; retired as well */

	_Atomic bool frozen;  /* a snapshot is being taken, of one moment: see snapshot.c */
	_Atomic uint32_t halt; /* a thread of this process forks: see halt.h; a futex */
	_Atomic pid_t halter;  /* that thread */
	_Atomic uint32_t halt_waiting; /* threads that wait for it */
	_Atomic uint64_t halt_until_ns;

	/* This process's tenure. */
	_Atomic holder_t holder; /* 0: no slot yet */
	_Atomic holder_t hold;   /* on units, records and magazines */
	holder_t recover_as; /* before it has a tenure: the dead one's whose slot it recovers, for locks */
	struct lease slot_lease;
	_Atomic(struct engine *) engine; /* NULL: not needed yet */
	struct page_heap page_heap;
	struct tctx *contexts; /* THREADS of them, sparse; number i uses thread record i */
	_Atomic uint32_t contexts_high; /* from there on none was ever used */
	_Atomic uint64_t tidied_ms; /* when a thread of this process last looked for idle depots */
	uint32_t stock_bytes;  /* what a thread may keep in its backlog; tests change it */
	_Atomic(struct tctx *) parked; /* of exited threads whose backlog found no place */
	_Atomic bool receiving;        /* a thread takes from the inbox: see magazine.c */
	_Atomic bool collecting;       /* a thread frees strays: see orphan.c */
	_Atomic uint32_t rules_followed; /* preload: generation of the rules that this process follows; 0: it follows none */
	struct {
		_Atomic bool shared;     /* another process was attached, at some time */
		_Atomic uint64_t ready;  /* units that had tables when last looked at */
		_Atomic uint64_t *known; /* a bit a grain: valgrind knows of a block that starts there */
	} shadow;                      /* for shadow.c, in the builds that have it */
	_Atomic uint64_t returns;      /* counts what may end a shortage: see heap.c */
	_Atomic uint64_t shortage_returns, shortage_ns; /* as they were when memory last ran out */
};

static inline bool arena_has(const struct shmb_arena *a, const void *p)
{
	return (uintptr_t)p - (uintptr_t)a->data < a->lay.units << UNIT_SHIFT;
}

static inline char *unit_addr(const struct shmb_arena *a, uint64_t unit)
{
	return a->data + (unit << UNIT_SHIFT);
}

static inline span_t span_get(const struct shmb_arena *a, uint64_t unit)
{
	return atomic_load_explicit(&a->spans[unit], memory_order_acquire);
}

/* What the header counts, never more than there can be. */
static inline uint32_t ready_count(const _Atomic uint32_t *count, uint32_t most)
{
	uint32_t n = atomic_load(count);
	return n < most ? n : most;
}
static inline uint32_t mags_ready(const struct shmb_arena *a) { return ready_count(&a->hdr->mags_ready, MAGS); }
static inline uint32_t threads_ready(const struct shmb_arena *a) { return ready_count(&a->hdr->threads_ready, THREADS); }
static inline uint32_t boxes_ready(const struct shmb_arena *a) { return ready_count(&a->hdr->boxes_ready, BOXES); }
static inline uint32_t slots_high(const struct shmb_arena *a) { return ready_count(&a->hdr->slots_high, SLOTS); }

#ifdef SHMB_VALGRIND
void shadow_ready(const struct shmb_arena *a, uint64_t units); /* who goes on to read what they have is let in */
#else
#define shadow_ready(a, units) ((void)0)
#endif

static inline uint64_t units_ready(const struct shmb_arena *a)
{
	uint64_t n = atomic_load_explicit(&a->hdr->units_ready, memory_order_acquire);
	n = n < a->lay.units ? n : a->lay.units;
	shadow_ready(a, n);
	return n;
}

#endif
