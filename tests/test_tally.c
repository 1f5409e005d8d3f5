/*
 * test_tally.c - tags of blocks and the sums of rules, as `check` sees them:
 * clean while they come and go, and each thing that cannot be named.
 */
#include "class.h"
#include "depot.h"
#include "rules.h"
#include "ruling.h"
#include "tally.h"
#include "tests_common.h"
#include "view.h"

enum { BLOCKS = 400, SIZE = 5000, LARGE_SIZE = 200000, ENTRY_A = 0, ENTRY_B = 1, ENTRY_C = 2 };

static void expect_clean(shmb_arena *a)
{
	int err = check_arena(a);
	ck_assert_msg(!err && !strstr(said, "off by"), "%s", said);
}

/* One line of it, and the last that sums up. */
static void expect_corrupt(shmb_arena *a, const char *line)
{
	ck_assert_int_eq(check_arena(a), SHMB_ECORRUPT);
	ck_assert_msg(strstr(said, line) == said, "%s\nand not\n%s", said, line);
	ck_assert_msg(strstr(said, "\nCORRUPT: ") == strchr(said, '\n'), "%s", said);
}

static uint32_t grain_of(const shmb_arena *a, const void *p)
{
	return (uint32_t)((uint64_t)((const char *)p - a->data) >> GRAIN_SHIFT);
}

/* Two rules place in one class. */
static shmb_arena *ruled(void)
{
	static const char text[] = "a: site=x size=..5120;b: size=..5120;c: size=64K..";
	static struct rule rules[RULES];
	struct word bad;
	unsigned n;
	shmb_arena *a = arena_new(256 * MIB);
	ck_assert(rule_parse(text, rules, &n, &bad));
	ck_assert_int_eq(rules_publish(a, text, rules, n, false), 0);
	return a;
}

static char *take(shmb_arena *a, size_t size, unsigned entry)
{
	char *p = shmb_malloc(a, size);
	uint64_t unit = (uint64_t)(p - a->data) >> UNIT_SHIFT;
	if (size > CLASS_MAX_SIZE)
		tally_tag_large(a, unit, span_aux(span_get(a, unit)), entry);
	else
		tally_tag(a, grain_of(a, p), class_of(size), entry);
	return p;
}

START_TEST(tags_and_sums_agree)
{
	shmb_arena *a = ruled();
	char *p[BLOCKS], *large = take(a, LARGE_SIZE, ENTRY_C);
	expect_clean(a);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < BLOCKS; i++)
			p[i] = take(a, SIZE, i % 3 ? ENTRY_A : ENTRY_B);
		expect_clean(a);
		ck_assert_int_ge(atomic_load(&a->rules->rules[ENTRY_A].sum), BLOCKS / 3 * SIZE);
		ck_assert(large = shmb_realloc(a, large, LARGE_SIZE * (2 + round % 2)));
		for (unsigned i = 0; i < BLOCKS; i++)
			shmb_free(a, p[i]);
		expect_clean(a);
	}
	shmb_free(a, large);
	shmb_trim(a);
	expect_clean(a);
	for (unsigned e = 0; e < 3; e++)
		ck_assert_int_eq(atomic_load(&a->rules->rules[e].sum), 0);
	arena_done(a);
}
END_TEST

START_TEST(tags_that_cannot_be_are_named)
{
	shmb_arena *a = ruled();
	char *p = take(a, SIZE, ENTRY_A), line[160];
	uint32_t grain = grain_of(a, p);
	snprintf(line, sizeof line, "block at %#lx: its tag is of rule 4 of 3\n", (unsigned long)shmb_ref_of(a, p));
	atomic_store(&a->tags[grain], 4);
	expect_corrupt(a, line);
	atomic_store(&a->tags[grain], ENTRY_A + 1);
	snprintf(line, sizeof line, "block at %#lx: has the tag of rule 2, and is none\n", (unsigned long)shmb_ref_of(a, p) + GRAIN);
	atomic_store(&a->tags[grain + 1], 2);
	expect_corrupt(a, line);
	atomic_store(&a->tags[grain + 1], 0);
	expect_clean(a);
	arena_done(a);
}
END_TEST

START_TEST(a_depot_has_no_tags)
{
	shmb_arena *a = ruled();
	char *p[BLOCKS], line[160];
	unsigned class = class_of(SIZE);
	for (unsigned i = 0; i < BLOCKS; i++)
		p[i] = take(a, SIZE, ENTRY_A);
	for (unsigned i = 0; i < BLOCKS; i++)
		shmb_free(a, p[i]);
	ck_assert_uint_gt(atomic_load(&a->depots[class].count), 0);
	expect_clean(a);
	const struct mag_shm *m = &a->mags[cell_number(atomic_load(&a->depots[class].cells[0])) - 1];
	snprintf(line, sizeof line, "block at %#lx: has the tag of rule 1, and is free in a depot\n",
	         (unsigned long)(a->lay.data + ((uint64_t)m->entries[0] << GRAIN_SHIFT)));
	atomic_store(&a->tags[m->entries[0]], ENTRY_A + 1);
	expect_corrupt(a, line);
	atomic_store(&a->tags[m->entries[0]], 0);
	arena_done(a);
}
END_TEST

START_TEST(tags_of_units_that_cannot_be_are_named)
{
	shmb_arena *a = ruled();
	char *p = take(a, LARGE_SIZE, ENTRY_C), line[160];
	uint64_t unit = (uint64_t)(p - a->data) >> UNIT_SHIFT;
	snprintf(line, sizeof line, "unit %lu: its tag is of rule 200 of 3\n", (unsigned long)unit);
	atomic_store(&a->unit_tags[unit], 200);
	expect_corrupt(a, line);
	atomic_store(&a->unit_tags[unit], ENTRY_C + 1);
	snprintf(line, sizeof line, "unit %lu: has the tag of rule 1, and no large block starts there\n", (unsigned long)unit + 1);
	atomic_store(&a->unit_tags[unit + 1], 1);
	expect_corrupt(a, line);
	atomic_store(&a->unit_tags[unit + 1], 0);
	expect_clean(a);
	arena_done(a);
}
END_TEST

/* It had made the HEAD's word TAKING, and its slot is another's now. */
START_TEST(what_dies_while_it_frees_leaves_no_tag)
{
	shmb_arena *a = ruled(), *dead = arena_again(a);
	char *p = take(a, UNIT, ENTRY_C);
	uint64_t unit = (uint64_t)(p - a->data) >> UNIT_SHIFT;
	shmb_free(dead, shmb_malloc(dead, 16));
	holder_t was = atomic_load(&dead->holder);
	arena_done(dead);
	atomic_store(&a->spans[unit], span_make(SPAN_TAKING, 0, was));
	ck_assert_int_eq(check_arena(a), 0);
	ck_assert_msg(strstr(said, "the rules' sums are off by 64.0 KiB"), "%s", said);
	atomic_store(&a->hdr->orphans, (uint32_t)units_ready(a));
	shmb_trim(a);
	ck_assert_int_eq(span_kind_of(span_get(a, unit)), SPAN_FREE);
	ck_assert_int_eq(atomic_load(&a->unit_tags[unit]), 0);
	ck_assert_int_eq(check_arena(a), 0);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("tally", tags_and_sums_agree, tags_that_cannot_be_are_named, a_depot_has_no_tags,
	                 tags_of_units_that_cannot_be_are_named, what_dies_while_it_frees_leaves_no_tag);
}
