/* heap.h - shmb_malloc and its family; the public header declares them. See heap.c. */
#ifndef SHMB_HEAP_H
#define SHMB_HEAP_H

#include "arena.h"

/*
 * malloc and free for whoever keeps the block's ref in the region: *where is
 * set before the block is live, and cleared once it is free, at the point
 * where a kill leaves it to exactly one of *where and the heap (boxes.c).
 */
void *heap_alloc_at(struct shmb_arena *a, size_t size, size_t align, _Atomic uint64_t *where);
void heap_free_at(struct shmb_arena *a, void *p, _Atomic uint64_t *where);

/*
 * What preload_malloc() serves on the hot path: for a size in grains, rounded
 * up, the LIVE byte of its class; without the state: malloc goes by the shim,
 * which looks at who asks (preload_ask); 0: the rules are asked. Written by
 * follow.c, a byte at a time, while others read it.
 */
extern uint8_t heap_placed[CLASS_MAX_SIZE / GRAIN + 1];

#endif
