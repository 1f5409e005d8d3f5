/*
 * misuse_common.h - mistakes that end a process: each in a child of its own,
 * which dies of SIGABRT and says one line.
 */
#ifndef SHMB_TESTS_MISUSE_H
#define SHMB_TESTS_MISUSE_H

#include "tests_common.h"

#include <sys/resource.h>

static char *want; /* shared with the child, which knows the address */

static void misuse_setup(void)
{
	want = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* In the child, before the mistake: the line that it is to print. */
UNUSED static void expect(const shmb_arena *a, const char *what, const void *p, const char *why)
{
	const char *name = a->region ? shmb_region_name(shmb_arena_region(a)) : NULL;
	snprintf(want, PAGE, "shmbind: %s(0x%lx): %s%s%s\n", what, (unsigned long)(uintptr_t)p, why, name ? " in " : "",
	         name ? name : "");
}

static void dies_of(void (*mistake)(void))
{
	char got[1024];
	int fd[2], status;
	size_t n = 0;
	ck_assert_int_eq(pipe(fd), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		dup2(fd[1], STDERR_FILENO);
		close(fd[0]);
		close(fd[1]);
		mistake();
		_exit(0);
	}
	close(fd[1]);
	for (ssize_t r; (r = read(fd[0], got + n, sizeof got - 1 - n)) > 0;)
		n += (size_t)r;
	got[n] = 0;
	close(fd[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_str_eq(got, want);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x", status);
}

#endif
