/*
 * preload_entry.c - calls every allocation entry point of libc and looks at
 * what comes back. Run by preload_entry.sh under the shim.
 *
 *   preload_entry all NAME     everything placed in region NAME
 *   preload_entry mixed NAME   only sizes from 4 KiB on placed
 *   preload_entry full NAME    a region too small for what is asked, SHMBIND_FULL=enomem
 *
 * Prints one line for each thing verified; exit status 1 where one failed.
 */
#include "preload_util.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Called through these, so that the compiler does not reason about the old pointer. */
static void *(*volatile resize)(void *, size_t) = realloc;
static void *(*volatile resize_array)(void *, size_t, size_t) = reallocarray;

static int failures;
static uintptr_t region_low, region_high;

static void check(bool good, const char *what)
{
	printf("%-4s %s\n", good ? "ok" : "FAIL", what);
	failures += !good;
}

#define WINDOW_END 0x555000000000 /* of src/window.h, which a program cannot include */

/* Where the kernel says that the object of that name is mapped for writing. */
static bool find_region(const char *name)
{
	char line[4096], file[300];
	struct stat st;
	snprintf(file, sizeof file, "/dev/shm/%s", name + (*name == '/'));
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps && !stat(file, &st) && fgets(line, sizeof line, maps)) {
		uintptr_t low, high;
		unsigned long inode;
		if (sscanf(line, "%lx-%lx rw-s %*s %*s %lu", &low, &high, &inode) != 3 || inode != st.st_ino ||
		    low >= WINDOW_END) /* the library's second mapping of the thread records */
			continue;
		region_low = region_low && region_low < low ? region_low : low;
		region_high = high > region_high ? high : region_high;
	}
	if (maps)
		fclose(maps);
	return region_low != 0;
}

static bool placed(const void *p)
{
	return (uintptr_t)p >= region_low && (uintptr_t)p < region_high;
}

static bool aligned(const void *p, size_t to)
{
	return (uintptr_t)p % to == 0;
}

static void fill(unsigned char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(i * 7 + seed);
}

static bool holds(const unsigned char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != (unsigned char)(i * 7 + seed))
			return false;
	return true;
}

