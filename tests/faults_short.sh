#!/bin/bash
# Calls to libc and the kernel that fail in turn, in some of the operations and
# with one errno a kind; `make faults` does all of it. What comes of each is
# what docs/faults.md says.
. "$(dirname "$0")/helpers/script.sh"
if [ -n "$SAN" ]; then
	echo "the sanitizers make calls of their own through the functions that are made to fail"
	exit 77
fi
sweep=$BUILD/tests/fault_sweep

# The table, a line for each kind, errno and operation, as --list prints it.
awk -F ' *[|] *' '
	/^## / { kind = substr($0, 4) }
	/^[|] [^f-]/ {
		n = split($2, errors, ", "); m = split($3, ops, "; ")
		for (i = 1; i <= n; i++)
			for (j = 1; j <= m; j++)
				print kind " | " errors[i] " | " ops[j] " | " $4 " | " $5
	}' docs/faults.md | LC_ALL=C sort >"$work/table"

told() { # told ARG...: nothing is wrong, and all that comes out is in the table
	"$sweep" --list --jobs 2 "$@" >"$work/list" 2>"$work/err" || return 1
	LC_ALL=C sort "$work/list" | LC_ALL=C comm -23 - "$work/table" >"$work/err"
	[ -s "$work/list" ] && [ ! -s "$work/err" ]
}
some=()
for op in 'create, raw' 'create' 'attach, raw' 'close, as owner' 'close, as attacher' 'close, raw' 'leak' 'own' \
	'free, large' 'box, drop' 'fork, a copy for the child'; do
	some+=(--only "$op")
done
verify "each kind of call, with one errno" told --quick "${some[@]}"
verify "each errno, where a lease is not to be had" told --only 'claim, raw' --kind 'mmap, the page of a lease'

# What the objects call of libc, but for what cannot fail or is not to the kernel.
calls() { # calls: those of which the sweep knows nothing
	local harmless='abort|_exit|alphasort|clock_gettime|free|geteuid|get[pt]id|sched_yield|sigfillset|v?snprintf|bcmp|(mem|str).*|_.*'
	nm "$BUILD"/src/*.o | awk 'NF == 3 { print $3 }' | sort -u >"$work/own"
	nm "$BUILD/tests/fault_sweep" | sed -n 's/.* __wrap_//p' | sort -u >"$work/wrapped"
	nm "$BUILD"/src/*.o | awk '$1 == "U" { print $2 }' | sort -u | comm -23 - "$work/own" | comm -23 - "$work/wrapped" |
		grep -Ev "^($harmless|(shmb_)?je_.*|pthread_(mutex|getspecific).*)$"
}
verify "there is no call that is not made to fail somewhere" eval '! calls >"$work/err"'
rows_hold
