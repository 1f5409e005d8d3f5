/*
 * fork.c - what a fork costs, timed from inside. `forks.py` starts it, with
 * the shim and without.
 *
 *   fork MIB FORKS none|idle|write
 *
 * Has that many MiB in blocks of 1 MiB, all written to, and a second thread:
 * none, one that sleeps, or one that writes to the blocks. Prints a line a
 * fork: the microseconds until fork() returned in the parent, until the child,
 * which exits at once, had ended, and the longest that a write of the other
 * thread took meanwhile (0: there is none).
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <pthread.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, PAGE_BYTES = 4096, PAGES = BLOCK / PAGE_BYTES };

static char **blocks;
static unsigned long count;
static _Atomic uint64_t longest_ns;

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *sleep_on(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void *write_on(void *unused)
{
	uint64_t before = now_ns();
	for (uint32_t r = 1;; r = r * 1664525u + 1013904223u) {
		volatile char *p = blocks[(r >> 8) % count] + (size_t)(r >> 20) % PAGES * PAGE_BYTES;
		(*p)++;
		uint64_t after = now_ns(), took = after - before;
		before = after;
		if (took > atomic_load_explicit(&longest_ns, memory_order_relaxed))
			atomic_store(&longest_ns, took);
	}
	return unused;
}

static void time_fork(void)
{
	int status;
	atomic_store(&longest_ns, 0);
	uint64_t begin = now_ns();
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	uint64_t returned = now_ns();
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "fork: a child failed\n");
		exit(1);
	}
	uint64_t ended = now_ns();
	printf("%.2f %.2f %.2f\n", (double)(returned - begin) / 1e3, (double)(ended - begin) / 1e3,
	       (double)atomic_load(&longest_ns) / 1e3);
}

static void blocks_make(unsigned long n)
{
	count = n;
	blocks = malloc((n + 1) * sizeof *blocks);
	for (unsigned long i = 0; i < n; i++) {
		blocks[i] = malloc(BLOCK);
		if (!blocks[i]) {
			fprintf(stderr, "fork: no memory\n");
			exit(1);
		}
		memset(blocks[i], 1, BLOCK);
	}
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: fork MIB FORKS none|idle|write\n");
		return 2;
	}
	blocks_make(strtoul(argv[1], NULL, 10));
	bool writes = !strcmp(argv[3], "write") && count;
	pthread_t t;
	if (strcmp(argv[3], "none") && pthread_create(&t, NULL, writes ? write_on : sleep_on, NULL))
		return 1;
	for (unsigned long n = strtoul(argv[2], NULL, 10); n > 0; n--)
		time_fork();
	return 0;
}
