/*
 * preload_fork_moment.c - what a snapshot is while other threads write, and
 * what writing to memory that is being copied does to them.
 *
 *   preload_fork_moment CASE PREFIX
 *
 * See preload_fork.h. Run by preload_fork.sh.
 */
#include "preload_fork.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

enum { FORKS = 10 };

/* May writes be held here? The kernel says so to every program alike. */
static bool writes_can_be_held(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | 1 << 12}; /* of shared memory */
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
		close(device);
	}
	bool can = fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0;
	close(fd);
	return can;
}

static pthread_t started(void *(*run)(void *), void *arg)
{
	pthread_t t;
	if (pthread_create(&t, NULL, run, arg))
		exit(99);
	return t;
}

static void stop_and_join(const pthread_t *t, unsigned n)
{
	atomic_store(&stop, true);
	for (unsigned i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

/* What it takes some time to copy. */
static unsigned char *ballast;
enum { BALLAST = 16 << 20 };

static void ballast_make(void)
{
	ballast = kept(malloc(any(BALLAST)));
	for (unsigned at = 0; at < BALLAST; at += BYTES_PAGE)
		ballast[at] = (unsigned char)(at / BYTES_PAGE % 251 + 1);
}

static bool ballast_same(void)
{
	bool same = true;
	for (unsigned at = 0; at < BALLAST; at += BYTES_PAGE)
		same = same && ballast[at] == (unsigned char)(at / BYTES_PAGE % 251 + 1);
	return same;
}

/* ---- a gigabyte, page by page --------------------------------------------------------- */

enum { BIG = 24, BIG_WORDS = (32 << 20) / 8, MID = 192, MID_WORDS = (1 << 20) / 8, TINY = 16384, TINY_WORDS = 4096 / 8 };
enum { STEP = 128 }; /* four words a page are told apart from those of every other */
static uint64_t *big[BIG], *mid[MID], *tiny[TINY];

static uint64_t word(uint64_t seed, unsigned kind, unsigned block_number, uint64_t i)
{
	return seed << 56 ^ (uint64_t)kind << 52 ^ (uint64_t)block_number << 32 ^ i;
}

static void fill(uint64_t *p, uint64_t words, unsigned kind, unsigned number, uint64_t seed)
{
	for (uint64_t i = 0; i < words; i += STEP)
		p[i] = word(seed, kind, number, i);
}

static bool differs(const uint64_t *p, uint64_t words, unsigned kind, unsigned number, uint64_t seed)
{
	for (uint64_t i = 0; i < words; i += STEP)
		if (p[i] != word(seed, kind, number, i))
			return true;
	return false;
}

static void gigabyte_fill(uint64_t seed)
{
	for (unsigned i = 0; i < BIG; i++)
		fill(big[i], BIG_WORDS, 0, i, seed);
	for (unsigned i = 0; i < MID; i++)
		fill(mid[i], MID_WORDS, 1, i, seed);
	for (unsigned i = 0; i < TINY; i++)
		fill(tiny[i], TINY_WORDS, 2, i, seed);
}

static unsigned gigabyte_wrong(uint64_t seed)
{
	unsigned wrong = 0;
	for (unsigned i = 0; i < BIG; i++)
		wrong += differs(big[i], BIG_WORDS, 0, i, seed);
	for (unsigned i = 0; i < MID; i++)
		wrong += differs(mid[i], MID_WORDS, 1, i, seed);
	for (unsigned i = 0; i < TINY; i++)
		wrong += differs(tiny[i], TINY_WORDS, 2, i, seed);
	return wrong;
}

static void test_gigabyte(void)
{
	for (unsigned i = 0; i < BIG; i++)
		big[i] = kept(malloc(any(sizeof(uint64_t) * BIG_WORDS)));
	for (unsigned i = 0; i < MID; i++)
		mid[i] = kept(malloc(any(sizeof(uint64_t) * MID_WORDS)));
	for (unsigned i = 0; i < TINY; i++)
		tiny[i] = kept(malloc(any(sizeof(uint64_t) * TINY_WORDS)));
	gigabyte_fill(1);
	check(lies_in(big[BIG - 1], getpid()) && lies_in(tiny[TINY - 1], getpid()), "1 GiB in the region: blocks of 32 MiB, 1 MiB and 4 KiB");
	pipes_make();
	pid_t pid = fork();
	if (pid == 0) {
		await(down[0]); /* the parent has written all of it */
		demand(gigabyte_wrong(1) == 0, "child: 1 GiB as it was, nothing of what its parent writes");
		gigabyte_fill(3);
		_exit(failures != 0);
	}
	gigabyte_fill(2);
	tell(down[1]);
	check(ended(pid) == 0, "child: every page of 1 GiB as of the fork, after its parent wrote them all");
	check(gigabyte_wrong(2) == 0, "parent: every page of 1 GiB as it wrote it, after the child wrote them all");
}

/* ---- a cut ------------------------------------------------------------------------------ */

/*
 * A writer raises its cells in a fixed order, all over its blocks. So at any
 * one moment a cell is as high as the one before it, or one lower.
 */
enum { LARGE_CELLS = 2048, PAGE_CELLS = 300, SMALL_CELLS = 600, CELLS = LARGE_CELLS + PAGE_CELLS + SMALL_CELLS, WRITERS = 2 };
typedef _Atomic uint64_t cell_t;
static cell_t *cells[WRITERS][CELLS], *followers[CELLS];

static void cells_make(cell_t *to[CELLS])
{
	unsigned char *large = kept(calloc(1, any((size_t)LARGE_CELLS * BYTES_PAGE)));
	for (unsigned i = 0; i < CELLS; i++) {
		unsigned k = (unsigned)((uint64_t)i * 1237 % CELLS); /* prime to CELLS: each once, far apart */
		if (i < LARGE_CELLS)
			to[k] = (cell_t *)(large + (size_t)i * BYTES_PAGE);
		else
			to[k] = kept(calloc(1, any(i < LARGE_CELLS + PAGE_CELLS ? 5000 : 64)));
	}
}

static void *write_cells(void *mine)
{
	cell_t **c = mine;
	for (uint64_t v = 1; !atomic_load(&stop); v++)
		for (unsigned i = 0; i < CELLS; i++)
			atomic_store_explicit(c[i], v, memory_order_release);
	return NULL;
}

/* Copies the first writer's, so each is at most as high. */
static void *follow(void *unused)
{
	for (uint64_t r = 1; !atomic_load(&stop); r++) {
		unsigned i = (unsigned)(r * 2654435761u % CELLS);
		atomic_store_explicit(followers[i], atomic_load_explicit(cells[0][i], memory_order_acquire), memory_order_release);
	}
	return unused;
}

/* A list in the region, from its oldest node on: each is complete before it is linked, and unlinked before it is freed. */
struct node {
	struct node *_Atomic next;
	uint64_t number, check;
};
static struct node *_Atomic *list;

static struct node *node_new(uint64_t number)
{
	struct node *n = kept(malloc(any(sizeof *n + number % 900)));
	*n = (struct node){.number = number, .check = ~number};
	return n;
}

static void *turn_over(void *unused)
{
	enum { HELD = 2000 };
	struct node *last = atomic_load(list), *oldest = last;
	for (uint64_t number = 2; !atomic_load(&stop); number++) {
		struct node *n = node_new(number);
		atomic_store(&last->next, n);
		last = n;
		if (number > HELD) {
			atomic_store(list, oldest->next);
			free(oldest);
			oldest = atomic_load(list);
		}
	}
	return unused;
}

static bool list_whole(void)
{
	struct node *n = atomic_load(list), *next;
	for (uint64_t number = n->number; n; n = next, number++) {
		if (n->number != number || n->check != ~number || malloc_usable_size(n) < sizeof *n + number % 900)
			return false;
		next = n->next;
		free(n);
	}
	return true;
}

static bool cells_cut(cell_t *const c[CELLS])
{
	for (unsigned i = 1; i < CELLS; i++)
		if (*c[i] > *c[i - 1] || *c[i] + 1 < *c[0] || *c[i] + 1 < *c[i - 1])
			return false;
	return *c[0] - *c[CELLS - 1] <= 1;
}

/* What is true whatever the snapshot: no cell is lower than before the fork. */
static bool cells_rose(cell_t *const c[CELLS], const uint64_t *before)
{
	for (unsigned i = 0; i < CELLS; i++)
		if (*c[i] < before[i])
			return false;
	return true;
}

static int cut_child(bool moment, uint64_t before[WRITERS][CELLS])
{
	bool cut = true, rose = true, below = true;
	for (unsigned w = 0; w < WRITERS; w++) {
		cut = cut && cells_cut(cells[w]);
		rose = rose && cells_rose(cells[w], before[w]);
	}
	for (unsigned i = 0; i < CELLS; i++)
		below = below && *followers[i] <= *cells[0][i];
	demand(rose, "child: each cell as it was at some moment of the fork");
	demand(!moment || cut, "child: each writer's cells as they were at one moment");
	demand(!moment || below, "child: no cell has what another one that it was copied from has not");
	demand(!moment || list_whole(), "child: a list whose nodes come and go, whole");
	return failures != 0;
}

static void cut(bool moment)
{
	static uint64_t before[WRITERS][CELLS];
	pthread_t t[WRITERS + 2];
	unsigned good = 0;
	uint64_t rose = 0;
	ballast_make();
	for (unsigned w = 0; w < WRITERS; w++)
		cells_make(cells[w]);
	cells_make(followers);
	list = kept(malloc(any(sizeof *list)));
	atomic_store(list, node_new(1));
	for (unsigned w = 0; w < WRITERS; w++)
		t[w] = started(write_cells, cells[w]);
	t[WRITERS] = started(follow, NULL);
	t[WRITERS + 1] = started(turn_over, NULL);
	for (unsigned i = 0; i < FORKS; i++) {
		for (unsigned w = 0; w < WRITERS; w++)
			for (unsigned k = 0; k < CELLS; k++)
				before[w][k] = *cells[w][k];
		pid_t pid = fork();
		if (pid == 0)
			_exit(cut_child(moment, before));
		rose += *cells[0][0] - before[0][0];
		good += ended(pid) == 0;
	}
	stop_and_join(t, WRITERS + 2);
	check(rose > 0, "threads: they wrote meanwhile");
	check(good == FORKS, moment ? "10 forks while four threads write: each child has what there was at one moment"
	                            : "10 forks while four threads write: each child has pages of the time of its fork");
	check(ballast_same(), "parent: a block that nobody wrote to as it was");
}

static void test_cut(void)
{
	bool can = writes_can_be_held();
	if (!can)
		dprintf(STDOUT_FILENO, "note: not verified that a snapshot is of one moment: no userfaultfd(2) for this user\n");
	cut(can);
}

static void test_pages(void)
{
	cut(false);
}

/* ---- writes of all kinds, meanwhile --------------------------------------------------------- */

enum { PAGES_READ = 512 };
static atomic_uint kernel_faults, kernel_reads;

/* System calls that write to memory of the region. */
static void *read_on(void *file)
{
	unsigned char *to = kept(malloc(any((size_t)PAGES_READ * BYTES_PAGE)));
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		unsigned char *at = to + (size_t)(i * 7 % PAGES_READ) * BYTES_PAGE;
		if (pread(*(int *)file, at, BYTES_PAGE, 0) != BYTES_PAGE || memcmp(at, "\177ELF", 4))
			atomic_fetch_add(&kernel_faults, 1);
		atomic_fetch_add(&kernel_reads, 1);
	}
	free(to);
	return NULL;
}

static void forks(unsigned n)
{
	unsigned good = 0;
	for (unsigned i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(!ballast_same());
		good += ended(pid) == 0;
	}
	check(good == n, "each child has a block that nobody wrote to as it was");
}

static void test_kernel(void)
{
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	pthread_t t[2];
	ballast_make();
	for (unsigned i = 0; i < 2; i++)
		t[i] = started(read_on, &file);
	forks(FORKS);
	stop_and_join(t, 2);
	check(kernel_faults == 0 && kernel_reads > 0, "pread into the region during 10 forks: none fails");
}

static unsigned char *handler_page;
static atomic_uint handled;

static void handle(int unused)
{
	(void)unused;
	for (size_t at = 0; at < 64 * BYTES_PAGE; at += BYTES_PAGE)
		handler_page[at]++;
	atomic_fetch_add(&handled, 1);
}

static void *send_signals(void *to)
{
	while (!atomic_load(&stop)) {
		pthread_kill(*(pthread_t *)to, SIGUSR1);
		usleep(200);
	}
	return NULL;
}

static void test_signals(void)
{
	pthread_t me = pthread_self(), t;
	ballast_make();
	handler_page = kept(calloc(64, any(BYTES_PAGE)));
	sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handle, .sa_flags = SA_RESTART}, NULL);
	t = started(send_signals, &me);
	forks(FORKS);
	stop_and_join(&t, 1);
	check(handled > 0, "signals to the thread that forks, whose handler writes to the region: no deadlock");
}

