/*
 * freeze.c - this process's writes to a mapped region, held while it is copied.
 *
 * Pages are write-protected by userfaultfd(2): a thread that writes to one
 * waits until the page is let go, in user mode or in a system call that writes
 * there for it. Not held are other processes, this one's other mappings of the
 * region, and devices that had the memory pinned before.
 *
 * Some writes of the kernel cannot wait and fail instead: FUTEX_LOCK_PI and
 * FUTEX_WAKE_OP, and what it writes for a thread that ends (robust mutexes, the
 * word that a joiner waits for). Whoever calls this sees to it that the program
 * has none of these in the region (preload/unheld.c).
 */
#include "freeze.h"

#include "sys.h"

#include <errno.h>

/* What this thread writes by itself: its stack, errno and the like, which lie beside it. */
static bool lives_in(const struct shmb_arena *a)
{
	return arena_has(a, __builtin_frame_address(0)) || arena_has(a, &errno);
}

bool freeze_begin(struct freeze *f, struct shmb_arena *a)
{
	f->fd = -1;
	if (lives_in(a) || sys_signals_block(&f->signals))
		return false;
	if (sys_writes_open(&f->fd)) {
		f->fd = -1;
		sys_signals_restore(f->signals);
		return false;
	}
	atomic_store(&a->frozen, true);
	if (!sys_writes_watch(f->fd, a->map, a->lay.size))
		return true;
	freeze_end(f, a);
	return false;
}

/* Closing it lets everything go. */
void freeze_end(struct freeze *f, struct shmb_arena *a)
{
	if (f->fd < 0)
		return;
	sys_close(f->fd);
	f->fd = -1;
	atomic_store(&a->frozen, false);
	sys_signals_restore(f->signals);
}

int freeze_range(const struct freeze *f, const void *from, uint64_t len, bool hold)
{
	return len ? sys_writes_hold(f->fd, (void *)(uintptr_t)from, len, hold) : 0;
}

bool freeze_next(const struct freeze *f, uintptr_t *at)
{
	return !sys_writes_next(f->fd, at);
}
