/* cmd_blocks.c - shmbind blocks, shmbind cat */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listing {
	struct libscols_table *table;
	bool json;
};

static const char *state_word(enum shmb_block_state s)
{
	return s == SHMB_BLOCK_LIVE ? "live" : s == SHMB_BLOCK_CACHED ? "cached" : "stray";
}

static int add(void *opaque, const shmb_block_info *b)
{
	struct listing *l = opaque;
	struct libscols_line *line = scols_table_new_line(l->table, NULL);
	char buf[32];
	if (!line)
		return ENOMEM;
	snprintf(buf, sizeof buf, "0x%" PRIx64, b->ref);
	scols_line_set_data(line, 0, buf);
	snprintf(buf, sizeof buf, "%" PRIu64, b->size);
	scols_line_set_data(line, 1, buf);
	scols_line_set_data(line, 2, state_word(b->state));
	snprintf(buf, sizeof buf, "%" PRId32, b->pid);
	scols_line_set_data(line, 3, b->pid || l->json ? buf : "gone");
	return 0;
}

static int run_blocks(int argc, char **argv)
{
	struct listing l = {0};
	if (!take_flag(&verb_blocks, &argc, argv, "--json", &l.json))
		return EXIT_USAGE;
	if (argc != 2)
		return usage_error(&verb_blocks, "takes one region");
	argv[1] = path_name(argv[1]);
	l.table = table_new("blocks", l.json);
	table_column(l.table, l.json ? "ref" : "REF", true, false);
	table_column(l.table, l.json ? "size" : "SIZE", true, true);
	table_column(l.table, l.json ? "state" : "STATE", false, false);
	table_column(l.table, l.json ? "pid" : "PROCESS", true, true);
	int err = shmb_walk_name(argv[1], add, &l);
	if (err)
		table_drop(l.table);
	else
		table_print(l.table);
	return result(&verb_blocks, argv[1], err);
}

const struct verb verb_blocks = {
	"blocks", run_blocks, "NAME [--json]", "Lists the blocks of an arena region by address",
	"REF is the offset that `shmbind cat` and shmb_deref() take. live: handed out;\n"
	"cached: free in a magazine; stray: free, to be collected. PROCESS is the one whose\n"
	"memory the block was cut from; gone: it has ended, the block can still be used.\n\n"
	"  --json   for machines\n"};

/* ---- cat ------------------------------------------------------------------------ */

struct wanted {
	shmb_ref ref;
	uint64_t size; /* of the block it points into, from there on; 0: none */
};

static int find(void *opaque, const shmb_block_info *b)
{
	struct wanted *w = opaque;
	if (b->state != SHMB_BLOCK_LIVE || w->ref < b->ref || w->ref - b->ref >= b->size)
		return b->ref > w->ref;
	w->size = b->size - (w->ref - b->ref);
	return 1;
}

static int copy_out(const char *name, shmb_ref at, uint64_t left)
{
	static char buf[1 << 16];
	while (left) {
		size_t got;
		int err = shmb_read_name(name, at, buf, left < sizeof buf ? (size_t)left : sizeof buf, &got);
		if (err)
			return err;
		if (!got || fwrite(buf, 1, got, stdout) != got)
			return got ? EIO : 0;
		at += got;
		left -= got;
	}
	return 0;
}

static bool parse_ref(const char *s, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(s, &end, 0);
	return *s >= '0' && *s <= '9' && !*end && !errno;
}

static int cat_block(const char *name, const char *ref)
{
	struct wanted w = {0};
	if (!parse_ref(ref, &w.ref))
		return usage_error(&verb_cat, "%s: not a ref like 0x2a00010", ref);
	int err = shmb_walk_name(name, find, &w);
	if (err != 0 && err != 1)
		return result(&verb_cat, name, err);
	if (!w.size) {
		complain("cat", "%s: no live block at %s", name, ref);
		return EXIT_FAILED;
	}
	return result(&verb_cat, name, copy_out(name, w.ref, w.size));
}

static int run_cat(int argc, char **argv)
{
	shmb_info info;
	if (argc < 2 || argc > 3)
		return usage_error(&verb_cat, "takes a region and, for an arena, a ref");
	argv[1] = path_name(argv[1]);
	int err = shmb_info_name(argv[1], &info);
	if (err)
		return result(&verb_cat, argv[1], err);
	if (info.kind == SHMB_KIND_ARENA)
		return argc == 3 ? cat_block(argv[1], argv[2]) : usage_error(&verb_cat, "%s is an arena: which block?", argv[1]);
	if (argc == 3)
		return usage_error(&verb_cat, "%s is no arena: it has no blocks", argv[1]);
	return result(&verb_cat, argv[1], copy_out(argv[1], 0, info.size));
}

const struct verb verb_cat = {
	"cat", run_cat, "NAME [REF]", "Writes a block, or a whole raw region, to standard output",
	"REF is a number as `shmbind blocks` prints it; from inside a block, the rest of it\n"
	"is written. The program that uses it is not stopped, and reads of memory that was\n"
	"never touched give zeros.\n"};
