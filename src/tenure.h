/* tenure.h - this process's membership of an arena: slot, engine, pages. */
#ifndef SHMB_TENURE_H
#define SHMB_TENURE_H

#include "arena.h"

/* Begins one through `fd`; holder and engine are set. look: SHMB_ECORRUPT where the region is none to write to (admit.h). */
int tenure_begin(struct shmb_arena *a, int fd, bool look);

/* The same where a forked child comes to an inherited arena for the first time. */
int tenure_renew(struct shmb_arena *a);

/* In a forked child: forgets the parent's. Makes no system call. */
void tenure_forget(struct shmb_arena *a);

/*
 * A thread of this process goes into a slow path of an arena that it has a
 * tenure of, and out again: in between nobody takes the process's hold, which
 * is renewed on the way in if it was taken. hold_try(): false instead of that.
 */
void hold_enter(struct shmb_arena *a);
bool hold_try(struct shmb_arena *a);
void hold_leave(struct shmb_arena *a);

/* For a thread whose record `r` was taken under `hold`: false where that is not the process's any more, or being taken. */
bool hold_try_own(struct shmb_arena *a, struct thread_shm *r, holder_t hold);
void hold_leave_own(struct thread_shm *r);

/* Ends it: what it held is recovered at once, as if the process had died. */
void tenure_end(struct shmb_arena *a);

/* Serialises opening, closing, forking and first meetings; held across fork. */
void setup_lock(void);
void setup_unlock(void);

#endif
