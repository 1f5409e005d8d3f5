/*
 * preload_fork.c - forks under the shim in every way, and looks at whose
 * memory is whose. Run by preload_fork.sh.
 *
 *   preload_fork CASE PREFIX
 *
 * Regions are named PREFIX<pid> (SHMBIND_REGION=PREFIX%p), or PREFIX alone in
 * the cases `fixed` and `successor`. A child's findings reach the parent as
 * its exit status. Waiting is by pipes. Prints one line for each thing
 * verified; exit status 1 where one failed. Cases that end with "ready" wait
 * for the end of their input, so that the script can look from outside.
 */
#include "preload_util.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *prefix;
static int failures;

static bool check(bool good, const char *what)
{
	dprintf(STDOUT_FILENO, "%-4s %s\n", good ? "ok" : "FAIL", what);
	failures += !good;
	return good;
}

/* In children: only what is wrong is said. */
static void demand(bool good, const char *what)
{
	if (!good)
		check(false, what);
}

/* ---- where ---------------------------------------------------------------------- */

static void path_of(char path[300], pid_t pid)
{
	if (pid)
		snprintf(path, 300, "/dev/shm%s%d", prefix, (int)pid);
	else
		snprintf(path, 300, "/dev/shm%s", prefix);
}

static bool there(pid_t pid)
{
	char path[300];
	struct stat st;
	path_of(path, pid);
	return stat(path, &st) == 0;
}

/* Does p lie in the region of that process (0: in the one with the fixed name)? */
static bool lies_in(const void *p, pid_t pid)
{
	char path[300];
	struct stat st;
	path_of(path, pid);
	return p && stat(path, &st) == 0 && inode_at(p) == st.st_ino;
}

/* ---- what ------------------------------------------------------------------------ */

/* Blocks small and large, 64 MiB and more of them. */
static const struct {
	size_t size;
	unsigned n;
} kinds[] = {{24, 5000}, {100, 5000}, {1000, 3000}, {5000, 1000}, {40000, 200}, {65536, 32}, {300000, 40}, {1 << 20, 16}, {20 << 20, 1}};
enum { KINDS = sizeof kinds / sizeof *kinds, BLOCKS = 5000 + 5000 + 3000 + 1000 + 200 + 32 + 40 + 16 + 1, BYTES_PAGE = 4096 };

static unsigned char *block[BLOCKS];
static size_t block_size[BLOCKS];

static void blocks_make(void)
{
	unsigned at = 0;
	for (unsigned k = 0; k < KINDS; k++)
		for (unsigned i = 0; i < kinds[k].n; i++, at++) {
			block_size[at] = kinds[k].size;
			block[at] = kept(malloc(any(kinds[k].size)));
		}
}

static unsigned char stamp(unsigned i, size_t at, unsigned seed)
{
	return (unsigned char)(seed * 61 + i * 7 + at / BYTES_PAGE * 3 + 1);
}

/* First, last and one byte of each page of each block: each page that holds any of them is told apart. */
static void blocks_write(unsigned seed)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		for (size_t at = 0; at < block_size[i]; at += BYTES_PAGE)
			block[i][at] = stamp(i, at, seed);
		block[i][block_size[i] - 1] = stamp(i, block_size[i] - 1, seed);
	}
}

static unsigned blocks_wrong(unsigned seed)
{
	unsigned wrong = 0;
	for (unsigned i = 0; i < BLOCKS; i++) {
		bool good = block[i][block_size[i] - 1] == stamp(i, block_size[i] - 1, seed);
		for (size_t at = 0; at + 1 < block_size[i]; at += BYTES_PAGE)
			good = good && block[i][at] == stamp(i, at, seed);
		wrong += !good;
	}
	return wrong;
}

static void blocks_free(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
}

/* ---- taking turns ------------------------------------------------------------------- */

static int down[2], up[2]; /* parent to child, child to parent */

static void pipes_make(void)
{
	if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC))
		exit(99);
}

static void tell(int fd)
{
	if (write(fd, "x", 1) != 1)
		_exit(98);
}

static void await(int fd)
{
	char c;
	if (read(fd, &c, 1) != 1)
		_exit(97);
}

