/*
 * canary.h - the end of a block in a hardened region, and what fills it while
 * it is free. See canary.c.
 */
#ifndef SHMB_CANARY_H
#define SHMB_CANARY_H

#include "misuse.h"

enum { CANARY = 8, JUNK = 0x5a };
enum { CANARY_SLACK_BITS = 16 };

/* The canary of the block at data offset `off`, of which `slack` bytes before it were not asked for. */
uint64_t canary_make(const uint64_t key[2], uint64_t off, uint64_t slack);

/* What the end of a block says: `end` are its last bytes, UNIT at most. */
struct canary_seen {
	bool intact;    /* the canary, that is; then: */
	uint64_t slack; /* bytes before it that were not asked for */
	bool kept;      /* as far as they are in `end` they are JUNK still */
};
struct canary_seen canary_look(const uint64_t key[2], uint64_t off, uint64_t size, const void *end, uint64_t end_len);

/* Is all of a free block but the canary JUNK, and the canary one? */
bool canary_free_intact(const uint64_t key[2], uint64_t off, const void *p, uint64_t size);

/* ---- in an arena that is hardened ------------------------------------------------------ */

/* Of a block of `bytes` at `off`, `size` were asked for. What is not must be JUNK before: canary_fill() or a free block. */
void canary_set(struct shmb_arena *a, uint64_t off, uint64_t bytes, uint64_t size);
void canary_fill(struct shmb_arena *a, uint64_t off, uint64_t bytes, uint64_t size);

/* A block that is free becomes one that a magazine may list. */
void canary_prepare(struct shmb_arena *a, uint32_t grain, unsigned class);

/* Dies where a live block was written to beyond its end; a free one at all. */
void canary_check(const char *what, const struct shmb_arena *a, const struct misuse_seen *s);
void canary_check_free(const char *what, const struct shmb_arena *a, uint32_t grain, unsigned class);

/* How much was asked for; in a private snapshot and where one only reads, what may be. */
uint64_t canary_size(const char *what, const struct shmb_arena *a, const struct misuse_seen *s);

/* The same of any block; where its end was overwritten, what may be. */
uint64_t canary_usable(const struct shmb_arena *a, uint64_t off, uint64_t size);

#endif
