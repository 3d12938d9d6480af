/* vmm/gdb_vm.c
 *
 * All-stop: whoever wants a stop (the client, a vCPU at a breakpoint) sets `hold`
 * of every vCPU; the main thread kicks them, each parks where its thread would
 * enter the guest next, and when the last has parked the main thread tells the
 * session. Until it resumes them the main thread alone asks KVM about them.
 *
 * G1  a vCPU parks only after KVM_RUN came back with EINTR, or at a debug exit or a
 *     crash: never between an exit and the entry that completes it. So registers
 *     and rip are those of a whole instruction.
 * G2  immediate_exit is set by a kick, after `hold`, and cleared by the vCPU under
 *     the lock once it need not stand: a kick that comes later than its reason
 *     cannot be lost, and one whose reason is gone cannot keep it out.
 * G3  KVM is told of points and steps by each vCPU's own thread, when it leaves
 *     (`stale`): the main thread never waits for a vCPU that runs.
 * G4  of several vCPUs that stop at once the first is told. Of the others' reasons a
 *     breakpoint comes again by itself; a watchpoint or a crash is kept (`late`)
 *     and told at the next resume, before anybody runs, if what watched is there.
 * G5  after the client went the guest runs as if none had ever come: no point is
 *     left in memory or registers. A guest that has not started yet waits on for
 *     another client, unless the first one detached by its own word.
 *
 * Memory is read and written through the guest's own tables, as the CPU in question
 * has them now (KVM_TRANSLATE), and then through ours. The debugger is the owner's
 * hand: what the guest may not write it may, on either side; what is not mapped
 * there is not readable, nor is a device.
 *
 * Time does not stand still: the guest's clocks and timers and --timeout run on
 * while the guest is stopped, or waits for its first client.
 *
 * SYSRET takes the trap flag from R11, so that a step ends there unseen (so do
 * CPUs; kvm_pvm aside, where it would trap into the guest): before a step over it
 * the flag is put into R11, and taken out afterwards.
 *
 * Known: after a triple fault kvm_amd has reset the vCPU, its registers are those
 * of power-on. A vCPU that waits for a stopped reader of the console stops when
 * that reads on. On kvm_pvm nothing stops a vCPU in ring 3 but the client's Ctrl-C
 * or another vCPU. */
#include "vmm/gdb_vm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "vmm/guest_walk.h"
#include "vmm/vm.h"
#include "vmm/x86.h"

#define VECTOR_BP  3u
#define FLAG_TF	   0x100u
#define DR6_CAUSES 0xe000u /* but for the four registers: while KVM has ours, the guest's are not loaded */

/* --- memory */

/* The host bytes of a gva, and how many follow in its page; NULL iff it is not there. */
static uint8_t *host_bytes(const struct gdb_vm *g, unsigned cpu, uint64_t gva, uint64_t *bytes)
{
	struct kvm_translation t = {.linear_address = gva};
	uint64_t left = FRAME_BYTES - gva % FRAME_BYTES;

	if (kvm_vcpu_translate(g->vm->cpu[cpu]->fd, &t) || !t.valid)
		return NULL;
	if (*bytes > left)
		*bytes = left;
	return ram_span(&g->vm->ram, t.physical_address, bytes, 0);
}

static size_t read_memory(const struct gdb_vm *g, unsigned cpu, uint64_t gva, uint8_t *to, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		uint64_t some = bytes - done;
		const uint8_t *from = host_bytes(g, cpu, gva + done, &some);

		if (!from)
			break;
		memcpy(to + done, from, some);
		done += some;
	}
	gdb_points_hide(&g->points, gva, to, done);
	return done;
}

static bool is_there(const struct gdb_vm *g, unsigned cpu, uint64_t gva, size_t bytes)
{
	for (uint64_t done = 0, some; done < bytes; done += some) {
		some = bytes - done;
		if (!host_bytes(g, cpu, gva + done, &some))
			return false;
	}
	return true;
}

