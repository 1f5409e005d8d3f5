/* state.h - what a process holds: descriptors, mappings, names, memory. See state.c. */
#ifndef FAULTS_STATE_H
#define FAULTS_STATE_H

#include <stdbool.h>

struct state {
	unsigned fds;
	unsigned maps;        /* of shm objects, or in the arenas' window */
	unsigned names;       /* in the shm directory, that are this test's */
	long anon;            /* bytes of other mappings but stacks and the heap */
	long heap;            /* bytes that malloc has given out */
	unsigned children;    /* that nobody has waited for */
};

struct state state_now(void);
bool reaper_settled(void); /* it waits for its lock, or has ended */
#endif
