#!/bin/bash
# 200 times kill -9 of an arena's owner at a random moment: the name can be
# opened again every time, what the dead had published is intact, and at the
# end nothing is left.
set -eu
cd "$(dirname "$0")/.."
helper=${BUILD:-build}/tests/helpers/region_kill
trap 'rm -f /dev/shm/shmb-test-$$-*' EXIT

"$helper" drive shmb-test-$$-kill 200
[ -z "$(ls /dev/shm | grep "^shmb-test-$$-")" ]
echo "nothing is left in /dev/shm"
