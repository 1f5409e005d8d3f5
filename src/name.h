/* name.h - names of regions, and the files that they stand for. See name.c. */
#ifndef SHMB_NAME_H
#define SHMB_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define SHM_DIR "/dev/shm"
enum { NAME_MAX_BYTES = 254, REGION_NAME = NAME_MAX_BYTES + 2, REGION_PATH = sizeof SHM_DIR + REGION_NAME };

/*
 * "feed" or "/feed" -> "/feed", in the shm directory; "/mnt/fabric/feed" as it
 * is. EINVAL where it cannot name a region; ENAMETOOLONG: a path of 256 bytes and more.
 */
int name_canonical(const char *name, char out[REGION_NAME]);
void name_path(const char *canonical, char out[REGION_PATH]);

/* A path, of a region or another file: there is a slash beyond its first byte. */
bool name_is_path(const char *name);
void name_label(const char *name, char *out, size_t len); /* "/feed", or the path, cut to what fits */

/* "DIR/NAME". ENAMETOOLONG. */
int name_in(const char *dir, const char *name, char out[REGION_PATH]);

/*
 * Keeps the directory of `canonical` within reach, whatever the process does to
 * its root; name_unlink_kept() unlinks from there. SHMB_EGONE: it is not that
 * file; EBADF: none of the kept directories has it. What name_keep_dir() gives
 * name_drop_dir() takes, or the directory's file system stays busy; 0: nothing.
 */
unsigned name_keep_dir(const char *canonical);
void name_drop_dir(unsigned use);
int name_unlink_kept(const char *canonical, dev_t dev, ino_t ino);

/*
 * A file that is to appear under its name once it is complete: without any
 * name, or under another one where the file system has none such. That one
 * begins with ".shmbind-" and is marked as to be removed by whoever finds it.
 */
struct name_draft {
	int fd;
	char other[REGION_PATH]; /* "": it has no name */
};
int name_draft_open(const char *path, struct name_draft *d);
int name_draft_link(struct name_draft *d, const char *path); /* EEXIST; EAGAIN: somebody has removed it */
void name_draft_end(const struct name_draft *d);             /* takes another name away; `fd` stays */

#endif
