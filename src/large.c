/*
 * large.c - blocks of whole units, straight from the span table.
 *
 * The HEAD word is the block: who turns it to TAKING has freed it, whoever
 * raises or lowers its count has grown or shrunk it. CONT words follow; those
 * that no HEAD covers count for nothing (orphan.c frees a dead one's).
 */
#include "large.h"

#include "canary.h"
#include "error.h"
#include "misuse.h"
#include "shadow.h"
#include "span.h"
#include "tally.h"

#include <string.h>

static uint64_t units_for(size_t size)
{
	return (size + UNIT - 1) >> UNIT_SHIFT;
}

static void cont_set(struct shmb_arena *a, uint64_t head, uint64_t from, uint64_t to, holder_t h)
{
	for (uint64_t i = to; i-- > from;)
		atomic_store_explicit(&a->spans[head + i], span_make(SPAN_CONT, i, h), memory_order_release);
}

/* What is fresh is JUNK, but for zeros that are wanted; its end is as the end of a block is. */
static void harden(struct shmb_arena *a, uint64_t unit, uint64_t n, size_t size, bool zeros)
{
	uint64_t off = unit << UNIT_SHIFT, bytes = n << UNIT_SHIFT;
	if (zeros)
		canary_fill(a, off, bytes, size - a->guard);
	else
		memset(a->data + off, JUNK, bytes - CANARY);
	canary_set(a, off, bytes, size - a->guard);
}

void *large_take(struct shmb_arena *a, size_t size, size_t align, bool *zeroed, _Atomic uint64_t *where)
{
	holder_t h = atomic_load(&a->holder);
	uint64_t n = units_for(size ? size : 1);
	bool wanted = *zeroed;
	*zeroed = false;
	uint64_t unit = n == 1 && align <= UNIT ? span_take_populated(a, &n, false) : SPAN_NONE;
	if (unit == SPAN_NONE)
		unit = span_take(a, n, align > UNIT ? align >> UNIT_SHIFT : 1, false, zeroed);
	if (unit == SPAN_NONE)
		return NULL;
	if (a->guard)
		harden(a, unit, n, size, wanted);
	if (where)
		atomic_store(where, a->lay.data + (unit << UNIT_SHIFT));
	cont_set(a, unit, 1, n, h);
	atomic_store_explicit(&a->spans[unit], span_make(SPAN_HEAD, n, h), memory_order_release);
	return unit_addr(a, unit);
}

/*
 * Before the HEAD lets go of CONT words [from, to): whoever mends what a dead
 * process has left of it goes by their holder, so that must be this one.
 */
static void cont_claim(struct shmb_arena *a, uint64_t head, uint64_t from, uint64_t to, holder_t h)
{
	for (uint64_t i = from; i < to; i++) {
		span_t w = span_get(a, head + i);
		if (span_holder(w) != h && span_kind_of(w) == SPAN_CONT && span_aux(w) == i)
			(void)atomic_compare_exchange_strong(&a->spans[head + i], &w, span_make(SPAN_CONT, i, h));
	}
}

/* CONT words [from, to) of `head` -> TAKING, as far as they come one after the other; where that ends. */
static uint64_t cont_seize(struct shmb_arena *a, uint64_t head, uint64_t from, uint64_t to)
{
	for (; from < to; from++) {
		span_t w = span_get(a, head + from);
		if (span_kind_of(w) != SPAN_CONT || span_aux(w) != from || !span_seize(a, head + from, w))
			break;
	}
	return from;
}

void large_free(struct shmb_arena *a, void *p, span_t w, _Atomic uint64_t *where)
{
	uint64_t unit = (uint64_t)((char *)p - a->data) >> UNIT_SHIFT, n = span_aux(w);
	cont_claim(a, unit, 1, n, atomic_load(&a->holder));
	if (!span_seize(a, unit, w))
		misuse_report("shmb_free", a, p, "double free");
	if (where)
		atomic_store(where, 0);
	tally_free_large(a, unit, n);
	if (cont_seize(a, unit, 1, n) != n)
		misuse_report("shmb_free", a, p, "the words of its units were overwritten");
	if (a->guard)
		memset(p, JUNK, n << UNIT_SHIFT);
	shadow_free(a, p, n << UNIT_SHIFT, false);
	span_return(a, unit, n);
}

static bool head_change(struct shmb_arena *a, uint64_t unit, span_t w, uint64_t n)
{
	return atomic_compare_exchange_strong(&a->spans[unit], &w, span_make(SPAN_HEAD, n, span_holder(w)));
}

/* The end that a block of `have` units will have: before its HEAD says so, and beyond what was asked for of it. */
static void harden_resized(struct shmb_arena *a, uint64_t unit, uint64_t have, uint64_t want, size_t size)
{
	uint64_t off = unit << UNIT_SHIFT, bytes = want << UNIT_SHIFT;
	if (want > have)
		memset(a->data + off + (have << UNIT_SHIFT), JUNK, (want - have) << UNIT_SHIFT);
	canary_fill(a, off, bytes, size - a->guard);
	canary_set(a, off, bytes, size - a->guard);
}

bool large_resize(struct shmb_arena *a, void *p, span_t w, size_t size)
{
	uint64_t unit = (uint64_t)((char *)p - a->data) >> UNIT_SHIFT;
	uint64_t have = span_aux(w), want = units_for(size);
	holder_t h = atomic_load(&a->holder);
	bool zeroed;
	if (want > have) {
		if (!span_take_at(a, unit + have, want - have, &zeroed))
			return false;
		cont_set(a, unit, have, want, h);
	}
	if (a->guard)
		harden_resized(a, unit, have, want, size);
	if (want < have)
		cont_claim(a, unit, want, have, h);
	if (want != have && !head_change(a, unit, w, want))
		misuse_report("shmb_realloc", a, p, "freed meanwhile");
	tally_resize_large(a, unit, have, want);
	shadow_resize(a, p, have << UNIT_SHIFT, want << UNIT_SHIFT, size);
	if (want < have && cont_seize(a, unit, want, have) != have)
		misuse_report("shmb_realloc", a, p, "the words of its units were overwritten");
	if (want < have)
		span_return(a, unit + want, have - want);
	return true;
}
