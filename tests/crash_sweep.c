/*
 * crash_sweep.c - whatever instruction a process is killed at, the region is
 * whole: each operation is stepped one instruction at a time, and after each
 * one that changed the region a survivor opens a copy of it as it is then.
 * A sample of moments is met with SIGKILL and the region itself.
 *
 *   crash_sweep              a sample, in half a minute
 *   crash_sweep --all        every instruction that changes a table, 50 kills (fewer of what is very long)
 *   crash_sweep [--all] OP.. these operations
 *
 * Prints a line for each operation, and for each distinct failure the first
 * point, where in the source it is, and what the survivor found.
 */
#include "crash_survivor.h"
#include "crash_trace.h"

#include <dlfcn.h>
#include <sched.h>

enum { JOBS = 2, SEEN = 4096, SAME_PLACE = 2, KILLS_ALL = 50, KILLS_SAMPLE = 3, KILL_STEPS_ALL = 3000000, KILL_STEPS_SAMPLE = 10000, FINDINGS = 64, POINTS_KEPT = 1 << 16 };

/* What was found, once for each place and text. */
struct finding {
	uint64_t rip;
	unsigned point, times;
	char text[VERDICT];
};

/* A survivor under way. */
struct job {
	pid_t pid;
	uint64_t rip;
	unsigned point;
	int err; /* its stderr */
	char *verdict;
	char name[64];
};

struct sweep {
	const struct op *op;
	bool all;
	unsigned points, examined, failed, kills, kills_failed;
	struct finding findings[FINDINGS];
	unsigned findings_n;
	uint64_t moments[POINTS_KEPT]; /* steps after which the region had changed */
	struct {
		uint64_t rip;
		unsigned times;
	} seen[SEEN];
};

static struct job jobs[JOBS];

/* The victim and who steps it wake each other all the time: on one processor that is much cheaper. */
static cpu_set_t everywhere;

static void stay_here(void)
{
	cpu_set_t here;
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	(void)sched_getaffinity(0, sizeof everywhere, &everywhere);
	(void)sched_setaffinity(0, sizeof here, &here);
}

/* ---- verdicts ------------------------------------------------------------------------ */

static void finding_add(struct sweep *s, uint64_t rip, unsigned point, const char *text)
{
	for (unsigned i = 0; i < s->findings_n; i++) {
		if (s->findings[i].rip == rip && !strncmp(s->findings[i].text, text, 24)) {
			s->findings[i].times++;
			return;
		}
	}
	if (s->findings_n < FINDINGS) {
		struct finding *f = &s->findings[s->findings_n++];
		*f = (struct finding){.rip = rip, .point = point, .times = 1};
		snprintf(f->text, sizeof f->text, "%s", text);
	}
}

/* How the survivor ended, where it said nothing itself. */
static void verdict_complete(struct job *j, int status)
{
	size_t n = strlen(j->verdict);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	if (!n)
		n = (size_t)snprintf(j->verdict, VERDICT, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? "hung: %#x " : "status %#x ",
		                     (unsigned)status);
	ssize_t got = pread(j->err, j->verdict + n, VERDICT - n - 1, 0);
	j->verdict[n + (got > 0 ? (size_t)got : 0)] = 0;
	j->verdict[strcspn(j->verdict, "\n")] = 0;
}

/* Waits for a survivor; true: it survived. */
static bool job_end(struct sweep *s, struct job *j)
{
	char path[96];
	int status;
	if (!j->pid)
		return true;
	if (waitpid(j->pid, &status, 0) != j->pid)
		harness_fail("waitpid");
	j->pid = 0;
	verdict_complete(j, status);
	snprintf(path, sizeof path, "/dev/shm%s", j->name);
	(void)unlink(path);
	if (*j->verdict)
		finding_add(s, j->rip, j->point, j->verdict);
	return !*j->verdict;
}

static void job_start(struct job *j, const char *name, bool done, bool whole)
{
	*j->verdict = 0;
	snprintf(j->name, sizeof j->name, "%s", name);
	if (ftruncate(j->err, 0))
		harness_fail("ftruncate");
	j->pid = fork();
	if (j->pid < 0)
		harness_fail("fork");
	if (j->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)sched_setaffinity(0, sizeof everywhere, &everywhere);
	signal(SIGTERM, SIG_DFL);
	verdict = j->verdict;
	dup2(j->err, STDERR_FILENO);
	lseek(j->err, 0, SEEK_SET);
	struct plan *own = mmap(NULL, sizeof *own, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(own, plan, sizeof *own); /* a copy: of the region as it is now and of another name */
	plan = own;
	snprintf(plan->name, sizeof plan->name, "%s", name);
	survive(done, whole);
}

static void jobs_open(void)
{
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i].verdict = mmap(NULL, VERDICT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		jobs[i].err = memfd_create("stderr", 0);
		if (jobs[i].verdict == MAP_FAILED || jobs[i].err < 0)
			harness_fail("memfd_create");
	}
}