static size_t target_read(void *self, unsigned cpu, uint64_t gva, uint8_t *to, size_t bytes)
{
	return read_memory(self, cpu, gva, to, bytes);
}

static bool target_write(void *self, unsigned cpu, uint64_t gva, const uint8_t *from, size_t bytes)
{
	struct gdb_vm *g = self;

	if (!is_there(g, cpu, gva, bytes))
		return false;
	for (uint64_t done = 0, some; done < bytes; done += some) {
		uint8_t copy[FRAME_BYTES], *to;

		some = bytes - done;
		to = host_bytes(g, cpu, gva + done, &some);
		if (!to)
			return false; /* cannot be: nobody changes tables meanwhile */
		memcpy(copy, from + done, some);
		gdb_points_keep(&g->points, gva + done, copy, some);
		memcpy(to, copy, some);
	}
	return true;
}

/* --- registers */

static bool get_regs(const struct gdb_vm *g, unsigned cpu, struct gdb_regs *r)
{
	const int fd = g->vm->cpu[cpu]->fd;
	struct kvm_xsave x;

	if (kvm_vcpu_get_regs(fd, &r->regs) || kvm_vcpu_get_sregs(fd, &r->sregs) || kvm_vcpu_get_xsave(fd, &x))
		return false;
	gdb_regs_from_xsave(&x, &r->fpu);
	return true;
}

static bool set_fpu(const struct gdb_vm *g, unsigned cpu, const struct kvm_fpu *fpu)
{
	const int fd = g->vm->cpu[cpu]->fd;
	struct kvm_xsave x;

	if (kvm_vcpu_get_xsave(fd, &x))
		return false;
	gdb_regs_to_xsave(fpu, &x);
	return !kvm_vcpu_set_xsave(fd, &x);
}

static bool target_get_regs(void *self, unsigned cpu, uint8_t *block)
{
	struct gdb_regs r;

	if (!get_regs(self, cpu, &r))
		return false;
	gdb_regs_pack(&r, block);
	return true;
}

/* What the client did not change is not set: KVM refuses some of what it tells, such as a state between two modes. */
static bool target_set_regs(void *self, unsigned cpu, const uint8_t *block)
{
	const struct gdb_vm *g = self;
	const int fd = g->vm->cpu[cpu]->fd;
	struct gdb_regs old, new;

	if (!get_regs(g, cpu, &old))
		return false;
	new = old;
	gdb_regs_unpack(block, &new);
	if (memcmp(&new.sregs, &old.sregs, sizeof(old.sregs)) != 0 && kvm_vcpu_set_sregs(fd, &new.sregs))
		return false;
	if (memcmp(&new.fpu, &old.fpu, sizeof(old.fpu)) != 0 && !set_fpu(g, cpu, &new.fpu))
		return false;
	return memcmp(&new.regs, &old.regs, sizeof(old.regs)) == 0 || !kvm_vcpu_set_regs(fd, &new.regs);
}

/* --- points */

/* The guest may run meanwhile; the place in memory is kept, since a running vCPU cannot be asked for it. */
static void take_away(struct gdb_vm *g, struct gdb_place *place)
{
	uint8_t trap = GDB_TRAP; /* else the guest has written other code there */

	place->used = false;
	if (place->way == GDB_BY_TRAP && !gdb_points_twin(&g->points, place))
		__atomic_compare_exchange_n(place->host, &trap, place->old[0], false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED);
}

static bool write_trap(struct gdb_vm *g, unsigned cpu, struct gdb_place *place)
{
	const struct gdb_place *twin;
	uint64_t one = 1;
	uint8_t byte;

	place->host = host_bytes(g, cpu, place->gva, &one);
	if (!place->host)
		return false;
	twin = gdb_points_twin(&g->points, place);
	byte = twin && *place->host == GDB_TRAP ? twin->old[0] : *place->host;
	gdb_points_keep(&g->points, place->gva, &byte, 1);
	*place->host = byte;
	return true;
}