static bool zeros(const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

/* ---- everything placed -------------------------------------------------------- */

static const size_t sizes[] = {1, 16, 17, 100, 1024, 4096, 5000, 57344, 57345, 65536, 100000, 1 << 20, (5 << 20) + 3};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void test_malloc(void)
{
	bool in = true, sixteen = true, enough = true, end = true;
	for (unsigned i = 0; i < SIZES; i++) {
		size_t n = any(sizes[i]);
		unsigned char *p = kept(malloc(n));
		in = in && placed(p);
		sixteen = sixteen && aligned(p, 16);
		size_t usable = malloc_usable_size(p);
		enough = enough && usable >= n;
		fill(p, usable, i);
		end = end && holds(p, usable, i);
		free(p);
	}
	check(in, "malloc: 1 byte to 5 MiB lie in the region");
	check(sixteen, "malloc: 16-byte aligned");
	check(enough, "malloc_usable_size: at least what was asked");
	check(end, "malloc_usable_size: writable to its end");
	check(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL) is 0");
}

/* Neighbours written to their usable ends must not touch each other. */
static void test_usable_neighbours(void)
{
	enum { N = 200 };
	unsigned char *p[N];
	bool good = true;
	for (unsigned i = 0; i < N; i++) {
		p[i] = kept(malloc(any(i * 37 + 1)));
		fill(p[i], malloc_usable_size(p[i]), i);
	}
	for (unsigned i = 0; i < N; i++) {
		good = good && holds(p[i], malloc_usable_size(p[i]), i);
		free(p[i]);
	}
	check(good, "malloc_usable_size: 200 blocks filled to it keep their contents");
}

static void test_zero_sizes(void)
{
	void *a = kept(malloc(any(0))), *b = kept(malloc(any(0)));
	void *c = kept(calloc(any(0), 8)), *d = kept(calloc(8, any(0)));
	check(a && b && a != b && placed(a) && placed(b), "malloc(0): two blocks, each its own, in the region");
	check(c && d && c != d && placed(c), "calloc(0, 8), calloc(8, 0): blocks, each its own");
	free(a), free(b), free(c), free(d);
	unsigned char *p = kept(malloc(any(100)));
	errno = 0;
	check(realloc(p, any(0)) == NULL && errno == 0, "realloc(p, 0): NULL, errno untouched");
	void *again = kept(malloc(any(100)));
	check(again == p, "realloc(p, 0): p is free, the next request has it");
	free(again);
	p = kept(malloc(any(1 << 20)));
	check(realloc(p, any(0)) == NULL, "realloc(large, 0): NULL");
	p = kept(realloc(NULL, any(0)));
	check(p && placed(p), "realloc(NULL, 0): a block");
	free(p);
	p = kept(reallocarray(NULL, any(0), 8));
	check(p && placed(p), "reallocarray(NULL, 0, 8): a block");
	free(p);
	void *m = NULL;
	check(posix_memalign(&m, 64, any(0)) == 0 && m && aligned(m, 64), "posix_memalign of 0 bytes: a block");
	free(m);
}

static void test_calloc(void)
{
	bool in = true, clean = true;
	for (unsigned i = 0; i < SIZES; i++) {
		unsigned char *dirty = kept(malloc(any(sizes[i])));
		memset(dirty, 0xa5, sizes[i]);
		free(kept(dirty));
		unsigned char *p = kept(calloc(any(1), any(sizes[i])));
		in = in && placed(p);
		clean = clean && zeros(p, sizes[i]);
		free(p);
	}
	check(in, "calloc: lies in the region");
	check(clean, "calloc: zeros, after a dirty block of its size was freed");
	unsigned char *p = kept(calloc(any(1000), any(100)));
	check(p && malloc_usable_size(p) >= 100000 && zeros(p, 100000), "calloc(1000, 100): the product");
	free(p);
}

static bool refused(void *p)
{
	bool is = kept(p) == NULL && errno == ENOMEM;
	errno = 0;
	return is;
}

static void test_too_much(void)
{
	unsigned char *p = kept(malloc(any(500)));
	fill(p, 500, 3);
	errno = 0;
	check(refused(calloc(any(SIZE_MAX / 2), any(3))), "calloc: overflow is NULL, ENOMEM");
	check(refused(calloc(any((size_t)1 << 32), any((size_t)1 << 32))), "calloc: overflow to exactly 0 is NULL, ENOMEM");
	check(refused(reallocarray(NULL, any(SIZE_MAX / 2), any(3))), "reallocarray(NULL): overflow is NULL, ENOMEM");
	check(refused(resize_array(p, any((size_t)1 << 33), any((size_t)1 << 31))), "reallocarray(p): overflow is NULL, ENOMEM");
	check(holds(p, 500, 3), "reallocarray(p): p is as it was");
	check(refused(resize(p, any(SIZE_MAX - 100))), "realloc: a huge size is NULL, ENOMEM");
	check(holds(p, 500, 3), "realloc: p is as it was");
	check(refused(malloc(any(SIZE_MAX))), "malloc(SIZE_MAX): NULL, ENOMEM");
	check(refused(malloc(any(PTRDIFF_MAX))), "malloc(PTRDIFF_MAX): NULL, ENOMEM");
	check(refused(calloc(any(1), any(SIZE_MAX - 4096))), "calloc(huge): NULL, ENOMEM");
	check(refused(memalign(any(64), any(SIZE_MAX - 10))), "memalign(huge): NULL, ENOMEM");
	check(refused(aligned_alloc(any(4096), any(SIZE_MAX - 4095))), "aligned_alloc(huge): NULL, ENOMEM");
	check(refused(valloc(any(SIZE_MAX - 10))), "valloc(huge): NULL, ENOMEM");
	check(refused(pvalloc(any(SIZE_MAX - 10))), "pvalloc(huge): NULL, ENOMEM");
	free(p);
}

static void test_aligned(void)
{
	bool posix = true, alloc = true, mem = true;
	for (size_t align = sizeof(void *); align <= (size_t)4 << 20; align *= 2)
		for (unsigned i = 0; i < SIZES; i++) {
			void *p = NULL;
			int err = posix_memalign(&p, any(align), any(sizes[i]));
			posix = posix && !err && placed(p) && aligned(p, align) && malloc_usable_size(p) >= sizes[i];
			memset(p, 0x5a, malloc_usable_size(p));
			free(p);
			p = kept(aligned_alloc(any(align), any(sizes[i])));
			alloc = alloc && placed(p) && aligned(p, align) && malloc_usable_size(p) >= sizes[i];
			free(p);
			p = kept(memalign(any(align), any(sizes[i])));
			mem = mem && placed(p) && aligned(p, align);
			free(p);
		}
	check(posix, "posix_memalign: 8 bytes to 4 MiB, each size, in the region");
	check(alloc, "aligned_alloc: 8 bytes to 4 MiB, each size, in the region");
	check(mem, "memalign: 8 bytes to 4 MiB, each size, in the region");
	void *p = kept(memalign(any(48), any(10)));
	check(placed(p) && aligned(p, 64), "memalign(48): rounded up to 64, as glibc does");
	free(p);
	p = kept(memalign(any(0), any(10)));
	check(placed(p) && aligned(p, 16), "memalign(0): a block");
	free(p);
	errno = 0;
	void *volatile none = memalign(any(SIZE_MAX), any(10)); /* or clang takes the call out and its success for granted */
	check(none == NULL && errno == EINVAL, "memalign(SIZE_MAX): NULL, EINVAL");
	p = kept(valloc(any(10)));
	check(placed(p) && aligned(p, 4096), "valloc: a page's alignment, in the region");
	free(p);
	p = kept(pvalloc(any(4097)));
	check(placed(p) && aligned(p, 4096) && malloc_usable_size(p) >= 8192, "pvalloc: whole pages, in the region");
	free(p);
}

static void test_posix_memalign_errors(void)
{
	static const size_t bad[] = {0, 1, 2, 4, 3, 7, 12, 24, 40, 100, SIZE_MAX, SIZE_MAX / 2};
	void *mark = &failures, *p = mark;
	bool invalid = true;
	errno = 4711;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		invalid = invalid && posix_memalign(&p, any(bad[i]), any(16)) == EINVAL;
	check(invalid && p == mark, "posix_memalign: EINVAL for what is no power of two times 8, result untouched");
	check(posix_memalign(&p, 64, any(SIZE_MAX - 100)) == ENOMEM && p == mark, "posix_memalign: ENOMEM for a huge size, result untouched");
	check(errno == 4711, "posix_memalign: errno untouched by failures");
	check(posix_memalign(&p, 64, any(100)) == 0 && errno == 4711, "posix_memalign: errno untouched by success");
	free(kept(p));
}

static void test_free(void)
{
	bool same = true;
	for (unsigned i = 0; i < SIZES; i++) {
		void *p = kept(malloc(any(sizes[i])));
		errno = 1000 + (int)i;
		free(p);
		same = same && errno == 1000 + (int)i;
	}
	check(same, "free: errno kept, each size");
	errno = 77;
	free(kept(NULL));
	check(errno == 77, "free(NULL): nothing, errno kept");
}

static void test_realloc(void)
{
	bool in = true, same = true;
	unsigned char *p = kept(realloc(NULL, any(1)));
	fill(p, 1, 9);
	for (unsigned i = 1; i < SIZES; i++) {
		p = kept(realloc(p, any(sizes[i])));
		in = in && placed(p);
		same = same && holds(p, sizes[i - 1], 9);
		fill(p, sizes[i], 9);
	}
	for (unsigned i = SIZES - 1; i-- > 0;) {
		p = kept(realloc(p, any(sizes[i])));
		in = in && placed(p);
		same = same && holds(p, sizes[i], 9);
	}
	free(p);
	check(in, "realloc: grown to 5 MiB and back, in the region all the time");
	check(same, "realloc: contents kept all the way");
	p = kept(reallocarray(NULL, any(10), any(50)));
	fill(p, 500, 1);
	p = kept(reallocarray(p, any(100), any(1000)));
	check(placed(p) && holds(p, 500, 1), "reallocarray: grows, contents kept");
	free(p);
}

static void test_callers_in_libc(void)
{
	char *s = kept(strdup("a text of more than one word")), *n = kept(strndup("another text", 7)), *f = NULL, *line = NULL;
	size_t room = 0;
	check(placed(s) && !strcmp(s, "a text of more than one word"), "strdup: in the region");
	check(placed(n) && !strcmp(n, "another"), "strndup: in the region");
	int len = asprintf(&f, "%s and %d", s, 42);
	check(len == 35 && placed(f) && !strcmp(f + 29, "and 42"), "asprintf: in the region");
	FILE *in = fopen("/proc/self/status", "r");
	ssize_t got = in ? getline(&line, &room, in) : -1;
	check(got > 0 && placed(line) && !strncmp(line, "Name:", 5), "getline: its buffer is in the region");
	check(in && !placed(in), "fopen: its FILE is not: a forking child would change it");
	if (in)
		fclose(in);
	free(s), free(n), free(f), free(line);
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	for (int i = 0; out && i < 5000; i++)
		fprintf(out, "%d ", i);
	if (out)
		fclose(out);
	check(size == 23890 && placed(text) && !strncmp(text, "0 1 2 ", 6), "open_memstream: grows in the region");
	free(kept(text));
}

/* What the program asks for is placed, be it as large as what libc keeps for itself. */
static void test_sizes_of_libc(void)
{
	static const size_t libcs[] = {216, 256, 280, 472, 512};
	for (unsigned i = 0; i < sizeof libcs / sizeof *libcs; i++) {
		char *p = kept(malloc(any(libcs[i]))), *q = kept(calloc(any(libcs[i]), 1)), *r = kept(realloc(NULL, any(libcs[i])));
		check(placed(p) && placed(q) && placed(r), "the program's blocks of such a size: in the region");
		r = realloc(kept(realloc(r, any(100))), any(libcs[i]));
		check(placed(r), "and by realloc");
		free(p), free(q), free(r);
	}
	char *values = kept(calloc(any(32), any(16)));
	check(placed(values), "calloc(32, 16) by the program: in the region");
	free(values);
}

/* ---- from 4 KiB on placed -------------------------------------------------------- */

/* A block of `from` bytes becomes one of `to` bytes: where was it, where is it, what is in it. */
static void crosses(const char *what, size_t from, bool from_in, size_t to, bool to_in)
{
	char text[100];
	unsigned char *p = kept(malloc(any(from)));
	bool was = placed(p);
	fill(p, from, 5);
	errno = 55;
	p = kept(realloc(p, any(to)));
	bool is = placed(p), same = holds(p, from < to ? from : to, 5);
	snprintf(text, sizeof text, "realloc %s: from %zu to %zu bytes", what, from, to);
	check(was == from_in && is == to_in && same && errno == 55, text);
	memset(p, 1, malloc_usable_size(p));
	free(p);
}

static void test_crossings(void)
{
	crosses("heap to heap, growing", 10, false, 4000, false);
	crosses("heap to heap, shrinking", 4000, false, 10, false);
	crosses("heap to region", 4000, false, 4096, true);
	crosses("heap to region, far", 1, false, 3 << 20, true);
	crosses("region to heap", 4096, true, 4095, false);
	crosses("region to heap, far", 3 << 20, true, 1, false);
	crosses("region to region, growing", 4096, true, 40000, true);
	crosses("region to region, small to large", 40000, true, 1 << 20, true);
	crosses("region to region, large to small", 1 << 20, true, 8000, true);
	crosses("region to region, large growing", 1 << 20, true, 9 << 20, true);
	void *p = kept(malloc(any(100)));
	check(!placed(p) && realloc(p, any(0)) == NULL, "realloc(p, 0) on the heap: NULL");
	p = kept(calloc(any(64), any(64)));
	check(placed(p), "calloc decides on the product: 64 times 64");
	free(p);
	p = kept(calloc(any(4096), any(1)));
	check(placed(p), "calloc decides on the product: 4096 times 1");
	free(p);
	p = kept(reallocarray(NULL, any(4095), any(1)));
	check(!placed(p), "reallocarray decides on the product: 4095 times 1");
	free(p);
	unsigned char *q = kept(malloc(any(100)));
	fill(q, 100, 2);
	errno = 0;
	check(refused(resize(q, any(SIZE_MAX - 4096))) && holds(q, 100, 2), "realloc from the heap, huge: NULL, the block as it was");
	free(q);
}

/* ---- no room ------------------------------------------------------------------------- */

static void test_full(void)
{
	enum { BIG = 8 << 20 };
	unsigned char *p = kept(malloc(any(1000)));
	fill(p, 1000, 8);
	check(placed(p), "a small block fits");
	errno = 0;
	check(refused(malloc(any(BIG))), "malloc: NULL, ENOMEM");
	check(refused(calloc(any(8), any(1 << 20))), "calloc: NULL, ENOMEM");
	check(refused(resize(p, any(BIG))) && holds(p, 1000, 8), "realloc: NULL, ENOMEM, the block as it was");
	check(refused(aligned_alloc(any(64), any(BIG))), "aligned_alloc: NULL, ENOMEM");
	void *mark = &failures, *q = mark;
	errno = 12345;
	check(posix_memalign(&q, 64, any(BIG)) == ENOMEM && q == mark && errno == 12345, "posix_memalign: ENOMEM, nothing touched");
	free(p);
	unsigned n = 0;
	void *last = NULL;
	for (void *b; (b = malloc(any(5000))); n++) { /* the blocks are chained through their first words */
		*(void **)b = last;
		last = b;
	}
	check(n > 20 && errno == ENOMEM, "malloc of 5000 until none is left: NULL, ENOMEM");
	for (void *b = last; b; b = last) {
		last = *(void **)b;
		free(b);
	}
	p = kept(malloc(any(5000)));
	check(placed(p), "and after all are freed there is room again");
	free(p);
}

int main(int argc, char **argv)
{
	static char buffer[1 << 16];
	setvbuf(stdout, buffer, _IOLBF, sizeof buffer);
	if (argc != 3 || !find_region(argv[2])) {
		fprintf(stderr, "preload_entry: region %s is not mapped here\n", argc == 3 ? argv[2] : "?");
		return 1;
	}
	if (!strcmp(argv[1], "all")) {
		test_malloc();
		test_usable_neighbours();
		test_zero_sizes();
		test_calloc();
		test_too_much();
		test_aligned();
		test_posix_memalign_errors();
		test_free();
		test_realloc();
		test_callers_in_libc();
		test_sizes_of_libc();
	} else if (!strcmp(argv[1], "mixed")) {
		test_crossings();
	} else {
		test_full();
	}
	return failures != 0;
}
