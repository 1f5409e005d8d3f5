/*
 * crash_storm.h - what crash_storm.c's workers do: blocks that say whose they
 * are, boxes that say whether they are whole, and the loop that passes them
 * round. Included there only, after its shared memory and helpers.
 */
#ifndef SHMB_CRASH_STORM_H
#define SHMB_CRASH_STORM_H

/* ---- blocks that say whose they are --------------------------------------------- */

struct block {
	uint64_t ref;
	uint32_t size;
	uint32_t writer; /* its pid */
};

static uint64_t word_at(const struct block *b, size_t i)
{
	return (b->ref + i * 8) * 0x9e3779b97f4a7c15u ^ (uint64_t)b->writer << 32 ^ b->size;
}

/* Words that are filled and looked at: all of a small block, some of a large one. */
static size_t step_of(size_t size) { return size <= 4096 ? 1 : 61; }

static void fill(void *p, shmb_ref ref, size_t size)
{
	struct block b = {ref, (uint32_t)size, (uint32_t)getpid()};
	uint64_t *w = p;
	size_t words = size / 8;
	memcpy(p, &b, sizeof b);
	for (size_t i = 2; i < words; i += step_of(size))
		w[i] = word_at(&b, i);
	if (words > 2)
		w[words - 1] = word_at(&b, words - 1);
}

static size_t verify(const char *where, const void *p, shmb_ref ref, size_t most)
{
	struct block b;
	const uint64_t *w = p;
	memcpy(&b, p, sizeof b);
	if (b.ref != ref)
		fail("%s: block %#lx says it is %#lx (size %u, writer %u)", where, (unsigned long)ref, (unsigned long)b.ref,
		     b.size, b.writer);
	if (b.size > SIZE_MAX_KIB * 1024)
		fail("%s: block %#lx says it has %u bytes (writer %u)", where, (unsigned long)ref, b.size, b.writer);
	size_t words = b.size / 8;
	for (size_t i = 2; i < words && i * 8 + 8 <= most; i += step_of(b.size))
		if (w[i] != word_at(&b, i))
			fail("%s: block %#lx of %u bytes, writer %u: word %zu is %#lx, not %#lx", where, (unsigned long)ref,
			     b.size, b.writer, i, (unsigned long)w[i], (unsigned long)word_at(&b, i));
	if (words > 2 && b.size <= most && w[words - 1] != word_at(&b, words - 1))
		fail("%s: block %#lx of %u bytes, writer %u: its end was changed", where, (unsigned long)ref, b.size, b.writer);
	return b.size;
}

static void *at_ref(const char *where, shmb_ref ref)
{
	void *p = shmb_deref(arena, ref, sizeof(struct block));
	if (!p)
		fail("%s: ref %#lx is in no block", where, (unsigned long)ref);
	return p;
}

static void dispose(const char *where, shmb_ref ref)
{
	void *p = ref ? at_ref(where, ref) : NULL;
	if (!p)
		return;
	verify(where, p, ref, SIZE_MAX);
	memset(p, 0, sizeof(struct block)); /* a second owner will see it */
	shmb_free(arena, p);
}

static size_t some_size(uint64_t *s)
{
	size_t size = (size_t)16 << below(s, 14);
	size += below(s, size);
	return size > SIZE_MAX_KIB * 1024 ? SIZE_MAX_KIB * 1024 : size;
}

static void *get(uint64_t *s, size_t size)
{
	void *p;
	switch (below(s, 8)) {
	case 0:
		p = shmb_calloc(arena, 1, size);
		for (size_t i = 0; p && i < size; i++)
			if (((char *)p)[i])
				fail("calloc: byte %zu of %zu is not 0", i, size);
		break;
	case 1:
		p = shmb_aligned_alloc(arena, (size_t)16 << below(s, 11), size);
		break;
	default:
		p = shmb_malloc(arena, size);
	}
	if (!p)
		fail("malloc of %zu: %s", size, strerror(errno));
	rules_count(s, p, size);
	return p;
}

static void op_exchange(uint64_t *s, struct lane *me)
{
	size_t size = some_size(s);
	void *p = get(s, size);
	shmb_ref ref = shmb_ref_of(arena, p);
	fill(p, ref, size);
	(void)me;
	dispose("table", atomic_exchange(&sh->table[below(s, TABLE)], ref));
}

static void op_stash(uint64_t *s, struct lane *me)
{
	_Atomic uint64_t *cell = &me->stash[below(s, STASH)];
	dispose("stash", atomic_exchange(cell, 0));
	size_t size = some_size(s);
	void *p = get(s, size);
	fill(p, shmb_ref_of(arena, p), size);
	atomic_store(cell, shmb_ref_of(arena, p));
}

