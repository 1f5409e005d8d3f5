#!/bin/bash
# The shim is never the reason that a program fails: under every limit, without
# /dev/shm or descriptors, sandboxed, in odd places of its life, a program
# says the same, and ends the same, with the shim and without.
#
# What is tried elsewhere: a region that is full, with each SHMBIND_FULL, set-user-id
# programs, RLIMIT_FSIZE (preload_env.sh); vfork, posix_spawn (preload_fork.sh).
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helper=$PWD/$BUILD/tests/helpers/preload_limits
chmod 777 "$work"
place=all
keys=()

# under INTO SNIPPET COMMAND...: the command where the snippet's `exec "$@"` is; what it says and its status
under() {
	local status=0
	(cd "$work" && timeout -k 5 60 bash -c "$2" under "${@:3}" >"$1.out" 2>"$1.err" </dev/null; exit $?) 2>/dev/null || status=$?
	echo "status $status" >>"$1.out"
}
# row TITLE WHERE SNIPPET COMMAND...: WHERE the first block lies under the shim: region, heap, - (not looked at)
row() {
	local result=same where=- look=()
	[ "$2" = - ] || look=(LIMITS_WHERE="$work/where")
	rm -f "$work"/*.out "$work"/*.err "$work/where"
	under "$work/plain" "$3" "${@:4}"
	under "$work/shim" "$3" env SHMBIND_LOG=0 SHMBIND_PLACE=$place SHMBIND_REGION="$prefix%p" "${keys[@]}" \
		"${look[@]}" LD_PRELOAD="$shim" "${@:4}"
	[ ! -e "$work/where" ] || where=$(cat "$work/where")
	cmp -s "$work/plain.out" "$work/shim.out" || result="other: $(diff "$work/plain.out" "$work/shim.out" | head -4 | tr '\n' ' ')"
	cmp -s "$work/plain.err" "$work/shim.err" || result="$result; other messages: $(head -3 "$work/shim.err" | tr '\n' ' ')"
	[ "$2" = - ] || [ "$where" = "$2" ] || result="$result; the first block is in: $where"
	grep -q 'status \(42\|0\|7\)$' "$work/plain.out" || result="$result; fails without the shim: $(tail -2 "$work/plain.out" | tr '\n' ' ') $(head -1 "$work/plain.err")"
	nothing_left || result="$result; left: $(cd /dev/shm && echo shmb-test-$$-*)"
	rows=$((rows + 1))
	if [ "$result" = same ]; then
		echo "ok   $1"
	else
		echo "FAIL $1: $result"
		failures=$((failures + 1))
	fi
	rm -f /dev/shm/shmb-test-$$-*
}
as_is='exec "$@"'

row "no limit at all" region "$as_is" "$helper" work

# ---- limits ------------------------------------------------------------------------------

for v in 4000000 1000000 400000 100000; do
	row "$((v / 1000)) MB of address space" - "ulimit -v $v; $as_is" "$helper" work
done
row "4 GB of data, which a copy's private mappings count as" region "ulimit -d 4000000; $as_is" "$helper" work
row "200 MB of data" - "ulimit -d 200000; $as_is" "$helper" work
row "the program allows itself 500 MB of data" region "$as_is" "$helper" data 500
for v in 2000 1000 600; do
	row "the program allows itself $v MB of address space" region "$as_is" "$helper" address $v
done
for place in size=64K.. all; do
	row "a shell that does: ulimit -v, $place" - "$as_is" bash -c 'ulimit -v 1000000 && ulimit -v && ls / | head -1; (exit 4); echo $?; x=$(printf %0300000d 7); echo ${#x}; exit 7'
done
row "files of no size, its output is a pipe" - "(ulimit -f 0; exec \"\$@\") | cat; exit \${PIPESTATUS[0]}" "$helper" work
row "three descriptors" region "$as_is" "$helper" nofile
row "all descriptors in use" region "$as_is" "$helper" nomore
row "no locked memory" region "ulimit -l 0; $as_is" "$helper" work
row "a stack of 128 KiB" region "ulimit -s 128; $as_is" "$helper" work
cat >"$work/refuse.c" <<'EOF'
#include <dlfcn.h>
#include <errno.h>
int __register_atfork(void *prepare, void *parent, void *child, void *object)
{
	static int calls;
	int (*real)(void *, void *, void *, void *) = (int (*)(void *, void *, void *, void *))dlsym(RTLD_NEXT, __func__);
	return calls++ ? ENOMEM : real(prepare, parent, child, object); /* the first is jemalloc's, which would say so */
}
EOF
"$CC" -D_GNU_SOURCE -shared -fPIC "$work/refuse.c" -o "$work/refuse.so"
save=$shim shim="$shim $work/refuse.so" # the shim's own way to libc ends there
row "no memory for a fork handler" heap "$as_is" "$helper" work
shim=$save

# ---- descriptors ---------------------------------------------------------------------------

