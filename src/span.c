/*
 * span.c - runs of 64 KiB units: who has which.
 *
 * The span words are the truth and change by compare-and-swap; nobody waits
 * for anybody, so a process stopped or killed in here holds up no other. The
 * bitmaps say where to look. A run is taken word by word and handed back if
 * one of them turns out to be gone.
 *
 * A unit's pages are populated before its taker may touch them, and stay
 * populated for a while after it is free, so a busy heap does not churn and an
 * empty one is small: DIRTY_FLOOR units and as many as are in use always; up
 * to DIRTY_CAP times that many for a while, of which an eighth goes every
 * TRIM_MS. The taker of a unit is the only one who populates or punches it.
 * Its page of the block map is populated when it is first taken for small
 * blocks, and stays until it is punched with the rest: map_bits says so, set
 * after the one and cleared before the other. tag_bits say the same of its page
 * of tags, which whoever writes the first one populates (tally.c).
 *
 * After a kill: TAKING words of the dead, CONT words of the dead that no HEAD
 * covers, and bits that are wrong either way. recover.c passes over the words.
 */
#include "span.h"

#include "error.h"
#include "probe.h"
#include "shadow.h"
#include "sys.h"

#include <errno.h>

enum { DIRTY_FLOOR = 16, DIRTY_CAP = 4, TRIM_MS = 100, TRIM_SHARE = 8, TRIM_RUN = 64 };

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
	if (end <= from) {
		shadow_note(a);
		return true;
	}
	if (commit_table(a, a->lay.spans, from * sizeof(span_t), to * sizeof(span_t)) ||
	    commit_table(a, a->lay.used_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.dirty_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.map_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.tag_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.unit_tags, from, to) ||
	    commit_table(a, a->lay.pages, from * UNIT_PAGES * sizeof(page_t), to * UNIT_PAGES * sizeof(page_t)))
		return false;
	while (from < to && !atomic_compare_exchange_weak(&a->hdr->units_ready, &from, to))
		;
	shadow_note(a);
	return true;
}

/* The block map's pages of those units that small blocks can be in. */
static void map_range(const struct shmb_arena *a, uint64_t start, uint64_t n, char **addr, uint64_t *len)
{
	uint64_t end = start + n < SMALL_UNITS ? start + n : SMALL_UNITS;
	*addr = (char *)a->blocks + start * (UNIT / GRAIN);
	*len = start < end ? (end - start) * (UNIT / GRAIN) : 0;
}

static int data_commit(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	return sys_populate(unit_addr(a, start), n << UNIT_SHIFT);
}

static int map_commit(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	char *addr;
	uint64_t len;
	map_range(a, start, n, &addr, &len);
	int err = sys_populate(addr, len);
	if (!err)
		hint_fill(a->map_bits, start, n, true);
	return err;
}

/* Gives a table's pages for those units back, of whose byte a grain `bits` say that they are there. */
static int table_punch(struct shmb_arena *a, uint64_t start, uint64_t n, hint_t *bits, void *table)
{
	char *addr;
	uint64_t len;
	if (hint_find(bits, start, start + n, true) >= start + n)
		return 0;
	hint_fill(bits, start, n, false);
	map_range(a, start, n, &addr, &len);
	return sys_punch((char *)table + (addr - (char *)a->blocks), len);
}

/*
 * True: the memory is the system's again and reads as zeros. Locked memory cannot be punched. While a
 * snapshot is taken it may not be: it holds writes only. The words say TAKING by now, so either it has
 * them so, or they were written later, and the mark is seen.
 */
