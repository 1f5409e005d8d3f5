/*
 * preload_fork.c - forks under SHMBIND_FORK=copy, and looks at whose
 * memory is whose.
 *
 *   preload_fork CASE PREFIX
 *
 * See preload_fork.h. Cases that end with "ready" wait for the end of their
 * input, so that the script can look from outside. Run by preload_fork.sh.
 */
#include "preload_fork.h"

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

static const struct fork_case cases[] = {
	{"isolation", test_isolation}, {"inherited", test_inherited}, {"ends", test_ends},
	{"fixed", test_fixed}, {"successor", test_successor}, {"generations", test_generations},
	{"threads", test_threads},
};

int main(int argc, char **argv)
{
	return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
}
