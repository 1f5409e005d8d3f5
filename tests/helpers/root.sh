# root.sh - a root of a test's own, to install into. Sourced inside a mount
# namespace, with which its mounts end. Nothing of the machine's /dev is mounted
# there, and no directory with such mounts below it is ever removed from inside:
# whoever made the directory removes it, outside, where it is empty.

# furnish ROOT: /proc, and a /dev and /dev/shm that are its own
furnish() {
	mkdir -p "$1/proc" "$1/dev"
	mount -t proc proc "$1/proc"
	mount -t tmpfs -o mode=755 none "$1/dev"
	mknod -m 666 "$1/dev/null" c 1 3
	mknod -m 666 "$1/dev/zero" c 1 5
	mknod -m 666 "$1/dev/full" c 1 7
	mknod -m 666 "$1/dev/random" c 1 8
	mknod -m 666 "$1/dev/urandom" c 1 9
	mknod -m 666 "$1/dev/tty" c 5 0
	ln -s /proc/self/fd "$1/dev/fd"
	for i in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${i%:*}" "$1/dev/${i#*:}"; done
	mkdir -m 1777 "$1/dev/shm"
	mkdir "$1/dev/pts"
	mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$1/dev/pts"
	ln -s pts/ptmx "$1/dev/ptmx"
	mount -t tmpfs -o mode=1777 none "$1/dev/shm"
}
inside() { # inside ROOT COMMAND...
	chroot "$1" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C TERM=dumb \
		DEBIAN_FRONTEND=noninteractive "${@:2}"
}
