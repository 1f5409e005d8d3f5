/*
 * large.c - blocks of whole units, straight from the span table.
 *
 * The HEAD word is the block: who turns it to TAKING has freed it, whoever
 * raises or lowers its count has grown or shrunk it. CONT words follow; those
 * that no HEAD covers count for nothing (orphan.c frees a dead one's).
 */
#include "large.h"

#include "error.h"
#include "misuse.h"
#include "span.h"

static uint64_t units_for(size_t size)
{
	return (size + UNIT - 1) >> UNIT_SHIFT;
}

static void cont_set(struct shmb_arena *a, uint64_t head, uint64_t from, uint64_t to, holder_t h)
{
	for (uint64_t i = to; i-- > from;)
		atomic_store_explicit(&a->spans[head + i], span_make(SPAN_CONT, i, h), memory_order_release);
}

void *large_take(struct shmb_arena *a, size_t size, size_t align, bool *zeroed, _Atomic uint64_t *where)
{
	holder_t h = atomic_load(&a->holder);
	uint64_t n = units_for(size ? size : 1);
	*zeroed = false;
	uint64_t unit = n == 1 && align <= UNIT ? span_take_populated(a, false) : SPAN_NONE;
	if (unit == SPAN_NONE)
		unit = span_take(a, n, align > UNIT ? align >> UNIT_SHIFT : 1, false, zeroed);
	if (unit == SPAN_NONE)
		return NULL;
	if (where)
		atomic_store(where, a->lay.data + (unit << UNIT_SHIFT));
	cont_set(a, unit, 1, n, h);
	atomic_store_explicit(&a->spans[unit], span_make(SPAN_HEAD, n, h), memory_order_release);
	return unit_addr(a, unit);
}

/* Gives CONT words [from, to) of `head` back, in runs: another process may be undoing a dead one's. */
static void tail_return(struct shmb_arena *a, uint64_t head, uint64_t from, uint64_t to)
{
	uint64_t run = 0;
	for (uint64_t i = from; i <= to; i++) {
		span_t w = i < to ? span_get(a, head + i) : 0;
		if (i < to && span_kind_of(w) == SPAN_CONT && span_aux(w) == i && span_seize(a, head + i, w)) {
			run++;
			continue;
		}
		if (run)
			span_return(a, head + i - run, run);
		run = 0;
	}
}

void large_free(struct shmb_arena *a, void *p, span_t w, _Atomic uint64_t *where)
{
	uint64_t unit = (uint64_t)((char *)p - a->data) >> UNIT_SHIFT;
	uint64_t n = span_aux(w), run = 1;
	if (!span_seize(a, unit, w))
		misuse_report("shmb_free", a, p, "double free");
	if (where)
		atomic_store(where, 0);
	for (; run < n; run++) {
		span_t c = span_get(a, unit + run);
		if (span_kind_of(c) != SPAN_CONT || span_aux(c) != run || !span_seize(a, unit + run, c))
			break;
	}
	span_return(a, unit, run);
	if (run < n)
		tail_return(a, unit, run, n);
}

static bool head_change(struct shmb_arena *a, uint64_t unit, span_t w, uint64_t n)
{
	return atomic_compare_exchange_strong(&a->spans[unit], &w, span_make(SPAN_HEAD, n, span_holder(w)));
}

bool large_resize(struct shmb_arena *a, void *p, span_t w, size_t size)
{
	uint64_t unit = (uint64_t)((char *)p - a->data) >> UNIT_SHIFT;
	uint64_t have = span_aux(w), want = units_for(size);
	bool zeroed;
	if (want > have) {
		if (!span_take_at(a, unit + have, want - have, &zeroed))
			return false;
		cont_set(a, unit, have, want, atomic_load(&a->holder));
	}
	if (want != have && !head_change(a, unit, w, want))
		misuse_report("shmb_realloc", a, p, "freed meanwhile");
	if (want < have)
		tail_return(a, unit, want, have);
	return true;
}
