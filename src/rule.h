/*
 * rule.h - which requests of a preloaded program belong into its region: the
 * grammar, and what follows from sizes alone. See rule.c.
 */
#ifndef SHMB_RULE_H
#define SHMB_RULE_H

#include "class.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RULES = 64, RULE_NAME = 32, RULES_TEXT = 16384 }; /* the last: of all, with the NUL at its end */

struct word {
	const char *s;
	unsigned len; /* 0: nothing is said */
};

struct rule {
	struct word name, text;
	size_t low, high; /* sizes, both included */
	bool place;
	bool by_offset;
	struct word module, object, symbol, thread;
	uint64_t offset; /* in `object` */
	uint64_t sample; /* 0: not asked */
};

/*
 * The rules of a text, into which they point from then on; *n of them. False:
 * *bad does not parse, or is empty, and there is no rule.
 */
bool rule_parse(const char *text, struct rule rules[RULES], unsigned *n, struct word *bad);

bool rule_asks_site(const struct rule *r);
bool rule_asks_size_only(const struct rule *r);

/* The rule that places every size from `least` to `most`, whoever asks; -1: none. */
int rule_place_all(const struct rule *rules, unsigned n, size_t least, size_t most);

/* The first rule that may decide about it; -1: none. */
int rule_first(const struct rule *rules, unsigned n, size_t size);

/* The one rule that places any size from `least` to `most`; -1: none does, or RULE_SEVERAL. */
enum { RULE_SEVERAL = -2 };
int rule_only(const struct rule *rules, unsigned n, size_t least, size_t most);

/*
 * Which rule has a class, by its number, RULE_NONE for none. counts: whose hits
 * thread records count: of the rule that places its largest sizes whoever
 * asks, else of any that may decide about it. owner: the one that places in
 * it; tagged: there are several.
 */
enum { RULE_NONE = 255 };
struct rule_plan {
	uint8_t counts[CLASSES], owner[CLASSES];
	bool tagged[CLASSES];
};
/* guard: bytes that a block is larger than what is asked for (canary.h). */
void rule_plan(const struct rule *rules, unsigned n, unsigned guard, struct rule_plan *plan);

/*
 * What the hot path is to know, by the grains of a request: the LIVE byte of
 * its class where all such requests are placed, by the rule that counts; else 0.
 */
void rule_plan_table(const struct rule_plan *plan, const struct rule *rules, unsigned n,
                     uint8_t table[CLASS_MAX_SIZE / GRAIN + 1]);

/* "64K": digits and at most one of K M G T. False: something else, or too large. */
bool parse_size(const char *s, const char *end, uint64_t *out);

#endif
