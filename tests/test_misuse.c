/*
 * test_misuse.c - what is no live block: one line, SIGABRT, nothing damaged.
 * Each in a child of its own, whose stderr must be exactly that line; then
 * the parent walks the region.
 */
#include "misuse_common.h"
#include "orphan.h"

/* The reasons, as misuse.c words them. */
#define FREED "double free"
#define INSIDE "points into a block, not at its start"
#define NOTHING "no live block starts here"
#define FREE_UNIT "no live block starts here: free memory (double free?)"
#define NEVER "no block was ever there"
#define OUTSIDE "not a pointer into"
#define WRONG "belongs to another arena"
#define CLOSED "the arena is closed"
#define READ_ONLY "attached read-only"

static shmb_arena *a;
static char *small, *large; /* stay live; stamped */

static void setup(void)
{
	a = arena_new(16 * MIB);
	misuse_setup();
	stamp(small = shmb_malloc(a, 64), 64, 1);
	stamp(large = shmb_malloc(a, 3 * UNIT), 3 * UNIT, 2);
}

/* The region is as good as before: the dead child's part comes back, the rest is whole. */
static void unharmed(void)
{
	shmb_trim(a);
	struct walk w = walk_arena(a, false);
	ck_assert_uint_ge(w.live, 1);
	ck_assert(stamped(small, 64, 1));
	ck_assert(stamped(large, 3 * UNIT, 2));
	char *p = shmb_malloc(a, 64), *q = shmb_malloc(a, 100000);
	ck_assert(p && q && p != small && q != large);
	shmb_free(a, p);
	shmb_free(a, q);
	shmb_free(a, small);
	shmb_free(a, large);
	arena_done(a);
}

