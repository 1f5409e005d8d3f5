/*
 * profile_dir.c - the directory that the processes of a profiled command
 * record in: in the shm directory, so that nothing is written to a disk.
 *
 * The tool holds it by flock(2), which ends with the tool. What a killed one
 * left is removed by the next.
 */
#include "profile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHM_DIR "/dev/shm"
#define PREFIX "shmbind-profile."

static void empty(int dir)
{
	DIR *d = fdopendir(dup(dir));
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && unlinkat(dir, e->d_name, 0))
			(void)unlinkat(dir, e->d_name, AT_REMOVEDIR);
	closedir(d);
}

void profile_dir_remove(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return;
	empty(fd);
	close(fd);
	(void)rmdir(path);
}

/* Is it ours, and does nobody hold it? */
static bool is_stale(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool stale = !fstat(fd, &st) && st.st_uid == geteuid() && !flock(fd, LOCK_EX | LOCK_NB);
	close(fd);
	return stale;
}

static void sweep(const char *shm)
{
	char path[512];
	DIR *d = opendir(shm);
	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		snprintf(path, sizeof path, "%s/%s", shm, e->d_name);
		if (!strncmp(e->d_name, PREFIX, strlen(PREFIX)) && is_stale(path))
			profile_dir_remove(path);
	}
	closedir(d);
}

/* Another tool's sweep may come before it is held: then it is gone. */
static bool hold(const char *path)
{
	struct stat st, now;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* to the end */
	if (fd < 0)
		return false;
	if (!flock(fd, LOCK_EX) && !fstat(fd, &st) && !stat(path, &now) && st.st_ino == now.st_ino)
		return true; /* cppcheck-suppress resourceLeak ; to the end */
	close(fd);
	return false;
}

/* The superuser's processes may become other users' before they execute a program. */
static bool make_in(const char *shm, char path[64])
{
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, 64, "%s/" PREFIX "XXXXXX", shm);
		if (!mkdtemp(path))
			return false;
		if (geteuid() == 0)
			(void)chmod(path, 01733);
		if (hold(path))
			return true;
	}
	return false;
}

bool profile_dir_make(char path[64])
{
	static const char *const places[] = {SHM_DIR, "/tmp"};
	for (unsigned i = 0; i < 2; i++) {
		sweep(places[i]);
		if (make_in(places[i], path))
			return true;
	}
	complain("profile", "neither %s nor %s takes a directory: %s", places[0], places[1], strerror(errno));
	return false;
}
