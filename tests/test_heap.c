/* test_heap.c - shmb_malloc ... shmb_free as the header promises them. */
#include "tests_common.h"

#include <limits.h>

static const size_t sizes[] = {0,     1,     16,    17,     24,     100,    128,    129,        1000,       4095,
                               4096,  4097,  10000, 16384,  20000,  57344,  57345,  65535,      65536,      65537,
                               99999, 1 << 17, 300000, 1 << 20, (1 << 20) + 1, 3 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void all_comes_back(shmb_arena *a)
{
	shmb_trim(a);
	struct walk w = walk_arena(a, true);
	ck_assert_msg(w.live + w.cached + w.stray + w.used + w.dirty == 0, "live %lu cached %lu stray %lu used %lu dirty %lu",
	              w.live, w.cached, w.stray, w.used, w.dirty);
}

/* ---- plain ------------------------------------------------------------------------ */

START_TEST(every_size_is_aligned_and_big_enough)
{
	shmb_arena *a = arena_new(64 * MIB);
	for (size_t size = 0; size <= 70000; size += size < 4096 ? 1 : size % GRAIN ? GRAIN - 1 : 1) {
		char *p = shmb_malloc(a, size);
		size_t usable = shmb_usable_size(a, p);
		MUST(p && (uintptr_t)p % 16 == 0, "size %zu: %p", size, p);
		MUST(usable >= size, "size %zu: usable %zu", size, usable);
		MUST(size > CLASS_MAX_SIZE || usable == class_size(class_of(size ? size : 1)), "size %zu: %zu", size, usable);
		MUST(shmb_arena_of(p) == a && shmb_arena_of(p + usable - 1) == a, "size %zu: not ours", size);
		memset(p, 0xa5, usable);
		shmb_free(a, p);
	}
	all_comes_back(a);
	arena_done(a);
}
END_TEST

START_TEST(usable_bytes_are_nobody_elses)
{
	enum { N = 400 };
	shmb_arena *a = arena_new(256 * MIB);
	char *p[N];
	for (unsigned i = 0; i < N; i++) {
		p[i] = shmb_malloc(a, sizes[i % SIZES]);
		ck_assert_ptr_nonnull(p[i]);
		stamp(p[i], shmb_usable_size(a, p[i]), i);
	}
	for (unsigned i = 0; i < N; i++)
		MUST(stamped(p[i], shmb_usable_size(a, p[i]), i), "block %u of %zu", i, sizes[i % SIZES]);
	walk_arena(a, true);
	for (unsigned i = 0; i < N; i++)
		shmb_free(a, p[i]);
	all_comes_back(a);
	arena_done(a);
}
END_TEST

START_TEST(zero_bytes_give_unique_blocks)
{
	enum { N = 300 };
	shmb_arena *a = arena_new(16 * MIB);
	char *p[N];
	for (unsigned i = 0; i < N; i++) {
		p[i] = i % 3 == 0   ? shmb_malloc(a, 0)
		       : i % 3 == 1 ? shmb_calloc(a, i % 2 ? 0 : 9, i % 2 ? 9 : 0)
		                    : shmb_aligned_alloc(a, 64, 0);
		ck_assert_ptr_nonnull(p[i]);
		ck_assert_uint_ge(shmb_usable_size(a, p[i]), 1);
		for (unsigned k = 0; k < i; k++)
			MUST(p[k] != p[i], "%u and %u are the same", k, i);
	}
	for (unsigned i = 0; i < N; i++)
		shmb_free(a, p[i]);
	all_comes_back(a);
	arena_done(a);
}
END_TEST

START_TEST(null_is_ignored)
{
	shmb_arena *a = arena_new(MIB);
	shmb_free(a, NULL);
	ck_assert_uint_eq(shmb_usable_size(a, NULL), 0);
	ck_assert_ptr_null(shmb_arena_of(NULL));
	ck_assert_ptr_null(shmb_arena_of(&a));
	arena_done(a);
	ck_assert_int_eq(shmb_arena_close(NULL), 0);
}
END_TEST

START_TEST(calloc_is_zero_in_dirty_memory)
{
	shmb_arena *a = arena_new(256 * MIB);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SIZES; i++) {
			char *p = shmb_malloc(a, sizes[i]);
			memset(p, 0xff, shmb_usable_size(a, p));
			shmb_free(a, p);
			p = shmb_calloc(a, 1, sizes[i]);
			MUST(all_zero(p, sizes[i]), "size %zu", sizes[i]);
			memset(p, 0xff, shmb_usable_size(a, p));
			char *q = shmb_calloc(a, sizes[i], 3);
			MUST(all_zero(q, sizes[i] * 3), "size 3 * %zu", sizes[i]);
			shmb_free(a, p);
			shmb_free(a, q);
		}
		if (round == 1)
			shmb_trim(a);
	}
	all_comes_back(a);
	arena_done(a);
}
END_TEST

