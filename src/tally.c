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

enum { UNIT_GRAINS = UNIT / GRAIN, PAGE_GRAINS = PAGE / GRAIN };

/* Its entry; NULL: there is none of that number plus one. */
static struct rule_shm *entry_of(struct shmb_arena *a, unsigned tag)
{
	uint32_t n = atomic_load_explicit(&a->hdr->rules, memory_order_relaxed);
	return tag && tag <= RULE_ENTRIES && tag <= n ? &a->rules->rules[tag - 1] : NULL;
}

static void change(struct rule_shm *r, int64_t bytes)
{
	if (!r)
		return;
	int64_t now = atomic_fetch_add_explicit(&r->sum, bytes, memory_order_relaxed) + bytes;
	int64_t was = atomic_load_explicit(&r->peak, memory_order_relaxed);
	while (unlikely(now > was) && !atomic_compare_exchange_weak(&r->peak, &was, now))
		;
}

/* ---- small blocks ---------------------------------------------------------------------- */

static void change_out(struct shmb_arena *a, unsigned class, int64_t blocks)
{
	int64_t bytes = blocks * class_size(class);
	atomic_fetch_add_explicit(&a->rules->out[class], bytes, memory_order_relaxed);
	change(entry_of(a, atomic_load_explicit(&a->rules->attributed[class], memory_order_relaxed)), bytes);
}

void tally_enter(struct shmb_arena *a, unsigned class, uint32_t n)
{
	if (tally_wanted(a) && n)
		change_out(a, class, n);
}

void tally_leave(struct shmb_arena *a, unsigned class, uint32_t n)
{
	if (tally_wanted(a) && n)
		change_out(a, class, -(int64_t)n);
}

/* Sets a block's tag, whatever it was. Off first and counted then: a kill in between leaves the sum too high. */
static void tag_change(struct shmb_arena *a, uint32_t grain, unsigned class, uint8_t tag)
{
	struct rule_shm *before = entry_of(a, atomic_exchange(&a->tags[grain], tag)), *after = entry_of(a, tag);
	int64_t size = class_size(class);
	change(before, -size);
	change(after, size);
	if (!before != !after)
		change_out(a, class, after ? -1 : 1);
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
	if (tags_commit(a, grain / UNIT_GRAINS) && atomic_load_explicit(&a->tags[grain], memory_order_relaxed) != entry + 1)
		tag_change(a, grain, class, (uint8_t)(entry + 1));
}

void tally_attribute(struct shmb_arena *a, unsigned class, unsigned entry)
{
	_Atomic uint8_t *to = &a->rules->attributed[class];
	uint8_t was = atomic_load(to), now = (uint8_t)(entry + 1); /* of RULE_NONE 0 */
	if (was == now)
		return;
	atomic_store(to, now);
	int64_t bytes = atomic_load(&a->rules->out[class]);
	change(entry_of(a, was), -bytes);
	change(entry_of(a, now), bytes);
}

/* ---- large blocks ------------------------------------------------------------------------ */

/* The tag of a block is changed by who has it, and taken off by a sweep; a sum may be off by what they both do at once. */
static void tag_large(struct shmb_arena *a, uint64_t unit, uint64_t n, uint8_t tag)
{
	uint8_t was = atomic_load_explicit(&a->unit_tags[unit], memory_order_relaxed);
	if (was == tag)
		return;
	atomic_store_explicit(&a->unit_tags[unit], tag, memory_order_release);
	change(entry_of(a, was), -(int64_t)(n << UNIT_SHIFT));
	change(entry_of(a, tag), (int64_t)(n << UNIT_SHIFT));
}

void tally_tag_large(struct shmb_arena *a, uint64_t unit, uint64_t n, unsigned entry)
{
	tag_large(a, unit, n, (uint8_t)(entry + 1));
}

void tally_resize_large(struct shmb_arena *a, uint64_t unit, uint64_t have, uint64_t want)
{
	if (tally_wanted(a))
		change(entry_of(a, atomic_load_explicit(&a->unit_tags[unit], memory_order_relaxed)),
		       ((int64_t)want - (int64_t)have) * UNIT);
}

void tally_free_large(struct shmb_arena *a, uint64_t unit, uint64_t n)
{
	if (tally_wanted(a))
		tag_large(a, unit, n, 0);
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
		bool past = gone && tags[i] <= RULE_ENTRIES && gone[tags[i] - 1];
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
			uint8_t tag = atomic_load(&a->unit_tags[u]);
			if (gone && tag && tag <= RULE_ENTRIES && gone[tag - 1])
				tally_free_large(a, u, span_aux(w));
		}
	}
}
