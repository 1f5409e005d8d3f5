/*
 * preload_fork_stack.c - forks on stacks that are placed blocks.
 *
 *   preload_fork_stack CASE PREFIX
 *
 *   altstack   in a handler on the stack of sigaltstack(2), beside other signals for it
 *   coroutine  in a coroutine, by fork and forkpty, with fork handlers that take much
 *              stack, get signals, and change what signals are blocked
 *   module     the same, by a module that is loaded with RTLD_DEEPBIND: FORK_MODULE
 *
 * See preload_fork.h. Run by preload_fork.sh.
 */
#include "preload_fork.h"

#include <dlfcn.h>
#include <pty.h>
#include <setjmp.h>
#include <ucontext.h>

enum { STACK = 128 * 1024, TURNS = 20, LARGE_FRAME = 400 * 1024 };

static pid_t (*way)(void) = fork;
static int good_turns;
static volatile sig_atomic_t signals_seen, jumps;
static sigjmp_buf out;

/* Writes to its frame on both sides of the fork; each sees its own. */
static void fork_here(void)
{
	volatile unsigned char frame[2000];
	memset((unsigned char *)frame, 1, sizeof frame);
	pid_t pid = way();
	memset((unsigned char *)frame, pid ? 2 : 3, sizeof frame);
	for (volatile int i = 0; i < 100000; i++)
		;
	bool same = true;
	for (unsigned i = 0; i < sizeof frame; i++)
		same = same && frame[i] == (pid ? 2 : 3);
	if (!pid)
		_exit(same ? 7 : 1);
	good_turns += same && pid > 0 && ended(pid) == 7;
}

static void handle(int signal, void (*how)(int))
{
	struct sigaction act = {.sa_handler = how, .sa_flags = SA_ONSTACK};
	if (sigaction(signal, &act, NULL))
		exit(99);
}

/* It writes to its stack, which may be the one that the fork began on. */
static void on_other(int unused)
{
	volatile unsigned char frame[3000];
	(void)unused;
	memset((unsigned char *)frame, 4, sizeof frame);
	signals_seen = signals_seen + 1;
	if (jumps)
		siglongjmp(out, 1);
}

static bool is_blocked(int signal)
{
	sigset_t now;
	return !pthread_sigmask(SIG_SETMASK, NULL, &now) && sigismember(&now, signal) == 1;
}

/* ---- a handler's ------------------------------------------------------------------------- */

static void raise_other(void) { raise(SIGUSR2); }

static void on_signal(int unused)
{
	(void)unused;
	fork_here();
}

static void test_altstack(void)
{
	stack_t s = {.ss_sp = kept(malloc(any(STACK))), .ss_size = STACK}, after;
	handle(SIGUSR1, on_signal);
	handle(SIGUSR2, on_other);
	check(lies_in(s.ss_sp, getpid()) && !sigaltstack(&s, NULL), "a signal's stack in the region");
	pthread_atfork(raise_other, raise_other, raise_other);
	for (int i = 0; i < TURNS; i++)
		raise(SIGUSR1);
	check(good_turns == TURNS, "its handler forks: parent and child have each its own stack");
	check(signals_seen == 2 * TURNS, "and other signals for that stack are handled meanwhile");
	check(!sigaltstack(NULL, &after) && after.ss_sp == s.ss_sp && after.ss_size == STACK && !after.ss_flags, "it is the signal's stack still");
	jumps = 1;
	if (!sigsetjmp(out, 1))
		raise(SIGUSR1);
	check(signals_seen == 2 * TURNS + 1 && !sigaltstack(NULL, &after) && !after.ss_flags, "who jumps out of a fork handler has a signal's stack still");
}

/* ---- a coroutine's ------------------------------------------------------------------------ */

static ucontext_t outside, inside;

static void turns(void)
{
	for (int i = 0; i < TURNS; i++) {
		fork_here();
		swapcontext(&inside, &outside);
	}
}

static void in_coroutine(void)
{
	good_turns = 0;
	getcontext(&inside);
	inside.uc_stack = (stack_t){.ss_sp = kept(malloc(any(STACK))), .ss_size = STACK};
	inside.uc_link = &outside;
	check(lies_in(inside.uc_stack.ss_sp, getpid()), "a coroutine's stack in the region");
	makecontext(&inside, turns, 0);
	for (int i = 0; i < TURNS; i++)
		swapcontext(&outside, &inside);
	check(good_turns == TURNS, "it forks: parent and child have each its own stack");
}

static void prepare(void)
{
	volatile unsigned char frame[LARGE_FRAME];
	for (unsigned i = 0; i < LARGE_FRAME; i += 512)
		frame[LARGE_FRAME - 1 - i] = 1;
	raise(frame[LARGE_FRAME - 1] ? SIGUSR2 : SIGKILL);
}

static void window_changes(int how)
{
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGWINCH);
	pthread_sigmask(how, &one, NULL);
}

static void parent(void) { window_changes(SIG_BLOCK); }
static void child(void) { window_changes(SIG_UNBLOCK); }

/* Closing the terminal would end the child. */
static pid_t fork_pty(void)
{
	int fd;
	return forkpty(&fd, NULL, NULL, NULL);
}

static bool masks_good = true;

static pid_t fork_with_handlers(void)
{
	pid_t pid = fork();
	masks_good = masks_good && is_blocked(SIGWINCH) == (pid != 0) && !is_blocked(SIGUSR2) && !is_blocked(SIGTERM);
	return masks_good ? pid : -1;
}

static void test_coroutine(void)
{
	handle(SIGUSR2, on_other);
	in_coroutine();
	way = fork_pty;
	in_coroutine();
	way = fork_with_handlers;
	pthread_atfork(prepare, parent, child);
	in_coroutine();
	check(signals_seen == TURNS, "a fork handler gets its signals");
	check(masks_good, "and what it blocks is blocked afterwards, and nothing else");
}

static void test_module(void)
{
	const char *path = getenv("FORK_MODULE");
	void *m = path ? dlopen(path, RTLD_NOW | RTLD_DEEPBIND) : NULL;
	way = m ? (pid_t (*)(void))dlsym(m, "module_fork") : NULL;
	if (check(way != NULL, "a module that forks"))
		in_coroutine();
}

int main(int argc, char **argv)
{
	static const struct fork_case cases[] = {{"altstack", test_altstack}, {"coroutine", test_coroutine}, {"module", test_module}};
	return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
}
