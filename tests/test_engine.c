/*
 * test_engine.c - batches from jemalloc and back; what a stranger's lists name
 * that is not there to be taken back; who does without.
 */
#include "tests_common.h"

#include "engine.h"

enum { THREAD = 0, MANY = ENGINE_BATCH, PAGE_GRAINS = PAGE / GRAIN };

static unsigned take(shmb_arena *a, unsigned class, unsigned want, uint32_t *grains)
{
	unsigned n = engine_alloc_many(a, THREAD, class, want, grains);
	for (unsigned i = 0; i < n; i++)
		MUST(page_fits(a, grains[i], class), "block %u of class %u, at grain %u", i, class, grains[i]);
	return n;
}

static bool apart(const uint32_t *grains, unsigned n, unsigned class)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			if ((grains[i] > grains[k] ? grains[i] - grains[k] : grains[k] - grains[i]) < class_size(class) / GRAIN)
				return false;
	return true;
}

static void nothing_held(shmb_arena *a)
{
	engine_purge(a);
	ck_assert_uint_eq(a->page_heap.held, 0);
}

START_TEST(batches_of_every_class_come_and_go)
{
	shmb_arena *a = arena_new(64 << 20);
	uint32_t grains[MANY];
	for (unsigned c = 0; c < CLASSES; c++) {
		unsigned want = class_rounds(c);
		ck_assert_uint_eq(take(a, c, want, grains), want);
		MUST(apart(grains, want, c), "class %u: two blocks overlap", c);
		engine_free_many(a, grains, want);
		nothing_held(a);
	}
	arena_done(a);
}
END_TEST

START_TEST(a_fresh_slab_is_filled_from_its_start)
{
	shmb_arena *a = arena_new(16 << 20);
	uint32_t grains[MANY];
	unsigned class = class_of(64), n = take(a, class, 40, grains);
	ck_assert_uint_eq(n, 40);
	for (unsigned i = 1; i < n; i++)
		ck_assert_uint_eq(grains[i], grains[0] + i * (64 / GRAIN));
	engine_free_many(a, grains, n);
	arena_done(a);
}
END_TEST

START_TEST(a_batch_may_be_of_several_classes)
{
	shmb_arena *a = arena_new(64 << 20);
	static const unsigned sizes[] = {16, 48, 1024, 14336, 16384, 57344};
	uint32_t grains[MANY];
	unsigned n = 0;
	for (unsigned round = 0; round < 5; round++) /* each in its turn, so that no two of one bin are together */
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
			n += take(a, class_of(sizes[i]), 1, &grains[n]);
	ck_assert_uint_eq(n, 30);
	engine_free_many(a, grains, n);
	nothing_held(a);
	arena_done(a);
}
END_TEST

START_TEST(less_than_wanted_where_memory_ends)
{
	shmb_arena *a = arena_new(4 * UNIT);
	enum { BLOCKS = 4 * UNIT / 4096 };
	uint32_t grains[BLOCKS + MANY];
	unsigned n = 0, more;
	while ((more = take(a, class_of(4096), MANY, &grains[n])))
		n += more;
	ck_assert_uint_eq(n, BLOCKS);
	ck_assert(apart(grains, n, class_of(4096)));
	engine_free_many(a, grains, n);
	nothing_held(a);
	arena_done(a);
}
END_TEST

/*
 * Whatever the region claims: what is no block, or is not out, is left alone,
 * and what else the batch says counts.
 */
START_TEST(what_is_not_out_is_left_alone)
{
	shmb_arena *a = arena_new(64 << 20);
	uint32_t kept[40], few[4], large, odd[8];
	unsigned class = class_of(64), n = 0;
	ck_assert_uint_eq(take(a, class, 40, kept), 40);
	ck_assert_uint_eq(take(a, class, 4, few), 4);
	ck_assert_uint_eq(take(a, CLASSES - 1, 1, &large), 1);
	odd[n++] = few[0];
	odd[n++] = few[0];                    /* twice in one batch */
	odd[n++] = few[1] + 1;                /* within a block */
	odd[n++] = large + PAGE_GRAINS;       /* within a large one */
	odd[n++] = (uint32_t)(a->lay.units * (UNIT / GRAIN) - 1); /* where nothing ever was */
	engine_free_many(a, odd, n);
	engine_free_many(a, few, 1); /* and once more */
	uint32_t out[43 + 4 * MANY]; /* what is out, and beside it as much as its slab has and more */
	unsigned got = 43;
	memcpy(out, kept, sizeof kept);
	memcpy(out + 40, few + 1, 3 * sizeof *few);
	for (unsigned i = 0; i < 4; i++)
		got += take(a, class, MANY, &out[got]);
	ck_assert_uint_eq(got, 43 + 4 * MANY);
	ck_assert(apart(out, got, class));
	uint32_t other;
	ck_assert_uint_eq(take(a, CLASSES - 1, 1, &other), 1);
	ck_assert_uint_ne(other, large);
	for (unsigned i = 0; i < got; i += MANY)
		engine_free_many(a, &out[i], got - i < MANY ? got - i : MANY);
	engine_free_many(a, &large, 1);
	engine_free_many(a, &other, 1);
	nothing_held(a);
	arena_done(a);
}
END_TEST

/* ---- a process that only frees ------------------------------------------------------------ */

enum { BLOCKS_OF_ANOTHER = 20000 };

static void child_allocates(const char *name, shmb_ref *refs, int in, int out)
{
	shmb_arena *a;
	CHILD_ASSERT(shmb_arena_open(name, NULL, &a) == 0);
	for (unsigned i = 0; i < BLOCKS_OF_ANOTHER; i++)
		refs[i] = shmb_ref_of(a, shmb_malloc(a, 128));
	tell(out);
	hear(in);
	_exit(shmb_arena_close(a));
}

START_TEST(who_only_frees_has_no_jemalloc)
{
	shmb_arena *a = arena_new(16 << 20);
	size_t len = BLOCKS_OF_ANOTHER * sizeof(shmb_ref);
	shmb_ref *refs = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int to[2], from[2];
	ck_assert_ptr_ne(refs, MAP_FAILED);
	ck_assert_int_eq(pipe(to) | pipe(from), 0);
	pid_t pid = fork();
	if (pid == 0)
		child_allocates(shmb_region_name(shmb_arena_region(a)), refs, to[0], from[1]);
	hear(from[0]);
	for (unsigned i = 0; i < BLOCKS_OF_ANOTHER; i++)
		shmb_free(a, shmb_deref(a, refs[i], 1));
	ck_assert(!engine_started());
	tell(to[1]);
	expect_exit(pid, 0);
	munmap(refs, len);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("engine", batches_of_every_class_come_and_go, a_fresh_slab_is_filled_from_its_start,
	                 a_batch_may_be_of_several_classes, less_than_wanted_where_memory_ends, what_is_not_out_is_left_alone,
	                 who_only_frees_has_no_jemalloc);
}
