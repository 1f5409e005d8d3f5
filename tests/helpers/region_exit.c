/*
 * region_exit.c - opens a region or an arena and ends in a chosen way.
 *
 *   region_exit NAME raw|arena END [reaper] [leak]
 *   region_exit NAME raw|arena open        says how it came by it, closes it
 *   region_exit NAME raw|arena race N      N times: an owner with a reaper is
 *                                          killed, the name opened at once
 *
 * END: return exit quick_exit _exit abort sigterm sigkill exec fork thread.
 * exec and fork say "ready" and wait for the end of their input.
 */
#include "shmbind.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

static const char *name;
static bool is_arena;
static shmb_arena *arena;

static void fail(const char *what, int err)
{
	fprintf(stderr, "region_exit: %s %s: %s\n", what, name, shmb_strerror(err));
	_exit(99);
}

static shmb_region *open_it(unsigned flags)
{
	shmb_options opt = {.size = SIZE, .flags = flags};
	shmb_region *r = NULL;
	int err = is_arena ? shmb_arena_open(name, &opt, &arena) : shmb_region_open(name, &opt, &r);
	if (err)
		fail("cannot open", err);
	return is_arena ? shmb_arena_region(arena) : r;
}

static void close_it(shmb_region *r)
{
	int err = is_arena ? shmb_arena_close(arena) : shmb_region_close(r);
	if (err)
		fail("cannot close", err);
}

static const char *how_of(const shmb_region *r)
{
	static const char *const words[] = {"?", "created", "attached", "claimed"};
	return words[shmb_region_how(r)];
}

static void wait_for_end_of_input(void)
{
	char c;
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

static _Atomic bool thread_runs;

/* Uses the region until the process is no more. */
static void *user(void *r)
{
	for (unsigned i = 0;; i++) {
		if (is_arena)
			shmb_free(arena, shmb_malloc(arena, i % 5000));
		else
			((volatile char *)shmb_region_addr(r))[i % SIZE] = 1;
		thread_runs = true;
	}
	return NULL;
}

static void start_user(shmb_region *r)
{
	pthread_t t;
	if (pthread_create(&t, NULL, user, r))
		fail("no thread for", 0);
	while (!thread_runs)
		;
}

static void child_exits(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		exit(0);
	if (waitpid(pid, &status, 0) != pid || status)
		fail("child failed", 0);
	wait_for_end_of_input();
}

/* Ends, or returns the status to return from main with. */
static int end(const char *how, shmb_region *r)
{
	if (!strcmp(how, "exit"))
		exit(0);
	if (!strcmp(how, "quick_exit"))
		quick_exit(0);
	if (!strcmp(how, "_exit"))
		_exit(0);
	if (!strcmp(how, "abort"))
		abort();
	if (!strcmp(how, "sigterm"))
		raise(SIGTERM);
	if (!strcmp(how, "sigkill"))
		raise(SIGKILL);
	if (!strcmp(how, "exec"))
		execl("/bin/sh", "sh", "-c", "echo ready; read x", (char *)NULL);
	if (!strcmp(how, "fork"))
		child_exits();
	else if (!strcmp(how, "thread"))
		start_user(r);
	else if (strcmp(how, "return"))
		return 2;
	return 0;
}

static int open_once(void)
{
	shmb_region *r = open_it(0);
	puts(how_of(r));
	close_it(r);
	return 0;
}

static void kill_an_owner(void)
{
	int ready[2];
	char c;
	if (pipe(ready))
		fail("no pipe for", 0);
	pid_t pid = fork();
	if (pid == 0) {
		open_it(SHMB_REAPER);
		raise(write(ready[1], "x", 1) == 1 ? SIGKILL : SIGABRT);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1 || waitpid(pid, NULL, 0) != pid)
		fail("no owner of", 0);
	close(ready[0]);
}

static int race(int rounds)
{
	int count[4] = {0};
	for (int i = 0; i < rounds; i++) {
		kill_an_owner();
		shmb_region *r = open_it(0);
		count[shmb_region_how(r)]++;
		close_it(r);
		if (shm_unlink(name) == 0) /* attached to the dead one's: it stayed */
			fprintf(stderr, "region_exit: round %d: %s is still there\n", i, name);
	}
	printf("created %d, claimed %d, attached %d\n", count[SHMB_CREATED], count[SHMB_CLAIMED],
	       count[SHMB_ATTACHED]);
	return count[SHMB_ATTACHED] != 0;
}

int main(int argc, char **argv)
{
	unsigned flags = 0;
	bool leak = false;
	if (argc < 4)
		return 2;
	name = argv[1];
	is_arena = !strcmp(argv[2], "arena");
	if (!strcmp(argv[3], "open"))
		return open_once();
	if (!strcmp(argv[3], "race") && argc == 5)
		return race(atoi(argv[4]));
	for (int i = 4; i < argc; i++) {
		flags |= !strcmp(argv[i], "reaper") ? SHMB_REAPER : 0;
		leak |= !strcmp(argv[i], "leak");
	}
	shmb_region *r = open_it(flags);
	int err = leak ? shmb_region_leak(r) : 0;
	if (err)
		fail("cannot leak", err);
	return end(argv[3], r);
}
