/* huge.h - memory in huge pages where they are worth it here and now: see huge.c. Any thread, any time. */
#ifndef SHMB_HUGE_H
#define SHMB_HUGE_H

#include "sys.h"

/*
 * To be asked before each attempt, since it counts down to the next one after
 * some that did not pay. huge_anyway: yes, whatever they cost; tests want that.
 */
extern bool huge_anyway;
bool huge_worth(void);

/*
 * Populates whole huge pages, at multiples of HUGE_PAGE, of a shared or a
 * private mapping. False: they are not all there, maybe some are.
 */
bool huge_populate(void *addr, uint64_t len, bool shared);

/* Populates pages one by one, and remembers what they cost. 0 or an errno, as sys_populate(). */
int huge_populate_pages(void *addr, uint64_t len);

#endif
