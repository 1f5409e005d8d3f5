/* heap.h - shmb_malloc and its family; the public header declares them. See heap.c. */
#ifndef SHMB_HEAP_H
#define SHMB_HEAP_H

void heap_setup(void); /* once, before the first arena is opened */

#endif
