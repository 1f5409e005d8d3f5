/*
 * region_kill.c - owners of an arena are killed at random moments; the name is
 * opened again each time.
 *
 *   region_kill drive NAME ROUNDS   starts the other two, ROUNDS times
 *   region_kill own NAME REPLACE    owns the arena, two threads at work in it
 *   region_kill heir NAME REPLACE LEAVE
 *       opens it after the kill, verifies every block that the dead published,
 *       frees it, has half the capacity, and leaves by close (LEAVE 0) or by
 *       _exit (1), so that the next owner claims from it
 *
 * Owners publish their blocks in a raw region NAME-table: a ref goes in when
 * its block is filled and comes out before it is freed. So a kill loses a
 * block a thread at most.
 */
#include "shmbind.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	CAPACITY = 32 << 20,
	CHUNK = 256 << 10,
	CELLS = 512, /* of each thread */
	OPEN_SECONDS = 5,
	MOMENTS_US = 6000
};

struct table {
	_Atomic shmb_ref cells[2][CELLS];
};

struct block {
	uint32_t size, cell;
};

static struct table *table;
static shmb_arena *arena;

static _Noreturn int fail(const char *what, int err)
{
	fprintf(stderr, "region_kill: %s: %s\n", what, shmb_strerror(err));
	_exit(1);
}

static void table_open(const char *name, unsigned flags)
{
	char full[256];
	shmb_options opt = {.size = sizeof(struct table), .flags = flags};
	shmb_region *r;
	snprintf(full, sizeof full, "%s-table", name);
	int err = shmb_region_open(full, &opt, &r);
	if (err)
		fail("table", err);
	table = shmb_region_addr(r);
}

static enum shmb_how arena_open(const char *name, const char *replace)
{
	shmb_options opt = {.size = CAPACITY, .flags = *replace == '1' ? SHMB_REPLACE : 0};
	alarm(OPEN_SECONDS);
	int err = shmb_arena_open(name, &opt, &arena);
	alarm(0);
	if (err)
		fail("arena", err);
	enum shmb_how how = shmb_region_how(shmb_arena_region(arena));
	if (how == SHMB_ATTACHED)
		fail("attached, though its owner is dead", 0);
	if (how == SHMB_CREATED) /* what the table lists went with the old one */
		memset(table, 0, sizeof *table);
	return how;
}

/* ---- the owner ------------------------------------------------------------------- */

static unsigned size_of(unsigned seed)
{
	static const unsigned sizes[] = {16, 24, 64, 200, 1000, 4096, 9000, 70000};
	return sizes[seed % 8];
}

static void publish(unsigned thread, unsigned cell, unsigned seed)
{
	unsigned size = size_of(seed);
	struct block *b = shmb_malloc(arena, size);
	if (!b)
		return;
	memset(b, (int)cell, size);
	*b = (struct block){.size = size, .cell = cell};
	atomic_store(&table->cells[thread][cell], shmb_ref_of(arena, b));
}

static void *worker(void *arg)
{
	unsigned thread = (unsigned)(uintptr_t)arg, seed = (unsigned)getpid() + thread;
	for (;;) {
		unsigned cell = (unsigned)rand_r(&seed) % CELLS;
		shmb_ref ref = atomic_exchange(&table->cells[thread][cell], 0);
		void *p = ref ? shmb_deref(arena, ref, sizeof(struct block)) : NULL;
		if (ref && !p)
			fail("an owner's own block is not there", SHMB_ECORRUPT);
		if (p)
			shmb_free(arena, p);
		else
			publish(thread, cell, (unsigned)rand_r(&seed) >> 8);
	}
	return NULL;
}

static int own(const char *name, const char *replace)
{
	pthread_t t;
	table_open(name, SHMB_ATTACH_ONLY);
	arena_open(name, replace);
	if (write(STDOUT_FILENO, "r", 1) != 1)
		return 1;
	if (pthread_create(&t, NULL, worker, (void *)1))
		return 1;
	worker((void *)0);
	return 1;
}

/* ---- the heir -------------------------------------------------------------------- */

static unsigned verify_and_free(void)
{
	unsigned found = 0;
	for (unsigned i = 0; i < 2 * CELLS; i++) {
		shmb_ref ref = atomic_exchange(&table->cells[i / CELLS][i % CELLS], 0);
		if (!ref)
			continue;
		struct block *b = shmb_deref(arena, ref, sizeof *b);
		if (!b || b->cell != i % CELLS || !shmb_deref(arena, ref, b->size))
			fail("a published block is not there", SHMB_ECORRUPT);
		for (unsigned at = sizeof *b; at < b->size; at++)
			if (((unsigned char *)b)[at] != (unsigned char)b->cell)
				fail("a published block has changed", SHMB_ECORRUPT);
		shmb_free(arena, b);
		found++;
	}
	return found;
}

