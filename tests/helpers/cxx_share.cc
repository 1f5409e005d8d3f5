/*
 * cxx_share.cc - containers in a region, and a second process that reads them
 * in place.
 *
 *   cxx_share write NAME         makes them, prints the region's address, waits for the end of its input
 *   cxx_share read NAME [AT]     reads them; with AT nothing can be mapped at that address
 */
#include <shmbind.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

using numbers = shmb::vector<int>;
using queue = shmb::deque<int>;
using words = shmb::vector<shmb::string>;
using index_of = shmb::map<shmb::string, numbers>;
using tree = shmb::map<int, numbers>;
using table = shmb::unordered_map<shmb::string, int>;
static const char *const long_text = "a text that is too long for the string object itself";

static int write_all(const char *name)
{
	shmb::arena heap(name, std::size_t{64} << 20);
	auto v = shmb::box<numbers>::find_or_new(heap, "vector", heap);
	auto d = shmb::box<queue>::find_or_new(heap, "deque", heap);
	auto s = shmb::box<shmb::string>::find_or_new(heap, "string", long_text, heap);
	auto w = shmb::box<words>::find_or_new(heap, "words", heap);
	auto m = shmb::box<index_of>::find_or_new(heap, "map", heap);
	auto u = shmb::box<table>::find_or_new(heap, "unordered_map", heap);
	auto t = shmb::box<tree>::find_or_new(heap, "tree", heap);
	for (int i = 0; i < 1000; i++) {
		(*t)[i].push_back(i);
		v->push_back(i);
		d->push_back(i);
		u->emplace(std::to_string(i).c_str(), i);
	}
	w->emplace_back("short");
	w->emplace_back(long_text);
	(*m)[shmb::string("one", heap)].push_back(1);
	(*m)[shmb::string(long_text, heap)].assign({1, 2, 3});
	bool thrown = false;
	try { // no half-made box stays
		(void)shmb::box<numbers>::find_or_new(heap, "none", std::size_t{1} << 60, 0, heap);
	} catch (const std::exception &) {
		thrown = true;
	}
	if (!thrown)
		return 1;
	std::printf("%p\n", shmb_region_addr(heap.region()));
	std::fflush(stdout);
	while (std::getchar() != EOF)
		;
	return 0;
}

template <class T, class Good> static void read_one(shmb_arena *heap, const char *name, Good good)
{
	try {
		auto found = shmb::box<T>::find(heap, name);
		std::printf("%s %s\n", name, good(*found) ? "good" : "WRONG");
	} catch (const shmb::error &e) {
		std::printf("%s %s\n", name, e.code().value() == SHMB_EADDRESS ? "refused" : e.what());
	}
}

template <class Sequence> static bool counts(const Sequence &s)
{
	int n = 0;
	for (int i : s)
		if (i != n++)
			return false;
	return n == 1000;
}

static void read_all(const shmb::arena &heap)
{
	read_one<numbers>(heap, "vector", counts<numbers>);
	read_one<queue>(heap, "deque", counts<queue>);
	read_one<shmb::string>(heap, "string", [](auto &s) { return s.compare(long_text) == 0; });
	read_one<words>(heap, "words", [](auto &w) {
		return w.size() == 2 && w[0].compare("short") == 0 && w[1].compare(long_text) == 0;
	});
	read_one<index_of>(heap, "map", [](auto &m) {
		auto it = m.find(std::string_view(long_text));
		return m.size() == 2 && it != m.end() && it->second.size() == 3 && it->second[2] == 3;
	});
	read_one<table>(heap, "unordered_map", [&heap](auto &u) {
		auto it = u.find(shmb::string("999", heap));
		return u.size() == 1000 && it != u.end() && it->second == 999;
	});
	read_one<tree>(heap, "tree", [](auto &t) {
		int n = 0;
		for (auto &[key, values] : t)
			if (key != n++ || values.size() != 1 || values[0] != key)
				return false;
		return n == 1000;
	});
	read_one<numbers>(heap, "none", counts<numbers>);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !std::strcmp(argv[1], "write"))
		return write_all(argv[2]);
	if (argc < 3)
		return 2;
	if (argc > 3) {
		void *at = reinterpret_cast<void *>(std::strtoull(argv[3], nullptr, 0));
		if (mmap(at, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at)
			return 3;
	}
	shmb::arena heap(argv[2], 0);
	std::printf("at %s address\n", heap.is_fixed() ? "its own" : "another");
	read_all(heap);
	return 0;
}
