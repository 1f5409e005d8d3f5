/* ref.h - which block an offset points into. See ref.c. */
#ifndef SHMB_REF_H
#define SHMB_REF_H

#include "arena.h"

struct block_view {
	uint64_t start, size; /* data offset, bytes */
};

/* The live block that data offset `off` lies in; false: none. */
bool ref_find(const struct shmb_arena *a, uint64_t off, struct block_view *out);

#endif
