/*
 * region_dlclose.c - a program that is not linked with the library: loads it,
 * opens a region or an arena, unloads it, and goes on.
 *
 *   region_dlclose LIBRARY NAME raw|arena
 *
 * Says "ready" after dlclose() and waits for the end of its input.
 */
#include "shmbind.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef int open_region(const char *, const shmb_options *, shmb_region **);
typedef int open_arena(const char *, const shmb_options *, shmb_arena **);

static int open_with(void *lib, const char *name, const char *kind)
{
	shmb_options opt = {.size = 1 << 20};
	void *f = dlsym(lib, !strcmp(kind, "arena") ? "shmb_arena_open" : "shmb_region_open");
	shmb_region *r;
	shmb_arena *a;
	if (!f)
		return -1;
	return !strcmp(kind, "arena") ? ((open_arena *)f)(name, &opt, &a) : ((open_region *)f)(name, &opt, &r);
}

int main(int argc, char **argv)
{
	char c;
	if (argc != 4)
		return 2;
	void *lib = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		fprintf(stderr, "region_dlclose: %s\n", dlerror());
		return 1;
	}
	if (open_with(lib, argv[2], argv[3]) || dlclose(lib))
		return 1;
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
