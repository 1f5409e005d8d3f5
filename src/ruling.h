/* ruling.h - the rules of a preloaded program as somebody sees them who looks. See ruling.c. */
#ifndef SHMB_RULING_H
#define SHMB_RULING_H

#include "out.h"
#include "view.h"

struct shown_rule {
	char text[RULE_TEXT];
	uint64_t hits, bytes, fallbacks;
	uint64_t live, live_blocks, peak;
	bool places, in_force;
};

struct ruling {
	const struct view *v;
	const struct rules_bank *bank; /* NULL: there are none */
	struct shown_rule entries[RULE_ENTRIES];
	unsigned order[2 * RULE_ENTRIES]; /* what is shown: those in force, as they are asked, then earlier ones that did something */
	unsigned n;
};

/* What a view says; then each of its live blocks; then in which order. */
void ruling_begin(struct ruling *r, const struct view *v);
void ruling_block(struct ruling *r, const struct view_block *b);
void ruling_end(struct ruling *r);

void ruling_text(const struct out *o, const struct ruling *r);
void ruling_json(const struct out *o, const struct ruling *r); /* members, without a comma at the end */

#endif
