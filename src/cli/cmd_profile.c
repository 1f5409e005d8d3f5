/*
 * cmd_profile.c - shmbind profile: what a command allocates, and rules for it.
 *
 * The command runs with the preload shim, which places nothing and records.
 * Standard output is the command's; what is said of it goes to standard error
 * or a file.
 */
#include "profile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	const char *output, *report; /* NULL: not said */
	uint64_t top, min_bytes;
	bool by_module, json;
} said = {.top = 20, .min_bytes = 4096};

/* ---- options --------------------------------------------------------------------- */

static bool parse_count(const char *s, uint64_t *out)
{
	char *end;
	errno = 0;
	*out = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno;
}

static bool set_top(const char *value)
{
	return parse_count(value, &said.top) && said.top > 0 && said.top <= RULES_MOST;
}

static bool set_min_bytes(const char *value)
{
	char digits[24];
	size_t n = strspn(value, "0123456789");
	const char *units = "KMGT", *unit = value[n] ? strchr(units, value[n]) : NULL;
	if (n >= sizeof digits || (value[n] && (!unit || value[n + 1])))
		return false;
	snprintf(digits, sizeof digits, "%.*s", (int)n, value);
	unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	if (!parse_count(digits, &said.min_bytes) || (shift && said.min_bytes >> (64 - shift)))
		return false;
	said.min_bytes <<= shift;
	return true;
}

static bool set_by(const char *value)
{
	said.by_module = !strcmp(value, "module");
	return said.by_module || !strcmp(value, "site");
}

static bool set_output(const char *value)
{
	said.output = value;
	return *value;
}

static bool set_report(const char *value)
{
	said.report = value;
	return *value;
}

static bool set_json(const char *value)
{
	(void)value;
	return said.json = true;
}

static bool set_exe(const char *value)
{
	return !setenv("SHMBIND_EXE", value, 1);
}

static bool set_log(const char *value)
{
	return !setenv("SHMBIND_LOG", value, 1);
}

static const struct {
	const char *option;
	bool (*set)(const char *value);
	bool flag; /* takes no value */
	const char *takes;
} options[] = {
	{"--output", set_output, false, "a file"},
	{"--report", set_report, false, "a file"},
	{"--json", set_json, true, NULL},
	{"--by", set_by, false, "site or module"},
	{"--top", set_top, false, "a number from 1 to 64"},
	{"--min-bytes", set_min_bytes, false, "a size like 512 or 64K"},
	{"--exe", set_exe, false, "globs"},
	{"--log", set_log, false, "0, 1 or 2"},
};
enum { OPTIONS = sizeof options / sizeof *options };

/* One option, and its value from *next where it is not in it. False: not understood (said). */
static bool parse_one(const char *arg, char ***next)
{
	size_t len = strcspn(arg, "=");
	unsigned k = 0;
	while (k < OPTIONS && (strlen(options[k].option) != len || strncmp(options[k].option, arg, len)))
		k++;
	if (k == OPTIONS || (options[k].flag && arg[len])) {
		usage_error(&verb_profile, k == OPTIONS ? "%s: no such option" : "%s: takes no value", arg);
		return false;
	}
	const char *value = arg[len] ? arg + len + 1 : options[k].flag ? "" : **next ? *(*next)++ : NULL;
	if (value && options[k].set(value))
		return true;
	usage_error(&verb_profile, "%s%s%s: takes %s", options[k].option, value ? "=" : "", value ? value : "", options[k].takes);
	return false;
}

/* The command; NULL: not understood (said). */
static char **parse(char **argv)
{
	char **next = argv + 1;
	while (*next && **next == '-' && strcmp(*next, "--")) {
		const char *arg = *next++;
		if (!parse_one(arg, &next))
			return NULL;
	}
	if (*next && !strcmp(*next, "--"))
		next++;
	if (*next)
		return next;
	usage_error(&verb_profile, "which command?");
	return NULL;
}

/* ---- where it goes ------------------------------------------------------------------ */

static struct output {
	char path[256];
	bool made; /* was not there before */
	int fd;
} rules_file, report_file = {.fd = -1};

/* Opened before the command runs, and emptied after it. False: it cannot be written (said). */
static bool output_open(struct output *o, const char *path)
{
	if ((size_t)snprintf(o->path, sizeof o->path, "%s", path) >= sizeof o->path) {
		complain("profile", "%s: %s", path, strerror(ENAMETOOLONG));
		return false;
	}
	o->fd = open(path, O_WRONLY | O_CLOEXEC);
	if (o->fd < 0 && errno == ENOENT) {
		o->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		o->made = o->fd >= 0;
	}
	if (o->fd < 0)
		complain("profile", "%s: %s", path, strerror(errno));
	return o->fd >= 0;
}

static void output_abandon(struct output *o)
{
	if (o->made)
		(void)unlink(o->path);
}

static FILE *output_begin(struct output *o)
{
	(void)!ftruncate(o->fd, 0); /* a pipe has no need */
	return fdopen(o->fd, "w");
}

/* False: it could not be written (said). */
static bool output_end(const struct output *o, FILE *f)
{
	bool good = f && !ferror(f);
	if (f && fclose(f))
		good = false;
	if (!good)
		complain("profile", "%s: cannot be written", o->path);
	return good;
}

