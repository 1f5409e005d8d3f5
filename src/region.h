/* region.h - a region as this process has it open. See region.c. */
#ifndef SHMB_REGION_H
#define SHMB_REGION_H

#include "lease.h"
#include "name.h"
#include "shmbind.h"

#include <sys/types.h>

struct shmb_region {
	char name[REGION_NAME]; /* canonical */
	void *addr;
	uint64_t size;
	dev_t dev;
	ino_t ino;
	uint64_t granule; /* what a part of it is mapped in: a page, or its file system's */
	int fd; /* a convenience: used only while fstat says that it still is this file */
	bool read_only;
	enum shmb_how how;
	unsigned dir; /* see name_keep_dir() */
	struct lease owner;    /* held: this process owns the region */
	struct lease attached; /* raw: others can tell that somebody is there */
	struct shmb_region *next;
};

/* What a new object is: so many bytes; or what `write` makes of the open, empty, unnamed file. */
struct region_format {
	uint64_t size; /* 0: it may not be made */
	int (*write)(int fd, void *arg);
	void *arg;
};

/*
 * Finds or makes the object, decides who owns it, and leaves `r` with name,
 * size, inode, how and leases set and a descriptor in *fd; maps nothing.
 */
int region_acquire(const char *name, const shmb_options *opt, const struct region_format *format,
                   struct shmb_region **out, int *fd);

/* A descriptor of the region, to be given back with sys_close(); by its name if need be. */
int region_descriptor(const struct shmb_region *r, int *fd);

/* Files the region among those that exit unlinks. EMFILE: 1,024 are open. */
int region_publish(struct shmb_region *r);

/* Takes over `fd`: keeps it at a high number where that can be had, else closes it. */
void region_keep_descriptor(struct shmb_region *r, int fd);

/* Starts the process that unlinks the region when this one, its owner, dies. */
int region_reaper(const struct shmb_region *r, int fd);

/* Unlinks in the owner, lets go of the leases, frees `r`. The mapping is the caller's. */
int region_release(struct shmb_region *r);

/* The same after a failed open: what was found, even claimed, stays as it was. */
void region_abandon(struct shmb_region *r);

/* Unmaps every open region; for a process that will touch none. */
void region_unmap_all(void);

/* Unlinks the regions this process owns, as its exit does. Safe while other threads run. */
void region_unlink_owned(void);

/*
 * Removes the object behind `fd` from its name if nobody living owns it and
 * it was not leaked. SHMB_EOWNED: it has an owner; EPERM: leaked or not ours.
 */
int region_reap(int fd, const char *canonical);

/* Unlinks `canonical` if it still names the file behind `fd`; else SHMB_EGONE. */
int region_unlink_if_same(int fd, const char *canonical);

#endif
