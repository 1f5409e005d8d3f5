/*
 * drop_in.c - a program whose malloc is the shim, linked instead of preloaded.
 *
 * Nothing here knows of regions: it reads lines, keeps a copy of each, and
 * says how much there is. Which of its blocks lie in a region is decided as
 * for a preloaded program, by the variables of shmbind-preload(7):
 *
 *   cc drop_in.c $(pkg-config --libs shmbind-malloc) -o drop_in
 *   seq 100000 | SHMBIND_PLACE=all SHMBIND_REGION=/lines SHMBIND_STATS=stderr ./drop_in
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
	struct line *next;
	char text[];
};

static struct line *line_new(const char *text, struct line *next)
{
	size_t len = strlen(text) + 1;
	struct line *l = malloc(sizeof *l + len);
	if (!l)
		return NULL;
	l->next = next;
	memcpy(l->text, text, len);
	return l;
}

int main(void)
{
	struct line *all = NULL;
	size_t lines = 0, bytes = 0, room = 0;
	char *text = NULL;
	ssize_t len;
	while ((len = getline(&text, &room, stdin)) >= 0) {
		struct line *l = line_new(text, all);
		if (!l)
			return 1;
		all = l;
		lines++;
		bytes += (size_t)len;
	}
	free(text);
	printf("%zu lines, %zu bytes\n", lines, bytes);
	while (all) {
		struct line *next = all->next;
		free(all);
		all = next;
	}
	return 0;
}
