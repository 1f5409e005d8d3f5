# shmem-bind. `make help` lists the targets and variables.

PREFIX ?= /usr/local
DESTDIR ?=
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
# empty: where python3 looks under PREFIX
PYTHONDIR ?=
CC ?= cc
SAN ?=
DEBUG ?=
FUZZ ?=
WERROR ?=
V ?=

# SAN=valgrind is no sanitizer: it tells valgrind of the blocks (src/shadow.c).
SANITIZE := $(filter-out valgrind,$(SAN))

BUILD := build$(if $(SAN),-$(SAN))$(if $(DEBUG),-debug)$(if $(FUZZ),-fuzz)
# jemalloc is the same for every kind of build.
JE := build/jemalloc
JE_LIB := $(JE)/lib/libjemalloc_pic.a

WARN := -Wall -Wextra -Wundef -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla
CFLAGS ?= $(if $(DEBUG),-O0,-O2) -g
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -fdata-sections -pthread $(WARN) $(if $(WERROR),-Werror) \
	$(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
	$(if $(filter valgrind,$(SAN)),-DSHMB_VALGRIND -fno-omit-frame-pointer) \
	$(if $(FUZZ),$(FUZZ_CFLAGS)) $(if $(DEBUG),-DSHMB_DEBUG) -Iinclude -MMD -MP $(CFLAGS)
ALL_LDFLAGS = -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE)) -Wl,-z,now -Wl,-z,relro $(LDFLAGS)
# FUZZ=1 is for `make fuzz` alone: clang, its coverage and its sanitizers.
FUZZ_SANITIZERS := -fsanitize=fuzzer,address,undefined
FUZZ_CFLAGS := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-5s %s\n')

# ---- the layers: a file may include headers of its own layer and of those before it.
# scripts/check-layers.sh reads this list.
LAYER_0 := error sys huge class once probe
LAYER_1 := name extent rule layout blockmap hint lease window type
LAYER_2 := region reaper raw sound format
LAYER_3 := arena shadow slot lock commit span page
LAYER_4 := engine orphan ref misuse canary tally admit
LAYER_5 := halt context depot magazine boxes directory recover evict tenure rules harden
LAYER_6 := large heap follow box handle freeze snapshot absent zero
LAYER_7 := out view ruling ruler stats info intact check save
LAYERS := $(LAYER_0) $(LAYER_1) $(LAYER_2) $(LAYER_3) $(LAYER_4) $(LAYER_5) $(LAYER_6) $(LAYER_7)

