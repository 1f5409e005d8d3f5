/*
 * preload_entry_cxx.cc - every operator new and delete, under the shim. Built and run
 * by preload_entry.sh.
 *
 *   preload_entry_cxx all     everything placed
 *   preload_entry_cxx full    a region too small for what is asked, SHMBIND_FULL=enomem
 */
#include <dlfcn.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <sys/stat.h>
#include <vector>

static int failures;
static uintptr_t region_low, region_high;

static void check(bool good, const char *what)
{
	printf("%-4s %s\n", good ? "ok" : "FAIL", what);
	failures += !good;
}

#define WINDOW_END 0x555000000000 /* of src/window.h, which a program cannot include */

static bool find_region(const char *name)
{
	char line[4096], file[300];
	struct stat st;
	snprintf(file, sizeof file, "/dev/shm/%s", name + (*name == '/'));
	FILE *maps = fopen("/proc/self/maps", "r");
	while (maps && !stat(file, &st) && fgets(line, sizeof line, maps)) {
		unsigned long low, high, inode;
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

static size_t any(size_t v)
{
	__asm__ volatile("" : "+r"(v) : : "memory");
	return v;
}

template <class T> static T *kept(T *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

struct alignas(256) wide {
	char c[512];
};

static int constructed, destroyed;
struct counted {
	int payload[5];
	counted() { constructed++; }
	~counted() { destroyed++; }
};

static bool good(const void *p, size_t align)
{
	return placed(p) && (uintptr_t)p % align == 0;
}

/* The names must be the shim's, not the C++ library's that call malloc. */
static void test_symbols()
{
	static const char *const names[] = {
		"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t",
		"_ZnamSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t", "_ZnamSt11align_val_tRKSt9nothrow_t",
		"_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm", "_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t",
		"_ZdlPvmSt11align_val_t", "_ZdaPvmSt11align_val_t", "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t",
		"_ZdlPvSt11align_val_tRKSt9nothrow_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t"};
	bool all = true;
	for (const char *n : names) {
		Dl_info info;
		void *p = dlsym(RTLD_DEFAULT, n);
		bool ours = p && dladdr(p, &info) && strstr(info.dli_fname, "libshmbind-preload");
		if (!ours)
			printf("     %s is not the shim's\n", n);
		all = all && ours;
	}
	check(all, "20 operators are the shim's own");
}

static void test_plain()
{
	int *one = kept(new int(7));
	check(good(one, 16) && *one == 7, "new: in the region");
	delete one;
	char *many = kept(new char[any(100000)]);
	memset(many, 1, 100000);
	check(good(many, 16) && malloc_usable_size(many) >= 100000, "new[]: in the region");
	delete[] many;
	int *soft = kept(new (std::nothrow) int(8));
	check(good(soft, 16), "new(nothrow): in the region");
	delete soft;
	char *softs = kept(new (std::nothrow) char[any(77)]);
	check(good(softs, 16), "new[](nothrow): in the region");
	delete[] softs;
	void *none = kept(::operator new(any(0)));
	void *none2 = kept(::operator new(any(0)));
	check(none && none2 && none != none2, "new of 0 bytes: blocks, each its own");
	::operator delete(none), ::operator delete(none2);
	counted *c = kept(new counted[any(9)]);
	check(placed(c) && constructed == 9, "new[] with constructors: in the region");
	delete[] c;
	check(destroyed == 9, "delete[] with destructors: each once");
}

static void test_aligned()
{
	wide *w = kept(new wide), *ws = kept(new wide[any(3)]);
	wide *s = kept(new (std::nothrow) wide), *ss = kept(new (std::nothrow) wide[any(3)]);
	check(good(w, 256) && good(ws, 256), "new, new[] of an aligned type: in the region, aligned");
	check(good(s, 256) && good(ss, 256), "new, new[](nothrow) of an aligned type: in the region, aligned");
	delete w, delete[] ws, delete s, delete[] ss;
	auto al = std::align_val_t(4096);
	void *p = kept(::operator new(any(100), al));
	check(good(p, 4096), "operator new(100, 4096): aligned");
	::operator delete(p, al);
}

/* Each form of delete frees: the same request afterwards gets the same block. */
static void test_deletes()
{
	auto al = std::align_val_t(64);
	bool frees = true;
	auto again = [&](void *p) { /* the magazine is last in, first out */
		void *q = kept(::operator new(any(200)));
		frees = frees && q == p;
		return q;
	};
	void *p = kept(::operator new(any(200)));
	::operator delete(p), p = again(p);
	::operator delete[](p), p = again(p);
	::operator delete(p, size_t(200)), p = again(p);
	::operator delete[](p, size_t(200)), p = again(p);
	::operator delete(p, std::nothrow), p = again(p);
	::operator delete[](p, std::nothrow), p = again(p);
	::operator delete(p, al), p = again(p);
	::operator delete[](p, al), p = again(p);
	::operator delete(p, size_t(200), al), p = again(p);
	::operator delete[](p, size_t(200), al), p = again(p);
	::operator delete(p, al, std::nothrow), p = again(p);
	::operator delete[](p, al, std::nothrow), p = again(p);
	::operator delete(p);
	::operator delete(kept<void>(nullptr));
	check(frees, "12 forms of delete: each frees");
}

static void test_library()
{
	std::string s;
	std::map<std::string, std::vector<int>> m;
	for (int i = 0; i < 2000; i++) {
		s += std::to_string(i);
		m["key number " + std::to_string(i % 100)].push_back(i);
	}
	check(placed(s.data()) && s.size() == 6890, "std::string: in the region");
	check(placed(m.begin()->second.data()) && m.size() == 100 && m["key number 7"][19] == 1907, "std::map of std::vector: in the region");
	try {
		throw std::runtime_error("a message long enough to be allocated by itself");
	} catch (const std::exception &e) {
		check(placed(e.what()) && strstr(e.what(), "long enough"), "an exception: thrown and caught, its text in the region");
	}
}

/* ---- no room ---------------------------------------------------------------------- */

static int handler_calls;

template <class F> static bool throws(F f)
{
	try {
		f();
	} catch (const std::bad_alloc &) {
		return true;
	}
	return false;
}

static void test_full()
{
	const size_t big = 64u << 20;
	auto al = std::align_val_t(128);
	check(throws([&] { kept(::operator new(any(big))); }), "new: throws bad_alloc");
	check(throws([&] { kept(::operator new[](any(big))); }), "new[]: throws bad_alloc");
	check(throws([&] { kept(::operator new(any(big), al)); }), "aligned new: throws bad_alloc");
	check(throws([&] { kept(::operator new[](any(big), al)); }), "aligned new[]: throws bad_alloc");
	check(!throws([&] {
		check(!kept(::operator new(any(big), std::nothrow)), "new(nothrow): NULL");
		check(!kept(::operator new[](any(big), std::nothrow)), "new[](nothrow): NULL");
		check(!kept(::operator new(any(big), al, std::nothrow)), "aligned new(nothrow): NULL");
		check(!kept(::operator new[](any(big), al, std::nothrow)), "aligned new[](nothrow): NULL");
	}), "new(nothrow): none of them throws");
	check(throws([&] { std::vector<char> v(any(big)); kept(v.data()); }), "std::vector: throws bad_alloc");
	std::set_new_handler([] {
		if (++handler_calls == 3)
			std::set_new_handler(nullptr);
	});
	check(throws([&] { kept(::operator new(any(big))); }) && handler_calls == 3, "new: the new handler runs until it gives up");
	void *p = kept(::operator new(any(100)));
	check(placed(p), "and a small block still fits");
	::operator delete(p);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, nullptr, _IOLBF, 0);
	if (argc != 3 || !find_region(argv[2])) {
		fprintf(stderr, "preload_entry_cxx: the region is not mapped here\n");
		return 1;
	}
	if (!strcmp(argv[1], "full")) {
		test_full();
	} else {
		test_symbols();
		test_plain();
		test_aligned();
		test_deletes();
		test_library();
	}
	return failures != 0;
}
