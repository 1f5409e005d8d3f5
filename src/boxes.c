/*
 * boxes.c - the boxes of an arena: entries, states, their way from maker to
 * owner to nobody.
 *
 * An entry's word is the truth about it and changes by compare-and-swap, so
 * ownership is claimed by exactly one. Entries never move and are found by
 * number; the bitmap says which may be free. Who waits for one being made or
 * dropped sleeps on its `wake` word and asks after the holder's life in
 * between.
 *
 * A maker sets `ref` while the block is still in its magazine, or its unit
 * still TAKING, so that a kill leaves the block to one of the two: what a
 * magazine lists is not the box's.
 */
#include "boxes.h"

#include "lock.h"
#include "magazine.h"
#include "slot.h"
#include "sys.h"

enum { PATIENCE_MS = 5 };

/* Threads of this process that make or drop a box. */
static _Atomic unsigned at_work;

static bool commit(struct shmb_arena *a, uint32_t ready)
{
	enum { PER_PAGE = PAGE / sizeof(struct box_shm) };
	char *bits = (char *)a->box_bits + ready / 8;
	if (ready >= BOXES || sys_populate(&a->boxes[ready], PAGE) ||
	    sys_populate((char *)((uintptr_t)bits & ~(uintptr_t)(PAGE - 1)), PAGE))
		return false;
	(void)atomic_compare_exchange_strong(&a->hdr->boxes_ready, &ready, ready + PER_PAGE);
	return true;
}

struct box_shm *boxes_take(struct shmb_arena *a)
{
	atomic_fetch_add(&at_work, 1);
	for (uint32_t i = 0;;) {
		uint32_t ready = boxes_ready(a);
		i = (uint32_t)hint_find(a->box_bits, i, ready, false);
		if (i >= ready) {
			if (commit(a, ready))
				continue;
			atomic_fetch_sub(&at_work, 1);
			return NULL;
		}
		struct box_shm *b = &a->boxes[i];
		uint64_t w = atomic_load(&b->word);
		bool taken = box_state_of(w) == BOX_FREE &&
		             atomic_compare_exchange_strong(
				     &b->word, &w, box_make(BOX_MAKING, box_gen(w) + 1, atomic_load(&a->holder)));
		hint_set(a->box_bits, i);
		if (taken)
			return b;
		if (box_state_of(atomic_load(&b->word)) == BOX_FREE)
			hint_clear(a->box_bits, i);
		i++;
	}
}

static void wake(struct box_shm *b)
{
	atomic_fetch_add(&b->wake, 1);
	sys_futex_wake(&b->wake);
}

bool boxes_change(struct box_shm *b, uint64_t from, enum box_state to, holder_t owner)
{
	enum box_state was = box_state_of(from);
	bool starts = to == BOX_DROPPING, ends = was == BOX_MAKING && to == BOX_READY;
	if (starts)
		atomic_fetch_add(&at_work, 1);
	bool changed = atomic_compare_exchange_strong(&b->word, &from, box_make(to, box_gen(from), owner));
	if (changed ? ends : starts)
		atomic_fetch_sub(&at_work, 1);
	if (changed && (was == BOX_MAKING || was == BOX_DROPPING))
		wake(b);
	return changed;
}

void boxes_give(struct shmb_arena *a, struct box_shm *b)
{
	uint64_t w = atomic_load(&b->word);
	atomic_store(&b->ref, 0);
	(void)boxes_change(b, w, BOX_FREE, 0);
	atomic_fetch_sub(&at_work, 1);
	hint_clear(a->box_bits, boxes_number(a, b) - 1);
}

bool boxes_wait(struct shmb_arena *a, struct box_shm *b, uint64_t seen)
{
	uint32_t now = atomic_load(&b->wake);
	if (atomic_load(&b->word) != seen)
		return false;
	(void)sys_futex_wait(&b->wake, now, PATIENCE_MS);
	if (atomic_load(&b->word) != seen)
		return false;
	/* this process's, with nobody here who could have written it: a stranger did, before this tenure began */
	bool mine = box_holder(seen) == atomic_load(&a->holder);
	bool nobody = mine ? !atomic_load(&at_work) : holder_dead(a, box_holder(seen));
	return nobody && atomic_load(&b->word) == seen;
}

static bool mag_has(const struct shmb_arena *a, uint32_t number, uint32_t grain)
{
	if (!number || number > mags_ready(a))
		return false;
	const struct mag_shm *m = &a->mags[number - 1];
	for (uint32_t i = 0, n = atomic_load(&m->count); i < n && i < MAG_ROUNDS; i++)
		if (m->entries[i] == grain)
			return true;
	return false;
}

/* Does a magazine that the records of `h` list hold the block? With nobody of it running. */
static bool magazine_lists(const struct shmb_arena *a, holder_t h, uint32_t grain)
{
	uint32_t threads = threads_ready(a);
	for (unsigned i = 0; i < threads; i++) {
		const struct thread_shm *t = &a->threads[i];
		for (unsigned c = 0; atomic_load(&t->owner) == h && c < CLASSES; c++) {
			uint64_t pair = atomic_load(&t->pairs[c]);
			if (mag_has(a, pair_loaded(pair), grain) || mag_has(a, pair_previous(pair), grain))
				return true;
		}
	}
	return false;
}

/* Is the block a half-made box's, or does it lie where its maker took it from still? */
static void settle_block(struct shmb_arena *a, struct box_shm *b, holder_t hold)
{
	uint64_t off = atomic_load(&b->ref) - a->lay.data;
	uint64_t unit = off >> UNIT_SHIFT;
	bool its = unit < units_ready(a);
	if (its && span_kind_of(span_get(a, unit)) == SPAN_SMALL)
		its = block_state_of(block_get(a->blocks, (uint32_t)(off >> GRAIN_SHIFT))) == BLOCK_LIVE &&
		      !magazine_lists(a, hold, (uint32_t)(off >> GRAIN_SHIFT));
	else if (its)
		its = span_kind_of(span_get(a, unit)) == SPAN_HEAD;
	if (!its)
		atomic_store(&b->ref, 0);
}

void boxes_abandon(struct shmb_arena *a, holder_t dead, holder_t hold)
{
	uint32_t n = boxes_ready(a);
	for (uint32_t i = 0; i < n; i++) {
		struct box_shm *b = &a->boxes[i];
		uint64_t w = atomic_load(&b->word);
		enum box_state s = box_state_of(w);
		if (box_holder(w) != dead || (s != BOX_MAKING && s != BOX_READY && s != BOX_DROPPING))
			continue;
		if (s != BOX_READY)
			settle_block(a, b, hold);
		(void)boxes_change(b, w, s == BOX_READY ? BOX_ABANDONED : BOX_HALF, 0);
	}
	if (n) /* whatever was changed this time: an earlier recoverer may have died before this */
		atomic_fetch_add(&a->hdr->boxes_abandoned, 1);
}
