/*
 * test_span.c - runs of units against a model: who has which, what is
 * populated, and whether "reads as zeros" is true.
 */
#include "tests_common.h"

#include "commit.h"
#include "huge.h"
#include "sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { UNITS = 700, HUGE = HUGE_UNITS };

/* Per unit: 0 free, else the number of its run. */
struct model {
	struct shmb_arena *a;
	unsigned run[UNITS];
	unsigned next;
	struct {
		uint64_t start, n;
		bool small;
	} runs[UNITS];
	unsigned live;
};

static struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof *m);
	m->a = arena_new((size_t)UNITS * UNIT);
	ck_assert_uint_eq(shmb_arena_capacity(m->a), (size_t)UNITS * UNIT);
	return m;
}

static void model_done(struct model *m)
{
	arena_done(m->a);
	free(m);
}

static bool model_free(const struct model *m, uint64_t start, uint64_t n)
{
	for (uint64_t i = start; i < start + n; i++)
		if (i >= UNITS || m->run[i])
			return false;
	return true;
}

/* The first aligned place, as span_take() promises with exact hints. */
static uint64_t model_first(const struct model *m, uint64_t n, uint64_t align)
{
	for (uint64_t i = 0; i + n <= UNITS; i++)
		if ((uintptr_t)unit_addr(m->a, i) % (align * UNIT) == 0 && model_free(m, i, n))
			return i;
	return SPAN_NONE;
}

static void words_are_mine(const struct model *m, uint64_t start, uint64_t n)
{
	for (uint64_t i = start; i < start + n; i++) {
		span_t w = span_get(m->a, i);
		MUST(span_kind_of(w) == SPAN_TAKING && span_holder(w) == atomic_load(&m->a->holder), "unit %lu: %lx", i, w);
	}
}

static void model_add(struct model *m, uint64_t start, uint64_t n, bool small, bool zeroed)
{
	ck_assert(model_free(m, start, n));
	words_are_mine(m, start, n);
	if (zeroed)
		ck_assert_msg(all_zero(unit_addr(m->a, start), n * UNIT), "unit %lu: said zeroed", start);
	if (small)
		ck_assert(all_zero((char *)m->a->blocks + start * (UNIT / GRAIN), n * (UNIT / GRAIN)));
	m->runs[m->live].start = start;
	m->runs[m->live].n = n;
	m->runs[m->live].small = small;
	m->live++;
	m->next++;
	for (uint64_t i = start; i < start + n; i++) {
		m->run[i] = m->next;
		stamp(unit_addr(m->a, i), UNIT, m->next);
	}
}

static void model_take(struct model *m, uint64_t n, bool small)
{
	bool zeroed;
	uint64_t start = span_take(m->a, n, 1, small, &zeroed);
	ck_assert_uint_ne(start, SPAN_NONE);
	model_add(m, start, n, small, zeroed);
}

static void model_remove(struct model *m, unsigned r)
{
	uint64_t start = m->runs[r].start, n = m->runs[r].n;
	for (uint64_t i = start; i < start + n; i++) {
		MUST(stamped(unit_addr(m->a, i), UNIT, m->run[i]), "unit %lu: not what was written", i);
		m->run[i] = 0;
	}
	words_are_mine(m, start, n);
	span_return(m->a, start, n);
	m->runs[r] = m->runs[--m->live];
}

/* Counts, words and bitmaps agree with the model. */
static void model_check(const struct model *m)
{
	uint64_t used = 0, dirty = 0;
	for (uint64_t i = 0; i < units_ready(m->a); i++) {
		span_t w = span_get(m->a, i);
		bool is_dirty = span_kind_of(w) == SPAN_FREE && span_aux(w);
		MUST(span_kind_of(w) == (m->run[i] ? SPAN_TAKING : SPAN_FREE), "unit %lu: word %lx", i, w);
		MUST(hint_get(m->a->used_bits, i) == (m->run[i] != 0), "unit %lu: used bit", i);
		MUST(hint_get(m->a->dirty_bits, i) == is_dirty, "unit %lu: dirty bit", i);
		used += m->run[i] != 0;
		dirty += is_dirty;
	}
	ck_assert_uint_eq(units_used(m->a), used);
	ck_assert_uint_eq(atomic_load(&m->a->hdr->units_dirty), dirty);
}

