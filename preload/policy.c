/*
 * policy.c - the environment into decisions.
 *
 * Read once, before any other thread exists; constant afterwards, so nothing
 * protects it. Strict: a key of ours that is unknown, a value that does not
 * parse: one line naming both, and the program runs unplaced.
 *
 * Rules: separated by ';' or newlines; "@file" reads a file. A rule is
 * [!][name:] condition..., all conditions hold, the first rule that matches
 * decides, no match is the ordinary heap.
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
#include <unistd.h>

#define DEFAULT_PLACE "size=64K.."
enum { RULES = 64, TEXT = 16384, RULE_NAME = 32, NAME_ROOM = 256, SUFFIX_ROOM = 4 };
#define SIZE_MOST ((uint64_t)4 << 40) /* what an arena holds */

struct rule {
	char name[RULE_NAME];
	size_t low, high; /* both included */
	bool place;
};

struct policy policy = {.log = 1};
struct policy_bounds policy_bounds = {.lowest = 1, .count = 0};

static struct rule rules[RULES];
static unsigned rule_count;
static char executable[256];

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
	if (write(STDERR_FILENO, text, (size_t)n) < 0)
		return; /* a program without stderr hears nothing */
}

static bool refuse(const char *key, const char *value, const char *why)
{
	shim_say(0, "%s=%.200s: %s; running without a region", key, value, why);
	return false;
}

/* ---- words -------------------------------------------------------------------- */

/* "64K": digits and at most one of K M G T. False: something else, or too large. */
static bool parse_size(const char *s, const char *end, uint64_t *out)
{
	uint64_t v = 0;
	const char *p = s;
	unsigned shift = 0;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	if (p == s)
		return false;
	if (p < end) {
		const char *unit = strchr("KMGT", *p);
		if (!unit || !*p || p + 1 != end)
			return false;
		shift = 10 * (unsigned)(unit - "KMGT" + 1);
	}
	if (shift && v >> (64 - shift))
		return false;
	*out = v << shift;
	return true;
}

static bool parse_number(const char *s, uint64_t most, uint64_t *out)
{
	return parse_size(s, s + strspn(s, "0123456789"), out) && !s[strspn(s, "0123456789")] && *out <= most;
}

static size_t clamp_size(uint64_t v)
{
	return v > SIZE_MAX ? SIZE_MAX : (size_t)v;
}

/* "64K..", "..4K", "4K..1G", "4K" */
static bool parse_range(const char *s, const char *end, struct rule *r)
{
	uint64_t low = 0, high = SIZE_MAX;
	const char *dots = memmem(s, (size_t)(end - s), "..", 2);
	if (!dots) {
		if (!parse_size(s, end, &low))
			return false;
		high = low;
	} else {
		if (dots > s && !parse_size(s, dots, &low))
			return false;
		if (dots + 2 < end && !parse_size(dots + 2, end, &high))
			return false;
		if (dots == s && dots + 2 == end)
			return false;
	}
	if (low > r->low)
		r->low = clamp_size(low);
	if (high < r->high)
		r->high = clamp_size(high);
	return low <= high;
}

static bool parse_condition(const char *s, const char *end, struct rule *r)
{
	size_t len = (size_t)(end - s);
	if (len == 3 && !memcmp(s, "all", 3))
		return true;
	return len > 5 && !memcmp(s, "size=", 5) && parse_range(s + 5, end, r);
}

static const char *skip_blank(const char *s, const char *end)
{
	while (s < end && (*s == ' ' || *s == '\t'))
		s++;
	return s;
}

static bool parse_name(const char **s, const char *end, struct rule *r)
{
	const char *colon = *s;
	while (colon < end && *colon != ':')
		colon++;
	if (colon >= end)
		return true;
	size_t len = (size_t)(colon - *s);
	if (!len || len >= RULE_NAME)
		return false;
	for (const char *p = *s; p < colon; p++)
		if (*p <= ' ' || *p == '=')
			return false;
	memcpy(r->name, *s, len);
	*s = skip_blank(colon + 1, end);
	return true;
}

static bool parse_rule(const char *s, const char *end)
{
	struct rule r = {.low = 0, .high = SIZE_MAX, .place = true};
	unsigned conditions = 0;
	if (rule_count == RULES)
		return false;
	if (*s == '!') {
		r.place = false;
		s = skip_blank(s + 1, end);
	}
	if (!parse_name(&s, end, &r))
		return false;
	while (s < end) {
		const char *stop = s;
		while (stop < end && *stop != ' ' && *stop != '\t')
			stop++;
		if (!parse_condition(s, stop, &r))
			return false;
		conditions++;
		s = skip_blank(stop, end);
	}
	if (!conditions)
		return false;
	rules[rule_count++] = r;
	return true;
}

