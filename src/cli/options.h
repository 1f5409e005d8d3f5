/* options.h - the options of a verb, by a table. */
#ifndef SHMBIND_OPTIONS_H
#define SHMBIND_OPTIONS_H

#include "cli.h"

struct option_of {
	const char *name;   /* "--width"; NULL ends the table */
	bool *flag;         /* takes no value: set to true; or */
	const char **value; /* --width N and --width=N */
	const char *takes;  /* what the value is, for who gave none */
};

/* Takes the options out of argv, wherever they stand. False: one was not understood (said). */
bool options_take(const struct verb *v, const struct option_of *list, int *argc, char **argv);

/* A value that is a number; one that was not given leaves *out. False: it is none in that range (said). */
bool option_count(const struct verb *v, const char *name, const char *value, uint64_t least, uint64_t most, uint64_t *out);

#endif