static void op_realloc(uint64_t *s, struct lane *me)
{
	_Atomic uint64_t *cell = &sh->table[below(s, TABLE)];
	shmb_ref ref = atomic_exchange(cell, 0);
	(void)me;
	if (!ref)
		return;
	void *p = at_ref("realloc", ref);
	size_t had = verify("realloc", p, ref, SIZE_MAX), size = some_size(s);
	void *q = shmb_realloc(arena, p, size);
	if (!q)
		fail("realloc %zu to %zu: %s", had, size, strerror(errno));
	if (q != p)
		rules_count(s, q, size);
	verify("realloc's copy", q, ref, size < had ? size : SIZE_MAX);
	fill(q, shmb_ref_of(arena, q), size);
	dispose("table", atomic_exchange(cell, shmb_ref_of(arena, q)));
}

/* ---- boxes ------------------------------------------------------------------------- */

enum { BOX_MAGIC = 0x0b0e5a1e };

struct small_box {
	uint32_t magic, name;
	uint64_t fill[6];
};
struct large_box {
	struct small_box head;
	char rest[100 * 1024];
};

static bool box_whole(const struct small_box *b)
{
	for (unsigned i = 0; i < 6; i++)
		if (b->fill[i] != (uint64_t)b->name * 0x9e3779b97f4a7c15u + i)
			return false;
	return b->magic == BOX_MAGIC;
}

/* Runs for the dead, too: what it gets must have been made to the end, and not ended before. */
static void box_end(void *obj)
{
	struct small_box *b = obj;
	if (!box_whole(b))
		fail("destructor: magic %#x, name %u: not a whole box", b->magic, b->name);
	memset(b, 0, sizeof *b);
}

static int box_begin(void *obj, void *arg)
{
	struct small_box *b = obj;
	static const struct small_box zero;
	if (memcmp(b, &zero, sizeof zero))
		fail("initialiser: the object is not zeros");
	b->name = (uint32_t)(uintptr_t)arg;
	for (unsigned i = 0; i < 6; i++)
		b->fill[i] = (uint64_t)b->name * 0x9e3779b97f4a7c15u + i;
	b->magic = BOX_MAGIC;
	return b->name % 7 == 6 && b->fill[0] % 2 ? EAGAIN : 0;
}

static const shmb_type small_type = SHMB_TYPE(struct small_box, box_end);
static const shmb_type large_type = SHMB_TYPE(struct large_box, box_end);

static const shmb_type *type_of(unsigned n) { return n % 5 ? &small_type : &large_type; }

/*
 * Which names' boxes this process has made or claimed, and not given up. A handle
 * does not tell: it may name another box by now, and that may be this process's.
 */
static bool mine[NAMES];

/* A name belongs to one lane: no other thread of this process drops it. */
static unsigned some_name(uint64_t *s, unsigned lane, char *text)
{
	unsigned n = (unsigned)below(s, NAMES / LANES) * LANES + lane;
	sprintf(text, "box %u", n);
	return n;
}

/* Nobody else ends a box that is this process's: look, and give it up in some way, or keep it. */
static void box_mine(uint64_t *s, shmb_box *box, unsigned n)
{
	struct small_box *b = shmb_box_get(box);
	if (!box_whole(b))
		fail("box %u: its owner finds it in pieces (magic %#x, name %u)", n, b->magic, b->name);
	if (b->name != n)
		fail("box %u: is box %u", n, b->name);
	mine[n] = below(s, 4) && below(s, 3) == 0;
	int err = mine[n] ? 0 : below(s, 3) ? shmb_box_drop(box) : shmb_box_leak(box);
	if (err)
		fail("box %u: its owner may not: %s", n, shmb_strerror(err));
}

static void op_named(uint64_t *s, unsigned lane)
{
	char text[32];
	unsigned n = some_name(s, lane, text);
	enum shmb_how how = 0;
	shmb_box *box;
	int err = below(s, 3) ? shmb_box_find_or_new(arena, text, type_of(n), box_begin, (void *)(uintptr_t)n, &box, &how)
	                      : shmb_box_find(arena, text, type_of(n), &box);
	bool ours = how == SHMB_CREATED || mine[n];
	if (err && (ours || (err != ENOENT && err != EAGAIN)))
		fail("%s: %s", text, shmb_strerror(err));
	if (!ours)
		return; /* its owner may end it at any moment: not for us to look into */
	if (!shmb_box_is_owner(box))
		fail("%s: %s, but not its owner", text, mine[n] ? "kept" : "made");
	if (mine[n] && how == SHMB_CREATED)
		fail("%s: kept, and made again", text);
	box_mine(s, box, n);
}