/* ---- what is refused ----------------------------------------------------------------- */

static void refused(shmb_arena *a, void *p, int err)
{
	ck_assert_ptr_null(p);
	ck_assert_int_eq(errno, err);
	(void)a;
	errno = 0;
}

START_TEST(senseless_sizes_are_enomem)
{
	shmb_arena *a = arena_new(16 * MIB);
	size_t cap = shmb_arena_capacity(a);
	errno = 0;
	refused(a, shmb_malloc(a, SIZE_MAX), ENOMEM);
	refused(a, shmb_malloc(a, SIZE_MAX - 15), ENOMEM);
	refused(a, shmb_malloc(a, PTRDIFF_MAX), ENOMEM);
	refused(a, shmb_malloc(a, cap + 1), ENOMEM);
	refused(a, shmb_calloc(a, SIZE_MAX / 2, 3), ENOMEM);
	refused(a, shmb_calloc(a, (size_t)1 << 32, (size_t)1 << 32), ENOMEM);
	refused(a, shmb_calloc(a, SIZE_MAX, SIZE_MAX), ENOMEM);
	refused(a, shmb_aligned_alloc(a, 4096, SIZE_MAX), ENOMEM);
	refused(a, shmb_aligned_alloc(a, 4096, SIZE_MAX - 4096), ENOMEM);
	char *p = shmb_malloc(a, 100);
	stamp(p, 100, 3);
	refused(a, shmb_realloc(a, p, SIZE_MAX), ENOMEM);
	refused(a, shmb_realloc(a, p, cap + 1), ENOMEM);
	ck_assert(stamped(p, 100, 3));
	shmb_free(a, p);
	p = shmb_malloc(a, 3 * UNIT); /* a run: rounded up to units these would be few */
	stamp(p, 3 * UNIT, 4);
	refused(a, shmb_realloc(a, p, SIZE_MAX), ENOMEM);
	refused(a, shmb_realloc(a, p, SIZE_MAX - UNIT + 2), ENOMEM);
	ck_assert(stamped(p, 3 * UNIT, 4));
	shmb_free(a, p);
	p = shmb_malloc(a, cap); /* all of it, exactly */
	ck_assert_ptr_nonnull(p);
	refused(a, shmb_malloc(a, 1), ENOMEM);
	shmb_free(a, p);
	ck_assert_ptr_nonnull(shmb_malloc(a, 1));
	arena_done(a);
}
END_TEST

START_TEST(senseless_alignments_are_einval)
{
	shmb_arena *a = arena_new(16 * MIB);
	size_t bad[] = {0, 3, 24, 48, 4097, SHMB_ALIGN_MAX - 1, SHMB_ALIGN_MAX * 2, SIZE_MAX, (size_t)1 << 63};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		refused(a, shmb_aligned_alloc(a, bad[i], 10), EINVAL);
	all_comes_back(a);
	arena_done(a);
}
END_TEST

START_TEST(errno_is_kept)
{
	shmb_arena *a = arena_new(64 * MIB);
	for (unsigned i = 0; i < SIZES; i++) {
		void *p[80];
		for (unsigned k = 0; k < 80 && sizes[i] <= 300000; k++)
			p[k] = shmb_malloc(a, sizes[i]);
		errno = EDOM;
		for (unsigned k = 0; k < 80 && sizes[i] <= 300000; k++)
			shmb_free(a, p[k]);
		ck_assert_int_eq(errno, EDOM);
	}
	shmb_free(a, NULL);
	ck_assert_int_eq(errno, EDOM);
	shmb_trim(a);
	ck_assert_int_eq(errno, EDOM);
	arena_done(a);
}
END_TEST

START_TEST(a_full_arena_is_enomem_and_recovers)
{
	shmb_arena *a = arena_new(8 * MIB);
	struct rng r = {.s = 31};
	enum { N = 8 * MIB / 16 };
	char **p = calloc(N, sizeof *p);
	unsigned n = 0;
	while (n < N && (p[n] = shmb_malloc(a, 1 + rnd_below(&r, 3000))))
		n++;
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_uint_gt(atomic_load(&a->hdr->enomem), 0);
	walk_arena(a, true);
	char *q = p[n / 2]; /* a failed realloc leaves the block */
	size_t usable = shmb_usable_size(a, q);
	stamp(q, usable, 9);
	refused(a, shmb_realloc(a, q, 200000), ENOMEM);
	ck_assert(stamped(q, usable, 9));
	ck_assert_uint_eq(shmb_usable_size(a, q), usable);
	while (n)
		shmb_free(a, p[--n]);
	free(p);
	q = shmb_malloc(a, shmb_arena_capacity(a) / 2); /* at once, though all of it was small blocks */
	ck_assert_ptr_nonnull(q);
	shmb_free(a, q);
	all_comes_back(a);
	arena_done(a);
}
END_TEST

