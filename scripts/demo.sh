#!/bin/bash
# The main job, step by step: an unmodified program's buffers lie in a named
# region, another process reads them live, the stats print, the program ends
# and the region is gone. Each step is checked; the exit status says whether
# all of it happened.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
export PATH=$PWD/$BUILD:$PATH
bold=$([ -t 1 ] && tput bold 2>/dev/null || true) plain=$([ -t 1 ] && tput sgr0 2>/dev/null || true)
region=/demo.$$
work=$(mktemp -d)
step() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
show() { printf '$ %s\n' "$*"; "$@"; }
fail() { echo "demo: $*" >&2; exit 1; }
cleanup() { exec 3>&- 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT

case $BUILD in *address*|*thread*) echo "demo: a sanitizer build's shim cannot be preloaded"; exit 77 ;; esac
before=$(ls /dev/shm)

step "1. An unmodified program, with its allocations of 64 KiB and more in $region"
cat >"$work/program.py" <<'PY'
import sys
text = "measurements of an unmodified program, live in shared memory. "
buffers = [bytearray((text * 20000).encode()) for _ in range(8)]   # about 1.2 MB each
print("the program: 8 buffers made, waiting", flush=True)
sys.stdin.readline()
print("the program: done, sum", sum(b[0] for b in buffers), flush=True)
PY
mkfifo "$work/in"
shmbind run --region "$region" --place 'size=64K..' --log 1 -- \
	/usr/bin/python3 "$work/program.py" <"$work/in" >"$work/out" &
runner=$!
exec 3>"$work/in"
for _ in $(seq 500); do grep -q waiting "$work/out" && break; sleep 0.02; done
grep waiting "$work/out" || fail "the program did not start"

step "2. Another process looks"
show shmbind ls
shmbind ls | grep -q "^$region " || fail "the region is not there"

step "3. ... at its blocks"
show shmbind blocks "$region"
ref=$(shmbind blocks "$region" --json | jq -r '[.blocks[] | select(.state == "live" and .size > 1000000)][0].ref')
[ "$ref" != null ] || fail "no buffer in the region"

step "4. ... and reads one of them, while the program runs"
printf '$ shmbind cat %s %s | head -c 62\n' "$region" "$ref"
shmbind cat "$region" "$ref" | head -c 62 >"$work/read" || true
cat "$work/read"; echo
grep -q '^measurements of an unmodified program' "$work/read" || fail "that is not what the program wrote"

step "5. The arena's statistics, and a check of every invariant"
show shmbind stats "$region"
show shmbind check "$region"

step "6. The program ends, and the region with it"
echo >&3
wait $runner || fail "the program failed"
tail -1 "$work/out"
show ls -A /dev/shm
[ "$(ls /dev/shm)" = "$before" ] || [ ! -e "/dev/shm$region" ] || fail "the region is still there"

step "7. Killed instead of ending: gone all the same"
shmbind run --region "$region" --place all --log 0 -- /usr/bin/python3 -c '
import os, signal
held = [bytes(1 << 20) for _ in range(4)]
assert os.path.exists("/dev/shm'"$region"'")
os.kill(os.getpid(), signal.SIGKILL)' 2>"$work/err" && fail "it was to be killed" || status=$?
echo "shmbind run: ended as its command did, status $status (128 + SIGKILL)"
[ "$status" = 137 ] || fail "status $status: $(cat "$work/err")"
[ ! -e "/dev/shm$region" ] || fail "the region is still there"
echo "no $region in /dev/shm"
