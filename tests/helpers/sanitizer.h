/* sanitizer.h - what a test has to know of the sanitizer it is built with. */
#ifndef SHMB_TESTS_SANITIZER_H
#define SHMB_TESTS_SANITIZER_H

#include <stdio.h>

#if defined(__has_feature) /* clang */
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#if __has_feature(address_sanitizer) && !defined(__SANITIZE_ADDRESS__)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
enum { UNDER_TSAN = 1 };
#else
enum { UNDER_TSAN = 0 };
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW = 4 }; /* how much less to do under a sanitizer */
#else
enum { SLOW = 1 };
#endif

/* Ends a test here that ThreadSanitizer cannot run; scripts/run-tests.sh counts it as skipped. */
#define NOT_UNDER_TSAN(test, reason)                              \
	do {                                                      \
		if (UNDER_TSAN) {                                 \
			printf("skip: %s: %s\n", test, reason);   \
			return;                                   \
		}                                                 \
	} while (0)

/* Each mapping has a shadow, which outlives it: /proc/self/maps tells nothing of us then. */
enum { MAPS_TELL = !UNDER_TSAN };

#endif