static bool pages_punch(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	if (atomic_load(&a->frozen))
		return false;
	int err = sys_punch(unit_addr(a, start), n << UNIT_SHIFT);
	if (!err)
		err = table_punch(a, start, n, a->map_bits, a->blocks);
	if (!err)
		err = table_punch(a, start, n, a->tag_bits, a->tags);
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

/* A bit said populated and free, the word says not. */
static void mend_dirty(struct shmb_arena *a, uint64_t unit)
{
	hint_clear(a->dirty_bits, unit);
	span_t w = atomic_load(&a->spans[unit]);
	if (span_kind_of(w) == SPAN_FREE && span_aux(w))
		hint_set(a->dirty_bits, unit);
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

/* Turns TAKING units into free ones, populated or not. */
static void words_free(struct shmb_arena *a, uint64_t start, uint64_t n, bool dirty)
{
	for (uint64_t i = start; i < start + n; i++) {
		if (unlikely(atomic_load_explicit(&a->unit_tags[i], memory_order_relaxed))) /* of one who died freeing it */
			atomic_store_explicit(&a->unit_tags[i], 0, memory_order_relaxed);
		word_set(a, i, span_make(SPAN_FREE, dirty ? SPAN_DIRTY : 0, 0));
	}
	if (dirty) {
		hint_fill(a->dirty_bits, start, n, true);
		atomic_fetch_add(&a->hdr->units_dirty, n);
	}
	hint_fill(a->used_bits, start, n, false);
}

/* TAKING -> FREE as it was. */
static void run_unclaim(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	for (uint64_t i = start; i < start + n; i++)
		word_set(a, i, span_make(SPAN_FREE, span_aux(span_get(a, i)), 0));
}

/*
 * FREE -> TAKING for all of the run, *dirty of them populated. False: *lost is
 * a unit that was not free; nothing is held.
 */
static bool run_claim(struct shmb_arena *a, uint64_t start, uint64_t n, uint64_t *dirty, uint64_t *lost)
{
	*dirty = 0;
	for (uint64_t i = 0; i < n; i++) {
		span_t w = span_get(a, start + i);
		if (span_kind_of(w) != SPAN_FREE ||
		    !atomic_compare_exchange_strong(&a->spans[start + i], &w, span_make(SPAN_TAKING, span_aux(w), me(a)))) {
			*lost = start + i;
			run_unclaim(a, start, i);
			return false;
		}
		*dirty += span_aux(w) != 0;
	}
	return true;
}

static bool has_data(const struct shmb_arena *a, uint64_t unit)
{
	return span_aux(span_get(a, unit));
}

static bool has_map(const struct shmb_arena *a, uint64_t unit)
{
	return hint_get(a->map_bits, unit);
}

/* Commits what some units of a claimed run have not; in as few calls as that takes. */
static int commit_missing(struct shmb_arena *a, uint64_t start, uint64_t n,
                          bool (*has)(const struct shmb_arena *a, uint64_t unit),
                          int (*commit)(struct shmb_arena *a, uint64_t start, uint64_t n))
{
	int err = 0;
	for (uint64_t i = start, end = start + n; i < end && !err;) {
		uint64_t stop = i;
		while (stop < end && !has(a, stop))
			stop++;
		if (stop > i)
			err = commit(a, i, stop - i);
		i = stop + 1;
	}
	return err;
}

/* Makes a claimed run ready, or gives it back. map: with its block map. */
static bool run_finish(struct shmb_arena *a, uint64_t start, uint64_t n, bool map, uint64_t dirty, bool *zeroed)
{
	hint_fill(a->used_bits, start, n, true);
	if (dirty) {
		hint_fill(a->dirty_bits, start, n, false);
		undirty(a, dirty);
	}
	if ((dirty < n && commit_missing(a, start, n, has_data, data_commit)) ||
	    (map && commit_missing(a, start, n, has_map, map_commit))) {
		if (pages_punch(a, start, n))
			words_free(a, start, n, false);
		else
			run_unclaim(a, start, n); /* the bits come right with the next resync */
		return false;
	}
	*zeroed = !dirty;
	atomic_fetch_add_explicit(&a->hdr->units_used, n, memory_order_relaxed);
	PROBE4(span_take, shmb_region_name(a->region), start, n, dirty);
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
	uint64_t from = 0, lost, dirty;
	for (;;) {
		uint64_t start = run_find(a, n, align, from, end);
		if (start == SPAN_NONE || !tables_ready(a, start + n))
			return SPAN_NONE;
		if (run_claim(a, start, n, &dirty, &lost))
			return run_finish(a, start, n, small, dirty, zeroed) ? start : SPAN_NONE;
		mend_used(a, lost);
		from = lost + 1;
	}
}

bool span_take_at(struct shmb_arena *a, uint64_t start, uint64_t n, bool *zeroed)
{
	uint64_t lost, dirty;
	if (start + n > a->lay.units || !tables_ready(a, start + n))
		return false;
	return run_claim(a, start, n, &dirty, &lost) && run_finish(a, start, n, false, dirty, zeroed);
}

uint64_t span_take_populated(struct shmb_arena *a, bool small)
{
	uint64_t ready = units_ready(a), end = small && ready > SMALL_UNITS ? SMALL_UNITS : ready;
	uint64_t unit = hint_find(a->dirty_bits, 0, end, true), lost, dirty;
	bool zeroed;
	if (unit == end)
		return SPAN_NONE;
	if (run_claim(a, unit, 1, &dirty, &lost))
		return run_finish(a, unit, 1, small, dirty, &zeroed) ? unit : SPAN_NONE;
	mend_dirty(a, unit);
	return SPAN_NONE;
}

/* ---- giving back --------------------------------------------------------------- */

/* How many free units may stay populated: for good, and for a while. */
static uint64_t dirty_settled(const struct shmb_arena *a)
{
	return DIRTY_FLOOR + atomic_load_explicit(&a->hdr->units_used, memory_order_relaxed);
}
static uint64_t dirty_most(const struct shmb_arena *a)
{
	return DIRTY_FLOOR + atomic_load_explicit(&a->hdr->units_used, memory_order_relaxed) * DIRTY_CAP;
}

/* Moves towards the settled number, a little from time to time. */
static void settle(struct shmb_arena *a)
{
	uint64_t dirty = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed), goal = dirty_settled(a);
	uint64_t last = atomic_load_explicit(&a->hdr->trimmed_ms, memory_order_relaxed);
	if (dirty > dirty_most(a)) {
		span_trim(a, dirty_most(a));
	} else if (dirty > goal) {
		uint64_t now = sys_coarse_ms();
		if (now - last >= TRIM_MS && atomic_compare_exchange_strong(&a->hdr->trimmed_ms, &last, now))
			span_trim(a, dirty - (dirty - goal + TRIM_SHARE - 1) / TRIM_SHARE);
	}
}

void span_return(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	unuse(a, n);
	uint64_t dirty = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed);
	words_free(a, start, n, dirty + n <= dirty_most(a) || !pages_punch(a, start, n));
	settle(a);
}

