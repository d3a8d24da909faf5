package figure

import "slices"

// registry is what a program costs that starts, is just there, or has its etcd restarted.
func registry() []Figure {
	return slices.Concat(coldStart(), heartbeats(), herd())
}

func coldStart() []Figure {
	s := suite{
		section: "Starting", pkg: "bench/registry", axis: "instances", baseline: "raw",
		text: "A program that starts, from making its client to its first complete view, in a process of its own for each contender. " +
			"Etcd’s client alone is a streamed get that encoding/json decodes into structs in a map; go-zero keeps addresses only, and decodes nothing.",
	}
	quantities := []quantity{
		{"time", "time to the first complete view", "ms", ""},
		{"cpu", "processor time", "cpu-ms", ""},
		{"peak", "memory for an instance, at the most", "peak-B", "The highest resident memory, less that before, for each instance."},
		{"resident", "memory for an instance, for good", "resident-B", "Resident memory once nothing is garbage, less that before, for each instance."},
		{"heap", "heap for an instance", "heap-B", "What is alive on the heap."},
	}
	one := s
	one.id, one.title, one.benchmark = "start-one", "One service", `ColdStart/N=\d+/one`
	one.contenders = who("rollcall", "raw", "etcd-rr", "gozero", "kratos")
	one.contenders[2] = one.contenders[2].called("etcd’s endpoints manager")
	all := s
	all.id, all.title, all.benchmark = "start-all", "All services, 100 instances each", `ColdStart/N=\d+/all`
	all.contenders = who("rollcall", "raw")
	most := Figure{
		ID: "start-most", Section: s.section, Title: "One service: the most memory, beside what the view holds", Package: s.pkg, Benchmark: one.benchmark, Axis: s.axis, Baseline: "view",
		Text: "For each instance, as above: the highest resident memory, and what is alive on the heap at the end.",
		Contenders: []Contender{
			printed("rollcall", "rollcall-peak-B").called("rollcall, at the most"),
			{Key: "view", Title: "rollcall’s view", Metric: "rollcall-heap-B"},
		},
	}
	return slices.Concat(one.figures(quantities...), []Figure{most}, all.figures(quantities...))
}

func heartbeats() []Figure {
	s := suite{
		section: "Being registered", pkg: "bench/registry", axis: "registrations", baseline: "raw",
		text: "Registrations that are just there, with a TTL of 5 s, each contender on an etcd of its own. Etcd’s client alone is a lease each and its " +
			"KeepAlive, which is also what users of etcd’s naming package write.",
	}
	quantities := []quantity{
		{"requests", "requests at etcd in a second", "requests/s", "In proportion to 1/TTL, but for rollcall’s probes, which come every 3 s from whoever watches."},
		{"streams", "streams at etcd", "streams", ""},
		{"leases", "leases at etcd", "leases", ""},
		{"etcd", "processor time of etcd in a second", "etcd-cpu-µs/s", "Less what the same etcd takes with nobody there."},
		{"cpu", "processor time of the program in a second", "cpu-µs/s", ""},
	}
	one := s
	one.id, one.title, one.benchmark = "beat", "One process", `Heartbeats/N=\d+/one-process`
	one.contenders = who("rollcall", "raw", "gozero", "kratos")
	many := s
	many.id, many.title, many.benchmark, many.axis = "beats", "A process each", `Heartbeats/N=\d+/processes`, "processes"
	many.contenders = who("rollcall", "raw", "kratos")
	many.text += " Here each has one registration and a client of its own; all of them are in one real process, and start at moments of " +
		"their own. Each heartbeat then wakes etcd by itself, which costs more than to answer it."
	return slices.Concat(one.figures(quantities...), many.figures(quantities...))
}

func herd() []Figure {
	s := suite{
		id: "herd", title: "Etcd is killed and started", section: "An etcd that restarts", pkg: "bench/registry", axis: "registrations", baseline: "raw",
		benchmark: `Herd/N=\d+/restart`, contenders: who("rollcall", "raw", "kratos"),
		text: "Registrations with a TTL of 5 s, 100 to a program, and a watcher with a client of its own for each ten of them, through an etcd that is killed and started " +
			"again with its data. Times are from when it answers again.",
	}
	outage := s
	outage.id, outage.title, outage.benchmark = "outage", "Etcd stays away for longer than the TTL", `Herd/N=\d+/outage`
	outage.text = "The same, with an etcd that is started again after more than a TTL."
	return append(s.figures(
		quantity{"synced", "the last watcher is up to date", "synced-max-ms", "Until a change has reached all."},
		quantity{"renewed", "the last lease is renewed", "renewed-max-ms", "Of those who can tell."},
		quantity{"unsynced", "watchers that are not up to date after 10 s", "unsynced", ""},
		quantity{"lost", "registrations that were deleted", "lost", "Once or for good, looked at when each lease that nobody renews has ended."},
		quantity{"peak", "most requests at etcd in a second", "peak-requests/s", ""},
		quantity{"rest", "requests at etcd in a second before", "rest-requests/s", "For 3 s, in which rollcall’s watchers probe once each."},
		quantity{"cpu", "processor time of the programs, from the kill to the end", "cpu-ms", ""},
	), outage.figures(
		quantity{"lost", "registrations that were deleted", "lost", ""},
		quantity{"unsynced", "watchers that are not up to date after 10 s", "unsynced", ""},
	)...)
}
