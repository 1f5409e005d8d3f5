/*
 * batch.c - many small blocks from jemalloc at once, and back.
 *
 * The one file that is compiled in jemalloc's own tree (scripts/jemalloc.sh):
 * magazines are filled and emptied whole, and what jemalloc exports takes a
 * block at a time, or wants a thread's cache, in which blocks wait a second
 * time. Here a batch takes a bin's lock once, and each block a lookup and a bit.
 *
 * What comes back is named by the region, which strangers write to. jemalloc's
 * own map says what it is: what is no block of its, or none that is out, is
 * left alone.
 */
#include "jemalloc/internal/jemalloc_preamble.h"
#include "jemalloc/internal/jemalloc_internal_includes.h"

enum { MOST = 64 };

/*
 * Up to `n` blocks of `size`, a size class's, from the arena of that number,
 * those of a slab in the order of addresses. Fewer: no memory, or no size of a bin.
 */
size_t batch_fill(unsigned number, size_t size, void **to, size_t n)
{
	tsdn_t *tsdn = tsd_tsdn(tsd_fetch());
	arena_t *arena = arena_get(tsdn, number, false);
	if (arena == NULL || size > SC_SMALL_MAXCLASS || n == 0 || n > MOST)
		return 0;
	cache_bin_info_t info;
	cache_bin_t bin; /* a cache for as long as this takes, over the caller's array */
	size_t at = 0;
	cache_bin_info_init(&info, (cache_bin_sz_t)n);
	cache_bin_init(&bin, &info, to, &at);
	bin.tstats.nrequests = n;
	arena_cache_bin_fill_small(tsdn, arena, &bin, &info, sz_size2index(size), (unsigned)n);
	size_t got = cache_bin_ncached_get_local(&bin, &info);
	if (got < n)
		memmove(to, bin.stack_head, got * sizeof *to);
	return got;
}

/* What jemalloc knows the block's page as; NULL: nothing of it. */
static edata_t *lookup(tsdn_t *tsdn, void *p, bool *slab)
{
	emap_full_alloc_ctx_t known;
	if (emap_full_alloc_ctx_try_lookup(tsdn, &arena_emap_global, p, &known) || known.edata == NULL ||
	    edata_state_get(known.edata) != extent_state_active)
		return NULL;
	*slab = known.slab;
	return known.edata;
}

/* Is it one of the slab's blocks, and out? Under the bin's lock. */
static bool is_out(edata_t *slab, szind_t class, arena_dalloc_bin_locked_info_t *how, void *p)
{
	const bin_info_t *b = &bin_infos[class];
	size_t off = (uintptr_t)p - (uintptr_t)edata_addr_get(slab);
	size_t i = div_compute(&how->div_info, off);
	return i < b->nregs && i * b->reg_size == off && bitmap_get(edata_slab_data_get(slab)->bitmap, &b->bitmap_info, i);
}

/*
 * Gives those of one bin, the first's, back, and moves the others to the
 * front. How many these are. Slabs that are empty then are added to `empty`.
 */
static size_t flush_bin(tsdn_t *tsdn, void **blocks, edata_t **slabs, size_t n, edata_t **empty, size_t *empties)
{
	unsigned number = edata_arena_ind_get(slabs[0]), shard = edata_binshard_get(slabs[0]);
	szind_t class = edata_szind_get(slabs[0]);
	arena_t *arena = arena_get(tsdn, number, false);
	bin_t *bin = arena_get_bin(arena, class, shard);
	arena_dalloc_bin_locked_info_t how;
	size_t others = 0;
	arena_dalloc_bin_locked_begin(&how, class);
	malloc_mutex_lock(tsdn, &bin->lock);
	for (size_t i = 0; i < n; i++) {
		edata_t *slab = slabs[i];
		void *p = blocks[i];
		if (edata_arena_ind_get(slab) != number || edata_binshard_get(slab) != shard || edata_szind_get(slab) != class) {
			blocks[others] = p;
			slabs[others++] = slab;
		} else if (is_out(slab, class, &how, p) &&
		           arena_dalloc_bin_locked_step(tsdn, arena, bin, &how, class, slab, p)) {
			empty[(*empties)++] = slab;
		}
	}
	arena_dalloc_bin_locked_finish(tsdn, arena, bin, &how);
	bin->stats.nflushes++;
	malloc_mutex_unlock(tsdn, &bin->lock);
	arena_decay_ticks(tsdn, arena, (unsigned)(n - others));
	return others;
}

/* Takes `n` blocks back, of any size; the array is used up for it. */
void batch_flush(void **blocks, size_t n)
{
	tsdn_t *tsdn = tsd_tsdn(tsd_fetch());
	edata_t *slabs[MOST], *empty[MOST];
	size_t small = 0, empties = 0;
	for (size_t i = 0; i < n && i < MOST; i++) {
		bool slab = false;
		edata_t *e = lookup(tsdn, blocks[i], &slab);
		if (e != NULL && slab) {
			util_prefetch_write_range(e, sizeof *e);
			slabs[small] = e;
			blocks[small++] = blocks[i];
		} else if (e != NULL && edata_addr_get(e) == blocks[i]) {
			large_dalloc(tsdn, e);
		}
	}
	while (small > 0)
		small = flush_bin(tsdn, blocks, slabs, small, empty, &empties);
	for (size_t i = 0; i < empties; i++)
		arena_slab_dalloc(tsdn, arena_get_from_edata(empty[i]), empty[i]);
}
