/*
 * limit.c - a program that limits its own address space, as a shell does for
 * `ulimit -v`: the capacity of a region counts against it. So the region is
 * made to fit into a quarter of the limit, or into what is in use of it.
 */
#include "shim.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { SHARE = 4 };

static int limit(pid_t pid, int which, const struct rlimit *to, struct rlimit *old)
{
	if (syscall(SYS_prlimit64, pid, which, to, old))
		return -1;
	shmb_arena *a = atomic_load(&shim_arena);
	if (a && to && which == RLIMIT_AS && to->rlim_cur != RLIM_INFINITY && (pid == 0 || pid == getpid()))
		preload_shrink(a, to->rlim_cur / SHARE);
	return 0;
}

/* On 64-bit systems struct rlimit is struct rlimit64, and what the kernel takes. */
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64) && sizeof(rlim_t) == 8, "");

EXPORT int setrlimit(__rlimit_resource_t which, const struct rlimit *to)
{
	return limit(0, (int)which, to, NULL);
}

EXPORT int setrlimit64(__rlimit_resource_t which, const struct rlimit64 *to)
{
	return limit(0, (int)which, (const struct rlimit *)to, NULL);
}

EXPORT int prlimit(pid_t pid, enum __rlimit_resource which, const struct rlimit *to, struct rlimit *old)
{
	return limit(pid, (int)which, to, old);
}

EXPORT int prlimit64(pid_t pid, enum __rlimit_resource which, const struct rlimit64 *to, struct rlimit64 *old)
{
	return limit(pid, (int)which, (const struct rlimit *)to, (struct rlimit *)old);
}