SRC := $(wildcard src/*.c)
OBJ := $(SRC:%.c=$(BUILD)/%.o)
CLI_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard src/cli/*.c))
PRELOAD_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard preload/*.c))
EXAMPLES := $(patsubst %.c,$(BUILD)/%,$(filter-out examples/mpi_%,$(wildcard examples/*.c)))
TESTS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/test_*.c) $(wildcard tests/crash_*.c))
HELPERS := $(patsubst tests/helpers/%.c,$(BUILD)/tests/helpers/%,$(wildcard tests/helpers/*.c))
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
SCRIPTS := $(wildcard tests/*.sh)

LIB_SO := $(BUILD)/libshmbind.so.0
LIB_A := $(BUILD)/libshmbind.a
PRELOAD_SO := $(BUILD)/libshmbind-preload.so
CLI := $(BUILD)/shmbind

all: $(LIB_SO) $(BUILD)/libshmbind.so $(LIB_A) $(PRELOAD_SO) $(CLI) $(BUILD)/libshmbind-malloc.so $(EXAMPLES)

help:
	@sed -n 's/^## //p' Makefile
## make [all]      the library, the preload shim, the tool, the examples -> build/
## make demo       install what is missing, build, and watch an unmodified program's buffers
## make check      install what is missing, build, run every test
## make crash-sweep  every point of every operation; make storm: 10,000 kills
## make soak       SOAK_TIME=600: everything at once for so many seconds
## make faults     every call to libc and the kernel fails in turn; compares what came of it with docs/faults.md
## make programs   install three dozen programs and compare each with itself under the shim
## make newcomer   do what README.md says, in a fresh Debian root
## make bench      measure beside other allocators, interleaved, in one sitting
## make bench-programs  whole programs under the shim, under jemalloc and alone
## make install    PREFIX=/usr/local DESTDIR=, and BINDIR LIBDIR INCLUDEDIR MANDIR BASHDIR ZSHDIR PYTHONDIR
## make uninstall  removes what install put there
## make fuzz       FUZZ_TIME=600: seconds for each fuzzer, after the seeds in tests/fuzz/seeds
## make analyse    clang-tidy, cppcheck and gcc -fanalyzer; `make check` runs the second
## make check-layers | check-symbols   what `check` also runs
## make deb        Debian packages -> build/deb; make check-deb tries them
## make check-valgrind  installs valgrind and runs the library's suites under it; SAN=valgrind builds for it
## make check-mpi  installs Open MPI and tries the example with it
## make dist       a source tarball -> build/
## make clean      removes build*/ except jemalloc; distclean removes that too
##
## V=1 shows commands. DEBUG=1 builds without optimisation. WERROR=1 stops at warnings.
## SAN=address|undefined|thread builds and tests with that sanitizer, in its own directory; SAN=valgrind for valgrind.
## JEMALLOC_TARBALL=FILE builds jemalloc from that file instead of asking apt.

# ---- what has to be there first
$(BUILD)/.deps: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh $(if $(filter valgrind,$(SAN)),valgrind,build)
	@touch $@
$(BUILD)/.deps-test: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh $(if $(filter valgrind,$(SAN)),valgrind,test)
	@touch $@
$(BUILD)/.deps-programs: scripts/deps.sh $(wildcard tests/programs/*)
	@mkdir -p $(BUILD)
	@scripts/deps.sh programs
	@touch $@
$(BUILD)/.deps-newcomer: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh newcomer
	@touch $@
$(BUILD)/.deps-mpi: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh mpi
	@touch $@
$(BUILD)/.deps-deb: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh deb
	@touch $@
$(BUILD)/.deps-fuzz: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh fuzz
	@touch $@
$(BUILD)/.deps-analyse: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh analyse
	@touch $@
$(BUILD)/.deps-bench: scripts/deps.sh
	@mkdir -p $(BUILD)
	@scripts/deps.sh bench
	@touch $@

$(JE_LIB): scripts/jemalloc.sh src/jemalloc/batch.c | $(BUILD)/.deps
	@echo "  jemalloc: building 5.3.0 once, this takes a minute or two"
	$(Q)scripts/jemalloc.sh $(JE)
	@touch $@

# ---- objects
$(BUILD)/src/engine.o: private ALL_CFLAGS += -isystem $(JE)/include
$(BUILD)/src/engine.o: $(JE_LIB)

$(BUILD)/%.o: %.c Makefile | $(BUILD)/.deps
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(ALL_CFLAGS) $(if $(filter tests/% examples/%,$<),-Isrc) -c $< -o $@

$(BUILD)/preload/cxx.o: private ALL_CFLAGS += -fexceptions

# ---- artefacts
# Large tables apart from single words, so that what every process writes at its start lies on few pages.
SO_LDFLAGS := -shared -Wl,-z,nodelete -Wl,--sort-section=alignment
$(LIB_SO): $(OBJ) $(JE_LIB) src/libshmbind.map
	$(say) LD $@
	$(Q)$(CC) $(SO_LDFLAGS) $(ALL_LDFLAGS) -Wl,-soname,libshmbind.so.0 -Wl,--version-script=src/libshmbind.map \
		$(OBJ) $(JE_LIB) -lm -o $@
$(BUILD)/libshmbind.so: $(LIB_SO)
	$(Q)ln -sf libshmbind.so.0 $@

# One object whose inner names, jemalloc's among them, are nobody else's.
$(LIB_A): $(OBJ) $(JE_LIB)
	$(say) AR $@
	$(Q)ld -r $(OBJ) $(JE_LIB) -o $(BUILD)/libshmbind-one.o
	$(Q)objcopy --localize-hidden -L preload_malloc -L preload_free $(BUILD)/libshmbind-one.o
	$(Q)rm -f $@ && ar rcs $@ $(BUILD)/libshmbind-one.o && rm $(BUILD)/libshmbind-one.o

$(PRELOAD_SO): $(OBJ) $(PRELOAD_OBJ) $(JE_LIB) preload/preload.map
	$(say) LD $@
	$(Q)$(CC) $(SO_LDFLAGS) $(ALL_LDFLAGS) -Wl,-soname,libshmbind-preload.so \
		-Wl,--defsym=malloc=preload_malloc,--defsym=free=preload_free \
		-Wl,--version-script=preload/preload.map $(OBJ) $(PRELOAD_OBJ) $(JE_LIB) -lm -o $@
$(BUILD)/libshmbind-malloc.so: $(PRELOAD_SO)
	$(Q)ln -sf libshmbind-preload.so $@

CLI_LIBS := -lsmartcols -ldw -ljson-c -lncursesw -ltinfo
$(CLI): $(CLI_OBJ) $(LIB_A)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $(CLI_OBJ) $(LIB_A) $(CLI_LIBS) -lm -o $@

# Linked, not preloaded: its malloc is the shim.
$(BUILD)/examples/drop_in: $(BUILD)/examples/drop_in.o $(BUILD)/libshmbind-malloc.so
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $< -L$(BUILD) -Wl,--no-as-needed -lshmbind-malloc -Wl,-rpath,'$$ORIGIN/..' -o $@
$(BUILD)/examples/%: $(BUILD)/examples/%.o $(LIB_A)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $< $(LIB_A) -lm -o $@

VERSION = $(shell sed -n 's/^.define SHMB_VERSION_[MP][A-Z]* //p' include/shmbind.h | paste -sd.)

# ---- tests: Check suites see the library's insides, so they link the objects
$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(OBJ) $(JE_LIB)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $< $(OBJ) $(JE_LIB) $(shell pkg-config --libs check) -lm -o $@
$(BUILD)/tests/crash_%: $(BUILD)/tests/crash_%.o $(OBJ) $(JE_LIB)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $< $(OBJ) $(JE_LIB) -lm -o $@

# Every call of the library's to libc and the kernel goes by tests/faults/inject.c;
# jemalloc's go there too, by other names.
FAULT_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/faults/*.c))
FAULT_WRAPS := open close fcntl fstat lstat fstatat fchmod ftruncate getrlimit fallocate linkat renameat2 unlink unlinkat scandir \
	pwrite pread read mmap munmap mprotect mremap malloc calloc syscall prctl getrandom sched_getaffinity _Fork waitpid setsid \
	sigprocmask chdir pthread_atfork pthread_key_create pthread_setspecific write lseek ioctl at_quick_exit
FAULT_LDFLAGS := $(FAULT_WRAPS:%=-Wl,--wrap=%)
FAULT_JE := $(BUILD)/tests/faults/libjemalloc.a
$(FAULT_JE): $(JE_LIB)
	@mkdir -p $(@D)
	$(Q)objcopy $(foreach f,mmap munmap madvise syscall pthread_setspecific,--redefine-sym $(f)=faults_je_$(f)) $< $@
$(BUILD)/tests/fault_sweep: $(FAULT_OBJ) $(OBJ) $(FAULT_JE)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $(FAULT_LDFLAGS) $(FAULT_OBJ) $(OBJ) $(FAULT_JE) -lm -o $@

$(BUILD)/tests/helpers/%: $(BUILD)/tests/helpers/%.o $(LIB_A)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $< $(LIB_A) -lm -o $@
$(TESTS:%=%.o): | $(BUILD)/.deps-test

# ---- fuzzers: with libFuzzer in a FUZZ=1 build, which runs them; in any other a program that replays files
FUZZ_IMAGE := $(BUILD)/tests/fuzz/image.o
# The tool under a name of its own; it starts no processes there.
FUZZ_CLI := $(filter-out $(BUILD)/src/cli/main.o,$(CLI_OBJ)) $(BUILD)/tests/fuzz/cli_main.o
$(BUILD)/tests/fuzz/cli_main.o: $(BUILD)/src/cli/main.o
	@mkdir -p $(@D)
	$(Q)objcopy --redefine-sym main=shmbind_main $< $@
$(BUILD)/tests/fuzz/words: $(FUZZ_CLI) $(addprefix $(BUILD)/preload/,rules.o site.o symbols.o)
$(BUILD)/tests/fuzz/words: private FUZZ_LIBS := $(CLI_LIBS) -ldl -Wl,--wrap=fork
FUZZ_MAIN := $(if $(FUZZ),,$(BUILD)/tests/fuzz/replay.o)
FUZZ_LDFLAGS := $(if $(FUZZ),$(FUZZ_SANITIZERS))
REPLAYS := $(FUZZERS:%=$(BUILD)/tests/fuzz/%)
$(BUILD)/tests/fuzz/%.o: private ALL_CFLAGS += -Ipreload
$(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_IMAGE) $(FUZZ_MAIN) $(OBJ) $(JE_LIB)
	$(say) LD $@
	$(Q)$(CC) $(ALL_LDFLAGS) $(FUZZ_LDFLAGS) $(filter %.o,$^) $(JE_LIB) $(FUZZ_LIBS) -lm -o $@

fuzz: $(BUILD)/.deps-fuzz
	@$(MAKE) --no-print-directory CC=clang FUZZ=1 fuzz-run
fuzz-build: $(REPLAYS)
fuzz-run: fuzz-build
	@BUILD=$(BUILD) scripts/fuzz.sh $(FUZZERS)

build-tests: $(BUILD)/.deps-test all $(TESTS) $(HELPERS) $(BUILD)/tests/fault_sweep $(REPLAYS)

check: build-tests check-layers check-symbols
	@BUILD=$(BUILD) SAN=$(SAN) scripts/run-tests.sh $(TESTS) $(SCRIPTS)

crash-sweep: build-tests
	$(BUILD)/tests/crash_sweep --all
	$(BUILD)/tests/crash_boxes
storm: build-tests
	$(BUILD)/tests/crash_storm --kills 10000
SOAK_TIME ?= 600
soak: build-tests
	@BUILD=$(BUILD) scripts/soak.sh $(SOAK_TIME)

# Every call fails in turn, in every operation and way: minutes.
faults: $(BUILD)/tests/fault_sweep
	@BUILD=$(BUILD) scripts/faults.sh

# The engine's headers are what they read of jemalloc.
analyse: $(BUILD)/.deps-analyse $(JE_LIB)
	@scripts/analyse.sh

programs: $(BUILD)/.deps-programs all
	@BUILD=$(BUILD) SAN=$(SAN) scripts/programs.sh

check-layers:
	@scripts/check-layers.sh '$(LAYER_0)' '$(LAYER_1)' '$(LAYER_2)' '$(LAYER_3)' '$(LAYER_4)' '$(LAYER_5)' '$(LAYER_6)' '$(LAYER_7)'

check-symbols: all
	@scripts/check-symbols.sh $(BUILD)

demo: $(BUILD)/.deps-test all
	@BUILD=$(BUILD) scripts/demo.sh

bench: $(BUILD)/.deps-bench all
	@$(MAKE) --no-print-directory -C bench BUILD=../$(BUILD)

bench-programs: $(BUILD)/.deps-bench all
	@BUILD=$(BUILD) bench/programs

# ---- installing
DIRECTORIES := PREFIX DESTDIR BINDIR LIBDIR INCLUDEDIR MANDIR BASHDIR ZSHDIR PYTHONDIR
install uninstall: private PLACES = $(foreach d,$(DIRECTORIES),$(d)='$($(d))')
install: all
	$(Q)$(PLACES) scripts/install.sh install $(BUILD)

uninstall:
	$(Q)$(PLACES) scripts/install.sh uninstall $(BUILD)

deb: $(BUILD)/.deps-deb $(JE_LIB)
	$(Q)scripts/deb.sh $(BUILD)/deb
check-deb: $(BUILD)/.deps-deb all
	@BUILD=$(BUILD) CHECK_DEB=1 TEST_TIMEOUT=1800 scripts/run-tests.sh tests/deb.sh
# In a build of its own that tells valgrind of the blocks.
check-valgrind:
	@$(MAKE) --no-print-directory SAN=valgrind valgrind-run
valgrind-run: build-tests
	@BUILD=$(BUILD) SAN=valgrind scripts/run-tests.sh $(filter-out $(BUILD)/tests/crash_%,$(TESTS)) tests/shadow.sh
check-mpi: $(BUILD)/.deps-mpi all
	@BUILD=$(BUILD) SAN=$(SAN) scripts/run-tests.sh tests/mpi.sh
newcomer: $(BUILD)/.deps-newcomer
	@scripts/newcomer.sh

dist:
	@mkdir -p build
	git archive --prefix=shmem-bind-$(VERSION)/ -o build/shmem-bind-$(VERSION).tar.gz HEAD
	@echo build/shmem-bind-$(VERSION).tar.gz

clean:
	rm -rf build-*
	find build -mindepth 1 -maxdepth 1 ! -name jemalloc -exec rm -rf {} + 2>/dev/null || true
distclean: clean
	rm -rf build

.PHONY: all help check analyse programs crash-sweep storm soak faults fuzz fuzz-build fuzz-run build-tests check-layers check-symbols demo bench bench-programs install uninstall dist clean distclean
.PHONY: deb check-deb check-mpi check-valgrind valgrind-run newcomer
.SECONDARY:
.DELETE_ON_ERROR:
-include $(OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(PRELOAD_OBJ:.o=.d) $(TESTS:%=%.d) $(HELPERS:%=%.d) $(EXAMPLES:%=%.d) $(wildcard $(BUILD)/tests/fuzz/*.d) $(FAULT_OBJ:.o=.d)