static int insert_locked(struct gdb_vm *g, unsigned cpu, enum gdb_point point, uint64_t gva, uint64_t bytes)
{
	struct gdb_place *place;
	int error;

	if (gdb_points_find(&g->points, point, gva, bytes))
		return 0;
	error = gdb_points_add(&g->points, point, gva, bytes, &place);
	if (error || place->way != GDB_BY_TRAP || write_trap(g, cpu, place))
		return error;
	place->used = false;
	return EFAULT;
}

static int target_insert(void *self, unsigned cpu, enum gdb_point point, uint64_t gva, uint64_t bytes)
{
	struct gdb_vm *g = self;
	int error;

	pthread_mutex_lock(&g->lock);
	error = insert_locked(g, cpu, point, gva, bytes);
	pthread_mutex_unlock(&g->lock);
	return error;
}

static int target_remove(void *self, enum gdb_point point, uint64_t gva, uint64_t bytes)
{
	struct gdb_vm *g = self;
	struct gdb_place *place;

	pthread_mutex_lock(&g->lock);
	place = gdb_points_find(&g->points, point, gva, bytes);
	if (place)
		take_away(g, place);
	pthread_mutex_unlock(&g->lock);
	return place ? 0 : EINVAL;
}

/* --- stop and go */

static void ask_stop_locked(struct gdb_vm *g, const struct gdb_stop *stop)
{
	struct gdb_cpu *cpu = &g->cpu[stop->cpu];

	if (g->stopping) {
		cpu->has_late = stop->cause == GDB_CAUSE_CRASH ||
				(stop->cause == GDB_CAUSE_POINT && stop->point >= GDB_WATCH_WRITE);
		cpu->late = *stop;
		return;
	}
	g->stopping = true;
	g->kicked = g->told = false;
	g->stop = *stop;
	for (unsigned i = 0; i < g->vm->cpus; i++)
		g->cpu[i].hold = true;
	loop_wake(&g->vm->loop);
}

static void request(struct gdb_vm *g, enum gdb_cause cause)
{
	pthread_mutex_lock(&g->lock);
	g->attached = true;
	ask_stop_locked(g, &(struct gdb_stop){.cause = cause, .cpu = g->stop.cpu});
	pthread_mutex_unlock(&g->lock);
}

void gdb_vm_attach(struct gdb_vm *g)
{
	request(g, GDB_CAUSE_ATTACH);
}

static void target_interrupt(void *self)
{
	request(self, GDB_CAUSE_INTERRUPT);
}

static void kick_all(const struct gdb_vm *g)
{
	for (unsigned i = 0; i < g->vm->cpus; i++)
		vcpu_kick(g->vm->cpu[i]);
}

bool gdb_vm_settled(struct gdb_vm *g, struct gdb_stop *stop)
{
	bool kick, settled;

	pthread_mutex_lock(&g->lock);
	kick = g->stopping && !g->kicked;
	g->kicked = g->kicked || kick;
	settled = g->stopping && !g->told && g->attached && g->parked == g->vm->cpus;
	g->told = g->told || settled;
	*stop = g->stop;
	pthread_mutex_unlock(&g->lock);
	if (kick)
		kick_all(g);
	return settled;
}

static void let_go_locked(struct gdb_vm *g, unsigned cpu, enum gdb_action action)
{
	g->cpu[cpu].action = action;
	g->cpu[cpu].hold = action == GDB_HOLD;
	g->cpu[cpu].stale = true;
}

/* True iff a vCPU had stopped by itself meanwhile: that is the next stop. What watched may be gone since: not when it
 * was removed, since GDB takes all away at each stop and puts them back before it goes on, but by now. */
