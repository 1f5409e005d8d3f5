/*
 * policy.c - the environment, key by key.
 *
 * Read once, before any other thread exists; constant afterwards, so nothing
 * protects it. Strict: a key of ours that is unknown, a value that does not
 * parse: one line naming both, and the program runs unplaced. What the rules
 * of SHMBIND_PLACE say is rules.c's.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_PLACE "size=64K.."
enum { TEXT = RULES_TEXT, NAME_ROOM = 256, SUFFIX_ROOM = 4 };
#define SIZE_MOST ((uint64_t)4 << 40) /* what an arena holds */

struct policy policy = {.log = 1};
int shim_say_fd = STDERR_FILENO;

static char executable[256];
static char executable_path[PATH_MAX];

void shim_say(unsigned level, const char *format, ...)
{
	char text[512];
	va_list ap;
	if (level > policy.log || !shim_stderr_is_as_was())
		return;
	int n = snprintf(text, sizeof text, "shmbind: ");
	va_start(ap, format);
	n += vsnprintf(text + n, sizeof text - (size_t)n - 1, format, ap);
	va_end(ap);
	if (n > (int)sizeof text - 2)
		n = sizeof text - 2;
	text[n++] = '\n';
	if (write(shim_say_fd, text, (size_t)n) < 0)
		return; /* a program without stderr hears nothing */
}

static bool refuse(const char *key, const char *value, const char *why)
{
	shim_say(0, "%s=%.200s: %s; running without a region", key, value, why);
	return false;
}

static bool parse_number(const char *s, uint64_t most, uint64_t *out)
{
	return parse_size(s, s + strspn(s, "0123456789"), out) && !s[strspn(s, "0123456789")] && *out <= most;
}

static bool read_file(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	size_t n = 0;
	ssize_t got;
	while (n < len - 1 && (got = read(fd, text + n, len - 1 - n)) > 0)
		n += (size_t)got;
	close(fd);
	text[n] = 0;
	return n > 0 && n < len - 1;
}

/* ---- keys -------------------------------------------------------------------------- */

/* Programs overwrite their environment to set their title: what is needed later is copied. */
static bool keep_value(char *copy, size_t room, const char *value)
{
	size_t n = strlen(value);
	if (n >= room)
		return false;
	memcpy(copy, value, n + 1);
	return true;
}

static bool set_place(const char *value)
{
	static char place[TEXT], file[TEXT];
	char rule[128];
	struct word bad;
	bool site = false;
	if (!keep_value(place, sizeof place, value))
		return refuse("SHMBIND_PLACE", value, "larger than 16 KiB");
	policy.place = place;
	if (*place == '@' && !read_file(place + 1, file, sizeof file))
		return refuse("SHMBIND_PLACE", value, "the file cannot be read, is empty, or is larger than 16 KiB");
	struct rules_set *set = rules_load(*place == '@' ? file : place, false, &site, &bad);
	if (!set && bad.len) {
		snprintf(rule, sizeof rule, "%.*s", (int)bad.len, bad.s);
		shim_say(0, "SHMBIND_PLACE: no such rule: \"%s\"; running without a region", rule);
		return false;
	}
	if (!set && site)
		return refuse("SHMBIND_PLACE", value, "module= and site= need glibc 2.35");
	if (!set)
		return refuse("SHMBIND_PLACE", value, "no rule in it");
	rules_take(set);
	return true;
}

static bool set_size(const char *value)
{
	bool good = parse_size(value, value + strlen(value), &policy.size) && policy.size;
	if (!good || policy.size > SIZE_MOST)
		return refuse("SHMBIND_SIZE", value, good ? "more than 4T" : "not a size like 512M or 64G");
	return true;
}

static bool set_region(const char *value)
{
	static char copy[NAME_ROOM];
	char name[NAME_ROOM - SUFFIX_ROOM];
	if (!keep_value(copy, sizeof copy, value) || !policy_expand(value, name, sizeof name))
		return refuse("SHMBIND_REGION", value, "too long for a name");
	const char *bare = name + (*name == '/');
	if (!*bare || strchr(bare, '/') || !strcmp(bare, ".") || !strcmp(bare, ".."))
		return refuse("SHMBIND_REGION", value, "not a name like /feed");
	policy.region = copy;
	policy.named_by_pid = strstr(copy, "%p") != NULL;
	return true;
}

static bool set_path(const char *value)
{
	static char copy[NAME_ROOM];
	struct stat st;
	if (*value != '/' || !value[strspn(value, "/")])
		return refuse("SHMBIND_PATH", value, "not the whole path of a directory");
	if (!keep_value(copy, sizeof copy, value))
		return refuse("SHMBIND_PATH", value, "too long for a region's path");
	bool there = !stat(value, &st);
	if (there && !S_ISDIR(st.st_mode))
		return refuse("SHMBIND_PATH", value, shmb_strerror(ENOTDIR));
	if (!there || faccessat(AT_FDCWD, value, W_OK | X_OK, AT_EACCESS))
		return refuse("SHMBIND_PATH", value, shmb_strerror(errno));
	policy.path = copy;
	return true;
}

static bool set_fork(const char *value)
{
	static const char *const words[] = {"copy", "pages", "share", "deny"};
	for (unsigned i = 0; i < 4; i++)
		if (!strcmp(value, words[i])) {
			policy.fork = (enum shim_fork)i;
			return true;
		}
	return refuse("SHMBIND_FORK", value, "none of copy, pages, share, deny");
}

static bool set_full(const char *value)
{
	static const char *const words[] = {"fallback", "enomem", "abort"};
	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(value, words[i])) {
			policy.full = (enum shim_full)i;
			return true;
		}
	return refuse("SHMBIND_FULL", value, "none of fallback, enomem, abort");
}

