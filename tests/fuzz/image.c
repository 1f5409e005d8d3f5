/* image.c - see image.h. */
#include "image.h"

#include "boxes.h"
#include "class.h"
#include "preload_api.h"
#include "tally.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CAPACITY = 64 * UNIT, EXTENTS = 256, PATCHES = 15, BLOCKS = 40 };
#define PATH "/dev/shm" IMAGE_NAME

struct layout image_layout;
uint64_t image_block;

static struct {
	uint64_t off, len;
	char *bytes;
} extents[EXTENTS];
static unsigned extent_count;
static int image_fd = -1;

_Noreturn void find(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

#define MUST(e) ((e) ? (void)0 : find("%s:%d: %s: %s", __FILE__, __LINE__, #e, strerror(errno)))

/* ---- time ------------------------------------------------------------------------ */

static void too_slow(int sig)
{
	static const char text[] = "one input takes more than its time\n";
	(void)sig;
	if (write(STDERR_FILENO, text, sizeof text - 1) > 0)
		abort();
	abort();
}

void image_limit_time(unsigned seconds)
{
	struct itimerval limit = {.it_value.tv_sec = seconds};
	signal(SIGPROF, too_slow);
	setitimer(ITIMER_PROF, &limit, NULL);
}

/* ---- the private directory --------------------------------------------------------- */

static void write_map(const char *path, unsigned id)
{
	char text[64];
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int n = snprintf(text, sizeof text, "0 %u 1", id);
	if (fd >= 0 && write(fd, text, (size_t)n) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

void image_private_shm(void)
{
	unsigned uid = geteuid(), gid = getegid();
	if (unshare(CLONE_NEWNS)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) {
			fprintf(stderr, "skip: no mount namespace to be had: %s\n", strerror(errno));
			exit(77);
		}
		write_map("/proc/self/setgroups", 0);
		write_map("/proc/self/uid_map", uid);
		write_map("/proc/self/gid_map", gid);
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("fuzz", "/dev/shm", "tmpfs", 0, "size=1g")) {
		fprintf(stderr, "skip: no /dev/shm of its own: %s\n", strerror(errno));
		exit(77);
	}
}

/* ---- making the image ---------------------------------------------------------------- */

struct thing {
	char text[40];
};

static const shmb_type thing_type = {.name = "thing", .size = sizeof(struct thing), .align = 8};

static void fill_boxes(shmb_arena *a)
{
	shmb_box *box;
	MUST(!shmb_box_new(a, &thing_type, NULL, NULL, &box));
	MUST(!shmb_box_new(a, &thing_type, NULL, NULL, &box));
	MUST(!shmb_box_leak(box));
	MUST(!shmb_box_find_or_new(a, "first", &thing_type, NULL, NULL, &box, NULL));
	MUST(!shmb_box_find_or_new(a, "second", &thing_type, NULL, NULL, &box, NULL));
	MUST(!shmb_box_leak(box));
	MUST(!shmb_box_find_or_new(a, "third", &thing_type, NULL, NULL, &box, NULL));
	MUST(!shmb_box_drop(box));
}

static void fill_blocks(shmb_arena *a)
{
	static const size_t sizes[] = {16, 48, 200, 1024, 5000, 20000, 57344, 100000, 200000};
	void *p[BLOCKS];
	for (unsigned i = 0; i < BLOCKS; i++)
		MUST(p[i] = shmb_malloc(a, sizes[i % (i < 20 ? 9 : 5)]));
	for (unsigned i = 0; i < BLOCKS; i += 3)
		shmb_free(a, p[i]);
	image_block = shmb_ref_of(a, p[1]);
}

/* Blocks of the last rule's, in one class; one of them is free in the thread's magazine. */
static void fill_tags(shmb_arena *a)
{
	char *p[4];
	for (unsigned i = 0; i < 4; i++) {
		MUST(p[i] = shmb_malloc(a, 600));
		tally_tag(a, (uint32_t)((uint64_t)(p[i] - a->data) >> GRAIN_SHIFT), class_of(600), 2);
	}
	shmb_free(a, p[1]);
	MUST(p[0] = shmb_malloc(a, 2 * UNIT));
	tally_tag_large(a, (uint64_t)(p[0] - a->data) >> UNIT_SHIFT, 2, 0);
}

static shmb_arena *arena_get(unsigned flags)
{
	shmb_options opt = {.size = CAPACITY, .flags = flags};
	shmb_arena *a;
	MUST(!shmb_arena_open(IMAGE_NAME, &opt, &a));
	return a;
}

static void neighbour(int tell)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shmb_arena *a = arena_get(SHMB_ATTACH_ONLY);
	MUST(shmb_malloc(a, 300));
	MUST(write(tell, "x", 1) == 1);
	for (;;)
		pause();
}

static void visitor(void)
{
	shmb_arena *a = arena_get(SHMB_ATTACH_ONLY);
	void *p = shmb_malloc(a, 3000), *q = shmb_malloc(a, 70);
	MUST(p && q);
	shmb_free(a, p);
	MUST(!shmb_arena_close(a));
	_exit(0);
}

static void wait_byte(int fd)
{
	char c;
	MUST(read(fd, &c, 1) == 1);
}

static void builder(int go, int tell)
{
	static const char text[] = "size=64K..; !small: size=..64; sample=1/3 size=..2K";
	struct rule rules[RULES];
	struct word bad;
	unsigned n;
	MUST(rule_parse(text, rules, &n, &bad));
	shmb_arena *a = arena_get(SHMB_CREATE_ONLY);
	preload_rules_begin(a, text, rules, n, false);
	fill_blocks(a);
	fill_boxes(a);
	fill_tags(a);
	MUST(!shmb_region_leak(shmb_arena_region(a)));
	MUST(write(tell, &image_block, sizeof image_block) == sizeof image_block);
	wait_byte(go);
	kill(getpid(), SIGKILL);
}

static void run_visitor(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		visitor();
	MUST(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void make(void)
{
	int go[2], tell[2];
	MUST(!pipe2(go, O_CLOEXEC) && !pipe2(tell, O_CLOEXEC));
	pid_t dead = fork();
	if (dead == 0)
		builder(go[0], tell[1]);
	MUST(dead > 0 && read(tell[0], &image_block, sizeof image_block) == sizeof image_block);
	pid_t alive = fork();
	if (alive == 0)
		neighbour(tell[1]);
	wait_byte(tell[0]);
	run_visitor();
	MUST(write(go[1], "x", 1) == 1 && waitpid(dead, NULL, 0) == dead);
	close(go[0]), close(go[1]), close(tell[0]), close(tell[1]);
}

/* Blocks' contents are nobody's concern: they are left out. */
static void remember(void)
{
	uint64_t at = 0;
	for (; at < image_layout.data; extent_count++) {
		off_t from = lseek(image_fd, (off_t)at, SEEK_DATA);
		if (from < 0 || (uint64_t)from >= image_layout.data)
			break;
		off_t end = lseek(image_fd, from, SEEK_HOLE);
		MUST(extent_count < EXTENTS && end > from);
		char *bytes = malloc((size_t)(end - from));
		MUST(bytes && pread(image_fd, bytes, (size_t)(end - from), from) == end - from);
		extents[extent_count].off = (uint64_t)from;
		extents[extent_count].len = (uint64_t)(end - from);
		extents[extent_count].bytes = bytes;
		at = (uint64_t)end;
	}
}

void image_setup(void)
{
	image_private_shm();
	make();
	image_layout = layout_of(CAPACITY / UNIT);
	MUST((image_fd = open(PATH, O_RDWR | O_CLOEXEC)) >= 0);
	remember();
}

/* ---- patching --------------------------------------------------------------------------- */

struct field {
	uint16_t off, size, n; /* n elements of that size */
};
#define ONE(s, f) {offsetof(struct s, f), sizeof(((struct s *)0)->f), 1}
#define ARRAY(s, f) {offsetof(struct s, f), sizeof(((struct s *)0)->f[0]), sizeof(((struct s *)0)->f) / sizeof(((struct s *)0)->f[0])}

static const struct field header_fields[] = {
	ONE(header_shm, units_ready), ONE(header_shm, mags_ready), ONE(header_shm, threads_ready),
	ONE(header_shm, slots_high), ONE(header_shm, boxes_ready), ONE(header_shm, names_ready), ONE(header_shm, rules),
	ONE(header_shm, units_used), ONE(header_shm, units_dirty), ONE(header_shm, orphans),
	ONE(header_shm, orphan_cursor), ONE(header_shm, evictor), ONE(header_shm, boxes_abandoned),
	ONE(header_shm, boxes_looked), ONE(header_shm, trimmed_ms), ONE(header_shm, owner_pid),
	ONE(header_shm, capacity), ONE(header_shm, file_size), ONE(header_shm, base), ONE(header_shm, data_off),
	ONE(header_shm, version), ONE(header_shm, probe), ONE(header_shm, layout_crc), ARRAY(header_shm, magic),
	ARRAY(header_shm, creator_name), ARRAY(header_shm, run), ONE(header_shm, creator_pid),
	ONE(header_shm, rules_gen), ONE(header_shm, tags), ONE(header_shm, ruler)};
static const struct field depot_fields[] = {ONE(depot_shm, lock), ONE(depot_shm, count), ARRAY(depot_shm, cells)};
static const struct field slot_fields[] = {ONE(slot_shm, word), ONE(slot_shm, hold), ARRAY(slot_shm, inbox), ONE(slot_shm, strays),
                                           ONE(slot_shm, moving), ONE(slot_shm, busy), ONE(slot_shm, sweeping),
                                           ONE(slot_shm, quick), ONE(slot_shm, pid), ARRAY(slot_shm, name)};
static const struct field thread_fields[] = {
	ONE(thread_shm, owner), ONE(thread_shm, tenure), ONE(thread_shm, transit), ONE(thread_shm, discard),
	ONE(thread_shm, backlog), ONE(thread_shm, left), ARRAY(thread_shm, pairs), ARRAY(thread_shm, hot),
	ONE(thread_shm, handle), ARRAY(thread_shm, hits)};
static const struct field mag_fields[] = {ONE(mag_shm, holder), ONE(mag_shm, count), ONE(mag_shm, rounds), ONE(mag_shm, class),
                                          ONE(mag_shm, next), ARRAY(mag_shm, entries)};
static const struct field box_fields[] = {ONE(box_shm, word), ONE(box_shm, ref), ONE(box_shm, type), ONE(box_shm, wake),
                                          ONE(box_shm, name)};
static const struct field name_fields[] = {ONE(name_shm, word), ARRAY(name_shm, text)};
static const struct field bucket_fields[] = {ONE(bucket_shm, lock), ONE(bucket_shm, waiters), ONE(bucket_shm, committed),
                                             ONE(bucket_shm, spilled)};
#define BANK(b) \
	ONE(rules_shm, banks[b].gen), ONE(rules_shm, banks[b].n), ONE(rules_shm, banks[b].off), ONE(rules_shm, banks[b].text_len), \
		ARRAY(rules_shm, banks[b].entry), ARRAY(rules_shm, banks[b].counts), ARRAY(rules_shm, banks[b].owner), \
		ARRAY(rules_shm, banks[b].tagged), ARRAY(rules_shm, banks[b].base)
#define RULE(r) \
	ARRAY(rules_shm, rules[r].text), ONE(rules_shm, rules[r].hits), ONE(rules_shm, rules[r].bytes), ONE(rules_shm, rules[r].places), \
		ONE(rules_shm, rules[r].sum), ONE(rules_shm, rules[r].peak)
static const struct field rules_fields[] = {ARRAY(rules_shm, attributed), ARRAY(rules_shm, out), BANK(0), BANK(1),
                                            RULE(0), RULE(1), RULE(2)};
static const struct field byte_field[] = {{0, 1, 1}}, word_field[] = {{0, 8, 1}}, half_field[] = {{0, 4, 1}};

/* `near`: entries below it are those that the image uses, or a little more. */
#define TABLE(table, stride, count, near, fields) \
	{offsetof(struct layout, table), stride, count, near, fields, sizeof fields / sizeof *fields}
static const struct table {
	size_t at; /* of its offset in struct layout; `units` for the header, at 0 */
	uint32_t stride, count, near;
	const struct field *fields;
	unsigned n;
} tables[] = {
	TABLE(units, 0, 1, 1, header_fields),
	TABLE(depots, sizeof(struct depot_shm), CLASSES, CLASSES, depot_fields),
	TABLE(slots, sizeof(struct slot_shm), SLOTS, 4, slot_fields),
	TABLE(threads, sizeof(struct thread_shm), THREADS, 4, thread_fields),
	TABLE(mags, sizeof(struct mag_shm), MAGS, 20, mag_fields),
	TABLE(spans, sizeof(span_t), CAPACITY / UNIT, CAPACITY / UNIT, word_field),
	TABLE(pages, sizeof(page_t), CAPACITY / PAGE, CAPACITY / PAGE, half_field),
	TABLE(blockmap, 1, CAPACITY / GRAIN, 6 * UNIT / GRAIN, byte_field),
	TABLE(boxes, sizeof(struct box_shm), BOXES, 8, box_fields),
	TABLE(names, sizeof(struct name_shm), NAME_BUCKETS * NAMES_PER_BUCKET, 0, name_fields),
	TABLE(buckets, sizeof(struct bucket_shm), NAME_BUCKETS, 0, bucket_fields),
	TABLE(rules, sizeof(struct rules_shm), 1, 1, rules_fields),
	TABLE(rule_text, 1, RULES_TEXT, 64, byte_field),
	TABLE(mag_bits, 8, 8, 2, word_field),
	TABLE(used_bits, 8, 1, 1, word_field),
	TABLE(dirty_bits, 8, 1, 1, word_field),
	TABLE(map_bits, 8, 1, 1, word_field),
	TABLE(box_bits, 8, 8, 2, word_field),
	TABLE(tags, 1, CAPACITY / GRAIN, 6 * UNIT / GRAIN, byte_field),
	TABLE(unit_tags, 1, CAPACITY / UNIT, CAPACITY / UNIT, byte_field),
	TABLE(tag_bits, 8, 1, 1, word_field),
};
enum { TABLES = sizeof tables / sizeof *tables, RAW = 31 };

enum how { RAW_VALUE, ADD, FLIP, POWER, ONES, HOLDER, THE_HOLD, SPAN, BOX, MAG_HOLDER, CELL, COPY, PAGE_WORD, BLOCK, SMALL_VALUE, HOWS };

static uint64_t value_of(const struct patch *p, uint64_t now)
{
	holder_t h = p->value & 0x80 ? hold_make(p->bit & 7, p->value & 15) : holder_make(p->bit & 7, p->value & 15);
	switch ((enum how)(p->how % HOWS)) {
	case ADD: return now + (uint64_t)(int64_t)(int8_t)p->value;
	case FLIP: return now ^ (uint64_t)1 << p->bit % 64;
	case POWER: return ((uint64_t)1 << p->bit % 64) + (uint64_t)(int64_t)(int8_t)p->value;
	case ONES: return UINT64_MAX;
	case HOLDER:
	case THE_HOLD: return h;
	case SPAN: return span_make((enum span_kind)(p->bit >> 4), p->value >> 8 & 0xff, h);
	case BOX: return box_make((enum box_state)(p->bit >> 4), (uint32_t)(p->value >> 8), h);
	case MAG_HOLDER: return mag_holder(p->value >> 8 & 3, h);
	case CELL: return cell_make((p->value >> 8) & 31, h);
	case PAGE_WORD: return page_make(p->bit % 64, p->value & 0xfff);
	case BLOCK: return (uint64_t)(p->bit & 3) << 6 | (p->value & 63);
	case SMALL_VALUE: return p->value & 0x3f;
	default: return p->value;
	}
}

/* The names in the image are in two buckets of many: entry 0 and 16 of theirs are what is wanted mostly. */
static uint64_t entry_of(const struct table *t, uint16_t entry)
{
	static const char *const names[] = {"first", "second", "third"};
	if (t->near)
		return entry & 0x8000 ? entry % t->count : entry % t->near;
	uint64_t h = 14695981039346656037u; /* as directory.c has it */
	for (const char *s = names[entry % 3]; *s; s++)
		h = (h ^ (unsigned char)*s) * 1099511628211u;
	uint32_t hash = (uint32_t)(h ^ h >> 32);
	unsigned bucket = hash % (NAME_BUCKETS / 4) * 4 + hash / (NAME_BUCKETS / 4) % 4;
	bucket ^= entry >> 8 & 3; /* others of its group */
	return t->stride == sizeof(struct bucket_shm) ? bucket : bucket * NAMES_PER_BUCKET + (entry >> 4 & 1);
}

/* A lock or a box that the sleeping neighbour has is waited for until it wakes: not a hang, but the contract. */
static bool waits_for_neighbour(const struct table *t, const struct field *f, uint64_t now)
{
	bool its = (holder_t)now == holder_make(1, 0);
	bool moving = box_state_of(now) == BOX_MAKING || box_state_of(now) == BOX_DROPPING;
	return its && ((t->fields == bucket_fields && f->off == 0) || (t->fields == box_fields && f->off == 0 && moving));
}

static void patch_apply(const struct patch *p)
{
	const struct table *t = &tables[p->table % TABLES];
	const struct field *f = &t->fields[p->field % t->n];
	uint64_t base = t->stride ? *(const uint64_t *)((const char *)&image_layout + t->at) : 0;
	uint64_t off = base + entry_of(t, p->entry) * t->stride + f->off + (uint64_t)(p->element % f->n) * f->size;
	uint64_t now = 0, from = off;
	size_t size = f->size;
	if (p->table == RAW) /* any eight bytes of the tables; a length of the file */
		off = from = p->value >> 16 % image_layout.data, size = 8;
	if (p->how % HOWS == COPY)
		from = base + entry_of(t, (uint16_t)p->value) * t->stride + f->off;
	MUST(pread(image_fd, &now, size, (off_t)from) >= 0);
	if (p->how % HOWS != COPY)
		now = value_of(p, now);
	if (waits_for_neighbour(t, f, now))
		now = 0;
	MUST(pwrite(image_fd, &now, size, (off_t)off) == (ssize_t)size);
}

size_t image_restore(const uint8_t *data, size_t size)
{
	size_t used = size ? 1 : 0;
	MUST(!ftruncate(image_fd, (off_t)image_layout.size));
	MUST(!fallocate(image_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)image_layout.size));
	for (unsigned i = 0; i < extent_count; i++)
		MUST(pwrite(image_fd, extents[i].bytes, extents[i].len, (off_t)extents[i].off) == (ssize_t)extents[i].len);
	for (unsigned n = size ? data[0] & PATCHES : 0; n > 0 && size - used >= sizeof(struct patch); n--) {
		struct patch p;
		memcpy(&p, data + used, sizeof p);
		used += sizeof p;
		if (p.table == RAW - 1)
			MUST(!ftruncate(image_fd, (off_t)(p.value % (image_layout.size + UNIT))));
		else
			patch_apply(&p);
	}
	return used;
}
