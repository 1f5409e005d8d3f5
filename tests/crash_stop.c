/*
 * crash_stop.c - a process that is stopped anywhere inside malloc and free
 * holds up nobody.
 *
 * The victim allocates and frees all classes, with refills and spills, in two
 * threads, and is sent SIGSTOP at random moments. While it stands the parent
 * does PAIRS allocations and frees of all classes in bursts large enough to go
 * to the depot and to the engine. It must get through each time: nothing in
 * malloc and free may wait for another process. WATCHDOG_S is generous and is
 * for a wait without end, it measures nothing.
 *
 *   crash_stop [STOPS [PAIRS]]      STOPS: 200 by default, PAIRS: 100,000
 */
#include "shmbind.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BURST = 150, BURST_BYTES = 1 << 20, WATCHDOG_S = 10, CLASS_STEPS = 43 };
#define CAPACITY ((size_t)1 << 30)

static char name[64];
static shmb_arena *arena;
static pid_t victim;
static _Atomic uint64_t *turns; /* shared: of the victim's threads together */
static volatile sig_atomic_t stops_done;

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	return *s ^= *s << 17;
}

static _Noreturn void end(int code)
{
	if (victim > 0)
		kill(victim, SIGKILL);
	shmb_remove_name(name);
	_exit(code);
}

/* What the process is at, for who is told that it takes too long. */
static const char *volatile doing = "";
static volatile size_t doing_size;
static volatile unsigned doing_n;

static void too_long(int sig)
{
	(void)sig;
	if (dprintf(2, "FAIL: no progress while another process is stopped: %s, number %u of %zu bytes\n", doing, doing_n,
	            doing_size) < 0 || getenv("STOP_HOLD"))
		pause();
	end(1);
}

/* A size in the n-th of CLASS_STEPS steps from 16 bytes to 56 KiB. */
static size_t size_of(unsigned n)
{
	if (n < 8)
		return (n + 1) * 16;
	size_t base = (size_t)128 << (n - 8) / 4;
	return base + base / 4 * ((n - 8) % 4 + 1);
}

/* Many blocks of one size at a time: more than two magazines, and of the large ones than the depot, hold. */
static unsigned burst(shmb_arena *a, unsigned step, uint32_t id)
{
	uint32_t *blocks[BURST];
	unsigned n = BURST_BYTES / size_of(step) < BURST ? (unsigned)(BURST_BYTES / size_of(step)) : BURST;
	doing = "malloc";
	doing_size = size_of(step);
	for (unsigned i = 0; i < n; i++) {
		doing_n = i;
		blocks[i] = shmb_malloc(a, size_of(step));
		if (!blocks[i]) {
			fprintf(stderr, "FAIL: malloc of %zu: %s\n", size_of(step), strerror(errno));
			end(1);
		}
		*blocks[i] = id ^ i;
	}
	doing = "free";
	for (unsigned i = 0; i < n; i++) {
		doing_n = i;
		if (*blocks[i] != (id ^ i)) {
			fprintf(stderr, "FAIL: a block of %zu bytes has two owners\n", size_of(step));
			end(1);
		}
		shmb_free(a, blocks[i]);
	}
	return n;
}

static void *suffer(void *seed)
{
	uint64_t s = (uint64_t)(uintptr_t)seed;
	for (;;) {
		burst(arena, (unsigned)(rnd(&s) >> 20) % CLASS_STEPS, (uint32_t)s);
		atomic_fetch_add(turns, 1);
	}
	return NULL;
}

static _Noreturn void victim_run(void)
{
	pthread_t t;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int err = shmb_arena_open(name, NULL, &arena);
	if (err || pthread_create(&t, NULL, suffer, (void *)0x1234567)) {
		fprintf(stderr, "victim: %s\n", shmb_strerror(err));
		_exit(1);
	}
	suffer((void *)0x7654321);
	_exit(1);
}

/* Stops the victim and sees that it stands. */
static void stop(uint64_t *s)
{
	uint64_t seen = atomic_load(turns);
	struct timespec t = {0, (long)(rnd(s) >> 30) % 3000000};
	int status;
	while (atomic_load(turns) == seen) /* it runs */
		sched_yield();
	nanosleep(&t, NULL);
	kill(victim, SIGSTOP);
	if (waitpid(victim, &status, WUNTRACED) != victim || !WIFSTOPPED(status)) {
		fprintf(stderr, "FAIL: the victim ended, status %#x\n", status);
		victim = 0;
		end(1);
	}
}

static void drop_text(void *opaque, const char *text) { (void)opaque, (void)text; }

int main(int argc, char **argv)
{
	unsigned stops = argc > 1 ? (unsigned)atoi(argv[1]) : 200, pairs = argc > 2 ? (unsigned)atoi(argv[2]) : 100000;
	shmb_options opt = {.size = CAPACITY, .flags = SHMB_CREATE_ONLY};
	uint64_t s = (uint64_t)time(NULL) * 2654435761u | 1;
	snprintf(name, sizeof name, "/shmb-test-%d-stop", (int)getpid());
	turns = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err = shmb_arena_open(name, &opt, &arena);
	if (err) {
		fprintf(stderr, "open: %s\n", shmb_strerror(err));
		return 1;
	}
	fflush(NULL);
	victim = fork();
	if (victim == 0)
		victim_run();
	signal(SIGALRM, too_long);
	for (unsigned i = 0; i < stops; i++) {
		stop(&s);
		for (unsigned done = 0, step = (unsigned)(rnd(&s) >> 40); done < pairs;) {
			alarm(WATCHDOG_S); /* anew each time: a slow machine is no hang */
			done += burst(arena, step++ % CLASS_STEPS, i);
		}
		alarm(0);
		stops_done++;
		kill(victim, SIGCONT);
	}
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	victim = 0;
	err = shmb_check_name(name, drop_text, NULL);
	if (!err)
		err = shmb_arena_close(arena);
	if (err)
		fprintf(stderr, "FAIL: at the end: %s\n", shmb_strerror(err));
	printf("stopped %d times; each time %u allocations and frees of %d classes went through\n", (int)stops_done, pairs,
	       CLASS_STEPS);
	return err != 0;
}
