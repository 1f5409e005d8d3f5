/*
 * region_peer.c - the C side of sharing a raw region with another language.
 *
 *   region_peer create NAME SIZE TEXT   creates it, writes TEXT, says "ready",
 *                                       waits for a line, says what is there
 *                                       now, closes it
 *   region_peer attach NAME TEXT        says size and text, writes TEXT
 */
#include "shmbind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int report(const char *what, int err)
{
	fprintf(stderr, "region_peer: %s: %s\n", what, shmb_strerror(err));
	return 1;
}

static int create(const char *name, size_t size, const char *text)
{
	shmb_options opt = {.size = size, .flags = SHMB_CREATE_ONLY};
	shmb_region *r;
	char line[10];
	int err = shmb_region_open(name, &opt, &r);
	if (err)
		return report(name, err);
	strcpy(shmb_region_addr(r), text);
	puts("ready");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return report("no line", 0);
	puts(shmb_region_addr(r));
	err = shmb_region_close(r);
	return err ? report(name, err) : 0;
}

static int attach(const char *name, const char *text)
{
	shmb_region *r;
	int err = shmb_region_open(name, NULL, &r);
	if (err)
		return report(name, err);
	printf("%zu %s\n", shmb_region_size(r), (char *)shmb_region_addr(r));
	strcpy(shmb_region_addr(r), text);
	err = shmb_region_close(r);
	return err ? report(name, err) : 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "create"))
		return create(argv[2], strtoul(argv[3], NULL, 10), argv[4]);
	if (argc == 4 && !strcmp(argv[1], "attach"))
		return attach(argv[2], argv[3]);
	return 2;
}
