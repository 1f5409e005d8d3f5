/*
 * sys.h - every system call of the library, wrapped once.
 *
 * All return 0 or a positive errno and leave errno itself alone. None is a
 * cancellation point where malloc may come through: madvise and raw syscalls
 * are not; open and fcntl are reached only from open, close and recovery.
 */
#ifndef SHMB_SYS_H
#define SHMB_SYS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

int sys_open(const char *path, int flags, mode_t mode, int *fd);
/* A new description of the same file. path, or NULL: where it can be found, by a shorter way than /proc. */
int sys_reopen(int fd, const char *path, int flags, int *out);
int sys_close(int fd);
int sys_dup(int fd, int floor, int *out); /* at a number from `floor` up */
int sys_close_but(int fd);                /* every descriptor but this one */
int sys_fstat(int fd, struct stat *st);
int sys_stat(const char *path, struct stat *st);
int sys_stat_in(int dir, const char *name, struct stat *st);
/* What is mapped of the file is mapped in units of this: a page, or a larger one of its file system (hugetlbfs). */
uint64_t sys_granule(const struct stat *st);
int sys_fchmod(int fd, mode_t mode);
int sys_truncate(int fd, uint64_t size); /* EFBIG instead of SIGXFSZ */
int sys_fallocate(int fd, uint64_t size);
int sys_fallocate_at(int fd, uint64_t off, uint64_t len);
int sys_link(int fd, const char *path); /* names an O_TMPFILE */
int sys_rename_new(const char *from, const char *to); /* EEXIST; EINVAL: the file system cannot tell */
int sys_unlink(const char *path);
int sys_unlink_in(int dir, const char *name);
int sys_pwrite(int fd, const void *buf, size_t len, uint64_t off); /* all of it */
/* The same where a file can only be mapped (hugetlbfs): its memory is there first. */
int sys_put(int fd, const void *buf, size_t len, uint64_t off);
int sys_write(int fd, const void *buf, size_t len);                /* all of it */
int sys_pread(int fd, void *buf, size_t len, uint64_t off);        /* all of it; EIO if short */
int sys_seek_data(int fd, uint64_t off, uint64_t *data);           /* ENXIO: none beyond */
int sys_seek_hole(int fd, uint64_t off, uint64_t *hole);

/* Open-file-description locks of one byte. EAGAIN: held by another description. */
int sys_lock(int fd, short type, uint64_t byte, bool wait);
int sys_lock_probe(int fd, uint64_t first, uint64_t len, bool *held);

int sys_map(void *want, uint64_t len, int prot, int flags, int fd, uint64_t off, void **addr);
/* The same, but no page is made before it is touched, even where all of the process's memory is locked. */
int sys_map_lazily(void *want, uint64_t len, int prot, int flags, int fd, uint64_t off, void **addr);
int sys_map_again(void *addr, uint64_t len, void **out); /* of a shared mapping a second one, to read and write */
/* To `to`, in place of what is mapped there. to == from: only whether it might be. */
int sys_move(void *from, uint64_t len, void *to);
int sys_unmap(void *addr, uint64_t len); /* or puts nothing in its place, if it has to be */
int sys_protect(void *addr, uint64_t len, int prot);
int sys_dontfork(void *addr, uint64_t len);
void sys_dofork(void *addr, uint64_t len); /* undoes it */
int sys_wipeonfork(void *addr, uint64_t len);
void sys_hugepages(void *addr, uint64_t len); /* a wish */
/*
 * Every thread that runs anywhere passes a full memory barrier: takes 10 ms and
 * more. quick: those of processes that registered do, in microseconds.
 * Registering is as quick as long as the process has one thread.
 */
int sys_barrier(bool quick);
int sys_barrier_register(void);
int sys_populate(void *addr, uint64_t len); /* ENOMEM: the file system is full */
/*
 * The same as huge pages, `addr` and `len` multiples of HUGE_PAGE. Whatever it
 * returns, some of it may be there: EINVAL and more stand for no such pages.
 */
enum { HUGE_PAGE = 2 << 20 };
int sys_populate_huge(void *addr, uint64_t len);
void sys_discard(void *addr, uint64_t len); /* private memory: the pages go, the mapping stays */
int sys_punch(void *addr, uint64_t len);    /* gives the pages back; reads zero afterwards */

/*
 * Writes of this process to shared memory, held until they are let go on:
 * userfaultfd(2), Linux 5.19. EPERM and more: not to be had. A write by the
 * kernel for a thread is held, too, so it has to be allowed to serve those.
 */
int sys_writes_open(int *fd);
int sys_writes_watch(int fd, void *addr, uint64_t len);
int sys_writes_hold(int fd, void *addr, uint64_t len, bool hold);
int sys_writes_next(int fd, uintptr_t *addr); /* of one that is held; EAGAIN: there is none */

int sys_signals_block(uint64_t *before); /* all, libc's own too */
void sys_signals_restore(uint64_t before);

int sys_futex_wait(_Atomic uint32_t *word, uint32_t seen, uint32_t ms);
void sys_futex_wake(_Atomic uint32_t *word);

static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

int sys_random(void *to, size_t len); /* at most 256 bytes */
pid_t sys_pid(void);
pid_t sys_tid(void);
unsigned sys_processors(unsigned otherwise); /* that this process may use */
void sys_yield(void);

/* A child that no fork handler hears of: it makes system calls, no others. */
int sys_fork(pid_t *child);
int sys_wait(pid_t child, int *status);
void sys_session(void);                   /* a session of its own */
void sys_become_server(const char *name); /* deaf to signals, in the root directory, under that name */

void sys_copy_text(char *out, size_t len, const char *text); /* cut to what fits; snprintf reads much code */
unsigned sys_threads(void); /* of this process; 0: not known */
void sys_process_name(char *out, size_t len); /* for people only */
uint64_t sys_ticks_ns(void);  /* since some time */
uint64_t sys_now_ns(void);    /* since the epoch */
uint64_t sys_coarse_ms(void); /* since boot, a few milliseconds late, and cheap */

#endif
