/*
 * ops.c - the operations of the library whose calls are made to fail.
 *
 * Each runs in a process of its own, from a state that setup() makes. Where
 * another process is part of it, that is forked; calls of a forked child count
 * as its parent's. A second handle of a region stands for another process
 * where that will do.
 */
#include "ops.h"

#include "inject.h"
#include "preload_api.h"
#include "state.h"
#include "shmbind.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

char region[NAME_LEN];

enum { MANY = 600 };
static shmb_arena *a, *b;
static shmb_region *r, *s;
static shmb_box *box;
static void *p, *many[MANY];
static const shmb_type type = SHMB_TYPE(long, NULL);

void broken(const char *what, int err)
{
	fprintf(stderr, "faults: %s: %s\n", what, shmb_strerror(err));
	_exit(3);
}

static void need(const char *what, int err)
{
	if (err)
		broken(what, err);
}

/* ---- opening and closing ------------------------------------------------------------ */

static int open_arena(shmb_arena **out, size_t size, unsigned flags)
{
	shmb_options opt = {.size = size, .flags = flags};
	*out = NULL;
	return shmb_arena_open(region, &opt, out);
}

static int open_raw(shmb_region **out, size_t size, unsigned flags)
{
	shmb_options opt = {.size = size, .flags = flags};
	*out = NULL;
	return shmb_region_open(region, &opt, out);
}

static void close_all(void)
{
	if (b)
		need("close", shmb_arena_close(b));
	if (a)
		need("close", shmb_arena_close(a));
	if (s)
		need("close", shmb_region_close(s));
	if (r)
		need("close", shmb_region_close(r));
	a = b = NULL;
	r = s = NULL;
}

static void with_arena(void) { need("create", open_arena(&a, 64 * MIB, SHMB_CREATE_ONLY)); }
static void with_raw(void) { need("create", open_raw(&r, 64 * KIB, SHMB_CREATE_ONLY)); }
static void nothing(void) {}

static int create(void) { return open_arena(&a, 64 * MIB, 0); }
static int create_hardened(void) { return open_arena(&a, 64 * MIB, SHMB_HARDENED); }
static int create_raw(void) { return open_raw(&r, 64 * KIB, 0); }
static int create_sparse(void) { return open_raw(&r, 64 * KIB, SHMB_SPARSE); }
static void without_unnamed(void) { no_unnamed = true; }
static int attach(void) { return open_arena(&b, 0, 0); }
static int attach_only(void) { return open_arena(&b, 0, SHMB_ATTACH_ONLY | SHMB_FIXED); }
static int attach_raw(void) { return open_raw(&s, 0, 0); }
static int attach_reading(void) { return open_arena(&b, 0, SHMB_READ_ONLY); }
static int attach_raw_reading(void) { return open_raw(&s, 0, SHMB_READ_ONLY); }
static int claim(void) { return open_arena(&a, 0, 0); }
static int replace(void) { return open_arena(&a, 64 * MIB, SHMB_REPLACE); }
static int claim_raw(void) { return open_raw(&r, 0, 0); }

/* Its owner dies. As an address the region's own is free, then. */
static void with_dead(int (*open)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		int err = open();
		for (unsigned i = 0; a && i < 100; i++)
			many[i] = shmb_malloc(a, 100 + i);
		_exit(err != 0);
	}
	int status;
	if (wait4(pid, &status, 0, NULL) != pid || status)
		broken("a process that owns and dies", 0);
}
static void with_dead_arena(void) { with_dead(create); }
static void with_dead_raw(void) { with_dead(create_raw); }

static void with_kept_arena(void)
{
	with_arena();
	need("leak", shmb_region_leak(shmb_arena_region(a)));
	need("close", shmb_arena_close(a));
	a = NULL;
}
static void unlink_kept(void)
{
	close_all();
	need("remove", shmb_remove_name(region));
}

static int close_owner(void)
{
	shmb_arena *was = a;
	a = NULL;
	return shmb_arena_close(was);
}
static int close_attacher(void)
{
	shmb_arena *was = b;
	b = NULL;
	return shmb_arena_close(was);
}
static int close_raw(void)
{
	shmb_region *was = r;
	r = NULL;
	return shmb_region_close(was);
}
static void with_used_arena(void)
{
	with_arena();
	shmb_free(a, shmb_malloc(a, 100));
	p = shmb_malloc(a, MIB);
}
static void with_attacher(void)
{
	with_used_arena();
	need("attach", attach());
	shmb_free(b, shmb_malloc(b, 100));
}
static int attach_and_close(void) { return attach() ? 1 : close_attacher(); }

