/* out.h - text in pieces to whoever asked for it, without the heap. */
#ifndef SHMB_OUT_H
#define SHMB_OUT_H

#include "shmbind.h"

struct out {
	shmb_write_cb *write; /* NULL: stderr */
	void *opaque;
};

void out_print(const struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A string in JSON, quotes included; bytes that are no UTF-8 become U+FFFD. At most 255 bytes. */
void out_json_string(const struct out *o, const char *s);

/* "1.5 MiB": into a buffer that the caller gives and gets back. */
const char *out_bytes(char buf[24], uint64_t bytes);

#endif
