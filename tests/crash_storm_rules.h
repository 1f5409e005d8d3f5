/*
 * crash_storm_rules.h - the storm's workers as preloaded programs: each block
 * counts for a rule, some have tags, and now and then somebody changes the
 * rules, or is killed while he does. Included in crash_storm.c only.
 *
 * What `check` says of tags then must hold at every barrier. The sums for the
 * peaks may be off by what a killed worker had half moved, mostly a block, a
 * magazine at most, and by what moves while a class changes hands.
 */
#ifndef SHMB_CRASH_STORM_RULES_H
#define SHMB_CRASH_STORM_RULES_H

#include "helpers/sanitizer.h"
#include "preload_api.h"
#include "ruling.h"

enum { TWO_UP_TO = 8192, OFF_MOST = 64 << 10 }; /* on the average, a kill or change: a magazine */

/* Up to 8 KiB the first two place, whoever asks as the storm sees it; so there are tags. */
static struct storm_rules {
	const char *text;
	struct rule rules[RULES];
	unsigned n;
} sets[] = {{.text = "a: site=x size=..8K; b: site=y size=..8K; middle: size=8K..64K; large: size=64K.."},
            {.text = "c: site=z size=..8K; a: site=x size=..8K; large: size=40K..; middle: size=8K.."}};
static _Atomic(const struct storm_rules *) followed;

/* In the parent, which makes the region. */
static void rules_begin(void)
{
	struct word bad;
	for (unsigned i = 0; i < 2; i++)
		if (!rule_parse(sets[i].text, sets[i].rules, &sets[i].n, &bad))
			fail("rules: %.*s", (int)bad.len, bad.s);
	preload_rules_begin(arena, sets[0].text, sets[0].rules, sets[0].n, false);
	preload_rules_end();
}

/* One thread at a time, as the shim has it; the others go on by the earlier ones. */
static void rules_follow(void)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	static char text[RULES_TEXT];
	bool off;
	if (pthread_mutex_trylock(&one))
		return;
	uint32_t gen = preload_rules_read(arena, text, &off);
	const struct storm_rules *s = &sets[gen && !strcmp(text, sets[1].text)];
	if (gen && strcmp(text, s->text))
		fail("the rules are neither of those that are ever set: %.200s", text);
	if (gen) {
		preload_rules_use(NULL, 0);
		if (preload_rules_enter(arena, gen, s->n)) {
			atomic_store(&followed, s);
			preload_rules_follow(arena, gen, false);
		}
		preload_rules_use(atomic_load(&followed)->rules, atomic_load(&followed)->n);
	}
	pthread_mutex_unlock(&one);
}

/* In a worker. */
static void rules_join(void)
{
	atomic_store(&followed, &sets[0]);
	preload_rules_word = NULL;
	rules_follow();
	while (!preload_rules_word) { /* just being changed */
		nanosleep(&(struct timespec){0, 1000000}, NULL);
		rules_follow();
	}
}

static void rules_count(uint64_t *s, void *p, size_t size)
{
	const struct storm_rules *f = atomic_load(&followed);
	unsigned rule = size <= TWO_UP_TO ? (unsigned)below(s, 2) : (unsigned)rule_first(f->rules, f->n, size);
	preload_count(arena, rule, size);
	preload_count_placed(arena, rule, p);
}

/* In a process that ThreadSanitizer looks at no rules change: threads read them while another does that, by design. */
static bool rules_may_change(void) { return !UNDER_TSAN; }

/* A process that sets these rules and ends. */
static pid_t rules_setter(unsigned which)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	char bad[64];
	int err = shmb_rules_set(arena_name, sets[which % 2].text, bad, sizeof bad);
	if (err)
		fail("rules: %s %s", shmb_strerror(err), bad);
	_exit(0);
}

static uint64_t distance(int64_t n) { return n < 0 ? -(uint64_t)n : (uint64_t)n; }

/* By how much the sums are off where nothing lives and nothing is cached: from what is there, and from 0. */
static uint64_t rules_off(void)
{
	struct view v;
	int err = view_open_name(&v, arena_name);
	if (err)
		fail("a view: %s", shmb_strerror(err));
	uint64_t off = ruling_sums_off(&v);
	for (unsigned e = 0; e < v.rules_n; e++)
		off += distance(atomic_load(&v.rules->rules[e].sum));
	for (unsigned c = 0; c < CLASSES; c++)
		off += distance(atomic_load(&v.rules->out[c]));
	view_close(&v);
	return off;
}

#endif
