# Which Check suites fork for each of their tests under ThreadSanitizer, as CK_FORK has it.
#
# A forked test would have jemalloc's locks as its parent's fork left them, made
# anew while held, which ThreadSanitizer takes for locks that nobody gives back.
tsan_forks() {
	case $1 in
	test_box | test_boxes_death | test_name | test_engine) echo yes ;; # no threads; a check wants a process that has no types, directories or jemalloc yet
	*) echo no ;;
	esac
}