/* In the parent: the child's end, as its exit status; 128 + its signal. */
static int ended(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void ready_and_wait(void)
{
	char c;
	if (write(STDOUT_FILENO, "ready\n", 6) != 6) /* dprintf() frees its buffer after that: not idle yet */
		_exit(97);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

/* ---- copy ----------------------------------------------------------------------------- */

static void isolation_child(void)
{
	demand(blocks_wrong(1) == 0, "child: the snapshot, before anybody writes");
	tell(up[1]);
	await(down[0]); /* the parent has written seed 2 */
	demand(blocks_wrong(1) == 0, "child: the snapshot, after the parent wrote");
	blocks_write(3);
	tell(up[1]);
	await(down[0]); /* the parent has looked */
	demand(blocks_wrong(3) == 0, "child: its own writes");
}

static void test_isolation(void)
{
	blocks_make();
	blocks_write(1);
	check(lies_in(block[0], getpid()) && lies_in(block[BLOCKS - 1], getpid()), "14289 blocks, 71 MiB, small and large, in the region");
	pipes_make();
	pid_t pid = fork();
	if (pid == 0) {
		isolation_child();
		_exit(failures != 0);
	}
	await(up[0]);
	blocks_write(2);
	tell(down[1]);
	await(up[0]); /* the child has written seed 3 */
	check(blocks_wrong(2) == 0, "parent: nothing of the child's writes, page by page");
	tell(down[1]);
	check(ended(pid) == 0, "child: the snapshot as of the fork, nothing of the parent's writes, page by page");
	check(lies_in(block[0], getpid()) && blocks_wrong(2) == 0, "parent: its blocks are still in its region, as they were");
	blocks_free();
}

static void inherited_child(const size_t *usable)
{
	bool same = true, moved = true;
	for (unsigned i = 0; i < BLOCKS; i++)
		same = same && malloc_usable_size(block[i]) == usable[i];
	demand(same, "child: malloc_usable_size of inherited blocks");
	for (unsigned i = 0; i < BLOCKS; i += 3) {
		unsigned char last = block[i][block_size[i] - 1];
		block[i] = kept(realloc(block[i], any(block_size[i] * 2)));
		moved = moved && block[i] && block[i][0] == stamp(i, 0, 1) && block[i][block_size[i] - 1] == last;
	}
	demand(moved, "child: realloc of inherited blocks, growing");
	for (unsigned i = 1; i < BLOCKS; i += 3) {
		block[i] = kept(realloc(block[i], any(block_size[i] / 2 + 1)));
		moved = moved && block[i] && block[i][0] == stamp(i, 0, 1);
	}
	demand(moved, "child: realloc of inherited blocks, shrinking");
	blocks_free();
	for (unsigned i = 0; i < BLOCKS; i++)
		block[i] = kept(malloc(any(block_size[i])));
	blocks_write(7);
	demand(blocks_wrong(7) == 0, "child: new blocks after the inherited ones were freed");
	demand(lies_in(block[0], getpid()), "child: new blocks are in its own region");
	blocks_free();
}

static void test_inherited(void)
{
	static size_t usable[BLOCKS];
	blocks_make();
	blocks_write(1);
	for (unsigned i = 0; i < BLOCKS; i++)
		usable[i] = malloc_usable_size(block[i]);
	pid_t pid = fork();
	if (pid == 0) {
		inherited_child(usable);
		exit(failures != 0);
	}
	check(ended(pid) == 0, "child: usable_size, realloc and free of inherited blocks, new ones in its own region");
	check(blocks_wrong(1) == 0, "parent: its blocks as they were");
	blocks_free();
	blocks_make();
	blocks_write(4);
	check(blocks_wrong(4) == 0 && lies_in(block[9], getpid()), "parent: frees and allocates on");
	ready_and_wait();
}

/* A child that has a region of its own, and ends. */
static void child_ends(const char *how)
{
	char text[120];
	pipes_make();
	pid_t pid = fork();
	if (pid == 0) {
		void *p = kept(malloc(any(5000)));
		demand(lies_in(p, getpid()), "child: its new block is in its own region");
		tell(up[1]);
		await(down[0]);
		if (failures)
			_exit(1);
		if (!strcmp(how, "exit"))
			exit(0);
		if (!strcmp(how, "_exit"))
			_exit(0);
		if (!strcmp(how, "_Exit"))
			_Exit(0);
		if (!strcmp(how, "quick_exit"))
			quick_exit(0);
		execl("/bin/true", "true", (char *)NULL);
		_exit(90);
	}
	await(up[0]);
	bool was = there(pid);
	tell(down[1]);
	int status = ended(pid);
	snprintf(text, sizeof text, "child that ends by %s: its region was there, is gone, its parent's stays", how);
	check(was && status == 0 && !there(pid) && there(getpid()), text);
	for (int i = 0; i < 2; i++)
		close(down[i]), close(up[i]);
}

/* A child that never allocates, and ends. */
static void idle_child_ends(void (*end)(int), int status, const char *text)
{
	pid_t pid = fork();
	if (pid == 0)
		end(0);
	check(ended(pid) == status && !there(pid) && there(getpid()), text);
}

static void end_by_abort(int unused)
{
	(void)unused;
	abort();
}

static void test_ends(void)
{
	static const char *const hows[] = {"exit", "_exit", "_Exit", "quick_exit", "exec"};
	unsigned char *p = kept(malloc(any(100000)));
	memset(p, 0x5a, 100000);
	for (unsigned i = 0; i < sizeof hows / sizeof *hows; i++)
		child_ends(hows[i]);
	idle_child_ends(exit, 0, "idle child that ends by exit: makes no region, its parent's stays");
	idle_child_ends(_exit, 0, "idle child that ends by _exit: makes no region, its parent's stays");
	idle_child_ends(end_by_abort, 134, "idle child that ends by abort: makes no region, its parent's stays");
	check(lies_in(p, getpid()) && p[0] == 0x5a && p[99999] == 0x5a, "parent: its block as it was");
	free(p);
}

static void test_fixed(void)
{
	unsigned char *p = kept(malloc(any(5000)));
	memset(p, 1, 5000);
	check(lies_in(p, 0), "parent: in the region with the fixed name");
	pid_t pid = fork();
	if (pid == 0) {
		bool heap = true;
		demand(p[4999] == 1, "child: the snapshot");
		for (int i = 0; i < 2000; i++) { /* more than it takes to try the name again */
			void *q = kept(malloc(any(5000)));
			heap = heap && q && !lies_in(q, 0);
			free(i % 2 ? q : NULL);
		}
		demand(heap, "child: new blocks are in the ordinary heap");
		exit(failures != 0);
	}
	check(ended(pid) == 0, "child: new blocks in the ordinary heap while the parent lives");
	check(there(0) && lies_in(p, 0), "parent: its region stays");
	free(p);
}

/* A daemon: its parent has left, so the name is free. The script waits for the daemon's last word. */
static void test_successor(void)
{
	unsigned char *p = kept(malloc(any(5000)));
	memset(p, 3, 5000);
	pipes_make();
	if (fork() == 0) {
		char c;
		bool placed = false;
		close(down[1]);
		while (read(down[0], &c, 1) > 0) /* ends when the parent has ended */
			;
		for (int i = 0; i < 2000 && !placed; i++)
			placed = lies_in(kept(malloc(any(5000))), 0);
		check(placed, "child: takes the fixed name over once its parent has left");
		check(p[0] == 3 && p[4999] == 3, "child: and still has the snapshot");
		exit(failures != 0);
	}
}

static int grandchild(unsigned char *eldest, unsigned char *elder, pid_t parent)
{
	demand(eldest[0] == 11 && eldest[99999] == 11 && elder[0] == 22 && elder[999] == 22, "grandchild: both snapshots");
	void *p = kept(malloc(any(777)));
	demand(lies_in(p, getpid()), "grandchild: a region of its own");
	memset(eldest, 33, 100000), memset(elder, 33, 1000);
	free(eldest), free(elder), free(p);
	demand(there(parent), "grandchild: its parent's region is there");
	return failures != 0;
}

static int child_with_child(unsigned char *eldest)
{
	unsigned char *elder = kept(malloc(any(1000)));
	memset(elder, 22, 1000);
	pid_t me = getpid(), pid = fork();
	if (pid == 0)
		exit(grandchild(eldest, elder, me));
	demand(ended(pid) == 0, "child: its child");
	demand(!there(pid) && there(getpid()), "child: its child's region is gone, its own there");
	demand(eldest[5] == 11 && elder[5] == 22, "child: nothing of its child's writes");
	free(eldest), free(elder);
	return failures != 0;
}

static void test_generations(void)
{
	unsigned char *eldest = kept(malloc(any(100000)));
	memset(eldest, 11, 100000);
	pid_t pid = fork();
	if (pid == 0)
		exit(child_with_child(eldest));
	check(ended(pid) == 0, "child of a child: snapshots of both, a region of its own, nothing shows through");
	check(!there(pid) && there(getpid()) && eldest[50000] == 11, "parent: all as it was, the child's region is gone");
	free(eldest);
}

/* ---- threads ---------------------------------------------------------------------------- */

static atomic_bool stop;
static atomic_uint thread_faults;

static void *busy(void *arg)
{
	enum { HELD = 64 };
	unsigned char *held[HELD] = {0}, seed = (unsigned char)(uintptr_t)arg;
	size_t size[HELD] = {0};
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		unsigned k = i * 2654435761u % HELD;
		if (held[k] && (held[k][0] != seed || held[k][size[k] - 1] != seed))
			atomic_fetch_add(&thread_faults, 1);
		free(held[k]);
		size[k] = i % 50 ? i * 7919u % 3000 + 1 : i % 300000 + 1;
		held[k] = malloc(size[k]);
		memset(held[k], seed, size[k]);
	}
	for (unsigned k = 0; k < HELD; k++)
		free(held[k]);
	return NULL;
}

static int threads_child(unsigned char *const mine[], unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned at = 0; at < 3000; at += 100)
			demand(mine[i][at] == (unsigned char)i, "child: a block no thread wrote to");
		free(mine[i]);
	}
	unsigned char *p[100];
	for (unsigned i = 0; i < 100; i++)
		memset(p[i] = kept(malloc(any(i * 100 + 1))), 0xee, i * 100 + 1);
	demand(lies_in(p[3], getpid()), "child: a region of its own");
	for (unsigned i = 0; i < 100; i++)
		free(p[i]);
	return failures != 0;
}