/* ---- what cannot wait ------------------------------------------------------------------------- */

static atomic_uint lock_faults;

static void *contend(void *mutex)
{
	while (!atomic_load(&stop)) {
		if (pthread_mutex_lock(mutex))
			atomic_fetch_add(&lock_faults, 1);
		sched_yield();
		if (pthread_mutex_unlock(mutex))
			atomic_fetch_add(&lock_faults, 1);
	}
	return NULL;
}

static void test_mutex(void)
{
	pthread_mutex_t *m = kept(malloc(any(sizeof *m)));
	pthread_mutexattr_t attr;
	pthread_t t[2];
	ballast_make();
	pthread_mutexattr_init(&attr);
	check(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT) == 0 && pthread_mutex_init(m, &attr) == 0, "a mutex with priority inheritance in the region");
	for (unsigned i = 0; i < 2; i++)
		t[i] = started(contend, m);
	forks(FORKS);
	stop_and_join(t, 2);
	check(lock_faults == 0, "two threads contend for it during 10 forks: no call fails");
}

static void *end_at_once(void *unused)
{
	return unused;
}

/* Threads whose stack is a block. Their end wakes who joins them, by a word on it. */
static void *come_and_go(void *count)
{
	enum { STACK = 256 << 10 };
	pthread_attr_t attr;
	void *stack = kept(malloc(any(STACK)));
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, stack, STACK);
	while (!atomic_load(&stop)) {
		pthread_t t;
		if (pthread_create(&t, &attr, end_at_once, NULL) == 0 && pthread_join(t, NULL) == 0)
			atomic_fetch_add((atomic_uint *)count, 1);
	}
	return NULL;
}

