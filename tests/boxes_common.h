/*
 * boxes_common.h - what the suites of boxes share: a type whose objects say
 * whether they are whole, counts that all processes of a test see, and what
 * must be left at the end, which is nothing.
 */
#ifndef SHMB_BOXES_COMMON_H
#define SHMB_BOXES_COMMON_H

#include "tests_common.h"

enum { RACERS = 8, RACE_NAMES = 50 };

struct thing {
	uint64_t a, b;
	char text[48];
};

struct other {
	uint64_t a, b;
	char text[48];
};

/* Counted where all processes of a test see it. */
struct counts {
	_Atomic int inits[RACE_NAMES], drops, made, found, torn;
	_Atomic uint32_t go;
};
static struct counts *counts;

static void thing_drop(void *obj)
{
	struct thing *t = obj;
	if (t->a != ~t->b)
		atomic_fetch_add(&counts->torn, 1);
	atomic_fetch_add(&counts->drops, 1);
}

UNUSED static const shmb_type thing = SHMB_TYPE(struct thing, thing_drop);
UNUSED static const shmb_type thing_plain = SHMB_TYPE(struct thing, NULL);
UNUSED static const shmb_type other = SHMB_TYPE(struct other, NULL);

UNUSED static int thing_init(void *obj, void *arg)
{
	struct thing *t = obj;
	if (!all_zero(t, sizeof *t))
		atomic_fetch_add(&counts->torn, 1);
	t->a = (uint64_t)(uintptr_t)arg + 1;
	strcpy(t->text, "made");
	t->b = ~t->a;
	return 0;
}

UNUSED static shmb_arena *begin(void)
{
	counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(counts, MAP_FAILED);
	return arena_new(64 * MIB);
}

UNUSED static const char *name_of(const shmb_arena *a) { return shmb_region_name(shmb_arena_region(a)); }

UNUSED static shmb_arena *join(const char *name)
{
	shmb_arena *a = NULL;
	CHILD_ASSERT(shmb_arena_open(name, NULL, &a) == 0);
	return a;
}

static void append(void *opaque, const char *text) { strncat(opaque, text, (64 << 10) - strlen(opaque) - 1); }

/* A number of the "boxes" object of the statistics. */
UNUSED static long box_stat(shmb_arena *a, const char *key)
{
	static char json[64 << 10];
	char quoted[32];
	json[0] = 0;
	ck_assert_int_eq(shmb_stats_print(a, append, json, "Jj"), 0);
	const char *at = strstr(json, "\"boxes\":{");
	snprintf(quoted, sizeof quoted, "\"%s\":", key);
	at = at ? strstr(at, quoted) : NULL;
	ck_assert_msg(at != NULL, "no boxes.%s in the statistics", key);
	return strtol(at + strlen(quoted), NULL, 10);
}

UNUSED static void clean(shmb_arena *a)
{
	static char text[64 << 10];
	text[0] = 0;
	int err = shmb_check_name(name_of(a), append, text);
	ck_assert_msg(err == 0, "check: %s", text);
}

/* Nothing of any box is left, its memory included. */
UNUSED static void nothing_left(shmb_arena *a)
{
	shmb_trim(a);
	clean(a);
	struct walk w = walk_arena(a, false);
	ck_assert_uint_eq(w.live + w.large, 0);
	ck_assert_int_eq(box_stat(a, "owned") + box_stat(a, "kept") + box_stat(a, "moving") + box_stat(a, "abandoned"), 0);
	ck_assert_int_eq(box_stat(a, "named"), 0);
	ck_assert_int_eq(atomic_load(&counts->torn), 0);
}

UNUSED static shmb_box *make(shmb_arena *a, const char *name, const shmb_type *type, enum shmb_how want)
{
	shmb_box *b = NULL;
	enum shmb_how how = 0;
	ck_assert_int_eq(shmb_box_find_or_new(a, name, type, thing_init, NULL, &b, &how), 0);
	ck_assert_int_eq(how, want);
	return b;
}

#endif
