/*
 * probe.h - static probes (USDT) of the provider "shmbind": a nop in the code
 * and a note in the file that says where it is and where its arguments are,
 * for gdb and other tools. shmbind(7) lists them.
 */
#ifndef SHMB_PROBE_H
#define SHMB_PROBE_H

#include <sys/sdt.h>

#define PROBE1(name, a) DTRACE_PROBE1(shmbind, name, a)
#define PROBE2(name, a, b) DTRACE_PROBE2(shmbind, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(shmbind, name, a, b, c)
#define PROBE4(name, a, b, c, d) DTRACE_PROBE4(shmbind, name, a, b, c, d)

#endif
