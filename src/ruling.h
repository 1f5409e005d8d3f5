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
	uint64_t tagged[CLASSES]; /* live blocks with tags */
};

/* What a view and the block map behind `fd` say, of which `counts` is as view_count_blocks() has it. */
int ruling_look(struct ruling *r, const struct view *v, int fd, uint64_t counts[256]);

/*
 * By how much the sums for the rules' peaks are not what their blocks come to,
 * of a view with tags; 0, if nobody moves blocks nor died while he did.
 */
uint64_t ruling_sums_off(const struct view *v);

void ruling_text(const struct out *o, const struct ruling *r);
void ruling_json(const struct out *o, const struct ruling *r); /* members, without a comma at the end */

#endif