static void step_take(struct model *m, struct rng *r)
{
	uint64_t n = rnd_below(r, 8) ? 1 + rnd_below(r, 6) : 1 + rnd_below(r, 150);
	uint64_t align = (uint64_t)1 << (rnd_below(r, 3) ? 0 : rnd_below(r, 7));
	bool small = rnd_below(r, 2), zeroed;
	uint64_t want = model_first(m, n, align);
	uint64_t got = span_take(m->a, n, align, small, &zeroed);
	ck_assert_uint_eq(got, want);
	if (got != SPAN_NONE)
		model_add(m, got, n, small, zeroed);
}

static void step_take_at(struct model *m, struct rng *r)
{
	uint64_t start = rnd_below(r, UNITS + 20), n = 1 + rnd_below(r, 5);
	bool zeroed, want = model_free(m, start, n);
	bool got = span_take_at(m->a, start, n, &zeroed);
	ck_assert(got == want);
	if (got)
		model_add(m, start, n, false, zeroed);
}

static void step_trim(struct model *m, struct rng *r)
{
	uint64_t keep = rnd_below(r, 40), before = atomic_load(&m->a->hdr->units_dirty);
	span_trim(m->a, keep);
	uint64_t after = atomic_load(&m->a->hdr->units_dirty);
	ck_assert_uint_le(after, keep);
	ck_assert(before > keep || after == before);
}

START_TEST(random_operations_agree_with_the_model)
{
	struct model *m = model_new();
	struct rng r = {.s = 99};
	for (unsigned i = 0; i < 4000 / SLOW; i++) {
		uint64_t what = rnd_below(&r, 20);
		if (what < 9)
			step_take(m, &r);
		else if (what < 11)
			step_take_at(m, &r);
		else if (what < 19 && m->live)
			model_remove(m, (unsigned)rnd_below(&r, m->live));
		else if (what == 19)
			step_trim(m, &r);
		if (i % 16 == 0)
			model_check(m);
	}
	while (m->live)
		model_remove(m, m->live - 1);
	model_check(m);
	span_trim(m->a, 0);
	model_check(m);
	ck_assert_uint_eq(units_used(m->a) + atomic_load(&m->a->hdr->units_dirty), 0);
	model_done(m);
}
END_TEST

START_TEST(alignment_up_to_the_greatest)
{
	shmb_arena *a = arena_new(4 * GIB);
	bool zeroed;
	for (uint64_t align = 1; align <= SHMB_ALIGN_MAX >> UNIT_SHIFT; align *= 2) {
		uint64_t u = span_take(a, 3, align, false, &zeroed);
		ck_assert_uint_ne(u, SPAN_NONE);
		ck_assert_uint_eq((uintptr_t)unit_addr(a, u) % (align << UNIT_SHIFT), 0);
		span_return(a, u, 3);
	}
	arena_done(a);
}
END_TEST

START_TEST(free_units_stay_populated_only_up_to_a_limit)
{
	enum { FLOOR = 16, CAP = 4, SLACK = 33 }; /* span.c: DIRTY_FLOOR, DIRTY_CAP times as many as are in use, and a huge page */
	struct model *m = model_new();
	for (unsigned i = 0; i < UNITS / 2; i++)
		model_take(m, 1, false);
	while (m->live) {
		model_remove(m, 0);
		ck_assert_uint_le(atomic_load(&m->a->hdr->units_dirty), FLOOR + CAP * units_used(m->a) + SLACK);
	}
	model_check(m);
	ck_assert_uint_gt(atomic_load(&m->a->hdr->units_dirty), 0);
	model_done(m);
}
END_TEST

START_TEST(a_populated_surplus_goes_in_time)
{
	enum { FLOOR = 16, TRIM_MS = 100, KEPT = 200 };
	struct model *m = model_new();
	m->a->small_pages = true; /* what is left of a huge page would count */
	for (unsigned i = 0; i < UNITS / 2; i++)
		model_take(m, 1, false);
	while (m->live > KEPT)
		model_remove(m, 0);
	uint64_t before = atomic_load(&m->a->hdr->units_dirty), rounds = 0;
	ck_assert_uint_eq(before, UNITS / 2 - KEPT); /* fewer than are in use: these stay */
	usleep((TRIM_MS + 20) * 1000);
	model_remove(m, 0);
	ck_assert_uint_eq(atomic_load(&m->a->hdr->units_dirty), before + 1);
	while (m->live > KEPT / 4)
		model_remove(m, 0);
	ck_assert_uint_gt(atomic_load(&m->a->hdr->units_dirty), FLOOR + units_used(m->a));
	for (; atomic_load(&m->a->hdr->units_dirty) > FLOOR + units_used(m->a) && rounds < 100; rounds++) {
		usleep((TRIM_MS + 20) * 1000);
		model_take(m, 1, false);
		model_remove(m, m->live - 1);
	}
	ck_assert_uint_gt(rounds, 3); /* an eighth at a time */
	ck_assert_uint_lt(rounds, 60);
	model_check(m);
	model_done(m);
}
END_TEST

