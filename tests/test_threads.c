/*
 * test_threads.c - many threads, short threads, threads that end in the
 * allocator, and signal handlers that allocate: at 10 kHz, and at every
 * single instruction. SAN=thread runs all but the last.
 */
#include "tests_common.h"

#include "orphan.h"

#include <pthread.h>
#include <sys/ptrace.h>
#include <sys/time.h>

static shmb_arena *a;

static void all_comes_back(void)
{
	for (unsigned i = 0; i < 3; i++)
		shmb_trim(a);
	struct walk w = walk_arena(a, false);
	ck_assert_msg(w.live + w.cached + w.stray + w.used + w.dirty == 0, "live %lu cached %lu stray %lu used %lu dirty %lu",
	              w.live, w.cached, w.stray, w.used, w.dirty);
}

static void run_threads(unsigned n, void *(*body)(void *))
{
	pthread_t t[64];
	uintptr_t bad = 0;
	for (unsigned i = 0; i < n; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, body, (void *)(uintptr_t)(i + 1)), 0);
	for (unsigned i = 0; i < n; i++) {
		void *r;
		pthread_join(t[i], &r);
		bad += (uintptr_t)r;
	}
	ck_assert_uint_eq(bad, 0);
}

/* ---- exchange -------------------------------------------------------------------- */

/* A block whose first words say what the rest must be. */
struct parcel {
	uint32_t size, id;
};

enum { SHELF = 1000 };
static _Atomic(struct parcel *) shelf[SHELF];

static struct parcel *parcel_make(size_t size, uint32_t id)
{
	struct parcel *p = shmb_malloc(a, sizeof *p + size);
	if (!p)
		return NULL;
	*p = (struct parcel){.size = (uint32_t)size, .id = id};
	stamp(p + 1, size, id);
	return p;
}

/* 1 where the block is not as it was made. */
static unsigned parcel_end(struct parcel *p)
{
	unsigned bad = p && !stamped(p + 1, p->size, p->id);
	shmb_free(a, p);
	return bad;
}

static size_t parcel_size(struct rng *r)
{
	uint64_t kind = rnd_below(r, 100);
	return kind < 80 ? rnd_below(r, 500) : kind < 99 ? rnd_below(r, 9000) : rnd_below(r, 200000);
}

static void *exchanger(void *arg)
{
	struct rng r = {.s = (uintptr_t)arg * 7919};
	uintptr_t bad = 0;
	for (unsigned i = 0; i < 20000 / SLOW; i++) {
		struct parcel *p = parcel_make(parcel_size(&r), (uint32_t)rnd(&r));
		bad += !p;
		bad += parcel_end(atomic_exchange(&shelf[rnd_below(&r, SHELF)], p));
		p = atomic_exchange(&shelf[rnd_below(&r, SHELF)], NULL);
		if (p && rnd_below(&r, 4) == 0 && stamped(p + 1, p->size, p->id)) { /* reallocated by another */
			uint32_t size = (uint32_t)parcel_size(&r);
			struct parcel *q = shmb_realloc(a, p, sizeof *p + size);
			bad += !q || !stamped(q + 1, q->size < size ? q->size : size, q->id);
			q->size = size;
			stamp(q + 1, size, q->id);
			p = q;
		}
		bad += parcel_end(p);
	}
	return (void *)bad;
}

START_TEST(eight_threads_exchange_blocks)
{
	a = arena_new(512 * MIB);
	run_threads(8, exchanger);
	walk_arena(a, false);
	for (unsigned i = 0; i < SHELF; i++)
		ck_assert_uint_eq(parcel_end(atomic_exchange(&shelf[i], NULL)), 0);
	all_comes_back();
	ck_assert_uint_le(walk_arena(a, true).threads, 1);
	arena_done(a);
}
END_TEST

/* ---- short threads ------------------------------------------------------------------ */

static void *short_life(void *arg)
{
	struct rng r = {.s = (uintptr_t)arg * 31};
	struct parcel *p[40];
	uintptr_t bad = 0;
	for (unsigned i = 0; i < 40; i++)
		p[i] = parcel_make(rnd_below(&r, 3000), i);
	for (unsigned i = 0; i < 40; i++)
		bad += parcel_end(p[i]);
	return (void *)bad;
}