/* A shortage, a free that takes the short way, and another size at once: there is room. */
START_TEST(a_free_ends_a_shortage_at_once)
{
	shmb_arena *a = arena_new(MIB);
	unsigned n = 0;
	static char *p[MIB / 4096 + 1];
	while ((p[n] = shmb_malloc(a, 4096)))
		n++;
	ck_assert_uint_gt(n, 14);
	uintptr_t unit = (uintptr_t)p[0] & ~(uintptr_t)(UNIT - 1);
	for (unsigned i = 0; i < n; i++)
		if (((uintptr_t)p[i] & ~(uintptr_t)(UNIT - 1)) == unit)
			shmb_free(a, p[i]);
	ck_assert_ptr_nonnull(shmb_malloc(a, UNIT));
	arena_done(a);
}
END_TEST

/* ---- alignment ------------------------------------------------------------------------- */

START_TEST(every_alignment_up_to_a_mebibyte)
{
	shmb_arena *a = arena_new(256 * MIB);
	for (size_t align = 1; align <= MIB; align *= 2) {
		char *p[SIZES * 3];
		for (unsigned i = 0; i < SIZES * 3; i++) { /* three of each: not only the first is right */
			size_t size = sizes[i % SIZES];
			p[i] = shmb_aligned_alloc(a, align, size);
			MUST(p[i], "align %zu size %zu: %s", align, size, strerror(errno));
			MUST((uintptr_t)p[i] % align == 0, "align %zu size %zu: %p", align, size, p[i]);
			MUST(shmb_usable_size(a, p[i]) >= size, "align %zu size %zu", align, size);
			stamp(p[i], size, i);
		}
		for (unsigned i = 0; i < SIZES * 3; i++) {
			MUST(stamped(p[i], sizes[i % SIZES], i), "align %zu size %zu: overwritten", align, sizes[i % SIZES]);
			shmb_free(a, p[i]);
		}
	}
	all_comes_back(a);
	arena_done(a);
}
END_TEST

START_TEST(alignment_up_to_a_gibibyte_in_a_sparse_region)
{
	shmb_arena *a = arena_new(16 * GIB);
	uint64_t empty = file_bytes(a);
	char *p[12];
	unsigned n = 0;
	for (size_t align = 2 * MIB; align <= SHMB_ALIGN_MAX; align *= 2) {
		p[n] = shmb_aligned_alloc(a, align, 100000);
		ck_assert_ptr_nonnull(p[n]);
		ck_assert_uint_eq((uintptr_t)p[n] % align, 0);
		stamp(p[n], 100000, n);
		n++;
	}
	ck_assert_uint_lt(file_bytes(a) - empty, 32 * MIB); /* what lies between is not populated */
	for (unsigned i = 0; i < n; i++)
		shmb_free(a, p[i]);
	all_comes_back(a);
	arena_done(a);
}
END_TEST

/* ---- realloc ------------------------------------------------------------------------------ */

START_TEST(realloc_keeps_contents_from_every_size_to_every_other)
{
	shmb_arena *a = arena_new(256 * MIB);
	for (unsigned from = 0; from < SIZES; from++) {
		for (unsigned to = 0; to < SIZES; to++) {
			size_t least = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
			char *p = shmb_malloc(a, sizes[from]);
			stamp(p, sizes[from], from);
			p = shmb_realloc(a, p, sizes[to]);
			MUST(p && stamped(p, least, from), "%zu to %zu", sizes[from], sizes[to]);
			MUST(shmb_usable_size(a, p) >= sizes[to], "%zu to %zu: usable", sizes[from], sizes[to]);
			stamp(p, sizes[to], to);
			shmb_free(a, p);
		}
	}
	all_comes_back(a);
	arena_done(a);
}
END_TEST

START_TEST(large_blocks_grow_and_shrink_in_place)
{
	shmb_arena *a = arena_new(64 * MIB);
	char *p = shmb_malloc(a, MIB);
	stamp(p, MIB, 1);
	ck_assert_ptr_eq(shmb_realloc(a, p, 10 * MIB), p); /* what follows is free */
	ck_assert(stamped(p, MIB, 1));
	stamp(p, 10 * MIB, 2);
	char *next = shmb_malloc(a, MIB);
	ck_assert_ptr_eq(next, p + 10 * MIB);
	stamp(next, MIB, 3);
	ck_assert_ptr_eq(shmb_realloc(a, p, 2 * MIB), p); /* shrinks, and gives the tail back */
	ck_assert(stamped(p, 2 * MIB, 2));
	ck_assert_uint_eq(units_used(a), 3 * MIB / UNIT);
	ck_assert_uint_eq(shmb_usable_size(a, p), 2 * MIB);
	ck_assert_ptr_eq(shmb_realloc(a, p, 10 * MIB), p); /* exactly up to its neighbour */
	char *q = shmb_realloc(a, p, 11 * MIB); /* the neighbour is in the way */
	ck_assert_ptr_ne(q, p);
	ck_assert(stamped(q, 2 * MIB, 2));
	ck_assert(stamped(next, MIB, 3));
	walk_arena(a, true);
	ck_assert_uint_eq(units_used(a), 12 * MIB / UNIT);
	shmb_free(a, q);
	shmb_free(a, next);
	all_comes_back(a);
	arena_done(a);
}
END_TEST

