/*
 * stack.c - a fork by a thread whose stack is a placed block: a handler's
 * sigaltstack(2), a coroutine's.
 *
 * Between the fork and its handlers child and parent would run on one stack.
 * So the thread goes to a private one for the length of the fork, which both
 * have then; the child comes back to its copy of the placed one. Signals are
 * blocked meanwhile: the kernel would start a handler at the top of an
 * alternate stack that it does not see in use.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { STACK = 256 * 1024 };

typedef pid_t fork_fn(void);

/* On the private stack. */
struct crossing {
	ucontext_t back, over;
	fork_fn *fork;
	pid_t pid;
	int error;
};

static __thread struct crossing *crossing __attribute__((tls_model("initial-exec")));

static void over_there(void)
{
	struct crossing *c = crossing;
	c->pid = c->fork();
	c->error = errno;
}

static pid_t fork_elsewhere(fork_fn *real)
{
	sigset_t all, signals;
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED)
		return -1;
	struct crossing *c = (struct crossing *)stack;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &signals);
	c->fork = real;
	crossing = c;
	getcontext(&c->over);
	c->over.uc_stack = (stack_t){.ss_sp = stack + sizeof *c, .ss_size = STACK - sizeof *c};
	c->over.uc_link = &c->back;
	makecontext(&c->over, over_there, 0);
	swapcontext(&c->back, &c->over);
	pid_t pid = c->pid;
	int error = c->error;
	munmap(stack, STACK);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	errno = error;
	return pid;
}

/* A child that shares or has none of the region has no such stack of its own, wherever it is forked. */
EXPORT pid_t fork(void)
{
	static fork_fn *real;
	if (!real)
		real = (fork_fn *)dlsym(RTLD_NEXT, "fork");
	if (!real) {
		errno = ENOSYS;
		return -1;
	}
	return shmb_arena_of(__builtin_frame_address(0)) ? fork_elsewhere(real) : real();
}
