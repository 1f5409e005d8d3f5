/*
 * profile.h - the parts of `shmbind profile`.
 *
 *   cmd_profile.c      the options, the command
 *   profile_dir.c      the directory that its processes record in
 *   profile_load.c     what they recorded, added up
 *   profile_symbols.c  the names of functions
 *   profile_rules.c    the rules file
 *   profile_report.c   the table, and JSON
 */
#ifndef SHMBIND_CLI_PROFILE_H
#define SHMBIND_CLI_PROFILE_H

#include "../profile_data.h"
#include "cli.h"

#include <stdio.h>

enum { RULES_MOST = 64, RULES_BYTES = 16382, RULE_NAME_ROOM = 32 }; /* what the shim takes */

/* ---- profile_dir.c ---------------------------------------------------------- */

/* Makes it, and removes those that killed tools left. False: it cannot be done (said). */
bool profile_dir_make(char path[64]);
void profile_dir_remove(const char *path);

/* ---- profile_load.c --------------------------------------------------------- */

enum { NO_MODULE = -1 };

/* Peaks are those of the process where they were highest. */
struct module {
	char *path;
	struct profile_tally sum;
	uint64_t at_peak;
	uint64_t least, most;
	uint64_t lifetimes[PROFILE_LIFETIMES];
	unsigned sites;
	bool alone; /* no other has the same file name */
};

struct site {
	int module; /* or NO_MODULE */
	uint64_t offset;
	struct profile_tally sum;
	uint64_t at_peak, least, most;
	uint64_t lifetimes[PROFILE_LIFETIMES];
	char *function, *source; /* NULL: not known */
	bool rest; /* NO_MODULE: all whose sites did not fit, else code in no object */
};

struct process {
	int pid, parent;
	char *executable;
	struct profile_tally sum;
};

struct profile {
	struct module *modules;
	struct site *sites;
	struct process *processes;
	unsigned modules_n, sites_n, processes_n;
	struct profile_tally sum;
	uint64_t untracked, interrupted;
	uint64_t unrecorded; /* processes */
};

/* Sites and modules by peak, the highest first. False: it cannot be read (said). */
bool profile_load(const char *dir, struct profile *p);

/*
 * How long `percent` of all blocks lived at most; those that are live at the
 * end outlive the others. LIVES_ON: to the end.
 */
#define LIVES_ON UINT64_MAX
uint64_t profile_percentile(const uint64_t lifetimes[PROFILE_LIFETIMES], uint64_t live, unsigned percent);

/* ---- profile_symbols.c ------------------------------------------------------ */

/* Fills in function and source where the files tell. */
void profile_symbols(struct profile *p);

/* ---- what is to be shown ------------------------------------------------------ */

/* One site or module. */
struct shown {
	const struct module *module; /* NULL: none */
	const struct site *site;     /* NULL: the whole module */
	const struct profile_tally *sum;
	uint64_t at_peak, least, most;
	const uint64_t *lifetimes;
	char name[RULE_NAME_ROOM]; /* of its rule; empty: none can name it */
};

struct choice {
	struct shown *shown;
	unsigned n, left; /* left: how many more there are */
	bool by_module;
	uint64_t min_bytes;
	char **command;
};

/* ---- profile_rules.c ---------------------------------------------------------- */

/* Number i of p's sites or modules. False: there is nothing to show of it. */
bool profile_shown(const struct profile *p, bool module, unsigned i, struct shown *s);

/* What is chosen of `p`: at most `top`, of a peak of c->min_bytes or more. */
void profile_choose(const struct profile *p, unsigned top, struct choice *c);

#define RULES_MARK "# Written by shmbind profile"
bool profile_rules_write(const struct profile *p, const struct choice *c, FILE *to);

/* "libfoo.so.1+0x1a2b", as a rule has it. */
void profile_place(const struct shown *s, char *out, size_t len);

/* "load_image, image.c:12"; "?": not known. */
void profile_function(const struct site *s, char *out, size_t len);

/* "1.2 ms" in `buf`; "end" for LIVES_ON. */
const char *profile_time(char buf[24], uint64_t ns);

/* ---- profile_report.c ----------------------------------------------------------- */

void profile_table(const struct profile *p, const struct choice *c, FILE *to);
void profile_json(const struct profile *p, const struct choice *c, FILE *to);

#endif
