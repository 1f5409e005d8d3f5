/*
 * profile.c - a program whose requests, of known sizes, come from functions
 * of known names and live for a known time.
 *
 *   profile STEP...
 *
 * A step is WHAT[/NUMBER][*COUNT]; blocks lie on a stack.
 *
 *   malloc/SIZE  calloc/SIZE  memalign/SIZE  posix/SIZE  pvalloc/SIZE   asked by ask_malloc and so on
 *   realloc/SIZE resize/SIZE   of NULL, of the top block; both asked by ask_realloc
 *   dup/SIZE                   strdup: libc asks
 *   toomuch                    requests that fail, of malloc and of realloc, by ask_malloc and ask_realloc
 *   tozero                     realloc of the top block to 0
 *   free                       the top block
 *   sleep/MS
 *   churn/SIZE                 by COUNT threads, 10000 blocks of SIZE each by ask_churn, freed by another
 *   fork:STEP  raw:STEP        a child, the latter by the system call, that does STEP and exits
 *   vfork:STEP                 a child that does STEP, and exits, before its parent goes on
 *   exec:STEP                  a child that executes this program to do STEP
 *   code/SIZE                  asked by code that lies in no object
 *   signals                    handlers that allocate and free come in the middle of malloc and free, COUNT ms
 *   module/SIZE                a module is loaded and asked by its name, libone.so, and unloaded
 *   deep/SIZE                  the same with RTLD_DEEPBIND
 *   inherit                    a child frees the top block and asks for one of 77 bytes
 *   chroot                     a child in an empty root forks one that does malloc/88
 *   close                      all descriptors from 3 up
 *   _exit  abort  kill         by which the program ends
 *   random/SIZE                COUNT times, one of 4096 places gets a block or loses it; then all do
 *   many                       a function per request: 20000 of 24 bytes
 */
#include "preload_util.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { STACK = 100000 };
static void *stack[STACK];
static size_t top;
static const char *self;

#define ASK static __attribute__((noinline)) void *

ASK ask_malloc(size_t n)
{
	return kept(malloc(n));
}
ASK ask_calloc(size_t n)
{
	return kept(calloc(any(1), n));
}
ASK ask_memalign(size_t n)
{
	return kept(memalign(64, n));
}
ASK ask_posix(size_t n)
{
	void *p = NULL;
	return posix_memalign(&p, 64, n) ? NULL : kept(p);
}
ASK ask_pvalloc(size_t n)
{
	return kept(pvalloc(n));
}
ASK ask_realloc(void *p, size_t n)
{
	return kept(realloc(p, n));
}
ASK ask_dup(size_t n)
{
	char text[4096];
	memset(text, 'x', sizeof text);
	text[n - 1] = 0;
	return kept(strdup(text));
}
ASK ask_churn(size_t n)
{
	return kept(calloc(any(n), 1)); /* no two alike: equal functions are made one */
}
ASK ask_handler(size_t n)
{
	return kept(realloc(NULL, any(n)));
}

static void fail(const char *what)
{
	fprintf(stderr, "profile: %s\n", what);
	exit(2);
}

static void push(void *p)
{
	if (!p || top == STACK)
		fail("no block");
	stack[top++] = p;
}

static void *pop(void)
{
	if (!top)
		fail("no block on the stack");
	return stack[--top];
}

/* ---- threads ------------------------------------------------------------------------ */

static void *_Atomic mailbox[64];

static void *churn(void *arg)
{
	size_t n = (size_t)(uintptr_t)arg;
	for (int i = 0; i < 10000; i++)
		free(atomic_exchange(&mailbox[(size_t)i % 64], ask_churn(n)));
	return NULL;
}

static void churn_all(size_t n, long threads)
{
	pthread_t t[64];
	for (long i = 0; i < threads; i++)
		if (pthread_create(&t[i], NULL, churn, (void *)(uintptr_t)n))
			fail("no thread");
	for (long i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < 64; i++)
		free(atomic_exchange(&mailbox[i], NULL));
}

/* ---- signals ---------------------------------------------------------------------------- */

static atomic_int handled;

static void handler(int sig)
{
	(void)sig;
	free(ask_handler(50));
	atomic_fetch_add(&handled, 1);
}

/* The two sizes have lists of their own in libc's thread cache, which are not empty: libc bears it. */
static void signals(long ms)
{
	struct sigaction sa = {.sa_handler = handler};
	struct itimerval often = {{0, 50}, {0, 50}}, never = {{0, 0}, {0, 0}};
	free(ask_malloc(40));
	free(ask_handler(50));
	sigaction(SIGALRM, &sa, NULL);
	for (long i = 0; i < ms * 20; i++) {
		setitimer(ITIMER_REAL, &often, NULL);
		for (int k = 0; k < 100; k++)
			free(ask_malloc(40));
		setitimer(ITIMER_REAL, &never, NULL);
	}
	if (!atomic_load(&handled))
		fail("no signal came");
}

/* ---- processes ---------------------------------------------------------------------------- */

static void step(char *text);

static void reap(pid_t child)
{
	int status;
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		fail("a child failed");
}

static void forked(char *text, int raw)
{
	pid_t child = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
	if (child == 0) {
		step(text);
		if (raw)
			_exit(0);
		exit(0);
	}
	reap(child);
}

static void vforked(char *text)
{
	pid_t child = (pid_t)vfork();
	if (child == 0) {
		step(text);
		_exit(0);
	}
	reap(child);
}

static void executed(char *text)
{
	pid_t child = fork();
	if (child == 0) {
		execl(self, self, text, (char *)NULL);
		_exit(1);
	}
	reap(child);
}

