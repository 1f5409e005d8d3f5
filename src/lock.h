/*
 * lock.h - a lock in a region that survives its holder.
 *
 * The word holds the holder (slot and generation). Who waits too long asks
 * the kernel whether the holder's lease is held, and takes the lock from the
 * dead. What a lock protects must be sound after every store, so there is
 * nothing to repair: the thief goes on.
 */
#ifndef SHMB_LOCK_H
#define SHMB_LOCK_H

#include "arena.h"

/* Ranks of the lock order in arena.h. */
enum lock_rank { RANK_SETUP = 1, RANK_BUCKET, RANK_ENGINE, RANK_PAGES, RANK_DEPOT };

/* DEBUG=1: asserts that no lock of this rank or a later one is held by the thread. */
#ifdef SHMB_DEBUG
void rank_enter(enum lock_rank rank);
void rank_leave(enum lock_rank rank);
#else
static inline void rank_enter(enum lock_rank rank) { (void)rank; }
static inline void rank_leave(enum lock_rank rank) { (void)rank; }
#endif

/* Waits for as long as the holder lives. The caller has a tenure. */
void lock_take(struct shmb_arena *a, _Atomic holder_t *lock, _Atomic uint32_t *waiters);
void lock_drop(_Atomic holder_t *lock, _Atomic uint32_t *waiters);

/* In a forked child: the threads that wanted one have not come along. */
void lock_forget(void);

/* Tried, not waited for; from the dead, too. Given back by a store of 0. */
bool lock_try_over(struct shmb_arena *a, _Atomic holder_t *lock);

/* Is the process behind `h` gone? Asks the kernel; false where that cannot be told. */
bool holder_dead(const struct shmb_arena *a, holder_t h);

#endif
