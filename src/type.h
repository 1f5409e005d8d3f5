/* type.h - which types this process knows, by id. See type.c. */
#ifndef SHMB_TYPE_REGISTRY_H
#define SHMB_TYPE_REGISTRY_H

#include "shmbind.h"

/* EINVAL: no name, no size, or an alignment that is none or over `most`. */
int type_check(const shmb_type *t, size_t most);

/* A hash of name, size and alignment; never 0. */
uint64_t type_id(const shmb_type *t);

/* The registered type of that id, or NULL. */
const shmb_type *type_known(uint64_t id);

#endif
