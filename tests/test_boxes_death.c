/*
 * test_boxes_death.c - boxes whose maker or owner dies, and who is first of many.
 *
 * Races run among processes; a death is a SIGKILL, and where it falls is told
 * through a pipe.
 */
#include "boxes_common.h"

#include <time.h>

/* ---- death ---------------------------------------------------------------------------- */

static int say[2]; /* child to parent */

static int init_and_stay(void *obj, void *arg)
{
	memset(obj, 0xee, sizeof(struct thing));
	(void)arg;
	if (write(say[1], "x", 1) != 1)
		_exit(98);
	for (;;)
		pause();
	return 0;
}

/* A child that makes `name` (NULL: anonymous) with `init`, and is killed when it has said it is there. */
static void make_and_die(const char *region, const char *name, shmb_init *init)
{
	int status;
	ck_assert_int_eq(pipe(say), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		shmb_arena *a = join(region);
		shmb_box *b;
		if (name)
			CHILD_ASSERT(shmb_box_find_or_new(a, name, &thing, init, NULL, &b, NULL) == 0);
		else
			CHILD_ASSERT(shmb_box_new(a, &thing, init, NULL, &b) == 0);
		init_and_stay(&(struct thing){0}, NULL);
	}
	hear(say[0]);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	close(say[0]);
	close(say[1]);
}

START_TEST(maker_dies)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL;
	for (unsigned i = 0; i < 5; i++) {
		make_and_die(name_of(a), "x", init_and_stay);
		if (i % 2) { /* somebody who only looks */
			ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), ENOENT);
		}
		b = make(a, "x", &thing, SHMB_CREATED); /* thing_init sees zeros, or counts `torn` */
		ck_assert(((struct thing *)shmb_box_get(b))->a == 1);
		ck_assert_int_eq(shmb_box_drop(b), 0);
		make_and_die(name_of(a), NULL, init_and_stay);
	}
	ck_assert_int_eq(atomic_load(&counts->drops), 5); /* half-made ones are not destroyed */
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(owner_dies)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL;
	make_and_die(name_of(a), "x", thing_init);
	make_and_die(name_of(a), NULL, thing_init);
	ck_assert_int_eq(shmb_type_register(&thing), 0);
	shmb_trim(a);
	ck_assert_int_eq(atomic_load(&counts->drops), 2);
	ck_assert_int_eq(box_stat(a, "reclaimed"), 2);
	ck_assert_int_eq(box_stat(a, "raw"), 0);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), ENOENT);
	nothing_left(a);
	arena_done(a);
}
END_TEST

/* "ENOENT: there is none, or its owner died": without anybody's trim in between. */
START_TEST(find_after_owners_death)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL;
	make_and_die(name_of(a), "x", thing_init);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), ENOENT);
	ck_assert_int_eq(atomic_load(&counts->drops), 1);
	make_and_die(name_of(a), "x", thing_init);
	ck_assert_int_eq(shmb_box_drop(make(a, "x", &thing, SHMB_CREATED)), 0);
	ck_assert_int_eq(atomic_load(&counts->drops), 3);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(owner_dies_type_unknown)
{
	shmb_arena *a = begin(); /* this process has not registered the type */
	make_and_die(name_of(a), "x", thing_init);
	shmb_trim(a);
	ck_assert_int_eq(atomic_load(&counts->drops), 0);
	ck_assert_int_eq(box_stat(a, "reclaimed"), 0);
	ck_assert_int_eq(box_stat(a, "raw"), 1);
	nothing_left(a);
	arena_done(a);
}
END_TEST

START_TEST(own_from_the_dead)
{
	shmb_arena *a = begin();
	shmb_box *b = NULL;
	int status, up[2];
	ck_assert_int_eq(pipe(up), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		shmb_arena *mine = join(name_of(a));
		CHILD_ASSERT(shmb_box_find_or_new(mine, "x", &thing, thing_init, NULL, &b, NULL) == 0);
		CHILD_ASSERT(write(up[1], "x", 1) == 1);
		for (;;)
			pause();
	}
	hear(up[0]);
	ck_assert_int_eq(shmb_box_find(a, "x", &thing, &b), 0);
	ck_assert_int_eq(shmb_box_own(b), SHMB_EOWNED);
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(shmb_box_own(b), 0);
	shmb_trim(a); /* recovers: the box is not the dead one's any more */
	ck_assert(shmb_box_is_owner(b));
	ck_assert_ptr_eq(make(a, "x", &thing, SHMB_ATTACHED), b);
	ck_assert_int_eq(atomic_load(&counts->drops), 0);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	nothing_left(a);
	arena_done(a);
}
END_TEST

/* ---- races ---------------------------------------------------------------------------- */

static void hold_until_go(void)
{
	while (!atomic_load(&counts->go))
		sched_yield();
}

