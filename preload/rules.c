/*
 * rules.c - which requests belong into the region: the decision. The grammar
 * is src/rule.c's, what is counted src/follow.c's.
 *
 * Most requests are decided by their size alone: rules_may_place() is a
 * subtraction and a compare, and the sizes that one rule places whoever asks
 * never come here at all. The rest is asked in the order of what it costs.
 *
 * The rules change while threads decide by them (change.c). There are two
 * sets: one in force, one to be written. Who reads a set that is being written
 * was there before the last change but one, for as long as all of the next
 * took. It is not waited for: what it reads then leads nowhere else, since
 * every number in a set is in its range and every word in a text with as much
 * room behind it as a word can be long; and it looks at the set's `version`
 * afterwards, finds another, and decides again.
 */
#include "shim.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct asked {
	struct rule r;
	bool by_site;
	unsigned module, object, symbol; /* the numbers of two patterns, of a symbol */
	_Atomic uint64_t matched; /* requests for which all else held */
	_Atomic uint64_t hits, bytes; /* in a dry run: elsewhere the region has them */
};

struct rules_set {
	_Atomic uint32_t version; /* odd while it is written */
	unsigned n;
	bool off, begun;
	struct asked rules[RULES];
	struct rule parsed[RULES];
	char text[2 * RULES_TEXT];
};

const char rules_nothing[RULES_TEXT];
struct rules_bounds rules_bounds = {.lowest = 1, .count = 0};

static struct rules_set sets[RULES_SETS];
static struct rules_set *_Atomic in_force = &sets[0];

/* ---- taking them in --------------------------------------------------------------- */

/* Sizes from the least to the most that any rule places. */
static struct rules_bounds bounds_of(const struct rule *rules, unsigned n)
{
	size_t low = SIZE_MAX, high = 0;
	for (unsigned i = 0; i < n; i++) {
		if (!rules[i].place || rules[i].low > rules[i].high)
			continue;
		low = rules[i].low < low ? rules[i].low : low;
		high = rules[i].high > high ? rules[i].high : high;
	}
	if (low > high)
		return (struct rules_bounds){.lowest = 1, .count = 0};
	return (struct rules_bounds){.lowest = low, .count = high - low, .exact = n == 1 && rule_asks_size_only(&rules[0])};
}

static unsigned number_of(const struct rules_set *s)
{
	return (unsigned)(s - sets);
}

/*
 * Before a set is written that somebody may still read: from then on no word
 * of it leads to where there is nothing, whatever number of rules he finds.
 */
static void set_begin(struct rules_set *s)
{
	for (unsigned i = 0; i < RULES; i++)
		s->rules[i].r.thread.s = rules_nothing;
	site_begin(number_of(s));
	symbols_begin(number_of(s));
	s->begun = true;
}

static void ask(struct rules_set *s, struct asked *to, struct rule r)
{
	if (!r.thread.len)
		r.thread.s = rules_nothing;
	to->r = r;
	to->by_site = rule_asks_site(&r);
	to->module = r.module.len ? site_pattern(number_of(s), r.module) : 0;
	to->object = r.by_offset ? site_pattern(number_of(s), r.object) : 0;
	to->symbol = r.symbol.len ? symbol_new(number_of(s), r.symbol) : 0;
	atomic_store(&to->matched, 0);
	atomic_store(&to->hits, 0);
	atomic_store(&to->bytes, 0);
}

static bool load(struct rules_set *s, const char *text, bool *site, struct word *bad)
{
	size_t len = strlen(text);
	*bad = (struct word){text, 0};
	if (len >= RULES_TEXT)
		return false;
	memcpy(s->text, text, len + 1);
	if (!rule_parse(s->text, s->parsed, &s->n, bad))
		return false;
	site_clear(number_of(s));
	symbols_clear(number_of(s));
	for (unsigned i = 0; i < s->n; i++) {
		ask(s, &s->rules[i], s->parsed[i]);
		*site |= s->rules[i].by_site;
	}
	return true;
}

