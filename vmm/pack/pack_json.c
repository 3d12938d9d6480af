/* vmm/pack/pack_json.c: an experiment and its figures, for programs. */
#include "vmm/pack/pack_json.h"

static json_t *whole(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *json_of_refused(const struct pack_figures *n)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "total", whole(pack_refused(n)), "no_memory",
			 whole(n->refused[FLEET_NO_MEMORY]), "no_hole", whole(n->refused[FLEET_NO_HOLE]), "no_cpu",
			 whole(n->refused[FLEET_NO_CPU]), "no_contract", whole(n->refused[FLEET_NO_CONTRACT]), "units",
			 whole(n->units_refused));
}

static json_t *json_of_config(const struct pack_options *o)
{
	json_t *hosts = json_array();

	for (uint32_t i = 0; i < o->pack.fleet.shapes; i++) {
		const struct fleet_shape *s = &o->shape[i];
		bool limit = s->node[0].cpu_millis != FLEET_CPU_UNLIMITED;

		json_array_append_new(
			hosts,
			json_pack("{s:i, s:i, s:o, s:o, s:o}", "hosts", (int)s->hosts, "nodes", (int)s->nodes, "bytes",
				  o->host_bytes[i] ? whole(o->host_bytes[i]) : json_null(), "huge_bytes",
				  whole(o->huge_bytes[i]), "cpus",
				  limit ? whole((uint64_t)s->node[0].cpu_millis * s->nodes / 1000) : json_null()));
	}
	return json_pack("{s:s?, s:s?, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:s, s:o}", "trace", o->trace, "workload",
			 o->generated ? workload_kind_name(o->workload) : NULL, "hosts", hosts, "choose",
			 pack_choose_name(o->pack.fleet.choose), "node", pack_nodes_name(o->pack.fleet.nodes), "fit",
			 pack_fit_name(o->pack.fleet.fit), "contiguous", pack_contiguous_name(o->pack.fleet.contiguous),
			 "compact", pack_compact_name(o->pack.compact), "lifetimes",
			 pack_lifetimes_name(o->pack.fleet.lifetimes), "huge_above", whole(o->pack.huge_above),
			 "granule", whole(o->pack.granule), "on_refuse",
			 o->pack.wait ? "wait" : "drop", "seed", whole(o->pack.fleet.seed));
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
		{"span_us", n->span_us},
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
		{"waited", n->waited},
		{"wait_us", n->wait_us},
		{"wait_mean_us", n->wait_mean_us},
		{"wait_p99_us", n->wait_p99_us},
	};
	json_t *root = json_object();

	json_object_set_new(root, "experiment", json_of_config(o));
	for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
		json_object_set_new(root, figures[i].key, whole(figures[i].value));
	json_object_set_new(root, "refused", json_of_refused(n));
	json_object_set_new(root, "lines", whole(e->read.lines));
	json_object_set_new(root, "bad_lines", json_of_bad(&e->read));
	return root;
}
