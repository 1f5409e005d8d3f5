/*
 * tally.c - what of each rule of a preloaded program lives, and did at most.
 *
 * free does not know the rule, and the hot path counts nothing but hits. So
 *
 *   - a class in which one rule places is that rule's: `owner`. What lives in it is
 *     what is live there; how much is out to threads is counted a magazine at a time;
 *   - where several rules place in a class, each block issued gets a tag, a byte in a
 *     table beside the block map. free leaves it on. It is taken off, and the rule's
 *     sum lowered, when the block's magazine leaves the thread, or changed when the
 *     block is issued again. Such a class is not served by the hot path's malloc;
 *   - a large block always has a tag, which its free takes off.
 *
 * Who looks from outside finds what lives by walking the live blocks: exact. The
 * sums here are for the peak alone. They count what lies free in threads'
 * magazines, too: two of each class a thread at most. A process that is
 * killed in the middle of a move can leave them off by a magazine, or a block.
 *
 * Sums change by atomic additions, tags by whoever has the block. A sum that
 * a stranger broke is a wrong number and leads nowhere.
 */
#include "tally.h"

#include "error.h"
#include "span.h"
#include "sys.h"

#include <string.h>

enum { UNIT_GRAINS = UNIT / GRAIN, PAGE_GRAINS = PAGE / GRAIN };

static void add(_Atomic int64_t *sum, int64_t n)
{
	atomic_fetch_add_explicit(sum, n, memory_order_relaxed);
}

static int64_t get(const _Atomic int64_t *sum)
{
	return atomic_load_explicit(sum, memory_order_relaxed);
}

static const struct rules_bank *bank(const struct shmb_arena *a)
{
	return &a->rules->banks[atomic_load_explicit(&a->hdr->rules_gen, memory_order_relaxed) & 1];
}

/* The entry of a tag; RULE_NONE: it cannot be one. */
static unsigned entry_of(const struct shmb_arena *a, uint8_t tag)
{
	uint32_t n = atomic_load_explicit(&a->hdr->rules, memory_order_relaxed);
	return tag && tag <= RULE_ENTRIES && tag <= n ? tag - 1u : RULE_NONE;
}

/* ---- peaks --------------------------------------------------------------------------- */

static int64_t total(const struct shmb_arena *a, unsigned entry)
{
	const struct rules_shm *t = a->rules;
	const uint8_t *owner = bank(a)->owner;
	int64_t sum = get(&t->rules[entry].small) + get(&t->rules[entry].large);
	for (unsigned c = 0; c < CLASSES; c++)
		if (owner[c] == entry)
			sum += (get(&t->out[c]) - get(&t->tagged[c])) * class_size(c);
	return sum;
}

static void note_peak(struct shmb_arena *a, unsigned entry)
{
	if (entry >= RULE_ENTRIES || entry >= atomic_load_explicit(&a->hdr->rules, memory_order_relaxed))
		return;
	_Atomic int64_t *peak = &a->rules->rules[entry].peak;
	int64_t now = total(a, entry), was = get(peak);
	while (now > was && !atomic_compare_exchange_weak(peak, &was, now))
		;
}

/* ---- small blocks ---------------------------------------------------------------------- */

void tally_enter(struct shmb_arena *a, unsigned class, uint32_t n)
{
	if (!tally_wanted(a) || !n)
		return;
	add(&a->rules->out[class], n);
	note_peak(a, bank(a)->owner[class]);
}

void tally_leave(struct shmb_arena *a, unsigned class, uint32_t n)
{
	if (tally_wanted(a) && n)
		add(&a->rules->out[class], -(int64_t)n);
}

/* Sets a block's tag, whatever it was. Off first and counted then: a kill in between leaves the sum too high. */
static void tag_change(struct shmb_arena *a, uint32_t grain, unsigned class, uint8_t tag)
{
	uint8_t was = atomic_exchange(&a->tags[grain], tag);
	int64_t size = class_size(class);
	unsigned before = entry_of(a, was), after = entry_of(a, tag);
	if (before != RULE_NONE)
		add(&a->rules->rules[before].small, -size);
	if (after != RULE_NONE)
		add(&a->rules->rules[after].small, size);
	if ((before != RULE_NONE) != (after != RULE_NONE))
		add(&a->rules->tagged[class], after != RULE_NONE ? 1 : -1);
}

static void untag(struct shmb_arena *a, uint32_t grain, unsigned class)
{
	if (hint_get(a->tag_bits, grain / UNIT_GRAINS) && atomic_load_explicit(&a->tags[grain], memory_order_relaxed))
		tag_change(a, grain, class, 0);
}

static bool may_have_tags(const struct shmb_arena *a)
{
	return tally_wanted(a) && atomic_load_explicit(&a->hdr->tags, memory_order_relaxed);
}

