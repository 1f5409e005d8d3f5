/*
 * fuzz_words.c - text that people and programs hand to us: rules, sizes, the
 * shim's variables, names of regions, the tool's arguments. The first byte of
 * an input says which.
 */
#include "image.h"
#include "json.h"

#define main shmbind_main /* only its declaration: the tool's object is renamed by the Makefile */
int main(int argc, char **argv);
#undef main

#include "../../preload/policy.c" /* which reads the environment once in a process's life */

#include <signal.h>
#include <sys/mman.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
pid_t __wrap_fork(void);

enum { SECONDS = 2, ARGS = 8, MOST = 4096 };

static int out_fd, null_fd, err_fd;
static char *no_environment[] = {NULL};

bool shim_stderr_is_as_was(void)
{
	return true;
}

/* `shmbind run` runs nothing here. */
pid_t __wrap_fork(void)
{
	errno = EAGAIN;
	return -1;
}

/* ---- rules ------------------------------------------------------------------------------ */

/* What the shim's hot path goes by must be what the rules say. */
static void rules_agree(const struct rule *rules, unsigned n, size_t size)
{
	struct decision by = rules_decide(size, (const void *)(uintptr_t)&rules_agree, HELD_NOT);
	if (by.rule >= (int)n)
		find("rule %d of %u", by.rule, n);
	if (by.places && (by.rule < 0 || !rules[by.rule].place))
		find("%zu bytes are placed by rule %d, which places nothing", size, by.rule);
	if (by.places && !rules_may_place(size))
		find("%zu bytes are placed by rule %d, and outside the bounds", size, by.rule);
	if (rules_bounds.exact && rules_may_place(size) && !by.places)
		find("%zu bytes are inside exact bounds, and not placed", size);
	int all = rule_place_all(rules, n, size, size);
	if (all >= 0 && (all != by.rule || !by.places))
		find("%zu bytes: rule %d places all, rule %d decides", size, all, by.rule);
	int first = rule_first(rules, n, size);
	if (by.rule >= 0 && (first < 0 || first > by.rule))
		find("%zu bytes: rule %d decides, rule %d is the first that may", size, by.rule, first);
}

static void try_rules(const char *text)
{
	static const size_t sizes[] = {0, 1, 16, 4095, 4096, 65535, 65536, 1 << 20, (size_t)1 << 40, SIZE_MAX};
	static struct rule rules[RULES];
	struct word bad;
	unsigned n;
	bool site, good = rule_parse(text, rules, &n, &bad);
	if (!good && (bad.s < text || bad.s + bad.len > text + strlen(text)))
		find("the bad rule is not in the text");
	if (good && (!n || n > RULES))
		find("%u rules", n);
	struct rules_set *set = rules_load(text, false, &site, &bad);
	if (!set != !good)
		find("the shim says otherwise");
	if (!set)
		return;
	rules_take(set);
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
		rules_agree(rules, n, sizes[i]);
	for (unsigned i = 0; i < n; i++) {
		rules_agree(rules, n, rules[i].low);
		rules_agree(rules, n, rules[i].high);
	}
}

/* ---- sizes and variables ------------------------------------------------------------------ */

static void try_size(const char *text)
{
	uint64_t v = 0, again;
	char digits[32];
	if (!parse_size(text, text + strlen(text), &v))
		return;
	snprintf(digits, sizeof digits, "%lu", (unsigned long)v);
	if (!parse_size(digits, digits + strlen(digits), &again) || again != v || *text < '0' || *text > '9')
		find("%s is %s", text, digits);
}

static void try_variables(char *text)
{
	char *vars[ARGS + 1], name[NAME_ROOM], *rest = text;
	unsigned n = 0;
	for (char *s; n < ARGS && (s = strsep(&rest, "\1")); )
		if (!strstr(s, "=@")) /* a file may be a pipe, which one waits for */
			vars[n++] = s;
	vars[n] = NULL;
	environ = vars;
	if (read_all() && (!policy.region || policy.size > SIZE_MOST || !policy_expand(policy.region, name, sizeof name)))
		find("a policy without a region");
	environ = no_environment;
}

/* ---- names ---------------------------------------------------------------------------------- */

static void arena_there(void)
{
	shmb_options opt = {.size = 1 << 20};
	shmb_arena *a;
	shmb_info info;
	if (!shmb_info_name("there", &info))
		return;
	if (shmb_arena_open("there", &opt, &a) || !shmb_malloc(a, 100) || shmb_region_leak(shmb_arena_region(a)))
		find("no arena");
	(void)shmb_arena_close(a);
}

