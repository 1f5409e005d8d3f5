/*
 * outcome.c - what came of each failure, as a table.
 *
 * One entry for each operation, kind of call, errno, and whether it lasted:
 * all that came of it, since an operation makes several calls of a kind. The
 * table has a section a kind; errnos with the same entries share a line, and
 * so do operations. The processes that sweep write to one memory, each to
 * entries of its own operations.
 */
#include "outcome.h"

#include "ops.h"
#include "shmbind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { OPS_MAX = 80, TEXTS = 4, TEXT = 48, LINE = 4096 };

struct cell {
	char text[TEXTS][TEXT]; /* sorted; what is empty is not used */
};
/* [lasting]: once, from then on */
static struct cell (*cells)[ERRORS_MAX][OPS_MAX][2];

void outcome_setup(void)
{
	cells = mmap(NULL, KIND_COUNT * sizeof *cells, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cells == MAP_FAILED)
		abort();
}

const char *error_name(int err)
{
	static const char *const ours[] = {
		"0",        [-SHMB_EFORMAT] = "SHMB_EFORMAT",   [-SHMB_ECORRUPT] = "SHMB_ECORRUPT",
		[-SHMB_EOWNED] = "SHMB_EOWNED",     [-SHMB_ENOTOWNER] = "SHMB_ENOTOWNER",
		[-SHMB_EFOREIGN] = "SHMB_EFOREIGN", [-SHMB_EADDRESS] = "SHMB_EADDRESS",
		[-SHMB_ESLOTS] = "SHMB_ESLOTS",     [-SHMB_ETYPE] = "SHMB_ETYPE",
		[-SHMB_ETOOSMALL] = "SHMB_ETOOSMALL", [-SHMB_EGONE] = "SHMB_EGONE"};
	if (err == PART || err == END)
		return err == PART ? "a part" : "the end";
	if (err <= 0 && err >= SHMB_EGONE)
		return ours[-err];
	const char *name = err > 0 ? strerrorname_np(err) : NULL;
	return name ? name : "?";
}

bool error_known(int err)
{
	return !strstr(shmb_strerror(err), "unknown");
}

/* ---- collecting --------------------------------------------------------------------- */

static unsigned op_number(const char *op)
{
	for (unsigned i = 0; i < ops_count() && i < OPS_MAX; i++)
		if (!strcmp(op_at(i)->name, op))
			return i;
	abort();
}

static unsigned error_number(enum kind kind, int err)
{
	unsigned i = 0;
	while (kind_errors[kind][i] != err)
		i++;
	return i;
}

static int by_text(const void *x, const void *y)
{
	const char *a = x, *b = y;
	if (!*a || !*b)
		return !*a - !*b;
	return strcmp(a, b);
}

void outcome_add(const char *op, enum kind kind, int err, bool lasting, const char *text)
{
	struct cell *c = &cells[kind][error_number(kind, err)][op_number(op)][lasting];
	for (unsigned i = 0; i < TEXTS; i++) {
		if (!strcmp(c->text[i], text))
			return;
		if (!c->text[i][0]) {
			snprintf(c->text[i], TEXT, "%s", text);
			qsort(c->text, TEXTS, TEXT, by_text);
			return;
		}
	}
	fprintf(stderr, "faults: more than %d ways to end: %s, %s\n", TEXTS, op, kind_names[kind]);
	abort();
}

/* ---- the table -------------------------------------------------------------------------- */

static bool used(enum kind kind, unsigned e, unsigned op)
{
	return cells[kind][e][op][0].text[0][0];
}

static bool same_cells(enum kind kind, unsigned e, unsigned f, unsigned op, unsigned as)
{
	return !memcmp(cells[kind][e][op], cells[kind][f][as], sizeof cells[kind][e][op]);
}

static bool same_errors(enum kind kind, unsigned e, unsigned f)
{
	for (unsigned op = 0; op < ops_count(); op++)
		if (!same_cells(kind, e, f, op, op))
			return false;
	return true;
}

static void cell_print(const struct cell *c)
{
	for (unsigned i = 0; i < TEXTS && c->text[i][0]; i++) {
		bool same = c->text[i][0] == '=';
		printf("%s%s%s", i ? "; " : "", same ? "the same" : "", c->text[i] + same);
	}
}

/* The errnos that end as number `e` does; none, where an earlier one does. */
static bool errors_text(enum kind kind, unsigned e, char *out, size_t len)
{
	size_t n = 0;
	for (unsigned f = 0; f < ERRORS_MAX && kind_errors[kind][f]; f++) {
		if (!same_errors(kind, e, f))
			continue;
		if (f < e)
			return false;
		n += (size_t)snprintf(out + n, len - n, "%s%s", n ? ", " : "", error_name(kind_errors[kind][f]));
	}
	return true;
}

static void rows_print(enum kind kind, unsigned e, const char *errors)
{
	for (unsigned op = 0; op < ops_count(); op++) {
		bool earlier = false;
		unsigned n = 0;
		for (unsigned as = 0; as < op && !earlier; as++)
			earlier = used(kind, e, as) && same_cells(kind, e, e, op, as);
		if (!used(kind, e, op) || earlier)
			continue;
		printf("| %s | ", errors);
		for (unsigned as = op; as < ops_count(); as++)
			if (same_cells(kind, e, e, op, as))
				printf("%s%s", n++ ? "; " : "", op_at(as)->name);
		printf(" | ");
		cell_print(&cells[kind][e][op][0]);
		printf(" | ");
		cell_print(&cells[kind][e][op][1]);
		printf(" |\n");
	}
}

static void kind_print(enum kind kind)
{
	char errors[LINE];
	printf("\n## %s\n\n| fails with | in | once | from then on |\n|---|---|---|---|\n", kind_names[kind]);
	for (unsigned e = 0; e < ERRORS_MAX && kind_errors[kind][e]; e++)
		if (errors_text(kind, e, errors, sizeof errors))
			rows_print(kind, e, errors);
}

void outcome_list(void)
{
	for (unsigned k = 0; k < KIND_COUNT; k++)
		for (unsigned e = 0; e < ERRORS_MAX && kind_errors[k][e]; e++)
			for (unsigned op = 0; op < ops_count(); op++) {
				if (!used(k, e, op))
					continue;
				printf("%s | %s | %s | ", kind_names[k], error_name(kind_errors[k][e]), op_at(op)->name);
				cell_print(&cells[k][e][op][0]);
				printf(" | ");
				cell_print(&cells[k][e][op][1]);
				printf("\n");
			}
}

void outcome_print(void)
{
	for (unsigned k = 0; k < KIND_COUNT; k++) {
		bool any = false;
		for (unsigned op = 0; op < ops_count(); op++)
			any |= used(k, 0, op);
		if (any)
			kind_print(k);
	}
}