static void have_half(void)
{
	static void *chunks[CAPACITY / 2 / CHUNK];
	enum { N = sizeof chunks / sizeof *chunks };
	for (unsigned i = 0; i < N; i++) {
		chunks[i] = shmb_malloc(arena, CHUNK);
		if (!chunks[i])
			fail("half the capacity cannot be had", 0);
	}
	for (unsigned i = 0; i < N; i++)
		shmb_free(arena, chunks[i]);
}

/* Its exit code: 10 * how + whether it left by _exit. */
static int heir(const char *name, const char *replace, const char *leave)
{
	table_open(name, SHMB_ATTACH_ONLY);
	enum shmb_how how = arena_open(name, replace);
	unsigned found = verify_and_free();
	shmb_trim(arena);
	have_half();
	for (unsigned i = 0; i < 1000; i++)
		shmb_free(arena, shmb_malloc(arena, size_of(i)));
	if (write(STDOUT_FILENO, &found, sizeof found) != sizeof found)
		return 1;
	if (*leave == '1')
		_exit(10 * (int)how);
	int err = shmb_arena_close(arena);
	return err ? fail("close", err) : 10 * (int)how;
}

/* ---- the driver --------------------------------------------------------------------- */

static const char *self;

/* Starts this program with `args`; what it writes can be read from *out. */
static pid_t start(const char *const args[], int *out)
{
	int p[2];
	if (pipe(p))
		fail("pipe", 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], STDOUT_FILENO);
		close(p[0]);
		close(p[1]);
		execv(self, (char *const *)args);
		_exit(127);
	}
	close(p[1]);
	*out = p[0];
	return pid;
}

/* Kills an owner some microseconds after its start; 1 if it had the arena open by then. */
static int kill_an_owner(const char *name, const char *replace)
{
	const char *args[] = {self, "own", name, replace, NULL};
	char c;
	int out, status;
	pid_t pid = start(args, &out);
	if (rand() % 4) { /* else it may be killed while it opens */
		if (read(out, &c, 1) != 1)
			fail("an owner ended by itself", 0);
		usleep((useconds_t)(rand() % MOMENTS_US));
		kill(pid, SIGKILL);
		c = 'k';
	} else {
		usleep((useconds_t)(rand() % MOMENTS_US));
		kill(pid, SIGKILL);
		c = read(out, &c, 1) == 1 ? 'k' : 0;
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		fail("an owner ended by itself", 0);
	close(out);
	return c == 'k';
}

static enum shmb_how inherit(const char *name, const char *replace, const char *leave, unsigned long *blocks)
{
	const char *args[] = {self, "heir", name, replace, leave, NULL};
	unsigned found = 0;
	int out, status;
	pid_t pid = start(args, &out);
	if (read(out, &found, sizeof found) != sizeof found || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		fail("an heir was killed or gave up", 0);
	close(out);
	*blocks += found;
	return WEXITSTATUS(status) / 10;
}

static int drive(const char *name, int rounds)
{
	unsigned long opened = 0, blocks = 0, how[4] = {0};
	unsigned seed = (unsigned)getpid();
	table_open(name, SHMB_CREATE_ONLY);
	srand(seed);
	for (int i = 0; i < rounds; i++) {
		const char *replace = i / 2 % 2 ? "1" : "0", *leave = i % 2 ? "1" : "0";
		opened += (unsigned)kill_an_owner(name, replace);
		enum shmb_how got = inherit(name, replace, leave, &blocks);
		if (got != SHMB_CREATED && got != SHMB_CLAIMED)
			fail("an heir failed", 0);
		how[got]++;
	}
	inherit(name, "1", "0", &blocks); /* removes what the last one may have left */
	printf("%d kills, seed %u: %lu at work, %lu while starting or opening; "
	       "then claimed %lu, created %lu; %lu published blocks verified and freed\n",
	       rounds, seed, opened, (unsigned long)rounds - opened, how[SHMB_CLAIMED], how[SHMB_CREATED], blocks);
	return 0;
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc == 4 && !strcmp(argv[1], "drive"))
		return drive(argv[2], atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "own"))
		return own(argv[2], argv[3]);
	if (argc == 5 && !strcmp(argv[1], "heir"))
		return heir(argv[2], argv[3], argv[4]);
	return 2;
}
