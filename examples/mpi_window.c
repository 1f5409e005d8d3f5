/*
 * mpi_window.c - a region behind an MPI window: rank 0 has a heap in shared
 * memory and exposes its region by MPI_Win_create; the others, on whatever
 * host they run, read boxes in it by ref with MPI_Get. On rank 0's own host
 * any program reads the same boxes in place, the tool among them.
 *
 *   mpicc mpi_window.c $(pkg-config --cflags --libs shmbind) -o mpi_window
 *   mpirun -n 4 ./mpi_window [NAME [LOOK]]
 *
 * A ref is an offset in the region, so it is the displacement in the window.
 * LOOK is a command that rank 0 runs while the region is there.
 */
#include <mpi.h>
#include <shmbind.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS = 1000 };

struct table {
	int64_t rank, seen;
	double cell[CELLS];
};
static const shmb_type table_type = SHMB_TYPE(struct table, NULL);

static void check(int err, const char *what)
{
	if (err) {
		fprintf(stderr, "%s: %s\n", what, shmb_strerror(err));
		MPI_Abort(MPI_COMM_WORLD, 1);
	}
}

static int fill(void *obj, void *arg)
{
	struct table *t = obj;
	t->rank = *(int *)arg;
	for (int i = 0; i < CELLS; i++)
		t->cell[i] = t->rank * CELLS + i;
	return 0;
}

/* Rank 0: a table for each rank, and where they lie, as refs. */
static shmb_arena *make_tables(const char *name, shmb_ref *refs, int ranks)
{
	shmb_options opt = {.size = 64 << 20, .flags = SHMB_CREATE_ONLY};
	shmb_arena *heap;
	check(shmb_arena_open(name, &opt, &heap), name);
	for (int i = 0; i < ranks; i++) {
		char table[32];
		shmb_box *box;
		snprintf(table, sizeof table, "table %d", i);
		check(shmb_box_find_or_new(heap, table, &table_type, fill, &i, &box, NULL), table);
		refs[i] = shmb_ref_of(heap, shmb_box_get(box));
	}
	return heap;
}

/* Everybody: this rank's table, out of rank 0's region, whatever host that is on. */
static void read_table(MPI_Win window, shmb_ref ref, struct table *t)
{
	MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window);
	MPI_Get(t, sizeof *t, MPI_BYTE, 0, (MPI_Aint)ref, sizeof *t, MPI_BYTE, window);
	MPI_Win_unlock(0, window);
}

/* Tells the table's readers apart: atomic among ranks, not beside a program that adds in place. */
static void count_reader(MPI_Win window, shmb_ref ref)
{
	const int64_t one = 1;
	MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, window);
	MPI_Accumulate(&one, 1, MPI_INT64_T, 0, (MPI_Aint)(ref + offsetof(struct table, seen)), 1, MPI_INT64_T, MPI_SUM, window);
	MPI_Win_unlock(0, window);
}

static double sum(const struct table *t)
{
	double s = 0;
	for (int i = 0; i < CELLS; i++)
		s += t->cell[i];
	return s;
}

/* One line a rank, in order. */
static void report(int rank, int ranks, const struct table *t)
{
	double got[2] = {(double)t->rank, sum(t)};
	double *all = calloc((size_t)ranks, sizeof got);
	MPI_Gather(got, 2, MPI_DOUBLE, all, 2, MPI_DOUBLE, 0, MPI_COMM_WORLD);
	for (int i = 0; rank == 0 && i < ranks; i++)
		printf("rank %d read the table of rank %.0f: sum %.0f\n", i, all[2 * i], all[2 * i + 1]);
	free(all);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "/mpi_window";
	int rank, ranks;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);

	shmb_ref *refs = calloc((size_t)ranks, sizeof *refs);
	shmb_arena *heap = rank == 0 ? make_tables(name, refs, ranks) : NULL;
	MPI_Bcast(refs, ranks, MPI_UINT64_T, 0, MPI_COMM_WORLD);

	/* the window is the region from its first byte on, as refs count */
	shmb_region *region = heap ? shmb_arena_region(heap) : NULL;
	MPI_Win window;
	MPI_Win_create(heap ? shmb_region_addr(region) : NULL, heap ? (MPI_Aint)shmb_region_size(region) : 0, 1, MPI_INFO_NULL,
	               MPI_COMM_WORLD, &window);
	struct table mine;
	read_table(window, refs[rank], &mine);
	count_reader(window, refs[(rank + 1) % ranks]);
	report(rank, ranks, &mine);
	MPI_Barrier(MPI_COMM_WORLD);

	if (rank == 0) {
		for (int i = 0; i < ranks; i++)
			if (((struct table *)shmb_deref(heap, refs[i], sizeof mine))->seen != 1)
				check(SHMB_ECORRUPT, "what the ranks added");
		fflush(stdout);
		if (argc > 2 && system(argv[2]))
			check(SHMB_ECORRUPT, argv[2]);
	}
	MPI_Win_free(&window);
	check(heap ? shmb_arena_close(heap) : 0, name);
	free(refs);
	MPI_Finalize();
	return 0;
}
