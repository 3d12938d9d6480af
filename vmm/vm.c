#include "vmm/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "mm/general_heap.h"
#include "mm/port.h"
#include "vmm/abi.h"
#include "vmm/cpuid.h"
#include "vmm/devices.h"
#include "vmm/gdb_server.h"
#include "vmm/prefault.h"
#include "vmm/size.h"
#include "vmm/stitch.h"
#include "vmm/zones.h"

#define CACHE_LINE  64
#define RETRY_NS    UINT64_C(10000000)	 /* a vCPU was in the serial line */
#define PATIENCE_NS UINT64_C(1000000000) /* for the console's reader, once the run was ended from outside */

_Static_assert(sizeof(struct board) <= GENERAL_HEAP_SMALL_MAX, "the state of the devices comes from a slab cache");

const char *vm_how_name(enum vm_how how)
{
	static const char *const names[] = {
		[VM_RUNNING] = "running",
		[VM_POWER_OFF] = "power-off",
		[VM_DEBUG_EXIT] = "debug-exit",
		[VM_RESET] = "reset",
		[VM_TRIPLE_FAULT] = "triple-fault",
		[VM_PANIC] = "panic",
		[VM_TIMEOUT] = "timeout",
		[VM_SIGNAL] = "signal",
		[VM_QUIT] = "quit",
		[VM_KILLED] = "killed",
		[VM_INTERNAL] = "internal-error",
		[VM_FAULT] = "fault",
		[VM_REFUSED] = "refused",
	};

	return names[how];
}

/* The loop has nothing to do for it: this thread leaves the guest now, and wakes the loop as the last of all. Two wakes
 * of a main thread on another CPU are a tenth of the shortest run. */
static bool is_only_cpu(const struct vm *vm)
{
	return vm->cpus == 1 && !vm->gdb && atomic_load(&vm->cpu[0]->self) == pthread_self();
}

void vm_end(struct vm *vm, enum vm_how how, uint32_t value, const struct failure *why, const char *dump)
{
	int running = VM_RUNNING;

	if (!atomic_compare_exchange_strong(&vm->how, &running, (int)how))
		return;
	vm->end_value = value;
	vm->end_ns = loop_now();
	if (why)
		vm->end_failure = *why;
	if (dump)
		snprintf(vm->end_dump, sizeof(vm->end_dump), "%s", dump);
	atomic_store(&vm->ended, true);
	if (!is_only_cpu(vm))
		loop_wake(&vm->loop);
}

static void device_ended(void *self, enum ending_kind kind, uint32_t value)
{
	static const enum vm_how hows[] = {
		[ENDING_POWER_OFF] = VM_POWER_OFF,
		[ENDING_RESET] = VM_RESET,
		[ENDING_DEBUG_EXIT] = VM_DEBUG_EXIT,
		[ENDING_PANIC] = VM_PANIC,
	};

	vm_end(self, hows[kind], value, NULL, NULL);
}

static void board_stopped(void *self, const struct failure *why)
{
	vm_end(self, VM_INTERNAL, 0, why, NULL);
}

int vm_open(struct vm *vm, struct memory *memory, struct failure *f)
{
	int error;

	*vm = (struct vm){.memory = memory, .fd = -1, .kvm.fd = -1, .signal_fd = -1, .loop.wake_fd = -1};
	if (kvm_open(&vm->kvm, kvm_path(), f))
		return f->code;
	if (kvm_require(&vm->kvm, f))
		return f->code;
	error = loop_open(&vm->loop);
	if (error)
		return fail(f, EXIT_HOST, "cannot create an event descriptor: %s", strerror(-error));
	vm->fd = kvm_vm_create(&vm->kvm);
	if (vm->fd < 0)
		return fail(f, EXIT_KVM, "KVM cannot create a virtual machine: %s", strerror(-vm->fd));
	return 0;
}

