/* test_boxes.c - boxes in an arena: making, naming, types, refs, and owners that live. */
#include "boxes_common.h"

static int refuse(void *obj, void *arg)
{
	memset(obj, 0xff, sizeof(struct thing));
	return arg ? EIO : EBUSY;
}

/* ---- one process ------------------------------------------------------------------- */

START_TEST(anonymous)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL, *c = NULL;
	ck_assert_int_eq(shmb_box_new(a, &thing, thing_init, (void *)6, &b), 0);
	ck_assert_int_eq(shmb_box_new(a, &other, NULL, NULL, &c), 0);
	struct thing *t = shmb_box_get(b);
	ck_assert(t->a == 7 && t->b == ~(uint64_t)7 && !strcmp(t->text, "made"));
	ck_assert(all_zero(shmb_box_get(c), sizeof(struct other)));
	ck_assert(shmb_box_region(b) == shmb_arena_region(a));
	ck_assert(shmb_box_is_owner(b) && shmb_box_is_owner(c));
	ck_assert(shmb_arena_of(t) == a);
	ck_assert_int_eq(box_stat(a, "owned"), 2);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	ck_assert_int_eq(atomic_load(&counts->drops), 1);
	ck_assert_int_eq(shmb_box_drop(c), 0);
	ck_assert_int_eq(shmb_box_drop(NULL), 0);
	ck_assert_int_eq(box_stat(a, "dropped"), 2);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(named)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL, *c = NULL;
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &c), ENOENT);
	b = make(a, "x", &thing, SHMB_CREATED);
	ck_assert_ptr_eq(make(a, "x", &thing, SHMB_ATTACHED), b);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &c), 0);
	ck_assert_ptr_eq(b, c);
	ck_assert_int_eq(shmb_box_find_or_new(a, "y", &thing, NULL, NULL, &c, NULL), 0); /* how: not asked */
	ck_assert_ptr_ne(b, c);
	ck_assert_int_eq(box_stat(a, "named"), 2);
	struct thing *t = shmb_box_get(c);
	t->b = ~t->a;
	ck_assert_int_eq(shmb_box_drop(b), 0);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), ENOENT);
	ck_assert_int_eq(shmb_box_drop(make(a, "x", &other, SHMB_CREATED)), 0); /* the name is free for any type */
	ck_assert_int_eq(shmb_box_drop(c), 0);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(names_are_checked)
{
	shmb_arena *a = begin();
	char text[200];
	shmb_box *b = NULL;
	memset(text, 'n', sizeof text);
	text[112] = 0;
	ck_assert_int_eq(shmb_box_find_or_new(a, text, &thing, thing_init, NULL, &b, NULL), EINVAL);
	ck_assert_int_eq(shmb_box_find(a, text, &thing, &b), EINVAL);
	ck_assert_int_eq(shmb_box_find_or_new(a, "", &thing, thing_init, NULL, &b, NULL), EINVAL);
	ck_assert_int_eq(shmb_box_find(a, "", &thing, &b), EINVAL);
	ck_assert_int_eq(shmb_box_find_or_new(a, NULL, &thing, thing_init, NULL, &b, NULL), EINVAL);
	ck_assert_ptr_null(b);
	text[111] = 0;
	b = make(a, text, &thing, SHMB_CREATED);
	ck_assert_ptr_eq(make(a, text, &thing, SHMB_ATTACHED), b);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	ck_assert_int_eq(shmb_box_drop(make(a, "n", &thing, SHMB_CREATED)), 0);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(types_must_agree)
{
	shmb_arena *a = begin();
	shmb_box *b = make(a, "x", &thing, SHMB_CREATED), *c = NULL;
	const shmb_type wrong[] = {
		other,
		{thing.name, thing.size + 1, thing.align, NULL},
		{thing.name, thing.size, thing.align * 2, NULL},
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		ck_assert_int_eq(shmb_box_find(a, "x", &wrong[i], &c), SHMB_ETYPE);
		ck_assert_int_eq(shmb_box_find_or_new(a, "x", &wrong[i], NULL, NULL, &c, NULL), SHMB_ETYPE);
		ck_assert_int_eq(shmb_box_at(a, shmb_box_ref(b), &wrong[i], &c), SHMB_ETYPE);
	}
	ck_assert_int_eq(shmb_box_find(a, "x", &thing_plain, &c), 0); /* the destructor is no part of it */
	const shmb_type bad[] = {{NULL, 8, 8, NULL}, {"", 8, 8, NULL}, {"t", 0, 8, NULL}, {"t", 8, 0, NULL}, {"t", 8, 3, NULL}};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_int_eq(shmb_box_new(a, &bad[i], NULL, NULL, &c), EINVAL);
	ck_assert_int_eq(shmb_box_new(a, NULL, NULL, NULL, &c), EINVAL);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(init_that_fails)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL;
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_int_eq(shmb_box_new(a, &thing, refuse, NULL, &b), EBUSY);
		ck_assert_int_eq(shmb_box_find_or_new(a, "x", &thing, refuse, (void *)1, &b, NULL), EIO);
		ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), ENOENT);
	}
	ck_assert_ptr_null(b);
	ck_assert_int_eq(atomic_load(&counts->drops), 0); /* what was not made is not destroyed */
	nothing_left(a);
	ck_assert_int_eq(shmb_box_drop(make(a, "x", &thing, SHMB_CREATED)), 0); /* zeros again: thing_init looks */
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(no_memory)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL;
	static const shmb_type huge = {"huge", GIB, 16, NULL};
	ck_assert_int_eq(shmb_box_new(a, &huge, NULL, NULL, &b), ENOMEM);
	ck_assert_int_eq(shmb_box_find_or_new(a, "x", &huge, NULL, NULL, &b, NULL), ENOMEM);
	ck_assert_int_eq(shmb_box_find(a, "x", &huge, &b), ENOENT);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(sizes_and_alignments)
{
	static const shmb_type types[] = {
		{"byte", 1, 1, NULL},           {"odd", 13, 1, NULL},
		{"unit", 65536, 16, NULL},      {"large", 200 * 1024, 64, NULL},
		{"page", 100, 4096, NULL},      {"pages", 12288, 4096, NULL},
		{"unit aligned", 100, 65536, NULL}, {"mib", 300 * 1024, 1 << 20, NULL},
		{"small, mib", 24, 1 << 20, NULL},  {"pages, 8k", 20000, 8192, NULL},
	};
	enum { N = sizeof types / sizeof *types };
	shmb_arena *a = begin();
	shmb_box *b[N];
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N; i++) {
			ck_assert_int_eq(shmb_box_find_or_new(a, types[i].name, &types[i], NULL, NULL, &b[i], NULL), 0);
			ck_assert_msg((uintptr_t)shmb_box_get(b[i]) % types[i].align == 0, "%s: alignment", types[i].name);
			ck_assert_msg(all_zero(shmb_box_get(b[i]), types[i].size), "%s: not zeros", types[i].name);
			stamp(shmb_box_get(b[i]), types[i].size, i);
		}
		clean(a);
		for (unsigned i = 0; i < N; i++) {
			ck_assert_msg(stamped(shmb_box_get(b[i]), types[i].size, i), "%s: changed", types[i].name);
			ck_assert_int_eq(shmb_box_drop(b[i]), 0);
		}
		nothing_left(a);
	}
	arena_done(a);
}
END_TEST

