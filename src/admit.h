/* admit.h - may this process write to a region that others made? See admit.c. */
#ifndef SHMB_ADMIT_H
#define SHMB_ADMIT_H

#include "arena.h"

/* For an arena that is mapped and not yet joined. SHMB_ECORRUPT where `check` would find its header or slots wrong. */
int admit(const struct shmb_arena *a);

#endif
