/*
 * progress.h - what a verb is about, on a terminal, while that takes long.
 * Nothing is written where standard error is no terminal, nor within the first
 * half second. See progress.c.
 */
#ifndef SHMBIND_PROGRESS_H
#define SHMBIND_PROGRESS_H

#include "cli.h"

/* One at a time. `what` and `name` live until progress_end(), which clears the line. */
void progress_begin(const char *what, const char *name);
void progress_end(void);

/* Clears the line, for what is to be written there; it comes back by itself. */
void progress_clear(void);

/* The work is about another of `total` things now; 0: the number is not known. May be called at any time. */
void progress_at(unsigned done, unsigned total, const char *name);

#endif
