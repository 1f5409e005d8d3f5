/*
 * rules.c - which requests belong into the region: the grammar, the decision.
 *
 * Rules are separated by ';' or newlines. A rule is [!][name:] condition...,
 * all conditions hold, the first rule that matches decides, no match is the
 * ordinary heap. Parsed once, before any other thread exists; constant
 * afterwards but for the count of a sample= condition.
 *
 * Most requests are decided by their size alone: rules_may_place() is a
 * subtraction and a compare, and the sizes that rules_place_all() names never
 * come here at all. The rest is asked in the order of what it costs.
 */
#include "shim.h"
#include "../src/preload_api.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct rule {
	struct word name, text;
	size_t low, high; /* both included */
	bool place;
	bool by_module, by_offset, by_symbol;
	unsigned module, object, symbol; /* the numbers of two patterns, of a symbol */
	uint64_t offset;
	struct word thread; /* empty: not asked */
	uint64_t sample; /* 0: not asked */
	_Atomic uint64_t matched; /* requests for which all else held */
	_Atomic uint64_t hits, bytes; /* in a dry run: elsewhere the region has them */
};

struct rules_bounds rules_bounds = {.lowest = 1, .count = 0};

static struct rule rules[RULES];
static unsigned rule_count;

/* ---- words -------------------------------------------------------------------- */

bool parse_size(const char *s, const char *end, uint64_t *out)
{
	uint64_t v = 0;
	const char *p = s;
	unsigned shift = 0;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	if (p == s)
		return false;
	if (p < end) {
		const char *unit = strchr("KMGT", *p);
		if (!unit || !*p || p + 1 != end)
			return false;
		shift = 10 * (unsigned)(unit - "KMGT" + 1);
	}
	if (shift && v >> (64 - shift))
		return false;
	*out = v << shift;
	return true;
}

static bool parse_decimal(const char *s, const char *end, uint64_t *out)
{
	return end > s && end[-1] <= '9' && parse_size(s, end, out);
}

static bool parse_hex(const char *s, const char *end, uint64_t *out)
{
	uint64_t v = 0;
	if (s == end || end - s > 16)
		return false;
	for (; s < end; s++) {
		static const char digits[] = "0123456789abcdef0123456789ABCDEF";
		const char *digit = *s ? strchr(digits, *s) : NULL;
		if (!digit)
			return false;
		v = v << 4 | (uint64_t)((digit - digits) & 15);
	}
	*out = v;
	return true;
}

static size_t clamp_size(uint64_t v)
{
	return v > SIZE_MAX ? SIZE_MAX : (size_t)v;
}

static struct word word_of(const char *s, const char *end)
{
	return (struct word){s, (unsigned)(end - s)};
}

/* A C identifier, or what C++ and compilers make of one. */
static bool is_symbol(const char *s, const char *end)
{
	if (s == end || (*s >= '0' && *s <= '9'))
		return false;
	for (; s < end; s++)
		if (!((*s >= '0' && *s <= '9') || ((*s | 32) >= 'a' && (*s | 32) <= 'z') || *s == '_' || *s == '$' || *s == '.'))
			return false;
	return true;
}

/* ---- conditions ---------------------------------------------------------------- */

/* "64K..", "..4K", "4K..1G", "4K" */
static bool parse_range(const char *s, const char *end, struct rule *r)
{
	uint64_t low = 0, high = SIZE_MAX;
	const char *dots = memmem(s, (size_t)(end - s), "..", 2);
	if (!dots) {
		if (!parse_size(s, end, &low))
			return false;
		high = low;
	} else {
		if (dots > s && !parse_size(s, dots, &low))
			return false;
		if (dots + 2 < end && !parse_size(dots + 2, end, &high))
			return false;
		if (dots == s && dots + 2 == end)
			return false;
	}
	if (low > r->low)
		r->low = clamp_size(low);
	if (high < r->high)
		r->high = clamp_size(high);
	return low <= high;
}

