/* vmm/pack/pack_json.c: an experiment and its figures, for programs. */
#include "vmm/pack/pack_json.h"
#include "vmm/pack/decimal.h"

static json_t *whole(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *json_of_refused(const struct pack_figures *n)
{
	static const struct {
		const char *guests, *units;
		enum fleet_answer why;
	} whys[] = {
		{"no_memory", "no_memory_units", FLEET_NO_MEMORY},
		{"no_hole", "no_hole_units", FLEET_NO_HOLE},
		{"no_cpu", "no_cpu_units", FLEET_NO_CPU},
		{"no_contract", "no_contract_units", FLEET_NO_CONTRACT},
	};
	json_t *root = json_pack("{s:o, s:o}", "total", whole(pack_refused(n)), "units", whole(n->units_refused));

	for (size_t i = 0; i < sizeof(whys) / sizeof(*whys); i++) {
		json_object_set_new(root, whys[i].guests, whole(n->refused[whys[i].why]));
		json_object_set_new(root, whys[i].units, whole(n->units_refused_why[whys[i].why]));
	}
	return root;
}

/* 0: it is not given, or there is none. */
static json_t *given(uint64_t n)
{
	return n ? whole(n) : json_null();
}

static json_t *word(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *seconds(uint64_t us)
{
	char text[DECIMAL_TEXT_MAX];

	return us ? json_stringn(text, decimal_format(us, 1000000, text)) : json_null();
}

/* ---- hosts: a list that --fleet reads ---- */

static json_t *matrix(uint32_t nodes, uint32_t (*at)(const struct fleet_shape *s, uint32_t from, uint32_t to),
		      const struct fleet_shape *s)
{
	json_t *rows = json_array();

	for (uint32_t from = 0; from < nodes; from++) {
		json_t *row = json_array();

		for (uint32_t to = 0; to < nodes; to++)
			json_array_append_new(row, whole(at(s, from, to)));
		json_array_append_new(rows, row);
	}
	return rows;
}

static uint32_t latency_ns(const struct fleet_shape *s, uint32_t from, uint32_t to)
{
	return s->latency_ps[from][to] / 1000;
}

static uint32_t distance(const struct fleet_shape *s, uint32_t from, uint32_t to)
{
	return s->distance[from][to];
}

static bool is_usual_distance(const struct fleet_shape *s)
{
	for (uint32_t from = 0; from < s->nodes; from++)
		for (uint32_t to = 0; to < s->nodes; to++)
			if (s->distance[from][to] != (from == to ? PACK_DISTANCE_SELF : PACK_DISTANCE_OTHER))
				return false;
	return true;
}

static json_t *json_of_host(const struct pack_host *h, const struct fleet_shape *s)
{
	json_t *host = json_pack("{s:o, s:o, s:o}", "hosts", whole(s->hosts), "nodes", whole(h->nodes), "memory",
				 h->unbounded ? word("unbounded") : whole(h->bytes));

	if (h->cpus_given)
		json_object_set_new(host, "cpus", whole(h->cpus));
	if (h->reserve)
		json_object_set_new(host, "reserve", whole(h->reserve));
	if (h->huge)
		json_object_set_new(host, "huge", whole(h->huge));
	if (h->local_ps)
		json_object_set_new(host, "local", whole(h->local_ps / 1000));
	if (h->remote_ps)
		json_object_set_new(host, "remote", whole(h->remote_ps / 1000));
	if (!h->local_ps && !h->remote_ps && s->latency_ps[0][0])
		json_object_set_new(host, "latency", matrix(s->nodes, latency_ns, s));
	if (!is_usual_distance(s))
		json_object_set_new(host, "distance", matrix(s->nodes, distance, s));
	return host;
}

static json_t *json_of_hosts(const struct pack_options *o)
{
	json_t *hosts = json_array();

	for (uint32_t i = 0; i < o->pack.fleet.shapes; i++)
		json_array_append_new(hosts, json_of_host(&o->host[i], &o->shape[i]));
	return hosts;
}

/* ---- the experiment ---- */

static json_t *machine(const struct pack_options *o)
{
	if (o->generated || o->format != TRACE_AZURE_PACKING_2020)
		return json_null();
	if (o->reading.machine >= 0)
		return json_integer(o->reading.machine);
	return word(o->reading.machine == TRACE_MACHINE_ANY ? "any" : "common");
}

/* All that makes the figures what they are: each option by its name, with _ for -, and its value as the command line
 * takes it, given or not; null, where there is none, as of the choice of a host that --node balance makes. --latency
 * chooses by itself how nodes are chosen, so that it comes before --node. */
static json_t *json_of_experiment(const struct pack_options *o)
{
	const struct fleet_config *fleet = &o->pack.fleet;
	const struct workload_options none = {0};
	const struct workload_options work = o->generated ? workload_settle(o->workload, &o->work) : none;
	const struct {
		const char *key;
		json_t *value;
	} options[] = {
		{"trace", word(o->trace)},
		{"format", word(o->generated ? NULL : trace_format_name(o->format))},
		{"machine", machine(o)},
		{"skip_bad", json_boolean(o->reading.skip_bad)},
		{"from", given(o->pack.from)},
		{"count", given(o->pack.count)},
		{"workload", word(o->generated ? workload_kind_name(o->workload) : NULL)},
		{"arrivals", given(work.arrivals)},
		{"interval", seconds(work.interval_us)},
		{"life", seconds(work.life_us)},
		{"size_min", given(work.size_min)},
		{"size_max", given(work.size_max)},
		{"size_mean", given(work.size_mean)},
		{"hosts", json_of_hosts(o)},
		{"choose", word(fleet->nodes == FLEET_NODES_BALANCE ? NULL : pack_choose_name(fleet->choose))},
		{"latency", given(fleet->latency_ps / 1000)},
		{"node", word(pack_nodes_name(fleet->nodes))},
		{"fit", word(pack_fit_name(fleet->fit))},
		{"granule", whole(o->pack.granule)},
		{"contiguous", word(pack_contiguous_name(fleet->contiguous))},
		{"compact", word(pack_compact_name(o->pack.compact))},
		{"compact_budget", given(o->compact_bytes)},
		{"split_above", given(fleet->split_above * o->pack.granule)},
		{"huge_above", given(o->pack.huge_above)},
		{"lifetimes", word(pack_lifetimes_name(fleet->lifetimes))},
		{"overcommit", whole(fleet->overcommit_ppm / 10000)},
		{"on_refuse", word(o->pack.wait ? "wait" : "drop")},
		{"seed", whole(fleet->seed)},
	};
	json_t *root = json_object();

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		json_object_set_new(root, options[i].key, options[i].value);
	return root;
}

static json_t *json_of_bad(const struct trace_stats *read)
{
	json_t *bad = json_object();

	for (unsigned i = 0; i < TRACE_BADS; i++)
		if (read->bad[i] > 0)
			json_object_set_new(bad, trace_bad_name((enum trace_bad)i), whole(read->bad[i]));
	return bad;
}

json_t *pack_json(const struct pack_options *o, const struct experiment *e)
{
	const struct pack_figures *n = &e->figures;
	const struct {
		const char *key;
		uint64_t value;
	} figures[] = {
		{"guests", n->arrivals},
		{"accepted", n->accepted},
		{"departed", n->departures},
		{"units_accepted", n->units_accepted},
		{"size_accepted", n->size_accepted},
		{"span_us", n->span_us},
		{"arriving_us", n->arriving_us},
		{"live_mean_milli", n->guests_milli},
		{"live_peak", n->guests_peak},
		{"utilisation_mean_ppm", n->utilisation_ppm},
		{"utilisation_peak_ppm", n->utilisation_peak_ppm},
		{"cpu_mean_ppm", n->cpu_ppm},
		{"external_fragmentation_ppm", n->external_ppm},
		{"internal_fragmentation_ppm", n->internal_ppm},
		{"holes_mean_milli", n->holes_milli},
		{"hosts_empty_mean_milli", n->hosts_empty_milli},
		{"local_ppm", n->local_ppm},
		{"top_over_live_mean_ppm", n->over_ppm},
		{"top_over_live_at_peak_ppm", n->over_at_peak_ppm},
		{"top_over_live_peaks_ppm", n->over_most_ppm},
		{"moves", n->moves},
		{"units_moved", n->units_moved},
		{"waiting", n->waiting},
		{"waited", n->waited},
		{"wait_us", n->wait_us},
		{"wait_mean_us", n->wait_mean_us},
		{"wait_p99_us", n->wait_p99.least},
		{"wait_p99_most_us", n->wait_p99.most},
		{"wait_longest_us", n->wait_longest_us},
	};
	json_t *root = json_object();

	json_object_set_new(root, "experiment", json_of_experiment(o));
	json_object_set_new(root, "unit", word(o->unit));
	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
		json_object_set_new(root, figures[i].key, whole(figures[i].value));
	if (!n->cpus_limited)
		json_object_set_new(root, "cpu_mean_ppm", json_null());
	json_object_set_new(root, "refused", json_of_refused(n));
	json_object_set_new(root, "lines", whole(e->read.lines));
	if (!o->generated && o->format == TRACE_AZURE_PACKING_2020) {
		json_object_set_new(root, "machine", e->read.machine < 0 ? json_null() : json_integer(e->read.machine));
		json_object_set_new(root, "left_out", whole(e->read.left_out));
	}
	json_object_set_new(root, "bad_lines", json_of_bad(&e->read));
	return root;
}
