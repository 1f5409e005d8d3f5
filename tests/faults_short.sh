#!/bin/bash
# Calls to libc and the kernel that fail in turn, in some of the operations and
# with one errno a kind; `make faults` does all of it.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
if [ -n "${SAN:-}" ]; then
	echo "the sanitizers make calls of their own through the functions that are made to fail"
	exit 77
fi
for op in 'create, raw' 'create' 'attach, raw' 'close, as owner' 'close, as attacher' 'close, raw' 'leak' 'own' \
	'free, large' 'box, drop'; do
	"$BUILD/tests/fault_sweep" --quick --only "$op"
done