/* Takes over what nobody has. A handle can name another box by then: only what it is, is checked. */
static void op_own(uint64_t *s, unsigned lane)
{
	char text[32];
	unsigned n = some_name(s, lane, text);
	shmb_box *box;
	if (shmb_box_find(arena, text, type_of(n), &box) || shmb_box_is_owner(box))
		return;
	int err = shmb_box_own(box);
	if (err && err != SHMB_EOWNED && err != SHMB_EGONE)
		fail("own %s: %s", text, shmb_strerror(err));
	if (err)
		return;
	const struct small_box *b = shmb_box_get(box);
	if (!box_whole(b))
		fail("own %s: it is in pieces", text);
	if (b->name == n)
		mine[n] = true;
}

static void op_anonymous(uint64_t *s)
{
	shmb_box *box, *again;
	const shmb_type *type = below(s, 4) ? &small_type : &large_type;
	int err = shmb_box_new(arena, type, box_begin, (void *)(uintptr_t)NAMES, &box);
	if (err)
		fail("new box: %s", shmb_strerror(err));
	err = shmb_box_at(arena, shmb_box_ref(box), type, &again);
	if (err || again != box)
		fail("a new box's ref: %s", shmb_strerror(err));
	if (!box_whole(shmb_box_get(box)))
		fail("a new box is in pieces");
	err = shmb_box_drop(box);
	if (err)
		fail("drop: %s", shmb_strerror(err));
}

/* ---- a worker ------------------------------------------------------------------------ */

static void wait_word(_Atomic uint32_t *word, uint32_t value)
{
	struct timespec second = {1, 0};
	(void)syscall(SYS_futex, word, FUTEX_WAIT, value, &second, NULL, 0);
}

static void op_fork(uint64_t *s, struct lane *me)
{
	pid_t pid = fork();
	if (pid < 0)
		return;
	if (pid == 0) {
		for (unsigned i = 0; i < 20; i++)
			op_exchange(s, me);
		_exit(0);
	}
	int status;
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (status)
		fail("a forked child ended with status %#x", status);
}

static void operate(uint64_t *s, unsigned lane, struct lane *me, bool boxes)
{
	unsigned what = (unsigned)below(s, 1000);
	if (preload_rules_changed() && rules_may_change())
		rules_follow();
	if (what < 600)
		op_exchange(s, me);
	else if (what < 750)
		op_stash(s, me);
	else if (what < 850)
		op_realloc(s, me);
	else if (what == 850)
		shmb_trim(arena);
	else if (what == 851 && lane == 0)
		op_fork(s, me);
	else if (boxes && what < 900)
		op_anonymous(s);
	else if (boxes && what < 920)
		op_own(s, lane);
	else if (boxes)
		op_named(s, lane);
}

struct job {
	unsigned worker, lane;
	uint64_t seed;
	bool boxes;
};

static void *work(void *arg)
{
	struct job *j = arg;
	struct lane *me = &sh->lanes[j->worker][j->lane];
	uint64_t s = j->seed * 0x9e3779b97f4a7c15u | 1;
	while (!atomic_load(&sh->finish)) {
		uint32_t pause = atomic_load(&sh->pause);
		atomic_fetch_add(&me->ops, 1);
		if (pause % 2) {
			atomic_store(&me->parked, pause);
			wait_word(&sh->pause, pause);
			continue;
		}
		operate(&s, j->lane, me, j->boxes);
	}
	return NULL;
}

/* Half of them leave in order, half just end. */
static _Noreturn void worker(unsigned number, uint64_t seed, bool boxes)
{
	struct job jobs[LANES];
	pthread_t threads[LANES];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int err = shmb_arena_open(arena_name, NULL, &arena);
	if (err)
		fail("attach: %s", shmb_strerror(err));
	rules_join();
	for (unsigned i = 0; i < LANES; i++) {
		jobs[i] = (struct job){number, i, seed * LANES + i, boxes};
		if (pthread_create(&threads[i], NULL, work, &jobs[i]))
			fail("no thread");
	}
	for (unsigned i = 0; i < LANES; i++)
		pthread_join(threads[i], NULL);
	if (number % 2 && (err = shmb_arena_close(arena)))
		fail("close: %s", shmb_strerror(err));
	_exit(0);
}

/* Allocates and frees most of what can be cached, says so, and does nothing more. */
static _Noreturn void idler(int say)
{
	static void *blocks[200];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int err = shmb_arena_open(arena_name, NULL, &arena);
	if (err)
		fail("attach: %s", shmb_strerror(err));
	for (size_t size = 16; size <= 65536; size += size / 4) {
		for (unsigned i = 0; i < 200; i++)
			if (!(blocks[i] = shmb_malloc(arena, size)))
				fail("idle: malloc of %zu", size);
		for (unsigned i = 0; i < 200; i++)
			shmb_free(arena, blocks[i]);
	}
	if (write(say, "x", 1) != 1)
		fail("idle: the parent has gone");
	for (;;)
		pause();
}

#endif