START_TEST(a_hundred_thousand_short_threads_leave_nothing)
{
	a = arena_new(256 * MIB);
	for (unsigned i = 0; i < 1000; i++)
		run_threads(1, short_life);
	uint64_t bytes = file_bytes(a), used = units_used(a);
	for (unsigned i = 0; i < 99000 / SLOW; i++)
		run_threads(1, short_life);
	ck_assert_uint_eq(walk_arena(a, false).threads, 0);
	ck_assert_uint_eq(atomic_load(&a->hdr->threads_ready), PAGE / sizeof(struct thread_shm)); /* one page of records */
	ck_assert_uint_le(units_used(a), used + 4);
	ck_assert_uint_le(file_bytes(a), bytes + 8 * UNIT);
	all_comes_back();
	arena_done(a);
}
END_TEST

START_TEST(crowds_of_threads_reuse_records)
{
	a = arena_new(512 * MIB);
	for (unsigned i = 0; i < 20 / SLOW; i++)
		run_threads(50, short_life);
	ck_assert_uint_le(atomic_load(&a->hdr->threads_ready), 56);
	ck_assert_uint_eq(walk_arena(a, false).threads, 0);
	all_comes_back();
	arena_done(a);
}
END_TEST

static _Atomic bool ready, others_done;

static void *idle_user(void *arg)
{
	shmb_arena *mine = arg;
	shmb_free(mine, shmb_malloc(mine, 100));
	atomic_store(&ready, true);
	while (!atomic_load(&others_done))
		sched_yield();
	return NULL;
}

/* A thread outlives the arena it used, and uses the next one in the same handle. */
START_TEST(close_under_an_idle_thread)
{
	pthread_t t;
	for (unsigned i = 0; i < 70; i++) { /* all handles, and some again */
		a = arena_new(8 * MIB);
		atomic_store(&ready, false);
		atomic_store(&others_done, false);
		ck_assert_int_eq(pthread_create(&t, NULL, idle_user, a), 0);
		while (!atomic_load(&ready))
			sched_yield();
		ck_assert_ptr_nonnull(shmb_malloc(a, 50));
		arena_done(a);
		atomic_store(&others_done, true);
		pthread_join(t, NULL);
	}
}
END_TEST

/* Frees as a handler does that interrupted the allocator, and collects, as the others do meanwhile. */
static void *strays(void *arg)
{
	struct rng r = {.s = (uintptr_t)arg * 17};
	struct parcel *p[60];
	uintptr_t bad = 0;
	for (unsigned round = 0; round < 400 / SLOW; round++) {
		for (unsigned i = 0; i < 60; i++)
			bad += !(p[i] = parcel_make(rnd_below(&r, 400), i));
		for (unsigned i = 0; i < 60; i++) {
			bad += !stamped(p[i] + 1, p[i]->size, i);
			if (i % 3)
				shmb_free(a, p[i]);
			else
				block_stray(a, (uint32_t)(((char *)p[i] - a->data) / GRAIN));
		}
		shmb_trim(a);
	}
	return (void *)bad;
}

