/*
 * span.c - runs of 64 KiB units: who has which.
 *
 * The span words are the truth and change by compare-and-swap; nobody waits
 * for anybody, so a process stopped or killed in here holds up no other. The
 * bitmaps say where to look. A run is taken word by word and handed back if
 * one of them turns out to be gone.
 *
 * A unit's pages are populated before its taker may touch them, and stay
 * populated for a while after it is free: up to DIRTY_FLOOR units and as many
 * as are in use, so a busy heap does not churn and an empty one
 * is small. The taker of a unit is the only one who populates or punches it.
 *
 * After a kill: TAKING words of the dead, CONT words of the dead that no HEAD
 * covers, and bits that are wrong either way. recover.c passes over the words.
 */
#include "span.h"

#include "error.h"
#include "sys.h"

#include <errno.h>

enum { DIRTY_FLOOR = 16, DIRTY_SHARE = 1 };

static holder_t me(const struct shmb_arena *a)
{
	return atomic_load_explicit(&a->holder, memory_order_relaxed);
}

/* ---- tables ---------------------------------------------------------------- */

static int commit_table(struct shmb_arena *a, uint64_t table, uint64_t from, uint64_t to)
{
	uint64_t first = (table + from) & ~(uint64_t)(PAGE - 1);
	return sys_populate(a->map + first, round_up(table + to, PAGE) - first);
}

/* Commits the tables of all units below `end`. Any number of processes may do it at once. */
static bool tables_ready(struct shmb_arena *a, uint64_t end)
{
	uint64_t from = atomic_load(&a->hdr->units_ready);
	uint64_t to = round_up(end, CHUNK_UNITS);
	if (end <= from)
		return true;
	if (commit_table(a, a->lay.spans, from * sizeof(span_t), to * sizeof(span_t)) ||
	    commit_table(a, a->lay.used_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.dirty_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.pages, from * UNIT_PAGES * sizeof(page_t), to * UNIT_PAGES * sizeof(page_t)))
		return false;
	while (from < to && !atomic_compare_exchange_weak(&a->hdr->units_ready, &from, to))
		;
	return true;
}

static bool has_map(uint64_t unit)
{
	return unit < SMALL_UNITS;
}

static void map_range(const struct shmb_arena *a, uint64_t start, uint64_t n, char **addr, uint64_t *len)
{
	uint64_t end = start + n < SMALL_UNITS ? start + n : SMALL_UNITS;
	*addr = (char *)a->blocks + start * (UNIT / GRAIN);
	*len = has_map(start) ? (end - start) * (UNIT / GRAIN) : 0;
}

static int pages_commit(struct shmb_arena *a, uint64_t start, uint64_t n, bool map)
{
	char *addr;
	uint64_t len;
	int err = sys_populate(unit_addr(a, start), n << UNIT_SHIFT);
	map_range(a, start, n, &addr, &len);
	return err || !map ? err : sys_populate(addr, len);
}

/* True: the memory is the system's again and reads as zeros. Locked memory cannot be punched. */
static bool pages_punch(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	char *addr;
	uint64_t len;
	int err = sys_punch(unit_addr(a, start), n << UNIT_SHIFT);
	map_range(a, start, n, &addr, &len);
	if (!err && len)
		err = sys_punch(addr, len);
	return !err;
}

/* ---- words ------------------------------------------------------------------ */

bool span_seize(struct shmb_arena *a, uint64_t unit, span_t from)
{
	return atomic_compare_exchange_strong(&a->spans[unit], &from, span_make(SPAN_TAKING, 0, me(a)));
}

static void word_set(struct shmb_arena *a, uint64_t unit, span_t w)
{
	atomic_store_explicit(&a->spans[unit], w, memory_order_release);
}

/* A bit said free, the word says not. Mends the bit, unless the unit comes free meanwhile. */
static void mend_used(struct shmb_arena *a, uint64_t unit)
{
	hint_set(a->used_bits, unit);
	if (span_kind_of(atomic_load(&a->spans[unit])) == SPAN_FREE)
		hint_clear(a->used_bits, unit);
}

