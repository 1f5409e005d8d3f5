/*
 * preload_region.c - makes regions with known contents for tool_look.sh.
 *
 *   preload_region arena NAME wait|leak|kill   an arena of 4 MiB; see make_blocks()
 *   preload_region raw NAME wait|leak|kill     a raw region of 10000 bytes, a text first
 *   preload_region attach NAME wait|kill       attaches to the arena; blocks in use and in caches
 *   preload_region layout NAME                 where the tables of the arena are, as shell variables
 *
 * The first line is the ref of the block with the known text (arena) or "-";
 * "wait" then says "ready" and waits for the end of its input.
 */
#include "layout.h"
#include "shmbind.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARENA_SIZE = 4 << 20, RAW_SIZE = 10000, FREED = 300 };

static void done(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "preload_region: %s: %s\n", what, shmb_strerror(err));
	exit(1);
}

static void wait_for_end_of_input(void)
{
	char c;
	dprintf(STDOUT_FILENO, "ready\n");
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

static void *filled(shmb_arena *a, size_t size)
{
	void *p = shmb_malloc(a, size);
	done(p ? 0 : ENOMEM, "malloc");
	return memset(p, '.', size);
}

/* 100 live of 6000 (class 6144), 3 large of 100000 (2 units each), 300 freed of 64, one with a text. */
static shmb_ref make_blocks(shmb_arena *a)
{
	static void *small[FREED];
	char *text = filled(a, 5000);
	memcpy(text, "a known pattern\n", 16);
	for (int i = 0; i < 100; i++)
		filled(a, 6000);
	for (int i = 0; i < 3; i++)
		filled(a, 100000);
	for (int i = 0; i < FREED; i++)
		small[i] = filled(a, 64);
	for (int i = 0; i < FREED; i++)
		shmb_free(a, small[i]);
	return shmb_ref_of(a, text);
}

static void end(shmb_region *r, const char *how)
{
	if (!strcmp(how, "leak"))
		done(shmb_region_leak(r), "leak");
	else if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	else
		wait_for_end_of_input();
}

static void run_arena(const char *name, const char *how)
{
	shmb_options opt = {.size = ARENA_SIZE, .flags = SHMB_CREATE_ONLY, .run = "a run"};
	shmb_arena *a;
	done(shmb_arena_open(name, &opt, &a), name);
	dprintf(STDOUT_FILENO, "0x%" PRIx64 "\n", make_blocks(a));
	end(shmb_arena_region(a), how);
}

static void run_raw(const char *name, const char *how)
{
	shmb_options opt = {.size = RAW_SIZE, .flags = SHMB_CREATE_ONLY, .mode = 0640};
	shmb_region *r;
	done(shmb_region_open(name, &opt, &r), name);
	memset(shmb_region_addr(r), '#', RAW_SIZE);
	memcpy(shmb_region_addr(r), "a raw region\n", 13);
	dprintf(STDOUT_FILENO, "-\n");
	end(r, how);
}

static void run_attach(const char *name, const char *how)
{
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	shmb_arena *a;
	done(shmb_arena_open(name, &opt, &a), name);
	shmb_free(a, filled(a, 300));
	dprintf(STDOUT_FILENO, "0x%" PRIx64 "\n", shmb_ref_of(a, filled(a, 200)));
	end(shmb_arena_region(a), how);
}

static void run_layout(const char *name)
{
	shmb_info info;
	done(shmb_info_name(name, &info), name);
	struct layout l = layout_of(info.capacity >> UNIT_SHIFT);
	printf("units=%" PRIu64 " depots=%" PRIu64 " slots=%" PRIu64 " threads=%" PRIu64 " mags=%" PRIu64 "\n", l.units,
	       l.depots, l.slots, l.threads, l.mags);
	printf("spans=%" PRIu64 " pages=%" PRIu64 " blockmap=%" PRIu64 " data=%" PRIu64 " file=%" PRIu64 "\n", l.spans,
	       l.pages, l.blockmap, l.data, l.size);
	printf("depot_size=%zu depot_cells=%zu mag_size=%zu mag_count=%zu mag_entries=%zu\n", sizeof(struct depot_shm),
	       offsetof(struct depot_shm, cells), sizeof(struct mag_shm), offsetof(struct mag_shm, count),
	       offsetof(struct mag_shm, entries));
	printf("classes=%d unit=%d page=%d grain=%d\n", (int)CLASSES, (int)UNIT, (int)PAGE, (int)GRAIN);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	if (!strcmp(what, "arena") && argc == 4)
		run_arena(argv[2], argv[3]);
	else if (!strcmp(what, "raw") && argc == 4)
		run_raw(argv[2], argv[3]);
	else if (!strcmp(what, "attach") && argc == 4)
		run_attach(argv[2], argv[3]);
	else if (!strcmp(what, "layout"))
		run_layout(argv[2]);
	else
		return 2;
	return 0;
}
