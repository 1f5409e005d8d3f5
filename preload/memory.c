/*
 * memory.c - what programs ask of the kernel for heap memory, where it answers
 * for a shared mapping otherwise than for the private one they count on.
 *
 * madvise: DONTNEED and DONTNEED_LOCKED of placed memory, and GUARD_INSTALL,
 * leave zeros. They are written in place: pages that are given back could not
 * be had again on a full file system, and a touch would be SIGBUS; it is also
 * five to twenty times as fast as punching and populating. FREE may leave what
 * there was, and does. REMOVE is refused.
 * mlockall: what is not there yet of a region is locked when it comes, not
 * made at once: that would be the whole capacity.
 *
 * All else is the kernel's: which ranges are good, and errno. It judges a
 * range of ours by COLD, which has no effect that shows, and the same rules
 * as DONTNEED and FREE. A forked child's snapshot is private memory and needs
 * nothing of this.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { PAGE_BYTES = 4096 };

static int kernel_madvise(void *p, size_t len, int advice)
{
	return (int)syscall(SYS_madvise, p, len, advice);
}

static bool is_special(int advice)
{
	return advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED || advice == MADV_FREE ||
	       advice == MADV_REMOVE || advice == MADV_GUARD_INSTALL;
}

/* ENOMEM is said at the end: what there is of the range is treated all the same. */
static int advise_ours(void *p, size_t len, int advice)
{
	if (advice == MADV_REMOVE) {
		errno = EINVAL;
		return -1;
	}
	int as = advice == MADV_DONTNEED || advice == MADV_FREE ? MADV_COLD : advice;
	int r = kernel_madvise(p, len, as), saved = errno;
	if ((r == 0 || errno == ENOMEM) && advice != MADV_FREE && !preload_zero(p, len)) {
		errno = EAGAIN;
		return -1;
	}
	errno = saved;
	return r;
}

/* Good: page-aligned, and does not wrap. The parts of it are ours and others' in turn. */
static int advise_parts(char *p, size_t len, int advice)
{
	int saved = errno;
	bool holes = false;
	for (char *end = p + len; p < end;) {
		size_t n;
		bool ours = preload_shared(p, (size_t)(end - p), &n);
		if (ours ? advise_ours(p, n, advice) : kernel_madvise(p, n, advice)) {
			if (errno != ENOMEM)
				return -1;
			holes = true;
		}
		p += n;
	}
	errno = holes ? ENOMEM : saved;
	return holes ? -1 : 0;
}

EXPORT int madvise(void *p, size_t len, int advice)
{
	size_t whole = (len + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	if (is_special(advice) && len && whole && (uintptr_t)p % PAGE_BYTES == 0 && (uintptr_t)p + whole > (uintptr_t)p)
		return advise_parts(p, whole, advice);
	return kernel_madvise(p, len, advice);
}

/* ---- mlockall ------------------------------------------------------------------- */

/* Calls `each` for every mapping, without the heap. False: /proc does not say. */
static bool maps_each(void (*each)(char *from, char *to))
{
	char text[512];
	size_t have = 0;
	ssize_t got;
	bool fresh = true; /* at a line's start */
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	while ((got = read(fd, text + have, sizeof text - 1 - have)) > 0) {
		char *line = text, *newline;
		text[have += (size_t)got] = 0;
		while ((newline = strchr(line, '\n')) || (have == sizeof text - 1 && line == text)) {
			char *dash, *from = (char *)strtoul(line, &dash, 16);
			if (fresh && *dash == '-')
				each(from, (char *)strtoul(dash + 1, NULL, 16));
			fresh = newline != NULL;
			line = newline ? newline + 1 : text + have;
		}
		have -= (size_t)(line - text);
		memmove(text, line, have);
	}
	close(fd);
	return true;
}

static void lock_outside(char *from, char *to)
{
	if (from < to && !shmb_arena_of(from))
		(void)syscall(SYS_mlock, from, to - from); /* mlockall, too, ignores what cannot be made */
}

EXPORT int mlockall(int flags)
{
	int bad = flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	if (bad || !(flags & MCL_CURRENT) || flags & MCL_ONFAULT || !policy.active)
		return (int)syscall(SYS_mlockall, flags);
	if (syscall(SYS_mlockall, flags | MCL_ONFAULT))
		return -1;
	int saved = errno;
	(void)maps_each(lock_outside);
	if (flags & MCL_FUTURE) /* ONFAULT was for what there is */
		(void)syscall(SYS_mlockall, MCL_FUTURE);
	errno = saved;
	return 0;
}