/* An Intel CPU without unrestricted guest runs real mode in a task of KVM's own, which wants three pages. */
static int set_tss(const struct vm *vm, struct failure *f)
{
	int error;

	if (vm->kvm.module != KVM_MODULE_INTEL)
		return 0;
	error = kvm_vm_set_identity_map(vm->fd, LAYOUT_KVM_IDENTITY);
	if (!error)
		error = kvm_vm_set_tss(vm->fd, LAYOUT_KVM_TSS);
	if (error)
		return fail(f, EXIT_KVM, "KVM refused the place of its real-mode pages: %s", strerror(-error));
	return 0;
}

static struct stitch stitch_of(const struct vm *vm)
{
	return (struct stitch){vm->guest.block, vm->guest.blocks, vm->guest.ranges};
}

static int build_table(struct vm *vm, struct failure *f)
{
	const bool intel = cpuid_host_is_intel(); /* asked once: under virtualisation CPUID leaves to the outer host */
	const struct pagetable_attr attr = {
		.rights = PAGETABLE_READ | PAGETABLE_WRITE | PAGETABLE_EXEC | (intel ? 0u : (unsigned)PAGETABLE_USER),
		.memory = PAGETABLE_WRITE_BACK,
	};
	const struct block *tables = vm->guest.tables;
	const struct pagetable_config config = {
		.format = intel ? PAGETABLE_EPT : PAGETABLE_NPT,
		.phys_bits = HOST_PHYS_BITS,
		.leaf_max = vm->guest.leaf,
		.arena = tables->host,
		.arena_first = tables->first,
		.arena_frames = tables->bytes / FRAME_BYTES,
		.pages = table_pages_source(&vm->table_pages),
		.readers = vm->dma_ram ? vm->dma_ram->reader : NULL,
		.readers_count = vm->dma_ram ? DMA_RAM_READERS : 0,
	};
	const struct stitch stitch = stitch_of(vm);
	enum mm_err error = pagetable_init(&vm->table, &config);

	vm->table_ready = error == MM_OK;
	if (error == MM_OK)
		error = stitch_map(&stitch, &vm->table, attr);
	if (error == MM_ENOMEM)
		return fail(f, EXIT_HOST, "the second-level table needs more than %" PRIu64 " pages",
			    tables->bytes / FRAME_BYTES);
	MM_ASSERT(error == MM_OK, error, vm->ram_bytes);
	pagetable_flushed(&vm->table); /* nobody has walked it yet */
	return 0;
}

static void spare_guards(const struct vm *vm)
{
	const struct stitch stitch = stitch_of(vm);
	struct stitch_cursor at = {0};
	struct piece p;

	while (stitch_next(&stitch, &at, &p)) {
		const struct pool *pool = host_pool_of(vm->guest.host, (struct pfn){p.hpa / FRAME_BYTES});

		if (p.kind == PIECE_GUARD)
			backing_spare(&pool->backing, p.hpa - pool->base.n * FRAME_BYTES, p.bytes);
	}
}

struct mapped { /* a piece of a pool that the table maps */
	const struct pool *pool;
	uint64_t in_pool, bytes;
};

/* The first at *gpa or behind it; *gpa is then behind it. */
static bool next_mapped(const struct vm *vm, uint64_t *gpa, struct mapped *m)
{
	struct pagetable_run run;

	if (!pagetable_next_run(&vm->table, *gpa, &run))
		return false;
	m->pool = host_pool_of(vm->guest.host, (struct pfn){run.out / FRAME_BYTES});
	m->in_pool = run.out - m->pool->base.n * FRAME_BYTES;
	m->bytes = m->pool->backing.bytes - m->in_pool; /* the next one's numbers may follow */
	if (m->bytes > run.bytes)
		m->bytes = run.bytes;
	*gpa = run.in + m->bytes;
	return true;
}

