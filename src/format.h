/* format.h - the header of an arena region: written once, read warily. */
#ifndef SHMB_FORMAT_H
#define SHMB_FORMAT_H

#include "layout.h"

struct format_wish {
	uint64_t capacity; /* bytes, not yet rounded */
	const char *run;   /* NULL: none */
	bool hardened;
};

/* Writes the header of a new region to `fd`; arg: a struct format_wish. */
int format_write(int fd, void *arg);

/*
 * Reads the header of a file of `size` bytes without mapping it.
 * SHMB_EFORMAT: no arena region of ours; SHMB_ECORRUPT: one that cannot be.
 */
int format_read(int fd, uint64_t size, struct header_shm *h, struct layout *l);

#endif
