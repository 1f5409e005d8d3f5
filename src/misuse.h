/*
 * misuse.h - is this pointer a live block? Where not, one line and abort,
 * before anything is damaged.
 */
#ifndef SHMB_MISUSE_H
#define SHMB_MISUSE_H

#include "arena.h"

struct misuse_seen {
	uint64_t off;   /* of the block in the data */
	unsigned class; /* CLASSES: a run of units */
	span_t word;    /* of its first unit */
};

static inline uint64_t misuse_seen_size(const struct misuse_seen *s)
{
	return s->class == CLASSES ? span_aux(s->word) << UNIT_SHIFT : class_size(s->class);
}

_Noreturn void misuse_report_block(const char *what, const struct shmb_arena *a, const void *p, uint64_t size, const char *why);
_Noreturn void misuse_report(const char *what, const struct shmb_arena *a, const void *p, const char *why);
void misuse_check_open(const char *what, const struct shmb_arena *a);
struct misuse_seen misuse_check_live(const char *what, const struct shmb_arena *a, const void *p);

/* Marks a block of a private snapshot freed: it is never issued again. */
void misuse_retire(struct shmb_arena *a, const struct misuse_seen *s);

#endif
