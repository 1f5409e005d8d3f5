/* options.c - the options of a verb, by a table. See options.h. */
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct option_of *find(const struct option_of *list, const char *arg, size_t len)
{
	for (; list->name; list++)
		if (strlen(list->name) == len && !strncmp(list->name, arg, len))
			return list;
	return NULL;
}

/* One option, and its value from argv[++*i] where it is not in it. False: not understood (said). */
static bool take(const struct verb *v, const struct option_of *list, int argc, char **argv, int *i)
{
	const char *arg = argv[*i];
	size_t len = strcspn(arg, "=");
	const struct option_of *o = find(list, arg, len);
	if (!o) {
		usage_error(v, "%s: no such option", arg);
		return false;
	}
	if (o->flag) {
		*o->flag = true;
		if (arg[len])
			usage_error(v, "%s: takes no value", arg);
		return !arg[len];
	}
	*o->value = arg[len] ? arg + len + 1 : *i + 1 < argc ? argv[++*i] : NULL;
	if (!*o->value)
		usage_error(v, "%s: takes %s", arg, o->takes);
	return *o->value;
}

bool options_take(const struct verb *v, const struct option_of *list, int *argc, char **argv)
{
	int n = 1;
	for (int i = 1; i < *argc; i++) {
		if (argv[i][0] != '-' || !argv[i][1])
			argv[n++] = argv[i];
		else if (!take(v, list, *argc, argv, &i))
			return false;
	}
	*argc = n;
	return true;
}

bool option_count(const struct verb *v, const char *name, const char *value, uint64_t least, uint64_t most, uint64_t *out)
{
	char *end;
	if (!value)
		return true;
	errno = 0;
	*out = strtoull(value, &end, 10);
	if (*value >= '0' && *value <= '9' && !*end && !errno && *out >= least && *out <= most)
		return true;
	usage_error(v, "%s %s: takes a number from %llu to %llu", name, value, (unsigned long long)least, (unsigned long long)most);
	return false;
}
