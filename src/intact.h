/* intact.h - do the blocks of a hardened region end as they should, seen from outside? See intact.c. */
#ifndef SHMB_INTACT_H
#define SHMB_INTACT_H

#include "view.h"

/* Calls `bad` for each block of the region behind `fd` that was written to beyond its end, or while it was free. */
typedef void intact_bad(void *ctx, const struct view_block *b, const char *what);
int intact_look(const struct view *v, int fd, intact_bad *bad, void *ctx);

#endif
