/* cmd_rules.c - shmbind rules */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 16384, BAD = 128 };

struct call {
	const char *region, *set, *file;
	bool on, off, json;
};

/* --set VALUE, --set=VALUE. False: it is another option. *value NULL: there is none behind it. */
static bool option_value(const char *option, int argc, char **argv, int *i, const char **value)
{
	size_t n = strlen(option);
	if (strncmp(argv[*i], option, n))
		return false;
	if (argv[*i][n] == '=')
		*value = argv[*i] + n + 1;
	else if (argv[*i][n])
		return false;
	else
		*value = *i + 1 < argc ? argv[++*i] : NULL;
	return true;
}

static int parse_call(struct call *c, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = "", *option = argv[i];
		if (option_value("--set", argc, argv, &i, &value))
			c->set = value;
		else if (option_value("--file", argc, argv, &i, &value))
			c->file = value;
		else if (!strcmp(option, "--on"))
			c->on = true;
		else if (!strcmp(option, "--off"))
			c->off = true;
		else if (!strcmp(option, "--json"))
			c->json = true;
		else if (option[0] == '-' && option[1])
			return usage_error(&verb_rules, "%s: no such option", option);
		else if (c->region)
			return usage_error(&verb_rules, "takes one region");
		else
			c->region = path_name(option);
		if (!value)
			return usage_error(&verb_rules, "%s: needs a value", option);
	}
	if (!c->region)
		return usage_error(&verb_rules, "takes one region");
	if (!!c->set + !!c->file + c->on + c->off + c->json > 1)
		return usage_error(&verb_rules, "one of --set, --file, --on, --off, --json");
	return EXIT_OK;
}

static int set(const struct call *c, const char *rules)
{
	char bad[BAD];
	shmb_info info;
	int err = shmb_info_name(c->region, &info);
	if (err)
		return result(&verb_rules, c->region, err);
	err = shmb_rules_set(c->region, rules, bad, sizeof bad);
	if (err == EINVAL && *bad) {
		complain("rules", "no such rule: \"%s\"; nothing was changed", bad);
		return EXIT_FAILED;
	}
	if (err == EINVAL) {
		complain("rules", "no rule in it; --off switches all of them off");
		return EXIT_FAILED;
	}
	if (err == E2BIG) {
		complain("rules", "16 KiB and more");
		return EXIT_FAILED;
	}
	return result(&verb_rules, c->region, err);
}

static int set_file(const struct call *c)
{
	static char text[TEXT + 1];
	size_t n = 0;
	ssize_t got = 0;
	int fd = strcmp(c->file, "-") ? open(c->file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	while (fd >= 0 && n < TEXT && (got = read(fd, text + n, TEXT - n)) > 0)
		n += (size_t)got;
	if (fd < 0 || got < 0)
		return result(&verb_rules, c->file, errno);
	if (fd != STDIN_FILENO)
		close(fd);
	text[n] = 0;
	if (strlen(text) != n) {
		complain("rules", "%s: a NUL in it", c->file);
		return EXIT_FAILED;
	}
	return set(c, text);
}

static int run_rules(int argc, char **argv)
{
	struct call c = {.region = NULL};
	int code = parse_call(&c, argc, argv);
	if (code)
		return code;
	if (c.set)
		return set(&c, c.set);
	if (c.file)
		return set_file(&c);
	if (c.on || c.off)
		return result(&verb_rules, c.region, shmb_rules_switch(c.region, c.on));
	return result(&verb_rules, c.region, shmb_rules_name(c.region, to_stdout, NULL, c.json ? "J" : ""));
}

const struct verb verb_rules = {
	"rules", run_rules, "NAME [--set RULES] [--file FILE] [--off] [--on] [--json]",
	"Shows the rules of a program that runs with the shim, or changes them",
	"Without an option: the rules in force, and of each the requests that it decided\n"
	"about, their bytes, the bytes that live now, the most that ever did, and what fell\n"
	"back to the ordinary heap. Then earlier rules that did anything.\n\n"
	"A change takes effect with the next request of each process that follows them.\n"
	"Blocks stay where they are. Nothing changes where one of the rules is none.\n\n"
	"  --set RULES   these instead, separated by ';', and on; see shmbind-preload(7)\n"
	"  --file FILE   those in the file; - is standard input\n"
	"  --off         the rules stay, but place nothing\n"
	"  --on          and do again\n"
	"  --json        for machines; sizes in bytes\n"};
