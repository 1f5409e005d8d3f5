/* boost_heap.h - Boost.Interprocess's heap behind C functions in a shared object, as the arena is behind its own. */
#ifndef BENCH_BOOST_HEAP_H
#define BENCH_BOOST_HEAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Creates the segment and maps it. NULL, or what went wrong. */
const char *boost_heap_open(const char *name, size_t bytes);
void boost_heap_close(void);

void *boost_heap_malloc(size_t size);
void boost_heap_free(void *p);

#ifdef __cplusplus
}
#endif

#endif
