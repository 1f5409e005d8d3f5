/*
 * profile_data.h - what the shim records under SHMBIND_PROFILE, and what
 * `shmbind profile` reads: a file for each process, mapped while it runs, so
 * that it is there however the process ends.
 *
 * The file is a header, PROFILE_OBJECTS objects, PROFILE_SITES sites; sparse.
 * One process writes, under a lock of its own. A reader may come at any time
 * and finds each number as it was at some moment; objects and sites below
 * their counts are complete.
 */
#ifndef SHMB_PROFILE_DATA_H
#define SHMB_PROFILE_DATA_H

#include <stdatomic.h>
#include <stdint.h>

#define PROFILE_MAGIC UINT64_C(0x0100666f7270626d) /* raised with every change of this file */

enum {
	PROFILE_SITES = 16384,
	PROFILE_OBJECTS = 1024,
	PROFILE_NAME = 512,
	PROFILE_STEPS = 4,       /* classes of lifetimes to each doubling of nanoseconds */
	PROFILE_LIFETIMES = 192, /* the last takes five days and more */

	PROFILE_SITE_REST = 0,  /* of all requests for whose sites or objects there was no room */
	PROFILE_SITE_NONE = 1,  /* of code that lies in no object */
	PROFILE_SITES_FIXED = 2,
	PROFILE_NO_OBJECT = 0xffffffff,
};

struct profile_tally {
	uint64_t requests, bytes; /* all there were; as asked for */
	uint64_t resized;         /* requests that gave a block another size */
	uint64_t live, live_bytes;
	uint64_t peak; /* of live_bytes */
};

struct profile_object {
	char name[PROFILE_NAME]; /* as the loader has it; the executable's path */
	struct profile_tally sum;
};

struct profile_site {
	uint32_t object; /* or PROFILE_NO_OBJECT */
	uint32_t unused;
	uint64_t offset; /* in the object: what the call returns to */
	struct profile_tally sum;
	uint64_t least, most; /* sizes asked for */
	uint64_t at_peak;     /* live_bytes at the process's peak number `peaks` */
	uint64_t peaks;
	uint64_t lifetimes[PROFILE_LIFETIMES]; /* of blocks that were freed or given another size */
};

struct profile_head {
	uint64_t magic;
	int32_t pid;
	int32_t parent;
	char executable[PROFILE_NAME];
	_Atomic uint32_t objects, sites;
	struct profile_tally sum;
	uint64_t peaks;               /* how often `sum.peak` rose */
	uint64_t untracked;           /* blocks that there was no memory to remember: in no `live` */
	_Atomic uint64_t interrupted; /* calls by signal handlers in the middle of another: not recorded */
	_Atomic uint64_t unrecorded;  /* forked children that could make no file */
};

struct profile_file {
	_Alignas(4096) struct profile_head head;
	_Alignas(4096) struct profile_object objects[PROFILE_OBJECTS];
	_Alignas(4096) struct profile_site sites[PROFILE_SITES];
};

/* The class of a lifetime, and the least nanoseconds of a class. */
static inline unsigned profile_lifetime(uint64_t ns)
{
	if (ns < PROFILE_STEPS)
		return (unsigned)ns;
	unsigned log = 63 - (unsigned)__builtin_clzll(ns);
	unsigned class = PROFILE_STEPS * (log - 1) + (unsigned)(ns >> (log - 2)) % PROFILE_STEPS;
	return class < PROFILE_LIFETIMES ? class : PROFILE_LIFETIMES - 1;
}

static inline uint64_t profile_lifetime_least(unsigned class)
{
	if (class < PROFILE_STEPS)
		return class;
	return (uint64_t)(PROFILE_STEPS + class % PROFILE_STEPS) << (class / PROFILE_STEPS - 1);
}

/* `live_bytes` at the peak: a site that has not changed since has them still. */
static inline uint64_t profile_at_peak(const struct profile_head *h, const struct profile_site *s)
{
	return s->peaks == h->peaks ? s->at_peak : s->sum.live_bytes;
}

#endif
