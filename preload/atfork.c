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
#include "../src/preload_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

typedef int atfork_fn(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object);

/* NOLINTBEGIN(bugprone-reserved-identifier): names of the linker's and libc's */
extern void *__dso_handle __attribute__((visibility("hidden"))); /* this object, as pthread_atfork() names it */

#define EXPORT __attribute__((visibility("default")))
EXPORT atfork_fn __register_atfork;
/* NOLINTEND(bugprone-reserved-identifier) */

/*
 * The engine's handlers write to some thirty pages before a fork and after it,
 * in the parent and in the child, and each is copied then. Where there is no
 * other thread its locks are free anyway; without a region nobody uses it.
 */
static struct {
	void (*prepare)(void), (*parent)(void), (*child)(void);
} engine;

static void engine_prepare(void)
{
	if (shim_fork_locks())
		engine.prepare();
}

static void engine_parent(void)
{
	if (shim_fork_locks())
		engine.parent();
}

static void engine_child(void)
{
	if (shim_fork_locks())
		engine.child();
}

/* What pthread_atfork() is, in every object. Before libc is set up there is no environment to go by. */
EXPORT int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object)
{
	static atfork_fn *real;
	if (!real)
		real = (atfork_fn *)dlsym(RTLD_NEXT, "__register_atfork");
	if (!real)
		return ENOSYS;
	if (environ && object != __dso_handle) /* jemalloc's own call is in the middle of its set-up */
		shim_handle_forks();
	if (preload_is_engine(prepare)) {
		engine.prepare = prepare, engine.parent = parent, engine.child = child;
		return real(engine_prepare, engine_parent, engine_child, object);
	}
	return real(prepare, parent, child, object);
}