/* Beyond the shm directory, which is this process's alone, nothing is made or removed. */
static bool leads_elsewhere(const char *name)
{
	return *name == '/' && strchr(name + 1, '/') && strncmp(name, "/dev/shm/", 9) != 0;
}

static void try_name(const char *name)
{
	if (leads_elsewhere(name))
		return;
	shmb_options opt = {.size = 4096, .flags = SHMB_CREATE_ONLY};
	shmb_region *r;
	shmb_info info;
	int err = shmb_region_open(name, &opt, &r);
	bool deeper = name[0] == '/' && strchr(name + 1, '/'); /* of which directories there are none, or too long */
	if (err && err != EINVAL && err != EEXIST && !(deeper && (err == ENOENT || err == ENOTDIR || err == ENAMETOOLONG)))
		find("%s: %s", name, shmb_strerror(err));
	if (err)
		return;
	if (shmb_info_name(name, &info) || info.owner != SHMB_OWNER_LIVE || strcmp(info.name, shmb_region_name(r)))
		find("%s: not there, or another's", name);
	char *list[] = {"shmbind", "ls", "--json", NULL};
	(void)shmbind_main(3, list);
	if (shmb_region_close(r) || shmb_info_name(name, &info) != ENOENT)
		find("%s: does not go", name);
}

/* ---- the tool's arguments -------------------------------------------------------------------- */

static bool has(char **argv, const char *flag)
{
	for (; *argv; argv++)
		if (!strcmp(*argv, flag))
			return true;
	return false;
}

static size_t written(char *text, size_t room)
{
	fflush(stdout);
	ssize_t n = pread(out_fd, text, room - 1, 0);
	if (ftruncate(out_fd, 0) || lseek(out_fd, 0, SEEK_SET))
		find("standard output: %s", strerror(errno));
	text[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

static bool argument_elsewhere(char *const *argv)
{
	for (; *argv; argv++) {
		bool option = !strncmp(*argv, "--path", 6);
		const char *value = strncmp(*argv, "--path=", 7) ? option && argv[1] ? argv[1] : *argv : *argv + 7;
		if (leads_elsewhere(value) || (option && *value == '/' && strcmp(value, "/dev/shm") && strcmp(value, "/dev/shm/")))
			return true;
	}
	return false;
}

static void try_arguments(char *text)
{
	static char out[1 << 16];
	char *argv[ARGS + 2] = {"shmbind"}, *rest = text;
	int argc = 1;
	for (char *s; argc <= ARGS && (s = strsep(&rest, "\1"));)
		argv[argc++] = s;
	argv[argc] = NULL;
	if (argument_elsewhere(argv))
		return;
	arena_there();
	dup2(null_fd, STDERR_FILENO);
	int code = shmbind_main(argc, argv);
	dup2(err_fd, STDERR_FILENO);
	size_t n = written(out, sizeof out);
	if (code < 0 || code > 3)
		find("exit status %d", code);
	if (code == 0 && n && n < sizeof out - 1 && (has(argv, "--json")) && !has(argv, "--help") && !has(argv, "help") &&
	    !has(argv, "-h") && strcmp(argv[1], "cat") && !json_valid(out, n))
		find("no JSON: %s", out);
}

/* ---- all ---------------------------------------------------------------------------------------- */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	image_private_shm();
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	err_fd = dup(STDERR_FILENO);
	out_fd = memfd_create("stdout", MFD_CLOEXEC);
	shim_say_fd = null_fd;
	site_setup("/proc/self/exe");
	if (null_fd < 0 || err_fd < 0 || out_fd < 0 || dup2(out_fd, STDOUT_FILENO) < 0)
		find("descriptors: %s", strerror(errno));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char out[1 << 16];
	char **environment = environ;
	sigset_t none;
	if (size < 2 || size > MOST)
		return 0;
	char *text = malloc(size); /* of its own: so that reading beyond it is seen */
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = 0;
	policy = (struct policy){.log = 2};
	image_limit_time(SECONDS);
	environ = no_environment;
	switch (data[0] % 5) {
	case 0: try_rules(text); break;
	case 1: try_size(text); break;
	case 2: try_variables(text); break;
	case 3: try_name(text); break;
	default: try_arguments(text);
	}
	size_t n = written(out, sizeof out);
	if (data[0] % 5 == 3 && n && !json_valid(out, n))
		find("no JSON: %s", out);
	image_limit_time(0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	environ = environment;
	free(text);
	return 0;
}
