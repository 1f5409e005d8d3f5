/*
 * unheld.c - programs whose memory must not be write-protected while a fork's
 * snapshot is taken.
 *
 * The kernel writes to mutexes with priority inheritance where threads contend
 * for them, to robust ones when their owner ends, and at a thread's end to a
 * word on its stack. None of these can wait for the page: the call would fail,
 * or whoever waits would do so for ever. So the first sign of one ends it. Which
 * block it will be in is not known: it holds for the whole process.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#define EXPORT __attribute__((visibility("default")))
#define NEXT(f) ((__typeof__(&f))dlsym(RTLD_NEXT, #f))

static atomic_bool unheld;

bool shim_may_hold_writes(void)
{
	return !atomic_load(&unheld);
}

EXPORT int pthread_mutexattr_setprotocol(pthread_mutexattr_t *attr, int protocol)
{
	__typeof__(&pthread_mutexattr_setprotocol) real = NEXT(pthread_mutexattr_setprotocol);
	if (protocol == PTHREAD_PRIO_INHERIT)
		atomic_store(&unheld, true);
	return real ? real(attr, protocol) : ENOSYS;
}

EXPORT int pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robust)
{
	__typeof__(&pthread_mutexattr_setrobust) real = NEXT(pthread_mutexattr_setrobust);
	if (robust == PTHREAD_MUTEX_ROBUST)
		atomic_store(&unheld, true);
	return real ? real(attr, robust) : ENOSYS;
}

/* libc has its own data about the thread there, which its fork changes in a child before any handler runs. */
EXPORT int pthread_attr_setstack(pthread_attr_t *attr, void *stack, size_t size)
{
	__typeof__(&pthread_attr_setstack) real = NEXT(pthread_attr_setstack);
	if (shmb_arena_of(stack)) {
		static atomic_flag said = ATOMIC_FLAG_INIT;
		if (!atomic_flag_test_and_set(&said))
			shim_say(1, "a thread's stack of %zu bytes is a placed block: a fork now may break this process; leave such out by a rule", size);
		atomic_store(&unheld, true);
	}
	return real ? real(attr, stack, size) : ENOSYS;
}
