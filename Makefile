# slat. `make help` lists the targets; build/ holds everything that is made.
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
BUILD ?= build
PREFIX ?= /usr/local
KVM ?= /dev/kvm
V ?= 0
Q = $(if $(filter 0,$(V)),@)
say = $(if $(filter 0,$(V)),@printf '  %-5s %s\n' '$1' '$2')

WARN = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wcast-qual -Wwrite-strings
WARN += $(if $(findstring clang,$(CC)),-Wno-gnu-variable-sized-type-not-at-end) # KVM's own headers make such structs
BASE = -std=gnu11 -O2 -g $(WARN) -I. -MMD -MP
FREESTANDING = -ffreestanding -mno-red-zone -fPIC -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables
HOSTED = -D_GNU_SOURCE -pthread $(SAN)
FLAGS := $(CC) $(BASE) $(HOSTED) $(FREESTANDING) $(MM_SAN)
LIBS = -Wl,-Bstatic -ljansson -luring -Wl,-Bdynamic -pthread

# libmm.a and libslat.a need each other: mm_panic() lives in vmm/.
group = -Wl,--start-group $1 -Wl,--end-group
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$1)
MM = $(call obj,$(wildcard mm/*.c))
DEVICES = $(call obj,$(wildcard devices/*.c))
VMM = $(call obj,$(filter-out vmm/main.c vmm/sandbox_list.c vmm/preload%,$(wildcard vmm/*.c vmm/boot/*.c vmm/cmd/*.c vmm/pack/*.c)))
PRELOAD_ALSO = $(addprefix vmm/,heap_report.c source_line.c debug_line.c)
PRELOAD = $(call obj,$(wildcard vmm/preload*.c) $(PRELOAD_ALSO))
UNIT = $(wildcard tests/unit/test_*.c)
MM_BENCH = extent frames objects
MEM_BENCH = prefault resident placement
FUZZ = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
PARTS = $(BUILD)/libslat.a $(BUILD)/libdevices.a $(BUILD)/libmm.a

TESTS = $(BUILD)/tests/unit $(FUZZ:%=$(BUILD)/tests/replay_%) $(BUILD)/tests/heap_count.so $(BUILD)/tests/heap_bugs \
	$(BUILD)/tests/preload $(BUILD)/tests/preload_static
# A make of our own uses all cores, unless its caller already shares some out.
SUB = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
# Counted atomically: where threads count at once, what was reached may else come out at 0 or less.
COVERAGE = -O0 --coverage -fprofile-update=atomic -Dalways_inline=unused
ASAN = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
export BUILD KVM CC FREESTANDING
export HEADER_FLAGS = $(filter-out -MMD -MP,$(BASE)) -D_GNU_SOURCE

.DEFAULT_GOAL := all
.PHONY: all tests run check soak oracle deps rig guests arrows lint asan tsan clang coverage fuzz
.PHONY: bench bench-start bench-mm bench-heap bench-table bench-io bench-mem bench-pack
.PHONY: install clean help FORCE
.DELETE_ON_ERROR:
.SECONDARY: $(call obj,$(wildcard tests/fuzz/*.c))

all: $(BUILD)/slat $(BUILD)/libslatmalloc.so guests ## slat, its guests, and its heap for any program
tests: $(TESTS) oracle_parts
	@:

run: deps ## build all, boot the first guest
	$(Q)+$(SUB) all
	$(Q)$(BUILD)/slat run --exit-zero 0 $(BUILD)/guests/hello.elf

check: deps clang ## everything that proves; T=unit|guests|strangers|preload|rig|oracle|cli|docs for a part
	$(Q)+$(SUB) all tests
	$(Q)tests/check.sh $(T)

rig: deps ## the tests on KVM hosts of 1 to 4 NUMA nodes, in QEMU; CMD='...' runs that on RIG_HOST=two instead
	$(Q)+$(SUB) all
	$(Q)$(if $(CMD),tests/rig/rig.sh '$(subst ','\'',$(value CMD))',tests/check.sh rig)

oracle: deps ## what Bochs and QEMU make of our EPT and NPT, beside a model
	$(Q)+$(SUB) oracle_parts
	$(Q)tests/check.sh oracle; code=$$?; grep '^oracle ' $(BUILD)/log/oracle.log; exit $$code

soak: deps ## what needs long: gigabytes, hours
	$(Q)+$(SUB) all oracle_parts
	$(Q)tests/soak.sh

deps: ## install the Debian packages that are missing
	$(Q)tests/deps.sh

arrows: $(BUILD)/libmm.a ## does each room include only what it may
	$(Q)tests/arrows.sh

lint: $(BUILD)/tests/suites.h $(BUILD)/include/vmm/sandbox_filter.h ## format and static analysis
	$(Q)tests/lint.sh

asan: deps clang ## all tests that fit, with the address and undefined-behaviour sanitizers
	$(Q)+$(SUB) all
	$(Q)+$(SUB) BUILD=$(BUILD)/asan SAN='$(ASAN)' MM_SAN='$(ASAN)' $(BUILD)/asan/slat tests
	$(Q)ln -sfn ../guests $(BUILD)/asan/guests
	$(Q)BUILD=$(BUILD)/asan CK_TIMEOUT_MULTIPLIER=10 PART_SECONDS=5400 tests/check.sh unit guests cli

clang: deps ## everything builds with clang, too
	$(Q)+$(SUB) CC=clang BUILD=$(BUILD)/clang all tests

tsan: deps ## the tests, the guests and the command with the thread sanitizer
	$(Q)+$(SUB) all
	$(Q)+$(SUB) BUILD=$(BUILD)/tsan SAN='-fsanitize=thread' MM_SAN='-fsanitize=thread' $(BUILD)/tsan/slat tests
	$(Q)ln -sfn ../guests $(BUILD)/tsan/guests
	$(Q)BUILD=$(BUILD)/tsan CK_TIMEOUT_MULTIPLIER=10 PART_SECONDS=5400 tests/check.sh unit guests cli

coverage: deps ## which lines and branches of mm/ its tests reach; all, and 95 %, must be
	$(Q)+$(SUB) CC=gcc BUILD=$(BUILD)/coverage SAN='$(COVERAGE)' MM_SAN='$(COVERAGE)' tests
	$(Q)BUILD=$(BUILD)/coverage tests/coverage.sh

fuzz: deps ## each target for FUZZ_SECONDS (30)
	$(Q)+$(SUB) CC=clang BUILD=$(BUILD)/fuzz SAN='$(ASAN) -fsanitize=fuzzer-no-link' \
		MM_SAN='$(ASAN) -fsanitize=fuzzer-no-link' $(FUZZ:%=$(BUILD)/fuzz/fuzz_%)
	$(Q)tests/fuzz.sh $(FUZZ)

bench: bench-start bench-mm bench-heap bench-table bench-io bench-mem bench-pack ## all tables of figures
bench-start: ## start-up beside a floor and QEMU
	$(Q)+$(SUB) all $(BUILD)/bench/floor $(BUILD)/bench/start
	$(Q)tests/bench/start.sh && tests/bench/table.sh
bench-mm: ## extents, frames and objects beside their floors and peers
	$(Q)tests/deps.sh bench
	$(Q)+$(SUB) $(patsubst %,$(BUILD)/bench/%,$(MM_BENCH) objects_dpdk)
	$(Q)for name in $(MM_BENCH); do $(BUILD)/bench/$$name $(BUILD)/bench/$$name.json || exit; done
	$(Q)tests/bench/table.sh
bench-heap: ## the classic heaps and the pools beside floors and peers; whole programs on slat's heap and others
	$(Q)tests/deps.sh bench
	$(Q)+$(SUB) $(patsubst %,$(BUILD)/bench/%,heap objects objects_dpdk programs) $(BUILD)/libslatmalloc.so
	$(Q)$(BUILD)/bench/heap $(BUILD)/bench/heap.json
	$(Q)$(BUILD)/bench/programs $(BUILD)/libslatmalloc.so $(BUILD)/bench/programs.json && tests/bench/table.sh
bench-table: ## second-level tables beside their floors, scattered RAM beside one block
	$(Q)+$(SUB) all $(BUILD)/bench/pagetable $(BUILD)/bench/scatter
	$(Q)$(BUILD)/bench/pagetable $(BUILD)/bench/pagetable.json && tests/bench/scatter.sh && tests/bench/table.sh
bench-io: ## the IOMMU beside bare loads, slat's disk beside QEMU's
	$(Q)+$(SUB) all $(BUILD)/bench/iommu $(BUILD)/bench/io
	$(Q)$(BUILD)/bench/iommu $(BUILD)/bench/iommu.json
	$(Q)$(BUILD)/bench/io $(BUILD)/slat $(BUILD)/guests/io.elf $(BUILD)/bench/io.json && tests/bench/table.sh

bench-mem: ## touching memory, telling where it is, and placing a guest
	$(Q)+$(SUB) $(MEM_BENCH:%=$(BUILD)/bench/%)
	$(Q)for name in $(MEM_BENCH); do $(BUILD)/bench/$$name $(BUILD)/bench/$$name.json || exit; done
	$(Q)tests/bench/table.sh

bench-pack: ## events of a fleet beside a red-black tree, and its memory
	$(Q)+$(SUB) $(BUILD)/bench/pack
	$(Q)$(BUILD)/bench/pack $(BUILD)/bench/pack.json && tests/bench/table.sh

install: $(BUILD)/slat $(BUILD)/libslatmalloc.so ## to PREFIX (/usr/local), under DESTDIR
	install -D -m 755 $(BUILD)/slat $(DESTDIR)$(PREFIX)/bin/slat
	install -D -m 755 $(BUILD)/libslatmalloc.so $(DESTDIR)$(PREFIX)/lib/libslatmalloc.so
	install -D -m 644 vmm/libslatmalloc.3 $(DESTDIR)$(PREFIX)/share/man/man3/libslatmalloc.3
	install -D -m 644 vmm/slat.1 $(DESTDIR)$(PREFIX)/share/man/man1/slat.1
	install -D -m 644 vmm/slat.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/slat

$(BUILD)/slat: $(call obj,vmm/main.c) $(PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -o $@ $(call group,$^) $(LIBS)

# Only what it exports is seen by the program that it is loaded into, for good. It begins first, so that at a fork its
# gate closes last: what others wait for at a fork may need the heap.
$(PRELOAD): HOSTED += -fPIC -fvisibility=hidden
$(BUILD)/libslatmalloc.so: $(PRELOAD) $(BUILD)/libmm.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -shared -static-libgcc -o $@ $^ -Wl,--exclude-libs,ALL -Wl,-z,nodelete -Wl,-z,initfirst -Wl,-z,now -pthread

$(BUILD)/libmm.a: $(MM)
$(BUILD)/libdevices.a: $(DEVICES)
$(BUILD)/libslat.a: $(VMM)
$(BUILD)/%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# Another compiler or other flags make everything anew.
$(BUILD)/flags: FORCE
	$(Q)mkdir -p $(@D) && echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' > $@

$(BUILD)/obj/mm/%.o: mm/%.c $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) $(FREESTANDING) $(MM_SAN) -c -o $@ $<

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) $(HOSTED) -c -o $@ $<

# A list of system calls becomes a filter here, and not at every start.
$(BUILD)/sandbox_list: $(call obj,vmm/sandbox_list.c)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -o $@ $^ -lseccomp

$(BUILD)/include/vmm/sandbox_filter.h: $(BUILD)/sandbox_list
	$(call say,MAKE,$@)
	$(Q)mkdir -p $(@D) && $< > $@

$(call obj,vmm/sandbox.c): $(BUILD)/include/vmm/sandbox_filter.h
$(call obj,vmm/sandbox.c): HOSTED += -I$(BUILD)/include

$(BUILD)/tests/suites.h: $(UNIT)
	$(Q)mkdir -p $(@D) && printf 'SUITE(%s)\n' $(patsubst tests/unit/test_%.c,%,$(UNIT)) > $@

$(call obj,tests/unit/main.c): $(BUILD)/tests/suites.h
$(call obj,tests/unit/main.c): HOSTED += -I$(BUILD)/tests

$(BUILD)/tests/unit: $(call obj,$(UNIT) tests/unit/main.c) $(PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -o $@ $(call group,$^) -lcheck -lsubunit -lm -lrt $(LIBS)

$(BUILD)/tests/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(call obj,tests/fuzz/replay.c) $(PARTS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(SAN) -o $@ $(call group,$^) $(LIBS)

# Without sanitizers: theirs is another heap.
$(BUILD)/tests/heap_count.so: tests/heap_count.c $(BUILD)/flags
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(filter-out -MMD -MP,$(BASE)) -D_GNU_SOURCE -fPIC -shared -o $@ $<

# As programs are compiled, that know nothing of us.
$(BUILD)/tests/heap_bugs: tests/heap_bugs.c $(BUILD)/flags
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) -D_GNU_SOURCE -o $@ $<

# To be run with the library: without sanitizers, without what a compiler knows of malloc, and with frame pointers.
CARELESS = $(if $(findstring clang,$(CC)),-Wno-non-power-of-two-alignment -Wno-builtin-assume-aligned-alignment,-Wno-use-after-free \
	-Wno-free-nonheap-object -Wno-array-bounds)
$(BUILD)/tests/preload: tests/preload.c $(BUILD)/flags
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) $(CARELESS) -fno-builtin -fno-omit-frame-pointer -D_GNU_SOURCE -pthread -o $@ $<

# The same with the library's own files under other names: what a sanitizer can watch.
RENAMED = $(foreach f,malloc free calloc realloc reallocarray aligned_alloc memalign posix_memalign valloc pvalloc \
	malloc_usable_size malloc_trim malloc_stats malloc_info mallinfo mallinfo2 mallopt,-D$f=slat_$f)
$(BUILD)/tests/preload_static: tests/preload.c $(wildcard vmm/preload*.[ch]) $(call obj,$(PRELOAD_ALSO)) $(BUILD)/libmm.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(filter-out -MMD -MP,$(BASE)) $(CARELESS) $(RENAMED) -fno-builtin $(HOSTED) -o $@ $(filter %.c %.o %.a,$^)

$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -fsanitize=fuzzer -o $@ $(call group,$^) $(LIBS)

$(BUILD)/bench/%: tests/bench/%.c $(BUILD)/flags
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) $(HOSTED) -o $@ $< $(LIBS)

$(BUILD)/bench/objects $(BUILD)/bench/heap: $(call obj,$(addprefix tests/bench/,objects_ask.c objects_serve.c))
$(BUILD)/bench/heap: $(call obj,$(addprefix tests/bench/,heap_serve.c heap_cases.c))
$(patsubst %,$(BUILD)/bench/%,$(MM_BENCH) heap placement pagetable scatter io): $(BUILD)/bench/%: $(call obj,tests/bench/%.c tests/bench/bench.c vmm/port.c) $(BUILD)/libmm.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(SAN) -o $@ $(call group,$^) -lm $(LIBS)

$(BUILD)/bench/iommu: $(call obj,tests/bench/iommu.c tests/bench/bench.c vmm/port.c) $(BUILD)/libdevices.a $(BUILD)/libmm.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(SAN) -o $@ $^ -lm $(LIBS)

$(BUILD)/bench/programs: $(call obj,tests/bench/programs.c tests/bench/bench.c)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(SAN) -o $@ $^ -lm $(LIBS)

$(patsubst %,$(BUILD)/bench/%,prefault resident pack): $(BUILD)/bench/%: $(call obj,tests/bench/%.c tests/bench/bench.c) $(PARTS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(SAN) -o $@ $(call group,$^) -lm $(LIBS)

# Compiled for the same CPU as all others, and what DPDK's headers cannot do without.
DPDK = $(patsubst -I%,-isystem %,$(filter-out -march=%,$(shell pkg-config --cflags libdpdk))) -mssse3
$(call obj,tests/bench/objects_dpdk.c): HOSTED += $(DPDK)
$(BUILD)/bench/objects_dpdk: $(call obj,$(addprefix tests/bench/,objects_dpdk.c objects_serve.c bench.c) vmm/port.c)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(SAN) -o $@ $^ -lrte_eal -lrte_mempool -lrte_ring -lm $(LIBS)

include guests/guests.mk
include tests/oracle/oracle.mk

clean: ## remove build/
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