static bool late_locked(struct gdb_vm *g)
{
	for (unsigned i = 0; i < g->vm->cpus; i++) {
		const struct gdb_stop *late = &g->cpu[i].late;

		if (!g->cpu[i].has_late)
			continue;
		g->cpu[i].has_late = false;
		if (late->cause == GDB_CAUSE_POINT && !gdb_points_explain(&g->points, late))
			continue;
		g->stop = g->cpu[i].late;
		g->told = false;
		loop_wake(&g->vm->loop);
		return true;
	}
	return false;
}

/* What is watched by stepping may have been written by the client, or by a vCPU that stopped for another reason. */
static void look_again_locked(struct gdb_vm *g)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++) {
		struct gdb_place *place = &g->points.place[i];

		if (place->used && place->way == GDB_BY_STEP)
			read_memory(g, g->stop.cpu, place->gva, place->old, place->bytes);
	}
}

static void target_resume(void *self, const uint8_t *actions)
{
	struct gdb_vm *g = self;

	pthread_mutex_lock(&g->lock);
	if (!late_locked(g)) {
		look_again_locked(g);
		g->stopping = g->waiting = false;
		for (unsigned i = 0; i < g->vm->cpus; i++)
			let_go_locked(g, i, (enum gdb_action)actions[i]);
		pthread_cond_broadcast(&g->moved);
	}
	pthread_mutex_unlock(&g->lock);
}

static void forget_locked(struct gdb_vm *g)
{
	for (size_t i = 0; i < GDB_PLACES_MAX; i++)
		if (g->points.place[i].used)
			take_away(g, &g->points.place[i]);
	g->attached = g->stopping = false;
	for (unsigned i = 0; i < g->vm->cpus; i++)
		g->cpu[i].has_late = false;
}

static void target_release(void *self)
{
	struct gdb_vm *g = self;

	pthread_mutex_lock(&g->lock);
	forget_locked(g);
	g->waiting = false;
	for (unsigned i = 0; i < g->vm->cpus; i++)
		let_go_locked(g, i, GDB_RUN);
	pthread_cond_broadcast(&g->moved);
	pthread_mutex_unlock(&g->lock);
	kick_all(g); /* those that run tell KVM only when they come out */
}

void gdb_vm_lost(struct gdb_vm *g)
{
	bool waiting;

	pthread_mutex_lock(&g->lock);
	waiting = g->waiting;
	if (waiting)
		forget_locked(g);
	pthread_mutex_unlock(&g->lock);
	if (!waiting)
		target_release(g);
}

static void target_kill(void *self)
{
	struct gdb_vm *g = self;

	vm_end(g->vm, VM_KILLED, 0, NULL, NULL);
}

void gdb_vm_over(struct gdb_vm *g)
{
	pthread_mutex_lock(&g->lock);
	g->over = true;
	pthread_cond_broadcast(&g->moved);
	pthread_mutex_unlock(&g->lock);
}

/* --- on a vCPU's own thread */

static bool has_sysret(const struct gdb_vm *g, unsigned cpu, uint64_t at)
{
	uint8_t code[3] = {0};
	size_t got = read_memory(g, cpu, at, code, sizeof(code));
	const uint8_t *op = code[0] == 0x48 ? code + 1 : code; /* with a 64-bit target, or without */

	return got == sizeof(code) && op[0] == 0x0f && op[1] == 0x07;
}

static void lend_flag_locked(struct gdb_vm *g, const struct vcpu *c)
{
	struct gdb_cpu *cpu = &g->cpu[c->id];
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (g->vm->kvm.module == KVM_MODULE_PVM || kvm_vcpu_get_regs(c->fd, &regs) ||
	    kvm_vcpu_get_sregs(c->fd, &sregs) || !has_sysret(g, c->id, sregs.cs.base + regs.rip))
		return;
	cpu->lent_flag = ~regs.r11 & FLAG_TF;
	regs.r11 |= FLAG_TF;
	(void)kvm_vcpu_set_regs(c->fd, &regs);
}