START_TEST(strays_are_collected_once)
{
	a = arena_new(64 * MIB);
	run_threads(4, strays);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* ---- all of it at once ---------------------------------------------------------------- */

static void *swaps(void *arg)
{
	struct rng r = {.s = (uintptr_t)arg};
	uintptr_t bad = 0;
	for (unsigned i = 0; i < 200; i++) {
		struct parcel *p = parcel_make(parcel_size(&r), i);
		bad += !p;
		bad += parcel_end(atomic_exchange(&shelf[rnd_below(&r, SHELF)], p));
	}
	return (void *)bad;
}

/* By a thread that ends with full magazines. */
static unsigned swaps_by_another(uint64_t seed)
{
	pthread_t t;
	void *bad;
	if (pthread_create(&t, NULL, swaps, (void *)(uintptr_t)seed))
		return 1;
	pthread_join(t, &bad);
	return bad != NULL;
}

static pthread_mutex_t visits = PTHREAD_MUTEX_INITIALIZER;
static shmb_arena *visited; /* by the threads that did not make it */

static unsigned visit(void)
{
	unsigned bad = 0;
	pthread_mutex_lock(&visits);
	if (visited) {
		void *p = shmb_malloc(visited, 100);
		bad = !p;
		shmb_free(visited, p);
	}
	pthread_mutex_unlock(&visits);
	return bad;
}

static void visits_begin(shmb_arena *own)
{
	pthread_mutex_lock(&visits);
	if (!visited)
		visited = own;
	pthread_mutex_unlock(&visits);
}

static void visits_end(const shmb_arena *own)
{
	pthread_mutex_lock(&visits);
	if (visited == own)
		visited = NULL;
	pthread_mutex_unlock(&visits);
}

/* An arena of this thread's own, for a moment; others look in, and still have contexts of it when it closes. */
static unsigned arena_for_a_moment(unsigned thread, struct rng *r)
{
	shmb_options opt = {.size = 16 * MIB, .flags = SHMB_CREATE_ONLY};
	char name[64];
	shmb_arena *own;
	unsigned bad = 0;
	snprintf(name, sizeof name, "/shmb-test-%d-moment-%u", (int)tests_pid, thread);
	if (shmb_arena_open(name, &opt, &own))
		return 1;
	visits_begin(own);
	for (unsigned i = 0; i < 50; i++) {
		size_t size = rnd_below(r, i % 10 ? 3000 : 300000);
		char *p = shmb_malloc(own, size);
		bad += !p || shmb_arena_of(p) != own;
		if (p)
			stamp(p, size, i);
		if (i % 4)
			shmb_free(own, p);
	}
	sched_yield();
	visits_end(own);
	return bad + (shmb_arena_close(own) != 0);
}

static const shmb_type word = SHMB_TYPE(uint64_t, NULL);

/* A box under one of few names, made and dropped by one of the threads, found by the others. */
static unsigned box_for_a_moment(struct rng *r)
{
	char name[32];
	shmb_box *box;
	enum shmb_how how;
	snprintf(name, sizeof name, "box-%u", (unsigned)rnd_below(r, 6));
	int err = shmb_box_find_or_new(a, name, &word, NULL, NULL, &box, &how);
	if (err || how != SHMB_CREATED)
		return err != 0;
	return shmb_box_drop(box) != 0;
}

static void *everything(void *arg)
{
	struct rng r = {.s = (uintptr_t)arg * 15485863};
	uintptr_t bad = 0;
	for (unsigned i = 0; i < 200 / SLOW; i++) {
		bad += (uintptr_t)swaps((void *)(uintptr_t)rnd(&r));
		for (unsigned k = 0; k < 10; k++)
			bad += box_for_a_moment(&r) + visit();
		if (i % 4 == 0)
			bad += swaps_by_another(rnd(&r));
		if (i % 8 == 0)
			shmb_trim(a);
		if (i % 8 == 4)
			bad += arena_for_a_moment((unsigned)(uintptr_t)arg, &r);
	}
	return (void *)bad;
}

START_TEST(threads_and_arenas_come_and_go)
{
	a = arena_new(512 * MIB);
	run_threads(6, everything);
	walk_arena(a, false);
	for (unsigned i = 0; i < SHELF; i++)
		ck_assert_uint_eq(parcel_end(atomic_exchange(&shelf[i], NULL)), 0);
	shmb_trim(a);
	ck_assert_uint_le(walk_arena(a, false).threads, 1);
	arena_done(a);
}
END_TEST

/* ---- at the end of a thread --------------------------------------------------------- */

/*
 * The C library makes four rounds of destructors. jemalloc's last one comes
 * two rounds after the last call, and in the fourth there is nothing left of
 * ThreadSanitizer's record of the thread.
 */
enum { ENDINGS = 32 / SLOW, MORE_ROUNDS = UNDER_TSAN ? 0 : 2 };
static pthread_key_t before, after;
static _Atomic unsigned destroyed, damaged;

/* Frees what the thread left, allocates, and comes round again a few times. */
static void destructor(pthread_key_t key, struct parcel *p)
{
	uint32_t rounds = p->id;
	atomic_fetch_add(&destroyed, 1);
	atomic_fetch_add(&damaged, parcel_end(p));
	for (unsigned i = 0; i < 150; i++) { /* enough for the magazines to be spilled */
		p = parcel_make(i, i);
		atomic_fetch_add(&damaged, !p || parcel_end(p));
	}
	p = shmb_realloc(a, parcel_make(50, 7), 200000);
	atomic_fetch_add(&damaged, !p || !stamped(p + 1, 50, 7));
	shmb_free(a, p);
	if (rounds)
		pthread_setspecific(key, parcel_make(100, rounds - 1));
}

static void destroy_before(void *p) { destructor(before, p); }
static void destroy_after(void *p) { destructor(after, p); }

static void *ending(void *arg)
{
	(void)arg;
	pthread_setspecific(before, parcel_make(100, MORE_ROUNDS));
	pthread_setspecific(after, parcel_make(100, MORE_ROUNDS));
	return NULL;
}

START_TEST(destructors_of_threads_allocate_and_free)
{
	ck_assert_int_eq(pthread_key_create(&before, destroy_before), 0); /* older than the library's own */
	a = arena_new(256 * MIB);
	ck_assert_int_eq(pthread_key_create(&after, destroy_after), 0);
	for (unsigned i = 0; i < ENDINGS; i++)
		run_threads(4, ending);
	ck_assert_uint_eq(atomic_load(&damaged), 0);
	ck_assert_uint_eq(atomic_load(&destroyed), ENDINGS * 4 * 2 * (1 + MORE_ROUNDS));
	ck_assert_uint_eq(walk_arena(a, false).threads, 0);
	all_comes_back();
	arena_done(a);
}
END_TEST

/* ---- signal handlers ------------------------------------------------------------------ */

enum { RING = 2 * MAG_ROUNDS + 12 };
static struct parcel *ring[RING]; /* the handler's; only it touches them */
static volatile unsigned handled, handler_bad;

/* Replaces `n` blocks: frees in a row, then allocates, so that magazines go both ways. */
static void handler_work(unsigned n)
{
	static unsigned at;
	int saved = errno;
	for (unsigned i = 0; i < n; i++)
		handler_bad += parcel_end(ring[(at + i) % RING]);
	for (unsigned i = 0; i < n; i++) {
		ring[(at + i) % RING] = parcel_make(40 + i % 3 * 30, at + i);
		handler_bad += !ring[(at + i) % RING];
	}
	at += n;
	handled++;
	errno = saved;
}

static void on_timer(int sig)
{
	(void)sig;
	handler_work(handled % 16 ? 3 : RING);
}

static void ring_end(void)
{
	for (unsigned i = 0; i < RING; i++)
		ck_assert_uint_eq(parcel_end(ring[i]), 0);
}

START_TEST(a_handler_allocates_at_ten_kilohertz)
{
	static struct parcel *mine[500];
	struct itimerval every = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
	struct rng r = {.s = 3};
	unsigned bad = 0;
	a = arena_new(512 * MIB);
	shmb_free(a, shmb_malloc(a, 10));
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_timer, .sa_flags = SA_RESTART}, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (unsigned i = 0; handled < 3000 / SLOW; i++) {
		struct parcel **p = &mine[rnd_below(&r, 500)];
		bad += parcel_end(*p);
		*p = parcel_make(40 + i % 3 * 30, i);
		bad += !*p;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	ck_assert_uint_eq(handler_bad, 0);
	for (unsigned i = 0; i < 500; i++)
		bad += parcel_end(mine[i]);
	ck_assert_uint_eq(bad, 0);
	ring_end();
	walk_arena(a, false);
	all_comes_back();
	arena_done(a);
}
END_TEST

#if defined(__x86_64__)
/* ---- the same at every instruction ------------------------------------------------------ */

enum { KEPT = 2 * MAG_ROUNDS };

/* What is interrupted: one call, with the magazines in the state that `fill` asks for. */
struct scene {
	unsigned fill; /* blocks of the class that are cached */
	bool frees;
	bool handler_frees, handler_takes; /* more than both magazines hold */
};
static const struct scene *scene;

static void on_signal(int sig)
{
	(void)sig;
	for (unsigned i = 0; i < RING && scene->handler_frees; i++) {
		handler_bad += parcel_end(ring[i]);
		ring[i] = NULL;
	}
	for (unsigned i = 0; i < RING && scene->handler_takes; i++)
		handler_bad += !(ring[i] = parcel_make(40, i));
}

static struct parcel *mine[KEPT * 2]; /* the last is the one that is freed, or made */

static void scene_set(void)
{
	a = arena_new(64 * MIB);
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL);
	for (unsigned i = 0; i < RING && scene->handler_frees; i++)
		ring[i] = parcel_make(40, i);
	for (unsigned i = 0; i < KEPT * 2; i++)
		CHILD_ASSERT((mine[i] = parcel_make(40, i)));
	struct walk w = walk_arena(a, true);
	for (unsigned i = 0; w.cached + i < scene->fill; i++) {
		parcel_end(mine[i]);
		mine[i] = NULL;
	}
}

