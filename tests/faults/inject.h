/*
 * inject.h - makes a chosen call of the library to libc or the kernel fail.
 *
 * The program is linked with --wrap for each of them (Makefile: FAULT_WRAPS),
 * so it is the library's own objects that run, every path to the kernel passes
 * by here, and the product carries nothing for it. jemalloc's calls are told
 * apart by a copy of its archive in which they have other names.
 *
 * What is to fail is "the n-th call of that kind", once or from then on. The
 * plan lies in memory that forked processes share, so that a call of a child
 * counts and fails as one of its parent's.
 */
#ifndef FAULTS_INJECT_H
#define FAULTS_INJECT_H

#include <stdbool.h>
#include <stdatomic.h>
#include <stddef.h>

/* Besides an errno: what a read or a write may do without failing. */
enum { PART = 4096, /* half of what was asked for */ END /* nothing at all: the file ends here */ };

/* kind, what the table calls it, how it may fail */
#define KINDS(X)                                                                                                       \
	X(OPEN_NAME, "open, a region by its name", EACCES, EINTR, EISDIR, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM, ENXIO) \
	X(OPEN_TMPFILE, "open, O_TMPFILE", EACCES, EINTR, EISDIR, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EOPNOTSUPP,  \
	  EROFS)                                                                                                       \
	X(OPEN_OTHER, "open, a file by another name", EACCES, EEXIST, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC,   \
	  EROFS)                                                                                                       \
	X(OPEN_SELF, "open, a descriptor anew by way of /proc", EACCES, EINTR, EMFILE, ENFILE, ENOENT, ENOMEM)         \
	X(OPEN_DIR, "open, the shm directory", EACCES, EMFILE, ENFILE, ENOENT, ENOMEM)                                 \
	X(OPEN_PROC, "open, /proc/self/comm", EACCES, EMFILE, ENOENT)                                                  \
	X(OPEN_DEVICE, "open, /dev/userfaultfd", EACCES, EMFILE, ENOENT, EPERM)                                        \
	X(CLOSE, "close", EINTR, EIO)                                                                                  \
	X(CLOSE_RANGE, "close_range", EMFILE, ENOSYS)                                                                  \
	X(DUPFD, "fcntl, F_DUPFD_CLOEXEC", EINVAL, EMFILE)                                                             \
	X(SETLK, "fcntl, F_OFD_SETLK", EACCES, EAGAIN, EINTR, EINVAL, ENOLCK)                                          \
	X(SETLKW, "fcntl, F_OFD_SETLKW", EINTR, EINVAL, ENOLCK)                                                        \
	X(GETLK, "fcntl, F_OFD_GETLK", EINVAL, EPERM)                                                                  \
	X(FSTAT, "fstat", EACCES, ENOMEM, EOVERFLOW)                                                                   \
	X(LSTAT, "lstat", EACCES, ENOENT, ENOMEM)                                                                      \
	X(FSTATAT, "fstatat", EACCES, ENOENT, ENOMEM)                                                                  \
	X(FCHMOD, "fchmod", EPERM, EROFS)                                                                              \
	X(FTRUNCATE, "ftruncate", EFBIG, EINTR, EINVAL, EPERM)                                                         \
	X(GETRLIMIT, "getrlimit", EPERM)                                                                               \
	X(FALLOCATE, "fallocate", EFBIG, EINTR, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM)                                     \
	X(LINKAT, "linkat", EACCES, EEXIST, ENOENT, ENOMEM, ENOSPC, EPERM, EROFS)                                      \
	X(RENAMEAT2, "renameat2, RENAME_NOREPLACE", EACCES, EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC, EROFS)             \
	X(UNLINK, "unlink", EACCES, ENOENT, ENOMEM, EPERM, EROFS)                                                      \
	X(UNLINKAT, "unlinkat", EACCES, ENOENT, ENOMEM, EPERM, EROFS)                                                  \
	X(SCANDIR, "scandir", EACCES, EMFILE, ENOENT, ENOMEM)                                                          \
	X(PWRITE, "pwrite", EFBIG, EINTR, EIO, ENOSPC, PART)                                                           \
	X(PREAD, "pread", EINTR, EIO, ENOMEM, EPERM, PART, END)                                                        \
	X(LSEEK, "lseek, SEEK_DATA and SEEK_HOLE", EINVAL, ENXIO)                                                      \
	X(WRITE, "write, standard error", EAGAIN, EINTR, EIO, EPIPE, PART, END)                                        \
	X(READ, "read, /proc/self/comm", EINTR, EIO)                                                                   \
	X(MMAP_FILE, "mmap, a region", EACCES, EAGAIN, EEXIST, ENFILE, ENOMEM, EPERM)                                  \
	X(MMAP_LEASE, "mmap, the page of a lease", EACCES, EAGAIN, ENFILE, ENOMEM, EPERM)                              \
	X(MMAP_PRIVATE, "mmap, private memory", EAGAIN, ENOMEM)                                                        \
	X(MMAP_LOOK, "mmap, a look for free addresses", EAGAIN, EEXIST, ENOMEM)                                        \
	X(MREMAP_AGAIN, "mremap, a second mapping", EINVAL, ENOMEM, EPERM)                                             \
	X(MREMAP_MOVE, "mremap, a move", EAGAIN, EFAULT, ENOMEM, EPERM)                                                \
	X(MUNMAP, "munmap", ENOMEM)                                                                                    \
	X(MPROTECT, "mprotect", EACCES, ENOMEM)                                                                        \
	X(POPULATE, "madvise, MADV_POPULATE_WRITE", EAGAIN, EFAULT, EHWPOISON, EINTR, EINVAL, ENOMEM)                  \
	X(COLLAPSE, "madvise, MADV_COLLAPSE", EAGAIN, EBUSY, EINVAL, ENOMEM)                                           \
	X(PUNCH, "madvise, MADV_REMOVE", EACCES, EINTR, EINVAL, ENOSPC)                                                \
	X(DONTFORK, "madvise, MADV_DONTFORK", EINVAL, ENOMEM)                                                          \
	X(DISCARD, "madvise, MADV_DONTNEED", EINVAL, ENOMEM)                                                           \
	X(WIPEONFORK, "madvise, MADV_WIPEONFORK", EINVAL, ENOMEM)                                                      \
	X(COLD, "madvise, MADV_COLD", EINVAL, ENOMEM)                                                                  \
	X(HUGEPAGE, "madvise, MADV_HUGEPAGE", EINVAL, ENOMEM)                                                          \
	X(MLOCK2, "mlock2", EAGAIN, ENOMEM, EPERM)                                                                     \
	X(BARRIER, "membarrier", EINVAL, ENOSYS, EPERM)                                                                \
	X(FUTEX, "futex", EAGAIN, EINTR, ENOSYS, ETIMEDOUT)                                                            \
	X(WRITES_OPEN, "userfaultfd", EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM)                                           \
	X(WRITES_NEW, "ioctl, USERFAULTFD_IOC_NEW", EMFILE, ENOMEM)                                                    \
	X(WRITES_API, "ioctl, UFFDIO_API", EINVAL)                                                                     \
	X(WRITES_WATCH, "ioctl, UFFDIO_REGISTER", EBUSY, EINVAL, EPERM)                                                \
	X(WRITES_HOLD, "ioctl, UFFDIO_WRITEPROTECT", EAGAIN, EFAULT, EINVAL, ENOENT)                                   \
	X(WRITES_NEXT, "read, a userfaultfd", EAGAIN, EINTR, EIO)                                                      \
	X(SIGBLOCK, "rt_sigprocmask", EINVAL)                                                                          \
	X(SECCOMP, "prctl, PR_GET_SECCOMP", EINVAL)                                                                    \
	X(GETNAME, "prctl, PR_GET_NAME", EPERM)                                                                        \
	X(AFFINITY, "sched_getaffinity", EINVAL, EPERM)                                                                \
	X(RANDOM, "getrandom", EINTR, ENOSYS, EPERM)                                                                   \
	X(FORK, "_Fork", EAGAIN, ENOMEM, ENOSYS)                                                                       \
	X(WAITPID, "waitpid", ECHILD, EINTR)                                                                           \
	X(SETSID, "setsid", EPERM)                                                                                     \
	X(SIGMASK, "sigprocmask", EINVAL)                                                                              \
	X(CHDIR, "chdir", EACCES)                                                                                      \
	X(HEAP, "malloc, calloc", ENOMEM)                                                                              \
	X(ATFORK, "pthread_atfork", ENOMEM)                                                                            \
	X(KEY, "pthread_key_create", EAGAIN)                                                                           \
	X(QUICK, "at_quick_exit", ENOMEM)                                                                              \
	X(SETSPECIFIC, "pthread_setspecific, a thread's first", ENOMEM)                                                \
	X(JE_MMAP, "mmap, by jemalloc", ENOMEM)                                                                        \
	X(JE_MUNMAP, "munmap, by jemalloc", ENOMEM)                                                                    \
	X(JE_MADVISE, "madvise, by jemalloc", EINVAL, ENOMEM)                                                          \
	X(JE_SYSCALL, "open, read and close by jemalloc", EACCES)

#define KIND_ENUM(kind, ...) kind,
enum kind { KINDS(KIND_ENUM) KIND_COUNT };
enum { ERRORS_MAX = 12 }; /* one more than there are */

extern const char *const kind_names[KIND_COUNT];
extern const int kind_errors[KIND_COUNT][ERRORS_MAX]; /* 0 ends them */

struct plan {
	atomic_bool armed;               /* calls count */
	atomic_uint calls[KIND_COUNT];   /* made while armed */
	enum kind kind;                  /* what fails */
	unsigned nth;                    /* from 0 */
	int err;                         /* 0: nothing */
	bool lasting;                    /* not only that one, all of the kind after it, too */
	atomic_uint fired;
};
extern struct plan *plan;

extern bool no_unnamed; /* files: O_TMPFILE is EOPNOTSUPP, always, as where a file system has none */

void plan_setup(void); /* once, before any fork */
void plan_reset(enum kind kind, unsigned nth, int err, bool lasting);
static inline void plan_arm(bool on) { atomic_store(&plan->armed, on); }

#endif
