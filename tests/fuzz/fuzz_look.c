/*
 * fuzz_look.c - everything that only looks, at regions that anybody may have
 * written: no crash, no hang, nothing named that lies outside the region, no
 * JSON that is none, nothing printed that a terminal would obey.
 */
#include "image.h"
#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SECONDS = 2, TEXT = 1 << 20 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	image_setup();
	return 0;
}

/* ---- what is written ------------------------------------------------------------------ */

static char text[TEXT];
static size_t text_len;

static void collect(void *opaque, const char *s)
{
	size_t n = strlen(s);
	(void)opaque;
	if (text_len + n >= TEXT)
		find("more than a MiB of text");
	memcpy(text + text_len, s, n + 1);
	text_len += n;
}

static void printable_only(const char *what)
{
	for (size_t i = 0; i < text_len; i++)
		if (((unsigned char)text[i] < ' ' && text[i] != '\n') || text[i] == 0x7f)
			find("%s prints the byte %#x: %.200s", what, (unsigned)text[i], text);
}

static void look_stats(bool json)
{
	text_len = 0;
	if (shmb_stats_name(IMAGE_NAME, collect, NULL, json ? "J" : ""))
		return;
	if (!json)
		printable_only("stats");
	else if (!json_valid(text, text_len))
		find("no JSON: %.2000s", text);
}

static void look_check(void)
{
	text_len = 0;
	(void)shmb_check_name(IMAGE_NAME, collect, NULL);
	printable_only("check");
}

static void look_rules(bool json)
{
	text_len = 0;
	if (shmb_rules_name(IMAGE_NAME, collect, NULL, json ? "J" : ""))
		return;
	if (!json)
		printable_only("rules");
	else if (!json_valid(text, text_len))
		find("no JSON: %.2000s", text);
}

/* ---- what is saved ----------------------------------------------------------------------- */

/* It may be refused. A saved region that is loaded is the same to who looks. */
static void look_saved(void)
{
	static const char path[] = "/dev/shm/saved", name[] = "/loaded";
	text_len = 0;
	int exact, before = shmb_check_name(IMAGE_NAME, collect, NULL);
	if (shmb_save_name(IMAGE_NAME, path, &exact))
		return;
	if (!shmb_load_name(path, name)) {
		int after = shmb_check_name(name, collect, NULL);
		if (!before && after)
			find("loaded, it is corrupt: %.2000s", text);
		if (unlink("/dev/shm/loaded"))
			find("no region was loaded");
	}
	if (unlink(path))
		find("no file was saved");
}

/* ---- what is named ---------------------------------------------------------------------- */

struct seen {
	uint64_t end; /* of the last block */
	uint64_t size, blocks;
	shmb_ref ref;
};

static int each_block(void *opaque, const shmb_block_info *b)
{
	struct seen *s = opaque;
	if (b->ref < s->end || b->size > s->size || b->ref > s->size - b->size || !b->size)
		find("a block of %lu bytes at %#lx, after %#lx, of %#lx", (unsigned long)b->size, (unsigned long)b->ref,
		     (unsigned long)s->end, (unsigned long)s->size);
	if (b->state == SHMB_BLOCK_LIVE)
		s->ref = b->ref;
	s->blocks++;
	return 0;
}

static void look_blocks(uint64_t size)
{
	struct seen s = {.size = size};
	char buf[64];
	size_t got;
	(void)shmb_walk_name(IMAGE_NAME, each_block, &s);
	(void)shmb_read_name(IMAGE_NAME, s.ref, buf, sizeof buf, &got);
	(void)shmb_read_name(IMAGE_NAME, size - 5, buf, sizeof buf, &got);
}

static void look_attached(void)
{
	shmb_options opt = {.flags = SHMB_READ_ONLY};
	static const shmb_type type = {.name = "thing", .size = 40, .align = 8};
	shmb_arena *a;
	shmb_box *box;
	if (shmb_arena_open(IMAGE_NAME, &opt, &a))
		return;
	char *from = shmb_region_addr(shmb_arena_region(a));
	for (uint64_t at = image_layout.data; at < image_layout.size; at += 4080) {
		char *p = shmb_deref(a, at, 16);
		if (p && p != from + at)
			find("the ref %#lx leads to %p", (unsigned long)at, (void *)p);
	}
	(void)shmb_deref(a, UINT64_MAX, 1);
	(void)shmb_deref(a, image_block, SIZE_MAX);
	if (shmb_box_find(a, "first", &type, &box) != EACCES)
		find("a box through a read-only arena");
	if (shmb_malloc(a, 10))
		find("memory from a read-only arena");
	if (shmb_arena_close(a))
		find("a read-only arena does not close");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	shmb_info info;
	(void)image_restore(data, size);
	image_limit_time(SECONDS);
	if (!shmb_info_name(IMAGE_NAME, &info)) { /* not all of it each time: it takes milliseconds */
		if (!size || data[0] & 0x10)
			look_blocks(info.size);
		if (!size || data[0] & 0x20)
			look_attached();
		if (size && data[0] & 0x80)
			look_saved();
		look_stats(size && (data[0] & 0x40));
		look_rules(size && (data[0] & 0x40));
		look_check();
	}
	image_limit_time(0);
	return 0;
}
