/*
 * raw.c - regions whose bytes are the user's from offset 0, as any other
 * user of POSIX shared memory sees them.
 *
 * Nothing of ours is stored inside. A new one's memory is committed at once
 * (unless SHMB_SPARSE), so that touching it is never SIGBUS for lack of room.
 */
#include "region.h"

#include "sys.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static int raw_map(struct shmb_region *r, int fd, unsigned flags)
{
	int prot = PROT_READ | (r->read_only ? 0 : PROT_WRITE);
	int err = sys_map(NULL, r->size, prot, MAP_SHARED, fd, 0, &r->addr);
	if (!err && !r->read_only)
		err = lease_share(fd, LEASE_RAW, &r->attached);
	if (!err && (flags & SHMB_REAPER) && lease_held(&r->owner))
		err = region_reaper(r, fd);
	if (!err)
		err = region_publish(r);
	if (err && r->addr)
		sys_unmap(r->addr, r->size);
	return err;
}

int shmb_region_open(const char *name, const shmb_options *opt, shmb_region **out)
{
	struct region_format format = {.size = opt ? opt->size : 0};
	struct shmb_region *r;
	int fd;
	int err = region_acquire(name, opt, &format, &r, &fd);
	if (err)
		return err;
	err = raw_map(r, fd, opt ? opt->flags : 0);
	if (err) {
		sys_close(fd);
		region_abandon(r);
		return err;
	}
	region_keep_descriptor(r, fd);
	*out = r;
	return 0;
}

int shmb_region_close(shmb_region *r)
{
	if (!r)
		return 0;
	(void)sys_unmap(r->addr, r->size);
	return region_release(r);
}
