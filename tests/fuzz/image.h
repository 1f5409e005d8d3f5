/*
 * image.h - arena regions to be spoilt: a valid one with something in every
 * table, and patches to it that a fuzzer's bytes stand for.
 *
 * A region is tens of MiB of which little is there, so an input is not the
 * image but a list of changes: sixteen bytes each (struct patch), of which
 * most say a table, an entry, a field, and what to make of it. What they lead
 * to is mostly one step from valid, which is where mistakes are.
 */
#ifndef FUZZ_IMAGE_H
#define FUZZ_IMAGE_H

#include "layout.h"

#include <stddef.h>
#include <stdint.h>

#define IMAGE_NAME "/fuzz"

struct patch {
	uint8_t table, field;
	uint16_t entry;
	uint8_t how, bit;
	uint16_t element; /* of a field that is an array */
	uint64_t value;
};

/*
 * Gives the process a /dev/shm of its own and makes the image there. The region
 * has a dead process (slot 0), an attached one (slot 1, a child that sleeps), and
 * one that has left (slot 2). Ends the process with 77 where that is not allowed.
 */
void image_setup(void);

/* The private /dev/shm alone. */
void image_private_shm(void);

/*
 * The region as it was made, then changed by the patches that the input starts
 * with: their number is in the low half of the first byte. Returns where they end.
 */
size_t image_restore(const uint8_t *data, size_t size);

/* What the image was made of. */
extern struct layout image_layout;
extern uint64_t image_block; /* ref of a live block */

/* Spends more than this of the processor's time on one input: abort(). */
void image_limit_time(unsigned seconds);

/* Said, and abort(). */
_Noreturn void find(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
