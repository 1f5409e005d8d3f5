/*
 * preload_util.h - what the programs that the shim is tried on share: values
 * that the compiler cannot see through, and where a pointer lies.
 */
#ifndef PRELOAD_UTIL_H
#define PRELOAD_UTIL_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* So that the compiler knows nothing of a size. */
static inline size_t any(size_t v)
{
	__asm__ volatile("" : "+r"(v) : : "memory");
	return v;
}

/* So that it cannot pair a malloc with its free. */
static inline void *kept(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

/* The inode of the file that p is mapped from and shared, as the kernel says; 0: none. Allocates nothing. */
static inline unsigned long inode_at(const void *p)
{
	static char text[1 << 20];
	size_t n = 0;
	ssize_t got;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	while ((got = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += (size_t)got;
	close(fd);
	text[n] = 0;
	for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		uintptr_t low, high;
		unsigned long inode;
		if (sscanf(line, "%lx-%lx rw-s %*s %*s %lu", &low, &high, &inode) == 3 && (uintptr_t)p >= low &&
		    (uintptr_t)p < high)
			return inode;
	}
	return 0;
}

#endif
