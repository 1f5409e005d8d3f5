/*
 * test_evict.c - what an idle process holds is for those who need it. Two
 * handles of one region are two processes to it: `a` wants, `b` is idle.
 */
#include "tests_common.h"

#include "evict.h"
#include "magazine.h"
#include "recover.h"

#include <pthread.h>

enum { N = 300, SIZE = 200 };

static shmb_arena *a, *b;

static void begin(size_t size)
{
	a = arena_new(size);
	b = arena_again(a);
}

static void end(void)
{
	arena_done(b);
	arena_done(a);
}

static holder_t hold_of(const shmb_arena *x)
{
	return slot_hold(x, holder_slot(atomic_load(&x->holder)));
}

static void evict(void)
{
	struct entered e = context_enter(a);
	ck_assert_int_eq(e.how, ENTRY_CONTEXT);
	evict_idle(a);
	context_leave(&e);
}

static void *evict_thread(void *arg)
{
	evict();
	return arg;
}

/* By a thread of its own: this one may be on a hot path, as far as its record says. */
static void evict_elsewhere(void)
{
	pthread_t t;
	ck_assert_int_eq(pthread_create(&t, NULL, evict_thread, NULL), 0);
	pthread_join(t, NULL);
}

static void fill(char *p[N], unsigned id)
{
	for (unsigned i = 0; i < N; i++) {
		p[i] = shmb_malloc(b, SIZE);
		MUST(p[i], "block %u: no memory", i);
		stamp(p[i], SIZE, id + i);
	}
}

static void empty(char *p[N], unsigned id)
{
	for (unsigned i = 0; i < N; i++) {
		MUST(stamped(p[i], SIZE, id + i), "block %u was changed", i);
		shmb_free(b, p[i]);
	}
}

/* Blocks of all classes, all freed again: `b` holds units and full magazines then. */
static void hoard(void)
{
	void *p[40];
	for (size_t size = 16; size <= CLASS_MAX_SIZE; size += size / 4) {
		for (unsigned i = 0; i < 40; i++)
			ck_assert((p[i] = shmb_malloc(b, size)));
		for (unsigned i = 0; i < 40; i++)
			shmb_free(b, p[i]);
	}
}

static void nothing_is_held(void)
{
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.cached + w.stray + w.live + w.used + w.dirty, 0);
}

START_TEST(all_of_it_comes_back)
{
	begin(64 * MIB);
	hoard();
	ck_assert_uint_gt(walk_arena(a, false).cached, 100);
	holder_t was = hold_of(b);
	shmb_trim(a);
	ck_assert(hold_of(b) != was);
	ck_assert_uint_eq(atomic_load(&a->hdr->evictions), 1);
	nothing_is_held();
	end();
}
END_TEST

START_TEST(a_request_gets_what_the_idle_one_caches)
{
	begin(16 * MIB);
	hoard();
	void *p = shmb_malloc(a, 16 * MIB);
	ck_assert(p);
	shmb_free(a, p);
	end();
}
END_TEST

START_TEST(it_goes_on_and_its_blocks_are_as_they_were)
{
	static char *before[N], *after[N];
	begin(64 * MIB);
	fill(before, 1);
	for (unsigned round = 0; round < 5; round++) {
		hoard();
		shmb_trim(a);
		ck_assert_uint_eq(atomic_load(&a->hdr->evictions), round + 1);
		fill(after, 2000);
		ck_assert_uint_eq(walk_arena(a, false).threads, 2); /* the old record is free again */
		empty(after, 2000);
	}
	empty(before, 1);
	shmb_trim(b);
	shmb_trim(a);
	nothing_is_held();
	end();
}
END_TEST

/* A call of its is under way, somewhere off the hot path. */
START_TEST(a_busy_one_is_spared)
{
	begin(64 * MIB);
	hoard();
	holder_t was = hold_of(b);
	atomic_fetch_add(&b->slots[holder_slot(was)].busy, 1);
	evict();
	ck_assert(hold_of(b) == was);
	atomic_fetch_sub(&b->slots[holder_slot(was)].busy, 1);
	struct entered e = context_enter(b);
	context_leave(&e);
	e = context_enter(b); /* the arena it used last: by the thread's record */
	ck_assert(e.how == ENTRY_CONTEXT && !e.held && atomic_load(&e.context->shm->busy));
	evict_elsewhere();
	ck_assert(hold_of(b) == was);
	context_leave(&e);
	evict();
	ck_assert(hold_of(b) != was);
	end();
}
END_TEST