/* Nothing is listed twice, nothing is lost, every block is as it was left. */
static void scene_check(void)
{
	struct parcel *more[KEPT * 2];
	CHILD_ASSERT(!handler_bad);
	walk_arena(a, true);
	for (unsigned i = 0; i < KEPT * 2; i++) /* whatever is listed twice is handed out twice now */
		CHILD_ASSERT((more[i] = parcel_make(40, i + 1000)));
	for (unsigned i = 0; i < KEPT * 2; i++)
		CHILD_ASSERT(!parcel_end(mine[i]) && !parcel_end(more[i]));
	for (unsigned i = 0; i < RING; i++)
		CHILD_ASSERT(!parcel_end(ring[i]));
	all_comes_back();
	arena_done(a); /* _exit would leave the name */
}

/* In the child: the one call, marked for the parent by two traps. */
static void perform(void)
{
	struct parcel **it = &mine[KEPT * 2 - 1], *p = NULL;
	scene_set();
	if (!scene->frees)
		parcel_end(*it);
	__asm__ volatile("int3" ::: "memory");
	if (scene->frees)
		shmb_free(a, *it);
	else
		p = shmb_malloc(a, sizeof *p + 40);
	__asm__ volatile("int3" ::: "memory");
	*it = p;
	if (!scene->frees) {
		CHILD_ASSERT(p);
		*p = (struct parcel){.size = 40, .id = 12345};
		stamp(p + 1, 40, 12345);
	}
	scene_check();
}

