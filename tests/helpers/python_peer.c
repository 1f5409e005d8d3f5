/*
 * python_peer.c - the C side of sharing an arena with examples/python/shmbind.py.
 *
 *   python_peer make NAME       makes the arena with a box "table" and a block,
 *                               says the block's ref, waits for a line, says
 *                               what is there now, closes it
 *   python_peer read NAME REF   finds box and block in it, says what is there,
 *                               writes to both
 */
#include "shmbind.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 1000, TEXT = 32 };

struct table {
	double cell[CELLS];
};
static const shmb_type table_type = SHMB_TYPE(struct table, NULL);

static int report(const char *what, int err)
{
	fprintf(stderr, "python_peer: %s: %s\n", what, shmb_strerror(err));
	return 1;
}

static int fill(void *obj, void *arg)
{
	struct table *t = obj;
	(void)arg;
	for (int i = 0; i < CELLS; i++)
		t->cell[i] = i;
	return 0;
}

static double sum(const shmb_box *box)
{
	const struct table *t = shmb_box_get(box);
	double s = 0;
	for (int i = 0; i < CELLS; i++)
		s += t->cell[i];
	return s;
}

static int make(const char *name)
{
	shmb_options opt = {.size = 1 << 24, .flags = SHMB_CREATE_ONLY};
	shmb_arena *a;
	shmb_box *box;
	char line[10], *text;
	int err = shmb_arena_open(name, &opt, &a);
	if (!err)
		err = shmb_box_find_or_new(a, "table", &table_type, fill, NULL, &box, NULL);
	if (err)
		return report(name, err);
	if (!(text = shmb_malloc(a, TEXT)))
		return report(name, ENOMEM);
	strcpy(text, "from C");
	printf("%" PRIu64 "\n", shmb_ref_of(a, text));
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return report("no line", 0);
	printf("%s %.1f\n", text, sum(box));
	err = shmb_arena_close(a);
	return err ? report(name, err) : 0;
}

static int read_it(const char *name, shmb_ref ref)
{
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	shmb_arena *a;
	shmb_box *box;
	char *text;
	int err = shmb_arena_open(name, &opt, &a);
	if (!err)
		err = shmb_box_find(a, "table", &table_type, &box);
	if (err)
		return report(name, err);
	if (!(text = shmb_deref(a, ref, TEXT)))
		return report(name, SHMB_EGONE);
	printf("%s %.1f\n", text, sum(box));
	strcpy(text, "changed by C");
	((struct table *)shmb_box_get(box))->cell[0] = -1;
	err = shmb_arena_close(a);
	return err ? report(name, err) : 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "make"))
		return make(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "read"))
		return read_it(argv[2], strtoull(argv[3], NULL, 10));
	return 2;
}