/* One that stands between the two marks of the hot path: it may have looked already. */
START_TEST(one_on_the_hot_path_is_spared)
{
	begin(64 * MIB);
	hoard();
	holder_t was = hold_of(b);
	struct thread_shm *r = context_of(b)->shm;
	context_mark(r, NULL);
	evict_elsewhere();
	ck_assert(hold_of(b) == was);
	ck_assert_uint_eq(atomic_load(&b->slots[holder_slot(was)].hold) & SLOT_EVICTING, 0);
	context_mark(r, b);
	void *p = shmb_malloc(b, 64); /* and its magazines are shown to it again */
	ck_assert(p && atomic_load(&r->hot[class_of(64)]));
	shmb_free(b, p);
	evict_elsewhere();
	ck_assert(hold_of(b) != was);
	end();
}
END_TEST

/* The evictor died after it had said so: the victim takes that back, and goes on as it is. */
START_TEST(a_mark_left_behind_is_taken_off)
{
	begin(64 * MIB);
	hoard();
	struct slot_shm *s = &b->slots[holder_slot(atomic_load(&b->holder))];
	holder_t was = hold_of(b);
	struct thread_shm *r = &b->records[context_of(b)->number];
	for (unsigned c = 0; c < CLASSES; c++)
		atomic_store(&r->hot[c], 0);
	atomic_fetch_or(&s->hold, SLOT_EVICTING);
	void *p = shmb_malloc(b, 64);
	ck_assert(p && hold_of(b) == was && !(atomic_load(&s->hold) & SLOT_EVICTING));
	shmb_free(b, p);
	ck_assert_uint_eq(atomic_load(&s->busy), 0);
	end();
}
END_TEST

static int wake[2];
static pthread_barrier_t meet;

static void *two_lives(void *arg)
{
	char *p[N];
	char c;
	(void)arg;
	fill(p, 7);
	pthread_barrier_wait(&meet);
	ck_assert_int_eq(read(wake[0], &c, 1), 1);
	empty(p, 7);
	fill(p, 9);
	empty(p, 9);
	return NULL;
}

START_TEST(its_threads_find_out_each_for_itself)
{
	pthread_t t[3];
	begin(64 * MIB);
	ck_assert_int_eq(pipe(wake), 0);
	pthread_barrier_init(&meet, NULL, 4);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, two_lives, NULL), 0);
	pthread_barrier_wait(&meet);
	evict();
	ck_assert_uint_eq(atomic_load(&a->hdr->evictions), 1);
	for (unsigned i = 0; i < 3; i++)
		tell(wake[1]);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	pthread_barrier_destroy(&meet);
	shmb_trim(a);
	struct walk w = walk_arena(a, false);
	ck_assert_uint_eq(w.live, 0);
	ck_assert_uint_le(w.threads, 2); /* this thread's, in each handle */
	end();
}
END_TEST

/* A magazine that was posted to a hold just as that was taken is handed on with the next look. */
START_TEST(a_late_post_is_handed_on)
{
	static char *p[N];
	begin(64 * MIB);
	fill(p, 1);
	struct slot_shm *s = &b->slots[holder_slot(atomic_load(&b->holder))];
	holder_t was = hold_of(b);
	evict();
	ck_assert(hold_of(b) != was);
	for (unsigned i = 0; i < N; i++)
		shmb_free(a, through(a, b, p[i]));
	struct tctx *t = context_of(a);
	uint64_t pair = atomic_load(&t->shm->pairs[class_of(SIZE)]);
	ck_assert(pair_previous(pair));
	/* as a thread between its look at the hold and its post would leave it */
	atomic_store(&t->shm->pairs[class_of(SIZE)], pair_make(pair_loaded(pair), 0));
	atomic_store(&s->inbox[3], cell_make(pair_previous(pair), was));
	shmb_trim(a);
	ck_assert_uint_eq(atomic_load(&s->inbox[3]), 0);
	nothing_is_held();
	end();
}
END_TEST

int main(void)
{
	return TESTS_RUN("evict", all_of_it_comes_back, a_request_gets_what_the_idle_one_caches,
	                 it_goes_on_and_its_blocks_are_as_they_were, a_busy_one_is_spared, one_on_the_hot_path_is_spared,
	                 a_mark_left_behind_is_taken_off, its_threads_find_out_each_for_itself, a_late_post_is_handed_on);
}