/* Slow on purpose: others come while it is half made. */
static int race_init(void *obj, void *arg)
{
	struct thing *t = obj;
	unsigned n = (unsigned)(uintptr_t)arg;
	atomic_fetch_add(&counts->inits[n], 1);
	if (!all_zero(t, sizeof *t))
		atomic_fetch_add(&counts->torn, 1);
	t->a = n + 1;
	for (unsigned i = 0; i < n % 5; i++)
		sched_yield();
	if (n % 10 == 9) {
		struct timespec ms = {0, 8000000}; /* longer than a waiter's patience */
		nanosleep(&ms, NULL);
	}
	t->b = ~t->a;
	return 0;
}

static void racer(const char *region, unsigned me)
{
	shmb_arena *a = join(region);
	hold_until_go();
	for (unsigned k = 0; k < RACE_NAMES; k++) {
		unsigned n = (k + me % 2) % RACE_NAMES;
		enum shmb_how how;
		char name[16];
		shmb_box *b;
		snprintf(name, sizeof name, "name %u", n);
		CHILD_ASSERT(shmb_box_find_or_new(a, name, &thing, race_init, (void *)(uintptr_t)n, &b, &how) == 0);
		const struct thing *t = shmb_box_get(b);
		if (t->a != n + 1 || t->b != ~t->a)
			atomic_fetch_add(&counts->torn, 1);
		atomic_fetch_add(how == SHMB_CREATED ? &counts->made : &counts->found, 1);
		if (how == SHMB_CREATED)
			CHILD_ASSERT(shmb_box_leak(b) == 0);
	}
	_exit(0);
}

START_TEST(one_maker_of_each_name)
{
	shmb_arena *a = begin();
	pid_t pids[RACERS];
	fflush(NULL);
	for (unsigned i = 0; i < RACERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			racer(name_of(a), i);
	}
	atomic_store(&counts->go, 1);
	for (unsigned i = 0; i < RACERS; i++)
		expect_exit(pids[i], 0);
	ck_assert_int_eq(atomic_load(&counts->torn), 0);
	ck_assert_int_eq(atomic_load(&counts->made), RACE_NAMES);
	ck_assert_int_eq(atomic_load(&counts->found), RACE_NAMES * (RACERS - 1));
	for (unsigned n = 0; n < RACE_NAMES; n++) {
		char name[16];
		ck_assert_int_eq(atomic_load(&counts->inits[n]), 1);
		snprintf(name, sizeof name, "name %u", n);
		shmb_box *b = make(a, name, &thing, SHMB_ATTACHED);
		ck_assert_int_eq(shmb_box_own(b), 0);
		ck_assert_int_eq(shmb_box_drop(b), 0);
	}
	nothing_left(a);
	arena_done(a);
}
END_TEST

/* Waits for a box that is being made: sees it whole, or after its maker's death makes it. */
static pid_t waiter(const char *region, int up)
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid)
		return pid;
	shmb_arena *a = join(region);
	enum shmb_how how;
	shmb_box *b;
	CHILD_ASSERT(write(up, "x", 1) == 1);
	CHILD_ASSERT(shmb_box_find_or_new(a, "x", &thing, thing_init, NULL, &b, &how) == 0);
	const struct thing *t = shmb_box_get(b);
	CHILD_ASSERT(t->a == 1 && t->b == ~(uint64_t)1);
	if (how == SHMB_CREATED) {
		atomic_fetch_add(&counts->made, 1);
		CHILD_ASSERT(shmb_box_leak(b) == 0);
	}
	_exit(0);
}

START_TEST(maker_dies_while_others_wait)
{
	shmb_arena *a = begin();
	pid_t pids[4];
	int status, up[2];
	ck_assert_int_eq(pipe(up), 0);
	ck_assert_int_eq(pipe(say), 0);
	fflush(NULL);
	pid_t dead = fork();
	if (dead == 0) {
		shmb_box *b;
		shmb_arena *mine = join(name_of(a));
		(void)shmb_box_find_or_new(mine, "x", &thing, init_and_stay, NULL, &b, NULL);
		_exit(97);
	}
	hear(say[0]);
	for (unsigned i = 0; i < 4; i++)
		pids[i] = waiter(name_of(a), up[1]);
	for (unsigned i = 0; i < 4; i++)
		hear(up[0]);
	kill(dead, SIGKILL);
	ck_assert_int_eq(waitpid(dead, &status, 0), dead);
	for (unsigned i = 0; i < 4; i++)
		expect_exit(pids[i], 0);
	ck_assert_int_eq(atomic_load(&counts->made), 1);
	shmb_box *b = make(a, "x", &thing, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_box_own(b), 0);
	ck_assert_int_eq(shmb_box_drop(b), 0);
	nothing_left(a);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("boxes_death", maker_dies, owner_dies, find_after_owners_death, owner_dies_type_unknown,
	                 own_from_the_dead, one_maker_of_each_name, maker_dies_while_others_wait);
}
