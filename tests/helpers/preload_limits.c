/*
 * preload_limits.c - a program under every kind of shortage. Run by
 * preload_limits.sh, with the shim and without; both must say the same.
 *
 *   preload_limits CASE [ARG...]        says what it found, on its standard output
 *   preload_limits refuse ERRNO NAME... -- COMMAND...
 *                                       runs a command to which the kernel refuses system calls
 *
 * With LIMITS_WHERE=FILE set it writes there where its first block lies:
 * "region" or "heap".
 */
#include "preload_util.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

static void say(const char *what, long value)
{
	dprintf(STDOUT_FILENO, "%s: %ld\n", what, value);
}

/* ---- work: every way to allocate, a fork, and that nothing is lost -------------------- */

enum { BLOCKS = 400 };
static unsigned char *block[BLOCKS];

static size_t size_of(unsigned i)
{
	return i % 40 == 0 ? 200000 + i * 100 : i % 7 == 0 ? 70000 : (size_t)i * i % 9000 + 1;
}

static void blocks_make(void)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		size_t n = size_of(i);
		block[i] = kept(i % 5 == 1 ? calloc(1, any(n)) : i % 5 == 2 ? aligned_alloc(64, any(n)) : malloc(any(n)));
		if (!block[i])
			continue;
		if (i % 5 == 1 && (block[i][0] || block[i][n - 1]))
			say("calloc gave dirt", i);
		memset(block[i], (int)i, n);
	}
}

static long blocks_good(void)
{
	long good = 0;
	for (unsigned i = 0; i < BLOCKS; i++) {
		size_t n = size_of(i), at = 0;
		while (block[i] && at < n && block[i][at] == (unsigned char)i)
			at++;
		good += at == n;
	}
	return good;
}

static void blocks_change(void)
{
	for (unsigned i = 0; i < BLOCKS; i += 3)
		free(block[i]), block[i] = memset(kept(malloc(any(size_of(i)))), (int)i, size_of(i));
	for (unsigned i = 1; i < BLOCKS; i += 3) {
		unsigned char *p = kept(realloc(block[i], any(size_of(i) * 3)));
		block[i] = p ? p : block[i];
	}
}

static void blocks_free(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		free(block[i]), block[i] = NULL;
}