static void inherit(void)
{
	pid_t child = fork();
	if (child == 0) {
		free(pop());
		push(ask_malloc(77));
		exit(0);
	}
	reap(child);
}

static void rooted(void)
{
	char dir[] = "/tmp/profile.XXXXXX", text[] = "malloc/88";
	if (!mkdtemp(dir))
		fail(dir);
	pid_t child = fork();
	if (child == 0) {
		if (chroot(dir) || chdir("/"))
			fail("chroot");
		forked(text, 0);
		exit(0);
	}
	reap(child);
	rmdir(dir);
}

/* ---- code ------------------------------------------------------------------------------------ */

/* push rbx; call rsi; pop rbx; ret */
static void in_no_object(size_t n)
{
	static const unsigned char code[] = {0x53, 0xff, 0xd6, 0x5b, 0xc3};
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(page, code, sizeof code);
	mprotect(page, 4096, PROT_READ | PROT_EXEC);
	push(((void *(*)(size_t, void *(*)(size_t)))page)(n, malloc));
}

static void module(size_t n, int flags)
{
	void *m = dlopen("./libone.so", RTLD_NOW | RTLD_LOCAL | flags);
	void *(*get)(size_t) = m ? (void *(*)(size_t))dlsym(m, "one_get") : NULL;
	if (!get)
		fail(dlerror());
	push(get(n));
	dlclose(m);
}

/* More sites than a record has room for. */
void many(void);
__asm__(".text\n.globl many\n.type many, @function\nmany:\n"
	"push %rbx\n"
	".rept 20000\n"
	"mov $24, %edi\n"
	"call malloc@PLT\n"
	".endr\n"
	"pop %rbx\n"
	"ret\n"
	".size many, . - many\n"
	".section .note.GNU-stack,\"\",@progbits\n.text\n");

static void too_much(void)
{
	void *p = ask_malloc(10);
	if (ask_malloc(SIZE_MAX / 4) || ask_realloc(p, SIZE_MAX / 4))
		fail("so much memory?");
	free(p);
}

static void at_random(size_t n, long count)
{
	static void *places[4096];
	uint64_t x = 1;
	for (long i = 0; i < count; i++) {
		x = x * 6364136223846793005 + 1442695040888963407;
		void **place = &places[x >> 52];
		if (*place)
			free(*place);
		*place = *place ? NULL : ask_malloc(n);
	}
	for (unsigned i = 0; i < 4096; i++)
		free(places[i]);
}

static void one_block(const char *what, size_t n)
{
	static const struct {
		const char *what;
		void *(*ask)(size_t n);
	} ways[] = {{"malloc", ask_malloc}, {"calloc", ask_calloc},   {"memalign", ask_memalign},
	            {"posix", ask_posix},   {"pvalloc", ask_pvalloc}, {"dup", ask_dup}};
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
		if (!strcmp(what, ways[i].what)) {
			push(ways[i].ask(n));
			return;
		}
	fail(what);
}

static void act(const char *what, size_t n)
{
	if (!strcmp(what, "free"))
		free(pop());
	else if (!strcmp(what, "realloc"))
		push(ask_realloc(NULL, n));
	else if (!strcmp(what, "resize"))
		push(ask_realloc(pop(), n));
	else if (!strcmp(what, "tozero"))
		(void)ask_realloc(pop(), 0);
	else if (!strcmp(what, "toomuch"))
		too_much();
	else if (!strcmp(what, "sleep"))
		usleep((useconds_t)n * 1000);
	else if (!strcmp(what, "code"))
		in_no_object(n);
	else if (!strcmp(what, "module"))
		module(n, 0);
	else if (!strcmp(what, "deep"))
		module(n, RTLD_DEEPBIND);
	else if (!strcmp(what, "inherit"))
		inherit();
	else if (!strcmp(what, "chroot"))
		rooted();
	else if (!strcmp(what, "close"))
		syscall(SYS_close_range, 3, ~0U, 0);
	else if (!strcmp(what, "_exit"))
		_exit(5);
	else if (!strcmp(what, "abort"))
		abort();
	else if (!strcmp(what, "kill"))
		kill(getpid(), SIGKILL);
	else if (!strcmp(what, "many"))
		many();
	else
		one_block(what, n);
}

static void plain_step(char *text)
{
	char *star = strchr(text, '*'), *slash = strchr(text, '/');
	size_t n = slash ? strtoul(slash + 1, NULL, 10) : 0;
	long count = star ? strtol(star + 1, NULL, 10) : 1;
	text[strcspn(text, "*/")] = 0;
	if (!strcmp(text, "churn"))
		churn_all(n, count);
	else if (!strcmp(text, "random"))
		at_random(n, count);
	else if (!strcmp(text, "signals"))
		signals(count);
	else
		for (long i = 0; i < count; i++)
			act(text, n);
}

static void step(char *text)
{
	char *colon = strchr(text, ':');
	if (!colon)
		plain_step(text);
	else if (!strncmp(text, "fork:", 5))
		forked(colon + 1, 0);
	else if (!strncmp(text, "raw:", 4))
		forked(colon + 1, 1);
	else if (!strncmp(text, "vfork:", 6))
		vforked(colon + 1);
	else if (!strncmp(text, "exec:", 5))
		executed(colon + 1);
	else
		fail(text);
}

int main(int argc, char **argv)
{
	self = "/proc/self/exe";
	for (int i = 1; i < argc; i++)
		step(argv[i]);
	return 0;
}