/* False: `bad` holds the rule that does not parse. Blank rules and lines that start with # are none. */
static bool parse_rules(const char *text, char *bad, size_t len)
{
	for (const char *s = text; *s;) {
		const char *end = s + strcspn(s, ";\n");
		const char *from = skip_blank(s, end), *to = end;
		while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
			to--;
		if (to > from && *from != '#' && !parse_rule(from, to)) {
			snprintf(bad, len, "%.*s", (int)(to - from), from);
			return false;
		}
		s = *end ? end + 1 : end;
	}
	return true;
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

/* ---- decisions ------------------------------------------------------------------- */

bool policy_rules_want(size_t size)
{
	for (unsigned i = 0; i < rule_count; i++)
		if (size >= rules[i].low && size <= rules[i].high)
			return rules[i].place;
	return false;
}

bool policy_rules_want_all(size_t least, size_t most)
{
	for (unsigned i = 0; i < rule_count; i++) {
		if (most < rules[i].low || least > rules[i].high)
			continue;
		return rules[i].place && least >= rules[i].low && most <= rules[i].high;
	}
	return false;
}

static void set_bounds(void)
{
	size_t low = SIZE_MAX, high = 0;
	for (unsigned i = 0; i < rule_count; i++) {
		if (!rules[i].place)
			continue;
		low = rules[i].low < low ? rules[i].low : low;
		high = rules[i].high > high ? rules[i].high : high;
	}
	if (low > high)
		return; /* nothing is placed: the bounds stay empty */
	policy_bounds = (struct policy_bounds){.lowest = low, .count = high - low, .exact = rule_count == 1};
}

/* ---- keys -------------------------------------------------------------------------- */

static bool set_place(const char *value)
{
	static char text[TEXT];
	char bad[128];
	const char *from = value;
	policy.place = value;
	if (*value == '@') {
		if (!read_file(value + 1, text, sizeof text))
			return refuse("SHMBIND_PLACE", value, "the file cannot be read, is empty, or is larger than 16 KiB");
		from = text;
	}
	if (!parse_rules(from, bad, sizeof bad)) {
		shim_say(0, "SHMBIND_PLACE: no such rule: \"%s\"; running without a region", bad);
		return false;
	}
	return rule_count ? true : refuse("SHMBIND_PLACE", value, "no rule in it");
}

static bool set_size(const char *value)
{
	bool good = parse_size(value, value + strlen(value), &policy.size) && policy.size;
	if (!good || policy.size > SIZE_MOST)
		return refuse("SHMBIND_SIZE", value, good ? "more than 4T" : "not a size like 512M or 64G");
	return true;
}

/* Programs overwrite their environment to set their title: what is needed later is copied. */
static bool keep_value(char *copy, size_t room, const char *value)
{
	size_t n = strlen(value);
	if (n >= room)
		return false;
	memcpy(copy, value, n + 1);
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

static bool set_fork(const char *value)
{
	static const char *const words[] = {"copy", "share", "deny"};
	for (unsigned i = 0; i < 3; i++)
		if (!strcmp(value, words[i])) {
			policy.fork = (enum shim_fork)i;
			return true;
		}
	return refuse("SHMBIND_FORK", value, "none of copy, share, deny");
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

static bool set_keep(const char *value)
{
	uint64_t v;
	if (!parse_number(value, 1, &v))
		return refuse("SHMBIND_KEEP", value, "neither 0 nor 1");
	policy.keep = v;
	return true;
}

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
	{"SHMBIND_SIZE", set_size},
	{"SHMBIND_FORK", set_fork},
	{"SHMBIND_FULL", set_full},
	{"SHMBIND_STATS", set_stats},
	{"SHMBIND_KEEP", set_keep},
	{"SHMBIND_RUN", set_run}, /* set by `shmbind run` */
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

static void find_executable(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	path[n > 0 ? n : 0] = 0;
	const char *base = n > 0 ? strrchr(path, '/') + 1 : program_invocation_short_name;
	snprintf(executable, sizeof executable, "%.200s", base);
}

bool policy_read(void)
{
	if (getauxval(AT_SECURE))
		return false;
	find_executable();
	policy.region = "/%e.%p";
	policy.named_by_pid = true;
	policy.place = DEFAULT_PLACE;
	for (unsigned i = 0; i < KEYS; i++) {
		const char *value = secure_getenv(keys[i].name);
		if (value && !keys[i].set(value))
			return false;
		if (i == 1 && !keys_known())
			return false;
	}
	if (!rule_count)
		(void)parse_rules(DEFAULT_PLACE, NULL, 0);
	set_bounds();
	policy.active = true;
	return true;
}
