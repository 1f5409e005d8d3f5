/*
 * leave.c - ways out of a program that run no destructor: _exit and exec.
 * The region that this process owns goes, or is kept, as at exit().
 *
 * An exec that looks possible is taken to succeed: where it fails after all,
 * the process goes on with a region whose name is gone.
 *
 * Safe in signal handlers and after vfork: a vfork child is not the owner.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

void shim_leave(void)
{
	shmb_arena *a = atomic_load(&shim_arena);
	if (a && policy.keep && shmb_region_is_owner(shmb_arena_region(a)))
		(void)shmb_region_leak(shmb_arena_region(a));
	else
		preload_exit();
}

EXPORT _Noreturn void _exit(int status)
{
	shim_leave();
	for (;;)
		syscall(SYS_exit_group, status);
}

EXPORT _Noreturn void _Exit(int status)
{
	_exit(status);
}

/* libc's own ends the parent by its inner _exit, which is not ours. */
EXPORT int daemon(int nochdir, int noclose)
{
	pid_t pid = fork();
	if (pid < 0)
		return -1;
	if (pid > 0)
		_exit(0);
	if (setsid() < 0)
		return -1;
	if (!nochdir && chdir("/"))
		return -1;
	if (noclose)
		return 0;
	int fd = open("/dev/null", O_RDWR);
	if (fd < 0)
		return -1;
	for (int to = 0; to <= STDERR_FILENO; to++)
		(void)dup2(fd, to);
	if (fd > STDERR_FILENO)
		close(fd);
	return 0;
}

/* ---- exec ------------------------------------------------------------------------ */

static bool executable(const char *path)
{
	int saved = errno;
	bool can = access(path, X_OK) == 0;
	errno = saved;
	return can;
}

static bool executable_in(const char *dirs, const char *file)
{
	char path[PATH_MAX];
	for (const char *d = dirs;; d++) {
		size_t n = strcspn(d, ":");
		if ((size_t)snprintf(path, sizeof path, "%.*s/%s", n ? (int)n : 1, n ? d : ".", file) < sizeof path &&
		    executable(path))
			return true;
		d += n;
		if (!*d)
			return false;
	}
}

static void leave_for(const char *file, bool search)
{
	const char *dirs = getenv("PATH"); /* NOLINT(concurrency-mt-unsafe): as execvp(3) itself does next */
	if (search && !strchr(file, '/') ? executable_in(dirs ? dirs : "/bin:/usr/bin", file) : executable(file))
		shim_leave();
}

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	leave_for(path, false);
	return (int)syscall(SYS_execve, path, argv, envp);
}

EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	int (*real)(int, char *const[], char *const[]) =
		(int (*)(int, char *const[], char *const[]))dlsym(RTLD_NEXT, "fexecve");
	shim_leave();
	return real(fd, argv, envp);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	int (*real)(const char *, char *const[], char *const[]) =
		(int (*)(const char *, char *const[], char *const[]))dlsym(RTLD_NEXT, "execvpe");
	leave_for(file, true);
	return real(file, argv, envp);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

/* The arguments after `first` up to the NULL, as an array on the caller's stack. */
#define ARGUMENTS(argv, first, ap)                                         \
	va_list ap;                                                        \
	size_t n_##ap = 1;                                                 \
	va_start(ap, first);                                               \
	while (va_arg(ap, char *))                                         \
		n_##ap++;                                                  \
	va_end(ap);                                                        \
	char **argv = __builtin_alloca((n_##ap + 1) * sizeof *argv);       \
	argv[0] = (char *)(uintptr_t)first;                                \
	va_start(ap, first);                                               \
	for (size_t i = 1; i <= n_##ap; i++)                               \
		argv[i] = va_arg(ap, char *)

EXPORT int execl(const char *path, const char *arg, ...)
{
	ARGUMENTS(argv, arg, ap);
	va_end(ap);
	return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	ARGUMENTS(argv, arg, ap);
	va_end(ap);
	return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	ARGUMENTS(argv, arg, ap);
	char *const *envp = va_arg(ap, char *const *);
	va_end(ap);
	return execve(path, argv, envp);
}
