/*
 * once.h - what a process does once, where that may fail: then it is done by
 * the next who needs it, as pthread_once() cannot.
 */
#ifndef SHMB_ONCE_H
#define SHMB_ONCE_H

#include "sys.h"

#include <stdatomic.h>

/* 0, or the pid of whoever is at it, or ONCE_DONE. The pid, so that a forked child does not wait for its parent. */
typedef _Atomic pid_t once_t;
enum { ONCE_DONE = -1 };

/* 0: it is done. Else what `make` said. */
static inline int once_try(once_t *once, int (*make)(void))
{
	pid_t was = atomic_load(once);
	while (was != ONCE_DONE) {
		pid_t me = sys_pid();
		if (was == me) {
			sys_yield();
			was = atomic_load(once);
		} else if (atomic_compare_exchange_strong(once, &was, me)) {
			int err = make();
			atomic_store(once, err ? 0 : ONCE_DONE);
			return err;
		}
	}
	return 0;
}

#endif
