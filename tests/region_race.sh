#!/bin/bash
# Two processes race to create the same name: exactly one owner, every time.
set -eu
cd "$(dirname "$0")/.."
helper=${BUILD:-build}/tests/helpers/region_race
trap 'rm -f /dev/shm/shmb-test-$$-*' EXIT

"$helper" shmb-test-$$-race raw 1000
"$helper" shmb-test-$$-race arena 200
[ -z "$(ls /dev/shm | grep "^shmb-test-$$-")" ]
echo "nothing is left in /dev/shm"
