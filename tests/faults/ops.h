/* ops.h - the operations whose calls are made to fail. See ops.c. */
#ifndef FAULTS_OPS_H
#define FAULTS_OPS_H

#include <stdbool.h>
#include <stddef.h>

enum { NAME_LEN = 64 };
extern char region[NAME_LEN]; /* the name that the operations use */

/*
 * setup and end run without faults, run with them: 0, an errno, or a code of
 * the library. again: what has to work after a run that failed, else run.
 */
struct op {
	const char *name;
	void (*setup)(void);
	int (*run)(void);
	int (*again)(void);
	void (*end)(void);
	bool ends;   /* run gives something back, so that afterwards there is less than before it, not as much */
	bool silent; /* run has no result: whoever it fails for is told nothing */
};
size_t ops_count(void);
const struct op *op_at(size_t i);
extern const struct op ops_more[]; /* those of ops_more.c */
extern const size_t ops_more_count;

/* Ends the process, saying what of the test itself did not work. */
_Noreturn void broken(const char *what, int err);

#endif