static void test_threads(void)
{
	enum { MINE = 200, FORKS = 50, THREADS = 3 };
	unsigned char *mine[MINE];
	pthread_t t[THREADS];
	unsigned good = 0, gone = 0;
	for (unsigned i = 0; i < MINE; i++)
		memset(mine[i] = kept(malloc(any(3000))), (int)i, 3000);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, busy, (void *)(i + 1));
	for (unsigned i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		if (pid == 0)
			(i % 2 ? exit : _exit)(threads_child(mine, MINE));
		good += ended(pid) == 0;
		gone += !there(pid);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	check(good == FORKS, "50 forks beside 3 busy threads: each child sees what it should");
	check(gone == FORKS, "50 children: no region is left of any");
	check(thread_faults == 0, "threads: their blocks are theirs alone all the time");
	bool same = true;
	for (unsigned i = 0; i < MINE; i++)
		same = same && mine[i][0] == (unsigned char)i && mine[i][2999] == (unsigned char)i;
	check(same, "parent: its blocks as they were");
	ready_and_wait();
}

/* ---- share --------------------------------------------------------------------------------- */

static int share_child(pid_t parent)
{
	demand(lies_in(block[0], parent), "child: the blocks are in its parent's region");
	blocks_write(6);
	tell(up[1]);
	await(down[0]);
	demand(blocks_wrong(8) == 0, "child: sees its parent's writes");
	for (unsigned i = 0; i < BLOCKS; i += 2)
		free(block[i]);
	unsigned char *made[200];
	for (unsigned i = 0; i < 200; i++) {
		memset(made[i] = kept(malloc(any(i * 500 + 1))), (int)i, i * 500 + 1);
		demand(lies_in(made[i], parent), "child: new blocks are in its parent's region");
	}
	if (write(up[1], made, sizeof made) != sizeof made)
		_exit(96);
	return failures != 0;
}

