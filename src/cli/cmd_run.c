/*
 * cmd_run.c - shmbind run: a command with the preload shim, supervised.
 *
 * Every region that the command and its descendants make carries this run's
 * tag; when the command has ended, those whose owner is gone are removed,
 * whichever way it went.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *option, *key;
	enum { VALUE, FLAG, FILE_OF } kind; /* takes a value, is 1, takes a file that the value is in */
} options[] = {
	{"--region", "SHMBIND_REGION", VALUE}, {"--path", "SHMBIND_PATH", VALUE},
	{"--size", "SHMBIND_SIZE", VALUE},     {"--place", "SHMBIND_PLACE", VALUE},
	{"--rules", "SHMBIND_PLACE", FILE_OF}, {"--exe", "SHMBIND_EXE", VALUE},     {"--fork", "SHMBIND_FORK", VALUE},
	{"--full", "SHMBIND_FULL", VALUE},     {"--stats", "SHMBIND_STATS", VALUE}, {"--log", "SHMBIND_LOG", VALUE},
	{"--keep", "SHMBIND_KEEP", FLAG},      {"--dry-run", "SHMBIND_DRYRUN", FLAG}, {"--harden", "SHMBIND_HARDEN", FLAG},
	{"--small-pages", "SHMBIND_SMALLPAGES", FLAG},
};
enum { OPTIONS = sizeof options / sizeof *options };

static char tag[32];

/* ---- the environment ------------------------------------------------------------- */

static bool set_environment(void)
{
	struct timespec now;
	if (!command_preload("run"))
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(tag, sizeof tag, "%d.%lx", (int)getpid(), (unsigned long)(now.tv_sec * 1000000000L + now.tv_nsec));
	setenv("SHMBIND_RUN", tag, 1);
	return true;
}

/* "@FILE", from wherever a descendant of the command may read it. False: there is none (said). */
static bool set_file(const char *key, const char *file)
{
	char value[PATH_MAX + 1] = "@";
	if (!realpath(file, value + 1)) {
		complain("run", "%s: %s", file, strerror(errno));
		return false;
	}
	return setenv(key, value, 1) == 0;
}

/* The index of the command in argv; 0: not understood, -1: it cannot be done (said). */
static int parse(int argc, char **argv)
{
	int i = 1;
	for (; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--"); i++) {
		size_t len = strcspn(argv[i], "=");
		unsigned k = 0;
		while (k < OPTIONS && (strlen(options[k].option) != len || strncmp(options[k].option, argv[i], len)))
			k++;
		const char *value = argv[i][len] ? argv[i] + len + 1 : NULL;
		if (k < OPTIONS && options[k].kind == FLAG && !value)
			value = "1";
		else if (k < OPTIONS && !value)
			value = i + 1 < argc ? argv[++i] : NULL;
		if (k == OPTIONS || !value) {
			usage_error(&verb_run, k == OPTIONS ? "%s: no such option" : "%s: takes a value", argv[i]);
			return 0;
		}
		if (options[k].kind != FILE_OF)
			setenv(options[k].key, value, 1);
		else if (!set_file(options[k].key, value))
			return -1;
	}
	if (i < argc && !strcmp(argv[i], "--"))
		i++;
	if (i >= argc) {
		usage_error(&verb_run, "which command?");
		return 0;
	}
	return i;
}

/* ---- supervising -------------------------------------------------------------------- */

static int sweep_one(void *opaque, const shmb_info *info)
{
	(void)opaque;
	if (info->kind != SHMB_KIND_ARENA || strcmp(info->run, tag) || info->owner != SHMB_OWNER_DEAD)
		return 0;
	int err = shmb_reap_name(info->name, 1);
	if (err && err != SHMB_EOWNED && err != SHMB_EGONE && err != ENOENT)
		complain("run", "%s: %s", shown(info->name, false), shmb_strerror(err));
	return 0;
}

static bool keep(void)
{
	const char *value = getenv("SHMBIND_KEEP");
	return value && !strcmp(value, "1");
}

static int run(int argc, char **argv)
{
	int status, first = parse(argc, argv);
	const char *path = getenv("SHMBIND_PATH");
	int code = first > 0 && path ? path_use("run", path, "SHMBIND_PATH=") : EXIT_OK;
	if (code)
		return code;
	if (first <= 0 || !set_environment())
		return first ? EXIT_FAILED : EXIT_USAGE;
	if (!command_run("run", argv + first, &status))
		return EXIT_FAILED;
	if (!keep()) /* kept, however the command ended: a crash is when one wants to look */
		(void)shmb_list_in(path_dir(), sweep_one, NULL);
	return command_end_like(status);
}

const struct verb verb_run = {
	"run", run, "[--region NAME] [--path DIR] [--size N] [--place RULES] ... [--] COMMAND [ARG...]",
	"Runs a command with chosen allocations in a region",
	"When the command has ended, in whatever way, its regions are removed; the exit\n"
	"status, or the signal, is the command's. Each option sets a variable that the\n"
	"command's children inherit; shmbind-preload(7) tells of each:\n\n"
	"  --region NAME   SHMBIND_REGION  %p: process id, %e: executable; default /%e.%p\n"
	"  --path DIR      SHMBIND_PATH    where the region lies; default /dev/shm\n"
	"  --size N        SHMBIND_SIZE    capacity, with K M G T; default 64G, not memory\n"
	"  --place RULES   SHMBIND_PLACE   all, size=64K.., ... ; default size=64K..\n"
	"  --rules FILE    SHMBIND_PLACE   the rules are in this file\n"
	"  --exe GLOBS     SHMBIND_EXE     executables that take part, separated by ':'\n"
	"  --fork HOW      SHMBIND_FORK    copy, pages, share or deny\n"
	"  --full HOW      SHMBIND_FULL    fallback, enomem or abort\n"
	"  --stats WHERE   SHMBIND_STATS   at exit: stderr, or a path; .json gives JSON\n"
	"  --keep          SHMBIND_KEEP    the region stays after the command\n"
	"  --dry-run       SHMBIND_DRYRUN  place nothing, count what would have been\n"
	"  --harden        SHMBIND_HARDEN  find writes beyond a block's end and after its free\n"
	"  --small-pages   SHMBIND_SMALLPAGES  no huge pages\n"
	"  --log N         SHMBIND_LOG     0 quiet, 1 a line, 2 more\n"};