START_TEST(refs)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL, *c = NULL;
	ck_assert_int_eq(shmb_box_new(a, &thing, thing_init, NULL, &b), 0);
	uint64_t ref = shmb_box_ref(b);
	ck_assert_uint_ne(ref, 0);
	ck_assert_int_eq(shmb_box_at(a, ref, &thing, &c), 0);
	ck_assert_ptr_eq(b, c);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	c = NULL;
	ck_assert_int_eq(shmb_box_at(a, ref, &thing, &c), SHMB_EGONE);
	for (unsigned i = 0; i < 100; i++) { /* the entry is used again: still not that box */
		ck_assert_int_eq(shmb_box_new(a, &thing, thing_init, NULL, &b), 0);
		ck_assert_uint_ne(shmb_box_ref(b), ref);
		ck_assert_int_eq(shmb_box_at(a, ref, &thing, &c), SHMB_EGONE);
		ck_assert_int_eq(shmb_box_drop(b), 0);
	}
	struct rng r = {4711};
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t garbage = i < 1000 ? i : rnd(&r) >> i % 64;
		int err = shmb_box_at(a, garbage, &thing, &c);
		MUST(err == SHMB_EGONE, "ref %#lx: %s", garbage, shmb_strerror(err));
	}
	ck_assert_ptr_null(c);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(leak_and_own)
{
	shmb_arena *a = begin();
	shmb_box *b = make(a, "x", &thing, SHMB_CREATED), *c = NULL;
	ck_assert_int_eq(shmb_box_own(b), 0); /* it is already */
	ck_assert_int_eq(shmb_box_leak(b), 0);
	ck_assert(!shmb_box_is_owner(b));
	ck_assert_int_eq(box_stat(a, "kept"), 1);
	ck_assert_int_eq(shmb_box_leak(b), SHMB_ENOTOWNER);
	ck_assert_int_eq(shmb_box_drop(b), SHMB_ENOTOWNER);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &c), 0);
	ck_assert_ptr_eq(b, c);
	ck_assert_int_eq(shmb_box_at(a, shmb_box_ref(b), &thing, &c), 0);
	ck_assert_int_eq(shmb_box_own(b), 0);
	ck_assert(shmb_box_is_owner(b));
	ck_assert_int_eq(shmb_box_drop(b), 0);
	ck_assert_int_eq(atomic_load(&counts->drops), 1);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(scope)
{
	shmb_arena *a = begin();
	{
		SHMB_SCOPED shmb_box *b = NULL;
		ck_assert_int_eq(shmb_box_new(a, &thing, thing_init, NULL, &b), 0);
	}
	{
		SHMB_SCOPED shmb_box *none = NULL;
		(void)none;
	}
	ck_assert_int_eq(atomic_load(&counts->drops), 1);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(read_only)
{
	shmb_arena *a = begin(), *ro = NULL;
	shmb_options opt = {.flags = SHMB_READ_ONLY};
	shmb_box *b = make(a, "x", &thing, SHMB_CREATED), *c = NULL;
	ck_assert_int_eq(shmb_arena_open(name_of(a), &opt, &ro), 0);
	ck_assert_int_eq(shmb_box_find(ro, "x", &thing, &c), EACCES);
	ck_assert_int_eq(shmb_box_new(ro, &thing, NULL, NULL, &c), EACCES);
	arena_done(ro);
	ck_assert(shmb_box_is_owner(b));
	arena_done(a);
	ck_assert_int_eq(atomic_load(&counts->drops), 1);
}
END_TEST

/* ---- owners --------------------------------------------------------------------------- */

/* A second attachment stands for a second process: it has a slot of its own. */
START_TEST(only_the_owner)
{
	shmb_arena *a = begin(), *o = arena_again(a);
	shmb_box *b = make(a, "x", &thing, SHMB_CREATED), *c = NULL;
	ck_assert_int_eq(shmb_box_find(o, "x", &thing, &c), 0);
	ck_assert(!shmb_box_is_owner(c) && shmb_box_is_owner(b));
	ck_assert_int_eq(shmb_box_drop(c), SHMB_ENOTOWNER);
	ck_assert_int_eq(shmb_box_leak(c), SHMB_ENOTOWNER);
	ck_assert_int_eq(shmb_box_own(c), SHMB_EOWNED);
	ck_assert_int_eq(atomic_load(&counts->drops), 0);
	ck_assert(((struct thing *)shmb_box_get(c))->a == 1);
	ck_assert_int_eq(shmb_box_at(o, shmb_box_ref(b), &thing, &c), 0); /* refs are the region's */
	ck_assert_uint_eq(shmb_box_ref(c), shmb_box_ref(b));
	ck_assert_int_eq(shmb_box_leak(b), 0);
	ck_assert_int_eq(shmb_box_own(c), 0);
	ck_assert_int_eq(shmb_box_own(b), SHMB_EOWNED);
	ck_assert_int_eq(shmb_box_drop(c), 0);
	ck_assert_int_eq(shmb_box_own(b), SHMB_EGONE);
	ck_assert_int_eq(shmb_box_drop(b), SHMB_ENOTOWNER);
	nothing_left(a);
	arena_done(o);
	arena_done(a);
}
END_TEST

START_TEST(closing_drops)
{
	shmb_arena *a = begin(), *o = arena_again(a);
	shmb_box *b = make(o, "x", &thing, SHMB_CREATED), *kept = make(o, "kept", &thing, SHMB_CREATED);
	ck_assert_int_eq(shmb_box_new(o, &thing, thing_init, NULL, &b), 0);
	ck_assert_int_eq(shmb_box_leak(kept), 0);
	make(a, "mine", &thing, SHMB_CREATED);
	arena_done(o);
	ck_assert_int_eq(atomic_load(&counts->drops), 2);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), ENOENT);
	ck_assert_int_eq(shmb_box_find(a, "kept", &thing, &b), 0);
	ck_assert_int_eq(shmb_box_own(b), 0);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	ck_assert_int_eq(shmb_box_drop(make(a, "mine", &thing, SHMB_ATTACHED)), 0);
	nothing_left(a);
	arena_done(a);
	ck_assert_int_eq(atomic_load(&counts->drops), 4);
}
END_TEST