static void test_share(void)
{
	unsigned char *made[200];
	bool same = true;
	blocks_make();
	blocks_write(5);
	pipes_make();
	pid_t me = getpid(), pid = fork();
	if (pid == 0)
		_exit(share_child(me));
	await(up[0]);
	check(blocks_wrong(6) == 0, "parent: sees all that the child wrote");
	blocks_write(8);
	tell(down[1]);
	check(read(up[0], made, sizeof made) == sizeof made, "child: frees half of its parent's blocks, makes 200, all in the parent's region");
	check(ended(pid) == 0, "child: ends well");
	check(there(me) && !there(pid), "the region stays after the child, which has none of its own");
	for (unsigned i = 0; i < 200; i++) {
		same = same && made[i][0] == (unsigned char)i && made[i][i * 500] == (unsigned char)i;
		same = same && malloc_usable_size(made[i]) >= i * 500 + 1;
		free(made[i]);
	}
	check(same, "parent: reads and frees what the dead child made");
	for (unsigned i = 0; i < BLOCKS; i += 2) /* the child has freed these */
		block[i] = kept(malloc(any(block_size[i])));
	blocks_write(9);
	check(blocks_wrong(9) == 0 && lies_in(block[0], me), "parent: allocates on, nothing overlaps");
	ready_and_wait();
}

