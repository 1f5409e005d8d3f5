/*
 * sweep.c - every call that the library makes to libc or the kernel fails, in
 * every operation, in every way it can.
 *
 *   fault_sweep [--quick] [--table] [--only OPERATION] [-v]
 *
 * For each operation a first run counts the calls of each kind. Then each call
 * is made to fail with each errno of its kind, once, and from then on; each
 * time in a process of its own. What has to be so, whatever fails:
 *   - the process does not die and does not hang
 *   - the result is 0 or a code that shmb_strerror() knows
 *   - after a failure there are as many descriptors, mappings and names as before
 *   - the next call of the same, without faults, works
 *   - check finds the region clean
 *   - once all is closed there is nothing that is not there without faults
 * Where a call that gives something back is what fails, that one thing may stay.
 *
 * --table prints what came out, sorted. --quick: only with the first errno of
 * each kind.
 */
#include "inject.h"
#include "ops.h"
#include "outcome.h"
#include "state.h"

#include "shmbind.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { HANG_SECONDS = 20 };

/* What a run tells the process that started it. */
struct report {
	bool done;
	int result, next, check;
	bool fired;
	struct state before, after, end;
};
static struct report *report;
static unsigned runs, bad;
static bool verbose;

static void ignore(void *opaque, const char *text) { (void)opaque, (void)text; }

static int check_clean(void)
{
	int err = shmb_check_name(region, ignore, NULL);
	return err == SHMB_ECORRUPT ? err : 0; /* there may be no region, or a raw one */
}

static void wait_for_all(void)
{
	while (wait4(-1, NULL, 0, NULL) > 0 || errno == EINTR)
		;
}

static _Noreturn void run_child(const struct op *op)
{
	alarm(HANG_SECONDS);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)state_now(); /* whatever libc keeps from its first use */
	op->setup();
	report->before = state_now();
	plan_arm(true);
	report->result = op->run();
	plan_arm(false);
	report->fired = atomic_load(&plan->fired);
	report->after = state_now();
	if (report->result)
		report->next = op->again ? op->again() : op->run();
	else if (op->again)
		report->next = op->again();
	report->check = check_clean();
	op->end();
	wait_for_all();
	report->end = state_now();
	report->done = true;
	_exit(0);
}

/* Runs it in a child; the wait status. */
static int run_once(const struct op *op)
{
	int status;
	memset(report, 0, sizeof *report);
	snprintf(region, NAME_LEN, "/shmb-test-%d-fault", (int)getpid());
	fflush(NULL);
	runs++;
	pid_t pid = fork();
	if (pid == 0)
		run_child(op);
	while (wait4(pid, &status, 0, NULL) != pid)
		;
	(void)shmb_remove_name(region);
	return status;
}

/* ---- verdicts ---------------------------------------------------------------------------- */

static bool gives_back(enum kind k)
{
	return k == MUNMAP || k == JE_MUNMAP || k == UNLINK || k == UNLINKAT || k == LSTAT || k == FSTATAT || k == FSTAT;
}

/* What there is more of than there should be, in words; "" for nothing. */
static const char *rest(const struct state *is, const struct state *should)
{
	if (is->fds > should->fds)
		return "a descriptor stays";
	if (is->names > should->names)
		return "the name stays";
	if (is->maps > should->maps)
		return "a mapping stays";
	return "";
}

/* The same of memory that is not the region's, since the operation's start. */
static const char *rest_private(const struct report *is, const struct report *should)
{
	if (is->end.anon - is->before.anon > should->end.anon - should->before.anon)
		return "private memory stays";
	if (is->end.heap - is->before.heap > should->end.heap - should->before.heap)
		return "heap memory stays";
	return "";
}

struct run {
	const struct op *op;
	enum kind kind;
	unsigned nth;
	int err;
	bool lasting;
};

static void complain(const struct run *r, const char *what, const char *more)
{
	bad++;
	printf("WRONG: %s: %s (call %u) fails with %s%s: %s%s\n", r->op->name, kind_names[r->kind], r->nth + 1,
	       error_name(r->err), r->lasting ? " from then on" : "", what, more);
}

