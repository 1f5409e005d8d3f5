/*
 * ops_more.c - more operations whose calls are made to fail, as ops.c has
 * the others: a region as a file and back, the rules of a preloaded program,
 * and its end.
 *
 * A saved region lies in the shm directory, where what is left is counted.
 */
#include "ops.h"

#include "class.h"
#include "preload_api.h"
#include "rules.h"
#include "shmbind.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 200, BLOCK = 3000, LARGE = 300000 };
#define BEFORE "a: site=x size=..5K; b: size=..5K; c: size=64K.."
#define AFTER "all; d: size=3000"

static shmb_arena *a;
static void *block[BLOCKS];

static void need(const char *what, int err)
{
	if (err)
		broken(what, err);
}

static void with_arena(void)
{
	shmb_options opt = {.size = (size_t)64 << 20, .flags = SHMB_CREATE_ONLY};
	need("create", shmb_arena_open(region, &opt, &a));
}

static void with_blocks(void)
{
	with_arena();
	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i] = shmb_malloc(a, i % 50 ? BLOCK : LARGE);
		need("malloc", !block[i]);
		memset(block[i], (int)i + 1, BLOCK);
	}
}

static void close_arena(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		shmb_free(a, block[i]);
	need("close", shmb_arena_close(a));
}

/* ---- a region as a file ----------------------------------------------------------------- */

static const char *file(void)
{
	static char path[NAME_LEN + 20];
	snprintf(path, sizeof path, "/dev/shm%s-saved", region);
	return path;
}

static int save(void)
{
	int exact; /* not where the kernel tells different things about holes */
	return shmb_save_name(region, file(), &exact);
}
static int save_again(void) { return unlink(file()) && errno != ENOENT ? errno : save(); }
static void save_end(void)
{
	unlink(file());
	close_arena();
}

static void with_saved(void)
{
	with_blocks();
	need("save", save());
	close_arena();
}
static int load(void) { return shmb_load_name(file(), region); }

/* What was there is there, and it can be used. */
static int load_again(void)
{
	int err = shmb_remove_name(region);
	if (err && err != ENOENT)
		return err;
	err = load();
	if (!err)
		err = shmb_arena_open(region, NULL, &a);
	if (err)
		return err;
	void *p = shmb_malloc(a, LARGE);
	err = p ? 0 : errno;
	shmb_free(a, p);
	int closed = shmb_arena_close(a);
	return err ? err : closed;
}
static void load_end(void)
{
	unlink(file());
	need("remove", shmb_remove_name(region));
}

/* ---- the shim's end ------------------------------------------------------------------------ */

static int unlink_at_exit(void)
{
	preload_exit();
	return 0;
}

/* ---- rules ---------------------------------------------------------------------------------- */

static struct rule rules[RULES];
static unsigned rules_n;

static const char *parsed(const char *text)
{
	struct word bad;
	need("rules", !rule_parse(text, rules, &rules_n, &bad));
	return text;
}

/* As the shim does at its start. */
static void follow_first(void)
{
	const char *text = parsed(BEFORE);
	preload_rules_begin(a, text, rules, rules_n, false);
	preload_rules_use(rules, rules_n);
}
static int begin(void)
{
	follow_first();
	return 0;
}

static int rules_are(const char *text, bool is_off)
{
	static char now[RULES_TEXT];
	bool off;
	return rules_read(a, now, &off) && !strcmp(now, text) && off == is_off ? 0 : EIO;
}
static int begin_again(void)
{
	preload_rules_end();
	follow_first();
	return rules_are(BEFORE, false);
}

/* A program whose blocks have tags of the first two rules, in one class. */
static void with_rules(void)
{
	with_arena();
	follow_first();
	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i] = shmb_malloc(a, i % 50 ? BLOCK : LARGE);
		need("malloc", !block[i]);
		preload_count(a, i % 50 ? i % 2 : 2, i % 50 ? BLOCK : LARGE);
		preload_count_placed(a, i % 50 ? i % 2 : 2, block[i]);
	}
}
static void rules_end(void)
{
	preload_rules_end();
	preload_rules_use(NULL, 0);
	close_arena();
}

/* From outside. A set that was refused has changed nothing, one that was not is in force. */
static int set(void)
{
	char bad[16];
	int err = shmb_rules_set(region, AFTER, bad, sizeof bad);
	need("the rules after it", err ? rules_are(BEFORE, false) : rules_are(AFTER, false));
	return err;
}
static int set_again(void)
{
	char bad[16];
	int err = shmb_rules_set(region, BEFORE, bad, sizeof bad);
	return err ? err : rules_are(BEFORE, false) ? EIO : set();
}
static int switch_off(void)
{
	int err = shmb_rules_switch(region, 0);
	need("the rules after it", rules_are(BEFORE, !err));
	return err;
}
static int switch_again(void)
{
	int err = shmb_rules_switch(region, 1);
	return err ? err : switch_off();
}

static void ignore(void *opaque, const char *text) { (void)opaque, (void)text; }
static int show(void) { return shmb_rules_name(region, ignore, NULL, "J"); }

static void with_changed_rules(void)
{
	with_rules();
	need("set", set());
}

/* Inside, as the shim does at the first request after a change; then that request, by the last of the new rules. */
static int follow(void)
{
	static char text[RULES_TEXT];
	bool off;
	uint32_t gen = preload_rules_read(a, text, &off);
	if (!gen)
		return EAGAIN;
	parsed(text);
	preload_rules_use(NULL, 0);
	if (!preload_rules_enter(a, gen, rules_n))
		return EAGAIN;
	preload_rules_use(rules, rules_n);
	preload_rules_follow(a, gen, false);
	void *p = shmb_malloc(a, BLOCK);
	int err = p ? 0 : errno;
	if (p) {
		preload_count(a, 1, BLOCK);
		preload_count_placed(a, 1, p);
	}
	shmb_free(a, p);
	return err;
}

/* Requests that are the first of their classes with tags. */
static int tag_many(void)
{
	int err = 0;
	for (unsigned i = 0; i < BLOCKS && !err; i++) {
		if (!block[i])
			block[i] = shmb_malloc(a, 16 + i * 20);
		err = block[i] ? 0 : errno;
		if (block[i])
			preload_count_placed(a, i % 2, block[i]);
	}
	return err;
}
static void with_rules_alone(void)
{
	with_arena();
	follow_first();
}

const struct op ops_more[] = {
	{"save", with_blocks, save, save_again, save_end, false, false},
	{"load", with_saved, load, load_again, load_end, false, false},
	{"_exit under the shim", with_arena, unlink_at_exit, NULL, close_arena, true, true},
	{"rules, the first of a program", with_arena, begin, begin_again, rules_end, false, true},
	{"rules, placed by several in a class", with_rules_alone, tag_many, NULL, rules_end, false, false},
	{"rules, set from outside", with_rules, set, set_again, rules_end, false, false},
	{"rules, switched off", with_rules, switch_off, switch_again, rules_end, false, false},
	{"rules, followed", with_changed_rules, follow, NULL, rules_end, false, false},
	{"rules, shown", with_rules, show, NULL, rules_end, false, false},
};
const size_t ops_more_count = sizeof ops_more / sizeof *ops_more;
