/*
 * preload_fork_ways.c - forks under SHMBIND_FORK=share and deny, and makes
 * processes in other ways than by fork.
 *
 *   preload_fork_ways CASE PREFIX
 *
 * See preload_fork.h. Cases that end with "ready" wait for the end of their
 * input, so that the script can look from outside. Run by preload_fork.sh.
 */
#include "preload_fork.h"

#include <spawn.h>
#include <sys/syscall.h>

extern char **environ;

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

/* Under a rule for large blocks alone. */
static void test_deny_clone(void)
{
	void *p = kept(malloc(any(100)));
	pid_t me = getpid(), pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid == 0) {
		free(p);
		free(kept(malloc(any(200))));
		_exit(readable(kept(malloc(any(300)))) ? 0 : 1);
	}
	check(ended(pid) == 0 && there(me), "child by a bare clone: allocates and frees what is not placed");
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

static const struct fork_case cases[] = {
	{"share", test_share}, {"deny", test_deny}, {"deny-clone", test_deny_clone}, {"deny-threads", test_deny_threads},
	{"spawn", test_spawn}, {"exec", test_exec}, {"daemon", test_daemon},
};

int main(int argc, char **argv)
{
	return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
}
