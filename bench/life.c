/*
 * life.c - processes that come and go, timed from inside. `life.py` starts
 * them and does the sums.
 *
 *   life open NAME CAPACITY         creates or attaches; prints the microseconds of open and of close
 *   life attach NAME                the same of the first attach, and of a second one in this process
 *   life bare NAME                  the same with nothing but open, fstat, mmap and one word read; munmap and close: what
 *                                 the machine takes for its part
 *   life hold NAME CAPACITY BLOCKS  has that many live blocks until its input ends; says so once it has
 *   life watch NAME CAPACITY        allocates and frees; for each line it reads, the longest malloc since the last,
 *                                 in microseconds
 *   life stats NAME                 dumps the region's statistics, as text and as JSON; the microseconds of each, and
 *                                 how many bytes of text that were
 *
 * Capacities in bytes.
 */
#include "pin.h"

#include <shmbind.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A burst is more than a depot holds (512 KiB a class), so that some of its blocks come from behind it. */
enum { BLOCK = 64, BURST = 3 * (512 << 10) / BLOCK };

static void die(const char *what, int err)
{
	fprintf(stderr, "life: %s: %s\n", what, shmb_strerror(err));
	exit(1);
}

static double clock_us(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Between two things that are timed: when the one was over and when the other begins. */
struct moment {
	double over_us, begin_us, cpu_us;
	long aside; /* how often this thread was put aside for another */
};

static struct moment moment_now(void)
{
	struct moment m = {.over_us = clock_us(CLOCK_MONOTONIC)};
	struct rusage u;
	getrusage(RUSAGE_THREAD, &u); /* its times are of the last tick */
	m.aside = u.ru_nivcsw;
	m.cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
	m.begin_us = clock_us(CLOCK_MONOTONIC);
	return m;
}

/* By the wall, so that waiting counts; by the processor where the kernel ran something else here: that is no wait. */
static double took_us(struct moment from, struct moment to)
{
	return from.aside == to.aside ? to.over_us - from.begin_us : to.cpu_us - from.cpu_us;
}

static double open_us(const char *name, const shmb_options *opt, shmb_arena **a)
{
	struct moment begin = moment_now();
	int err = shmb_arena_open(name, opt, a);
	struct moment end = moment_now();
	if (err)
		die(name, err);
	return took_us(begin, end);
}

static double close_us(shmb_arena *a)
{
	struct moment begin = moment_now();
	int err = shmb_arena_close(a);
	struct moment end = moment_now();
	if (err)
		die("close", err);
	return took_us(begin, end);
}

static void open_and_close(const char *name, const shmb_options *opt)
{
	shmb_arena *a;
	double opening = open_us(name, opt, &a);
	printf("%.2f %.2f\n", opening, close_us(a));
}

/* The least that anyone could call an attach. */
static void bare(const char *name)
{
	char path[256];
	struct stat st;
	snprintf(path, sizeof path, "/dev/shm/%s", name);
	struct moment begin = moment_now();
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	char *at = fd < 0 || fstat(fd, &st) ? MAP_FAILED
					    : mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE,
						   MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at == MAP_FAILED)
		die(name, errno);
	(void)*(volatile char *)at;
	struct moment end = moment_now();
	double opening = took_us(begin, end);
	begin = moment_now();
	if (munmap(at, (size_t)st.st_size) || close(fd))
		die(name, errno);
	end = moment_now();
	printf("%.2f %.2f\n", opening, took_us(begin, end));
}

static void *block_new(shmb_arena *a)
{
	void *p = shmb_malloc(a, BLOCK);
	if (!p)
		die("a block", ENOMEM);
	*(volatile char *)p = 1;
	return p;
}

static void hold(const char *name, const shmb_options *opt, unsigned long blocks)
{
	shmb_arena *a;
	(void)open_us(name, opt, &a);
	for (unsigned long i = 0; i < blocks; i++)
		(void)block_new(a); /* the region remembers them */
	puts("holding");
	fflush(stdout);
	while (getchar() != EOF)
		;
	(void)close_us(a);
}

static double burst_longest_us(shmb_arena *a)
{
	static void *live[BURST];
	struct moment before = moment_now();
	double longest = 0;
	for (unsigned i = 0; i < BURST; i++) {
		live[i] = block_new(a);
		struct moment after = moment_now();
		double took = took_us(before, after);
		longest = took > longest ? took : longest;
		before = after;
	}
	for (unsigned i = 0; i < BURST; i++)
		shmb_free(a, live[i]);
	return longest;
}

static void watch(const char *name, const shmb_options *opt)
{
	shmb_arena *a;
	char line[16];
	double longest = 0;
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	(void)open_us(name, opt, &a);
	pin(1); /* it is not to wait for those it watches */
	for (;;) {
		double took = burst_longest_us(a);
		longest = took > longest ? took : longest;
		if (poll(&input, 1, 0) <= 0)
			continue;
		if (read(STDIN_FILENO, line, sizeof line) <= 0) /* one line at a time is asked */
			break;
		printf("%.2f\n", longest);
		fflush(stdout);
		longest = 0;
	}
	(void)close_us(a);
}

static void count_text(void *opaque, const char *text)
{
	*(size_t *)opaque += strlen(text);
}

static void stats(const char *name)
{
	double took[2];
	size_t bytes[2] = {0, 0};
	for (unsigned json = 0; json < 2; json++) {
		struct moment begin = moment_now();
		int err = shmb_stats_name(name, count_text, &bytes[json], json ? "J" : "");
		took[json] = took_us(begin, moment_now());
		if (err)
			die(name, err);
	}
	printf("%.1f %.1f %zu\n", took[0], took[1], bytes[0]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "", *name = argv[2];
	shmb_options opt = {.size = argc > 3 ? strtoull(argv[3], NULL, 10) : 0};
	shmb_options attach = {.flags = SHMB_ATTACH_ONLY};
	bool known = true;
	if (!strcmp(what, "open") && argc == 4)
		open_and_close(name, &opt);
	else if (!strcmp(what, "attach") && argc == 3)
		for (unsigned i = 0; i < 2; i++)
			open_and_close(name, &attach);
	else if (!strcmp(what, "bare") && argc == 3)
		for (unsigned i = 0; i < 2; i++)
			bare(name);
	else if (!strcmp(what, "stats") && argc == 3)
		stats(name);
	else if (!strcmp(what, "hold") && argc == 5)
		hold(name, &opt, strtoul(argv[4], NULL, 10));
	else if (!strcmp(what, "watch") && argc == 4)
		watch(name, &opt);
	else
		known = false;
	if (!known)
		fprintf(stderr, "usage: life open|attach|bare|hold|watch|stats NAME ...\n");
	return known ? 0 : 2;
}
