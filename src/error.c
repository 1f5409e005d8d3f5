/*
 * error.c - result codes for people, and the one way this library dies.
 *
 * Fatal paths use write(2) only: the heap may be what is broken.
 */
#include "error.h"

#include "shmbind.h"
#include "sys.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const messages[] = {
	[-SHMB_EFORMAT] = "not an arena region, or of another version or layout",
	[-SHMB_ECORRUPT] = "the region contradicts itself",
	[-SHMB_EOWNED] = "another live process owns the region",
	[-SHMB_ENOTOWNER] = "only the region's owner may do that",
	[-SHMB_EFOREIGN] = "the region belongs to another user",
	[-SHMB_EADDRESS] = "the region's address is taken in this process",
	[-SHMB_ESLOTS] = "every slot of the region is taken",
	[-SHMB_ETYPE] = "the box is of another type, size or alignment",
	[-SHMB_ETOOSMALL] = "the region is smaller than asked for",
	[-SHMB_EGONE] = "the name was removed, or names another region now",
	[-SHMB_ENORULES] = "no program with rules for its allocations has put any there",
};

const char *shmb_strerror(int err)
{
	size_t n = sizeof messages / sizeof *messages;
	if (err == 0)
		return "success";
	if (err < 0) {
		size_t i = (size_t)-(long)err;
		return i < n && messages[i] ? messages[i] : "unknown shmbind error";
	}
	const char *text = strerrordesc_np(err);
	return text ? text : "unknown error number";
}

#define STR_(x) #x
#define STR(x) STR_(x)

const char *shmb_version(void)
{
	return STR(SHMB_VERSION_MAJOR) "." STR(SHMB_VERSION_MINOR) "." STR(SHMB_VERSION_PATCH);
}

struct line {
	char text[512];
	size_t len;
};

static void line_add(struct line *l, const char *s)
{
	while (s && *s && l->len < sizeof l->text - 1)
		l->text[l->len++] = *s++;
}

static void line_add_number(struct line *l, uintptr_t v, unsigned base)
{
	char digits[2 * sizeof v + 5];
	char *d = digits + sizeof digits;
	*--d = 0;
	do
		*--d = "0123456789abcdef"[v % base];
	while (v /= base);
	line_add(l, d);
}

static _Noreturn void line_die(struct line *l)
{
	l->text[l->len++] = '\n';
	(void)sys_write(STDERR_FILENO, l->text, l->len); /* nothing more can be done */
	abort();
}

static void line_begin(struct line *l, const char *what, const void *ptr)
{
	line_add(l, "shmbind: ");
	line_add(l, what);
	line_add(l, "(0x");
	line_add_number(l, (uintptr_t)ptr, 16);
	line_add(l, "): ");
}

static _Noreturn void line_end(struct line *l, const char *why, const char *region)
{
	line_add(l, why);
	if (region) {
		line_add(l, " in ");
		line_add(l, region);
	}
	line_die(l);
}

_Noreturn void fatal_pointer(const char *what, const void *ptr, const char *why, const char *region)
{
	struct line l = {.len = 0};
	line_begin(&l, what, ptr);
	line_end(&l, why, region);
}

_Noreturn void fatal_block(const char *what, const void *ptr, uint64_t size, const char *why, const char *region)
{
	struct line l = {.len = 0};
	line_begin(&l, what, ptr);
	line_add(&l, "a block of ");
	line_add_number(&l, size, 10);
	line_add(&l, " bytes, ");
	line_end(&l, why, region);
}

_Noreturn void fatal_assert(const char *file, int line, const char *expr)
{
	struct line l = {.len = 0};
	line_add(&l, "shmbind: ");
	line_add(&l, file);
	line_add(&l, ":");
	line_add_number(&l, (uintptr_t)line, 10);
	line_add(&l, ": broken invariant: ");
	line_add(&l, expr);
	line_die(&l);
}