static int leak(void) { return shmb_region_leak(shmb_arena_region(a)); }
static int own(void) { return shmb_region_own(shmb_arena_region(a)); }
static void with_leaked(void)
{
	with_arena();
	need("leak", leak());
}
static void own_and_close(void)
{
	need("own", own());
	close_all();
}

/* ---- a reaper ------------------------------------------------------------------------ */

static int create_with_reaper(void)
{
	int err = open_raw(&r, 64 * KIB, SHMB_REAPER);
	while (!err && !reaper_settled())
		usleep(200);
	return err;
}

/* ---- allocating ------------------------------------------------------------------------ */

static int got(void *block)
{
	int err = block ? 0 : errno;
	if (block)
		memset(block, 1, 100); /* SIGBUS, were it not committed */
	return err;
}

static int malloc_small(void) { return got(p = shmb_malloc(a, 100)); }
static int malloc_large(void) { return got(p = shmb_malloc(a, MIB)); }
static int malloc_huge(void) { return got(p = shmb_malloc(a, 5 * MIB)); } /* two huge pages, and two halves */
static int aligned(void) { return got(p = shmb_aligned_alloc(a, 2 * MIB, 100)); }
static int aligned_small(void) { return got(p = shmb_aligned_alloc(a, 8 * KIB, 100)); }
static int calloc_large(void) { return got(p = shmb_calloc(a, 3, 100 * KIB)); }
static void free_and_close(void)
{
	shmb_free(a, p);
	close_all();
}

static int malloc_many(void)
{
	int err = 0;
	for (unsigned i = 0; i < MANY && !err; i++) {
		if (!many[i])
			err = got(many[i] = shmb_malloc(a, 3000 + i));
	}
	return err;
}
static void free_many(void)
{
	for (unsigned i = 0; i < MANY; i++) {
		if (many[i])
			shmb_free(a, many[i]);
		many[i] = NULL;
	}
}
static void free_many_and_close(void)
{
	free_many();
	close_all();
}
static void with_many(void)
{
	with_arena();
	need("malloc", malloc_many());
}
static int free_small(void)
{
	free_many();
	return 0;
}
static void with_large(void)
{
	with_arena();
	p = shmb_malloc(a, 8 * MIB);
	need("malloc", !p);
	memset(p, 7, 8 * MIB);
}
static int free_large(void)
{
	shmb_free(a, p);
	p = NULL;
	return 0;
}
static int grow(void)
{
	void *q = shmb_realloc(a, p, 9 * MIB);
	p = q ? q : p;
	return got(q);
}
static int shrink(void)
{
	p = shmb_realloc(a, p, 100 * KIB);
	return got(p);
}
static void with_freed(void)
{
	with_many();
	free_many();
	shmb_free(a, shmb_malloc(a, 4 * MIB));
}
static int trim(void)
{
	shmb_trim(a);
	return 0;
}
static int recover(void)
{
	(void)shmb_recover(a);
	return 0;
}

/* A second process that holds and does nothing; the first needs what it has cached. */
static void with_idle(void)
{
	need("create", open_arena(&a, 4 * MIB, SHMB_CREATE_ONLY));
	need("attach", attach());
	for (unsigned i = 0; i < MANY && (many[i] = shmb_malloc(b, 6000)); i++)
		;
	for (unsigned i = 0; i < MANY; i++)
		shmb_free(b, many[i]);
	memset(many, 0, sizeof many);
}
static int malloc_all(void) { return got(p = shmb_malloc(a, 4 * MIB)); }
static int malloc_all_later(void)
{
	usleep(12000); /* after a shortage nothing is looked for again for 10 ms, unless something comes free */
	return p ? 0 : malloc_all();
}

static void with_dead_attacher(void)
{
	with_arena();
	pid_t pid = fork();
	if (pid == 0) {
		for (unsigned i = 0; i < 100; i++)
			shmb_free(a, shmb_malloc(a, 100 + i));
		_exit(0);
	}
	wait4(pid, NULL, 0, NULL);
}