static void return_flag_locked(struct gdb_vm *g, const struct vcpu *c)
{
	struct gdb_cpu *cpu = &g->cpu[c->id];
	struct kvm_regs regs;

	if (cpu->lent_flag && !kvm_vcpu_get_regs(c->fd, &regs)) {
		regs.r11 &= ~cpu->lent_flag;
		(void)kvm_vcpu_set_regs(c->fd, &regs);
	}
	cpu->lent_flag = 0;
}

/* KVM injects the exception alone: what it is about stands in DR6, where the guest's handler looks. */
static void set_guest_dr6(const struct vcpu *c)
{
	struct kvm_debugregs d;

	if (kvm_vcpu_get_debugregs(c->fd, &d))
		return;
	d.dr6 |= c->run->debug.arch.dr6 & DR6_CAUSES;
	(void)kvm_vcpu_set_debugregs(c->fd, &d);
}

/* Tells KVM; more: KVM_GUESTDBG_INJECT_DB or _BP, the guest's own exception. A step that KVM refuses is a run. */
static void tell_kvm_locked(struct gdb_vm *g, const struct vcpu *c, uint32_t more)
{
	struct gdb_cpu *cpu = &g->cpu[c->id];
	const bool step = cpu->action == GDB_STEP || gdb_points_step(&g->points);
	struct kvm_guest_debug debug;

	gdb_points_request(&g->points, step, &debug);
	debug.control |= more;
	if (cpu->action == GDB_STEP && g->points.ways.block_irq)
		debug.control |= KVM_GUESTDBG_BLOCKIRQ;
	if (step)
		lend_flag_locked(g, c);
	if (more & KVM_GUESTDBG_INJECT_DB)
		set_guest_dr6(c);
	(void)kvm_vcpu_set_debug(c->fd, &debug);
	cpu->stale = false;
	cpu->told_step = step;
}

static void park_locked(struct gdb_vm *g, struct vcpu *c)
{
	struct gdb_cpu *cpu = &g->cpu[c->id];

	if (cpu->hold || cpu->stale) /* else the step that the flag was lent for is still to come */
		return_flag_locked(g, c);
	if (cpu->hold && !g->over) {
		if (++g->parked == g->vm->cpus)
			loop_wake(&g->vm->loop);
		while (cpu->hold && !g->over)
			pthread_cond_wait(&g->moved, &g->lock);
		g->parked--;
	}
	if (g->over)
		return;
	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (cpu->stale)
		tell_kvm_locked(g, c, 0);
}

void gdb_vm_park(struct gdb_vm *g, struct vcpu *c)
{
	pthread_mutex_lock(&g->lock);
	park_locked(g, c);
	pthread_mutex_unlock(&g->lock);
}

static void stop_at(struct gdb_stop *stop, const struct gdb_place *place)
{
	stop->cause = GDB_CAUSE_POINT;
	stop->point = place->point;
	stop->gva = place->gva;
}

/* After an instruction: is it at a breakpoint, or has it changed what is watched? */
static bool stepped_into_locked(struct gdb_vm *g, const struct vcpu *c, uint64_t at, struct gdb_stop *stop)
{
	const struct gdb_place *place = gdb_points_break(&g->points, GDB_BY_STEP, at);

	for (size_t i = 0; !place && i < GDB_PLACES_MAX; i++) {
		const struct gdb_place *watch = &g->points.place[i];
		uint8_t now[GDB_WATCHED_BYTES];

		if (watch->used && watch->way == GDB_BY_STEP && watch->point == GDB_WATCH_WRITE &&
		    read_memory(g, c->id, watch->gva, now, watch->bytes) == watch->bytes &&
		    memcmp(now, watch->old, watch->bytes) != 0)
			place = watch;
	}
	if (place)
		stop_at(stop, place);
	return place != NULL;
}

static bool is_trap(const struct gdb_vm *g, unsigned cpu, uint64_t gva)
{
	uint8_t code;

	return read_memory(g, cpu, gva, &code, 1) == 1 && code == GDB_TRAP;
}

