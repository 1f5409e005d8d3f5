/* box.h - what opening, closing and trimming an arena does about boxes. See box.c. */
#ifndef SHMB_BOX_H
#define SHMB_BOX_H

#include "arena.h"

/* Drops what dead owners left: with a destructor where this process knows the type. False: none. */
bool box_reclaim(struct shmb_arena *a);

/* Drops what this process owns: at its clean leave. */
void box_drop_all(struct shmb_arena *a);

#endif
