/* rules.h - the rules of a preloaded program, in its region. See rules.c. */
#ifndef SHMB_RULES_H
#define SHMB_RULES_H

#include "arena.h"

/*
 * Puts rules into force, of which `text` is all, and says so to the processes
 * that follow them. EBUSY: somebody else is at it. The caller has a tenure.
 */
int rules_publish(struct shmb_arena *a, const char *text, const struct rule *rules, unsigned n, bool off);

/*
 * The text of the rules in force, with a NUL, to a room of RULES_TEXT bytes.
 * Their generation; 0: there are none, or they are just being changed.
 */
uint32_t rules_read(const struct shmb_arena *a, char *text, bool *off);

/* The entry of each rule of that generation. False: there is another now, or it is not what it should be. */
bool rules_entries(const struct shmb_arena *a, uint32_t gen, unsigned n, uint8_t entries[RULES]);

#endif