START_TEST(memory_is_there_when_taken_and_gone_when_trimmed)
{
	shmb_arena *a = arena_new((size_t)UNITS * UNIT);
	bool zeroed;
	uint64_t u = span_take(a, 1, 1, false, &zeroed); /* and the tables */
	ck_assert(zeroed);
	span_return(a, u, 1);
	span_trim(a, 0);
	uint64_t empty = file_bytes(a);
	u = span_take(a, 100, 1, true, &zeroed);
	ck_assert_uint_eq(file_bytes(a) - empty, 100 * (UNIT + UNIT / GRAIN)); /* data and block map */
	stamp(unit_addr(a, u), 100 * UNIT, 1);
	span_return(a, u, 100); /* more than the limit: punched at once */
	ck_assert_uint_eq(file_bytes(a), empty);
	u = span_take(a, 10, 1, false, &zeroed);
	ck_assert(zeroed);
	stamp(unit_addr(a, u), 10 * UNIT, 1);
	span_return(a, u, 10);
	ck_assert_uint_eq(file_bytes(a) - empty, 10 * UNIT); /* kept */
	u = span_take(a, 10, 1, false, &zeroed);
	ck_assert(!zeroed);
	ck_assert(stamped(unit_addr(a, u), 10 * UNIT, 1));
	span_return(a, u, 10);
	span_trim(a, 0);
	ck_assert_uint_eq(file_bytes(a), empty);
	arena_done(a);
}
END_TEST