static void undirty(struct shmb_arena *a, uint64_t n)
{
	uint64_t now = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&a->hdr->units_dirty, &now, now > n ? now - n : 0))
		;
}

static void unuse(struct shmb_arena *a, uint64_t n)
{
	uint64_t now = atomic_load_explicit(&a->hdr->units_used, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&a->hdr->units_used, &now, now > n ? now - n : 0))
		;
}

/* Turns TAKING units into free ones that are populated as `dirty` says. */
static void words_free(struct shmb_arena *a, uint64_t start, uint64_t n, unsigned dirty)
{
	for (uint64_t i = start; i < start + n; i++)
		word_set(a, i, span_make(SPAN_FREE, dirty, 0));
	if (dirty) {
		hint_fill(a->dirty_bits, start, n, true);
		atomic_fetch_add(&a->hdr->units_dirty, n);
	}
	hint_fill(a->used_bits, start, n, false);
}

/* What claiming a run found about its units. */
struct claim {
	uint64_t dirty_units;
	unsigned all; /* SPAN_DIRTY_* that every unit has */
	unsigned any;
};

/* FREE -> TAKING for all of the run. False: *lost is a unit that was not free; nothing is held. */
static bool run_claim(struct shmb_arena *a, uint64_t start, uint64_t n, struct claim *c, uint64_t *lost)
{
	*c = (struct claim){.all = SPAN_DIRTY_DATA | SPAN_DIRTY_MAP};
	for (uint64_t i = 0; i < n; i++) {
		span_t w = span_get(a, start + i);
		unsigned dirty = (unsigned)span_aux(w);
		if (span_kind_of(w) != SPAN_FREE ||
		    !atomic_compare_exchange_strong(&a->spans[start + i], &w, span_make(SPAN_TAKING, dirty, me(a)))) {
			*lost = start + i;
			for (uint64_t k = start; k < start + i; k++)
				word_set(a, k, span_make(SPAN_FREE, span_aux(span_get(a, k)), 0));
			return false;
		}
		c->all &= dirty;
		c->any |= dirty;
		c->dirty_units += dirty != 0;
	}
	return true;
}

/* Commits a claimed run, or gives it back. */
static bool run_finish(struct shmb_arena *a, uint64_t start, uint64_t n, bool map, const struct claim *c, bool *zeroed)
{
	unsigned need = SPAN_DIRTY_DATA | (map ? SPAN_DIRTY_MAP : 0);
	hint_fill(a->used_bits, start, n, true);
	if (c->any) {
		hint_fill(a->dirty_bits, start, n, false);
		undirty(a, c->dirty_units);
	}
	if ((c->all & need) != need && pages_commit(a, start, n, map)) {
		words_free(a, start, n, pages_punch(a, start, n) ? 0 : c->any);
		return false;
	}
	*zeroed = !(c->any & SPAN_DIRTY_DATA);
	atomic_fetch_add_explicit(&a->hdr->units_used, n, memory_order_relaxed);
	return true;
}

/* ---- finding ----------------------------------------------------------------- */

/* The first run of `n` units in [from, end) that the bitmap calls free; SPAN_NONE. */
static uint64_t run_find(const struct shmb_arena *a, uint64_t n, uint64_t align, uint64_t from, uint64_t end)
{
	uint64_t ready = units_ready(a);
	uint64_t bias = a->lay.data >> UNIT_SHIFT; /* the data's own alignment in the region */
	for (;;) {
		if (from < ready)
			from = hint_find(a->used_bits, from, ready, false);
		from = round_up(from + bias, align) - bias;
		if (from + n > end)
			return SPAN_NONE;
		uint64_t stop = from + n < ready ? from + n : ready; /* past `ready` nothing was ever used */
		uint64_t used = from < ready ? hint_find(a->used_bits, from, stop, true) : stop;
		if (used >= stop)
			return from;
		from = used + 1;
	}
}

