/* test_window.c - where regions are mapped: alignment, collision, a full window, who is where. */
#include "tests_common.h"

#include "window.h"

#include <pthread.h>

static int memory(size_t size)
{
	int fd = memfd_create("shmb-test", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void *occupy(uintptr_t at, size_t size)
{
	void *p = mmap((void *)at, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void in_window(const void *p, uint64_t size)
{
	ck_assert(window_has(p));
	ck_assert(window_has((const char *)p + size - 1));
	ck_assert_uint_eq((uintptr_t)p % WINDOW_GRANULE, 0);
}

START_TEST(has_is_exactly_the_window)
{
	ck_assert(window_has((void *)WINDOW_BASE));
	ck_assert(window_has((void *)(WINDOW_END - 1)));
	ck_assert(!window_has((void *)(WINDOW_BASE - 1)));
	ck_assert(!window_has((void *)WINDOW_END));
	ck_assert(!window_has(NULL));
	ck_assert(!window_has((void *)UINTPTR_MAX));
	int local;
	ck_assert(!window_has(&local));
	ck_assert(!window_has((void *)(uintptr_t)in_window));
}
END_TEST

START_TEST(picked_addresses_are_aligned_free_and_scattered)
{
	uint64_t sizes[] = {PAGE, WINDOW_GRANULE, WINDOW_GRANULE + 1, 40 * GIB};
	uintptr_t before = 0;
	unsigned same = 0;
	for (unsigned i = 0; i < 400; i++) {
		uint64_t size = sizes[i % 4];
		uintptr_t at = window_pick(size, i * 7919);
		in_window((void *)at, size);
		void *p = occupy(at, size);
		ck_assert_ptr_eq(p, (void *)at);
		munmap(p, size);
		same += at == before;
		before = at;
	}
	ck_assert_uint_lt(same, 20);
}
END_TEST

START_TEST(pick_passes_over_what_is_taken)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		uintptr_t at = window_pick(3 * GIB, seed);
		void *taken = occupy(at + 2 * GIB + PAGE, PAGE); /* only its end is in the way */
		ck_assert_ptr_nonnull(taken);
		uintptr_t other = window_pick(3 * GIB, seed);
		ck_assert(other != 0 && other != at);
		munmap(taken, PAGE);
	}
}
END_TEST

START_TEST(wanted_address_is_granted_where_free)
{
	int fd = memory(MIB);
	uintptr_t at = window_pick(MIB, 5);
	void *p, *q;
	ck_assert_int_eq(window_map(fd, MIB, PROT_READ | PROT_WRITE, at, true, 0, &p), 0);
	ck_assert_ptr_eq(p, (void *)at);
	memset(p, 1, MIB);
	ck_assert_int_eq(window_map(fd, MIB, PROT_READ, at, true, 0, &q), EEXIST);
	ck_assert_int_eq(*(char *)p, 1); /* not replaced */
	ck_assert_int_eq(window_map(fd, MIB, PROT_READ, at, false, 5, &q), 0);
	ck_assert_ptr_ne(q, p);
	in_window(q, MIB);
	ck_assert_int_eq(*(char *)q, 1);
	munmap(p, MIB);
	munmap(q, MIB);
	close(fd);
}
END_TEST

START_TEST(senseless_wishes_are_not_followed)
{
	uintptr_t wishes[] = {PAGE, WINDOW_BASE + PAGE, WINDOW_BASE - WINDOW_GRANULE, WINDOW_END, (uintptr_t)-PAGE,
	                      WINDOW_END - WINDOW_GRANULE};
	int fd = memory(MIB);
	for (unsigned i = 0; i < sizeof wishes / sizeof *wishes; i++) {
		uint64_t size = i == 5 ? WINDOW_GRANULE + PAGE : MIB; /* the last would run over the end */
		void *p;
		ck_assert_int_eq(window_map(fd, size, PROT_READ, wishes[i], true, 0, &p), EEXIST);
		ck_assert_int_eq(window_map(fd, size, PROT_READ, wishes[i], false, i, &p), 0);
		in_window(p, size);
		munmap(p, size);
	}
	close(fd);
}
END_TEST

/* A forked child's pointers into what it has not must not come to be into something else. */
START_TEST(addresses_of_an_arena_without_memory_stay_taken)
{
	int arena, fd = memory(MIB);
	uintptr_t at = window_pick(MIB, 11);
	void *p;
	window_set((void *)at, MIB, &arena);
	ck_assert_int_eq(window_map(fd, MIB, PROT_READ, at, true, 0, &p), EEXIST);
	ck_assert_int_eq(window_map(fd, MIB, PROT_READ, at, false, 11, &p), 0);
	ck_assert_uint_ne((uintptr_t)p, at);
	ck_assert_uint_ne(window_pick(MIB, 11), at);
	munmap(p, MIB);
	window_set((void *)at, MIB, NULL);
	ck_assert_uint_eq(window_pick(MIB, 11), at);
	close(fd);
}
END_TEST

START_TEST(a_full_window_says_so)
{
	uint64_t whole = WINDOW_END - WINDOW_BASE;
	int fd = memory(MIB);
	void *p;
	ck_assert_uint_eq(window_pick(whole + 1, 1), 0);
	ck_assert_int_eq(window_map(fd, whole + 1, PROT_READ, 0, false, 1, &p), ENOMEM);
	void *all = occupy(WINDOW_BASE, whole);
	ck_assert_ptr_nonnull(all);
	ck_assert_uint_eq(window_pick(MIB, 1), 0);
	ck_assert_int_eq(window_map(fd, MIB, PROT_READ, 0, false, 1, &p), EEXIST);
	shmb_options opt = {.size = MIB, .flags = SHMB_CREATE_ONLY};
	shmb_arena *a = NULL;
	ck_assert_int_eq(shmb_arena_open(test_name(), &opt, &a), ENOMEM);
	munmap(all, whole);
	ck_assert_int_eq(shmb_arena_open(test_name(), &opt, &a), 0);
	arena_done(a);
	close(fd);
}
END_TEST

START_TEST(get_tells_who_is_where)
{
	char *p = (char *)WINDOW_BASE + 7 * WINDOW_GRANULE;
	int x, y;
	window_set(p, 2 * WINDOW_GRANULE + 1, &x); /* begins a third granule */
	window_set(p + 3 * WINDOW_GRANULE, PAGE, &y);
	ck_assert_ptr_null(window_get(p - 1));
	ck_assert_ptr_eq(window_get(p), &x);
	ck_assert_ptr_eq(window_get(p + 3 * WINDOW_GRANULE - 1), &x);
	ck_assert_ptr_eq(window_get(p + 3 * WINDOW_GRANULE), &y);
	ck_assert_ptr_null(window_get(p + 4 * WINDOW_GRANULE));
	window_set(p, 2 * WINDOW_GRANULE + 1, NULL);
	ck_assert_ptr_null(window_get(p));
	ck_assert_ptr_null(window_get(p + 3 * WINDOW_GRANULE - 1));
	ck_assert_ptr_eq(window_get(p + 3 * WINDOW_GRANULE), &y);
	window_set((char *)WINDOW_END - WINDOW_GRANULE, WINDOW_GRANULE, &x);
	ck_assert_ptr_eq(window_get((char *)WINDOW_END - 1), &x);
}
END_TEST

static int shared_fd;
static uintptr_t shared_at;
static pthread_barrier_t gate;

static void *racer(void *arg)
{
	void *p;
	(void)arg;
	pthread_barrier_wait(&gate);
	return window_map(shared_fd, MIB, PROT_READ, shared_at, true, 0, &p) ? NULL : p;
}

START_TEST(of_racing_mappers_one_gets_the_place)
{
	enum { N = 8 };
	shared_fd = memory(MIB);
	pthread_barrier_init(&gate, NULL, N);
	for (unsigned round = 0; round < 50; round++) {
		pthread_t t[N];
		unsigned won = 0;
		shared_at = window_pick(MIB, round);
		for (unsigned i = 0; i < N; i++)
			ck_assert_int_eq(pthread_create(&t[i], NULL, racer, NULL), 0);
		for (unsigned i = 0; i < N; i++) {
			void *p;
			pthread_join(t[i], &p);
			won += p != NULL;
		}
		ck_assert_uint_eq(won, 1);
		munmap((void *)shared_at, MIB);
	}
}
END_TEST

int main(void)
{
	return TESTS_RUN("window", has_is_exactly_the_window, picked_addresses_are_aligned_free_and_scattered,
	                 pick_passes_over_what_is_taken, wanted_address_is_granted_where_free,
	                 senseless_wishes_are_not_followed,
	                 addresses_of_an_arena_without_memory_stay_taken, a_full_window_says_so, get_tells_who_is_where,
	                 of_racing_mappers_one_gets_the_place);
}
