/* path.c - the directory that names lie in: --path DIR, or SHMBIND_PATH, or the shm directory. */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SHM_DIR "/dev/shm"

static char dir[PATH_MAX] = SHM_DIR;

/* --path out of argv, the last of them. False: it has no value (said). */
static bool take_option(const struct verb *v, int *argc, char **argv, const char **value)
{
	int n = 1;
	for (int i = 1; i < *argc; i++) {
		if (!strncmp(argv[i], "--path=", 7)) {
			*value = argv[i] + 7;
		} else if (strcmp(argv[i], "--path")) {
			argv[n++] = argv[i];
		} else if (++i < *argc) {
			*value = argv[i];
		} else {
			usage_error(v, "--path: takes a directory");
			return false;
		}
	}
	*argc = n;
	argv[n] = NULL;
	return true;
}

int path_use(const char *verb, const char *value, const char *said_by)
{
	struct stat st;
	size_t n = strlen(value);
	while (n > 1 && value[n - 1] == '/')
		n--;
	if (*value != '/' || n == 1 || n >= sizeof dir) {
		complain(verb, "%s%s: not the whole path of a directory", said_by, value);
		return EXIT_USAGE;
	}
	snprintf(dir, sizeof dir, "%.*s", (int)n, value);
	int err = stat(dir, &st) ? errno : S_ISDIR(st.st_mode) ? 0 : ENOTDIR;
	if (!err)
		return EXIT_OK;
	complain(verb, "%s%s: %s", said_by, value, strerror(err));
	return EXIT_FAILED;
}

int path_take(const struct verb *v, int *argc, char **argv)
{
	const char *option = NULL, *variable = getenv("SHMBIND_PATH");
	if (!take_option(v, argc, argv, &option))
		return EXIT_USAGE;
	if (option)
		return path_use(v->name, option, "--path ");
	return variable ? path_use(v->name, variable, "SHMBIND_PATH=") : EXIT_OK;
}

const char *path_dir(void)
{
	return dir;
}

static bool is_shm(void)
{
	return !strcmp(dir, SHM_DIR);
}

char *path_name(const char *name)
{
	static char path[2 * PATH_MAX];
	if (is_shm() || !*name || strchr(name + 1, '/'))
		return (char *)(uintptr_t)name; /* as strchr() */
	snprintf(path, sizeof path, "%s%s%s", dir, *name == '/' ? "" : "/", name);
	return path;
}

bool path_has(const char *name)
{
	size_t n = strlen(dir);
	if (is_shm())
		return !strchr(name + 1, '/');
	return !strncmp(name, dir, n) && name[n] == '/' && !strchr(name + n + 1, '/');
}

const char *path_base(const char *name)
{
	return strchr(name + 1, '/') && path_has(name) ? strrchr(name, '/') : name;
}
