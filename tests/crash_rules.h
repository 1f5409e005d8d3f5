/*
 * crash_rules.h - the rules of a preloaded program, changed by a process that
 * is killed in the middle: they are the one set or the other, whole, and can
 * be changed again.
 */
#ifndef CRASH_RULES_H
#define CRASH_RULES_H

#include "crash_plan.h"
#include "rules.h"
#include "tally.h"

#define RULES_BEFORE "one: size=..1000 module=a; all"
#define RULES_AFTER "all; three: size=64K.."
#define RULES_AGAIN "four: all; !size=..100"

static int publish_text(const char *text)
{
	static struct rule rules[RULES];
	struct word bad;
	unsigned n;
	if (!rule_parse(text, rules, &n, &bad))
		return EINVAL;
	return rules_publish(A, text, rules, n, false);
}

static bool rules_are(const char *text)
{
	static char now[RULES_TEXT];
	uint8_t entries[RULES];
	bool off;
	uint32_t gen = rules_read(A, now, &off);
	return gen && !off && !strcmp(now, text) && rules_entries(A, gen, strchr(text, ';') ? 2 : 1, entries);
}

/* Blocks with tags of the first rule, in a class that the next set has for one rule alone. */
static void prepare_rules_blocks(void)
{
	NEED(!publish_text(RULES_BEFORE) && rules_are(RULES_BEFORE));
	for (unsigned i = 0; i < plan->held_n; i++) {
		uint64_t off = plan->held[i].ref - A->lay.data, unit = off >> UNIT_SHIFT;
		if (plan->held[i].size > CLASS_MAX_SIZE)
			tally_tag_large(A, unit, span_aux(span_get(A, unit)), 0);
		else
			tally_tag(A, (uint32_t)(off >> GRAIN_SHIFT), class_of(plan->held[i].size), 0);
	}
	NEED(atomic_load(&A->hdr->tags) && atomic_load(&A->rules->rules[0].sum) > 0);
}

static void run_rules(void)
{
	NEED(!publish_text(RULES_AFTER));
}

/* Of any operation: where there are no rules, nothing. */
static const char *rules_wrong(bool done)
{
	if (!atomic_load(&A->hdr->rules_gen))
		return NULL;
	if (!rules_are(RULES_AFTER) && (done || !rules_are(RULES_BEFORE)))
		return "the rules are neither those before nor those after";
	if (publish_text(RULES_AGAIN) || !rules_are(RULES_AGAIN))
		return "the rules cannot be changed again";
	for (unsigned u = 0; u < units_ready(A); u++)
		for (unsigned i = 0; hint_get(A->tag_bits, u) && i < UNIT / GRAIN; i++)
			if (block_get(A->blocks, u * (UNIT / GRAIN) + i) && atomic_load(&A->tags[u * (UNIT / GRAIN) + i]))
				return "a block of a class that is one rule's has a tag";
	return NULL;
}

#endif
