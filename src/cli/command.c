/*
 * command.c - a command with the preload shim, supervised: signals are passed
 * on to it, and the tool ends as it ended.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile pid_t command;

/* ---- the shim -------------------------------------------------------------------- */

/* Where a Debian package puts it. */
#if defined(__x86_64__)
#define LIB_OF_PACKAGES "../lib/x86_64-linux-gnu/"
#elif defined(__aarch64__)
#define LIB_OF_PACKAGES "../lib/aarch64-linux-gnu/"
#else
#define LIB_OF_PACKAGES "../lib64/"
#endif

/* Beside the tool, or where `make install` or a package puts it. */
static bool find_shim(char out[PATH_MAX])
{
	static const char *const places[] = {"", "../lib/", LIB_OF_PACKAGES};
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n <= 0)
		return false;
	self[n] = 0;
	*strrchr(self, '/') = 0;
	for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
		snprintf(path, sizeof path, "%s/%slibshmbind-preload.so", self, places[i]);
		if (realpath(path, out))
			return true;
	}
	return false;
}

bool command_preload(const char *verb)
{
	char shim[PATH_MAX], list[2 * PATH_MAX];
	const char *others = getenv("LD_PRELOAD");
	if (!find_shim(shim)) {
		complain(verb, "libshmbind-preload.so is neither beside this tool nor in " LIB_OF_PACKAGES " or ../lib");
		return false;
	}
	snprintf(list, sizeof list, "%s%s%s", shim, others && *others ? ":" : "", others ? others : "");
	setenv("LD_PRELOAD", list, 1);
	return true;
}

/* ---- supervising -------------------------------------------------------------------- */

static void forward(int sig)
{
	int saved = errno;
	if (command > 0)
		kill(command, sig);
	errno = saved;
}

/* The terminal sends its own signals to the command too; others are passed on. */
static void catch_signals(void)
{
	static const int passed[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT};
	struct sigaction ignore = {.sa_handler = SIG_IGN}, pass = {.sa_handler = forward, .sa_flags = SA_RESTART};
	sigaction(SIGINT, &ignore, NULL);
	sigaction(SIGQUIT, &ignore, NULL);
	for (unsigned i = 0; i < sizeof passed / sizeof *passed; i++)
		sigaction(passed[i], &pass, NULL);
}

static int wait_for_command(void)
{
	int status;
	for (;;) {
		pid_t pid = waitpid(command, &status, 0);
		if (pid < 0 && errno == EINTR)
			continue;
		command = 0; /* the number may come back */
		return pid < 0 ? 0 : status;
	}
}

int command_end_like(int status)
{
	struct rlimit no_core = {0, 0};
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &no_core); /* the command's own is the interesting one */
	fflush(NULL);
	signal(WTERMSIG(status), SIG_DFL);
	sigset_t all;
	sigemptyset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

bool command_run(const char *verb, char **argv, int *status)
{
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	command = fork();
	if (command < 0) {
		complain(verb, "fork: %s", strerror(errno));
		return false;
	}
	if (command == 0) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		execvp(argv[0], argv);
		complain(verb, "%s: %s", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	catch_signals();
	sigprocmask(SIG_SETMASK, &before, NULL);
	*status = wait_for_command();
	return true;
}
