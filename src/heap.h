/* heap.h - inside the library: what the handle and the preload shim need of the heap. */
#ifndef SHMB_HEAP_H
#define SHMB_HEAP_H

#include "arena.h"

void heap_setup(void); /* once, before the first arena is opened */

/* What a pointer into the data of `a` is: its block's first byte and usable size; false: none that is live. */
struct block_view {
	uint64_t start, size; /* data offset, bytes */
};
bool heap_find(const struct shmb_arena *a, uint64_t off, struct block_view *out);

#endif