static int wait_for(pid_t pid)
{
	int status;
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void work(void)
{
	blocks_make();
	say("blocks", blocks_good());
	pid_t pid = fork();
	if (pid == 0) {
		long good = blocks_good();
		blocks_change();
		good += blocks_good();
		blocks_free();
		blocks_make();
		good += blocks_good();
		blocks_free();
		_exit(good == 3 * BLOCKS ? 7 : 1);
	}
	say("the child", wait_for(pid));
	say("blocks", blocks_good());
	blocks_change();
	say("changed", blocks_good());
	say("a shell", WEXITSTATUS(system("exit 3")));
	blocks_free();
	blocks_make();
	say("again", blocks_good());
	blocks_free();
}

static long threads_small(void);

/* ---- cases ---------------------------------------------------------------------------- */

static void limit(int which, rlim_t value)
{
	struct rlimit lim = {value, value};
	say("setrlimit", setrlimit((__rlimit_resource_t)which, &lim));
}

static void run_nofile(char **args)
{
	(void)args;
	unsetenv("LD_PRELOAD"); /* the loader of the shell could not open it, and would say so */
	limit(RLIMIT_NOFILE, 3);
	work();
}

/* More descriptors than there are: none is to be had, all are in use. */
static void run_nomore(char **args)
{
	(void)args;
	unsetenv("LD_PRELOAD");
	limit(RLIMIT_NOFILE, 64);
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	work();
}

static void run_data(char **args)
{
	limit(RLIMIT_DATA, strtoull(args[0], NULL, 0) << 20);
	work();
}

/* A thread's stack, libraries and children need addresses after that, too. */
static void run_address(char **args)
{
	blocks_make();
	limit(RLIMIT_AS, strtoull(args[0], NULL, 0) << 20);
	struct rlimit lim;
	say("getrlimit", getrlimit(RLIMIT_AS, &lim));
	say("MiB", (long)(lim.rlim_cur >> 20));
	say("prlimit", prlimit(getpid(), RLIMIT_AS, &lim, NULL));
	say("blocks", blocks_good());
	blocks_free();
	work();
	say("threads", threads_small());
	unsigned char *p = kept(malloc(any(100 << 20)));
	say("100 MiB", p != NULL);
	free(p);
	work();
}

/* Closes all but stdio, gives every number to a file, and goes on. */
static void run_reuse(char **args)
{
	struct stat st, now;
	long theirs = 0;
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
	int fd = open(args[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
	say("its number", fd);
	for (int to = 4; to < 1000; to++)
		dup2(fd, to);
	work();
	fstat(fd, &st);
	for (int to = 3; to < 1000; to++)
		theirs += fstat(to, &now) == 0 && now.st_ino == st.st_ino;
	say("numbers that are its file's still", theirs);
	say("bytes in the file", st.st_size);
}

static void run_chroot(char **args)
{
	blocks_make();
	say("chroot", chroot(args[0]));
	say("chdir", chdir("/"));
	say("blocks", blocks_good());
	blocks_free();
	work();
}

static void run_user(char **args)
{
	(void)args;
	blocks_make();
	say("setgid", setgid(65534));
	say("setuid", setuid(65534));
	say("blocks", blocks_good());
	blocks_free();
	work();
}

/* stdio is closed: numbers 0 to 2 are the program's to get. */
static void run_stdio(char **args)
{
	int fd = open(args[0], O_RDWR | O_CREAT | O_TRUNC, 0600), other = open("/dev/null", O_RDWR), third = dup(fd);
	dprintf(fd, "%d %d %d\n", fd, other, third);
	unsetenv("LD_PRELOAD"); /* a shell's standard error is what it is */
	dup2(fd, 1);
	work();
}

/* ---- threads, signals, the end ----------------------------------------------------------- */

static void *small_stack(void *arg)
{
	void *p[32];
	for (unsigned i = 0; i < 32; i++)
		p[i] = memset(kept(malloc(any(i * 3000 + 1))), 1, i * 3000 + 1);
	for (unsigned i = 0; i < 32; i++)
		p[i] = kept(realloc(p[i], any(i * 5000 + 1)));
	for (unsigned i = 0; i < 32; i++)
		free(p[i]);
	return arg;
}

static long threads_small(void)
{
	pthread_attr_t attr;
	long good = 0;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)PTHREAD_STACK_MIN);
	for (uintptr_t i = 0; i < 20; i++) {
		pthread_t t;
		void *r = NULL;
		if (!pthread_create(&t, &attr, small_stack, (void *)(i + 1)))
			pthread_join(t, &r);
		good += r == (void *)(i + 1);
	}
	return good;
}

static void run_stacks(char **args)
{
	(void)args;
	say("threads", threads_small());
	pid_t pid = fork();
	if (pid == 0)
		_exit((int)threads_small()); /* the first of them opens the child's region */
	say("the child's", wait_for(pid));
}

static volatile sig_atomic_t ticks;
static volatile bool handler_failed;

static void on_tick(int unused)
{
	(void)unused;
	int saved = errno;
	unsigned char *p = kept(malloc(any(100 + (size_t)ticks % 5000)));
	if (p)
		p[0] = 1;
	p = kept(realloc(p, any(70000)));
	if (!p || p[0] != 1)
		handler_failed = true;
	free(p);
	ticks++;
	errno = saved;
}

/* glibc's own malloc would wait for itself here: without the shim the handler only counts. */
static void on_tick_plain(int unused)
{
	(void)unused;
	ticks++;
}

static void run_signals(char **args)
{
	bool allocate = args[0] && !strcmp(args[0], "allocate");
	struct sigaction act = {.sa_handler = allocate ? on_tick : on_tick_plain, .sa_flags = SA_RESTART};
	struct itimerval every = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
	unsigned char *held[64] = {0};
	long wrong = 0;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (unsigned i = 0; i < 100000 || ticks < 3000; i++) {
		unsigned k = i % 64;
		wrong += held[k] && held[k][0] != k;
		free(held[k]);
		held[k] = kept(malloc(any(i % 977 ? i % 3000 + 1 : 100000)));
		held[k][0] = (unsigned char)k;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	say("blocks that were not theirs alone", wrong + handler_failed);
	for (unsigned k = 0; k < 64; k++)
		free(held[k]);
}

static pthread_key_t keys[3];
static _Atomic long destroyed;

static void on_thread_end(void *value)
{
	uintptr_t *rounds = value;
	destroyed++;
	free(kept(malloc(any(5000))));
	if ((*rounds)++ < 3) { /* a new value: another round */
		uintptr_t *next = kept(calloc(1, any(70000)));
		*next = *rounds;
		pthread_setspecific(keys[*rounds % 3], next);
	}
	free(value);
}

static void *with_values(void *arg)
{
	for (unsigned i = 0; i < 3; i++)
		pthread_setspecific(keys[i], kept(calloc(1, any(100))));
	free(kept(malloc(any(3000))));
	return arg;
}

static void run_thread_ends(char **args)
{
	(void)args;
	for (unsigned i = 0; i < 3; i++)
		pthread_key_create(&keys[i], on_thread_end);
	for (unsigned i = 0; i < 100; i++) {
		pthread_t t;
		pthread_create(&t, NULL, with_values, NULL);
		pthread_join(t, NULL);
	}
	say("destructors ran", destroyed >= 300);
	work();
}

static unsigned char *late;

static void at_end(void)
{
	unsigned char *p = kept(malloc(any(100000))), *q = kept(malloc(any(100)));
	memset(p, 2, 100000), memset(q, 2, 100);
	say("in atexit: the old block", late[5000]);
	free(late);
	late = p;
	free(q);
}

__attribute__((destructor)) static void after_main(void)
{
	if (!late)
		return;
	say("after it: the new one", late[99999]);
	late = kept(realloc(late, any(300000)));
	blocks_make();
	say("blocks", blocks_good());
	blocks_free();
	free(late);
}

static void run_ends(char **args)
{
	(void)args;
	late = memset(kept(malloc(any(70000))), 1, 70000);
	atexit(at_end);
	atexit(at_end);
}

/* ---- modules ------------------------------------------------------------------------------- */

static void run_module(char **args)
{
	void *m = dlopen(args[0], RTLD_NOW | (!strcmp(args[1], "deepbind") ? RTLD_DEEPBIND : 0));
	if (!m) {
		dprintf(STDOUT_FILENO, "%s\n", dlerror());
		return;
	}
	void (*take)(void *) = (void (*)(void *))dlsym(m, "module_free");
	void *(*give)(size_t) = (void *(*)(size_t))dlsym(m, "module_malloc");
	void *(*grow)(void *, size_t) = (void *(*)(void *, size_t))dlsym(m, "module_realloc");
	size_t (*room)(void *) = (size_t(*)(void *))dlsym(m, "module_usable");
	for (unsigned i = 0; i < BLOCKS; i++) {
		unsigned char *p = kept(malloc(any(size_of(i))));
		p[0] = 9;
		p = grow(p, size_of(i) + 1000);
		if (!p || p[0] != 9 || room(p) < size_of(i) + 1000)
			say("realloc in the module", i);
		take(p);
		p = give(size_of(i));
		memset(p, 1, size_of(i));
		if (malloc_usable_size(p) < size_of(i))
			say("usable size", i);
		free(i % 2 ? p : realloc(p, any(size_of(i) * 2)));
	}
	say("blocks between program and module", BLOCKS);
	work();
	dlclose(m);
}

/* ---- seccomp ------------------------------------------------------------------------------- */

static const struct refusal {
	const char *name;
	long call;
	int arg; /* -1: whatever they are; else that one, masked, equals the value */
	uint32_t mask, value;
} refusals[] = {
	{"memfd_create", SYS_memfd_create, -1, 0, 0},
	{"userfaultfd", SYS_userfaultfd, -1, 0, 0},
	{"membarrier", SYS_membarrier, -1, 0, 0},
	{"madvise", SYS_madvise, -1, 0, 0},
	{"populate", SYS_madvise, 2, ~0u, 23},
	{"remove", SYS_madvise, 2, ~0u, 9},
	{"dontfork", SYS_madvise, 2, ~0u, 10},
	{"cold", SYS_madvise, 2, ~0u, 20},
	{"tmpfile", SYS_openat, 2, 020000000, 020000000},
	{"ofd-locks", SYS_fcntl, 1, ~0u, 37},
	{"linkat", SYS_linkat, -1, 0, 0},
	{"fchmod", SYS_fchmod, -1, 0, 0},
	{"ftruncate", SYS_ftruncate, -1, 0, 0},
	{"mlock2", SYS_mlock2, -1, 0, 0},
	{"mremap", SYS_mremap, -1, 0, 0},
	{"pread", SYS_pread64, -1, 0, 0},
	{"futex", SYS_futex, -1, 0, 0},
	{"fstat", SYS_newfstatat, -1, 0, 0},
};
enum { REFUSALS = sizeof refusals / sizeof *refusals };

static unsigned filter_one(struct sock_filter *f, const struct refusal *r, unsigned error)
{
	unsigned n = 0;
	f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->call, 0, r->arg < 0 ? 1 : 4);
	if (r->arg >= 0) {
		uint32_t at = (uint32_t)(offsetof(struct seccomp_data, args) + 8 * (unsigned)r->arg);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at);
		f[n++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->mask);
		f[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, r->value, 0, 1);
	}
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
	return n;
}

