/*
 * replay.c - runs a fuzz target over the files named, once each: what
 * libFuzzer does with a corpus, for compilers that have none.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 16 };

static int replay(const char *path)
{
	static uint8_t bytes[MOST];
	FILE *f = fopen(path, "rb");
	if (!f) {
		perror(path);
		return 1;
	}
	size_t n = fread(bytes, 1, sizeof bytes, f);
	fclose(f);
	uint8_t *exact = malloc(n ? n : 1); /* so that reading beyond it is seen */
	if (!exact)
		return 1;
	memcpy(exact, bytes, n);
	fprintf(stderr, "%s\n", path);
	(void)LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	(void)LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]))
			return 1;
	printf("%d inputs\n", argc - 1);
	return 0;
}