/* Empties a run of at most `most` dirty free units that ends with `unit`; where to go on. */
static uint64_t trim_one(struct shmb_arena *a, uint64_t unit, uint64_t most)
{
	uint64_t lost, dirty, n = 0;
	while (n < most && n < unit + 1 && hint_get(a->dirty_bits, unit - n))
		n++;
	uint64_t start = unit + 1 - n;
	if (!run_claim(a, start, n, &dirty, &lost)) {
		mend_dirty(a, lost);
		return lost;
	}
	hint_fill(a->used_bits, start, n, true);
	hint_fill(a->dirty_bits, start, n, false);
	undirty(a, dirty);
	words_free(a, start, n, !pages_punch(a, start, n));
	return start;
}

void span_trim(struct shmb_arena *a, uint64_t keep)
{
	for (uint64_t unit = units_ready(a); unit > 0;) {
		uint64_t dirty = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed);
		if (dirty <= keep)
			return;
		if (unit % 64 == 0 && !atomic_load_explicit(&a->dirty_bits[unit / 64 - 1], memory_order_relaxed))
			unit -= 64;
		else if (!hint_get(a->dirty_bits, unit - 1))
			unit--;
		else
			unit = trim_one(a, unit - 1, dirty - keep < TRIM_RUN ? dirty - keep : TRIM_RUN);
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