uint64_t span_take(struct shmb_arena *a, uint64_t n, uint64_t align, bool small, bool *zeroed)
{
	uint64_t end = small && a->lay.units > SMALL_UNITS ? SMALL_UNITS : a->lay.units;
	uint64_t from = 0, lost;
	struct claim c;
	for (;;) {
		uint64_t start = run_find(a, n, align, from, end);
		if (start == SPAN_NONE || !tables_ready(a, start + n))
			return SPAN_NONE;
		if (run_claim(a, start, n, &c, &lost))
			return run_finish(a, start, n, small, &c, zeroed) ? start : SPAN_NONE;
		mend_used(a, lost);
		from = lost + 1;
	}
}

bool span_take_at(struct shmb_arena *a, uint64_t start, uint64_t n, bool *zeroed)
{
	struct claim c;
	uint64_t lost;
	if (start + n > a->lay.units || !tables_ready(a, start + n))
		return false;
	return run_claim(a, start, n, &c, &lost) && run_finish(a, start, n, false, &c, zeroed);
}

/* ---- giving back --------------------------------------------------------------- */

static uint64_t dirty_limit(const struct shmb_arena *a)
{
	return DIRTY_FLOOR + atomic_load_explicit(&a->hdr->units_used, memory_order_relaxed) / DIRTY_SHARE;
}

void span_return(struct shmb_arena *a, uint64_t start, uint64_t n, unsigned had)
{
	unuse(a, n);
	uint64_t dirty = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed);
	uint64_t limit = dirty_limit(a);
	bool keep = dirty + n <= limit || !pages_punch(a, start, n);
	words_free(a, start, n, keep ? had : 0);
	if (dirty > limit)
		span_trim(a, limit);
}

/* Empties one run of dirty free units that ends before `end`; where to go on, 0: none left. */
static uint64_t trim_one(struct shmb_arena *a, uint64_t unit)
{
	uint64_t lost, n = 0;
	struct claim c;
	while (n < 64 && n < unit + 1 && hint_get(a->dirty_bits, unit - n))
		n++;
	uint64_t start = unit + 1 - n;
	if (!run_claim(a, start, n, &c, &lost)) {
		hint_clear(a->dirty_bits, lost);
		span_t w = atomic_load(&a->spans[lost]);
		if (span_kind_of(w) == SPAN_FREE && span_aux(w))
			hint_set(a->dirty_bits, lost);
		return lost;
	}
	hint_fill(a->used_bits, start, n, true);
	hint_fill(a->dirty_bits, start, n, false);
	undirty(a, c.dirty_units);
	words_free(a, start, n, pages_punch(a, start, n) ? 0 : c.any);
	return start;
}

void span_trim(struct shmb_arena *a, uint64_t keep)
{
	for (uint64_t unit = units_ready(a); unit > 0;) {
		if (atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed) <= keep)
			return;
		if (unit % 64 == 0 && !atomic_load_explicit(&a->dirty_bits[unit / 64 - 1], memory_order_relaxed))
			unit -= 64;
		else if (!hint_get(a->dirty_bits, unit - 1))
			unit--;
		else
			unit = trim_one(a, unit - 1);
	}
}

void span_resync(struct shmb_arena *a)
{
	uint64_t used = 0, dirty = 0;
	for (uint64_t i = 0, end = units_ready(a); i < end; i++) {
		span_t w = span_get(a, i);
		bool is_free = span_kind_of(w) == SPAN_FREE;
		if (is_free && hint_get(a->used_bits, i)) {
			hint_clear(a->used_bits, i);
			if (span_kind_of(atomic_load(&a->spans[i])) != SPAN_FREE)
				hint_set(a->used_bits, i);
		}
		if (is_free && span_aux(w))
			hint_set(a->dirty_bits, i);
		used += !is_free;
		dirty += is_free && span_aux(w);
	}
	atomic_store(&a->hdr->units_used, used);
	atomic_store(&a->hdr->units_dirty, dirty);
}
