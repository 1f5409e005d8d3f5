/*
 * follow.c - how a preloaded program follows the rules in its region, and what
 * it counts of them there. The shim decides about requests (preload/rules.c);
 * here is what follows for the hot path, and for the counters.
 *
 * The tables change while other threads read them. First the hot path's is
 * emptied, so that all requests ask the rules; then come the shim's new rules,
 * then the table again. So each request is decided by the one set or the
 * other; a few may count for the wrong one.
 *
 * A class gets tags (tally.c) only while its entries of the hot path's table
 * are 0, and that is seen by whoever can be issued a block with one: it came to
 * his magazine by a call of his after the tag was written.
 */
#include "class.h"
#include "context.h"
#include "error.h"
#include "heap.h"
#include "preload_api.h"
#include "probe.h"
#include "rules.h"
#include "slot.h"
#include "sys.h"
#include "tally.h"

#include <string.h>

static const _Atomic uint32_t no_rules;
const _Atomic uint32_t *preload_rules_word = &no_rules;
uint32_t preload_rules_gen;

/* Of the rules that are followed, by their number: */
static uint8_t class_counts[CLASSES]; /* whose hits a thread's record counts for a class */
static bool class_tagged[CLASSES];    /* what is issued has a tag */
static bool some_tagged;
static unsigned guard;                /* of the region whose rules they are: nothing goes the hot path there */
static uint8_t entries[RULES];        /* in the region */

enum { ASKED = 8 };
static uint16_t asked[ASKED]; /* entries of heap_placed */
static unsigned asked_count;

/* ---- following ----------------------------------------------------------------------- */

/* By one thread at a time, as all that changes the rules. */
static void place_by(const struct rule_plan *plan, const struct rule *rules, unsigned n)
{
	static uint8_t table[sizeof heap_placed];
	rule_plan_table(plan, rules, n, table);
	for (unsigned i = 0; i < asked_count; i++)
		table[asked[i]] &= BLOCK_CLASS_MASK;
	memcpy(heap_placed, table, sizeof table);
}

void preload_rules_use(const struct rule *rules, unsigned n)
{
	struct rule_plan plan;
	bool some = false;
	if (!n) {
		memset(heap_placed, 0, sizeof heap_placed);
		return;
	}
	rule_plan(rules, n, guard, &plan);
	for (unsigned c = 0; c < CLASSES; c++)
		some |= plan.tagged[c];
	memcpy(class_counts, plan.counts, sizeof class_counts);
	memcpy(class_tagged, plan.tagged, sizeof class_tagged);
	some_tagged = some;
	atomic_thread_fence(memory_order_release);
	if (guard)
		memset(heap_placed, 0, sizeof heap_placed);
	else
		place_by(&plan, rules, n);
}

void preload_ask(size_t size)
{
	if (size && size <= CLASS_MAX_SIZE) {
		ASSERT(asked_count < ASKED);
		asked[asked_count++] = (uint16_t)((size + (GRAIN - 1)) >> GRAIN_SHIFT);
	}
}

void preload_rules_follow(shmb_arena *a, uint32_t gen, bool refused)
{
	holder_t me = atomic_load(&a->holder);
	atomic_store(&a->rules_followed, gen);
	preload_rules_word = &a->hdr->rules_gen;
	preload_rules_gen = gen;
	if (!me) /* a forked child before its first call */
		return;
	if (refused)
		atomic_store(&a->slots[holder_slot(me)].refused, gen);
	atomic_store(&a->slots[holder_slot(me)].rules, gen);
}

void preload_rules_begin(shmb_arena *a, const char *text, const struct rule *rules, unsigned n, bool off)
{
	memset(entries, RULE_NONE, sizeof entries);
	if (guard != a->guard) {
		guard = a->guard;
		preload_rules_use(NULL, 0);
		preload_rules_use(rules, off ? 0 : n);
	}
	if (rules_publish(a, text, rules, n, off))
		return; /* the region is full already: nothing is counted in it, nor changed */
	uint32_t gen = atomic_load(&a->hdr->rules_gen);
	if (rules_entries(a, gen, n, entries)) /* else somebody has been faster: they are read at the first request */
		preload_rules_follow(a, gen, false);
}

void preload_rules_end(void)
{
	preload_rules_word = &no_rules;
	preload_rules_gen = 0;
}

uint32_t preload_rules_read(shmb_arena *a, char *text, bool *off)
{
	return rules_read(a, text, off);
}

bool preload_rules_enter(shmb_arena *a, uint32_t gen, unsigned n)
{
	uint8_t now[RULES];
	if (!rules_entries(a, gen, n, now))
		return false;
	memcpy(entries, now, n);
	return true;
}

/* ---- counting ------------------------------------------------------------------------- */

/* Of a request of at most CLASS_MAX_SIZE - guard bytes. */
static unsigned class_asked(size_t size)
{
	return class_of(size + guard ? size + guard : 1);
}

uint64_t preload_bytes(size_t size)
{
	return size <= CLASS_MAX_SIZE - guard ? class_size(class_asked(size)) : size;
}

/* NULL: it is not to be counted. */
static struct rule_shm *entry_of(shmb_arena *a, unsigned rule)
{
	unsigned e = rule < RULES ? entries[rule] : RULE_NONE;
	return e < RULE_ENTRIES && e < atomic_load_explicit(&a->hdr->rules, memory_order_relaxed) ? &a->rules->rules[e] : NULL;
}

/* In the thread's record where the class is the rule's: there it takes no locked instruction. */
void preload_count(shmb_arena *a, unsigned rule, size_t size)
{
	struct thread_shm *t = context_get();
	if (likely(size <= CLASS_MAX_SIZE - guard) && context_is_of(t, a)) {
		unsigned class = class_asked(size);
		if (class_counts[class] == rule) {
			t->hits[class]++;
			return;
		}
	}
	struct rule_shm *r = entry_of(a, rule);
	if (!r)
		return;
	atomic_fetch_add_explicit(&r->hits, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->bytes, preload_bytes(size), memory_order_relaxed);
}

void preload_count_fallback(shmb_arena *a, unsigned rule)
{
	struct rule_shm *r = entry_of(a, rule);
	atomic_fetch_add_explicit(&a->hdr->fallbacks, 1, memory_order_relaxed);
	if (r)
		atomic_fetch_add_explicit(&r->fallbacks, 1, memory_order_relaxed);
	PROBE2(fallback, shmb_region_name(a->region), rule);
}

/* A large block starts a unit; small ones are looked at only where there are tags. */
void preload_count_placed(shmb_arena *a, unsigned rule, void *p)
{
	uint64_t off = (uint64_t)((char *)p - a->data);
	if (likely(off % UNIT && !some_tagged))
		return;
	struct rule_shm *r = entry_of(a, rule);
	if (!r)
		return;
	unsigned entry = (unsigned)(r - a->rules->rules);
	span_t w = span_get(a, off >> UNIT_SHIFT);
	if (span_kind_of(w) == SPAN_HEAD) {
		tally_tag_large(a, off >> UNIT_SHIFT, span_aux(w), entry);
		return;
	}
	uint32_t grain = (uint32_t)(off >> GRAIN_SHIFT);
	unsigned class = block_class(block_get(a->blocks, grain));
	if (class < CLASSES && class_tagged[class])
		tally_tag(a, grain, class, entry);
}
