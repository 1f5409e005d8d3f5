/*
 * boost_heap.cc - managed_shared_memory as it comes: best fit in a red-black
 * tree under one mutex that processes share.
 */
#include "boost_heap.h"

#include <boost/interprocess/managed_shared_memory.hpp>
#include <exception>
#include <new>

namespace ipc = boost::interprocess;

static ipc::managed_shared_memory *segment;

const char *boost_heap_open(const char *name, size_t bytes)
{
	static char why[128];
	try {
		ipc::shared_memory_object::remove(name);
		segment = new ipc::managed_shared_memory(ipc::create_only, name, bytes);
	} catch (const std::exception &e) {
		snprintf(why, sizeof why, "boost: %s", e.what());
	}
	/* The parties inherit the mapping, so nobody needs the name: gone now, it is gone however they end. */
	ipc::shared_memory_object::remove(name);
	return segment ? nullptr : why;
}

void boost_heap_close(void)
{
	delete segment;
	segment = nullptr;
}

void *boost_heap_malloc(size_t size) { return segment->allocate(size, std::nothrow); }

void boost_heap_free(void *p) { segment->deallocate(p); }