/* ---- threads and forks -------------------------------------------------------------------- */

static void *thread(void *arg)
{
	int *err = arg;
	void *small = shmb_malloc(a, 100), *large = small ? shmb_malloc(a, 100 * KIB) : NULL;
	*err = large ? 0 : errno;
	shmb_free(a, small);
	shmb_free(a, large);
	return NULL;
}
static int thread_life(void)
{
	pthread_t t;
	int err = 0;
	need("thread", pthread_create(&t, NULL, thread, &err));
	pthread_join(t, NULL);
	return err;
}

/* A thread that has used the arena and stays. */
static pthread_t idler;
static pthread_barrier_t met;
static void *idle(void *arg)
{
	shmb_free(a, shmb_malloc(a, 100));
	pthread_barrier_wait(&met);
	pthread_barrier_wait(&met);
	return arg;
}
static void with_idler(void)
{
	with_arena();
	pthread_barrier_init(&met, NULL, 2);
	need("thread", pthread_create(&idler, NULL, idle, NULL));
	pthread_barrier_wait(&met);
}
static int close_beside(void)
{
	int err = shmb_arena_close(a);
	if (!err)
		a = NULL;
	return err;
}
/* EINVAL: it was closed, all but its name. */
static int close_beside_again(void)
{
	int err = a ? shmb_arena_close(a) : create() ? 1 : close_owner();
	a = NULL;
	return err == EINVAL ? 0 : err;
}
static void idler_end(void)
{
	pthread_barrier_wait(&met);
	pthread_join(idler, NULL);
	close_all();
}

/* What it returns in a forked child. */
static int in_child(int (*run)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(run() & 0xff);
	if (wait4(pid, &status, 0, NULL) != pid || WIFSIGNALED(status))
		raise(WIFSIGNALED(status) ? WTERMSIG(status) : SIGABRT);
	return WEXITSTATUS(status) < 200 ? WEXITSTATUS(status) : WEXITSTATUS(status) - 256;
}
static int child_thread(void)
{
	int err;
	thread(&err);
	return err;
}
static int child_call(void) { return in_child(child_thread); }
static int box_new(void) { return shmb_box_new(a, &type, NULL, NULL, &box); }
static int child_box(void) { return in_child(box_new); }

static int leaving(void)
{
	plan_arm(false);
	with_used_arena();
	plan_arm(true);
	exit(0);
}
static int exit_owner(void)
{
	fflush(NULL);
	return in_child(leaving);
}

/* ---- for the shim -------------------------------------------------------------------------- */

static struct snapshot snapshot;

static void with_blocks(void)
{
	with_arena();
	for (unsigned i = 0; i < 100; i++)
		memset(many[i] = shmb_malloc(a, 100 + i), (int)i, 100);
	memset(p = shmb_malloc(a, MIB), 7, MIB);
}
static int snapshot_adopted(void)
{
	int err = preload_snapshot_adopt(a, &snapshot);
	for (unsigned i = 0; i < 100 && !err; i++)
		err = *(unsigned char *)many[i] != i;
	if (!err && ((unsigned char *)p)[MIB - 1] != 7)
		err = 1;
	return err;
}
static int snapshot_life(bool moment)
{
	int err = preload_snapshot_take(a, &snapshot, moment);
	if (!err)
		err = in_child(snapshot_adopted);
	preload_snapshot_discard(a, &snapshot);
	return err;
}
static int copy_pages(void) { return snapshot_life(false); }
static int copy_moment(void) { return snapshot_life(true); }
static int alone(void) { return (void)preload_fork_alone(), 0; }
static int deny(void) { return preload_deny(a); }
static int absent_child(void) { return preload_absent(a); }
static int absent(void) { return in_child(absent_child); }
static int cut(void)
{
	preload_shrink(a, 16 * MIB);
	return 0;
}
static int zero(void)
{
	if (!preload_zero(p, MIB))
		return EAGAIN;
	return ((unsigned char *)p)[MIB - 1] ? EIO : 0;
}

/* ---- boxes ---------------------------------------------------------------------------------- */

