/*
 * orphan.c - units whose process is gone: reused block by block, given back
 * when nothing is left in them.
 *
 * A unit is orphaned when the holder in its span word is stale; nobody has to
 * mark it. To change what is free in it a process adopts it: the word names
 * the adopter, which makes it the only one to do so; killed in there, it
 * leaves the unit orphaned again, and what its magazines list still counts.
 * Which bytes of the unit can be blocks, the page words say.
 *
 * Words of the dead are found by a pass over all units that whoever runs out
 * of blocks moves on a little (header.orphan_cursor, header.orphans).
 */
#include "orphan.h"

#include "canary.h"
#include "engine.h"
#include "error.h"
#include "page.h"
#include "slot.h"
#include "span.h"

enum { STEP_UNITS = 64, UNIT_GRAINS = UNIT / GRAIN };

bool orphan_adopt(struct shmb_arena *a, uint64_t unit, span_t w)
{
	if (span_kind_of(w) != SPAN_SMALL || unit >= SMALL_UNITS || holder_current(a, span_holder(w)))
		return false;
	return atomic_compare_exchange_strong(&a->spans[unit], &w,
	                                      span_make(SPAN_SMALL, SPAN_ADOPTED, atomic_load(&a->holder)));
}

static bool unit_empty(const struct shmb_arena *a, uint64_t unit)
{
	const block_t *map = a->blocks + unit * UNIT_GRAINS;
	for (unsigned i = 0; i < UNIT_GRAINS; i++) {
		enum block_state s = block_state_of(block_get_acquire(map, i));
		if (s == BLOCK_LIVE || s == BLOCK_CACHED)
			return false;
	}
	return true;
}

void orphan_leave(struct shmb_arena *a, uint64_t unit, span_t w)
{
	span_t mine = span_make(SPAN_SMALL, SPAN_ADOPTED, atomic_load(&a->holder));
	if (!unit_empty(a, unit)) {
		atomic_store(&a->spans[unit], span_make(SPAN_SMALL, 0, span_holder(w)));
		return;
	}
	/* before it is TAKING: whoever mends that word knows nothing of bytes and pages */
	for (unsigned i = 0; i < UNIT_GRAINS; i++)
		block_set(a->blocks, (uint32_t)(unit * UNIT_GRAINS + i), block_make(BLOCK_NONE, 0));
	for (unsigned i = 0; i < UNIT_PAGES; i++)
		atomic_store(&a->pages[unit * UNIT_PAGES + i], 0);
	ASSERT(span_seize(a, unit, mine));
	span_return(a, unit, 1);
}

/* Does the slab of a block that ends `grains` after the start of `page` go on to there? */
static bool page_continues(const struct shmb_arena *a, uint64_t page, uint32_t grains, unsigned class)
{
	uint64_t last = page + (grains - 1) / (PAGE / GRAIN);
	if (last / UNIT_PAGES != page / UNIT_PAGES)
		return false;
	for (uint64_t p = page + 1; p <= last; p++) {
		page_t w = atomic_load(&a->pages[p]);
		uint32_t phase = grains - (uint32_t)(p - page) * (PAGE / GRAIN);
		if (!w || page_class(w) != class || page_phase(w) % (class_size(class) / GRAIN) != phase % (class_size(class) / GRAIN))
			return false;
	}
	return true;
}

/* Adds the page's free blocks of `class` to the magazine. */
static void page_collect(struct shmb_arena *a, uint64_t page, struct mag_shm *m, unsigned class)
{
	page_t w = atomic_load(&a->pages[page]);
	uint32_t first = (uint32_t)(page * (PAGE / GRAIN));
	uint32_t step = class_size(class) / GRAIN;
	uint32_t n = atomic_load(&m->count);
	if (!w || page_class(w) != class)
		return;
	for (uint32_t i = page_phase(w); i < PAGE / GRAIN && n < m->rounds; i += step) {
		enum block_state s = block_state_of(block_get_acquire(a->blocks, first + i));
		if (s == BLOCK_LIVE || s == BLOCK_CACHED)
			continue;
		/* a block over the end of its page is one only if the next page continues the slab */
		if (i + step > PAGE / GRAIN && !page_continues(a, page, i + step, class))
			continue;
		if (a->guard)
			canary_prepare(a, first + i, class);
		m->entries[n] = first + i;
		atomic_store_explicit(&m->count, ++n, memory_order_release);
		block_set(a->blocks, first + i, block_make(BLOCK_CACHED, class));
	}
}

