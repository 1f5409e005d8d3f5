/*
 * cxx.c - C++'s operator new and delete, as entry points of their own: their
 * caller is the program's code, malloc's would be the C++ library's.
 *
 * Where there is no memory the C++ library's own operator is called: it runs
 * the new handler and throws. Built with -fexceptions for that to pass.
 */
#include "shim.h"

#include <dlfcn.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

/* The library's operator of that name, whose way of failing it is. */
static void *fail(const char *name, size_t size, size_t align, const void *nothrow)
{
	void *real = dlsym(RTLD_NEXT, name);
	if (!real)
		abort();
	if (align)
		return nothrow ? ((void *(*)(size_t, size_t, const void *))real)(size, align, nothrow)
		               : ((void *(*)(size_t, size_t))real)(size, align);
	return nothrow ? ((void *(*)(size_t, const void *))real)(size, nothrow) : ((void *(*)(size_t))real)(size);
}

#define NEW(symbol)                                                        \
	EXPORT void *symbol(size_t size);                                  \
	EXPORT void *symbol(size_t size)                                   \
	{                                                                  \
		void *p = preload_malloc_for(size, CALLER);                                    \
		return likely(p != NULL) ? p : fail(#symbol, size, 0, NULL); \
	}
#define NEW_NOTHROW(symbol)                                                   \
	EXPORT void *symbol(size_t size, const void *nothrow);                \
	EXPORT void *symbol(size_t size, const void *nothrow)                 \
	{                                                                     \
		void *p = preload_malloc_for(size, CALLER);                                       \
		return likely(p != NULL) ? p : fail(#symbol, size, 0, nothrow); \
	}
#define NEW_ALIGNED(symbol)                                                    \
	EXPORT void *symbol(size_t size, size_t align);                        \
	EXPORT void *symbol(size_t size, size_t align)                         \
	{                                                                      \
		void *p = shim_memalign(align, size, CALLER);                          \
		return likely(p != NULL) ? p : fail(#symbol, size, align, NULL); \
	}
#define NEW_ALIGNED_NOTHROW(symbol)                                               \
	EXPORT void *symbol(size_t size, size_t align, const void *nothrow);      \
	EXPORT void *symbol(size_t size, size_t align, const void *nothrow)       \
	{                                                                         \
		void *p = shim_memalign(align, size, CALLER);                             \
		return likely(p != NULL) ? p : fail(#symbol, size, align, nothrow); \
	}
#define DELETE(symbol)                 \
	EXPORT void symbol(void *p);   \
	EXPORT void symbol(void *p)    \
	{                              \
		preload_free(p);               \
	}
#define DELETE_WITH(symbol, type)                  \
	EXPORT void symbol(void *p, type unused);  \
	EXPORT void symbol(void *p, type unused)   \
	{                                          \
		(void)unused;                      \
		preload_free(p);                           \
	}
#define DELETE_WITH2(symbol, type)                              \
	EXPORT void symbol(void *p, size_t a, type unused);     \
	EXPORT void symbol(void *p, size_t a, type unused)      \
	{                                                       \
		(void)a, (void)unused;                          \
		preload_free(p);                                        \
	}

NEW(_Znwm)                                                /* new */
NEW(_Znam)                                                /* new[] */
NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
NEW_NOTHROW(_ZnamRKSt9nothrow_t)
NEW_ALIGNED(_ZnwmSt11align_val_t)
NEW_ALIGNED(_ZnamSt11align_val_t)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdlPv)                                            /* delete */
DELETE(_ZdaPv)                                            /* delete[] */
DELETE_WITH(_ZdlPvm, size_t)                              /* sized */
DELETE_WITH(_ZdaPvm, size_t)
DELETE_WITH(_ZdlPvSt11align_val_t, size_t)
DELETE_WITH(_ZdaPvSt11align_val_t, size_t)
DELETE_WITH2(_ZdlPvmSt11align_val_t, size_t)
DELETE_WITH2(_ZdaPvmSt11align_val_t, size_t)
DELETE_WITH(_ZdlPvRKSt9nothrow_t, const void *)
DELETE_WITH(_ZdaPvRKSt9nothrow_t, const void *)
DELETE_WITH2(_ZdlPvSt11align_val_tRKSt9nothrow_t, const void *)
DELETE_WITH2(_ZdaPvSt11align_val_tRKSt9nothrow_t, const void *)
