/*
 * view.h - the tables of an arena region as they were at one moment, copied,
 * for those who look from outside. See view.c.
 */
#ifndef SHMB_VIEW_H
#define SHMB_VIEW_H

#include "arena.h"

#include <stddef.h>

struct view {
	struct header_shm h;
	struct layout lay;
	uint64_t ready; /* units that have tables; what follows is that long or as the header says */
	uint32_t slots_n, threads_n, mags_n, boxes_n, names_n, rules_n;
	bool slot_alive[SLOTS]; /* its lease was held */
	span_t *spans;
	page_t *pages;
	struct depot_shm *depots;
	struct slot_shm *slots;
	struct thread_shm *threads;
	struct mag_shm *mags;
	struct box_shm *boxes;
	struct name_shm *names;
	struct bucket_shm *buckets; /* of the names */
	struct rules_shm *rules; /* where rules_n is not 0: that many entries */
	uint8_t *unit_tags;      /* here, too, and its bits */
	uint64_t *tag_bits;
	uint8_t *blocks; /* of SMALL units; zeros elsewhere; none beyond SMALL_UNITS */
	uint8_t *tags;   /* as these, for who asks; NULL: there are no rules */
	void *memory;
	uint64_t memory_len;
	uint64_t digest; /* of what was copied */
};

/* Copies the tables of the arena region `name`, or of the open one behind `fd`; then the blocks' tags, too, or not. */
int view_open_name(struct view *v, const char *name);
int view_open_fd(struct view *v, int fd, bool tags);
void view_close(struct view *v);
static inline bool view_hardened(const struct view *v) { return v->h.flags & HEADER_HARDENED; }

/*
 * The same of the open one behind `fd`, without the block map; what that says is read a piece at a time and
 * counted: counts[b] is how many of its bytes in SMALL units are b. Ten million
 * blocks have 40 MB of it, of which a copy would cost mostly page faults.
 * tags: who is told of each live block among them that has one; NULL: nobody.
 */
struct view_tags {
	void (*each)(void *ctx, unsigned class, uint8_t tag);
	void *ctx;
};
int view_open_tables(struct view *v, int fd);
int view_count_blocks(const struct view *v, int fd, uint64_t counts[256], const struct view_tags *tags);

/* The units of the large block that starts at this one; 0: none does. */
uint64_t view_large(const struct view *v, uint64_t unit);

/* What a unit, page or slot word says, made safe to use. */
bool view_holder_live(const struct view *v, holder_t h);
int32_t view_holder_pid(const struct view *v, holder_t h); /* 0: stale */

/*
 * Opens what a name stands for, read-only: a plain file in the shm directory,
 * or, since no region's name has a slash but as its first byte, the file of
 * that path.
 */
int view_file(const char *name, int *fd, uint64_t *size);
int view_file_label(const char *name, int *fd, char label[REGION_NAME]); /* and name_label() of it */

/* Calls `each` for every block in order; stops when it returns other than 0 and returns that. */
struct view_block {
	uint64_t off, size; /* in the data */
	enum block_state state;
	unsigned class; /* CLASSES: a run of units */
	holder_t holder;
};
int view_each_block(const struct view *v, int (*each)(void *ctx, const struct view_block *b), void *ctx);

#endif