row "all descriptors from 3 up closed, their numbers a file's" region "$as_is" "$helper" reuse "$work/theirs"
row "no stdio" region "exec <&- >&- 2>&-; \"\$@\"; s=\$?; exec >>$work/to 2>&1; exit \$s" "$helper" stdio "$work/to"
for log in 0 2; do
	keys=(SHMBIND_LOG=$log)
	row "no stdio, SHMBIND_LOG=$log: what it wrote is all that is in its file" region \
		"(exec <&- >&- 2>&-; exec \"\$@\"); s=\$?; cat $work/to; exit \$s" "$helper" stdio "$work/to"
done
keys=()
# ---- /dev/shm --------------------------------------------------------------------------------

mounted() { # mounted COMMANDS: a snippet that runs the program in a mount namespace after them
	printf '%s' "exec unshare -m bash -c '$1 || exit 99; exec \"\$@\"' mounted \"\$@\""
}
if unshare -m true 2>/dev/null; then
	row "no /dev/shm" heap "$(mounted 'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3')" "$helper" work
	row "/dev/shm read-only" heap "$(mounted 'mount -t tmpfs -o ro tmpfs /dev/shm')" "$helper" work
	row "/dev/shm noexec" region "$(mounted 'mount -t tmpfs -o noexec,nosuid,nodev tmpfs /dev/shm')" "$helper" work
	row "/dev/shm is no directory" heap "$(mounted 'mount -t tmpfs tmpfs /dev && mknod -m 666 /dev/null c 1 3 && echo x >/dev/shm')" "$helper" work
	row "/dev/shm is a directory of a disk" - "$(mounted "mkdir -p $work/disk && mount --bind $work/disk /dev/shm")" "$helper" work
	row "no /proc" - "$(mounted 'mount -t tmpfs tmpfs /proc')" "$helper" work
	for size in 64k 1m 4m 8m 16m; do
		row "/dev/shm of $size" - "$(mounted "mount -t tmpfs -o size=$size tmpfs /dev/shm")" "$helper" work
		place=size=64K..
		row "/dev/shm of $size, 64 KiB and more placed" - "$(mounted "mount -t tmpfs -o size=$size tmpfs /dev/shm")" "$helper" work
		place=all
	done
	row "/dev/shm is full from the start" heap "$(mounted 'mount -t tmpfs -o size=1m tmpfs /dev/shm && (dd if=/dev/zero of=/dev/shm/x 2>/dev/null || true)')" "$helper" work
	row "/dev/shm becomes full" region "$(mounted 'mount -t tmpfs -o size=40m tmpfs /dev/shm')" "$helper" filled /dev/shm/filler
	row "/dev/shm has one inode" heap "$(mounted 'mount -t tmpfs -o nr_inodes=1 tmpfs /dev/shm')" "$helper" work
else
	echo "note: /dev/shm missing, read-only, full: not verified, no mount namespace is to be had here"
fi

# ---- other users -------------------------------------------------------------------------------

