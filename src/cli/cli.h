/* cli.h - the tool's verbs and what they share. Includes the public header only. */
#ifndef SHMBIND_CLI_H
#define SHMBIND_CLI_H

#include "shmbind.h"

#include <stdbool.h>
#include <stdint.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CORRUPT = 3 };

struct verb {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the verb */
	const char *args, *purpose;
	const char *help; /* the page behind the first line */
};

extern const struct verb verb_run, verb_profile, verb_ls, verb_stats, verb_blocks, verb_cat, verb_gc, verb_rm, verb_check,
	verb_map, verb_save, verb_load, verb_top, verb_rules;

/* "shmbind VERB: ..." on stderr. */
void complain(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what is wrong with the call and where the help is; EXIT_USAGE. */
int usage_error(const struct verb *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For the result of a library call about `what`: 0 and EXIT_OK, or says it and EXIT_FAILED. */
int result(const struct verb *v, const char *what, int err);

/* The one option of most verbs. False: an unknown option was named (said). */
bool take_flag(const struct verb *v, int *argc, char **argv, const char *flag, bool *set);

/*
 * A name that anybody may have given, as it can be printed: what is no UTF-8
 * becomes U+FFFD, and a control character '?' unless it goes into JSON, where
 * it is escaped. The result is good until the next call.
 */
const char *shown(const char *name, bool json);

/* "1.5 MiB" in `buf`. */
const char *human(char buf[24], uint64_t bytes);

/* What a terminal would obey, and what is not ASCII, becomes '?'. */
void make_plain(char *text);

/* A region's kind, and its owner, "pid 12" in `buf`. */
const char *kind_word(enum shmb_kind k);
const char *owner_word(const shmb_info *i, char buf[24]);

/* A shmb_write_cb to stdout. */
void to_stdout(void *opaque, const char *text);

/* ---- path.c ---------------------------------------------------------------------- */

/* Takes --path DIR out of argv; without one SHMBIND_PATH counts. An exit code; not EXIT_OK: no such directory (said). */
int path_take(const struct verb *v, int *argc, char **argv);
int path_use(const char *verb, const char *dir, const char *said_by);

const char *path_dir(void);              /* where names lie */
char *path_name(const char *name);       /* a name, there; what is a path itself as it is. Good until the next call */
bool path_has(const char *name);         /* does what the library calls so lie there? */
const char *path_base(const char *name); /* "/feed" of one that does */

/* ---- command.c ------------------------------------------------------------------- */

/* Has what is run from now on load the shim. False: there is none (said). */
bool command_preload(const char *verb);

/* Runs it, passing signals on, until it ends; *status: as wait(2) has it. False: no process for it (said). */
bool command_run(const char *verb, char **argv, int *status);

/* Ends as the command ended: by its signal, or returns its exit status. */
int command_end_like(int status);

/* ---- tables ---------------------------------------------------------------------- */

/* A table that prints as JSON where asked to, from libsmartcols. */
struct libscols_table *table_new(const char *name, bool json);
void table_column(struct libscols_table *t, const char *name, bool right, bool number);
void table_hide(struct libscols_table *t, unsigned column);
void table_print(struct libscols_table *t); /* the last use of it, as is table_drop() */
void table_drop(struct libscols_table *t);

#endif
