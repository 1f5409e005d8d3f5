/* harden.h - thread caches of a hardened region. See harden.c. */
#ifndef SHMB_HARDEN_H
#define SHMB_HARDEN_H

#include "context.h"

enum { QUARANTINE_MAGS = 64 }; /* magazines that a thread's quarantine holds, and STOCK_BYTES of blocks, at most */

/* As magazine_refill() and magazine_spill(): what to take a block from, what to put one into that is JUNK. */
struct mag_shm *harden_refill(struct tctx *t, unsigned class);
struct mag_shm *harden_spill(struct tctx *t, unsigned class);

/* Which of the magazine's blocks is the next: any, or the top. */
uint32_t harden_pick(struct tctx *t, const struct mag_shm *m, bool any);

/* Makes entry `i` a live block of `size` bytes; dies where that was written to while it was free. */
void harden_issue(struct shmb_arena *a, struct mag_shm *m, uint32_t i, uint64_t size);

#endif
