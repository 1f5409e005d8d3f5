/* cmd_gc.c - shmbind gc, shmbind rm */
#include "progress.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct sweep {
	bool dry, force, failed;
	unsigned removed, seen;
	uint64_t bytes;
};

/* A line, where the progress may stand. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	va_list ap;
	progress_clear();
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	fflush(stdout);
}

static bool gone(int err)
{
	return err == SHMB_EGONE || err == ENOENT;
}

/* Attaching recovers: nothing else is asked of the arena, so that no box of a type unknown here is dropped. */
static int recover(const shmb_info *i, unsigned *n)
{
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	shmb_info after = {.dead = 0};
	shmb_arena *a;
	int err = shmb_arena_open(i->name, &opt, &a);
	if (err)
		return err;
	err = shmb_info_name(i->name, &after);
	*n = after.dead < i->dead ? i->dead - after.dead : 0;
	int closed = shmb_arena_close(a);
	return err && !gone(err) ? err : closed;
}

static void consider_dead(struct sweep *s, const shmb_info *i)
{
	unsigned n = i->dead;
	if (i->kind != SHMB_KIND_ARENA || !n || i->uid != geteuid()) /* who may write to another user's may harm us */
		return;
	int err = s->dry ? 0 : recover(i, &n);
	if (err && !gone(err)) {
		progress_clear();
		complain("gc", "%s: %s", shown(i->name, false), shmb_strerror(err));
		s->failed = true;
	}
	if (!err && n)
		say("%s: %u dead process%s %srecovered\n", shown(i->name, false), n, n == 1 ? "" : "es", s->dry ? "would be " : "");
}

/*
 * A dead owner's region is not attached to for its other dead: it goes as a
 * whole once nobody is there, and till then it waits to be claimed, by an open
 * that recovers them. To attach would at best (SHMB_ATTACH_ONLY) keep another
 * gc from removing it, at worst claim it for a process that does not want it.
 */
static int consider(void *opaque, const shmb_info *i)
{
	struct sweep *s = opaque;
	char buf[24];
	progress_at(++s->seen, 0, i->name);
	if (i->owner == SHMB_OWNER_LIVE || i->owner == SHMB_OWNER_NONE)
		consider_dead(s, i);
	if (i->owner != SHMB_OWNER_DEAD)
		return 0;
	if (i->attached && !s->force) {
		say("%s: its owner is dead, but %u %s attached: spared\n", shown(i->name, false), i->attached,
		       i->attached == 1 ? "process is" : "processes are");
		return 0;
	}
	int err = s->dry ? 0 : shmb_reap_name(i->name, s->force);
	if (err == SHMB_EOWNED || gone(err))
		return 0; /* somebody claimed or removed it meanwhile */
	if (err) {
		progress_clear();
		complain("gc", "%s: %s", shown(i->name, false), shmb_strerror(err));
		s->failed = true;
		return 0;
	}
	say("%s: %s%s\n", shown(i->name, false), s->dry ? "would be removed, " : "removed, ", human(buf, i->resident));
	s->removed++;
	s->bytes += i->resident;
	return 0;
}

static int run_gc(int argc, char **argv)
{
	struct sweep s = {0};
	char buf[24];
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--dry-run"))
			s.dry = true;
		else if (!strcmp(argv[i], "--force"))
			s.force = true;
		else
			return usage_error(&verb_gc, "%s: not understood", argv[i]);
	}
	progress_begin("looking at", path_dir());
	int err = shmb_list_in(path_dir(), consider, &s);
	progress_end();
	if (err)
		return result(&verb_gc, path_dir(), err);
	printf("%u region%s%s, %s\n", s.removed, s.removed == 1 ? "" : "s", s.dry ? " would go" : "", human(buf, s.bytes));
	return s.failed ? EXIT_FAILED : EXIT_OK;
}

const struct verb verb_gc = {
	"gc", run_gc, "[--path DIR] [--dry-run] [--force]", "Removes regions whose owner died, recovers dead processes",
	"Removed are only regions of this library, not leaked, whose owner the kernel says\n"
	"is gone. One that processes are still attached to is spared.\n\n"
	"In your arenas that live on or were leaked, what processes that ended attached\n"
	"held in their caches is handed on; for that gc attaches for a moment.\n\n"
	"  --dry-run   says what would go and what would be recovered; attaches to nothing\n"
	"  --force     those with processes attached too; they keep their memory\n"};

/* False: it failed (said). */
static bool remove_one(const char *name, bool force)
{
	shmb_info info;
	int err = shmb_info_name(name, &info);
	bool lives = !err && !force && (info.owner == SHMB_OWNER_LIVE || info.owner == SHMB_OWNER_UNKNOWN);
	if (!err && !lives)
		err = shmb_remove_name(name);
	if (err || lives)
		progress_clear();
	if (lives)
		complain("rm", "%s: a living process owns it; --force removes it all the same", name);
	return !lives && !result(&verb_rm, name, err);
}

static int run_rm(int argc, char **argv)
{
	bool force = false;
	int code = EXIT_OK;
	if (!take_flag(&verb_rm, &argc, argv, "--force", &force))
		return EXIT_USAGE;
	if (argc < 2)
		return usage_error(&verb_rm, "takes regions");
	progress_begin("removing", argv[1]);
	for (int i = 1; i < argc; i++) {
		progress_at((unsigned)i, (unsigned)argc - 1, argv[i]);
		if (!remove_one(path_name(argv[i]), force))
			code = EXIT_FAILED;
	}
	progress_end();
	return code;
}

const struct verb verb_rm = {
	"rm", run_rm, "NAME... [--force]", "Removes regions by name",
	"Processes that have one mapped keep their memory until they let go of it.\n\n"
	"  --force   also one that a living process owns\n"};