/* What the table maps, and nothing else. */
static int touch_all(const struct vm *vm, struct failure *f)
{
	struct mapped m;

	for (uint64_t gpa = 0; next_mapped(vm, &gpa, &m);)
		if (m.pool->prefault && backing_prefault(&m.pool->backing, m.in_pool, m.bytes, f))
			return f->code;
	return 0;
}

bool vm_lacks_pages(const struct vm *vm, struct failure *why)
{
	struct mapped m;

	for (uint64_t gpa = 0; next_mapped(vm, &gpa, &m);) {
		const struct backing *b = &m.pool->backing;
		const int error = b->kind == BACKING_HUGETLB ? prefault_ask(b->host + m.in_pool, m.bytes) : 0;

		if (!error || error == EINVAL)
			continue;
		fail(why, EXIT_HOST,
		     "%s: the host, or the control group, has no huge page of %s left for what the guest touched: "
		     "prefault=on has all of them before it starts",
		     b->zone ? b->zone : "--memory hugepages=on", size_format(pagetable_size_bytes(b->leaf)).s);
		return true;
	}
	return false;
}

static int check_readonly(const struct vm *vm, struct failure *f)
{
	for (unsigned i = 0; i < vm->guest.ranges->count; i++)
		if (vm->guest.ranges->range[i].kind == GUEST_READONLY && kvm_check(&vm->kvm, KVM_CAP_READONLY_MEM) <= 0)
			return fail(f, EXIT_KVM,
				    "--ro: this host's KVM has no read-only memslots (KVM_CAP_READONLY_MEM)");
	return 0;
}

static struct ram ram_of(const struct vm *vm)
{
	const struct host *host = vm->guest.host;
	const struct pool *pool = vm->guest.block->pool;

	if (host->mirror)
		return (struct ram){.table = &vm->table, .host = host->mirror, .host_bytes = host->mirror_bytes};
	return (struct ram){
		.table = &vm->table,
		.host = pool->backing.host,
		.host_base = pool->base.n * FRAME_BYTES,
		.host_bytes = pool->backing.bytes,
	};
}

int vm_add_memory(struct vm *vm, const struct vm_memory *memory, struct failure *f)
{
	vm->guest = *memory;
	for (uint32_t i = 0; i < memory->blocks; i++)
		vm->ram_bytes += memory->block[i].bytes;
	if (check_readonly(vm, f))
		return f->code;
	if (memory->devices) {
		vm->dma_ram = dma_ram_open(vm->memory, &vm->ram, memory->block, memory->blocks, f);
		if (!vm->dma_ram)
			return f->code;
	}
	if (table_pages_open(&vm->table_pages, vm->memory, memory->tables, f) || build_table(vm, f))
		return f->code;
	vm->ram = ram_of(vm);
	spare_guards(vm);
	if (memory->ranges->count) /* a kernel before 5.15 refuses: its ring 3 then gets an exception */
		(void)kvm_vm_exit_on_emulation_failure(vm->fd);
	if (touch_all(vm, f))
		return f->code;
	slots_init(&vm->slots, vm->memory, (uint32_t)kvm_check(&vm->kvm, KVM_CAP_NR_MEMSLOTS));
	vm->slots.log_writes = memory->log_writes;
	if (set_tss(vm, f))
		return f->code;
	return slots_sync(&vm->slots, vm->fd, &vm->ram, f);
}

uint64_t vm_tlb_reach(const struct vm *vm)
{
	const struct pagetable_stats s = pagetable_stats_read(&vm->table);
	uint64_t leaves = 0, bytes = 0;

	for (unsigned size = 0; size < PAGETABLE_SIZES; size++) {
		leaves += s.leaves[size];
		bytes += s.leaves[size] * pagetable_size_bytes((enum pagetable_size)size);
	}
	return leaves > VM_TLB_ENTRIES ? bytes / leaves * VM_TLB_ENTRIES : bytes;
}

