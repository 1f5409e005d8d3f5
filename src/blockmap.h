/*
 * blockmap.h - one byte for each 16 bytes of data: state << 6 | class of the
 * block that starts there.
 *
 *   NONE    no block starts here, or jemalloc has it
 *   CACHED  free, listed in a magazine
 *   STRAY   free, listed nowhere: freed where no magazine could take it;
 *           whoever holds the span collects it
 *   LIVE    handed out
 *
 * A byte is written by whoever holds the block at that moment, so plain
 * stores do; the order against the magazine is what matters (layout.h), and
 * release keeps it on every machine.
 */
#ifndef SHMB_BLOCKMAP_H
#define SHMB_BLOCKMAP_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum block_state { BLOCK_NONE, BLOCK_CACHED, BLOCK_STRAY, BLOCK_LIVE };
enum { BLOCK_STATE_SHIFT = 6, BLOCK_CLASS_MASK = (1 << BLOCK_STATE_SHIFT) - 1 };

typedef _Atomic uint8_t block_t;

static inline uint8_t block_make(enum block_state s, unsigned class)
{
	return (uint8_t)((unsigned)s << BLOCK_STATE_SHIFT | class);
}
static inline enum block_state block_state_of(uint8_t b) { return (enum block_state)(b >> BLOCK_STATE_SHIFT); }
static inline unsigned block_class(uint8_t b) { return b & BLOCK_CLASS_MASK; }

static inline uint8_t block_get(const block_t *map, size_t grain)
{
	return atomic_load_explicit(&map[grain], memory_order_relaxed);
}
/* For who may issue it again if it is free: what its last user did with it comes before. */
static inline uint8_t block_get_acquire(const block_t *map, size_t grain)
{
	return atomic_load_explicit(&map[grain], memory_order_acquire);
}
static inline void block_set(block_t *map, size_t grain, uint8_t b)
{
	atomic_store_explicit(&map[grain], b, memory_order_release);
}

#endif