START_TEST(exit_drops)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		shmb_arena *mine = join(name_of(a));
		CHILD_ASSERT(shmb_box_find_or_new(mine, "x", &thing, thing_init, NULL, &b, NULL) == 0);
		CHILD_ASSERT(shmb_box_new(mine, &thing, thing_init, NULL, &b) == 0);
		exit(0);
	}
	expect_exit(pid, 0);
	ck_assert_int_eq(atomic_load(&counts->drops), 2);
	ck_assert_int_eq(box_stat(a, "dropped"), 2);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), ENOENT);
	nothing_left(a);
	ck_assert_int_eq(box_stat(a, "reclaimed") + box_stat(a, "raw"), 0);
	arena_done(a);
}
END_TEST

/* A child of fork through the inherited handle is another process. */
START_TEST(forked_child)
{
	shmb_arena *a = begin();
	shmb_box *b = make(a, "x", &thing, SHMB_CREATED);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		shmb_box *c = NULL;
		CHILD_ASSERT(!shmb_box_is_owner(b));
		CHILD_ASSERT(shmb_box_drop(b) == SHMB_ENOTOWNER);
		CHILD_ASSERT(shmb_box_own(b) == SHMB_EOWNED);
		CHILD_ASSERT(shmb_box_find(a, "x", &thing, &c) == 0 && c == b);
		CHILD_ASSERT(shmb_box_find_or_new(a, "y", &thing, thing_init, NULL, &c, NULL) == 0);
		CHILD_ASSERT(shmb_box_is_owner(c) && shmb_box_leak(c) == 0);
		_exit(0);
	}
	expect_exit(pid, 0);
	ck_assert(shmb_box_is_owner(b));
	ck_assert_int_eq(shmb_box_drop(b), 0);
	b = make(a, "y", &thing, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_box_own(b), 0);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	nothing_left(a);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("boxes", anonymous, named, names_are_checked, types_must_agree, init_that_fails, no_memory,
	                 sizes_and_alignments, refs, leak_and_own, scope, read_only, only_the_owner, closing_drops, exit_drops,
	                 forked_child);
}