/* A run goes on from one device-dax to the next where they are neighbours by number; so may a leaf, which counts where
 * it begins. */
void vm_leaves_of(const struct vm *vm, const struct pool *pool, uint64_t leaves[PAGETABLE_SIZES])
{
	const uint64_t first = pool->base.n * FRAME_BYTES, end = first + pool->backing.bytes;
	struct pagetable_leaf leaf;
	struct pagetable_run run;

	memset(leaves, 0, PAGETABLE_SIZES * sizeof(*leaves));
	for (uint64_t at = 0; pagetable_next_run(&vm->table, at, &run); at = run.in + run.bytes) {
		const bool inside = run.out >= first && run.out + run.bytes <= end;

		if (run.out >= end || run.out + run.bytes <= first)
			continue;
		for (unsigned size = 0; inside && size < PAGETABLE_SIZES; size++)
			leaves[size] += run.leaves[size];
		for (at = run.in; !inside && at < run.in + run.bytes; at += pagetable_size_bytes(leaf.size))
			if (pagetable_walk(&vm->table, at, &leaf) && leaf.out >= first && leaf.out < end)
				leaves[leaf.size]++;
	}
}

bool vm_is_ram(const struct vm *vm, uint64_t gpa)
{
	const uint64_t low = layout_low_bytes(vm->ram_bytes);

	return gpa < low || (gpa >= LAYOUT_HOLE_END && gpa - LAYOUT_HOLE_END < vm->ram_bytes - low);
}

static void add_line(struct boot_range *map, unsigned *lines, struct boot_range one)
{
	struct boot_range *last = &map[*lines ? *lines - 1 : 0];

	if (*lines && last->type == one.type && last->start + last->bytes == one.start) {
		last->bytes += one.bytes;
		return;
	}
	MM_ASSERT(*lines < VM_MAP_MAX, one.start, one.bytes);
	map[(*lines)++] = one;
}

/* Of one kind, but for the reserved top of low memory. */
static void add_lines(struct boot_range *map, unsigned *lines, uint64_t start, uint64_t end, uint32_t type)
{
	while (start < end) {
		bool top = start >= LAYOUT_BOOT_DATA && start < LAYOUT_HIGH_START;
		uint64_t border = start < LAYOUT_BOOT_DATA ? LAYOUT_BOOT_DATA : top ? LAYOUT_HIGH_START : end;

		if (border > end)
			border = end;
		add_line(map, lines, (struct boot_range){start, border - start, top ? E820_RESERVED : type});
		start = border;
	}
}

static void add_zone(const struct vm *vm, struct boot_range *map, unsigned *lines, uint64_t start, uint64_t end)
{
	struct pagetable_run run;

	while (start < end && pagetable_next_run(&vm->table, start, &run) && run.in < end) {
		add_lines(map, lines, start, run.in, E820_RESERVED);
		add_lines(map, lines, run.in, run.in + run.bytes,
			  run.attr.rights & PAGETABLE_WRITE ? E820_RAM : E820_RESERVED);
		start = run.in + run.bytes;
	}
	add_lines(map, lines, start, end, E820_RESERVED);
}

unsigned vm_memory_map(const struct vm *vm, struct boot_range *map)
{
	const uint64_t low = layout_low_bytes(vm->ram_bytes);
	unsigned lines = 0;

	add_zone(vm, map, &lines, 0, low);
	add_zone(vm, map, &lines, LAYOUT_HOLE_END, LAYOUT_HOLE_END + vm->ram_bytes - low);
	return lines;
}

static int check_cpus(const struct vm *vm, unsigned cpus, struct failure *f)
{
	int most = kvm_check(&vm->kvm, KVM_CAP_MAX_VCPUS);
	unsigned limit = most > 0 ? (unsigned)most : 4; /* 4: what KVM's documentation says then */

	MM_ASSERT(cpus <= VM_CPUS_MAX, cpus, limit);
	if (cpus > limit)
		return fail(f, EXIT_USAGE, "--cpus boot=%u is more than the %u that KVM takes here", cpus, limit);
	return 0;
}