struct rules_set *rules_load(const char *text, bool off, bool *site, struct word *bad)
{
	struct rules_set *now = atomic_load(&in_force), *s = &sets[(number_of(now) + 1) % RULES_SETS];
	uint32_t version = atomic_load(&s->version);
	atomic_store(&s->version, (version + 1) | 1); /* a fork may have left it odd */
	if (version && !s->begun)
		set_begin(s);
	atomic_thread_fence(memory_order_seq_cst);
	*site = false;
	bool good = load(s, text, site, bad);
	s->off = off;
	atomic_thread_fence(memory_order_seq_cst);
	atomic_fetch_add(&s->version, 1);
	if (good && *site && !site_possible())
		good = false;
	if (good)
		symbols_read(number_of(s));
	return good ? s : NULL;
}

/* The bounds are three words: they take in every size while they change. */
void rules_take(struct rules_set *s)
{
	struct rules_bounds b = bounds_of(s->parsed, s->off ? 0 : s->n);
	rules_bounds.exact = false;
	rules_bounds.count = SIZE_MAX;
	atomic_thread_fence(memory_order_seq_cst);
	atomic_store(&in_force, s);
	rules_bounds.lowest = b.lowest;
	atomic_thread_fence(memory_order_seq_cst);
	rules_bounds.count = b.count;
	atomic_thread_fence(memory_order_seq_cst);
	rules_bounds.exact = b.exact;
}

struct rules_shown rules_shown(const struct rules_set *s)
{
	const struct rules_set *of = s ? s : atomic_load(&in_force);
	return (struct rules_shown){.text = of->text, .rules = of->parsed, .n = of->n, .off = of->off};
}

/* ---- decisions ------------------------------------------------------------------- */

static bool site_holds(const struct rules_set *s, const struct asked *q, struct site *at, const void *caller)
{
	if (!q->by_site)
		return true;
	if (!at->found)
		site_find(number_of(s), at, caller);
	return (!q->r.module.len || site_named(at, q->module)) &&
	       (!q->r.by_offset || (site_at(at, q->r.offset) && site_named(at, q->object))) &&
	       (!q->r.symbol.len || site_within(number_of(s), at, q->symbol));
}

/* A block that is there already has drawn its lot: it stays where it is. */
static bool sample_holds(struct asked *q, enum held held)
{
	uint64_t sample = q->r.sample;
	if (!sample)
		return true;
	if (held != HELD_NOT)
		return (held == HELD_REGION) == q->r.place;
	return (atomic_fetch_add_explicit(&q->matched, 1, memory_order_relaxed) + 1) % sample == 0;
}

static struct decision decide(struct rules_set *s, size_t size, const void *caller, enum held held)
{
	struct site at = {.found = false};
	unsigned n = s->off ? 0 : s->n;
	for (unsigned i = 0; i < n; i++) {
		struct asked *q = &s->rules[i];
		if (size >= q->r.low && size <= q->r.high && site_holds(s, q, &at, caller) &&
		    (!q->r.thread.len || thread_named(q->r.thread)) && sample_holds(q, held))
			return (struct decision){.rule = (int)i, .places = q->r.place};
	}
	return (struct decision){.rule = -1};
}

struct decision rules_decide(size_t size, const void *caller, enum held held)
{
	for (;;) {
		struct rules_set *s = atomic_load_explicit(&in_force, memory_order_acquire);
		uint32_t version = atomic_load_explicit(&s->version, memory_order_acquire);
		struct decision d = decide(s, size, caller, held);
		atomic_thread_fence(memory_order_acquire);
		if (likely(atomic_load_explicit(&s->version, memory_order_relaxed) == version && version % 2 == 0))
			return d;
	}
}

/* ---- what they did, in a dry run ---------------------------------------------------- */

void rules_count(int rule, size_t size)
{
	struct asked *q = &atomic_load(&in_force)->rules[rule];
	atomic_fetch_add_explicit(&q->hits, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&q->bytes, preload_bytes(size), memory_order_relaxed);
}

void rules_uncount(void)
{
	struct rules_set *s = atomic_load(&in_force);
	for (unsigned i = 0; i < s->n; i++) {
		atomic_store(&s->rules[i].hits, 0);
		atomic_store(&s->rules[i].bytes, 0);
	}
}

unsigned rules_describe(struct preload_rule *out)
{
	struct rules_set *s = atomic_load(&in_force);
	for (unsigned i = 0; i < s->n; i++)
		out[i] = (struct preload_rule){.text = s->rules[i].r.text.s,
		                               .len = s->rules[i].r.text.len,
		                               .places = s->rules[i].r.place,
		                               .hits = atomic_load(&s->rules[i].hits),
		                               .bytes = atomic_load(&s->rules[i].bytes)};
	return s->n;
}
