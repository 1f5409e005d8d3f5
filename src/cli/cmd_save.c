/* cmd_save.c - shmbind save, shmbind load: a region as a file, and back. */
#include "progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int takes_two(const struct verb *v, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (argv[i][0] == '-' && argv[i][1])
			return usage_error(v, "%s: no such option", argv[i]);
	return argc == 3 ? EXIT_OK : usage_error(v, "takes %s", v->args);
}

static int run_save(int argc, char **argv)
{
	shmb_info info;
	int exact, code = takes_two(&verb_save, argc, argv);
	if (code)
		return code;
	argv[1] = path_name(argv[1]);
	progress_begin("saving", argv[1]);
	int err = shmb_save_name(argv[1], argv[2], &exact);
	progress_end();
	if (err)
		return result(&verb_save, shmb_info_name(argv[1], &info) || err < 0 ? argv[1] : argv[2], err);
	printf("%s: saved; %s\n", argv[1],
	       exact ? "nobody was allocating, it is of one moment" : "processes were at work, it is of a moving heap");
	return EXIT_OK;
}

const struct verb verb_save = {
	"save", run_save, "NAME FILE", "Saves a region as a file, which the verbs that look take too",
	"The file is sparse, has the region's mode, and must not exist yet. `stats`, `map`,\n"
	"`blocks`, `cat` and `check` take it by a path, with a slash that is not its first\n"
	"character: ./FILE where it is in this directory.\n\n"
	"Nobody is stopped. Where somebody allocates or frees meanwhile, that is said, and\n"
	"the file can contradict itself; stop the program first (kill -STOP) for one of one\n"
	"moment.\n"};

static int run_load(int argc, char **argv)
{
	int code = takes_two(&verb_load, argc, argv);
	if (code)
		return code;
	argv[2] = path_name(argv[2]);
	progress_begin("loading", argv[1]);
	int err = shmb_load_name(argv[1], argv[2]);
	progress_end();
	bool of_name = err == EEXIST || err == EINVAL || (err > 0 && err != ENODEV && !access(argv[1], R_OK));
	return result(&verb_load, of_name ? argv[2] : argv[1], err);
}

const struct verb verb_load = {
	"load", run_load, "FILE NAME", "Makes a region of a saved file",
	"The region is nobody's and kept: any process that may can attach to it, or own it,\n"
	"and `shmbind rm` removes it. It has the mode of the file. A name that exists is\n"
	"refused. FILE is a path in any form.\n"};
