/* recover.h - what a dead process held is everybody's again. See recover.c. */
#ifndef SHMB_RECOVER_H
#define SHMB_RECOVER_H

#include "arena.h"

/*
 * Hands on what the slot's last process held and retires its tenure. The
 * caller has the slot's lease. False: there was nothing to recover.
 */
bool recover_slot(struct shmb_arena *a, unsigned slot);

/* Hands on what records and inboxes list for holds that were taken. The caller is the evictor. */
void recover_stale(struct shmb_arena *a);

/* Looks for slots whose process is gone and recovers them. How many there were. */
unsigned recover_dead(struct shmb_arena *a, int fd);

/* The same through a descriptor of its own. The caller has a tenure. */
unsigned recover_now(struct shmb_arena *a);

#endif