/* ---- copies ---------------------------------------------------------------------------- */

/* The region as it was after the last change: whether it is of interest may show only at the next. */
static struct {
	char name[64];
	uint64_t rip;
	unsigned point;
} kept;

static void kept_drop(void)
{
	char path[96];
	snprintf(path, sizeof path, "/dev/shm%s", kept.name);
	if (*kept.name)
		(void)unlink(path);
	*kept.name = 0;
}

static void kept_renew(const struct sweep *s, const struct trace *t)
{
	static unsigned number;
	kept_drop();
	snprintf(kept.name, sizeof kept.name, "/shmb-test-%d-copy%u", (int)getpid(), number++);
	region_copy(t, kept.name);
	kept.rip = t->rip;
	kept.point = s->points;
}

static void kept_examine(struct sweep *s, bool done)
{
	static unsigned number;
	struct job *j = &jobs[number++ % JOBS];
	if (!*kept.name)
		return;
	s->failed += !job_end(s, j);
	j->rip = kept.rip;
	j->point = kept.point;
	s->examined++;
	job_start(j, kept.name, done, true);
	*kept.name = 0; /* the job removes it */
}

/* A sample has each place of the code twice, and then ever more rarely. */
static bool worth_it(struct sweep *s, uint64_t rip)
{
	if (s->all)
		return true;
	for (unsigned i = (unsigned)(rip % SEEN), tries = 0; tries < SEEN; i = (i + 1) % SEEN, tries++) {
		if (s->seen[i].rip && s->seen[i].rip != rip)
			continue;
		s->seen[i].rip = rip;
		unsigned times = ++s->seen[i].times;
		return times <= SAME_PLACE || (times >= 16 && !(times & (times - 1)));
	}
	return true;
}

static void point(struct sweep *s, struct trace *t)
{
	bool wanted_now = worth_it(s, t->rip);
	if (s->points < POINTS_KEPT)
		s->moments[s->points] = t->steps;
	s->points++;
	if (*t->fault) {
		finding_add(s, t->rip, s->points, t->fault);
		s->failed++;
		*t->fault = 0;
	}
	if (wanted_now)
		kept_examine(s, false); /* what was left undone when a new place is reached */
	kept_renew(s, t);
	if (wanted_now)
		kept_examine(s, false);
}

static void name_remove(void)
{
	char path[96];
	snprintf(path, sizeof path, "/dev/shm%s", plan->name);
	(void)unlink(path);
}

/* Steps the whole operation; false: it could not be prepared. */
static bool sweep_copies(struct sweep *s, uint64_t *steps)
{
	struct trace t;
	bool ready = trace_open(&t, s->op);
	if (ready) {
		while (trace_step(&t))
			if (trace_changed(&t))
				point(s, &t);
		kept_examine(s, false);
		kept_renew(s, &t);
		if (t.ended)
			kept_examine(s, true);
		else
			finding_add(s, t.rip, s->points, t.fault), s->failed++;
		for (unsigned i = 0; i < JOBS; i++)
			s->failed += !job_end(s, &jobs[i]);
		kept_drop();
	}
	*steps = t.steps;
	trace_close(&t);
	name_remove();
	return ready;
}

/* ---- kills -------------------------------------------------------------------------------- */

/* Both survivors of one kill: beside a living peer, then alone. */
static bool survivors(struct sweep *s, struct trace *t, unsigned at)
{
	struct job *j = &jobs[0];
	struct stat st;
	if (!fstat(t->fd, &st) && st.st_nlink == 0)
		return true; /* the owner had removed it already */
	j->rip = t->rip;
	j->point = at;
	int alive = kill(t->peer, 0);
	if (!alive && waitpid(t->peer, NULL, WNOHANG) == 0) {
		job_start(j, plan->name, false, false);
		if (!job_end(s, j))
			return false;
	}
	return true;
}

/* Steps it took. */
static uint64_t sweep_kill(struct sweep *s, unsigned at)
{
	struct trace t;
	if (trace_open(&t, s->op)) {
		while (t.steps < s->moments[at] && trace_step(&t))
			;
		bool done = t.ended;
		reap(&t.victim);
		bool ok = survivors(s, &t, at);
		reap(&t.peer);
		struct stat st;
		if (ok && !fstat(t.fd, &st) && st.st_nlink) {
			jobs[0].rip = t.rip;
			jobs[0].point = at;
			job_start(&jobs[0], plan->name, done, true);
			ok = job_end(s, &jobs[0]);
		}
		s->kills++;
		s->kills_failed += !ok;
	}
	trace_close(&t);
	name_remove();
	return t.steps;
}

