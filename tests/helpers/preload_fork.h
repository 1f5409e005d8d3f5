/*
 * preload_fork.h - what the programs that fork under the shim share: what they
 * found, where their regions are, blocks whose every page can be told apart,
 * and taking turns. Regions are named PREFIX<pid> (SHMBIND_REGION=PREFIX%p),
 * or PREFIX alone.
 *
 * A child's findings reach the parent as its exit status. Waiting is by pipes.
 * One line is printed for each thing verified.
 */
#ifndef PRELOAD_FORK_H
#define PRELOAD_FORK_H

#include "preload_util.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *prefix;
static int failures;

static inline bool check(bool good, const char *what)
{
	dprintf(STDOUT_FILENO, "%-4s %s\n", good ? "ok" : "FAIL", what);
	failures += !good;
	return good;
}

/* In children: only what is wrong is said. */
static inline void demand(bool good, const char *what)
{
	if (!good)
		check(false, what);
}

/* ---- where ---------------------------------------------------------------------- */

static inline void path_of(char path[300], pid_t pid)
{
	if (pid)
		snprintf(path, 300, "/dev/shm%s%d", prefix, (int)pid);
	else
		snprintf(path, 300, "/dev/shm%s", prefix);
}

static inline bool there(pid_t pid)
{
	char path[300];
	struct stat st;
	path_of(path, pid);
	return stat(path, &st) == 0;
}

/* Does p lie in the region of that process (0: in the one with the fixed name)? */
static inline bool lies_in(const void *p, pid_t pid)
{
	char path[300];
	struct stat st;
	path_of(path, pid);
	return p && stat(path, &st) == 0 && inode_at(p) == st.st_ino;
}

/* ---- what ------------------------------------------------------------------------ */

/* Blocks small and large, 64 MiB and more of them. */
static const struct {
	size_t size;
	unsigned n;
} kinds[] = {{24, 5000}, {100, 5000}, {1000, 3000}, {5000, 1000}, {40000, 200}, {65536, 32}, {300000, 40}, {1 << 20, 16}, {20 << 20, 1}};
enum { KINDS = sizeof kinds / sizeof *kinds, BLOCKS = 5000 + 5000 + 3000 + 1000 + 200 + 32 + 40 + 16 + 1, BYTES_PAGE = 4096 };

static unsigned char *block[BLOCKS];
static size_t block_size[BLOCKS];

static inline void blocks_make(void)
{
	unsigned at = 0;
	for (unsigned k = 0; k < KINDS; k++)
		for (unsigned i = 0; i < kinds[k].n; i++, at++) {
			block_size[at] = kinds[k].size;
			block[at] = kept(malloc(any(kinds[k].size)));
		}
}

static inline unsigned char stamp(unsigned i, size_t at, unsigned seed)
{
	return (unsigned char)(seed * 61 + i * 7 + at / BYTES_PAGE * 3 + 1);
}

/* First, last and one byte of each page of each block: each page that holds any of them is told apart. */
static inline void blocks_write(unsigned seed)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		for (size_t at = 0; at < block_size[i]; at += BYTES_PAGE)
			block[i][at] = stamp(i, at, seed);
		block[i][block_size[i] - 1] = stamp(i, block_size[i] - 1, seed);
	}
}

static inline unsigned blocks_wrong(unsigned seed)
{
	unsigned wrong = 0;
	for (unsigned i = 0; i < BLOCKS; i++) {
		bool good = block[i][block_size[i] - 1] == stamp(i, block_size[i] - 1, seed);
		for (size_t at = 0; at + 1 < block_size[i]; at += BYTES_PAGE)
			good = good && block[i][at] == stamp(i, at, seed);
		wrong += !good;
	}
	return wrong;
}

static inline void blocks_free(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
}

/* ---- taking turns ------------------------------------------------------------------- */

static int down[2], up[2]; /* parent to child, child to parent */

static inline void pipes_make(void)
{
	if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC))
		exit(99);
}

static inline void tell(int fd)
{
	if (write(fd, "x", 1) != 1)
		_exit(98);
}

static inline void await(int fd)
{
	char c;
	if (read(fd, &c, 1) != 1)
		_exit(97);
}

/* In the parent: the child's end, as its exit status; 128 + its signal. */
static inline int ended(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void ready_and_wait(void)
{
	char c;
	if (write(STDOUT_FILENO, "ready\n", 6) != 6) /* dprintf() frees its buffer after that: not idle yet */
		_exit(97);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

/* ---- threads ---------------------------------------------------------------------------- */

static atomic_bool stop;
static atomic_uint thread_faults;

static inline void *busy(void *arg)
{
	enum { HELD = 64 };
	unsigned char *held[HELD] = {0}, seed = (unsigned char)(uintptr_t)arg;
	size_t size[HELD] = {0};
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		unsigned k = i * 2654435761u % HELD;
		if (held[k] && (held[k][0] != seed || held[k][size[k] - 1] != seed))
			atomic_fetch_add(&thread_faults, 1);
		free(held[k]);
		size[k] = i % 50 ? i * 7919u % 3000 + 1 : i % 300000 + 1;
		held[k] = malloc(size[k]);
		memset(held[k], seed, size[k]);
	}
	for (unsigned k = 0; k < HELD; k++)
		free(held[k]);
	return NULL;
}


struct fork_case {
	const char *name;
	void (*run)(void);
};

/* Exit status 1 where something was wrong. */
static inline int run_case(const struct fork_case *cases, unsigned n, int argc, char **argv)
{
	prefix = argc == 3 ? argv[2] : "";
	for (unsigned i = 0; argc == 3 && i < n; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return failures != 0;
		}
	fprintf(stderr, "%s: no such case\n", argv[0]);
	return 2;
}

#endif