#define MISUSE(name, ...)          \
	static void name##_(void)  \
	{                          \
		__VA_ARGS__        \
	}                          \
	START_TEST(name)           \
	{                          \
		setup();           \
		dies_of(name##_);  \
		unharmed();        \
	}                          \
	END_TEST

/* ---- twice ------------------------------------------------------------------------ */

MISUSE(double_free_small, {
	char *p = shmb_malloc(a, 64);
	shmb_free(a, p);
	expect(a, "shmb_free", p, FREED);
	shmb_free(a, p);
})

MISUSE(double_free_small_with_others_between, {
	char *p = shmb_malloc(a, 64);
	shmb_free(a, p);
	for (unsigned i = 0; i < 300; i++)
		shmb_free(a, shmb_malloc(a, 32));
	expect(a, "shmb_free", p, FREED);
	shmb_free(a, p);
})

MISUSE(double_free_small_after_its_page_went, {
	char *p = shmb_malloc(a, 64);
	shmb_free(a, p);
	shmb_trim(a);
	expect(a, "shmb_free", p, FREE_UNIT);
	shmb_free(a, p);
})

MISUSE(double_free_small_that_the_engine_has, {
	char *p = shmb_malloc(a, 64);
	char *q = shmb_malloc(a, 64); /* keeps the page */
	shmb_free(a, p);
	shmb_trim(a);
	expect(a, "shmb_free", p, NOTHING);
	shmb_free(a, p);
	shmb_free(a, q);
})

MISUSE(double_free_large, {
	char *p = shmb_malloc(a, 5 * UNIT);
	shmb_free(a, p);
	expect(a, "shmb_free", p, FREE_UNIT);
	shmb_free(a, p);
})

MISUSE(double_free_of_a_stray, {
	char *p = shmb_malloc(a, 64);
	block_stray(a, (uint32_t)((p - a->data) / GRAIN));
	expect(a, "shmb_free", p, FREED);
	shmb_free(a, p);
})

MISUSE(realloc_after_free, {
	char *p = shmb_malloc(a, 64);
	shmb_free(a, p);
	expect(a, "shmb_realloc", p, FREED);
	(void)shmb_realloc(a, p, 200);
})

MISUSE(usable_size_after_free, {
	char *p = shmb_malloc(a, 5 * UNIT);
	shmb_free(a, p);
	expect(a, "shmb_usable_size", p, FREE_UNIT);
	(void)shmb_usable_size(a, p);
})

/* One process frees and lives on with the block in its cache; another frees it again. */
MISUSE(double_free_small_in_two_processes, {
	char *p = shmb_malloc(a, 64);
	char c;
	int done[2];
	int gone[2];
	CHILD_ASSERT(pipe(done) == 0 && pipe(gone) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		shmb_free(a, p);
		close(STDERR_FILENO);
		close(gone[1]);
		CHILD_ASSERT(write(done[1], "x", 1) == 1);
		_exit((int)read(gone[0], &c, 1)); /* ends when the other has */
	}
	CHILD_ASSERT(read(done[0], &c, 1) == 1);
	expect(a, "shmb_free", p, FREED);
	shmb_free(a, p);
})

MISUSE(double_free_large_in_two_processes, {
	char *p = shmb_malloc(a, 4 * UNIT);
	pid_t pid = fork();
	if (pid == 0) {
		shmb_free(a, p);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	expect(a, "shmb_free", p, FREE_UNIT);
	shmb_free(a, p);
})

/* ---- not the start ------------------------------------------------------------------- */

MISUSE(interior_small, {
	expect(a, "shmb_free", small + 16, INSIDE);
	shmb_free(a, small + 16);
})

MISUSE(interior_small_misaligned, {
	expect(a, "shmb_free", small + 8, INSIDE);
	shmb_free(a, small + 8);
})

MISUSE(last_byte_of_a_small, {
	expect(a, "shmb_free", small + 63, INSIDE);
	shmb_free(a, small + 63);
})

MISUSE(interior_large, {
	expect(a, "shmb_free", large + 4096, INSIDE);
	shmb_free(a, large + 4096);
})

MISUSE(interior_large_at_a_unit, {
	expect(a, "shmb_free", large + UNIT, INSIDE);
	shmb_free(a, large + UNIT);
})

MISUSE(interior_large_misaligned, {
	expect(a, "shmb_free", large + 1, INSIDE);
	shmb_free(a, large + 1);
})

MISUSE(realloc_of_an_interior, {
	expect(a, "shmb_realloc", large + UNIT, INSIDE);
	(void)shmb_realloc(a, large + UNIT, 10);
})

MISUSE(usable_size_of_an_interior, {
	expect(a, "shmb_usable_size", small + 32, INSIDE);
	(void)shmb_usable_size(a, small + 32);
})

/* ---- not ours -------------------------------------------------------------------------- */

MISUSE(foreign_stack, {
	char x[32] = {0};
	expect(a, "shmb_free", x, OUTSIDE);
	shmb_free(a, x);
})

MISUSE(foreign_heap, {
	void *p = calloc(1, 64);
	expect(a, "shmb_free", p, OUTSIDE);
	shmb_free(a, p);
})

MISUSE(foreign_small_number, {
	expect(a, "shmb_free", (void *)16, OUTSIDE);
	shmb_free(a, (void *)16);
})

MISUSE(foreign_last_address, {
	expect(a, "shmb_realloc", (void *)UINTPTR_MAX, OUTSIDE);
	(void)shmb_realloc(a, (void *)UINTPTR_MAX, 10);
})

MISUSE(another_arenas, {
	shmb_arena *b = arena_new(MIB);
	void *p = shmb_malloc(b, 64);
	expect(a, "shmb_free", p, WRONG);
	unlink(strcat(strcpy((char[300]){0}, "/dev/shm"), shmb_region_name(shmb_arena_region(b))));
	shmb_free(a, p);
})

MISUSE(another_handles, {
	shmb_arena *b = arena_again(a);
	char *p = through(b, a, small);
	expect(a, "shmb_free", p, WRONG);
	shmb_free(a, p);
})

/* ---- wild, but in the region -------------------------------------------------------------- */

MISUSE(wild_in_the_header, {
	expect(a, "shmb_free", a->map + 4096, WRONG); /* in the region, not in its data */
	shmb_free(a, a->map + 4096);
})

MISUSE(wild_past_the_end, {
	expect(a, "shmb_free", a->data + 16 * MIB, WRONG);
	shmb_free(a, a->data + 16 * MIB);
})

MISUSE(wild_in_a_free_unit, {
	expect(a, "shmb_free", a->data + 16 * MIB - UNIT, FREE_UNIT);
	shmb_free(a, a->data + 16 * MIB - UNIT);
})

MISUSE(wild_in_a_page_of_no_blocks, {
	char *p = (char *)((uintptr_t)small & ~(uintptr_t)(UNIT - 1)) + UNIT - 64;
	expect(a, "shmb_free", p, NOTHING);
	shmb_free(a, p);
})

MISUSE(wild_misaligned_in_a_free_unit, {
	expect(a, "shmb_free", a->data + 16 * MIB - 1, FREE_UNIT);
	shmb_free(a, a->data + 16 * MIB - 1);
})

static void nothing_was_there_(void)
{
	char *p = a->data + 64 * MIB; /* past the units whose tables exist */
	expect(a, "shmb_free", p, NEVER);
	shmb_free(a, p);
}

START_TEST(wild_where_nothing_ever_was)
{
	setup();
	arena_done(a);
	a = arena_new(256 * MIB);
	small = shmb_malloc(a, 64), large = shmb_malloc(a, 3 * UNIT);
	stamp(small, 64, 1), stamp(large, 3 * UNIT, 2);
	dies_of(nothing_was_there_);
	unharmed();
}
END_TEST

/* ---- closed and read-only ------------------------------------------------------------------- */

#define AFTER_CLOSE(name, what, call)            \
	MISUSE(name, {                           \
		ck_assert_int_eq(shmb_arena_close(a), 0); \
		expect(a, what, a, CLOSED);         \
		call;                            \
	})

AFTER_CLOSE(free_after_close, "shmb_free", shmb_free(a, small))
AFTER_CLOSE(malloc_after_close, "shmb_malloc", (void)shmb_malloc(a, 10))
AFTER_CLOSE(realloc_after_close, "shmb_realloc", (void)shmb_realloc(a, large, 10))
AFTER_CLOSE(usable_size_after_close, "shmb_usable_size", (void)shmb_usable_size(a, small))
AFTER_CLOSE(trim_after_close, "shmb_trim", shmb_trim(a))
AFTER_CLOSE(recover_after_close, "shmb_recover", (void)shmb_recover(a))

START_TEST(close_twice_is_refused)
{
	setup();
	shmb_arena *b = arena_again(a);
	arena_done(b);
	ck_assert_int_eq(shmb_arena_close(b), EINVAL);
	unharmed();
}
END_TEST

static void free_read_only_(void)
{
	shmb_options opt = {.flags = SHMB_READ_ONLY};
	shmb_arena *writer = a;
	CHILD_ASSERT(shmb_arena_open(shmb_region_name(shmb_arena_region(writer)), &opt, &a) == 0);
	char *p = through(a, writer, small);
	CHILD_ASSERT(shmb_usable_size(a, p) == 64);
	errno = 0;
	CHILD_ASSERT(!shmb_malloc(a, 10) && errno == ENOMEM);
	expect(a, "shmb_free", p, READ_ONLY);
	shmb_free(a, p);
}

START_TEST(free_read_only)
{
	setup();
	dies_of(free_read_only_);
	unharmed();
}
END_TEST

int main(void)
{
	return TESTS_RUN("misuse", double_free_small, double_free_small_with_others_between,
	                 double_free_small_after_its_page_went, double_free_small_that_the_engine_has, double_free_large,
	                 double_free_of_a_stray, realloc_after_free, usable_size_after_free,
	                 double_free_small_in_two_processes, double_free_large_in_two_processes, interior_small,
	                 interior_small_misaligned, last_byte_of_a_small, interior_large, interior_large_at_a_unit,
	                 interior_large_misaligned, realloc_of_an_interior, usable_size_of_an_interior, foreign_stack,
	                 foreign_heap, foreign_small_number, foreign_last_address, another_arenas, another_handles,
	                 wild_in_the_header, wild_past_the_end, wild_in_a_free_unit, wild_in_a_page_of_no_blocks,
	                 wild_misaligned_in_a_free_unit, wild_where_nothing_ever_was, free_after_close,
	                 malloc_after_close, realloc_after_close, usable_size_after_close, trim_after_close,
	                 recover_after_close, close_twice_is_refused, free_read_only);
}
