/*
 * lease.h - a lock byte of a region that the kernel holds for this process
 * and lets go of however the process ends.
 *
 * The lock lives on a file description of its own, which nothing keeps open
 * but one page mapped through it with MADV_DONTFORK. So it ends with the
 * address space (exit, kill, exec), no forked or cloned child prolongs it,
 * and a program that closes every descriptor does not end it.
 */
#ifndef SHMB_LEASE_H
#define SHMB_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The bytes, past any data a file can have. */
#define LEASE_OWNER ((uint64_t)1 << 62) /* the owner */
#define LEASE_WATCH (LEASE_OWNER + 1)   /* the owner too: what a reaper waits for */
#define LEASE_REAP (LEASE_OWNER + 2)    /* whoever is about to remove a dead owner's object */
#define LEASE_RAW (LEASE_OWNER + 3)     /* shared: processes that have a raw region attached */
#define LEASE_SLOT (LEASE_OWNER + 4096) /* slot 0 of an arena; the others follow */

struct lease {
	void *page; /* NULL: not held */
	uint64_t len; /* mapped there */
	pid_t pid;  /* of the process that took it; elsewhere it means nothing */
	uint64_t birth; /* of that process: a child in a new pid namespace may have the pid again */
};

/*
 * Between opening a description and closing its descriptor no fork may come,
 * or the child would have the lease too. lease_setup(): before the first use,
 * and before fork handlers of locks under which leases are taken. ENOMEM: no
 * handler can be had, and nothing is guarded.
 */
int lease_setup(void);

/*
 * Around a fork of the process's only thread: no lock is anybody's, so none is
 * taken for it, which would write to memory that parent and child then share.
 */
extern bool forks_alone;

int lease_guard(void);
void lease_unguard(void);

/*
 * Takes the first free byte of [first, first + n) of the file behind `fd`.
 * path, or NULL: where it may be found. EAGAIN: all are held. EOPNOTSUPP: on
 * this file system a mapping does not keep a lock.
 */
int lease_take(int fd, const char *path, uint64_t first, uint64_t n, struct lease *out, uint64_t *which);

/* The owner's: LEASE_OWNER, and LEASE_WATCH with it. */
int lease_take_owner(int fd, const char *path, struct lease *out);

/* A lease that any number of processes share. */
int lease_share(int fd, uint64_t byte, struct lease *out);

bool lease_held(const struct lease *l); /* by this process, not its parent before a fork */
void lease_drop(struct lease *l);

enum liveness { LIVE_NO, LIVE_YES, LIVE_UNKNOWN };

/* Is any byte of [first, first + n) held, by whomever? `fd`: any descriptor of the file. */
enum liveness lease_probe(int fd, uint64_t first, uint64_t n);

#endif
