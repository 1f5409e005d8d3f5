/* magazine.h - thread caches. See magazine.c. */
#ifndef SHMB_MAGAZINE_H
#define SHMB_MAGAZINE_H

#include "context.h"

enum { STOCK_BYTES = 1 << 20 };

void magazine_init(struct tctx *t);

/* The thread's loaded magazine of `class`, which has a block afterwards; NULL: no memory. */
struct mag_shm *magazine_refill(struct tctx *t, unsigned class);

/* The same, which has room afterwards; NULL: there is no magazine to be had. */
struct mag_shm *magazine_spill(struct tctx *t, unsigned class);

/* After a free that was the thread's first call for the class: its own blocks come before that one. */
void magazine_aside(struct tctx *t, unsigned class);

/* ---- its parts, for harden.c: see magazine.c ---- */

struct pair {
	struct mag_shm *loaded, *previous; /* NULL: none */
};
struct pair pair_get(const struct tctx *t, unsigned class);
void pair_store(struct tctx *t, unsigned class, struct mag_shm *loaded, struct mag_shm *previous);
void pair_set(struct tctx *t, unsigned class, struct mag_shm *loaded, struct mag_shm *previous);

uint32_t magazine_bytes(const struct mag_shm *m);
void magazine_stock(struct tctx *t, struct mag_shm *m);
void magazine_tidy(struct tctx *t);
/* A magazine with blocks, loaded beside `stays`, for which `goes`, an empty one, is given back; else new blocks in the loaded one. */
struct mag_shm *magazine_load(struct tctx *t, unsigned class, struct mag_shm *stays, struct mag_shm *goes);
void magazine_hand_on(struct tctx *t, struct mag_shm *m);

/* ---- */

/* Hands on all that the thread holds; false: some of it waits in the backlog. */
bool magazine_flush_thread(struct tctx *t);

/* Takes back what others sent this process, and what is this process's in the depot. */
void magazine_reclaim(struct tctx *t);

/* Has the thread any block in its magazines? */
bool magazine_holds(const struct tctx *t);

/*
 * For recovery: gives a dead process's magazine on, its blocks set to CACHED
 * first. A recoverer killed in here leaves it to the next one, who can do it
 * all again; at worst a block of a living other's unit is without a byte
 * until that process ends.
 */
bool magazine_bequeath(struct shmb_arena *a, uint32_t number);

#endif