/* True iff the client is to know it. Else *more is what the guest is to have of it. */
static bool judge_locked(struct gdb_vm *g, const struct vcpu *c, struct gdb_stop *stop, uint32_t *more)
{
	const struct kvm_debug_exit_arch *exit = &c->run->debug.arch;
	const struct gdb_place *place;

	*more = 0;
	if (exit->exception == VECTOR_BP) {
		place = gdb_points_break(&g->points, GDB_BY_TRAP, exit->pc);
		if (!place) { /* the guest's own, or one that was taken away while this vCPU ran into it */
			*more = is_trap(g, c->id, exit->pc) ? KVM_GUESTDBG_INJECT_BP : 0;
			return false;
		}
	} else {
		const struct gdb_cpu *cpu = &g->cpu[c->id];

		place = gdb_points_hit(&g->points, exit->dr6);
		if (!place && gdb_points_foreign(exit->dr6, cpu->stale, cpu->told_step))
			*more = KVM_GUESTDBG_INJECT_DB;
	}
	if (place) {
		stop_at(stop, place);
		return true;
	}
	if (*more)
		return false;
	stop->cause = GDB_CAUSE_STEP;
	return stepped_into_locked(g, c, exit->pc, stop) || g->cpu[c->id].action == GDB_STEP;
}

void gdb_vm_trap(struct gdb_vm *g, struct vcpu *c)
{
	struct gdb_stop stop = {.cpu = c->id};
	uint32_t more;

	pthread_mutex_lock(&g->lock);
	return_flag_locked(g, c);
	if (judge_locked(g, c, &stop, &more) && g->attached) {
		ask_stop_locked(g, &stop);
		park_locked(g, c);
	} else {
		tell_kvm_locked(g, c, more);
	}
	pthread_mutex_unlock(&g->lock);
}

void gdb_vm_crash(struct gdb_vm *g, struct vcpu *c)
{
	pthread_mutex_lock(&g->lock);
	if (g->attached) {
		ask_stop_locked(g, &(struct gdb_stop){.cause = GDB_CAUSE_CRASH, .cpu = c->id});
		park_locked(g, c);
	}
	pthread_mutex_unlock(&g->lock);
}

/* --- in words */

static void target_describe(void *self, unsigned cpu, char *text, size_t size)
{
	const struct gdb_vm *g = self;
	struct kvm_mp_state state = {.mp_state = KVM_MP_STATE_RUNNABLE};
	struct kvm_sregs sregs;

	if (kvm_vcpu_get_sregs(g->vm->cpu[cpu]->fd, &sregs)) {
		snprintf(text, size, "cpu %u", cpu);
		return;
	}
	(void)kvm_vcpu_get_mp_state(g->vm->cpu[cpu]->fd, &state);
	if (state.mp_state == KVM_MP_STATE_UNINITIALIZED || state.mp_state == KVM_MP_STATE_INIT_RECEIVED)
		snprintf(text, size, "cpu %u, not started", cpu);
	else
		snprintf(text, size, "cpu %u, ring %u%s", cpu, sregs.cs.dpl,
			 state.mp_state == KVM_MP_STATE_HALTED ? ", halted" : "");
}

/* The guest's own walk, as far as its tables are in RAM. */
static void tell_guest_walk(const struct gdb_vm *g, const struct kvm_sregs *s, uint64_t gva, struct gdb_text *text)
{
	const struct guest_paging paging = {s->cr0, s->cr3, s->cr4, s->efer};
	struct guest_walk_path path;
	uint64_t gpa;
	const bool lost = guest_walk(&g->vm->ram, &paging, gva, &gpa, &path) == GUEST_WALK_LOST;

	for (unsigned i = 0; i < path.steps; i++) {
		gdb_put(text, "  %s at gpa 0x%" PRIx64 ": ", path.step[i].name, path.step[i].gpa);
		if (lost && i + 1 == path.steps)
			gdb_put(text, "not in RAM\n");
		else
			gdb_put(text, "0x%0*" PRIx64 "\n", (int)path.entry_bytes * 2, path.step[i].entry);
	}
}