static bool set_stats(const char *value)
{
	static char copy[PATH_MAX];
	if (!*value || !keep_value(copy, sizeof copy, value))
		return refuse("SHMBIND_STATS", value, "neither stderr nor a path");
	policy.stats = copy;
	return true;
}

static bool set_switch(const char *key, const char *value, bool *to)
{
	uint64_t v;
	if (!parse_number(value, 1, &v))
		return refuse(key, value, "neither 0 nor 1");
	*to = v;
	return true;
}

static bool set_keep(const char *value) { return set_switch("SHMBIND_KEEP", value, &policy.keep); }
static bool set_harden(const char *value) { return set_switch("SHMBIND_HARDEN", value, &policy.harden); }
static bool set_small_pages(const char *value) { return set_switch("SHMBIND_SMALLPAGES", value, &policy.small_pages); }
static bool set_dry_run(const char *value) { return set_switch("SHMBIND_DRYRUN", value, &policy.dry_run); }

static bool set_log(const char *value)
{
	uint64_t v;
	if (!parse_number(value, 2, &v))
		return refuse("SHMBIND_LOG", value, "none of 0, 1, 2");
	policy.log = (unsigned)v;
	return true;
}

static bool set_run(const char *value)
{
	static char copy[32];
	if (!keep_value(copy, sizeof copy, value))
		return refuse("SHMBIND_RUN", value, "longer than 31 bytes");
	policy.run = copy;
	return true;
}

/* Set by `shmbind profile`. */
static bool set_profile(const char *value)
{
	static char copy[PATH_MAX];
	if (*value != '/' || !keep_value(copy, sizeof copy, value))
		return refuse("SHMBIND_PROFILE", value, "not the whole path of a directory");
	if (!site_possible())
		return refuse("SHMBIND_PROFILE", value, "needs glibc 2.35");
	policy.profile = copy;
	policy.dry_run = true;
	return true;
}

/* A list of globs, separated by ':', over the executable's file name. */
static bool exe_listed(const char *list)
{
	char glob[256];
	for (const char *s = list; *s;) {
		size_t n = strcspn(s, ":");
		snprintf(glob, sizeof glob, "%.*s", (int)n, s);
		if (!fnmatch(glob, executable, 0))
			return true;
		s += n + (s[n] == ':');
	}
	return false;
}

static bool set_exe(const char *value)
{
	return exe_listed(value); /* not among them: silently out of it */
}

static const struct {
	const char *name;
	bool (*set)(const char *value);
} keys[] = {
	{"SHMBIND_LOG", set_log}, /* first: it decides what is said */
	{"SHMBIND_EXE", set_exe}, /* and this whether anything else matters */
	{"SHMBIND_PLACE", set_place},
	{"SHMBIND_REGION", set_region},
	{"SHMBIND_PATH", set_path},
	{"SHMBIND_SIZE", set_size},
	{"SHMBIND_FORK", set_fork},
	{"SHMBIND_FULL", set_full},
	{"SHMBIND_STATS", set_stats},
	{"SHMBIND_KEEP", set_keep},
	{"SHMBIND_DRYRUN", set_dry_run},
	{"SHMBIND_HARDEN", set_harden},
	{"SHMBIND_SMALLPAGES", set_small_pages},
	{"SHMBIND_RUN", set_run}, /* set by `shmbind run` */
	{"SHMBIND_PROFILE", set_profile},
};
enum { KEYS = sizeof keys / sizeof *keys };

static bool keys_known(void)
{
	for (char **e = environ; e && *e; e++) {
		size_t n = strcspn(*e, "=");
		bool known = strncmp(*e, "SHMBIND_", 8) != 0;
		for (unsigned i = 0; i < KEYS && !known; i++)
			known = strlen(keys[i].name) == n && !strncmp(*e, keys[i].name, n);
		if (!known) {
			shim_say(0, "%.200s: no such key; running without a region", *e);
			return false;
		}
	}
	return true;
}

bool policy_expand(const char *pattern, char *out, size_t len)
{
	size_t n = 0;
	for (const char *s = pattern; *s; s++) {
		char number[16];
		const char *piece = number;
		if (s[0] == '%' && s[1] == 'p')
			snprintf(number, sizeof number, "%d", (int)getpid()), s++;
		else if (s[0] == '%' && s[1] == 'e')
			piece = executable, s++;
		else
			number[0] = *s, number[1] = 0;
		size_t k = strlen(piece);
		if (n + k >= len)
			return false;
		memcpy(out + n, piece, k);
		n += k;
	}
	out[n] = 0;
	return true;
}

const char *policy_executable(void)
{
	return executable_path;
}

static void find_executable(void)
{
	char *path = executable_path;
	ssize_t n = readlink("/proc/self/exe", path, sizeof executable_path - 1);
	path[n > 0 ? n : 0] = 0;
	const char *base = n > 0 ? strrchr(path, '/') + 1 : program_invocation_short_name;
	snprintf(executable, sizeof executable, "%.200s", base);
}

static bool read_all(void)
{
	if (getauxval(AT_SECURE))
		return false;
	find_executable();
	site_setup(executable_path);
	symbols_setup();
	policy.region = "/%e.%p";
	policy.named_by_pid = true;
	for (unsigned i = 0; i < KEYS; i++) {
		const char *value = secure_getenv(keys[i].name);
		if (value && !keys[i].set(value))
			return false;
		if (i == 1 && !keys_known())
			return false;
	}
	return policy.place || set_place(DEFAULT_PLACE);
}

bool policy_read(void)
{
	static bool done;
	if (!done) {
		done = true;
		policy.active = read_all();
	}
	return policy.active;
}