START_TEST(realloc_at_its_edges)
{
	shmb_arena *a = arena_new(4 * MIB);
	char *p = shmb_realloc(a, NULL, 50);
	ck_assert_ptr_nonnull(p);
	stamp(p, 50, 1);
	ck_assert_ptr_eq(shmb_realloc(a, p, 60), p); /* the same class */
	p = shmb_realloc(a, p, 0);
	ck_assert_ptr_nonnull(p);
	ck_assert_uint_ge(shmb_usable_size(a, p), 1);
	shmb_free(a, p);
	shmb_trim(a);
	p = shmb_malloc(a, 3 * MIB);
	stamp(p, 3 * MIB, 2);
	errno = 0;
	refused(a, shmb_realloc(a, p, 4 * MIB + 1), ENOMEM);
	ck_assert(stamped(p, 3 * MIB, 2));
	ck_assert_ptr_eq(shmb_realloc(a, p, 4 * MIB), p);
	ck_assert(stamped(p, 3 * MIB, 2));
	shmb_free(a, p);
	all_comes_back(a);
	arena_done(a);
}
END_TEST

/* ---- everything at random -------------------------------------------------------------------- */

struct block {
	char *p;
	size_t size;
	unsigned id;
};

static size_t random_size(struct rng *r)
{
	size_t bits = rnd_below(r, 19);
	return rnd_below(r, ((size_t)1 << bits) + 1);
}

static void random_step(shmb_arena *a, struct rng *r, struct block *b, unsigned id)
{
	size_t size = random_size(r), keep = b->size < size ? b->size : size;
	char *p;
	MUST(!b->p || stamped(b->p, b->size, b->id), "block of %zu: overwritten", b->size);
	switch (rnd_below(r, 5)) {
	case 0:
		p = shmb_realloc(a, b->p, size);
		MUST(!p || !b->p || stamped(p, keep, b->id), "realloc %zu to %zu", b->size, size);
		break;
	case 1:
		shmb_free(a, b->p);
		p = shmb_calloc(a, 1, size);
		MUST(!p || all_zero(p, size), "calloc %zu", size);
		break;
	case 2: {
		size_t align = (size_t)1 << rnd_below(r, 18);
		shmb_free(a, b->p);
		p = shmb_aligned_alloc(a, align, size);
		MUST((uintptr_t)p % align == 0, "aligned_alloc %zu", align);
		break;
	}
	case 3:
		shmb_free(a, b->p);
		*b = (struct block){0};
		return;
	default:
		shmb_free(a, b->p);
		p = shmb_malloc(a, size);
	}
	MUST(p, "no memory for %zu", size);
	*b = (struct block){.p = p, .size = size, .id = id};
	stamp(p, size, id);
}

START_TEST(random_operations_keep_every_byte)
{
	enum { N = 600 };
	static struct block b[N];
	shmb_arena *a = arena_new(512 * MIB);
	struct rng r = {.s = 20261};
	for (unsigned i = 0; i < 60000 / SLOW; i++) {
		random_step(a, &r, &b[rnd_below(&r, N)], i);
		if (i % 10000 == 0)
			walk_arena(a, true);
		if (i % 7000 == 0)
			shmb_trim(a);
	}
	for (unsigned i = 0; i < N; i++) {
		MUST(!b[i].p || stamped(b[i].p, b[i].size, b[i].id), "block %u", i);
		shmb_free(a, b[i].p);
	}
	all_comes_back(a);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("heap", every_size_is_aligned_and_big_enough, usable_bytes_are_nobody_elses,
	                 zero_bytes_give_unique_blocks, null_is_ignored, calloc_is_zero_in_dirty_memory,
	                 senseless_sizes_are_enomem, senseless_alignments_are_einval, errno_is_kept,
	                 a_full_arena_is_enomem_and_recovers, a_free_ends_a_shortage_at_once,
	                 every_alignment_up_to_a_mebibyte, alignment_up_to_a_gibibyte_in_a_sparse_region,
	                 realloc_keeps_contents_from_every_size_to_every_other, large_blocks_grow_and_shrink_in_place,
	                 realloc_at_its_edges, random_operations_keep_every_byte);
}
