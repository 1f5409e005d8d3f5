/* evict.h - what living processes hold and do not use. See evict.c. */
#ifndef SHMB_EVICT_H
#define SHMB_EVICT_H

#include "arena.h"

/*
 * Takes the holds of all other processes that are in no slow path for as long
 * as a barrier takes, and hands on what records and inboxes
 * list for them; the units are orphaned. Does nothing where another process is
 * at it, or where the kernel has no such barrier. The caller has a tenure.
 */
void evict_idle(struct shmb_arena *a);

#endif
