/*
 * blocks.c - which blocks are live: a table by address, in memory of its own.
 *
 * Open addressing with linear probing; what is taken out leaves no mark, since
 * what follows it is moved up. Twice as large from three quarters on.
 */
#include "profile.h"

#include <string.h>

enum { FIRST_ROOM = 4096 };

static size_t home_of(const struct blocks *b, uintptr_t at)
{
	uint64_t mixed = (uint64_t)at * UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(mixed >> 32 ^ mixed >> 8) & (b->room - 1);
}

static void insert(struct blocks *b, const struct block *block)
{
	size_t i = home_of(b, block->at);
	while (b->table[i].at)
		i = (i + 1) & (b->room - 1);
	b->table[i] = *block;
	b->used++;
}

static bool grow(struct blocks *b)
{
	struct blocks larger = {.room = b->room ? 2 * b->room : FIRST_ROOM};
	larger.table = own_map(larger.room * sizeof *larger.table);
	if (!larger.table)
		return false;
	for (size_t i = 0; i < b->room; i++)
		if (b->table[i].at)
			insert(&larger, &b->table[i]);
	if (b->table)
		own_unmap(b->table, b->room * sizeof *b->table);
	*b = larger;
	return true;
}

/* A table that cannot grow is filled, but for one: a search ends at a free one. */
bool blocks_put(struct blocks *b, const struct block *block)
{
	if (b->used >= b->room / 4 * 3 && !grow(b) && b->used + 1 >= b->room)
		return false;
	insert(b, block);
	return true;
}

/* Closes the gap at `gap`: what would be looked for from before it moves there. */
static void close_gap(struct blocks *b, size_t gap)
{
	for (size_t i = (gap + 1) & (b->room - 1); b->table[i].at; i = (i + 1) & (b->room - 1)) {
		size_t from_home = (i - home_of(b, b->table[i].at)) & (b->room - 1);
		if (from_home < ((i - gap) & (b->room - 1)))
			continue;
		b->table[gap] = b->table[i];
		gap = i;
	}
	b->table[gap].at = 0;
	b->used--;
}

bool blocks_take(struct blocks *b, uintptr_t at, struct block *out)
{
	if (!b->room)
		return false;
	size_t i = home_of(b, at);
	while (b->table[i].at != at) {
		if (!b->table[i].at)
			return false;
		i = (i + 1) & (b->room - 1);
	}
	*out = b->table[i];
	close_gap(b, i);
	return true;
}
