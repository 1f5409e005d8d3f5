/* pin.h - a processor of its own for a process that is timed, where there are two. */
#ifndef BENCH_PIN_H
#define BENCH_PIN_H

#include <sched.h>
#include <unistd.h>

static inline void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
		(void)sched_setaffinity(0, sizeof set, &set);
}

#endif
