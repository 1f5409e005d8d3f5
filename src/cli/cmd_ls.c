/* cmd_ls.c - shmbind ls */
#include "cli.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <string.h>

struct listing {
	struct libscols_table *table;
	bool json, all, dead; /* dead: some region has any */
};

enum { COLUMN_DEAD = 4 };

const char *kind_word(enum shmb_kind k)
{
	return k == SHMB_KIND_ARENA ? "arena" : k == SHMB_KIND_RAW ? "raw" : "other";
}

const char *owner_word(const shmb_info *i, char buf[24])
{
	switch (i->owner) {
	case SHMB_OWNER_LIVE:
		snprintf(buf, 24, i->owner_pid ? "pid %d" : "alive", (int)i->owner_pid);
		return buf;
	case SHMB_OWNER_DEAD: return "dead";
	case SHMB_OWNER_NONE: return i->kind == SHMB_KIND_ARENA ? "kept" : "-";
	default: return "unknown";
	}
}

static void bytes_cell(struct libscols_line *line, unsigned column, uint64_t bytes, bool json)
{
	char buf[24];
	if (json)
		snprintf(buf, sizeof buf, "%" PRIu64, bytes);
	scols_line_set_data(line, column, json ? buf : human(buf, bytes));
}

static int add(void *opaque, const shmb_info *i)
{
	struct listing *l = opaque;
	char buf[24];
	if (i->kind == SHMB_KIND_OTHER && !l->all)
		return 0;
	struct libscols_line *line = scols_table_new_line(l->table, NULL);
	scols_line_set_data(line, 0, l->json ? shown(i->name, true) : i->name);
	scols_line_set_data(line, 1, kind_word(i->kind));
	scols_line_set_data(line, 2, owner_word(i, buf));
	snprintf(buf, sizeof buf, "%" PRIu32, i->attached);
	scols_line_set_data(line, 3, buf);
	snprintf(buf, sizeof buf, "%" PRIu32, i->dead);
	scols_line_set_data(line, COLUMN_DEAD, buf);
	l->dead |= i->dead != 0;
	bytes_cell(line, 5, i->resident, l->json);
	bytes_cell(line, 6, i->kind == SHMB_KIND_ARENA ? i->capacity : i->size, l->json);
	snprintf(buf, sizeof buf, "%04o", (unsigned)i->mode);
	scols_line_set_data(line, 7, buf);
	scols_line_set_data(line, 8, l->json ? shown(i->creator, true) : i->creator);
	return 0;
}

static int run(int argc, char **argv)
{
	struct listing l = {0};
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			l.json = true;
		else if (!strcmp(argv[i], "--all"))
			l.all = true;
		else
			return usage_error(&verb_ls, "%s: not understood", argv[i]);
	}
	l.table = table_new("regions", l.json);
	table_column(l.table, l.json ? "name" : "NAME", false, false);
	table_column(l.table, l.json ? "kind" : "KIND", false, false);
	table_column(l.table, l.json ? "owner" : "OWNER", false, false);
	table_column(l.table, l.json ? "attached" : "ATTACHED", true, true);
	table_column(l.table, l.json ? "dead" : "DEAD", true, true);
	table_column(l.table, l.json ? "resident" : "MEMORY", true, true);
	table_column(l.table, l.json ? "capacity" : "CAPACITY", true, true);
	table_column(l.table, l.json ? "mode" : "MODE", false, false);
	table_column(l.table, l.json ? "creator" : "MADE BY", false, false);
	int err = shmb_list_in(path_dir(), add, &l);
	if (!l.json && !l.dead)
		table_hide(l.table, COLUMN_DEAD);
	table_print(l.table);
	return result(&verb_ls, path_dir(), err);
}

const struct verb verb_ls = {
	"ls", run, "[--path DIR] [--all] [--json]", "Lists the regions in the shm directory, or another",
	"OWNER is the process that removes the region when it ends; dead: it is gone, and\n"
	"the next open claims the region or `shmbind gc` removes it; kept: leaked on\n"
	"purpose. ATTACHED counts processes (raw regions: 1 for any number of them). DEAD,\n"
	"there where any are, counts those that ended attached and whose caches wait for\n"
	"recovery: by the next open, or `shmbind gc`. MEMORY is what is in use, CAPACITY\n"
	"what could be. In another directory names are whole paths, as every verb takes them.\n\n"
	"  --all    objects of other programs too\n"
	"  --json   for machines; sizes in bytes\n"};
