/* cmd_stats.c - shmbind stats, shmbind check */
#include "options.h"
#include "stats_json.h"

static int print_made(const char *name, void (*made)(struct json_object *stats, FILE *to))
{
	struct json_object *stats;
	int err = stats_json(name, &stats);
	if (err)
		return result(&verb_stats, name, err);
	made(stats, stdout);
	json_object_put(stats);
	return EXIT_OK;
}

static int run_stats(int argc, char **argv)
{
	bool json = false, prometheus = false;
	const struct option_of options[] = {
		{"--json", &json, NULL, NULL}, {"--prometheus", &prometheus, NULL, NULL}, {NULL, NULL, NULL, NULL}};
	if (!options_take(&verb_stats, options, &argc, argv))
		return EXIT_USAGE;
	if (argc != 2)
		return usage_error(&verb_stats, "takes one region");
	if (json + prometheus > 1)
		return usage_error(&verb_stats, "one of --json, --prometheus");
	if (prometheus)
		return print_made(argv[1], stats_prometheus);
	return result(&verb_stats, argv[1], shmb_stats_name(argv[1], to_stdout, NULL, json ? "J" : ""));
}

const struct verb verb_stats = {
	"stats", run_stats, "NAME [--json] [--prometheus]", "Prints what is in an arena region, while it is in use",
	"Live blocks by size class, what lies free in caches, what is free, and the\n"
	"processes attached. The program is not stopped: with writers at work the sums are\n"
	"those of a moving heap.\n\n"
	"  --json        for machines; sizes in bytes, \"schema\" says which form\n"
	"  --prometheus  the same in the text format of Prometheus\n"};

static int run_check(int argc, char **argv)
{
	if (argc > 1 && argv[1][0] == '-' && argv[1][1])
		return usage_error(&verb_check, "%s: no such option", argv[1]);
	if (argc != 2)
		return usage_error(&verb_check, "takes one region");
	int err = shmb_check_name(argv[1], to_stdout, NULL);
	if (err == SHMB_ECORRUPT) {
		(void)result(&verb_check, argv[1], err);
		return EXIT_CORRUPT;
	}
	return result(&verb_check, argv[1], err);
}

const struct verb verb_check = {
	"check", run_check, "NAME", "Walks every invariant of an arena region, without trusting it",
	"Works on a region in use and on what a crash left, changes nothing. Prints one line\n"
	"for each contradiction, then the sums; says whether anybody was writing, since\n"
	"only then can they be off, and how many dead processes' caches wait for recovery.\n"
	"Exit status 3 where there were contradictions.\n"};
