/*
 * region_hostile.c - a process that has a region open while region_hostile.sh
 * does things to its file.
 *
 *   region_hostile NAME raw|arena [SIZE]   SIZE: creates it, else it attaches
 *
 * Says "ready", or the error and ends with status 1. Then obeys lines: write
 * (to all it has), malloc, free (all), open (a second time), close (and ends).
 * What it says of each is "ok", or what went wrong.
 */
#include "shmbind.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 300, LARGE = 300000 };

static const char *name;
static shmb_arena *arena;
static shmb_region *region;
static void *block[BLOCKS];

static size_t size_of(unsigned i)
{
	return i % 50 ? 1000 + i : LARGE;
}

static int open_it(const char *kind, size_t size)
{
	shmb_options opt = {.size = size, .flags = size ? SHMB_CREATE_ONLY : SHMB_ATTACH_ONLY};
	return strcmp(kind, "raw") ? shmb_arena_open(name, &opt, &arena) : shmb_region_open(name, &opt, &region);
}

static int make(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (!block[i] && !(block[i] = shmb_malloc(arena, size_of(i))))
			return errno;
	return 0;
}

static int fill(void)
{
	if (region)
		memset(shmb_region_addr(region), 1, shmb_region_size(region));
	for (unsigned i = 0; i < BLOCKS; i++)
		if (block[i])
			memset(block[i], (int)i, size_of(i));
	return 0;
}

static int unmake(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		shmb_free(arena, block[i]);
		block[i] = NULL;
	}
	return 0;
}

static int open_again(void)
{
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	shmb_arena *a;
	shmb_region *r;
	int err = region ? shmb_region_open(name, &opt, &r) : shmb_arena_open(name, &opt, &a);
	if (err)
		return err;
	return region ? shmb_region_close(r) : shmb_arena_close(a);
}

static int shut(void)
{
	return region ? shmb_region_close(region) : shmb_arena_close(arena);
}

static void answer(int err)
{
	puts(err ? shmb_strerror(err) : "ok");
	fflush(stdout);
}

static const struct {
	const char *word;
	int (*act)(void);
} acts[] = {{"malloc", make}, {"write", fill}, {"free", unmake}, {"open", open_again}, {"close", shut}};

int main(int argc, char **argv)
{
	char line[20];
	if (argc < 3)
		return 2;
	name = argv[1];
	int err = open_it(argv[2], argc > 3 ? strtoul(argv[3], NULL, 0) : 0);
	if (err)
		return puts(shmb_strerror(err)), 1;
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		for (unsigned i = 0; i < sizeof acts / sizeof *acts; i++)
			if (!strcmp(line, acts[i].word))
				answer(acts[i].act());
		if (!strcmp(line, "close"))
			return 0;
	}
	return 0;
}