static void test_stacks(void)
{
	static atomic_uint joined;
	ballast_make();
	pthread_t t = started(come_and_go, &joined);
	forks(FORKS);
	stop_and_join(&t, 1);
	check(joined > 0, "threads on stacks in the region end during 10 forks: all are joined");
}

/* ---- many ----------------------------------------------------------------------------------- */

enum { FORKERS = 3, MINE = 64 };
static unsigned children = 20; /* of each; CHILDREN in the environment */

/* Each has blocks of its own, which its children find as they were. */
static void *fork_on(void *arg)
{
	unsigned char *mine[MINE], seed = (unsigned char)(uintptr_t)arg;
	uintptr_t good = 0;
	for (unsigned i = 0; i < MINE; i++)
		memset(mine[i] = kept(malloc(any(i * i * 20 + 1))), seed, i * i * 20 + 1);
	for (unsigned n = 0; n < children; n++) {
		pid_t pid = fork();
		if (pid == 0) {
			bool same = true;
			for (unsigned i = 0; i < MINE; i++) {
				same = same && mine[i][0] == seed && mine[i][i * i * 20] == seed;
				memset(mine[i], 0xbb, i * i * 20 + 1);
				free(mine[i]);
			}
			void *p = kept(malloc(any(3000)));
			_exit(!same || !p || (n % 10 == 0 && !lies_in(p, getpid())));
		}
		good += ended(pid) == 0 && !there(pid);
	}
	for (unsigned i = 0; i < MINE; i++)
		good -= mine[i][0] != seed || mine[i][i * i * 20] != seed;
	return (void *)good;
}