/* A vCPU writes its own all the time: no line of it is another's. */
static void add_cpu(struct vm *vm, struct kvm_cpuid_table *cpuid, struct failure *f)
{
	struct vcpu *c = memory_alloc_aligned(vm->memory, VCPU_BYTES, CACHE_LINE);

	if (!c) {
		fail(f, EXIT_HOST, "no memory for vCPU %u", vm->cpus);
		return;
	}
	vm->cpu[vm->cpus++] = c;
	vcpu_open(c, vm, vm->cpus - 1, cpuid, f);
}

static int open_cpus(struct vm *vm, unsigned cpus, struct failure *f)
{
	struct kvm_cpuid_table *cpuid = memory_alloc(vm->memory, sizeof(*cpuid));
	const struct cpuid_config config = {
		.cpus = cpus,
		.tsc_deadline = kvm_check(&vm->kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
		.interpreted = vm->kvm.module == KVM_MODULE_PVM,
	};
	int error;

	if (!cpuid)
		return fail(f, EXIT_HOST, "no memory for the CPUID of %u vCPUs", cpus);
	error = kvm_supported_cpuid(&vm->kvm, cpuid);
	if (error)
		fail(f, EXIT_KVM, "KVM does not tell its CPUID: %s", strerror(-error));
	else
		cpuid_shape(cpuid, &config);
	while (!f->code && vm->cpus < cpus)
		add_cpu(vm, cpuid, f);
	memory_free(vm->memory, cpuid);
	return f->code;
}

int vm_add_cpus(struct vm *vm, unsigned cpus, const struct board_config *config, struct failure *f)
{
	struct board_config full = *config;
	int error;

	if (check_cpus(vm, cpus, f))
		return f->code;
	error = kvm_vm_split_irqchip(vm->fd, IRQ_LINES);
	if (error)
		return fail(f, EXIT_KVM, "KVM refused a split interrupt controller: %s", strerror(-error));
	if (open_cpus(vm, cpus, f))
		return f->code;
	full.vm = vm->fd;
	full.loop = &vm->loop;
	full.console = &vm->console;
	full.ending = (struct ending){vm, device_ended};
	full.fault = (struct board_fault){vm, board_stopped};
	full.below_4g = layout_low_bytes(vm->ram_bytes);
	full.above_4g = vm->ram_bytes - full.below_4g;
	full.cpus = cpus;
	vm->board = memory_alloc(vm->memory, sizeof(*vm->board));
	if (!vm->board)
		return fail(f, EXIT_HOST, "no memory for the devices");
	board_init(vm->board, &full);
	return 0;
}

int vm_add_devices(struct vm *vm, const struct run_options *options, struct failure *f)
{
	if (!options_devices(options))
		return 0;
	vm->devices = memory_alloc(vm->memory, sizeof(*vm->devices));
	if (!vm->devices)
		return fail(f, EXIT_HOST, "no memory for the devices");
	return devices_open(vm->devices, vm, options, f);
}

/* SIGHUP that was ignored from the start stays so: that is what nohup is. */
static sigset_t watched(void)
{
	struct sigaction hangup;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGCONT);
	sigaddset(&set, SIGUSR1);
	if (sigaction(SIGHUP, NULL, &hangup) != 0 || hangup.sa_handler != SIG_IGN)
		sigaddset(&set, SIGHUP);
	return set;
}

