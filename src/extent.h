/* extent.h - the bytes of a file that are there, and its holes. See extent.c. */
#ifndef SHMB_EXTENT_H
#define SHMB_EXTENT_H

#include <stdint.h>

/* What is known of the file from `from` on: a hole up to `data`, then bytes up to `hole`. Zeros: nothing. */
struct extent {
	uint64_t from, data, hole;
};

/* Goes from *at on to the next bytes that are there, before `end`: *n of them; 0: there are none. */
int extent_next(int fd, uint64_t *at, uint64_t end, struct extent *e, uint64_t *n);

#endif
