/*
 * preload_rules.c - a program whose requests come from known code: of two
 * shared modules that the test builds, of its own, of named threads.
 *
 *   preload_rules DIR STEP...   modules are DIR/libone.so, DIR/libtwo.so, DIR/libcxx.so
 *
 * A step is [thread:NAME:]WHO[/SIZE][*COUNT], 5000 bytes once where it does
 * not say. Of each request it prints r (in the region) or h (the ordinary
 * heap), of each step a blank. WHO is
 *
 *   main, inner       functions of the program: main_asks, and inner_asks, which is static
 *   one.HOW two.HOW   the module; HOW is get (malloc), other (malloc, another function), calloc, realloc
 *                     (of NULL), hidden (in a static function), grow (realloc from 100 bytes), array (reallocarray), aligned, posix,
 *                     memalign, valloc, pvalloc, dup (strdup: libc asks), start (what its constructor asked
 *                     for while the loader had its lock), walk (in a callback of dl_iterate_phdr), held (in another
 *                     thread, while this one is in such a callback and waits for it)
 *   cxx.new cxx.array cxx.aligned
 *   swap              loads one, asks, unloads it, and the same with two, ten times: 20 letters
 *   resize/SIZE       malloc(5000) and then realloc to SIZE by the program: two letters
 *   fork              a child that asks as main does and exits
 *   wait              says so on a line of its own and waits for the end of the input
 *   kill              SIGKILL
 */
#include "preload_util.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

typedef void *ask_fn(size_t size);

static const char *dir;

static void say(const void *p)
{
	dprintf(STDOUT_FILENO, "%s", !p ? "-" : inode_at(p) ? "r" : "h");
}

static void *module_load(const char *name)
{
	char path[4096];
	snprintf(path, sizeof path, "%s/lib%s.so", dir, name);
	void *m = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!m) {
		fprintf(stderr, "preload_rules: %s\n", dlerror());
		exit(2);
	}
	return m;
}

static ask_fn *function_of(void *module, const char *name, const char *how)
{
	char symbol[300];
	snprintf(symbol, sizeof symbol, "%.100s_%.100s", name, how);
	ask_fn *f = (ask_fn *)dlsym(module, symbol);
	if (!f) {
		fprintf(stderr, "preload_rules: no %s\n", symbol);
		exit(2);
	}
	return f;
}

void *main_asks(size_t size);
__attribute__((noinline)) void *main_asks(size_t size)
{
	return kept(malloc(size));
}

static __attribute__((noinline)) void *inner_asks(size_t size)
{
	return kept(calloc(1, size)); /* not as main_asks: equal functions are made one */
}

static void swap(size_t size)
{
	static const char *const names[] = {"one", "two"};
	for (int i = 0; i < 20; i++) {
		void *m = module_load(names[i % 2]);
		say(function_of(m, names[i % 2], "get")(size));
		dlclose(m);
	}
}

static void resize(size_t size)
{
	void *p = main_asks(5000);
	say(p);
	say(kept(realloc(p, size)));
}

static void forked(size_t size)
{
	if (fork() == 0) {
		say(main_asks(size));
		exit(0);
	}
	wait(NULL);
}

static void wait_for_end_of_input(void)
{
	char c;
	dprintf(STDOUT_FILENO, "\nready\n");
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

struct walk {
	ask_fn *f;
	size_t size;
	void *p;
	atomic_int turn; /* of the other thread, where there is one */
	bool other;
};

static void *other_thread(void *arg)
{
	struct walk *w = arg;
	while (atomic_load(&w->turn) != 1)
		sched_yield();
	w->p = w->f(w->size);
	atomic_store(&w->turn, 2);
	return NULL;
}

/* The loader's lock is held meanwhile. */
static int walk_one(struct dl_phdr_info *info, size_t len, void *data)
{
	struct walk *w = data;
	(void)info, (void)len;
	if (!w->other) {
		w->p = w->f(w->size);
		return 1;
	}
	atomic_store(&w->turn, 1);
	for (int i = 0; i < 10000 && atomic_load(&w->turn) != 2; i++)
		usleep(1000);
	if (atomic_load(&w->turn) == 2)
		return 1;
	dprintf(STDOUT_FILENO, "deadlock\n");
	_exit(1);
}

static void *walk(ask_fn *f, size_t size, bool other)
{
	struct walk w = {.f = f, .size = size, .other = other};
	pthread_t t;
	if (other && pthread_create(&t, NULL, other_thread, &w))
		exit(1);
	dl_iterate_phdr(walk_one, &w);
	if (other)
		pthread_join(t, NULL);
	return w.p;
}

static void *ask(const char *name, const char *how, size_t size)
{
	void *m = module_load(name);
	if (!strcmp(how, "start"))
		return *(void **)dlsym(m, "started");
	bool held = !strcmp(how, "held");
	if (held || !strcmp(how, "walk"))
		return walk(function_of(m, name, "get"), size, held);
	return function_of(m, name, how)(size);
}

static void step(const char *who, size_t size, long count)
{
	char name[200];
	for (long i = 0; i < count; i++) {
		const char *dot = strchr(who, '.');
		if (!strcmp(who, "swap")) {
			swap(size);
		} else if (!strcmp(who, "resize")) {
			resize(size);
		} else if (!strcmp(who, "fork")) {
			forked(size);
		} else if (!strcmp(who, "wait")) {
			wait_for_end_of_input();
		} else if (!strcmp(who, "kill")) {
			kill(getpid(), SIGKILL);
		} else if (!strcmp(who, "main")) {
			say(main_asks(size));
		} else if (!strcmp(who, "inner")) {
			say(inner_asks(size));
		} else if (dot) {
			snprintf(name, sizeof name, "%.*s", (int)(dot - who), who);
			say(ask(name, dot + 1, size));
		} else {
			fprintf(stderr, "preload_rules: what is %s?\n", who);
			exit(2);
		}
	}
}

static void run(char *text)
{
	char *star = strchr(text, '*'), *slash = strchr(text, '/');
	size_t size = slash ? strtoul(slash + 1, NULL, 10) : 5000;
	long count = star ? strtol(star + 1, NULL, 10) : 1;
	text[strcspn(text, "*/")] = 0;
	step(text, size, count);
}

/* A thread inherits its maker's name: it asks once before it has its own. */
static void *thread(void *arg)
{
	char *name = arg, *rest = strchr(name, ':');
	*rest++ = 0;
	say(main_asks(5000));
	prctl(PR_SET_NAME, name);
	run(rest);
	return NULL;
}

int main(int argc, char **argv)
{
	dir = argc > 1 ? argv[1] : ".";
	for (int i = 2; i < argc; i++) {
		pthread_t t;
		if (strncmp(argv[i], "thread:", 7))
			run(argv[i]);
		else if (pthread_create(&t, NULL, thread, argv[i] + 7) || pthread_join(t, NULL))
			return 1;
		dprintf(STDOUT_FILENO, i + 1 < argc ? " " : "\n");
	}
	return 0;
}