/* ---- deny ------------------------------------------------------------------------------------ */

/* May the kernel read a byte there? */
static bool readable(const void *p)
{
	int ends[2];
	if (pipe(ends))
		_exit(96);
	bool can = write(ends[1], p, 1) == 1;
	if (!can && errno != EFAULT)
		_exit(95);
	close(ends[0]), close(ends[1]);
	return can;
}

static bool denied(void)
{
	bool none = true;
	for (unsigned i = 0; i < BLOCKS; i++)
		none = none && inode_at(block[0]) == 0 && !readable(block[i]) && malloc_usable_size(block[i]) == 0;
	return none;
}

static void deny_use(void)
{
	unsigned char *own[BLOCKS / 10];
	bool refused = true, same = true;
	for (unsigned i = 0; i < BLOCKS; i += 7) {
		errno = 0;
		refused = refused && !kept(realloc(block[i], any(block_size[i] * 2))) && errno == ENOMEM;
	}
	demand(refused, "child: realloc of an inherited block: NULL, ENOMEM");
	demand(realloc(block[0], 0) == NULL, "child: realloc of one to nothing: NULL");
	errno = 77;
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]);
	demand(errno == 77, "child: free of inherited blocks, errno stays");
	for (unsigned i = 0; i < BLOCKS / 10; i++)
		memset(own[i] = kept(i % 2 ? malloc(any(block_size[i * 10])) : calloc(1, any(block_size[i * 10]))), 0xe7, block_size[i * 10]);
	demand(lies_in(own[0], getpid()) && lies_in(own[BLOCKS / 10 - 1], getpid()), "child: new blocks are in its own region");
	for (unsigned i = 0; i < BLOCKS; i += 3)
		free(block[i]); /* again: nobody knows */
	for (unsigned i = 0; i < BLOCKS / 10; i++) {
		own[i] = kept(realloc(own[i], any(block_size[i * 10] + 5000)));
		same = same && own[i] && own[i][0] == 0xe7 && own[i][block_size[i * 10] - 1] == 0xe7;
		free(own[i]);
	}
	demand(same, "child: its new blocks are its own");
}

static int deny_child(void)
{
	demand(denied(), "child: nothing of its parent's blocks can be read, none has a size");
	deny_use();
	demand(denied(), "child: nor can it afterwards");
	pid_t me = getpid(), pid = fork();
	if (pid == 0) {
		demand(denied(), "grandchild: nor can it");
		deny_use();
		exit(failures != 0);
	}
	demand(ended(pid) == 0 && there(me) && !there(pid), "child: its child, whose region is gone");
	return failures != 0;
}

static void test_deny(void)
{
	blocks_make();
	blocks_write(1);
	pid_t me = getpid(), pid = fork();
	if (pid == 0)
		exit(deny_child());
	check(ended(pid) == 0, "child: has none of it; frees what it likes; allocates in its own region; so does its child");
	check(!there(pid) && there(me) && lies_in(block[0], me) && blocks_wrong(1) == 0, "parent: its blocks as they were, the child's region is gone");
	pid = fork();
	if (pid == 0)
		_exit(!denied());
	check(ended(pid) == 0, "child that does nothing: makes no region");
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		_exit(readable(block[0]) || readable(block[BLOCKS - 1]));
	check(ended(pid) == 0 && there(me), "child by a bare clone: has none of it either");
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0)
		exit(0);
	check(ended(pid) == 0 && there(me), "child by a bare clone that exits: the region stays");
	check(WEXITSTATUS(system("exit 5")) == 5 && there(me), "system: status 5");
	blocks_free();
	blocks_make();
	blocks_write(2);
	check(blocks_wrong(2) == 0 && lies_in(block[9], me), "parent: frees and allocates on");
	ready_and_wait();
}

