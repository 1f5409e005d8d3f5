/* test_check.c - what `check` says of a heap at work, and of one that stands in the middle of something. */
#include "class.h"
#include "tests_common.h"

#include <pthread.h>

enum { THREADS_N = 4, LOOKED = 60, HELD = 64, SIZE = 100 };

static atomic_bool stop;

static void *churn(void *arg)
{
	static _Atomic uint64_t seed = 1;
	struct rng r = {atomic_fetch_add(&seed, 1) * 0x9e3779b97f4a7c15u};
	shmb_arena *a = arg;
	void *p[HELD] = {NULL};
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		unsigned i = (unsigned)rnd_below(&r, HELD);
		shmb_free(a, p[i]);
		p[i] = shmb_malloc(a, 1 + rnd_below(&r, rnd_below(&r, 100) ? 9000 : 150000));
	}
	for (unsigned i = 0; i < HELD; i++)
		shmb_free(a, p[i]);
	return NULL;
}

START_TEST(a_heap_at_work_is_clean)
{
	shmb_arena *a = arena_new(GIB);
	pthread_t threads[THREADS_N];
	for (unsigned i = 0; i < THREADS_N; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, churn, a), 0);
	for (unsigned i = 0; i < LOOKED / SLOW; i++)
		MUST(!check_arena(a), "look %u: %s", i, said);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS_N; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(check_arena(a), 0);
	ck_assert_ptr_nonnull(strstr(said, "the sums are exact"));
	arena_done(a);
}
END_TEST

/* The byte of its block is written, the magazine's count not yet: there a thread can be stopped. */
START_TEST(a_thread_in_the_middle_of_malloc_is_clean)
{
	shmb_arena *a = arena_new(64 * MIB);
	unsigned class = class_of(SIZE);
	void *p[4];
	for (unsigned i = 0; i < 4; i++)
		p[i] = shmb_malloc(a, SIZE);
	for (unsigned i = 0; i < 4; i++)
		shmb_free(a, p[i]);
	const struct mag_shm *m = &a->mags[pair_loaded(atomic_load(&context_get()->pairs[class])) - 1];
	uint32_t n = atomic_load(&m->count);
	ck_assert_uint_ge(n, 4);
	block_set(a->blocks, m->entries[n - 1], block_make(BLOCK_LIVE, class));
	ck_assert_msg(!check_arena(a), "%s", said);
	block_set(a->blocks, m->entries[n - 2], block_make(BLOCK_LIVE, class));
	ck_assert_int_eq(check_arena(a), SHMB_ECORRUPT);
	ck_assert_msg(strstr(said, "whose byte is"), "%s", said);
	block_set(a->blocks, m->entries[n - 1], block_make(BLOCK_CACHED, class));
	block_set(a->blocks, m->entries[n - 2], block_make(BLOCK_CACHED, class));
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("check", a_heap_at_work_is_clean, a_thread_in_the_middle_of_malloc_is_clean);
}