void tally_untag(struct shmb_arena *a, const struct mag_shm *m)
{
	uint64_t units = units_ready(a);
	if (!may_have_tags(a) || m->class >= CLASSES)
		return;
	for (uint32_t i = 0, n = atomic_load_explicit(&m->count, memory_order_relaxed); i < n && i < MAG_ROUNDS; i++)
		if (m->entries[i] / UNIT_GRAINS < units)
			untag(a, m->entries[i], m->class);
}

void tally_leave_one(struct shmb_arena *a, uint32_t grain, unsigned class)
{
	if (may_have_tags(a))
		untag(a, grain, class);
	tally_leave(a, class, 1);
}

static bool tags_commit(struct shmb_arena *a, uint64_t unit)
{
	if (likely(hint_get(a->tag_bits, unit)))
		return true;
	if (sys_populate((char *)a->tags + unit * UNIT_GRAINS, UNIT_GRAINS))
		return false; /* full: the block counts for the owner of its class */
	hint_set(a->tag_bits, unit);
	atomic_store(&a->hdr->tags, 1);
	return true;
}

void tally_tag(struct shmb_arena *a, uint32_t grain, unsigned class, unsigned entry)
{
	if (!tags_commit(a, grain / UNIT_GRAINS) || atomic_load_explicit(&a->tags[grain], memory_order_relaxed) == entry + 1)
		return;
	tag_change(a, grain, class, (uint8_t)(entry + 1));
	note_peak(a, entry);
}

/* ---- large blocks ------------------------------------------------------------------------ */

static void add_large(struct shmb_arena *a, uint8_t tag, int64_t units)
{
	unsigned entry = entry_of(a, tag);
	if (entry != RULE_NONE)
		add(&a->rules->rules[entry].large, units * UNIT);
}

void tally_tag_large(struct shmb_arena *a, uint64_t unit, uint64_t n, unsigned entry)
{
	uint8_t tag = (uint8_t)(entry + 1);
	if (atomic_load_explicit(&a->unit_tags[unit], memory_order_relaxed) == tag)
		return;
	add_large(a, tag, (int64_t)n);
	add_large(a, atomic_exchange(&a->unit_tags[unit], tag), -(int64_t)n);
	note_peak(a, entry);
}

void tally_resize_large(struct shmb_arena *a, uint64_t unit, uint64_t have, uint64_t want)
{
	uint8_t tag = tally_wanted(a) ? atomic_load_explicit(&a->unit_tags[unit], memory_order_relaxed) : 0;
	if (!tag)
		return;
	add_large(a, tag, (int64_t)want - (int64_t)have);
	if (want > have)
		note_peak(a, entry_of(a, tag));
}

void tally_free_large(struct shmb_arena *a, uint64_t unit, uint64_t n)
{
	if (tally_wanted(a) && atomic_load_explicit(&a->unit_tags[unit], memory_order_relaxed))
		add_large(a, atomic_exchange(&a->unit_tags[unit], 0), -(int64_t)n);
}

/* ---- sweeping ------------------------------------------------------------------------------ */

static void sweep_small(struct shmb_arena *a, int fd, uint64_t unit, const bool *gone, const uint8_t *tagged)
{
	uint8_t tags[UNIT_GRAINS];
	/* not through the mapping: the unit may be given back meanwhile, and reading a hole would fill it */
	if (sys_pread(fd, tags, sizeof tags, a->lay.tags + unit * UNIT_GRAINS))
		return;
	for (unsigned i = 0; i < UNIT_GRAINS; i++) {
		if (!tags[i])
			continue;
		unsigned class = page_class(atomic_load(&a->pages[unit * UNIT_PAGES + i / PAGE_GRAINS]));
		unsigned entry = entry_of(a, tags[i]);
		bool past = gone && entry != RULE_NONE && gone[entry];
		if (class < CLASSES && (past || (tagged && !tagged[class])))
			untag(a, (uint32_t)(unit * UNIT_GRAINS + i), class);
	}
}

void tally_sweep(struct shmb_arena *a, int fd, const bool *gone, const uint8_t *tagged)
{
	bool small = may_have_tags(a);
	for (uint64_t u = 0, ready = units_ready(a); u < ready; u++) {
		span_t w = span_get(a, u);
		if (small && u < SMALL_UNITS && span_kind_of(w) == SPAN_SMALL && hint_get(a->tag_bits, u)) {
			sweep_small(a, fd, u, gone, tagged);
		} else if (span_kind_of(w) == SPAN_HEAD) {
			unsigned entry = entry_of(a, atomic_load(&a->unit_tags[u]));
			if (gone && entry != RULE_NONE && gone[entry])
				tally_free_large(a, u, span_aux(w));
		}
	}
}
