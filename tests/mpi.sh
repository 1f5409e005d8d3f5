#!/bin/bash
# examples/mpi_window.c: four ranks read boxes of a region by ref through an MPI
# window, over shared memory and over sockets, as between hosts, while the tool
# looks at the same region.
. "$(dirname "$0")/helpers/script.sh"
[ -z "$SAN" ] || { echo "Open MPI is not built with the sanitizer"; exit 77; }
if ! type mpicc mpirun >/dev/null 2>&1; then
	echo "Open MPI takes minutes to install: make check-mpi"
	exit 77
fi
export TMPDIR=$work OMPI_MCA_rmaps_base_oversubscribe=1 # Open MPI's own files go there
region=${prefix}mpi
sed -n 's/^ \*   mpicc .* -o .*/&/p' examples/mpi_window.c | grep -q mpi_window || wrong "the example does not say how it is built"
verify "the example builds" \
	mpicc -std=gnu11 -Wall -Wextra -Werror -Iinclude examples/mpi_window.c "$BUILD/libshmbind.a" -lm -o "$work/mpi_window"
for rank in 0 1 2 3; do
	echo "rank $rank read the table of rank $rank: sum $((rank * 1000000 + 499500))"
done >"$work/want"

ranks() { # ranks WHAT OPTION...
	local status=0
	timeout -k 10 200 mpirun -n 4 --oversubscribe --allow-run-as-root "${@:2}" \
		"$work/mpi_window" "$region" "$tool check $region >$work/check" >"$work/got" 2>"$work/err" || status=$?
	verify "$1: each of four ranks reads its box by ref" diff "$work/want" "$work/got"
	verify "  and all end well, nothing is left" eval '[ $status = 0 ] && nothing_left'
	verify "  meanwhile the tool found the heap sound" grep -q '^clean' "$work/check"
	rm -f "$work/check"
}
ranks "by the default transport"
ranks "by sockets, as between hosts" --mca pml ob1 --mca osc pt2pt --mca btl self,tcp --mca btl_tcp_if_include lo
: >"/dev/shm$region"
timeout -k 10 200 mpirun -n 2 --oversubscribe --allow-run-as-root "$work/mpi_window" "$region" >"$work/got" 2>"$work/err" && status=0 || status=$?
verify "a name that is taken: all ranks end, with the reason" eval '[ $status != 0 ] && grep -q "File exists" "$work/err"'
rm "/dev/shm$region"
rows_hold
