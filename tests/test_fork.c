/*
 * test_fork.c - the inherited arena in a child: used at once, with blocks
 * going both ways; forks under busy threads; what a child's end leaves.
 */
#include "tests_common.h"

#include <pthread.h>
#include <spawn.h>

static shmb_arena *a;

static void all_comes_back(void)
{
	for (unsigned i = 0; i < 3; i++)
		shmb_trim(a);
	struct walk w = walk_arena(a, false);
	ck_assert_msg(w.live + w.cached + w.stray + w.used + w.dirty == 0, "live %lu cached %lu stray %lu used %lu dirty %lu",
	              w.live, w.cached, w.stray, w.used, w.dirty);
	ck_assert_uint_eq(w.mags, 0);
}

static bool name_exists(void)
{
	char path[300];
	snprintf(path, sizeof path, "/dev/shm%s", shmb_region_name(shmb_arena_region(a)));
	return access(path, F_OK) == 0;
}

/* ---- one child ---------------------------------------------------------------------- */

enum { N = 600 };

static size_t size_of(unsigned i)
{
	return i % 50 ? 10 + i * 3 : 70000 + i;
}

static void fill(char **p, unsigned from, unsigned id)
{
	for (unsigned i = from; i < N; i += 2) {
		p[i] = shmb_malloc(a, size_of(i));
		CHILD_ASSERT(p[i]);
		stamp(p[i], size_of(i), id + i);
	}
}

static void empty(char *const *p, unsigned from, unsigned id)
{
	for (unsigned i = from; i < N; i += 2) {
		CHILD_ASSERT(stamped(p[i], size_of(i), id + i));
		shmb_free(a, p[i]);
	}
}

START_TEST(blocks_go_both_ways)
{
	a = arena_new(64 * MIB);
	char **p = shmb_malloc(a, N * sizeof *p); /* the address is the same in the child */
	fill(p, 0, 1000);
	holder_t mine = atomic_load(&a->holder);
	pid_t pid = fork();
	if (pid == 0) {
		CHILD_ASSERT(!shmb_region_is_owner(shmb_arena_region(a)));
		fill(p, 1, 2000); /* at once, while the parent waits for nothing */
		CHILD_ASSERT(atomic_load(&a->holder) && atomic_load(&a->holder) != mine);
		empty(p, 0, 1000); /* the parent's */
		_exit(0);
	}
	expect_exit(pid, 0);
	ck_assert_uint_eq(atomic_load(&a->holder), mine);
	empty(p, 1, 2000); /* the dead child's */
	shmb_free(a, p);
	ck_assert(name_exists());
	all_comes_back();
	arena_done(a);
}
END_TEST

START_TEST(parent_and_child_at_the_same_time)
{
	a = arena_new(64 * MIB);
	char *mine[N], *theirs[N];
	for (unsigned round = 0; round < 20; round++) {
		fill(mine, 0, 1);
		pid_t pid = fork();
		if (pid == 0) {
			fill(theirs, 1, 2);
			for (unsigned i = 0; i < 30; i++)
				fill(theirs, 0, 3), empty(theirs, 0, 3);
			empty(theirs, 1, 2);
			_exit(0);
		}
		for (unsigned i = 0; i < 30; i++)
			fill(mine, 1, 4), empty(mine, 1, 4);
		empty(mine, 0, 1);
		fill(mine, 0, 1);
		expect_exit(pid, 0);
		empty(mine, 0, 1);
	}
	all_comes_back();
	arena_done(a);
}
END_TEST

