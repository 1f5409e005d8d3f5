/*
 * stderr.c - is descriptor 2 still what the program was started with?
 *
 * A program that was started without one, or has closed it, gets the number
 * for a file or connection of its own. Nothing of ours may be written there.
 * Set before any other thread exists.
 */
#include "shim.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static struct stat first;
static bool known, open_at_start;

bool shim_stderr_is_as_was(void)
{
	struct stat now;
	int saved = errno;
	bool open = fstat(STDERR_FILENO, &now) == 0;
	errno = saved;
	if (!known) {
		known = true;
		open_at_start = open;
		first = now;
	}
	return open && open_at_start && now.st_dev == first.st_dev && now.st_ino == first.st_ino;
}

__attribute__((constructor)) static void note(void)
{
	(void)shim_stderr_is_as_was();
}
