/* main.c - shmbind: looks at regions, runs programs with one, clears up. */
#include "cli.h"

#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct verb *const verbs[] = {&verb_run,   &verb_profile, &verb_ls,    &verb_top,  &verb_stats,
                                           &verb_map,   &verb_blocks,  &verb_cat,   &verb_check, &verb_rules,
                                           &verb_save,  &verb_load,    &verb_gc,    &verb_rm};
enum { VERBS = sizeof verbs / sizeof *verbs }; /* NOLINT(bugprone-sizeof-expression): they are pointers */

static void complain_va(const char *verb, const char *format, va_list ap)
{
	fprintf(stderr, "shmbind%s%s: ", *verb ? " " : "", verb);
	vfprintf(stderr, format, ap);
	fputc('\n', stderr);
}

void complain(const char *verb, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	complain_va(verb, format, ap);
	va_end(ap);
}

int usage_error(const struct verb *v, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	complain_va(v->name, format, ap);
	va_end(ap);
	fprintf(stderr, "usage: shmbind %s %s\n", v->name, v->args);
	return EXIT_USAGE;
}

int result(const struct verb *v, const char *what, int err)
{
	if (!err)
		return EXIT_OK;
	complain(v->name, "%s: %s", what, shmb_strerror(err));
	return EXIT_FAILED;
}

bool take_flag(const struct verb *v, int *argc, char **argv, const char *flag, bool *set)
{
	int n = 1;
	for (int i = 1; i < *argc; i++) {
		if (!strcmp(argv[i], flag)) {
			*set = true;
		} else if (argv[i][0] == '-' && argv[i][1]) {
			usage_error(v, "%s: no such option", argv[i]);
			return false;
		} else {
			argv[n++] = argv[i];
		}
	}
	*argc = n;
	return true;
}

/* Bytes of the UTF-8 character at `s`; 0: it is none. */
static unsigned utf8_length(const unsigned char *s)
{
	unsigned n = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	bool overlong = (*s == 0xe0 && s[1] < 0xa0) || (*s == 0xf0 && s[1] < 0x90);
	bool beyond = (*s == 0xed && s[1] >= 0xa0) || (*s == 0xf4 && s[1] >= 0x90);
	return n > 2 && (overlong || beyond) ? 0 : n;
}

const char *shown(const char *name, bool json)
{
	static const char unknown[] = "\xef\xbf\xbd";
	static char buf[3 * 256 + 1]; /* names are shorter than 256 bytes */
	size_t n = 0;
	for (const unsigned char *s = (const unsigned char *)name; *s && n < sizeof buf - 4;) {
		unsigned len = utf8_length(s);
		bool control = *s < ' ' || *s == 0x7f;
		memcpy(buf + n, !len ? unknown : control && !json ? "?" : (const char *)s, len ? len : 3);
		n += len ? len : 3;
		s += len ? len : 1;
	}
	buf[n] = 0;
	return buf;
}

const char *human(char buf[24], uint64_t bytes)
{
	static const char units[] = " KMGTP";
	double v = (double)bytes;
	unsigned u = 0;
	for (; v >= 1024 && u < 5; u++)
		v /= 1024;
	if (u)
		snprintf(buf, 24, "%.*f %ciB", v < 100 ? 1 : 0, v, units[u]);
	else
		snprintf(buf, 24, "%.0f B", v);
	return buf;
}

void make_plain(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c >= 0x7f)
			*c = '?';
}

void to_stdout(void *opaque, const char *text)
{
	(void)opaque;
	fputs(text, stdout);
}

/* ---- tables ------------------------------------------------------------------ */

struct libscols_table *table_new(const char *name, bool json)
{
	struct libscols_table *t = scols_new_table();
	if (!t) {
		complain("", "no memory for a table");
		exit(EXIT_FAILED);
	}
	scols_table_set_name(t, name);
	scols_table_enable_json(t, json);
	return t;
}

void table_column(struct libscols_table *t, const char *name, bool right, bool number)
{
	struct libscols_column *c = scols_table_new_column(t, name, 0, right ? SCOLS_FL_RIGHT : 0);
	if (number)
		scols_column_set_json_type(c, SCOLS_JSON_NUMBER);
}

void table_hide(struct libscols_table *t, unsigned column)
{
	scols_column_set_flags(scols_table_get_column(t, column), SCOLS_FL_HIDDEN);
}

void table_print(struct libscols_table *t)
{
	scols_print_table(t);
	table_drop(t);
}

void table_drop(struct libscols_table *t)
{
	scols_unref_table(t);
}

/* ---- dispatch ------------------------------------------------------------------ */

static void help_all(FILE *to)
{
	fprintf(to, "shmbind %s: shared-memory regions, looked at from outside\n\nusage: shmbind VERB ...\n\n", shmb_version());
	for (unsigned i = 0; i < VERBS; i++)
		fprintf(to, "  %-8s %s\n", verbs[i]->name, verbs[i]->purpose);
	fprintf(to, "\nNames lie in /dev/shm, or where --path DIR or SHMBIND_PATH says. shmbind help VERB\n"
	            "tells more. Exit status: 0 done, 1 failed, 2 not understood,\n"
	            "3 a check found contradictions; `run` and `profile` pass their command's on.\n");
}

/* What it is given up to that command is its own; SHMBIND_PATH is the command's. */
static bool runs_command(const struct verb *v)
{
	return v == &verb_run || v == &verb_profile;
}

static void help_verb(const struct verb *v)
{
	printf("usage: shmbind %s %s\n\n%s.\n\n%s", v->name, v->args, v->purpose, v->help);
	if (!runs_command(v))
		printf("\n  --path DIR  names lie in this directory, not in /dev/shm; SHMBIND_PATH says so, too\n");
}

static const struct verb *find(const char *name)
{
	for (unsigned i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
	return NULL;
}

static bool is_help(const char *s)
{
	return !strcmp(s, "help") || !strcmp(s, "--help") || !strcmp(s, "-h");
}

static int dispatch(int argc, char **argv)
{
	const struct verb *v = find(argv[1]);
	if (!strcmp(argv[1], "--version")) {
		printf("shmbind %s\n", shmb_version());
		return EXIT_OK;
	}
	if (is_help(argv[1])) {
		v = argc > 2 ? find(argv[2]) : NULL;
		if (argc > 2 && !v) {
			complain("", "%s: no such verb", argv[2]);
			return EXIT_USAGE;
		}
		v ? help_verb(v) : help_all(stdout);
		return EXIT_OK;
	}
	if (!v) {
		complain("", "%s: no such verb; shmbind help lists them", argv[1]);
		return EXIT_USAGE;
	}
	if (argc > 2 && is_help(argv[2]) && (!runs_command(v) || *argv[2] == '-')) { /* a command may be named help */
		help_verb(v);
		return EXIT_OK;
	}
	argc--, argv++;
	int code = runs_command(v) ? EXIT_OK : path_take(v, &argc, argv);
	return code ? code : v->run(argc, argv);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		help_all(stderr);
		return EXIT_USAGE;
	}
	int code = dispatch(argc, argv);
	if (fflush(stdout) || ferror(stdout)) {
		complain("", "standard output cannot be written");
		return code ? code : EXIT_FAILED;
	}
	return code;
}