static bool parse_module(const char *s, const char *end, struct rule *r)
{
	if (r->by_module)
		return false;
	r->by_module = true;
	r->module = site_pattern(word_of(s, end));
	return true;
}

/* "libfoo.so*+0x1a2b", or a symbol. */
static bool parse_site(const char *s, const char *end, struct rule *r)
{
	const char *plus = memrchr(s, '+', (size_t)(end - s));
	if (r->by_offset || r->by_symbol)
		return false;
	if (!plus) {
		r->by_symbol = is_symbol(s, end);
		if (r->by_symbol)
			r->symbol = symbol_new(word_of(s, end));
		return r->by_symbol;
	}
	if (plus == s || end - plus < 3 || plus[1] != '0' || plus[2] != 'x' || !parse_hex(plus + 3, end, &r->offset))
		return false;
	r->by_offset = true;
	r->object = site_pattern(word_of(s, plus));
	return true;
}

static bool parse_thread(const char *s, const char *end, struct rule *r)
{
	bool first = !r->thread.len;
	r->thread = word_of(s, end);
	return first;
}

static bool parse_sample(const char *s, const char *end, struct rule *r)
{
	bool first = !r->sample;
	return first && end - s > 2 && s[0] == '1' && s[1] == '/' && parse_decimal(s + 2, end, &r->sample) && r->sample;
}

static bool parse_condition(const char *s, const char *end, struct rule *r)
{
	static const struct {
		const char *key;
		bool (*parse)(const char *s, const char *end, struct rule *r);
	} conditions[] = {
		{"size=", parse_range},
		{"module=", parse_module},
		{"site=", parse_site},
		{"thread=", parse_thread},
		{"sample=", parse_sample},
	};
	if (end - s == 3 && !memcmp(s, "all", 3))
		return true;
	for (unsigned i = 0; i < sizeof conditions / sizeof *conditions; i++) {
		size_t n = strlen(conditions[i].key);
		if ((size_t)(end - s) > n && !memcmp(s, conditions[i].key, n))
			return conditions[i].parse(s + n, end, r);
	}
	return false;
}

/* ---- rules ---------------------------------------------------------------------- */

static const char *skip_blank(const char *s, const char *end)
{
	while (s < end && (*s == ' ' || *s == '\t'))
		s++;
	return s;
}

/* Up to a ':' that neither a blank nor a '=' comes before. */
static bool parse_name(const char **s, const char *end, struct rule *r)
{
	const char *colon = *s;
	while (colon < end && *colon > ' ' && *colon != '=' && *colon != ':')
		colon++;
	if (colon >= end || *colon != ':')
		return true;
	r->name = word_of(*s, colon);
	*s = skip_blank(colon + 1, end);
	return r->name.len && r->name.len < RULE_NAME;
}

static bool parse_rule(const char *s, const char *end)
{
	struct rule r = {.text = word_of(s, end), .low = 0, .high = SIZE_MAX, .place = true};
	unsigned conditions = 0;
	if (rule_count == RULES)
		return false;
	if (*s == '!') {
		r.place = false;
		s = skip_blank(s + 1, end);
	}
	if (!parse_name(&s, end, &r))
		return false;
	while (s < end) {
		const char *stop = s;
		while (stop < end && *stop != ' ' && *stop != '\t')
			stop++;
		if (!parse_condition(s, stop, &r))
			return false;
		conditions++;
		s = skip_blank(stop, end);
	}
	if (!conditions)
		return false;
	rules[rule_count++] = r;
	return true;
}

static void set_bounds(void);

bool rules_parse(const char *text, struct word *bad)
{
	for (const char *s = text; *s;) {
		const char *end = s + strcspn(s, ";\n");
		const char *from = skip_blank(s, end), *to = end;
		while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
			to--;
		if (to > from && *from != '#' && !parse_rule(from, to)) {
			*bad = word_of(from, to);
			return false;
		}
		s = *end ? end + 1 : end;
	}
	set_bounds();
	*bad = word_of(text, text);
	return rule_count != 0;
}