/* Takes names up to "--" or the end; where that is. */
static char **refuse(char **names, unsigned error)
{
	struct sock_filter f[7 * REFUSALS + 1];
	unsigned short n = 0;
	for (; *names && strcmp(*names, "--"); names++)
		for (unsigned i = 0; i < REFUSALS; i++)
			if (!strcmp(*names, refusals[i].name))
				n = (unsigned short)(n + filter_one(f + n, &refusals[i], error));
	f[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {n, f};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		exit(99);
	return names;
}

static unsigned error_named(const char *name)
{
	return !strcmp(name, "EPERM") ? EPERM : !strcmp(name, "ENOSYS") ? ENOSYS : EINVAL;
}

static void run_refused(char **args)
{
	blocks_make();
	refuse(args + 1, error_named(args[0]));
	say("blocks", blocks_good());
	blocks_free();
	work();
}

/* ---- */

static void run_work(char **args)
{
	(void)args;
	work();
}

/* The file system becomes full while it runs, and empty again. */
static void run_filled(char **args)
{
	static char zeros[1 << 16];
	blocks_make();
	int fd = open(args[0], O_RDWR | O_CREAT | O_TRUNC, 0600);
	while (write(fd, zeros, sizeof zeros) > 0)
		;
	say("blocks", blocks_good());
	blocks_free();
	work();
	work();
	close(fd), unlink(args[0]);
	work();
}

static void where_first(void)
{
	const char *path = getenv("LIMITS_WHERE");
	if (!path)
		return;
	void *p = kept(malloc(any(70000)));
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	dprintf(fd, "%s\n", inode_at(p) ? "region" : "heap");
	close(fd);
	free(p);
}

static const struct {
	const char *name;
	void (*run)(char **args);
} cases[] = {{"work", run_work}, {"filled", run_filled}, {"nofile", run_nofile}, {"nomore", run_nomore}, {"data", run_data}, {"address", run_address},
             {"reuse", run_reuse}, {"chroot", run_chroot}, {"user", run_user}, {"stdio", run_stdio}, {"stacks", run_stacks},
             {"signals", run_signals}, {"thread-ends", run_thread_ends}, {"ends", run_ends}, {"module", run_module},
             {"refused", run_refused}};

int main(int argc, char **argv)
{
	if (argc > 4 && !strcmp(argv[1], "refuse")) {
		char **rest = refuse(argv + 3, error_named(argv[2]));
		execvp(rest[1], rest + 1);
		return 98;
	}
	where_first();
	for (unsigned i = 0; argc > 1 && i < sizeof cases / sizeof *cases; i++)
		if (!strcmp(argv[1], cases[i].name)) {
			cases[i].run(argv + 2);
			return 42;
		}
	return 2;
}
