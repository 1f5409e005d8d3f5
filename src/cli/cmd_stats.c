/* cmd_stats.c - shmbind stats, shmbind check */
#include "options.h"
#include "progress.h"
#include "stats_json.h"

static int print_prometheus(const char *name)
{
	struct json_object *stats;
	int err = stats_json(name, &stats);
	if (err)
		return err;
	stats_prometheus(stats, stdout);
	json_object_put(stats);
	return 0;
}

static int run_stats(int argc, char **argv)
{
	bool json = false, prometheus = false, html = false;
	const struct option_of options[] = {
		{"--json", &json, NULL, NULL}, {"--prometheus", &prometheus, NULL, NULL}, {"--html", &html, NULL, NULL},
		{NULL, NULL, NULL, NULL}};
	if (!options_take(&verb_stats, options, &argc, argv))
		return EXIT_USAGE;
	if (argc != 2)
		return usage_error(&verb_stats, "takes one region");
	if (json + prometheus + html > 1)
		return usage_error(&verb_stats, "one of --json, --prometheus, --html");
	argv[1] = path_name(argv[1]);
	int err = prometheus ? print_prometheus(argv[1])
	          : html     ? stats_html(argv[1], stdout)
	                     : shmb_stats_name(argv[1], to_stdout, NULL, json ? "J" : "");
	return result(&verb_stats, argv[1], err);
}

const struct verb verb_stats = {
	"stats", run_stats, "NAME [--json] [--prometheus] [--html]", "Prints what is in an arena region, while it is in use",
	"Live blocks by size class, what lies free in caches, what is free, and the\n"
	"processes attached. The program is not stopped: with writers at work the sums are\n"
	"those of a moving heap.\n\n"
	"  --json        for machines; sizes in bytes, \"schema\" says which form\n"
	"  --prometheus  the same in the text format of Prometheus\n"
	"  --html        a page with the map, size classes, processes and rules\n"};

/* What it found comes at the end. */
static void write_found(void *opaque, const char *text)
{
	progress_end();
	to_stdout(opaque, text);
}

static int run_check(int argc, char **argv)
{
	if (argc > 1 && argv[1][0] == '-' && argv[1][1])
		return usage_error(&verb_check, "%s: no such option", argv[1]);
	if (argc != 2)
		return usage_error(&verb_check, "takes one region");
	argv[1] = path_name(argv[1]);
	progress_begin("checking", argv[1]);
	int err = shmb_check_name(argv[1], write_found, NULL);
	progress_end();
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