static int box_named(void) { return shmb_box_find_or_new(a, "it", &type, NULL, NULL, &box, NULL); }
static int box_found(void) { return shmb_box_find(a, "it", &type, &box); }
static void with_box(void)
{
	with_arena();
	need("box", box_named());
}
static int box_dropped(void)
{
	shmb_box *was = box;
	box = NULL;
	return shmb_box_drop(was);
}
static int box_made_and_dropped(void) { return box_named() ? 1 : box_dropped(); }
static int box_kept_and_owned(void)
{
	int err = shmb_box_leak(box);
	return err ? err : shmb_box_own(box);
}
static int raw_box(void)
{
	int err = open_raw(&r, 64 * KIB, 0);
	if (!err)
		err = shmb_region_box(r, &type, &box);
	if (err && r) {
		need("close", shmb_region_close(r));
		r = NULL;
	}
	return err;
}
static void with_used_directory(void) /* its descriptor is kept from the first owner on */
{
	with_raw();
	close_all();
}
static void raw_box_end(void) { need("drop", shmb_box_drop(box)); }
static int raw_box_dropped(void)
{
	shmb_box *was = box;
	box = NULL;
	r = NULL;
	return shmb_box_drop(was);
}
static void with_raw_box(void) { need("box", raw_box()); }
static int raw_box_again(void) { return raw_box() ? 1 : raw_box_dropped(); }

/* ---- looking --------------------------------------------------------------------------------- */

static void ignore(void *opaque, const char *text) { (void)opaque, (void)text; }
static int on_block(void *opaque, const shmb_block_info *i) { return (void)opaque, (void)i, 0; }
static int on_info(void *opaque, const shmb_info *i) { return (void)opaque, (void)i, 0; }

static int stats_inside(void) { return shmb_stats_print(a, ignore, NULL, "J"); }
static int stats(void) { return shmb_stats_name(region, ignore, NULL, "J"); }
static int check(void) { return shmb_check_name(region, ignore, NULL); }
static int walk(void) { return shmb_walk_name(region, on_block, NULL); }

/* There may be others' in the directory: more than one in any case. */
static void with_two(void)
{
	char second[NAME_LEN + 8];
	shmb_options opt = {.size = 64 * KIB, .flags = SHMB_CREATE_ONLY};
	with_many();
	snprintf(second, sizeof second, "%s-second", region);
	need("create", shmb_region_open(second, &opt, &r));
}
static int list(void) { return shmb_list(on_info, NULL); }
static int info(void)
{
	shmb_info i;
	return shmb_info_name(region, &i);
}
static int read_bytes(void)
{
	char buf[4096];
	size_t n;
	return shmb_read_name(region, 0, buf, sizeof buf, &n);
}
static int reap(void) { return shmb_reap_name(region, 0); }
static int reap_again(void)
{
	int err = reap();
	return err == ENOENT ? 0 : err; /* it was removed, and what failed came after that */
}
static int remove_name(void) { return shmb_remove_name(region); }
static void with_name(void)
{
	with_raw();
	need("leak", shmb_region_leak(r));
	need("close", shmb_region_close(r));
	r = NULL;
}

static int open_close(void) { return create() ? 1 : close_owner(); }
static int open_close_raw(void) { return create_raw() ? 1 : close_raw(); }
static int fits(void) { return malloc_small() ? 1 : free_large(); }