/* Does the word belong to an operation of the dead that is to be undone? */
static bool unfinished(const struct shmb_arena *a, uint64_t unit, span_t w)
{
	if (!span_holder(w) || holder_current(a, span_holder(w)))
		return false;
	if (span_kind_of(w) == SPAN_TAKING)
		return true;
	if (span_kind_of(w) != SPAN_CONT || span_aux(w) > unit)
		return false;
	span_t head = span_get(a, unit - span_aux(w));
	return span_kind_of(head) != SPAN_HEAD || span_aux(head) <= span_aux(w);
}

static void look_at(struct shmb_arena *a, uint64_t unit, struct mag_shm *m, unsigned class)
{
	span_t w = span_get(a, unit);
	if (unfinished(a, unit, w) && span_seize(a, unit, w)) {
		span_return(a, unit, 1);
	} else if (orphan_adopt(a, unit, w)) {
		for (unsigned i = 0; m && i < UNIT_PAGES; i++)
			page_collect(a, unit * UNIT_PAGES + i, m, class);
		orphan_leave(a, unit, w);
	} else if (span_kind_of(w) == SPAN_FREE && hint_get(a->used_bits, unit)) {
		hint_clear(a->used_bits, unit); /* freed by one who died before saying so */
		if (span_kind_of(atomic_load(&a->spans[unit])) != SPAN_FREE)
			hint_set(a->used_bits, unit);
	}
}

bool orphan_collect(struct shmb_arena *a, struct mag_shm *m, unsigned class)
{
	uint32_t had = atomic_load(&m->count);
	uint64_t ready = units_ready(a);
	for (unsigned i = 0; i < STEP_UNITS && ready; i++) {
		uint32_t left = atomic_load(&a->hdr->orphans);
		if (!left || atomic_load(&m->count) == m->rounds)
			break;
		look_at(a, atomic_fetch_add(&a->hdr->orphan_cursor, 1) % ready, m, class);
		(void)atomic_compare_exchange_strong(&a->hdr->orphans, &left, left - 1);
	}
	return atomic_load(&m->count) > had;
}

/* A stray in a unit of ours keeps the unit; one that is seen may be in a unit that has just become another's. */
static bool own_stray(const struct shmb_arena *a, uint64_t unit, uint32_t grain)
{
	return block_state_of(block_get_acquire(a->blocks, grain)) == BLOCK_STRAY &&
	       page_unit_mine(a, unit, span_get(a, unit)) &&
	       block_state_of(block_get_acquire(a->blocks, grain)) == BLOCK_STRAY;
}

static void own_strays(struct shmb_arena *a, uint64_t unit)
{
	for (unsigned i = 0; i < UNIT_GRAINS; i++) {
		uint32_t grain = (uint32_t)(unit * UNIT_GRAINS + i);
		if (!own_stray(a, unit, grain))
			continue;
		block_set(a->blocks, grain, block_make(BLOCK_NONE, 0));
		engine_free_many(a, &grain, 1);
	}
}

/* One thread at a time, or a block is freed twice; the others leave it to the next. */
static bool strays_begin(struct shmb_arena *a)
{
	if (atomic_exchange(&a->collecting, true))
		return false;
	if (atomic_exchange(&slot_own(a)->strays, 0))
		return true;
	atomic_store(&a->collecting, false);
	return false;
}

void orphan_collect_all(struct shmb_arena *a)
{
	bool strays = strays_begin(a);
	for (uint64_t unit = 0, ready = units_ready(a); unit < ready; unit++) {
		look_at(a, unit, NULL, 0);
		if (strays && page_unit_mine(a, unit, span_get(a, unit)))
			own_strays(a, unit);
	}
	if (strays)
		atomic_store(&a->collecting, false);
}

void block_stray_as(struct shmb_arena *a, uint32_t grain, unsigned class)
{
	span_t w = span_get(a, grain / UNIT_GRAINS);
	block_set(a->blocks, grain, block_make(BLOCK_STRAY, class));
	if (holder_current(a, span_holder(w)))
		atomic_store(&a->slots[holder_slot(span_holder(w))].strays, 1);
	else
		atomic_store(&a->hdr->orphans, (uint32_t)units_ready(a));
}

void block_stray(struct shmb_arena *a, uint32_t grain)
{
	block_stray_as(a, grain, block_class(block_get(a->blocks, grain)));
}