/* ---- report --------------------------------------------------------------------------------- */

extern const char __ehdr_start;

/* Where an instruction is: function and line in this program, symbol elsewhere. */
static void place(uint64_t rip, char *to, size_t len)
{
	char command[160], function[120] = "", line[160] = "";
	Dl_info in;
	snprintf(to, len, "%#lx", (unsigned long)rip);
	if (!dladdr((void *)rip, &in))
		return;
	if (in.dli_fbase != &__ehdr_start) {
		snprintf(to, len, "%s in %s", in.dli_sname ? in.dli_sname : "?", in.dli_fname);
		return;
	}
	snprintf(command, sizeof command, "addr2line -f -i -s -e /proc/%d/exe %#lx 2>/dev/null", (int)getpid(),
	         (unsigned long)(rip - (uint64_t)(uintptr_t)&__ehdr_start));
	FILE *f = popen(command, "r");
	size_t n = 0;
	while (f && n < len && fgets(function, sizeof function, f) && fgets(line, sizeof line, f)) {
		function[strcspn(function, "\n")] = line[strcspn(line, "\n ")] = 0;
		n += (size_t)snprintf(to + n, len - n, "%s%s (%s)", n ? " < " : "", function, line);
	}
	if (f)
		pclose(f);
}

static void report(const struct sweep *s, uint64_t steps)
{
	char where[400];
	printf("%-18s %8lu %7u %9u %7u %6u %7u\n", s->op->name, (unsigned long)steps, s->points, s->examined, s->failed,
	       s->kills, s->kills_failed);
	for (unsigned i = 0; i < s->findings_n; i++) {
		const struct finding *f = &s->findings[i];
		place(f->rip, where, sizeof where);
		printf("    point %u, %u time%s, after %s\n        %s\n", f->point, f->times, f->times == 1 ? "" : "s", where, f->text);
	}
	fflush(stdout);
}

static bool sweep_op(const struct op *op, bool all, unsigned *random)
{
	static struct sweep s;
	uint64_t steps, spent = 0;
	memset(&s, 0, sizeof s);
	s.op = op;
	s.all = all;
	bool ok = sweep_copies(&s, &steps);
	unsigned known = s.points < POINTS_KEPT ? s.points : POINTS_KEPT;
	unsigned kills = !known ? 0 : all ? KILLS_ALL : KILLS_SAMPLE;
	for (unsigned i = 0; i < kills && spent < (all ? KILL_STEPS_ALL : KILL_STEPS_SAMPLE); i++) {
		*random = *random * 1664525 + 1013904223;
		spent += sweep_kill(&s, (*random >> 8) % known);
	}
	report(&s, steps);
	return ok && !s.failed && !s.kills_failed && s.points;
}

/* ---- running ---------------------------------------------------------------------------------- */

static bool asked_for(const struct op *op, bool all, int argc, char **argv)
{
	bool any = false;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], op->name))
			return true;
		any |= argv[i][0] != '-';
	}
	if (!any && op->is_long && !all)
		printf("%-18s left to --all\n", op->name);
	return !any && (all || !op->is_long);
}

/* Stopped from outside: no name is left. The children go with us. */
static void stopped(int sig)
{
	char path[96];
	(void)sig;
	name_remove();
	kept_drop();
	for (unsigned i = 0; i < JOBS; i++) {
		snprintf(path, sizeof path, "/dev/shm%s", jobs[i].name);
		if (*jobs[i].name)
			(void)unlink(path);
	}
	_exit(1);
}

static void plan_open(void)
{
	plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (plan == MAP_FAILED)
		harness_fail("mmap");
}

int main(int argc, char **argv)
{
	bool all = argc > 1 && !strcmp(argv[1], "--all");
	unsigned random = (unsigned)getpid(), failed = 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	puts("skipped: a sanitizer's own instructions are most of what would be stepped");
	return 77;
#endif
	(void)dlopen("libgcc_s.so.1", RTLD_NOW); /* pthread_exit() would; we read the victim's text as ours */
	plan_open();
	jobs_open();
	signal(SIGTERM, stopped);
	signal(SIGINT, stopped);
	stay_here();
	printf("%-18s %8s %7s %9s %7s %6s %7s\n", "operation", "steps", "points", "survivors", "failed", "kills", "failed");
	for (unsigned i = 0; i < OPS; i++)
		if (asked_for(&ops[i], all, argc, argv))
			failed += !sweep_op(&ops[i], all, &random);
	printf("%u operations failed\n", failed);
	return failed != 0;
}