/* Nobody asked for this very name: only what we wrote is replaced. */
static bool may_replace(const char *path)
{
	char first[sizeof RULES_MARK] = "";
	struct stat st;
	FILE *f = fopen(path, "r");
	if (!f)
		return errno == ENOENT;
	bool ours = fread(first, 1, sizeof first - 1, f) == sizeof first - 1 && !strcmp(first, RULES_MARK);
	bool empty = !fstat(fileno(f), &st) && S_ISREG(st.st_mode) && !st.st_size;
	fclose(f);
	return ours || empty;
}

static bool open_outputs(const char *command)
{
	char name[256];
	const char *slash = strrchr(command, '/');
	snprintf(name, sizeof name, "%.240s.rules", slash ? slash + 1 : command);
	if (!said.output && !may_replace(name)) {
		complain("profile", "%s: there is such a file already; name one with --output", name);
		return false;
	}
	if (said.report && !output_open(&report_file, said.report))
		return false;
	return output_open(&rules_file, said.output ? said.output : name);
}

/* ---- afterwards ----------------------------------------------------------------------- */

static bool write_report(const struct profile *p, const struct choice *c)
{
	FILE *to = said.report ? output_begin(&report_file) : stderr;
	if (to)
		(said.json ? profile_json : profile_table)(p, c, to);
	return !said.report || output_end(&report_file, to);
}

static bool write_rules(const struct profile *p, const struct choice *c)
{
	FILE *to = output_begin(&rules_file);
	if (to)
		(void)profile_rules_write(p, c, to);
	if (!output_end(&rules_file, to))
		return false;
	if (!said.json)
		fprintf(stderr, "rules: %s\n", rules_file.path);
	return true;
}

static unsigned rules_of(const struct choice *c)
{
	unsigned n = 0;
	for (unsigned i = 0; i < c->n; i++)
		n += *c->shown[i].name != 0;
	return n;
}

static bool not_executed(int status)
{
	return status == 126 << 8 || status == 127 << 8;
}

/* False: something could not be written (said). */
static bool conclude(const char *dir, char **command, int status)
{
	struct profile p = {0};
	struct choice c = {.by_module = said.by_module, .min_bytes = said.min_bytes, .command = command};
	bool read = profile_load(dir, &p);
	if (!read || !p.processes_n) {
		if (read && p.unrecorded)
			complain("profile", "no process could make its record: is the shm directory full?");
		else if (read && !not_executed(status))
			complain("profile", "nothing was recorded: is %s static, privileged, or none of --exe?", command[0]);
		output_abandon(&rules_file);
		output_abandon(&report_file);
		return false;
	}
	profile_symbols(&p);
	profile_choose(&p, (unsigned)said.top, &c);
	bool good = write_report(&p, &c);
	if (rules_of(&c))
		return write_rules(&p, &c) && good;
	output_abandon(&rules_file);
	complain("profile", "no rules: no %s had as much as --min-bytes live", said.by_module ? "module" : "site");
	return good;
}

static int run(int argc, char **argv)
{
	char dir[64];
	int status;
	char **command = parse(argv);
	(void)argc;
	if (!command)
		return EXIT_USAGE;
	if (!open_outputs(command[0]) || !profile_dir_make(dir)) {
		output_abandon(&rules_file);
		output_abandon(&report_file);
		return EXIT_FAILED;
	}
	setenv("SHMBIND_PROFILE", dir, 1);
	bool ran = command_preload("profile") && command_run("profile", command, &status);
	bool good = ran && conclude(dir, command, status);
	profile_dir_remove(dir);
	return ran && (good || status) ? command_end_like(status) : EXIT_FAILED;
}

const struct verb verb_profile = {
	"profile", run, "[--output FILE] [--by site|module] ... [--] COMMAND [ARG...]",
	"Runs a command, tells which code allocates what, and writes rules for it",
	"Nothing is placed. When the command has ended, in whatever way, a table on standard\n"
	"error shows the sites, the places in the program and its libraries that call malloc\n"
	"and the like, with the most memory live at once, and the rules file has a rule for\n"
	"each of them, for `shmbind run --rules FILE -- COMMAND`. The exit status, or the\n"
	"signal, is the command's.\n\n"
	"PEAK is what a site had live at most, AT PEAK what it had when all sites together\n"
	"had most, BYTES what it asked for in all, AT END how many blocks were never freed.\n"
	"HALF and 90%: so many of its blocks lived no longer than this; end: to the end.\n"
	"Of several processes counts are summed, peaks those of one process.\n\n"
	"  --output FILE     for the rules; default COMMAND.rules\n"
	"  --report FILE     the table goes there, not to standard error\n"
	"  --json            in place of the table; all sites and modules; sizes in bytes\n"
	"  --by site|module  what the table and the rules are about; default site\n"
	"  --top N           at most so many, 1 to 64; default 20\n"
	"  --min-bytes SIZE  only those with such a peak, with K M G T; default 4K\n"
	"  --exe GLOBS       SHMBIND_EXE: executables that take part, separated by ':'\n"
	"  --log N           SHMBIND_LOG: 0 quiet, 1 a line, 2 more\n"};
