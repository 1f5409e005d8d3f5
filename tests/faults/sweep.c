/*
 * sweep.c - every call that the library makes to libc or the kernel fails, in
 * every operation, in every way it can.
 *
 *   fault_sweep [--quick] [--table | --list] [--only OPERATION]... [--kind KIND] [--jobs N] [-v]
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
 * --table prints what came out, sorted, and --list the same a line for each
 * kind, errno and operation. --quick: only with the first errno of each kind.
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

enum { HANG_SECONDS = 20, ONLY_MAX = 16 };

/* What a run tells the process that started it. */
struct report {
	bool done;
	int result, next, check;
	bool fired;
	struct state before, after, end;
};
static struct report *report;
static struct totals {
	atomic_uint runs, bad;
} *totals;
static bool verbose, quick;
static const char *only[ONLY_MAX], *only_kind;
static unsigned only_count;

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
	atomic_fetch_add(&totals->runs, 1);
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
	atomic_fetch_add(&totals->bad, 1);
	fprintf(stderr, "WRONG: %s: %s (call %u) fails with %s%s: %s%s\n", r->op->name, kind_names[r->kind], r->nth + 1,
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
		fprintf(stderr, "%s: %s %u %s%s: %s, fired %d\n", r.op->name, kind_names[r.kind], r.nth + 1,
		        error_name(r.err), r.lasting ? " on" : "", error_name(report->result), report->fired);
	if (report->fired || WIFSIGNALED(status))
		judge(&r, status, normal);
}

/* EINTR and a part are tried again until they end; somebody who is always first would have to be fast. */
static bool may_last(int err)
{
	return err != EINTR && err != PART && err != EEXIST;
}

static void fail_kind(const struct op *op, enum kind kind, unsigned calls, const struct report *normal)
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

static void sweep(const struct op *op)
{
	unsigned calls[KIND_COUNT];
	plan_reset(0, 0, 0, false);
	int status = run_once(op);
	if (status || !report->done || report->result || report->next || report->check) {
		fprintf(stderr, "WRONG: %s, without faults: status %#x, %s, then %s, check %s\n", op->name, (unsigned)status,
		        error_name(report->result), error_name(report->next), error_name(report->check));
		atomic_fetch_add(&totals->bad, 1);
		return;
	}
	struct report normal = *report;
	for (unsigned k = 0; k < KIND_COUNT; k++)
		calls[k] = atomic_load(&plan->calls[k]);
	for (unsigned k = 0; k < KIND_COUNT; k++)
		if (!only_kind || !strcmp(kind_names[k], only_kind))
			fail_kind(op, k, calls[k], &normal);
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

static bool chosen(const struct op *op)
{
	bool is = !only_count;
	for (unsigned i = 0; i < only_count; i++)
		is |= !strcmp(only[i], op->name);
	return is;
}

static void *shared(size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		abort();
	return at;
}

/* Every jobs-th operation that was chosen. */
static void sweep_share(unsigned job, unsigned jobs)
{
	unsigned n = 0;
	plan_setup();
	report = shared(sizeof *report);
	for (size_t i = 0; i < ops_count(); i++)
		if (chosen(op_at(i)) && n++ % jobs == job)
			sweep(op_at(i));
}

static void sweep_all(unsigned jobs)
{
	int status;
	for (unsigned job = 0; job < jobs; job++) {
		pid_t pid = fork();
		if (pid == 0) {
			sweep_share(job, jobs);
			fflush(NULL);
			_exit(0);
		}
	}
	while (wait4(-1, &status, 0, NULL) > 0 || errno == EINTR)
		if (status)
			atomic_fetch_add(&totals->bad, 1);
}

int main(int argc, char **argv)
{
	static const char usage[] =
		"usage: fault_sweep [--quick] [--table | --list] [--only OPERATION]... [--kind KIND] [--jobs N] [-v]\n";
	unsigned jobs = 1;
	void (*print)(void) = NULL;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick"))
			quick = true;
		else if (!strcmp(argv[i], "--table"))
			print = outcome_print;
		else if (!strcmp(argv[i], "--list"))
			print = outcome_list;
		else if (!strcmp(argv[i], "-v"))
			verbose = true;
		else if (!strcmp(argv[i], "--only") && i + 1 < argc && only_count < ONLY_MAX)
			only[only_count++] = argv[++i];
		else if (!strcmp(argv[i], "--kind") && i + 1 < argc)
			only_kind = argv[++i];
		else if (!strcmp(argv[i], "--jobs") && i + 1 < argc)
			jobs = (unsigned)atoi(argv[++i]);
		else
			return fputs(usage, stderr), 2;
	}
	heap_exact(argv);
	totals = shared(sizeof *totals);
	outcome_setup();
	sweep_all(jobs);
	if (print)
		print();
	fprintf(stderr, "%u runs, %u wrong\n", totals->runs, totals->bad);
	return totals->bad != 0 || totals->runs == 0;
}