static void test_storm(void)
{
	enum { THREADS = 3 };
	pthread_t t[THREADS], f[FORKERS];
	uintptr_t good = 0;
	if (getenv("CHILDREN"))
		children = (unsigned)atoi(getenv("CHILDREN"));
	for (uintptr_t i = 0; i < THREADS; i++)
		t[i] = started(busy, (void *)(i + 1));
	for (uintptr_t i = 0; i < FORKERS; i++)
		f[i] = started(fork_on, (void *)(i + 101));
	for (unsigned i = 0; i < FORKERS; i++) {
		void *n;
		pthread_join(f[i], &n);
		good += (uintptr_t)n;
	}
	stop_and_join(t, THREADS);
	check(good == children * FORKERS, "children of three threads beside three busy ones: each has its thread's blocks, and a region of its own");
	check(thread_faults == 0, "threads: their blocks are theirs alone all the time");
}

/* ---- handlers ------------------------------------------------------------------------------- */

extern unsigned char *handlers_block __attribute__((weak)); /* preload_handlers.inc */

static void test_handlers(void)
{
	if (!check(&handlers_block != NULL, "a library has registered handlers before the shim could"))
		return;
	unsigned char *p = handlers_block = kept(calloc(1, any(3000)));
	pid_t pid = fork();
	if (pid == 0) {
		demand(p[0] == 1, "child: has what a handler wrote before the fork");
		demand(p[2] == 1 && p[1] == 0, "child: has what a handler wrote in it, not what one wrote in its parent");
		_exit(failures != 0);
	}
	check(ended(pid) == 0, "child: what handlers wrote before the fork, and in it");
	check(p[0] == 1 && p[1] == 1 && p[2] == 0, "parent: what handlers wrote before the fork and in it, nothing of the child's");
}

static const struct fork_case cases[] = {
	{"gigabyte", test_gigabyte}, {"cut", test_cut}, {"pages", test_pages}, {"kernel", test_kernel},
	{"signals", test_signals}, {"mutex", test_mutex}, {"stacks", test_stacks},
	{"storm", test_storm}, {"handlers", test_handlers},
};

int main(int argc, char **argv)
{
	return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
}
