/*
 * stack.c - a fork by a thread whose stack is a placed block: a handler's
 * sigaltstack(2), a coroutine's.
 *
 * Between the fork and its handlers child and parent would run on one stack.
 * So the thread goes to a private one for the length of the fork, which both
 * have then; the child comes back to its copy of the placed one.
 *
 * The program's own fork handlers run there as they would elsewhere: with the
 * thread's signals as they are, and a stack as large as a thread's. The kernel
 * does not see an alternate stack in use then, and would start the next handler
 * at its top: there is another one meanwhile. Signals are blocked only while the
 * thread changes stacks. Who jumps out of a fork leaves both stacks mapped.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <utmp.h>

#define EXPORT __attribute__((visibility("default")))
#define NEXT(f) ((__typeof__(&f))dlsym(RTLD_NEXT, #f))

enum { GUARD = 64 * 1024, ALTERNATE = 64 * 1024 };
static const size_t sizes[] = {8 << 20, 256 << 10}; /* the first that is to be had */

typedef pid_t fork_fn(void);

/* The private memory: a guard, an alternate stack, the stack, and this. */
struct crossing {
	ucontext_t back, over;
	char *memory;
	size_t size;
	sigset_t signals;
	stack_t alternate;
	fork_fn *fork;
	pid_t pid;
	int error;
};

static __thread struct crossing *crossing __attribute__((tls_model("initial-exec")));

static void block_signals(sigset_t *before)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

/* On the private stack; signals are blocked when it begins and when it ends. */
static void over_there(void)
{
	struct crossing *c = crossing;
	const stack_t other = {.ss_sp = c->memory + GUARD, .ss_size = ALTERNATE};
	bool on_alternate = c->alternate.ss_flags & SS_ONSTACK;
	if (on_alternate)
		sigaltstack(&other, NULL);
	pthread_sigmask(SIG_SETMASK, &c->signals, NULL);
	c->pid = c->fork();
	c->error = errno;
	block_signals(&c->signals); /* as the program's fork handlers left them */
	c->alternate.ss_flags &= ~SS_ONSTACK;
	if (on_alternate)
		sigaltstack(&c->alternate, NULL);
}

/* With pages below that nobody may touch. NULL: no memory. */
static struct crossing *stack_map(void)
{
	size_t size = 0;
	char *stack = MAP_FAILED;
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes && stack == MAP_FAILED; i++) {
		size = sizes[i] + GUARD + ALTERNATE;
		stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	}
	if (stack == MAP_FAILED)
		return NULL;
	if (mprotect(stack, GUARD, PROT_NONE)) {
		munmap(stack, size);
		return NULL;
	}
	struct crossing *c = (struct crossing *)(void *)(stack + size) - 1;
	c->memory = stack;
	c->size = size;
	return c;
}

static void crossing_begin(struct crossing *c, fork_fn *real)
{
	c->fork = real;
	sigaltstack(NULL, &c->alternate);
	block_signals(&c->signals);
	getcontext(&c->over); /* with all blocked */
	c->over.uc_stack = (stack_t){.ss_sp = c->memory + GUARD + ALTERNATE, .ss_size = c->size - GUARD - ALTERNATE - sizeof *c};
	c->over.uc_link = &c->back;
	makecontext(&c->over, over_there, 0);
	crossing = c;
}

static pid_t crossing_end(struct crossing *c)
{
	pid_t pid = c->pid;
	int error = c->error;
	sigset_t signals = c->signals;
	munmap(c->memory, c->size);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	errno = error;
	return pid;
}

static pid_t fork_elsewhere(fork_fn *real)
{
	struct crossing *c = stack_map();
	if (!c) {
		errno = ENOMEM;
		return -1;
	}
	crossing_begin(c, real);
	swapcontext(&c->back, &c->over);
	return crossing_end(c);
}

/* Where a child shares the region or has none of it, it has no such stack of its own anyhow. */
static bool here_is_placed(void)
{
	return shmb_arena_of(__builtin_frame_address(0)) != NULL;
}

/* Once: later libc's own may stand for ours. */
static struct {
	atomic_bool known;
	fork_fn *fork;
	__typeof__(&forkpty) forkpty;
} next;

static void next_find(void)
{
	if (next.known)
		return;
	next.fork = NEXT(fork);
	next.forkpty = NEXT(forkpty);
	next.known = true;
}

EXPORT pid_t fork(void)
{
	next_find();
	if (!next.fork) {
		errno = ENOSYS;
		return -1;
	}
	return here_is_placed() ? fork_elsewhere(next.fork) : next.fork();
}

/* libc's own forks by its inner fork, which is not ours. */
static pid_t forkpty_here(int *pty, char *name, const struct termios *how, const struct winsize *size)
{
	__typeof__(&openpty) open = NEXT(openpty);
	__typeof__(&login_tty) login = NEXT(login_tty);
	int terminal, other;
	if (!open || !login) {
		errno = ENOSYS;
		return -1;
	}
	if (open(&other, &terminal, name, how, size))
		return -1;
	pid_t pid = fork();
	int saved = errno;
	if (pid == 0) {
		close(other);
		if (login(terminal))
			_exit(1);
		return 0;
	}
	close(terminal);
	if (pid > 0)
		*pty = other;
	else
		close(other);
	errno = saved;
	return pid;
}

EXPORT pid_t forkpty(int *pty, char *name, const struct termios *how, const struct winsize *size)
{
	next_find();
	if (!here_is_placed() && next.forkpty)
		return next.forkpty(pty, name, how, size);
	return forkpty_here(pty, name, how, size);
}

/* ---- for deepbind.c --------------------------------------------------------------------- */

OURS(fork);
OURS(forkpty);

const struct shim_entry *shim_forks(void)
{
	static const struct shim_entry all[] = {
		{"fork", (const void *)ours_fork},
		{"forkpty", (const void *)ours_forkpty},
		{NULL, NULL},
	};
	next_find();
	return all;
}
