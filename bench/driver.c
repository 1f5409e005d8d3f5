/*
 * driver.c - runs one workload once and prints "ns-per-operation operations", and where the workload takes further figures "name ns" of each.
 *
 *   driver WORK EXPECT MS         measure for MS milliseconds after a warm-up
 *   driver WORK EXPECT count FD   for count.c: see run_counted()
 *   driver WORK EXPECT memory     what memory it takes, in place of time: memory.c
 *
 * EXPECT: part of the file name of the object that malloc must come from.
 *
 * Each party warms up on its own for a fifth of the time, waits for the
 * other, then works until the time is over. One party: the figure is the
 * processor time of its thread, so that what else runs here counts little.
 * Several: wall time over the operations of one of them, since waiting counts.
 */
#include "alloc.h"
#include "bench.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WARM_SHARE = 5, COUNTED_STEPS = 1, COUNTED_WARM_STEPS = 400 };

static uint64_t run_ns;

void bench_die(const char *what)
{
	fprintf(stderr, "bench: %s\n", what);
	_exit(1);
}

size_t bench_mapped;

void *bench_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED)
		bench_die("no memory for the driver itself");
	bench_mapped += (bytes + 4095) / 4096 * 4096;
	return p;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Each party has a processor of its own where there are enough; one alone leaves 0 to the rest. */
static void pin(const struct work *w, unsigned index)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;
	if (cpus < 2)
		return;
	CPU_ZERO(&set);
	CPU_SET(w->parties == 1 ? 1 : index % (unsigned)cpus, &set);
	(void)sched_setaffinity(0, sizeof set, &set);
}

static uint64_t work_until(struct party *p, uint64_t length_ns, bool ends_run)
{
	struct shared *s = p->shared;
	bool follows = p->work->chained && p->index > 0;
	uint64_t ops = 0, until = now_ns() + length_ns;
	do
		ops += p->work->step(p);
	while (follows ? !atomic_load(&s->over) : !p->work->cold && now_ns() < until);
	if (ends_run && p->work->chained && !follows)
		atomic_store(&s->over, true);
	return ops;
}

static void *party_run(void *arg)
{
	struct party *p = arg;
	struct shared *s = p->shared;
	pin(p->work, p->index);
	p->work->begin(p);
	if (!p->work->cold && (!p->work->chained || p->index == 0)) /* he who follows is at work already */
		(void)work_until(p, run_ns / WARM_SHARE, false);
	if (!p->work->chained)
		pthread_barrier_wait(&s->barrier);
	clockid_t clock = p->work->parties == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
	s->result[p->index].begin_ns = clock_ns(clock);
	s->result[p->index].ops = work_until(p, run_ns, true);
	s->result[p->index].end_ns = clock_ns(clock);
	p->work->end(p);
	return NULL;
}

static void parties_in_threads(struct party *parties, unsigned n)
{
	pthread_t threads[PARTIES_MAX];
	for (unsigned i = 1; i < n; i++)
		if (pthread_create(&threads[i], NULL, party_run, &parties[i]))
			bench_die("no thread");
	party_run(&parties[0]);
	for (unsigned i = 1; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void parties_in_processes(struct party *parties, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0)
			bench_die("no process");
		if (pid == 0) {
			party_run(&parties[i]);
			_exit(0);
		}
	}
	party_run(&parties[0]);
	for (unsigned i = 1; i < n; i++) {
		int status;
		if (wait(&status) < 0 || status)
			bench_die("a party died");
	}
}

/*
 * Tells count.c where the driver's text, malloc and free are, then works
 * between two stops; count.c steps through what lies between them.
 */
static void run_counted(struct party *p, int fd)
{
	extern char __executable_start, etext;
	uint64_t said[] = {(uintptr_t)&__executable_start, (uintptr_t)&etext, (uintptr_t)BENCH_MALLOC_ENTRY,
	                   (uintptr_t)BENCH_FREE_ENTRY};
	if (p->work->parties != 1)
		bench_die("only work of one party can be counted");
	p->work->begin(p);
	for (unsigned i = 0; i < COUNTED_WARM_STEPS; i++)
		p->work->step(p);
	if (write(fd, said, sizeof said) != sizeof said)
		bench_die("nobody counts");
	raise(SIGSTOP);
	for (unsigned i = 0; i < COUNTED_STEPS; i++)
		p->work->step(p);
	raise(SIGSTOP);
	p->work->end(p);
}

static void run_timed(struct party *parties, const struct work *w, struct shared *s)
{
	if (w->kind != IN_THREADS)
		parties_in_processes(parties, w->parties);
	else
		parties_in_threads(parties, w->parties);
	double sum = 0;
	unsigned counted = w->chained ? 1 : w->parties;
	for (unsigned i = 0; i < counted; i++)
		sum += (double)(s->result[i].end_ns - s->result[i].begin_ns) / (double)s->result[i].ops;
	printf("%.3f %llu%s\n", sum / counted, (unsigned long long)s->result[0].ops, s->more);
}

int main(int argc, char **argv)
{
	const struct work *w = argc >= 4 ? work_named(argv[1]) : NULL;
	if (!w) {
		fprintf(stderr, "usage: %s WORK EXPECT MS | WORK EXPECT count FD | WORK EXPECT memory\n", argv[0]);
		return 2;
	}
	struct shared *s = bench_map(sizeof *s);
	pthread_barrierattr_t attr;
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&s->barrier, &attr, w->parties);
	s->meeting = w->meeting_new ? w->meeting_new() : NULL;
	struct party parties[PARTIES_MAX];
	for (unsigned i = 0; i < w->parties; i++)
		parties[i] = (struct party){.work = w, .shared = s, .index = i, .rng = 88172645463325252u + i * 977};
	run_ns = strtoull(argv[3], NULL, 10) * 1000000u;
	alarm(60); /* a party that died must not leave the other waiting */
	backend_open(argv[2]);
	if (w->kind != IN_THREADS && backend_reach() == REACH_ONE)
		bench_die("a heap for one process only");
	if (w->kind == ON_ONE_HEAP && backend_reach() != REACH_ALL)
		bench_die("private heaps cannot free each other's blocks");
	s->apart = w->kind == IN_PROCESSES;
	if (!strcmp(argv[3], "count") && argc == 5)
		run_counted(&parties[0], atoi(argv[4]));
	else if (!strcmp(argv[3], "memory"))
		memory_run(parties, w);
	else
		run_timed(parties, w, s);
	backend_close();
	return 0;
}