static void test_deny_threads(void)
{
	enum { FORKS = 50, THREADS = 3 };
	pthread_t t[THREADS];
	unsigned good = 0, gone = 0;
	blocks_make();
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, busy, (void *)(i + 1));
	for (unsigned i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			for (unsigned k = 0; k < BLOCKS; k += 10)
				free(block[k]);
			void *p = kept(malloc(any(3000)));
			(i % 2 ? exit : _exit)(!lies_in(p, getpid()) || readable(block[i]));
		}
		good += ended(pid) == 0;
		gone += !there(pid);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	check(good == FORKS && gone == FORKS, "50 forks beside 3 busy threads: each child has a region of its own and nothing else");
	check(thread_faults == 0, "threads: their blocks are theirs alone all the time");
	blocks_free();
	ready_and_wait();
}

/* ---- other ways to a process ----------------------------------------------------------------- */

static int vforked(const char *path, char *const arguments[])
{
	pid_t pid = vfork();
	if (pid == 0) {
		if (path)
			execv(path, arguments);
		_exit(127);
	}
	return ended(pid);
}

static void test_spawn(void)
{
	static char *const arguments[] = {"sh", "-c", "exit 7", NULL};
	unsigned char *p = kept(malloc(any(100000)));
	char line[64] = "";
	pid_t pid, me = getpid();
	memset(p, 0x77, 100000);
	check(posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ) == 0 && ended(pid) == 7 && there(me), "posix_spawn: status 7, the region stays");
	check(posix_spawnp(&pid, "sh", NULL, NULL, arguments, environ) == 0 && ended(pid) == 7 && there(me), "posix_spawnp: status 7, the region stays");
	check(posix_spawn(&pid, "/no/such", NULL, NULL, arguments, environ) == ENOENT && there(me), "posix_spawn of nothing: ENOENT, the region stays");
	check(vforked("/bin/sh", arguments) == 7 && there(me), "vfork and exec: status 7, the region stays");
	check(vforked(NULL, arguments) == 127 && there(me), "vfork and _exit: status 127, the region stays");
	check(vforked("/no/such", arguments) == 127 && there(me), "vfork and a failing exec: status 127, the region stays");
	check(WEXITSTATUS(system("exit 5")) == 5 && there(me), "system: status 5, the region stays");
	FILE *f = popen("echo out of the pipe; exit 4", "r");
	check(f && fgets(line, sizeof line, f) && !strcmp(line, "out of the pipe\n"), "popen: its output");
	check(f && WEXITSTATUS(pclose(f)) == 4 && there(me), "pclose: status 4, the region stays");
	check(execl("/no/such", "such", (char *)NULL) == -1 && errno == ENOENT && there(me), "a failing exec: ENOENT, the region stays");
	check(lies_in(p, me) && p[0] == 0x77 && p[99999] == 0x77, "the blocks as they were");
	void *q = kept(malloc(any(3000)));
	check(lies_in(q, me), "and new ones beside them");
}

/* What it becomes finds the name free. */
static void test_exec(void)
{
	char path[300], script[400];
	path_of(path, getpid());
	check(there(getpid()), "before exec: the region is there");
	snprintf(script, sizeof script, "test ! -e %s && echo 'ok   after exec: it is gone' || echo 'FAIL after exec: it is still there'", path);
	unsetenv("LD_PRELOAD");
	execlp("sh", "sh", "-c", script, (char *)NULL);
	check(false, "exec");
}

static void test_daemon(void)
{
	void *p = kept(malloc(any(3000)));
	check(lies_in(p, getpid()), "before daemon(): the region is there");
	if (daemon(1, 1))
		check(false, "daemon()");
	exit(0);
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {{"isolation", test_isolation}, {"inherited", test_inherited}, {"ends", test_ends}, {"fixed", test_fixed},
             {"successor", test_successor}, {"generations", test_generations}, {"threads", test_threads},
             {"share", test_share}, {"deny", test_deny}, {"deny-threads", test_deny_threads},
             {"spawn", test_spawn}, {"exec", test_exec}, {"daemon", test_daemon}};

int main(int argc, char **argv)
{
	prefix = argc == 3 ? argv[2] : "";
	for (unsigned i = 0; argc == 3 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run();
			return failures != 0;
		}
	fprintf(stderr, "preload_fork: no such case\n");
	return 2;
}
