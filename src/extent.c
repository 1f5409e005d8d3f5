/* extent.c - the bytes of a file that are there, and its holes, by lseek(2). See extent.h. */
#include "extent.h"

#include "sys.h"

#include <errno.h>

static int extent_find(int fd, uint64_t off, struct extent *e)
{
	*e = (struct extent){.from = off, .data = off, .hole = UINT64_MAX};
	int err = sys_seek_data(fd, off, &e->data);
	if (!err)
		err = sys_seek_hole(fd, e->data, &e->hole);
	if (err == ENXIO) { /* none up to the end of the file */
		e->data = e->hole = UINT64_MAX;
		err = 0;
	}
	return err;
}

int extent_next(int fd, uint64_t *at, uint64_t end, struct extent *e, uint64_t *n)
{
	*n = 0;
	while (*at < end && !*n) {
		int err = *at >= e->from && *at < e->hole ? 0 : extent_find(fd, *at, e);
		if (err)
			return err;
		uint64_t stop = e->hole < end ? e->hole : end;
		if (*at < e->data)
			*at = e->data;
		*n = *at < stop ? stop - *at : 0;
	}
	return 0;
}
