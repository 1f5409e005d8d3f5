/*
 * class.h - size classes: jemalloc's, from 16 bytes up to what a 64 KiB unit
 * is too large for. Eight multiples of 16, then four steps to each doubling.
 *
 * Pure arithmetic on constants; no data to protect.
 */
#ifndef SHMB_CLASS_H
#define SHMB_CLASS_H

#include <stddef.h>
#include <stdint.h>

enum {
	GRAIN_SHIFT = 4,
	GRAIN = 1 << GRAIN_SHIFT,     /* bytes that one byte of the block map stands for */
	PAGE_SHIFT = 12,
	PAGE = 1 << PAGE_SHIFT,
	UNIT_SHIFT = 16,
	UNIT = 1 << UNIT_SHIFT,       /* the piece that spans are made of */
	UNIT_PAGES = UNIT / PAGE,
	CLASSES = 43,
	CLASS_MAX_SIZE = 57344,       /* of the last class; more is a run of units */
	CLASS_LINEAR = 128            /* up to here every multiple of 16 is a class */
};

/* The smallest class that holds `size` bytes, 1 <= size <= CLASS_MAX_SIZE. */
static inline unsigned class_of(size_t size)
{
	if (size <= CLASS_LINEAR)
		return (unsigned)((size + (GRAIN - 1)) >> GRAIN_SHIFT) - 1;
	unsigned log = 63u - (unsigned)__builtin_clzll(size - 1); /* 2^log < size <= 2^(log+1) */
	unsigned step = (unsigned)((size - 1) >> (log - 2)) & 3;
	return 8 + (log - 7) * 4 + step;
}

/* Bytes of a block of class `c`, from 8 on: a constant where `c` is one. */
#define CLASS_STEPPED(c) ((4u + ((c) - 8) % 4 + 1) << (7 + ((c) - 8) / 4 - 2))

/* Bytes of a block of class `c`. */
static inline uint32_t class_size(unsigned c)
{
	if (c < 8)
		return (c + 1) << GRAIN_SHIFT;
	return CLASS_STEPPED(c);
}

/* Rounds that a magazine of class `c` holds: see MAG_BYTES. */
enum { MAG_ROUNDS = 58, MAG_BYTES = 64 * 1024 };

static inline unsigned class_rounds(unsigned c)
{
	uint32_t n = MAG_BYTES / class_size(c);
	return n > MAG_ROUNDS ? MAG_ROUNDS : n < 2 ? 2 : n;
}

/* The smallest class for `size` bytes whose blocks all lie at multiples of `align` <= PAGE. */
static inline unsigned class_aligned(size_t size, size_t align)
{
	unsigned c = class_of(size > align ? size : align);
	while (c < CLASSES && class_size(c) % align)
		c++;
	return c;
}

#endif
