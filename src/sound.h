/*
 * sound.h - what a single word of a region may say at any moment, whoever
 * writes to it: what `check` names where it is otherwise, and what a process
 * that wants to write refuses to attach to. See sound.c.
 */
#ifndef SHMB_SOUND_H
#define SHMB_SOUND_H

#include "layout.h"

/* A count in the header that cannot be: which; NULL: all of them can. *most: what it may be. */
const char *sound_header(const struct header_shm *h, const struct layout *l, uint64_t *is, uint64_t *most);

/* What is wrong with the word of a unit, there being `units`; NULL: nothing. */
const char *sound_span(span_t w, uint64_t unit, uint64_t units);

/* What is wrong with a slot's words; NULL: nothing. */
const char *sound_slot(const struct slot_shm *s);

/* Is `h` a tenure or a hold that is, or was? The slots are as they were after the word that names it. */
bool sound_holder(holder_t h, const struct slot_shm *slots, uint32_t n);

/* Control characters become '?': what is printed may go to a terminal. The last byte of the room is 0 then. */
void sound_text(char *text, size_t room);

#endif
