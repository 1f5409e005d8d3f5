/*
 * preload_env.c - a program whose allocations the tests of the environment
 * and of the tool know.
 *
 *   preload_env sizes STATUS SIZE...   says of each size "SIZE region" or "SIZE heap"
 *   preload_env count                  leaves 100 blocks of 6000 and 7 of 100000 behind
 *   preload_env fill SIZE N            N blocks of SIZE: how many are in the region, elsewhere, refused
 *   preload_env pattern END            a block that starts with a known text; ends by END:
 *                                      return exit _exit quick_exit kill abort exec wait
 *   preload_env hold                   says "ready" and waits for the end of its input
 *   preload_env reuse FILE             closes all descriptors from 3 up and gives their numbers to FILE
 *   preload_env title PREFIX           overwrites its arguments and environment, as setproctitle does,
 *                                      and forks a child that says whether its block is in PREFIX<pid>
 *   preload_env grandchild             forks a child that has a region and is killed
 *   preload_env stay                   forks a child that goes on (its input is ours) and ends
 */
#include "preload_util.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int sizes(int argc, char **argv)
{
	for (int i = 3; i < argc; i++) {
		size_t size = strtoull(argv[i], NULL, 0);
		void *p = kept(malloc(size));
		dprintf(STDOUT_FILENO, "%zu %s\n", size, !p ? "refused" : inode_at(p) ? "region" : "heap");
		free(p);
	}
	return atoi(argv[2]);
}

static int count(void)
{
	for (int i = 0; i < 100; i++)
		memset(kept(malloc(6000)), 1, 6000);
	for (int i = 0; i < 7; i++)
		memset(kept(malloc(100000)), 1, 100000);
	return 0;
}

static int fill(const char *size, const char *n)
{
	unsigned in = 0, out = 0, refused = 0;
	size_t bytes = strtoull(size, NULL, 0);
	for (unsigned long i = strtoul(n, NULL, 0); i > 0; i--) {
		void *p = kept(malloc(bytes));
		if (p)
			memset(p, 1, bytes);
		*(!p ? &refused : inode_at(p) ? &in : &out) += 1;
	}
	dprintf(STDOUT_FILENO, "%s %s %s\n", in ? "region" : "-", out ? "heap" : "-", refused ? "refused" : "-");
	return 0;
}

static void wait_for_end_of_input(void)
{
	char c;
	dprintf(STDOUT_FILENO, "ready\n");
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

static int pattern(const char *end)
{
	enum { SIZE = 50000 };
	char *p = kept(malloc(SIZE));
	memset(p, '.', SIZE);
	memcpy(p, "a known pattern, to be found post mortem\n", 41);
	if (!strcmp(end, "exit"))
		exit(0);
	if (!strcmp(end, "_exit"))
		_exit(0);
	if (!strcmp(end, "quick_exit"))
		quick_exit(0);
	if (!strcmp(end, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(end, "abort"))
		abort();
	if (!strcmp(end, "exec"))
		execl("/bin/true", "true", (char *)NULL);
	if (!strcmp(end, "wait"))
		wait_for_end_of_input();
	return 0;
}

static int reuse(const char *file)
{
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	for (int to = 4; to < 1024; to++)
		dup2(fd, to);
	free(kept(malloc(6000)));
	return 0;
}

static void overwrite(char **strings)
{
	for (; *strings; strings++)
		memset(*strings, 'x', strlen(*strings));
}

static int title(char **argv)
{
	char prefix[100], path[200];
	struct stat st;
	int status;
	snprintf(prefix, sizeof prefix, "%s", argv[2]);
	overwrite(environ);
	overwrite(argv);
	if (fork() == 0) {
		unsigned long inode = inode_at(kept(malloc(6000)));
		snprintf(path, sizeof path, "/dev/shm%s%d", prefix, (int)getpid());
		dprintf(STDOUT_FILENO, "%s\n", inode && !stat(path, &st) && st.st_ino == inode ? "its own" : "another");
		exit(0);
	}
	wait(&status);
	return WEXITSTATUS(status);
}

static int grandchild(void)
{
	if (fork() == 0) {
		memset(kept(malloc(6000)), 1, 6000);
		kill(getpid(), SIGKILL);
	}
	wait(NULL);
	return 0;
}

static int stay(void)
{
	int made[2];
	char c;
	if (pipe(made))
		return 1;
	if (fork() == 0) {
		memset(kept(malloc(6000)), 1, 6000);
		dprintf(STDOUT_FILENO, "%d\n", (int)getpid());
		if (write(made[1], "x", 1) != 1)
			_exit(1);
		wait_for_end_of_input();
		exit(0);
	}
	return read(made[0], &c, 1) == 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "sizes") && argc > 2)
		return sizes(argc, argv);
	if (!strcmp(what, "count"))
		return count();
	if (!strcmp(what, "fill") && argc == 4)
		return fill(argv[2], argv[3]);
	if (!strcmp(what, "pattern") && argc == 3)
		return pattern(argv[2]);
	if (!strcmp(what, "reuse") && argc == 3)
		return reuse(argv[2]);
	if (!strcmp(what, "title") && argc == 3)
		return title(argv);
	if (!strcmp(what, "grandchild"))
		return grandchild();
	if (!strcmp(what, "stay"))
		return stay();
	if (!strcmp(what, "hold")) {
		memset(kept(malloc(6000)), 1, 6000);
		wait_for_end_of_input();
		return 0;
	}
	fprintf(stderr, "preload_env: not understood\n");
	return 2;
}