void vm_hold_question(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void vm_hold_signals(void)
{
	sigset_t set = watched();

	pthread_sigmask(SIG_BLOCK, &set, NULL); /* before the first thread: they inherit it */
	signal(SIGPIPE, SIG_IGN);		/* a reader that has gone is no reason to end the guest */
}

static int watch_signals(struct vm *vm, struct failure *f)
{
	sigset_t set = watched();

	if (vm->devices && vm->devices->console) {
		sigaddset(&set, SIGWINCH);
		pthread_sigmask(SIG_BLOCK, &set, NULL);
	}
	vm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (vm->signal_fd < 0)
		return fail(f, EXIT_HOST, "cannot watch signals: %s", strerror(errno));
	vcpu_install_kick();
	return 0;
}

int vm_start(struct vm *vm, const struct boot_entry *entry, uint64_t timeout_ns, struct failure *f)
{
	if (watch_signals(vm, f) || vcpu_boot(vm->cpu[0], entry, f))
		return f->code;
	if (timeout_ns)
		loop_timer_set(&vm->loop, LOOP_TIMEOUT, loop_now() + timeout_ns);
	if (vm->guest.zones && zones_keep_others(vm->guest.zones, f)) /* devices have threads of their own */
		return f->code;
	if (vm->devices && devices_start(vm->devices, f))
		return f->code;
	/* The boot CPU last: a thread takes memory from libc for its start, and no guest is to run meanwhile. The
	 * others stand still until it wakes them. */
	for (unsigned i = vm->cpus; !f->code && i > 0; i--)
		vcpu_start(vm->cpu[i - 1], f);
	return f->code;
}

static void on_signals(struct vm *vm)
{
	struct signalfd_siginfo info;

	while (read(vm->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGWINCH) {
			vm->resized = true;
		} else if (info.ssi_signo == SIGCONT) {
			console_resume(&vm->console);
		} else if (info.ssi_signo == SIGUSR1) {
			vm->asked_look = true;
		} else if (!vm->asked_off && board_power_button(vm->board)) {
			vm->asked_off = true;
			fprintf(stderr, "slat: asked the guest to power off; once more ends it\n");
		} else {
			vm_end(vm, VM_SIGNAL, info.ssi_signo, NULL, NULL);
		}
	}
}

/* True iff more could be taken. */
static bool feed(struct vm *vm)
{
	size_t took, room;
	bool fed;

	if (vm->devices && vm->devices->console)
		fed = devices_feed(vm->devices, vm->pending, vm->pending_bytes, &took, &room);
	else
		fed = board_serial_feed(vm->board, vm->pending, vm->pending_bytes, &took, &room);
	if (!fed)
		loop_timer_set(&vm->loop, LOOP_INPUT, loop_now() + RETRY_NS);
	vm->pending_bytes -= (unsigned)took;
	memmove(vm->pending, vm->pending + took, vm->pending_bytes);
	return room != 0 && vm->pending_bytes == 0;
}

static void resize(struct vm *vm)
{
	vm->resized = !devices_resize(vm->devices);
	if (vm->resized)
		loop_timer_set(&vm->loop, LOOP_INPUT, loop_now() + RETRY_NS);
}

/* One answer for all that asked until now. A run that has just ended tells its end instead. */
static void look(struct vm *vm)
{
	if (vm->asked_look && vm->look && !atomic_load(&vm->ended))
		vm->look(vm->look_self);
	vm->asked_look = false;
}

static void on_keys(struct vm *vm)
{
	bool quit = false;

	vm->pending_bytes = (unsigned)console_read(&vm->console, vm->pending, sizeof(vm->pending), &quit);
	if (quit)
		vm_end(vm, VM_QUIT, 0, NULL, NULL);
}

static void serve_once(struct vm *vm)
{
	struct pollfd fds[2 + GDB_SERVER_FDS] = {
		{.fd = vm->signal_fd, .events = POLLIN},
		{.fd = -1, .events = POLLIN},
	};
	const unsigned count = vm->gdb ? 2 + GDB_SERVER_FDS : 2;
	unsigned due;

	if (vm->resized)
		resize(vm);
	if (feed(vm))
		fds[1].fd = vm->console.in;
	if (vm->gdb)
		gdb_server_poll(vm->gdb, fds + 2);
	due = loop_wait(&vm->loop, fds, count);
	if (due & 1u << LOOP_FLUSH)
		console_flush(&vm->console);
	if (due & 1u << LOOP_PIT)
		board_alarm(vm->board);
	if (due & 1u << LOOP_TIMEOUT)
		vm_end(vm, VM_TIMEOUT, 0, NULL, NULL);
	if (fds[0].revents)
		on_signals(vm);
	if (fds[1].revents)
		on_keys(vm);
	if (vm->gdb)
		gdb_server_serve(vm->gdb, fds + 2);
	look(vm);
}

static void kick_cpus(struct vm *vm)
{
	if (vm->gdb)
		gdb_vm_over(&vm->gdb->target);
	for (unsigned i = 0; i < vm->cpus && atomic_load(&vm->running); i++)
		vcpu_kick(vm->cpu[i]);
}

static void join_cpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->cpus; i++)
		vcpu_join(vm->cpu[i]);
}

