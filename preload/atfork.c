/*
 * atfork.c - the shim's fork handlers come before everybody else's.
 *
 * What is registered first is called last before a fork and first after it. So
 * a snapshot is taken when all locks that the program's and its libraries'
 * handlers take are held, and what they do in the child, they do to the copy.
 * Libraries register theirs where they are set up, mostly before the shim is:
 * hence this, their way to libc.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

typedef int atfork_fn(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object);

/* NOLINTBEGIN(bugprone-reserved-identifier): names of the linker's and libc's */
#define EXPORT __attribute__((visibility("default")))
EXPORT atfork_fn __register_atfork;
/* NOLINTEND(bugprone-reserved-identifier) */

/* What pthread_atfork() is, in every object. Before libc is set up there is no environment to go by. */
EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object)
{
	static atfork_fn *real;
	if (!real)
		real = (atfork_fn *)dlsym(RTLD_NEXT, "__register_atfork");
	if (!real)
		return ENOSYS;
	if (environ)
		shim_handle_forks();
	return real(prepare, parent, child, object);
}