static const struct op ops[] = {
	{"create", nothing, create, NULL, close_all, false, false},
	{"create, hardened", nothing, create_hardened, NULL, close_all, false, false},
	{"create, raw", nothing, create_raw, NULL, close_all, false, false},
	{"create, raw and sparse", nothing, create_sparse, NULL, close_all, false, false},
	{"create, with a reaper", nothing, create_with_reaper, NULL, close_all, false, false},
	{"create, without unnamed files", without_unnamed, create, NULL, close_all, false, false},
	{"create, raw, without unnamed files", without_unnamed, create_raw, NULL, close_all, false, false},
	{"attach", with_arena, attach, NULL, close_all, false, false},
	{"attach, read-only", with_arena, attach_reading, NULL, close_all, false, false},
	{"attach, only and at its address", with_kept_arena, attach_only, NULL, unlink_kept, false, false},
	{"attach, raw", with_raw, attach_raw, NULL, close_all, false, false},
	{"attach, raw, read-only", with_raw, attach_raw_reading, NULL, close_all, false, false},
	{"claim", with_dead_arena, claim, NULL, close_all, false, false},
	{"claim, raw", with_dead_raw, claim_raw, NULL, close_all, false, false},
	{"replace", with_dead_arena, replace, NULL, close_all, true, false},
	{"close, as owner", with_used_arena, close_owner, open_close, close_all, true, false},
	{"close, as attacher", with_attacher, close_attacher, attach_and_close, close_all, true, false},
	{"close, beside a thread that has used it", with_idler, close_beside, close_beside_again, idler_end, true, false},
	{"close, raw", with_raw, close_raw, open_close_raw, close_all, true, false},
	{"exit of an owner", nothing, exit_owner, open_close, close_all, false, true},
	{"leak", with_arena, leak, NULL, own_and_close, false, false},
	{"own", with_leaked, own, NULL, close_all, false, false},
	{"malloc, the first", with_arena, malloc_small, NULL, free_and_close, false, false},
	{"malloc, large", with_arena, malloc_large, NULL, free_and_close, false, false},
	{"malloc, by huge pages", with_arena, malloc_huge, NULL, free_and_close, false, false},
	{"malloc, many", with_arena, malloc_many, NULL, free_many_and_close, false, false},
	{"malloc, all that an idle process caches", with_idle, malloc_all, malloc_all_later, free_and_close, false, false},
	{"calloc, large", with_arena, calloc_large, NULL, free_and_close, false, false},
	{"aligned_alloc, small", with_arena, aligned_small, NULL, free_and_close, false, false},
	{"aligned_alloc, large", with_arena, aligned, NULL, free_and_close, false, false},
	{"realloc, growing", with_large, grow, NULL, free_and_close, false, false},
	{"realloc, shrinking", with_large, shrink, NULL, free_and_close, true, false},
	{"free, many", with_many, free_small, fits, close_all, true, true},
	{"free, large", with_large, free_large, fits, close_all, true, true},
	{"trim", with_freed, trim, NULL, close_all, true, true},
	{"recover", with_dead_attacher, recover, NULL, close_all, true, true},
	{"thread, from start to end", with_arena, thread_life, NULL, close_all, false, false},
	{"fork, the child's first calls", with_arena, child_call, NULL, close_all, false, false},
	{"fork, the child makes a box", with_arena, child_box, NULL, close_all, false, false},
	{"fork, a copy for the child", with_blocks, copy_pages, NULL, close_all, false, false},
	{"fork, a copy of one moment", with_blocks, copy_moment, NULL, close_all, false, false},
	{"fork, are there other threads", with_blocks, alone, NULL, close_all, false, false},
	{"fork, nothing for children", with_blocks, deny, NULL, close_all, false, false},
	{"fork, nothing for this child", with_blocks, absent, NULL, close_all, false, false},
	{"an address limit", with_arena, cut, NULL, close_all, true, true},
	{"zeros", with_blocks, zero, NULL, close_all, false, false},
	{"box, new", with_arena, box_new, NULL, close_all, false, false},
	{"box, find or new", with_arena, box_named, NULL, close_all, false, false},
	{"box, find", with_box, box_found, NULL, close_all, false, false},
	{"box, drop", with_box, box_dropped, box_made_and_dropped, close_all, true, false},
	{"box, leak and own", with_box, box_kept_and_owned, NULL, close_all, false, false},
	{"box, raw", with_used_directory, raw_box, NULL, raw_box_end, false, false},
	{"box, raw, drop", with_raw_box, raw_box_dropped, raw_box_again, close_all, true, false},
	{"stats", with_many, stats_inside, NULL, free_many_and_close, false, false},
	{"stats, by name", with_many, stats, NULL, free_many_and_close, false, false},
	{"check", with_many, check, NULL, free_many_and_close, false, false},
	{"walk", with_many, walk, NULL, free_many_and_close, false, false},
	{"info", with_many, info, NULL, free_many_and_close, false, false},
	{"list", with_two, list, NULL, free_many_and_close, false, false},
	{"read", with_many, read_bytes, NULL, free_many_and_close, false, false},
	{"gc, of a dead owner's", with_dead_arena, reap, reap_again, close_all, true, false},
	{"rm", with_name, remove_name, NULL, close_all, true, false},
};
enum { OWN = sizeof ops / sizeof *ops };

size_t ops_count(void) { return OWN + ops_more_count; }
const struct op *op_at(size_t i) { return i < OWN ? &ops[i] : &ops_more[i - OWN]; }
