/*
 * test_lock.c - the lock in a region: it excludes, among threads and
 * processes; it is taken from a holder who died, and from no other.
 *
 * The lock lies in the head of a bucket that no name of the test uses; what it
 * guards is a plain counter in shared memory, changed in two steps.
 */
#include "tests_common.h"

#include "lock.h"
#include "sys.h"

#include <pthread.h>
#include <sched.h>

enum { PROCESSES = 4, THREADS_EACH = 2, TURNS = 20000 / SLOW };

struct guarded {
	volatile uint64_t n, twin;
	_Atomic uint32_t torn, go, in;
};
static struct guarded *g;
static shmb_arena *arena;
static struct bucket_shm *bucket;

static void begin(void)
{
	g = mmap(NULL, sizeof *g, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	arena = arena_new(MIB);
	bucket = &arena->buckets[8];
	ck_assert_int_eq(sys_populate((char *)arena->buckets, PAGE), 0);
}

static void join(void)
{
	const char *name = shmb_region_name(shmb_arena_region(arena));
	CHILD_ASSERT(shmb_arena_open(name, NULL, &arena) == 0);
	bucket = &arena->buckets[8];
}

static void take(void) { lock_take(arena, &bucket->lock, &bucket->waiters); }
static void drop(void) { lock_drop(&bucket->lock, &bucket->waiters); }

static void *count(void *arg)
{
	for (unsigned i = 0; i < TURNS; i++) {
		take();
		if (g->n != g->twin)
			atomic_fetch_add(&g->torn, 1);
		g->n = g->n + 1;
		if (i % 64 == 0)
			sched_yield(); /* so that others come upon it */
		g->twin = g->twin + 1;
		drop();
	}
	return arg;
}

START_TEST(uncontended)
{
	begin();
	for (unsigned i = 0; i < 1000; i++) {
		take();
		ck_assert_uint_eq(atomic_load(&bucket->lock), atomic_load(&arena->holder));
		drop();
		ck_assert_uint_eq(atomic_load(&bucket->lock), 0);
	}
	ck_assert_uint_eq(atomic_load(&bucket->waiters), 0);
	arena_done(arena);
}
END_TEST

START_TEST(contention)
{
	pid_t pids[PROCESSES];
	begin();
	fflush(NULL);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		pthread_t t[THREADS_EACH];
		join();
		while (!atomic_load(&g->go))
			sched_yield();
		for (unsigned k = 0; k < THREADS_EACH; k++)
			CHILD_ASSERT(pthread_create(&t[k], NULL, count, NULL) == 0);
		for (unsigned k = 0; k < THREADS_EACH; k++)
			pthread_join(t[k], NULL);
		_exit(0);
	}
	atomic_store(&g->go, 1);
	for (unsigned i = 0; i < PROCESSES; i++)
		expect_exit(pids[i], 0);
	ck_assert_uint_eq(atomic_load(&g->torn), 0);
	ck_assert_uint_eq(g->n, (uint64_t)PROCESSES * THREADS_EACH * TURNS);
	ck_assert_uint_eq(atomic_load(&bucket->lock), 0);
	ck_assert_uint_eq(atomic_load(&bucket->waiters), 0);
	arena_done(arena);
}
END_TEST

/* A child that has the lock and says so. `space`: in a pid namespace of its own; 77: not allowed. */
static pid_t holder(bool space, int *up)
{
	int say[2];
	ck_assert_int_eq(pipe(say), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (space) {
			if (unshare(CLONE_NEWPID))
				_exit(77);
			pid_t inner = fork();
			if (inner) {
				int status;
				waitpid(inner, &status, 0);
				_exit(WIFSIGNALED(status) ? 9 : 1);
			}
			CHILD_ASSERT(getpid() == 1);
		}
		join();
		take();
		CHILD_ASSERT(write(say[1], "x", 1) == 1);
		for (;;)
			pause();
	}
	close(say[1]);
	*up = say[0];
	return pid;
}

/* Waiters in other processes and here get it, one after the other, when its holder is killed. */
static pid_t waiting_child(void)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid)
		return pid;
	join();
	atomic_fetch_add(&g->in, 1);
	count(NULL);
	_exit(0);
}

START_TEST(holder_dies)
{
	int up;
	begin();
	for (unsigned round = 0; round < 5; round++) {
		pid_t waiters[3], dead = holder(false, &up);
		hear(up);
		g->n = g->twin = 0;
		atomic_store(&g->in, 0);
		for (unsigned i = 0; i < 3; i++)
			waiters[i] = waiting_child();
		while (atomic_load(&bucket->waiters) < 3)
			sched_yield(); /* all three sleep on it */
		ck_assert_uint_eq(g->n, 0); /* from the living it is not taken */
		kill(dead, SIGKILL);
		ck_assert_int_eq(waitpid(dead, NULL, 0), dead);
		for (unsigned i = 0; i < 3; i++)
			expect_exit(waiters[i], 0);
		ck_assert_uint_eq(g->n, 3u * TURNS);
		ck_assert_uint_eq(atomic_load(&g->torn), 0);
		close(up);
	}
	ck_assert_uint_eq(atomic_load(&bucket->lock), 0);
	arena_done(arena);
}
END_TEST

/* Its holder's death was recovered, and its slot taken by a newcomer, before anybody asked for the lock. */
START_TEST(holder_recovered)
{
	int up;
	begin();
	pid_t dead = holder(false, &up);
	hear(up);
	kill(dead, SIGKILL);
	ck_assert_int_eq(waitpid(dead, NULL, 0), dead);
	shmb_arena *newcomer = arena_again(arena);
	holder_t stale = atomic_load(&bucket->lock);
	ck_assert_uint_eq(holder_slot(stale), holder_slot(atomic_load(&newcomer->holder)));
	ck_assert(holder_dead(arena, stale));
	ck_assert(!holder_dead(arena, atomic_load(&newcomer->holder)));
	take();
	ck_assert_uint_eq(atomic_load(&bucket->lock), atomic_load(&arena->holder));
	drop();
	close(up);
	arena_done(newcomer);
	arena_done(arena);
}
END_TEST

/* A stopped holder lives: the lock stays its. Liveness is told across pid namespaces, both ways. */
START_TEST(across_pid_namespaces)
{
	int up, status;
	char c;
	begin();
	pid_t outer = holder(true, &up);
	if (read(up, &c, 1) != 1) {
		ck_assert_int_eq(waitpid(outer, &status, 0), outer);
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 77, "status %#x", status);
		printf("skip: across_pid_namespaces: no new pid namespace may be made here\n");
		arena_done(arena);
		return;
	}
	holder_t held = atomic_load(&bucket->lock);
	ck_assert_int_eq(atomic_load(&arena->slots[holder_slot(held)].pid), 1); /* as it sees itself: means nothing here */
	ck_assert(!holder_dead(arena, held));
	pid_t inside = waiting_child();
	while (!atomic_load(&bucket->waiters))
		sched_yield();
	ck_assert_uint_eq(g->n, 0);
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)outer, (int)outer);
	FILE *f = fopen(path, "r");
	int inner = 0;
	ck_assert(f && fscanf(f, "%d", &inner) == 1);
	fclose(f);
	kill(inner, SIGKILL);
	expect_exit(outer, 9);
	ck_assert(holder_dead(arena, held));
	expect_exit(inside, 0);
	ck_assert_uint_eq(g->n, TURNS);
	arena_done(arena);
}
END_TEST

int main(void)
{
	return TESTS_RUN("lock", uncontended, contention, holder_dies, holder_recovered, across_pid_namespaces);
}
