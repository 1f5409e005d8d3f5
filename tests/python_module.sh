#!/bin/bash
# examples/python/shmbind.py: heaps, blocks and boxes shared by Python, C and the
# tool, made by either side; what would crash a C program is an exception. Python
# loads the library late: its thread-local storage must fit what the loader keeps
# for late comers.
. "$(dirname "$0")/helpers/script.sh"
case $SAN in
address | thread)
	echo "the sanitizer's run-time must be loaded first, python is not built with it"
	exit 77
	;;
esac
if ! /usr/bin/python3 -c 'import ctypes, numpy' 2>/dev/null; then
	echo "no /usr/bin/python3 with numpy"
	exit 77
fi
export LIBSHMBIND=$PWD/$BUILD/libshmbind.so.0 PYTHONPATH=$PWD/examples/python PYTHONDONTWRITEBYTECODE=1
/usr/bin/python3 tests/helpers/python_module.py "$BUILD" "$prefix"
nothing_left || { echo "FAIL left: $(left)"; exit 1; }
echo "ok   nothing is left, not even what was open and seen when Python ended"