if [ "$(id -u)" = 0 ]; then
	nobody='exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"'
	cp "$helper" "$shim" "$work/" && chmod 755 "$work/preload_limits" "$work"/*.so
	save=$shim shim=$work/libshmbind-preload.so
	row "another user" region "$nobody" "$work/preload_limits" work
	for mode in 600 666 1600 1666; do
		: >/dev/shm/shmb-other-$$ && chmod $mode /dev/shm/shmb-other-$$
		keys=(SHMBIND_REGION=/shmb-other-$$)
		row "the name is root's, mode $mode" heap "$nobody" "$work/preload_limits" work
		rm -f /dev/shm/shmb-other-$$
	done
	: >/dev/shm/shmb-other-$$ && chown 65534 /dev/shm/shmb-other-$$ && chmod 1666 /dev/shm/shmb-other-$$
	row "the name is another user's, the program is root's" heap "$as_is" "$work/preload_limits" work
	verify "and it is there still" [ -e /dev/shm/shmb-other-$$ ]
	rm -f /dev/shm/shmb-other-$$
	keys=() shim=$save
	mkdir -p "$work/jail/bin"
	row "chroot" region "$as_is" "$helper" chroot /
	row "chroot to where there is nothing" region "$as_is" "$helper" chroot "$work/jail"
	# who has become another user may not unlink in /dev/shm
	out=$(timeout 60 "$tool" run --log 0 --region ${prefix}u --place all -- "$helper" user 2>&1) || out="$out status $?"
	verify "a program that gives up its privileges: shmbind run removes what it may not" \
		eval '[ "$out" = "$("$helper" user) status 42" ] && nothing_left'
else
	echo "note: other users, chroot: not verified, this needs root"
fi

# ---- threads, signals, the end ---------------------------------------------------------------------

row "threads with the least of stacks" region "$as_is" "$helper" stacks
# glibc's own malloc would wait for itself in a handler: without the shim it only counts
row "3000 signal handlers that allocate" region 'if [ "$1" = env ]; then set -- "$@" allocate; fi; exec "$@"' "$helper" signals
row "destructors of threads that allocate" region "$as_is" "$helper" thread-ends
row "atexit and destructors that allocate" region "$as_is" "$helper" ends

# ---- modules -----------------------------------------------------------------------------------------

cat >"$work/module.c" <<-'C'
	#include <malloc.h>
	#include <stdlib.h>
	#include <string.h>
	static void *made;
	__attribute__((constructor)) static void begin(void) { made = strdup("made by a constructor"); }
	__attribute__((destructor)) static void end(void) { free(made); }
	void module_free(void *p) { free(p); }
	void *module_malloc(size_t n) { return malloc(n); }
	void *module_realloc(void *p, size_t n) { return realloc(p, n); }
	size_t module_usable(void *p) { return malloc_usable_size(p); }
C
for lazy in lazy now; do
	gcc -O1 -fPIC -shared -Wl,-z,$lazy "$work/module.c" -o "$work/module-$lazy.so"
	row "a module ($lazy) frees what the program allocated, and the other way round" region "$as_is" "$helper" module "$work/module-$lazy.so" global
	row "the same, RTLD_DEEPBIND" region "$as_is" "$helper" module "$work/module-$lazy.so" deepbind
done
mkdir "$work/lib" && gcc -O1 -fPIC -shared "$work/module.c" -o "$work/lib/libmodule-by-name.so"
row "the same, found by its name" region "export LD_LIBRARY_PATH=$work/lib; $as_is" "$helper" module libmodule-by-name.so deepbind

# ---- programs that the shim does not reach -------------------------------------------------------------

cat >"$work/own.c" <<-'C'
	#include <stdio.h>
	#include <stdlib.h>
	#include <string.h>
	#include <stdint.h>
	#include <unistd.h>
	static char heap[32 << 20] __attribute__((aligned(16)));
	static size_t at;
	static long calls;
	void *malloc(size_t n) { calls++; char *p = heap + at + 16; at += (n + 31) & ~(size_t)15; *(size_t *)(p - 16) = n; return at < sizeof heap ? p : NULL; }
	void free(void *p) { if (p && (size_t)((char *)p - heap) >= sizeof heap) { (void)!write(2, "not mine\n", 9); _exit(3); } }
	void *calloc(size_t n, size_t s) { return malloc(n * s); }
	void *realloc(void *p, size_t n) { void *q = malloc(n); if (p) { size_t k = ((size_t *)p)[-2]; memcpy(q, p, k < n ? k : n); } return q; }
	void *aligned_alloc(size_t a, size_t n) { char *p = malloc(n + a); return p + (-(uintptr_t)p & (a - 1)); }
	void *memalign(size_t a, size_t n) { return aligned_alloc(a, n); }
	int posix_memalign(void **out, size_t a, size_t n) { *out = aligned_alloc(a, n); return 0; }
	size_t malloc_usable_size(void *p) { return p ? ((size_t *)p)[-2] : 0; }
	int main(void)
	{
		char *s = strdup("a string"), *t = malloc(100000), *line = NULL;
		size_t n = 0;
		memset(t, 1, 100000);
		t = realloc(t, 200000);
		FILE *f = fopen("/etc/passwd", "r");
		printf("%s %d %d\n", s, t[99999], getline(&line, &n, f) > 0);
		fclose(f), free(line), free(s), free(t);
		return calls > 3 ? 42 : 1;
	}
C
gcc -O1 -fno-builtin "$work/own.c" -o "$work/own"
row "a program with a malloc of its own" - "$as_is" "$work/own"
cat >"$work/static.c" <<-'C'
	#include <stdio.h>
	#include <stdlib.h>
	int main(void) { char *p = malloc(100000); p[0] = 1; printf("%d\n", p[0]); free(p); return 42; }
C
if gcc -static -O1 "$work/static.c" -o "$work/static" 2>/dev/null; then
	row "a static program" - "$as_is" "$work/static"
else
	echo "note: a static program: not verified, no static C library here"
fi

# ---- seccomp -----------------------------------------------------------------------------------------

if "$helper" refuse EPERM memfd_create -- true 2>/dev/null; then
	for error in EPERM ENOSYS EINVAL; do
		row "$error from memfd_create, userfaultfd, membarrier" region "exec $helper refuse $error memfd_create userfaultfd membarrier -- \"\$@\"" "$helper" work
		for call in populate remove dontfork cold madvise tmpfile ofd-locks linkat fchmod ftruncate mlock2 mremap; do
			row "$error from $call" - "exec $helper refuse $error $call -- \"\$@\"" "$helper" work
		done
		for call in populate remove cold madvise mlock2 membarrier "mremap" "pread" "tmpfile" "ofd-locks"; do
			row "$error from $call, once it runs" region "$as_is" "$helper" refused $error $call
		done
	done
	row "all of these at once" - "exec $helper refuse EPERM memfd_create membarrier madvise tmpfile ofd-locks linkat -- \"\$@\"" "$helper" work
else
	echo "note: seccomp: not verified, no filter may be installed here"
fi

rows_hold