static void judge(const struct run *r, int status, const struct report *normal)
{
	const struct report *p = report;
	char text[80];
	if (WIFSIGNALED(status)) {
		complain(r, "dies: ", WTERMSIG(status) == SIGALRM ? "it hangs" : strsignal(WTERMSIG(status)));
		return;
	}
	if (!p->done) {
		complain(r, "the test itself does not go on", "");
		return;
	}
	if (!error_known(p->result))
		complain(r, "unknown result ", error_name(p->result));
	if (p->next)
		complain(r, "the next call: ", error_name(p->next));
	if (p->check)
		complain(r, "check finds the region corrupt", "");
	const char *now = p->result && !r->op->ends ? rest(&p->after, &p->before) : "", *end = rest(&p->end, &normal->end);
	if (!*end)
		end = rest_private(p, normal);
	if (*now && !gives_back(r->kind))
		complain(r, "after the failure ", now);
	if (*end && !gives_back(r->kind) && !(r->kind == SETLK && !p->result)) /* who claims, meets another who does */
		complain(r, "at the end ", end);
	snprintf(text, sizeof text, "%s%s%s", p->result == 0 ? "works" : p->result == r->err ? "=" : error_name(p->result),
	         *end ? ", " : "", end);
	outcome_add(r->op->name, r->kind, r->err, r->lasting, text);
}

/* ---- sweeping -------------------------------------------------------------------------------- */

static void fail_call(struct run r, const struct report *normal)
{
	plan_reset(r.kind, r.nth, r.err, r.lasting);
	int status = run_once(r.op);
	if (verbose)
		printf("%s: %s %u %s%s: %s, fired %d\n", r.op->name, kind_names[r.kind], r.nth + 1, error_name(r.err),
		       r.lasting ? " on" : "", error_name(report->result), report->fired);
	if (report->fired || WIFSIGNALED(status))
		judge(&r, status, normal);
}

/* EINTR and a part are tried again until they end; somebody who is always first would have to be fast. */
static bool may_last(int err)
{
	return err != EINTR && err != PART && err != EEXIST;
}

static void fail_kind(const struct op *op, enum kind kind, unsigned calls, bool quick, const struct report *normal)
{
	for (unsigned i = 0; i < ERRORS_MAX && kind_errors[kind][i] && (!quick || i == 0); i++) {
		int err = kind_errors[kind][i];
		for (unsigned nth = 0; nth < calls; nth++) {
			fail_call((struct run){op, kind, nth, err, false}, normal);
			if (may_last(err) && nth + 1 < calls)
				fail_call((struct run){op, kind, nth, err, true}, normal);
		}
	}
}

static void sweep(const struct op *op, bool quick)
{
	unsigned calls[KIND_COUNT];
	plan_reset(0, 0, 0, false);
	int status = run_once(op);
	if (status || !report->done || report->result || report->next || report->check) {
		printf("WRONG: %s, without faults: status %#x, %s, then %s, check %s\n", op->name, (unsigned)status,
		       error_name(report->result), error_name(report->next), error_name(report->check));
		bad++;
		return;
	}
	struct report normal = *report;
	for (unsigned k = 0; k < KIND_COUNT; k++)
		calls[k] = atomic_load(&plan->calls[k]);
	for (unsigned k = 0; k < KIND_COUNT; k++)
		fail_kind(op, k, calls[k], quick, &normal);
}

/* malloc's caches for each thread count as given out: without them. */
static void heap_exact(char **argv)
{
	static const char key[] = "GLIBC_TUNABLES", off[] = "glibc.malloc.tcache_count=0";
	const char *is = getenv(key);
	if (is && !strcmp(is, off))
		return;
	setenv(key, off, 1);
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	const char *only = NULL;
	bool quick = false, table = false;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick"))
			quick = true;
		else if (!strcmp(argv[i], "--table"))
			table = true;
		else if (!strcmp(argv[i], "-v"))
			verbose = true;
		else if (!strcmp(argv[i], "--only") && i + 1 < argc)
			only = argv[++i];
		else
			return fprintf(stderr, "usage: fault_sweep [--quick] [--table] [--only OPERATION] [-v]\n"), 2;
	}
	heap_exact(argv);
	plan_setup();
	report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < ops_count; i++)
		if (!only || !strcmp(only, ops[i].name))
			sweep(&ops[i], quick);
	if (table)
		outcome_print();
	fprintf(stderr, "%u runs, %u wrong\n", runs, bad);
	return bad != 0;
}