static int stopped_by(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	return WSTOPSIG(status);
}

/* At an int3, or after a single step? */
static bool at_trap(pid_t pid)
{
	siginfo_t info;
	ck_assert_int_eq(ptrace(PTRACE_GETSIGINFO, pid, NULL, &info), 0);
	return info.si_code == SI_KERNEL;
}

/* Runs the scene with one signal after `steps` instructions; false: the call was over before. */
static bool interrupted_after(unsigned steps)
{
	bool inside = true;
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		perform();
		_exit(0);
	}
	ck_assert_int_eq(stopped_by(pid), SIGTRAP); /* the first mark */
	for (unsigned i = 0; inside && i < steps; i++) {
		ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
		ck_assert_int_eq(stopped_by(pid), SIGTRAP);
		inside = !at_trap(pid);
	}
	ptrace(PTRACE_CONT, pid, NULL, (void *)(long)(inside ? SIGUSR1 : 0));
	if (inside && stopped_by(pid) == SIGTRAP) /* the second mark */
		ptrace(PTRACE_CONT, pid, NULL, NULL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	              "%s with %u blocks cached, handler frees %d takes %d after %u instructions: status %#x",
	              scene->frees ? "free" : "malloc", scene->fill, scene->handler_frees, scene->handler_takes, steps, status);
	return inside;
}

/* Each state of the pair and the depot, under each way a handler can turn it over. */
static const unsigned fills[] = {30, 0, KEPT, KEPT + MAG_ROUNDS + 30};

static void interrupted_everywhere(unsigned fill, unsigned how)
{
	static struct scene s;
	s = (struct scene){.fill = fill, .frees = how & 1, .handler_frees = how / 2 != 1, .handler_takes = how / 2 != 0};
	scene = &s;
	unsigned step = SLOW * (fill == fills[0] ? 1 : 3);
	for (unsigned n = 0; n < 4000 && interrupted_after(n);) /* the short way at every one, the long way at some */
		n += n < 42 * SLOW ? step : 487;
}

START_TEST(a_handler_after_any_instruction)
{
	NOT_UNDER_TSAN("a_handler_after_any_instruction", "most steps would be the sanitizer's own, whose handler runs later");
	pid_t pid = fork(); /* may we trace at all? */
	if (pid == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
	int status;
	waitpid(pid, &status, 0);
	if (status) {
		printf("note: ptrace is not permitted: no handler after every instruction\n");
		return;
	}
	for (unsigned i = 0; i < sizeof fills / sizeof *fills; i++)
		for (unsigned how = 0; how < 6; how++)
			interrupted_everywhere(fills[i], how);
}
END_TEST
#else
START_TEST(a_handler_after_any_instruction)
{
	printf("note: a handler after every instruction is tried on x86-64 only\n");
}
END_TEST
#endif

int main(void)
{
	return TESTS_RUN("threads", eight_threads_exchange_blocks, a_hundred_thousand_short_threads_leave_nothing,
	                 crowds_of_threads_reuse_records, close_under_an_idle_thread, strays_are_collected_once,
	                 threads_and_arenas_come_and_go, destructors_of_threads_allocate_and_free,
	                 a_handler_allocates_at_ten_kilohertz, a_handler_after_any_instruction);
}
