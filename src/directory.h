/* directory.h - names of boxes. See directory.c. */
#ifndef SHMB_DIRECTORY_H
#define SHMB_DIRECTORY_H

#include "arena.h"

/* EINVAL: empty, or longer than a name can be. */
int directory_check(const char *name);

/* The number plus one of the box that has the name; 0: none. */
uint32_t directory_find(const struct shmb_arena *a, const char *name);

/* Locks the name's home bucket, its pages committed. ENOMEM. */
int directory_lock(struct shmb_arena *a, const char *name);
void directory_unlock(struct shmb_arena *a, const char *name);

/* Under the lock: gives the box a name that nobody has. ENOSPC: its buckets are full. */
int directory_insert(struct shmb_arena *a, const char *name, uint32_t box);

/* Takes its name from a box that this process is making or dropping. */
void directory_remove(struct shmb_arena *a, uint32_t box);

#endif
