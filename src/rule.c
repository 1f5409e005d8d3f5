/*
 * rule.c - which requests belong into the region: the grammar.
 *
 * Rules are separated by ';' or newlines. A rule is [!][name:] condition...,
 * all conditions hold, the first rule that matches decides, no match is the
 * ordinary heap. Nothing is allocated and no data is kept: the shim calls this
 * inside malloc, the tool from outside.
 */
#include "rule.h"

#include "blockmap.h"

#include <string.h>

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
	bool first = !r->module.len;
	r->module = word_of(s, end);
	return first;
}

/* "libfoo.so*+0x1a2b", or a symbol. */
static bool parse_site(const char *s, const char *end, struct rule *r)
{
	const char *plus = memrchr(s, '+', (size_t)(end - s));
	if (r->by_offset || r->symbol.len)
		return false;
	if (!plus) {
		r->symbol = word_of(s, end);
		return is_symbol(s, end);
	}
	if (plus == s || end - plus < 3 || plus[1] != '0' || plus[2] != 'x' || !parse_hex(plus + 3, end, &r->offset))
		return false;
	r->by_offset = true;
	r->object = word_of(s, plus);
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

static bool parse_rule(const char *s, const char *end, struct rule *out)
{
	struct rule r = {.text = word_of(s, end), .low = 0, .high = SIZE_MAX, .place = true};
	unsigned conditions = 0;
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
	*out = r;
	return true;
}

bool rule_parse(const char *text, struct rule rules[RULES], unsigned *n, struct word *bad)
{
	*n = 0;
	for (const char *s = text; *s;) {
		const char *end = s + strcspn(s, ";\n");
		const char *from = skip_blank(s, end), *to = end;
		while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
			to--;
		if (to > from && *from != '#') {
			if (*n == RULES || !parse_rule(from, to, &rules[*n])) {
				*bad = word_of(from, to);
				return false;
			}
			++*n;
		}
		s = *end ? end + 1 : end;
	}
	*bad = word_of(text, text);
	return *n != 0;
}

/* ---- what follows from sizes ------------------------------------------------------ */

bool rule_asks_site(const struct rule *r)
{
	return r->module.len || r->by_offset || r->symbol.len;
}

bool rule_asks_size_only(const struct rule *r)
{
	return !rule_asks_site(r) && !r->thread.len && !r->sample;
}

int rule_place_all(const struct rule *rules, unsigned n, size_t least, size_t most)
{
	for (unsigned i = 0; i < n; i++) {
		const struct rule *r = &rules[i];
		if (most < r->low || least > r->high || r->low > r->high)
			continue;
		return rule_asks_size_only(r) && r->place && least >= r->low && most <= r->high ? (int)i : -1;
	}
	return -1;
}

int rule_first(const struct rule *rules, unsigned n, size_t size)
{
	for (unsigned i = 0; i < n; i++)
		if (size >= rules[i].low && size <= rules[i].high)
			return (int)i;
	return -1;
}

/* A rule that asks for nothing but a size leaves the rest of the range to those behind it. */
int rule_only(const struct rule *rules, unsigned n, size_t least, size_t most)
{
	int only = -1;
	for (unsigned i = 0; i < n && least <= most; i++) {
		const struct rule *r = &rules[i];
		if (most < r->low || least > r->high || r->low > r->high)
			continue;
		if (r->place && only >= 0)
			return RULE_SEVERAL;
		if (r->place)
			only = (int)i;
		if (!rule_asks_size_only(r))
			continue;
		if (r->low <= least && r->high >= most)
			break;
		if (r->low <= least)
			least = r->high + 1;
		else if (r->high >= most)
			most = r->low - 1;
	}
	return only;
}

/* ---- what follows for size classes ------------------------------------------------- */

/* Requests that come to a class are of `first` to `last` grains. */
static size_t first_grains(unsigned class)
{
	return class ? class_size(class - 1) / GRAIN + 1 : 0;
}

static size_t last_grains(unsigned class)
{
	return class_size(class) / GRAIN;
}

/* The size that is asked for where a block of `bytes` is needed. */
static size_t asked(size_t bytes, unsigned guard)
{
	return bytes > guard ? bytes - guard : 0;
}

/* The rule that places all sizes that need so many grains, whoever asks; -1: none. */
static int place_range(const struct rule *rules, unsigned n, unsigned guard, size_t least, size_t most)
{
	return rule_place_all(rules, n, asked(least ? (least - 1) * GRAIN + 1 : 0, guard), asked(most * GRAIN, guard));
}

static bool some_place(const struct rule *rules, unsigned n, unsigned guard, unsigned class)
{
	size_t most = asked(class_size(class), guard), least = class ? asked(class_size(class - 1) + 1, guard) : 0;
	for (unsigned i = 0; i < n; i++)
		if (rules[i].place && rules[i].low <= most && rules[i].high >= least)
			return true;
	return false;
}

/* The rule that places the largest of a class's sizes whoever asks, of those that there is one for. */
static int place_largest(const struct rule *rules, unsigned n, unsigned guard, unsigned class)
{
	size_t least = first_grains(class);
	int by = -1;
	if (!some_place(rules, n, guard, class))
		return by;
	for (size_t i = last_grains(class) + 1; by < 0 && i-- > least;)
		by = place_range(rules, n, guard, i, i);
	return by;
}

void rule_plan(const struct rule *rules, unsigned n, unsigned guard, struct rule_plan *plan)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		size_t least = c ? asked(class_size(c - 1) + 1, guard) : 0, most = asked(class_size(c), guard);
		int largest = place_largest(rules, n, guard, c), first = rule_first(rules, n, most);
		int only = rule_only(rules, n, least, most);
		plan->counts[c] = largest >= 0 ? (uint8_t)largest : first >= 0 ? (uint8_t)first : RULE_NONE;
		plan->owner[c] = only >= 0 ? (uint8_t)only : RULE_NONE;
		plan->tagged[c] = only == RULE_SEVERAL;
	}
}

void rule_plan_table(const struct rule_plan *plan, const struct rule *rules, unsigned n,
                     uint8_t table[CLASS_MAX_SIZE / GRAIN + 1])
{
	for (unsigned c = 0; c < CLASSES; c++) {
		size_t first = first_grains(c), last = last_grains(c);
		uint8_t live = block_make(BLOCK_LIVE, c);
		bool none = plan->tagged[c] || !some_place(rules, n, 0, c);
		bool all = !none && place_range(rules, n, 0, first, last) == plan->counts[c];
		for (size_t i = first; i <= last; i++)
			table[i] = all || (!none && place_range(rules, n, 0, i, i) == plan->counts[c]) ? live : 0;
	}
}
