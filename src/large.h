/* large.h - blocks of whole units, straight from the span table. See large.c. */
#ifndef SHMB_LARGE_H
#define SHMB_LARGE_H

#include "arena.h"

/*
 * *zeroed: are zeros wanted? and then: is it zeros? where: NULL, or gets the
 * block's ref before it is one; see heap_alloc_at(). size: with what its end takes, here and below.
 */
void *large_take(struct shmb_arena *a, size_t size, size_t align, bool *zeroed, _Atomic uint64_t *where);

/* Frees the block whose HEAD word was `w`; aborts where somebody else has freed it since. */
void large_free(struct shmb_arena *a, void *p, span_t w, _Atomic uint64_t *where);

/* Grows or shrinks it where it is; false: it cannot grow there. */
bool large_resize(struct shmb_arena *a, void *p, span_t w, size_t size);

#endif