static void tell_our_walk(const struct gdb_vm *g, uint64_t gpa, struct gdb_text *text)
{
	static const char *const sizes[] = {"4K", "2M", "1G"};
	const struct pagetable_attr *attr;
	struct pagetable_leaf leaf;
	uint64_t one = 1;

	if (gpa >> PAGETABLE_INPUT_BITS || !pagetable_walk(&g->vm->table, gpa, &leaf)) {
		gdb_put(text, "gpa 0x%" PRIx64 " -> nothing: not mapped in the second-level table\n", gpa);
		return;
	}
	attr = &leaf.attr;
	gdb_put(text,
		"gpa 0x%" PRIx64 " -> hpa 0x%" PRIx64 ": a leaf of %s, gpa 0x%" PRIx64 " to hpa 0x%" PRIx64
		", %c%c%c\n",
		gpa, leaf.out + (gpa - leaf.in), sizes[leaf.size], leaf.in, leaf.out,
		attr->rights & PAGETABLE_READ ? 'r' : '-', attr->rights & PAGETABLE_WRITE ? 'w' : '-',
		attr->rights & PAGETABLE_EXEC ? 'x' : '-');
	gdb_put(text, "  in slat at %p\n", ram_span(&g->vm->ram, gpa, &one, 0));
}

static void target_translate(void *self, unsigned cpu, uint64_t gva, struct gdb_text *text)
{
	const struct gdb_vm *g = self;
	const int fd = g->vm->cpu[cpu]->fd;
	struct kvm_translation t = {.linear_address = gva};
	struct kvm_sregs sregs;

	if (kvm_vcpu_get_sregs(fd, &sregs) || kvm_vcpu_translate(fd, &t)) {
		gdb_put(text, "KVM does not tell\n");
		return;
	}
	if (!(sregs.cr0 & CR0_PG)) {
		gdb_put(text, "gva 0x%" PRIx64 " -> gpa: the same, cpu %u has paging off\n", gva, cpu);
	} else {
		gdb_put(text, "gva 0x%" PRIx64 ", cpu %u, cr3 0x%llx:\n", gva, cpu, sregs.cr3);
		tell_guest_walk(g, &sregs, gva, text);
		if (!t.valid) {
			gdb_put(text, "gva 0x%" PRIx64 " -> nothing: not mapped in the guest's tables\n", gva);
			return;
		}
		gdb_put(text, "gva 0x%" PRIx64 " -> gpa 0x%llx\n", gva, t.physical_address);
	}
	tell_our_walk(g, t.physical_address, text);
}

struct gdb_target gdb_vm_target(struct gdb_vm *g)
{
	return (struct gdb_target){
		.self = g,
		.cpus = g->vm->cpus,
		.get_regs = target_get_regs,
		.set_regs = target_set_regs,
		.read = target_read,
		.write = target_write,
		.insert = target_insert,
		.remove = target_remove,
		.resume = target_resume,
		.interrupt = target_interrupt,
		.release = target_release,
		.kill = target_kill,
		.describe = target_describe,
		.translate = target_translate,
	};
}

void gdb_vm_open(struct gdb_vm *g, struct vm *vm, const struct gdb_ways *ways, bool wait)
{
	*g = (struct gdb_vm){.vm = vm, .points.ways = *ways, .waiting = wait};
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->moved, NULL);
	for (unsigned i = 0; i < vm->cpus; i++)
		g->cpu[i] = (struct gdb_cpu){.hold = wait, .action = GDB_RUN};
}

void gdb_vm_close(struct gdb_vm *g)
{
	pthread_cond_destroy(&g->moved);
	pthread_mutex_destroy(&g->lock);
}
