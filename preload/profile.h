/*
 * profile.h - the parts of the profiler.
 *
 *   profile.c  what passes by: requests on their way to the allocator below
 *   record.c   what is known of each site, in a file that others read
 *   blocks.c   which blocks are live, since when, of which site
 *
 * record.c and blocks.c are called with profile.c's lock held.
 */
#ifndef SHMBIND_PROFILE_H
#define SHMBIND_PROFILE_H

#include "../src/profile_data.h"
#include "shim.h"

/* Memory of our own, of zeros, that a forked child does not have. NULL: none. */
void *own_map(size_t len);
void own_unmap(void *p, size_t len);

/* ---- blocks.c -------------------------------------------------------------- */

struct block {
	uintptr_t at;
	uint64_t born, size; /* nanoseconds; as asked for */
	uint32_t site;
};

struct blocks {
	struct block *table; /* at 0: free */
	size_t room, used;   /* room: a power of two */
};

/* False: there is no memory for one more. `at` is not there already. */
bool blocks_put(struct blocks *b, const struct block *block);
bool blocks_take(struct blocks *b, uintptr_t at, struct block *out);

/* ---- record.c -------------------------------------------------------------- */

enum { INDEX = 2 * PROFILE_SITES, OBJECTS_SEEN = 64 };

/* Zeros at first. */
struct record {
	struct profile_file *file; /* NULL: none yet */
	uint32_t index[INDEX];     /* of sites, by hash; 0: free */
	struct {
		const struct link_map *object;
		uint32_t number;
	} seen[OBJECTS_SEEN];
};

/* Makes a file in the directory. False: it cannot be done. */
bool record_start(struct record *r, const char *dir, const char *executable);

/* The number of that site. */
uint32_t record_site(struct record *r, const struct site *s);

/* A block of that site appears, or is gone; `lived`: nanoseconds, LIVED_UNKNOWN: not seen. */
#define LIVED_UNKNOWN UINT64_MAX
void record_request(struct record *r, uint32_t site, uint64_t size, bool resized);
void record_live(struct record *r, uint32_t site, uint64_t size);
void record_gone(struct record *r, uint32_t site, uint64_t size, uint64_t lived);

#endif
