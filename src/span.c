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
 * TRIM_MS, as huge pages where it can. The taker of a unit is the only one who populates or punches it.
 * Its page of the block map is populated when it is first taken for small
 * blocks, and stays until it is punched with the rest: map_bits says so, set
 * after the one and cleared before the other. tag_bits say the same of its page
 * of tags, which whoever writes the first one populates (tally.c).
 *
 * After a kill: TAKING words of the dead, CONT words of the dead that no HEAD
 * covers, and bits that are wrong either way. recover.c passes over the words.
 */
#include "span.h"

#include "commit.h"
#include "error.h"
#include "probe.h"
#include "sys.h"

enum { DIRTY_FLOOR = 16, DIRTY_CAP = 4, TRIM_MS = 100, TRIM_SHARE = 8, TRIM_RUN = 64 };

static holder_t me(const struct shmb_arena *a)
{
	return atomic_load_explicit(&a->holder, memory_order_relaxed);
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

/* Turns TAKING units into free ones; aux: 0, or how they are populated. */
static void words_free(struct shmb_arena *a, uint64_t start, uint64_t n, uint64_t aux)
{
	for (uint64_t i = start; i < start + n; i++) {
		if (unlikely(atomic_load_explicit(&a->unit_tags[i], memory_order_relaxed))) /* of one who died freeing it */
			atomic_store_explicit(&a->unit_tags[i], 0, memory_order_relaxed);
		word_set(a, i, span_make(SPAN_FREE, aux, 0));
	}
	if (aux) {
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

/* Of a run, units: how many are populated, how many of these were written to. */
struct run_has { uint64_t populated, written; };

/* FREE -> TAKING for all of the run. False: *lost is a unit that was not free; nothing is held. */
static bool run_claim(struct shmb_arena *a, uint64_t start, uint64_t n, struct run_has *has, uint64_t *lost)
{
	*has = (struct run_has){0};
	for (uint64_t i = 0; i < n; i++) {
		span_t w = span_get(a, start + i);
		if (span_kind_of(w) != SPAN_FREE ||
		    !atomic_compare_exchange_strong(&a->spans[start + i], &w, span_make(SPAN_TAKING, span_aux(w), me(a)))) {
			*lost = start + i;
			run_unclaim(a, start, i);
			return false;
		}
		has->populated += span_aux(w) != 0;
		has->written += span_aux(w) == SPAN_DIRTY;
	}
	return true;
}

/* Empties a claimed run, or leaves it populated. */
static void run_empty(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	words_free(a, start, n, commit_undo(a, start, n) ? 0 : SPAN_DIRTY);
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

/* Claims free units that are not populated. */
static bool claim_bare(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	struct run_has has;
	uint64_t lost;
	if (!run_claim(a, start, n, &has, &lost))
		return false;
	if (has.populated)
		run_unclaim(a, start, n);
	return !has.populated;
}

/* May what stands beside a run be populated with it? Nothing may. */
static bool may_widen(const struct shmb_arena *a, uint64_t start, uint64_t end)
{
	uint64_t used = atomic_load_explicit(&a->hdr->units_used, memory_order_relaxed);
	uint64_t dirty = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed);
	return start == end || (end <= a->lay.units && dirty + (end - start) <= used &&
	                        hint_find(a->used_bits, start, end, true) == end &&
	                        hint_find(a->dirty_bits, start, end, true) == end);
}

/*
 * Commits what is claimed and bare. As huge pages, if they are worth it: with what is free of those that it begins
 * and ends in, which is populated free memory then.
 */
static int commit_bare(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	uint64_t end = start + n, from = start & ~(uint64_t)(HUGE_UNITS - 1), to = round_up(end, HUGE_UNITS);
	bool single = to - from == HUGE_UNITS; /* wants both sides, or it is no huge page */
	bool before = may_widen(a, from, start), after = may_widen(a, end, to);
	if ((single && !(before && after)) || !commit_is_huge(a))
		return commit_data(a, start, n, false);
	before = before && claim_bare(a, from, start - from);
	after = after && claim_bare(a, end, to - end);
	if (single && before != after) {
		run_unclaim(a, before ? from : end, before ? start - from : to - end);
		before = after = false;
	}
	from = before ? from : start;
	to = after ? to : end;
	int err = commit_data(a, from, to - from, true);
	if (err) {
		run_empty(a, from, start - from);
		run_empty(a, end, to - end);
		return from < start || to > end ? commit_data(a, start, n, false) : err;
	}
	words_free(a, from, start - from, SPAN_FRESH);
	words_free(a, end, to - end, SPAN_FRESH);
	return 0;
}

/* Makes a claimed run ready, or gives it back. map: with its block map. */
static bool run_finish(struct shmb_arena *a, uint64_t start, uint64_t n, bool map, struct run_has has, bool *zeroed)
{
	hint_fill(a->used_bits, start, n, true);
	if (has.populated) {
		hint_fill(a->dirty_bits, start, n, false);
		undirty(a, has.populated);
	}
	if ((has.populated < n && commit_missing(a, start, n, has_data, commit_bare)) ||
	    (map && commit_missing(a, start, n, has_map, commit_map))) {
		run_empty(a, start, n);
		return false;
	}
	*zeroed = !has.written;
	atomic_fetch_add_explicit(&a->hdr->units_used, n, memory_order_relaxed);
	PROBE4(span_take, shmb_region_name(a->region), start, n, has.populated);
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
	struct run_has has;
	for (;;) {
		uint64_t start = run_find(a, n, align, from, end);
		if (start == SPAN_NONE || !commit_tables(a, start + n))
			return SPAN_NONE;
		if (run_claim(a, start, n, &has, &lost))
			return run_finish(a, start, n, small, has, zeroed) ? start : SPAN_NONE;
		mend_used(a, lost);
		from = lost + 1;
	}
}

bool span_take_at(struct shmb_arena *a, uint64_t start, uint64_t n, bool *zeroed)
{
	struct run_has has;
	uint64_t lost;
	if (start + n > a->lay.units || !commit_tables(a, start + n))
		return false;
	return run_claim(a, start, n, &has, &lost) && run_finish(a, start, n, false, has, zeroed);
}

uint64_t span_take_populated(struct shmb_arena *a, uint64_t *n, bool small)
{
	uint64_t ready = units_ready(a), end = small && ready > SMALL_UNITS ? SMALL_UNITS : ready;
	uint64_t unit = hint_find(a->dirty_bits, 0, end, true), lost;
	struct run_has has;
	bool zeroed;
	if (unit == end)
		return SPAN_NONE;
	*n = hint_find(a->dirty_bits, unit + 1, *n < end - unit ? unit + *n : end, false) - unit; /* one, whatever it says by now */
	if (run_claim(a, unit, *n, &has, &lost))
		return run_finish(a, unit, *n, small, has, &zeroed) ? unit : SPAN_NONE;
	mend_dirty(a, lost);
	return SPAN_NONE;
}

/* ---- giving back --------------------------------------------------------------- */

/* How many free units may stay populated: for good, for a while, and at all. */
struct dirty_limits { uint64_t settled, most, all; };

static struct dirty_limits dirty_limits(const struct shmb_arena *a)
{
	uint64_t used = atomic_load_explicit(&a->hdr->units_used, memory_order_relaxed);
	uint64_t most = DIRTY_FLOOR + used * DIRTY_CAP;
	return (struct dirty_limits){DIRTY_FLOOR + used, most, most + (used < HUGE_UNITS ? used : HUGE_UNITS)};
}

/* Of so many too many, how many go at once: a huge page at least. */
static uint64_t trim_step(uint64_t over)
{
	uint64_t share = (over + TRIM_SHARE - 1) / TRIM_SHARE;
	return share > HUGE_UNITS ? share : over < HUGE_UNITS ? over : HUGE_UNITS;
}

/* Moves towards the settled number, a little from time to time; above `all` at once. */
static void settle(struct shmb_arena *a)
{
	struct dirty_limits to = dirty_limits(a);
	uint64_t dirty = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed);
	uint64_t last = atomic_load_explicit(&a->hdr->trimmed_ms, memory_order_relaxed);
	if (dirty > to.all) {
		span_trim(a, to.most);
	} else if (dirty > to.settled) {
		uint64_t now = sys_coarse_ms();
		if (now - last >= TRIM_MS && atomic_compare_exchange_strong(&a->hdr->trimmed_ms, &last, now))
			span_trim(a, dirty - trim_step(dirty - to.settled));
	}
}

void span_return(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	unuse(a, n);
	uint64_t dirty = atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed);
	if (dirty + n <= dirty_limits(a).all)
		words_free(a, start, n, SPAN_DIRTY);
	else
		run_empty(a, start, n);
	settle(a);
}

/* Empties a run of at most `most` dirty free units that ends with `unit`; where to go on. */
static uint64_t trim_one(struct shmb_arena *a, uint64_t unit, uint64_t most)
{
	struct run_has has;
	uint64_t lost, n = 0;
	while (n < most && n < unit + 1 && hint_get(a->dirty_bits, unit - n))
		n++;
	uint64_t start = unit + 1 - n;
	if (!run_claim(a, start, n, &has, &lost)) {
		mend_dirty(a, lost);
		return lost;
	}
	hint_fill(a->used_bits, start, n, true);
	hint_fill(a->dirty_bits, start, n, false);
	undirty(a, has.populated);
	run_empty(a, start, n);
	return start;
}

/* Whole huge pages, all free, as long as they are not too much: a part of one costs the kernel its splitting. */
static void trim_huge(struct shmb_arena *a, uint64_t keep)
{
	for (uint64_t end = units_ready(a) & ~(uint64_t)(HUGE_UNITS - 1); end > 0; end -= HUGE_UNITS) {
		if (atomic_load_explicit(&a->hdr->units_dirty, memory_order_relaxed) < keep + HUGE_UNITS)
			return;
		if (hint_find(a->dirty_bits, end - HUGE_UNITS, end, false) == end)
			(void)trim_one(a, end - 1, HUGE_UNITS);
	}
}

void span_trim(struct shmb_arena *a, uint64_t keep)
{
	trim_huge(a, keep);
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
