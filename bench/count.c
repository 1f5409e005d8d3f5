/*
 * count.c - instructions that an allocator executes, by single steps.
 *
 *   count WORK EXPECT PRELOAD DRIVER     PRELOAD: a shared object, or ""
 *
 * Traces DRIVER (which says where its text, malloc and free are, and stops
 * before and after the part to be counted) and attributes every instruction
 * outside its text to the call that led there. Counts are exact and need no
 * performance counter, which virtual machines often lack.
 *
 * Prints for malloc and for free: calls, the most frequent count of
 * instructions in a call (the hit path), the mean, locked instructions a
 * call, system calls a call.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTHS = 4096, CACHE = 1 << 14 };

enum traits { PLAIN = 1, LOCKED, SYSCALL };

struct said {
	uint64_t text, text_end, malloc, free;
};

struct tally {
	uint64_t calls, instructions, locked, syscalls;
	uint64_t lengths[LENGTHS];
};

static struct {
	uint64_t rip;
	enum traits traits;
} cache[CACHE];

static void die(const char *what)
{
	fprintf(stderr, "count: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool is_prefix(uint8_t b)
{
	return b == 0x66 || b == 0x67 || b == 0xf2 || b == 0xf3 || b == 0x64 || b == 0x65 || b == 0x2e || b == 0x3e;
}

static enum traits look(pid_t pid, uint64_t rip)
{
	errno = 0;
	uint64_t word = (uint64_t)ptrace(PTRACE_PEEKTEXT, pid, (void *)rip, NULL);
	if (errno)
		die("reading an instruction");
	uint8_t b[8];
	memcpy(b, &word, sizeof b);
	unsigned i = 0;
	while (i < 5 && is_prefix(b[i]))
		i++;
	if (b[i] == 0xf0)
		return LOCKED;
	if ((b[i] & 0xf0) == 0x40)
		i++;
	if ((b[i] == 0x86 || b[i] == 0x87) && b[i + 1] < 0xc0)
		return LOCKED; /* xchg with memory */
	return b[i] == 0x0f && b[i + 1] == 0x05 ? SYSCALL : PLAIN;
}

static enum traits traits_of(pid_t pid, uint64_t rip)
{
	unsigned i = (unsigned)(rip * 0x9e3779b97f4a7c15u >> 50);
	if (cache[i].rip != rip) {
		cache[i].traits = look(pid, rip);
		cache[i].rip = rip;
	}
	return cache[i].traits;
}

static void call_ends(struct tally *t, uint64_t *length)
{
	if (!*length)
		return;
	t->calls++;
	t->instructions += *length;
	t->lengths[*length < LENGTHS ? *length : LENGTHS - 1]++;
	*length = 0;
}

/* Steps until the driver stops itself again. */
static void step_through(pid_t pid, const struct said *s, struct tally tallies[2])
{
	struct tally *now = NULL;
	uint64_t length = 0;
	for (int status;;) {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
			die("stepping");
		if (!WIFSTOPPED(status))
			die("the driver ended while it was counted");
		if (WSTOPSIG(status) == SIGSTOP)
			return;
		uint64_t rip = (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, regs.rip), NULL);
		if (rip >= s->text && rip < s->text_end) {
			if (now)
				call_ends(now, &length);
			now = NULL;
			continue;
		}
		if (!now && (rip == s->malloc || rip == s->free))
			now = &tallies[rip == s->free];
		if (!now)
			continue; /* raise() itself */
		length++;
		enum traits t = traits_of(pid, rip);
		now->locked += t == LOCKED;
		now->syscalls += t == SYSCALL;
	}
}

static void print(const char *name, const struct tally *t)
{
	unsigned most = 0;
	for (unsigned i = 1; i < LENGTHS; i++)
		if (t->lengths[i] > t->lengths[most])
			most = i;
	double calls = t->calls ? (double)t->calls : 1;
	printf("%s %llu %u %.1f %.3f %.4f\n", name, (unsigned long long)t->calls, most, (double)t->instructions / calls,
	       (double)t->locked / calls, (double)t->syscalls / calls);
}

static pid_t start(char **argv, int *from)
{
	int pipes[2];
	char fd[16];
	if (pipe(pipes))
		die("pipe");
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		snprintf(fd, sizeof fd, "%d", pipes[1]);
		close(pipes[0]);
		if (*argv[3])
			setenv("LD_PRELOAD", argv[3], 1);
		setenv("LD_BIND_NOW", "1", 1);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			die("no tracing here");
		execl(argv[4], argv[4], argv[1], argv[2], "count", fd, NULL);
		die(argv[4]);
	}
	close(pipes[1]);
	*from = pipes[0];
	return pid;
}

int main(int argc, char **argv)
{
	static struct tally tallies[2];
	struct said said;
	int from, status;
	if (argc != 5)
		return 2;
	pid_t pid = start(argv, &from);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, NULL);
	for (;;) {
		if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
			die("the driver ended early");
		if (WSTOPSIG(status) == SIGSTOP)
			break;
		int pass = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
		if (ptrace(PTRACE_CONT, pid, NULL, (void *)(intptr_t)pass))
			die("continuing");
	}
	if (read(from, &said, sizeof said) != sizeof said)
		die("the driver said nothing");
	step_through(pid, &said, tallies);
	ptrace(PTRACE_DETACH, pid, NULL, NULL);
	while (waitpid(pid, &status, 0) != pid)
		;
	print("malloc", &tallies[0]);
	print("free", &tallies[1]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