START_TEST(generations)
{
	a = arena_new(64 * MIB);
	char *p[N];
	fill(p, 0, 0);
	pid_t pid = fork();
	if (pid == 0) {
		fill(p, 1, 0);
		pid = fork();
		if (pid == 0) {
			empty(p, 0, 0);
			empty(p, 1, 0);
			pid = fork();
			if (pid == 0) {
				fill(p, 0, 5); /* its parent never used the arena after the fork: nothing of its own to lose */
				empty(p, 0, 5);
				_exit(0);
			}
		}
		int status;
		CHILD_ASSERT(waitpid(pid, &status, 0) == pid && status == 0);
		_exit(0);
	}
	expect_exit(pid, 0);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* ---- how a child ends ------------------------------------------------------------------ */

START_TEST(a_childs_end_leaves_the_region)
{
	a = arena_new(64 * MIB);
	char *p = shmb_malloc(a, 100);
	stamp(p, 100, 1);
	for (unsigned how = 0; how < 5; how++) {
		pid_t pid = fork();
		if (pid == 0) {
			(void)shmb_malloc(a, 1000);
			switch (how) {
			case 0:
				_exit(0);
			case 1:
				_exit(shmb_arena_close(a));
			case 2:
				_exit(raise(SIGKILL));
			case 3:
				execl("/bin/true", "true", (char *)NULL);
				_exit(98);
			default:
				quick_exit(0);
			}
		}
		int status;
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert(how == 2 ? WIFSIGNALED(status) : status == 0);
		ck_assert(name_exists());
		ck_assert(shmb_region_is_owner(shmb_arena_region(a)));
		ck_assert(stamped(p, 100, 1));
		ck_assert_ptr_nonnull(shmb_malloc(a, 1000));
	}
	shmb_trim(a);
	walk_arena(a, false);
	ck_assert_uint_eq(atomic_load(&a->hdr->slots_high), 2); /* each took the slot of the one before */
	arena_done(a);
}
END_TEST

/* No handler has told it that it is another process. */
START_TEST(a_bare_childs_exit_drops_no_box_of_its_parents)
{
	static const shmb_type type = SHMB_TYPE(int, NULL);
	shmb_box *box;
	int status;
	a = arena_new(64 * MIB);
	ck_assert_int_eq(shmb_box_new(a, &type, NULL, NULL, &box), 0);
	*(int *)shmb_box_get(box) = 41;
	fflush(NULL);
	pid_t pid = _Fork();
	if (pid == 0)
		exit(0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(name_exists());
	ck_assert(shmb_box_is_owner(box));
	ck_assert_int_eq(*(int *)shmb_box_get(box), 41);
	ck_assert_int_eq(shmb_box_drop(box), 0);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* After exec the slot is free: its new program holds nothing of it. */
START_TEST(exec_ends_the_tenure)
{
	a = arena_new(16 * MIB);
	int go[2];
	ck_assert_int_eq(pipe(go), 0);
	pid_t pid = fork();
	if (pid == 0) {
		(void)shmb_malloc(a, 1000);
		shmb_free(a, shmb_malloc(a, 500));
		dup2(go[0], STDIN_FILENO);
		close(go[1]);
		execl("/bin/sh", "sh", "-c", "read line; exit 7", (char *)NULL);
		_exit(98);
	}
	/* The lease goes with the address space; the program lives on, waiting for us. */
	while (atomic_load(&a->hdr->recoveries) == 0) {
		shmb_trim(a);
		sched_yield();
	}
	ck_assert_int_eq(write(go[1], "\n", 1), 1);
	expect_exit(pid, 7);
	struct walk w = walk_arena(a, false);
	ck_assert_uint_eq(w.live, 1); /* what it had not freed is still there */
	arena_done(a);
}
END_TEST

START_TEST(spawned_programs_cost_nothing)
{
	extern char **environ;
	a = arena_new(16 * MIB);
	for (unsigned i = 0; i < 10; i++) {
		pid_t pid;
		char *argv[] = {"true", NULL};
		shmb_free(a, shmb_malloc(a, 100));
		ck_assert_int_eq(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ), 0);
		expect_exit(pid, 0);
	}
	ck_assert_uint_eq(atomic_load(&a->hdr->slots_high), 1);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* ---- asked to recover ------------------------------------------------------------------- */

struct left {
	pid_t pid;
	shmb_ref refs[N];
};

/* A child that attaches on its own, allocates N blocks, frees half, and says where the others are. */
static struct left *start_victim(void)
{
	struct left *l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int say[2];
	ck_assert_int_eq(pipe(say), 0);
	pid_t pid = fork();
	if (pid == 0) {
		static char *p[N];
		shmb_arena *inherited = a;
		CHILD_ASSERT(!shmb_arena_open(shmb_region_name(shmb_arena_region(inherited)), NULL, &a));
		fill(p, 0, 9), fill(p, 1, 9);
		empty(p, 1, 9);
		for (unsigned i = 0; i < N; i += 2)
			l->refs[i] = shmb_ref_of(a, p[i]);
		CHILD_ASSERT(write(say[1], "x", 1) == 1);
		for (;;)
			pause();
	}
	close(say[1]);
	hear(say[0]);
	close(say[0]);
	l->pid = pid;
	return l;
}

static void kill_victim(const struct left *l)
{
	int status;
	ck_assert_int_eq(kill(l->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(l->pid, &status, 0), l->pid);
}

/* Its blocks are as they were, and can be freed. */
static void empty_victim(struct left *l)
{
	char *p[N];
	for (unsigned i = 0; i < N; i += 2) {
		p[i] = shmb_deref(a, l->refs[i], size_of(i));
		MUST(p[i] && stamped(p[i], size_of(i), 9 + i), "block %u of the dead", i);
	}
	empty(p, 0, 9);
	munmap(l, sizeof *l);
}

static uint32_t dead_now(void)
{
	shmb_info info;
	ck_assert_int_eq(shmb_info_name(shmb_region_name(shmb_arena_region(a)), &info), 0);
	return info.dead;
}

START_TEST(recover_counts_the_dead)
{
	a = arena_new(64 * MIB);
	ck_assert_int_eq(shmb_recover(a), 0); /* the first call of all */
	struct left *l = start_victim();
	ck_assert_int_eq(shmb_recover(a), 0); /* it lives */
	ck_assert_uint_eq(dead_now(), 0);
	kill_victim(l);
	ck_assert_uint_eq(dead_now(), 1);
	ck_assert_uint_gt(walk_arena(a, false).cached, 0);
	errno = ERANGE;
	ck_assert_int_eq(shmb_recover(a), 1);
	ck_assert_int_eq(shmb_recover(a), 0);
	ck_assert_int_eq(errno, ERANGE);
	ck_assert_uint_eq(dead_now(), 0);
	ck_assert_uint_eq(walk_arena(a, false).threads, 1); /* this thread's */
	empty_victim(l);
	all_comes_back();
	arena_done(a);
}
END_TEST

START_TEST(recover_counts_several)
{
	struct left *l[3];
	a = arena_new(64 * MIB);
	for (unsigned i = 0; i < 3; i++)
		l[i] = start_victim();
	kill_victim(l[0]);
	kill_victim(l[2]);
	ck_assert_uint_eq(dead_now(), 2);
	ck_assert_int_eq(shmb_recover(a), 2);
	kill_victim(l[1]);
	ck_assert_int_eq(shmb_recover(a), 1);
	for (unsigned i = 0; i < 3; i++)
		empty_victim(l[i]);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* Of many who ask at once one recovers, and the others are told that it was not they. */
static _Atomic unsigned recovered;
static pthread_barrier_t together;

static void *asks(void *arena)
{
	pthread_barrier_wait(&together);
	atomic_fetch_add(&recovered, (unsigned)shmb_recover(arena));
	return NULL;
}

START_TEST(recover_by_many_at_once)
{
	enum { ASKERS = 6 };
	pthread_t t[ASKERS];
	a = arena_new(64 * MIB);
	shmb_arena *b = arena_again(a);
	ck_assert_int_eq(pthread_barrier_init(&together, NULL, ASKERS), 0);
	for (unsigned round = 0; round < 20 / SLOW; round++) {
		struct left *l = start_victim();
		kill_victim(l);
		atomic_store(&recovered, 0);
		for (unsigned i = 0; i < ASKERS; i++)
			ck_assert_int_eq(pthread_create(&t[i], NULL, asks, i % 2 ? a : b), 0);
		for (unsigned i = 0; i < ASKERS; i++)
			pthread_join(t[i], NULL);
		ck_assert_uint_eq(atomic_load(&recovered), 1);
		empty_victim(l);
	}
	arena_done(b);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* Who looks only, is told 0; so is a child that finds its parent's dead: its first call attaches, which recovers. */
START_TEST(recover_read_only_and_in_a_child)
{
	shmb_options opt = {.flags = SHMB_READ_ONLY};
	shmb_arena *r;
	a = arena_new(64 * MIB);
	struct left *l = start_victim();
	kill_victim(l);
	ck_assert_int_eq(shmb_arena_open(shmb_region_name(shmb_arena_region(a)), &opt, &r), 0);
	ck_assert_int_eq(shmb_recover(r), 0);
	ck_assert_int_eq(shmb_arena_close(r), 0);
	ck_assert_uint_eq(dead_now(), 1);
	pid_t pid = fork();
	if (pid == 0) {
		CHILD_ASSERT(shmb_recover(a) == 0 && dead_now() == 0);
		CHILD_ASSERT(shmb_arena_close(a) == 0);
		_exit(0);
	}
	expect_exit(pid, 0);
	ck_assert_int_eq(shmb_recover(a), 0);
	empty_victim(l);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* ---- forks under threads ----------------------------------------------------------------- */

static _Atomic bool stop;
static _Atomic unsigned bad;

static void *busy(void *arg)
{
	struct rng r = {.s = (uintptr_t)arg * 101};
	static __thread char *p[200];
	size_t n[200] = {0};
	unsigned id = (unsigned)(uintptr_t)arg * 1000;
	while (!atomic_load(&stop)) {
		unsigned i = (unsigned)rnd_below(&r, 200);
		atomic_fetch_add(&bad, p[i] && !stamped(p[i], n[i], id + i));
		shmb_free(a, p[i]);
		n[i] = rnd_below(&r, i % 40 ? 2000 : 150000);
		p[i] = shmb_malloc(a, n[i]);
		atomic_fetch_add(&bad, !p[i]);
		stamp(p[i], n[i], id + i);
	}
	for (unsigned i = 0; i < 200; i++)
		shmb_free(a, p[i]);
	return NULL;
}

/* The child's own use, while the parent's threads run on over the same region. */
static void child_works(char *parents)
{
	char *p[N];
	fill(p, 0, 77);
	shmb_free(a, parents);
	fill(p, 1, 78);
	empty(p, 0, 77);
	shmb_trim(a);
	empty(p, 1, 78);
	_exit(0);
}

START_TEST(three_hundred_forks_under_three_busy_threads)
{
	pthread_t t[3];
	a = arena_new(256 * MIB);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, busy, (void *)(uintptr_t)(i + 1)), 0);
	for (unsigned i = 0; i < 300 / SLOW; i++) {
		char *p = shmb_malloc(a, 16 + i * 37);
		pid_t pid = fork();
		if (pid == 0)
			child_works(p);
		expect_exit(pid, 0);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	ck_assert_uint_eq(atomic_load(&bad), 0);
	ck_assert_uint_le(atomic_load(&a->hdr->slots_high), 2);
	all_comes_back();
	arena_done(a);
}
END_TEST

START_TEST(many_children_at_once)
{
	enum { CHILDREN = 24 };
	pid_t pid[CHILDREN];
	int gate[2];
	a = arena_new(512 * MIB);
	ck_assert_int_eq(pipe(gate), 0);
	for (unsigned i = 0; i < CHILDREN; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			char c, *p[N];
			close(gate[1]);
			CHILD_ASSERT(read(gate[0], &c, 1) == 0); /* all start together */
			for (unsigned k = 0; k < 5; k++) {
				fill(p, 0, i), fill(p, 1, i);
				empty(p, 0, i), empty(p, 1, i);
			}
			_exit(0);
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (unsigned i = 0; i < CHILDREN; i++)
		expect_exit(pid[i], 0);
	shmb_trim(a);
	ck_assert_uint_le(atomic_load(&a->hdr->slots_high), CHILDREN + 1);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* ---- slots ------------------------------------------------------------------------------- */

START_TEST(a_child_without_a_slot_gets_enomem_and_no_more)
{
	shmb_arena *h[60];
	pid_t pid[SHMB_SLOTS];
	int gate[2], done[2];
	unsigned n = 0;
	a = arena_new(64 * MIB);
	char *p = shmb_malloc(a, 100);
	stamp(p, 100, 3);
	ck_assert_int_eq(pipe(gate) | pipe(done), 0);
	for (unsigned i = 0; i < 60; i++)
		h[i] = arena_again(a); /* 61 slots are this process's */
	while (n < SHMB_SLOTS - 61 + 1) { /* one child too many */
		pid[n] = fork();
		if (pid[n] == 0) {
			char c;
			close(gate[1]);
			errno = 0;
			void *q = shmb_malloc(a, 100);
			bool last = n == SHMB_SLOTS - 61;
			bool right = (last ? !q && errno == ENOMEM : q != NULL) && stamped(p, 100, 3) && !shmb_recover(a);
			CHILD_ASSERT(write(done[1], right ? "y" : "n", 1) == 1);
			CHILD_ASSERT(read(gate[0], &c, 1) == 0);
			_exit(0);
		}
		char c;
		ck_assert_int_eq(read(done[0], &c, 1), 1);
		ck_assert_msg(c == 'y', "child %u, of whom the last has no slot", n);
		n++;
	}
	close(gate[1]);
	while (n)
		expect_exit(pid[--n], 0);
	for (unsigned i = 0; i < 60; i++)
		arena_done(h[i]);
	arena_done(a);
}
END_TEST

/* ---- what a thread left behind before the fork -------------------------------------------------- */

enum { SIZE = 64, CLASS = SIZE / GRAIN - 1, FULL = (DEPOT_CELLS + INBOX_CELLS + 14) * MAG_ROUNDS };
static void *others[FULL];

static void *frees_others(void *arg)
{
	shmb_arena *b = arg;
	for (unsigned i = 0; i < FULL; i++)
		shmb_free(b, through(b, a, others[i]));
	return NULL;
}

/* The thread's magazines find no place: its record waits for another of the same process, not for a child. */
START_TEST(a_childs_thread_records_are_its_own)
{
	a = arena_new(64 * MIB);
	shmb_arena *b = arena_again(a);
	pthread_t t;
	for (unsigned i = 0; i < FULL; i++)
		MUST((others[i] = shmb_malloc(a, SIZE)), "no memory");
	ck_assert_int_eq(pthread_create(&t, NULL, frees_others, b), 0);
	pthread_join(t, NULL);
	ck_assert_uint_gt(walk_arena(a, false).backlog, 0);
	pid_t pid = fork();
	if (pid == 0) {
		void *p = shmb_malloc(b, SIZE);
		CHILD_ASSERT(p);
		struct tctx *mine = context_of(b);
		CHILD_ASSERT(mine->arena == b && mine->hold == atomic_load(&b->hold));
		CHILD_ASSERT(atomic_load(&mine->shm->owner) == mine->hold);
		shmb_free(b, p);
		_exit(0);
	}
	expect_exit(pid, 0);
	for (unsigned i = 0; i < 4; i++)
		shmb_trim(a), shmb_trim(b);
	ck_assert_uint_eq(walk_arena(a, false).cached, 0);
	arena_done(b);
	all_comes_back();
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("fork", blocks_go_both_ways, parent_and_child_at_the_same_time, generations,
	                 a_childs_end_leaves_the_region, a_bare_childs_exit_drops_no_box_of_its_parents,
	                 exec_ends_the_tenure, spawned_programs_cost_nothing,
	                 recover_counts_the_dead, recover_counts_several, recover_by_many_at_once,
	                 recover_read_only_and_in_a_child,
	                 three_hundred_forks_under_three_busy_threads, many_children_at_once,
	                 a_child_without_a_slot_gets_enomem_and_no_more, a_childs_thread_records_are_its_own);
}
