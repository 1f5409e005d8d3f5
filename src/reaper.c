/*
 * reaper.c - the opt-in process that outlives an owner to unlink its region.
 *
 * A grandchild of the owner, in a session of its own, with no descriptor but
 * the region's and deaf to signals, waits for the byte that the owner's
 * lease covers besides ownership, so that openers never mistake the waiting
 * or waking reaper for an owner. Then it removes what a `gc` would remove.
 *
 * _Fork runs no fork handlers, so no library of the program notices. Between
 * it and _exit only system calls are made.
 */
#include "region.h"

#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static _Noreturn void reaper_main(const struct shmb_region *r, int fd)
{
	lease_unguard(); /* as it was at the fork */
	sys_become_server("shmb-reaper");
	(void)sys_close_but(fd);
	(void)sys_unmap(r->addr, r->size);
	region_unmap_all(); /* this copy must not keep alive what the owner closes */
	if (!sys_lock(fd, F_WRLCK, LEASE_WATCH, true))
		(void)region_reap(fd, r->name);
	_exit(0);
}

int region_reaper(const struct shmb_region *r, int fd)
{
	pid_t child;
	int own, err = sys_reopen(fd, NULL, O_RDWR, &own);
	if (err)
		return err;
	err = lease_guard();
	if (err) {
		sys_close(own);
		return err;
	}
	err = sys_fork(&child);
	if (!err && child == 0) {
		pid_t grandchild;
		sys_session();
		err = sys_fork(&grandchild);
		if (!err && grandchild == 0)
			reaper_main(r, own);
		_exit(err != 0);
	}
	lease_unguard();
	sys_close(own);
	int status = 0; /* a program that waits for any child may have been quicker: then trust it */
	if (!err && !sys_wait(child, &status) && status != 0)
		err = EAGAIN;
	return err;
}