static bool asks_site(const struct rule *r)
{
	return r->by_module || r->by_offset || r->by_symbol;
}

static bool asks_size_only(const struct rule *r)
{
	return !asks_site(r) && !r->thread.len && !r->sample;
}

bool rules_ask_site(void)
{
	for (unsigned i = 0; i < rule_count; i++)
		if (asks_site(&rules[i]))
			return true;
	return false;
}

static void set_bounds(void)
{
	size_t low = SIZE_MAX, high = 0;
	for (unsigned i = 0; i < rule_count; i++) {
		if (!rules[i].place || rules[i].low > rules[i].high)
			continue;
		low = rules[i].low < low ? rules[i].low : low;
		high = rules[i].high > high ? rules[i].high : high;
	}
	if (low > high)
		return; /* nothing is placed: the bounds stay empty */
	rules_bounds = (struct rules_bounds){
		.lowest = low, .count = high - low, .exact = rule_count == 1 && asks_size_only(&rules[0])};
}

/* ---- decisions ------------------------------------------------------------------- */

int rules_place_all(size_t least, size_t most)
{
	for (unsigned i = 0; i < rule_count; i++) {
		const struct rule *r = &rules[i];
		if (most < r->low || least > r->high || r->low > r->high)
			continue;
		return asks_size_only(r) && r->place && least >= r->low && most <= r->high ? (int)i : -1;
	}
	return -1;
}

int rules_first(size_t size)
{
	for (unsigned i = 0; i < rule_count; i++)
		if (size >= rules[i].low && size <= rules[i].high)
			return (int)i;
	return -1;
}

static bool site_holds(const struct rule *r, struct site *s, const void *caller)
{
	if (!asks_site(r))
		return true;
	if (!s->found)
		site_find(s, caller);
	return (!r->by_module || site_named(s, r->module)) &&
	       (!r->by_offset || (site_at(s, r->offset) && site_named(s, r->object))) &&
	       (!r->by_symbol || site_within(s, r->symbol));
}

/* A block that is there already has drawn its lot: it stays where it is. */
static bool sample_holds(struct rule *r, enum held held)
{
	if (!r->sample)
		return true;
	if (held != HELD_NOT)
		return (held == HELD_REGION) == r->place;
	return (atomic_fetch_add_explicit(&r->matched, 1, memory_order_relaxed) + 1) % r->sample == 0;
}

int rules_decide(size_t size, const void *caller, enum held held)
{
	struct site s = {.found = false};
	for (unsigned i = 0; i < rule_count; i++) {
		struct rule *r = &rules[i];
		if (size >= r->low && size <= r->high && site_holds(r, &s, caller) &&
		    (!r->thread.len || thread_named(r->thread)) && sample_holds(r, held))
			return (int)i;
	}
	return -1;
}

bool rules_places(int rule)
{
	return rules[rule].place;
}

/* ---- what they did ---------------------------------------------------------------- */

void rules_count(int rule, size_t size)
{
	atomic_fetch_add_explicit(&rules[rule].hits, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&rules[rule].bytes, preload_bytes(size), memory_order_relaxed);
}

void rules_uncount(void)
{
	for (unsigned i = 0; i < rule_count; i++) {
		atomic_store(&rules[i].hits, 0);
		atomic_store(&rules[i].bytes, 0);
	}
}

unsigned rules_describe(struct preload_rule *out)
{
	for (unsigned i = 0; i < rule_count; i++)
		out[i] = (struct preload_rule){.text = rules[i].text.s,
		                               .len = rules[i].text.len,
		                               .places = rules[i].place,
		                               .hits = atomic_load(&rules[i].hits),
		                               .bytes = atomic_load(&rules[i].bytes)};
	return rule_count;
}
