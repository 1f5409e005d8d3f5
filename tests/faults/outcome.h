/* outcome.h - what came of each failure, as a table. See outcome.c. */
#ifndef FAULTS_OUTCOME_H
#define FAULTS_OUTCOME_H

#include "inject.h"

const char *error_name(int err); /* "ENOENT", "SHMB_EGONE"; static storage */
bool error_known(int err);

/* One way in which an operation ended. Several calls of a kind may give several. */
void outcome_add(const char *op, enum kind kind, int err, bool lasting, const char *text);

void outcome_setup(void); /* once, before any fork */
void outcome_print(void); /* the table, sorted */
void outcome_list(void);  /* the same, a line for each kind, errno and operation */

#endif