/* KiB of shared memory that this process has mapped as huge pages. */
static unsigned long huge_kib(void)
{
	char line[256];
	unsigned long sum = 0, n;
	FILE *f = fopen("/proc/self/smaps", "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof line, f))
		if (sscanf(line, "ShmemPmdMapped: %lu kB", &n) == 1)
			sum += n;
	fclose(f);
	return sum;
}

START_TEST(what_covers_huge_pages_comes_as_such)
{
	shmb_arena *a = arena_new((size_t)UNITS * UNIT);
	bool zeroed;
	huge_anyway = true;
	uint64_t u = span_take_at(a, 7, 3 * HUGE, &zeroed) ? 7 : SPAN_NONE;
	ck_assert_uint_ne(u, SPAN_NONE);
	ck_assert(zeroed && all_zero(unit_addr(a, u), 3 * HUGE * UNIT));
	unsigned long got = huge_kib();
	if (got == 0 && madvise(unit_addr(a, HUGE), HUGE_PAGE, 25 /* MADV_COLLAPSE */))
		printf("note: huge pages: not verified, the kernel says %s\n", strerror(errno));
	else
		ck_assert_uint_eq(got, 2 * HUGE_PAGE / 1024);
	huge_anyway = false;
	span_return(a, u, 3 * HUGE);
	span_trim(a, 0);
	ck_assert_uint_eq(huge_kib(), 0);
	arena_done(a);
}
END_TEST

START_TEST(small_pages_where_they_are_asked_for)
{
	shmb_options opt = {.size = (size_t)UNITS * UNIT, .flags = SHMB_CREATE_ONLY | SHMB_SMALL_PAGES};
	shmb_arena *a, *b;
	bool zeroed;
	huge_anyway = true;
	ck_assert_int_eq(shmb_arena_open(test_name(), &opt, &a), 0);
	ck_assert(span_take_at(a, HUGE, 2 * HUGE, &zeroed));
	ck_assert(zeroed && all_zero(unit_addr(a, HUGE), 2 * HUGE * UNIT));
	ck_assert_uint_eq(huge_kib(), 0);
	ck_assert_uint_eq(atomic_load(&a->hdr->units_dirty), 0); /* nor more than that */
	ck_assert(!commit_is_huge(a));
	b = arena_again(a); /* it is this handle's matter */
	ck_assert(commit_is_huge(b));
	huge_anyway = false;
	ck_assert_int_eq(shmb_arena_close(b), 0);
	span_return(a, HUGE, 2 * HUGE);
	arena_done(a);
}
END_TEST

/* What is free of a huge page comes with the first unit of it, once as much is in use. */
START_TEST(a_huge_page_is_populated_as_a_whole)
{
	enum { BEFORE = 2 * HUGE };
	struct model *m = model_new();
	huge_anyway = true;
	for (unsigned i = 0; i < BEFORE; i++) {
		ck_assert_uint_eq(atomic_load(&m->a->hdr->units_dirty), i > HUGE ? BEFORE - i : 0);
		model_take(m, 1, false);
	}
	uint64_t before = file_bytes(m->a);
	model_take(m, 1, true);
	ck_assert_uint_eq(atomic_load(&m->a->hdr->units_dirty), HUGE - 1);
	ck_assert_uint_eq(file_bytes(m->a) - before, HUGE * UNIT + UNIT / GRAIN);
	for (uint64_t u = BEFORE + 1; u < BEFORE + HUGE; u++)
		ck_assert_uint_eq(span_get(m->a, u), span_make(SPAN_FREE, SPAN_FRESH, 0));
	model_check(m);
	bool zeroed;
	uint64_t start = span_take(m->a, 3, 1, false, &zeroed); /* model_add looks whether it is so */
	ck_assert_uint_eq(start, BEFORE + 1);
	ck_assert(zeroed);
	model_add(m, start, 3, false, zeroed);
	ck_assert_uint_eq(file_bytes(m->a) - before, HUGE * UNIT + UNIT / GRAIN);
	model_take(m, 2 * HUGE, false); /* begins in that page, and ends in one of its own */
	ck_assert_uint_eq(atomic_load(&m->a->hdr->units_dirty), HUGE - 4);
	model_check(m);
	uint64_t other = BEFORE + 3 * HUGE + HUGE / 2; /* the halves of two */
	ck_assert(span_take_at(m->a, other, HUGE, &zeroed));
	ck_assert(zeroed);
	model_add(m, other, HUGE, false, zeroed);
	ck_assert_uint_eq(atomic_load(&m->a->hdr->units_dirty), HUGE - 4 + HUGE);
	model_check(m);
	while (m->live)
		model_remove(m, m->live - 1);
	span_trim(m->a, 0);
	model_check(m);
	huge_anyway = false;
	model_done(m);
}
END_TEST

START_TEST(one_dirty_unit_makes_the_run_not_zeroed)
{
	shmb_arena *a = arena_new((size_t)UNITS * UNIT);
	bool zeroed;
	ck_assert(span_take_at(a, 5, 1, &zeroed));
	ck_assert(zeroed);
	stamp(unit_addr(a, 5), UNIT, 1);
	span_return(a, 5, 1);
	ck_assert(span_take_at(a, 0, 10, &zeroed));
	ck_assert(!zeroed);
	ck_assert(all_zero(unit_addr(a, 0), 5 * UNIT) && all_zero(unit_addr(a, 6), 4 * UNIT));
	ck_assert(stamped(unit_addr(a, 5), UNIT, 1));
	arena_done(a);
}
END_TEST

START_TEST(seize_takes_only_from_the_word_it_names)
{
	shmb_arena *a = arena_new((size_t)UNITS * UNIT);
	bool zeroed;
	uint64_t u = span_take(a, 1, 1, false, &zeroed);
	span_t head = span_make(SPAN_HEAD, 1, atomic_load(&a->holder));
	atomic_store(&a->spans[u], head);
	ck_assert(!span_seize(a, u, span_make(SPAN_HEAD, 2, atomic_load(&a->holder))));
	ck_assert_uint_eq(span_get(a, u), head);
	ck_assert(span_seize(a, u, head));
	ck_assert(!span_seize(a, u, head));
	arena_done(a);
}
END_TEST

START_TEST(resync_mends_bitmaps_and_counts)
{
	struct model *m = model_new();
	struct rng r = {.s = 5};
	for (unsigned i = 0; i < 200; i++)
		model_take(m, 1 + i % 3, i % 2);
	for (unsigned i = 0; i < 60; i++)
		model_remove(m, (unsigned)rnd_below(&r, m->live));
	model_check(m);
	for (uint64_t i = 0; i < UNITS; i++) { /* each wrong in the way that a kill can leave it */
		if (!m->run[i] && rnd_below(&r, 2))
			hint_set(m->a->used_bits, i);
		if (!m->run[i] && rnd_below(&r, 2))
			hint_clear(m->a->dirty_bits, i);
	}
	atomic_store(&m->a->hdr->units_used, 12345);
	atomic_store(&m->a->hdr->units_dirty, 0);
	span_resync(m->a);
	model_check(m);
	model_done(m);
}
END_TEST

START_TEST(wrong_bits_never_give_a_unit_twice)
{
	struct model *m = model_new();
	bool zeroed;
	uint64_t u;
	for (unsigned i = 0; i < UNITS / 2; i++)
		model_take(m, 1, false);
	hint_fill(m->a->used_bits, 0, UNITS, false); /* all said to be free, half are not */
	hint_fill(m->a->dirty_bits, 0, UNITS, true);
	atomic_store(&m->a->hdr->units_dirty, UNITS);
	span_trim(m->a, 0); /* must not touch what is in use: model_remove looks */
	while ((u = span_take(m->a, 1, 1, false, &zeroed)) != SPAN_NONE)
		model_add(m, u, 1, false, zeroed);
	ck_assert_uint_eq(m->live, UNITS);
	while (m->live)
		model_remove(m, m->live - 1);
	span_resync(m->a);
	span_trim(m->a, 0);
	ck_assert_uint_eq(units_used(m->a), 0);
	model_done(m);
}
END_TEST

/* ---- races -------------------------------------------------------------------- */

static _Atomic unsigned taken[UNITS];

struct racer {
	struct shmb_arena *a;
	unsigned id;
	unsigned bad;
};

/* Takes a run, marks each unit as its own, and gives it back. */
static void race_once(struct racer *me, struct rng *r)
{
	uint64_t n = 1 + rnd_below(r, 8);
	bool zeroed;
	uint64_t u = span_take(me->a, n, 1, false, &zeroed);
	if (u == SPAN_NONE)
		return;
	for (uint64_t i = u; i < u + n; i++) {
		unsigned nobody = 0;
		me->bad += !atomic_compare_exchange_strong(&taken[i], &nobody, me->id);
		me->bad += zeroed && !all_zero(unit_addr(me->a, i), 64);
		stamp(unit_addr(me->a, i), 64, me->id);
	}
	for (uint64_t i = u; i < u + n; i++) {
		me->bad += !stamped(unit_addr(me->a, i), 64, me->id);
		atomic_store(&taken[i], 0);
	}
	span_return(me->a, u, n);
	if (rnd_below(r, 32) == 0)
		span_trim(me->a, 0);
}

static void *race(void *arg)
{
	struct racer *me = arg;
	struct rng r = {.s = 77 * me->id};
	for (unsigned i = 0; i < 20000 / SLOW; i++)
		race_once(me, &r);
	return NULL;
}

START_TEST(racing_takers_never_share_a_unit)
{
	enum { N = 4 };
	shmb_arena *a = arena_new(24 * UNIT), *b = arena_again(a); /* two handles: two holders */
	struct racer rs[N];
	pthread_t t[N];
	for (unsigned i = 0; i < N; i++) {
		rs[i] = (struct racer){.a = i % 2 ? b : a, .id = i + 1};
		ck_assert_int_eq(pthread_create(&t[i], NULL, race, &rs[i]), 0);
	}
	for (unsigned i = 0; i < N; i++) {
		pthread_join(t[i], NULL);
		ck_assert_uint_eq(rs[i].bad, 0);
	}
	span_resync(a);
	span_trim(a, 0);
	ck_assert_uint_eq(units_used(a) + atomic_load(&a->hdr->units_dirty), 0);
	bool zeroed;
	ck_assert_uint_eq(span_take(a, 24, 1, false, &zeroed), 0); /* all of it is whole again */
	arena_done(b);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("span", random_operations_agree_with_the_model, alignment_up_to_the_greatest,
	                 free_units_stay_populated_only_up_to_a_limit,
	                 a_populated_surplus_goes_in_time, memory_is_there_when_taken_and_gone_when_trimmed, what_covers_huge_pages_comes_as_such,
	                 small_pages_where_they_are_asked_for, a_huge_page_is_populated_as_a_whole,
                 one_dirty_unit_makes_the_run_not_zeroed,
	                 seize_takes_only_from_the_word_it_names, resync_mends_bitmaps_and_counts,
	                 wrong_bits_never_give_a_unit_twice, racing_takers_never_share_a_unit);
}