static bool ended_from_outside(const struct vm *vm)
{
	int how = atomic_load(&vm->how);

	return how == VM_TIMEOUT || how == VM_SIGNAL || how == VM_QUIT || how == VM_KILLED;
}

static bool ends(uint32_t number)
{
	return number != SIGCONT && number != SIGWINCH && number != SIGUSR1;
}

static void finish_once(struct vm *vm)
{
	struct pollfd fd = {.fd = vm->signal_fd, .events = POLLIN};
	bool hurry = loop_wait(&vm->loop, &fd, 1) & 1u << LOOP_TIMEOUT;
	struct signalfd_siginfo info;

	while (fd.revents && read(vm->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		hurry = hurry || ends(info.ssi_signo);
	if (hurry)
		console_hurry(&vm->console);
}

/* Once no vCPU runs, devices are to end, too; whoever waits for the console's reader has not ended until then. */
static bool devices_over(struct vm *vm)
{
	if (!vm->devices || devices_ended(vm->devices))
		return true;
	devices_ask(vm->devices);
	loop_timer_set(&vm->loop, LOOP_INPUT, loop_now() + RETRY_NS);
	return false;
}

/* Out of the guest with all, and out to the reader with what it said. A reader that has stopped may keep us from both,
 * until the time is over or a signal comes. */
static void finish(struct vm *vm)
{
	kick_cpus(vm);
	if (ended_from_outside(vm))
		loop_timer_set(&vm->loop, LOOP_TIMEOUT, loop_now() + PATIENCE_NS);
	while (atomic_load(&vm->running) || !devices_over(vm) || !console_flush(&vm->console))
		finish_once(vm);
	join_cpus(vm);
	if (vm->devices)
		devices_stop(vm->devices);
}

void vm_wait(struct vm *vm)
{
	while (!atomic_load(&vm->ended))
		serve_once(vm);
	finish(vm);
}

static void drop_cpu(struct vm *vm, unsigned i)
{
	vcpu_close(vm->cpu[i]);
	memory_free(vm->memory, vm->cpu[i]);
}

void vm_close(struct vm *vm)
{
	atomic_store(&vm->ended, true);
	console_hurry(&vm->console);
	kick_cpus(vm);
	join_cpus(vm);
	for (unsigned i = 0; i < vm->cpus; i++)
		drop_cpu(vm, i);
	if (vm->devices)
		devices_close(vm->devices);
	memory_free(vm->memory, vm->devices);
	if (vm->board)
		board_fini(vm->board);
	memory_free(vm->memory, vm->board);
	console_close(&vm->console);
	slots_fini(&vm->slots);
	if (vm->table_ready)
		pagetable_fini(&vm->table);
	table_pages_close(&vm->table_pages);
	dma_ram_close(vm->dma_ram);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->signal_fd >= 0)
		close(vm->signal_fd);
	loop_close(&vm->loop);
	kvm_close(&vm->kvm);
}
