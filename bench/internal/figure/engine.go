package figure

// engine is the library without gRPC.
func engine() []Figure {
	const section = "Registering and following"
	view := []Contender{
		printed("rollcall", "register→view-p50-µs"),
		printed("raw", "txn→event-p50-µs").called("a transaction to its watch event"),
	}
	return []Figure{
		{
			ID: "view", Section: section, Axis: "other instances", Title: "Register → another process’s view, on a cluster of three that syncs", Baseline: "raw",
			Text:    "The median time from Register until the view of another registry, of a service with so many others, has the instance, beside a conditional put under a lease that is there already until its watch event, in turns.",
			Package: "internal/integration", Benchmark: `RegisterToView/cluster/N=\d+`, Contenders: view,
		},
		{
			ID: "view-one", Section: section, Axis: "other instances", Title: "Register → another process’s view, on one etcd that does not sync", Baseline: "raw",
			Text:    "The same on the fastest etcd there is, where what the library adds shows most.",
			Package: "internal/integration", Benchmark: `RegisterToView/one/N=\d+`, Contenders: view,
		},
		{
			ID: "view-tail", Section: section, Axis: "other instances", Title: "The same on the cluster, in 99 of 100", Baseline: "raw",
			Text:    "As above, the 99th percentile.",
			Package: "internal/integration", Benchmark: `RegisterToView/cluster/N=\d+`,
			Contenders: []Contender{
				printed("rollcall", "register→view-p99-µs"),
				printed("raw", "txn→event-p99-µs").called("a transaction to its watch event"),
			},
		},
		{
			ID: "bulk", Section: section, Title: "Registrations at once in one process", Axis: "registrations",
			Text:    "How many a second one process makes that has them all at once.",
			Package: "internal/integration", Benchmark: "RegisterInBulk(/N=.*)?", Contenders: []Contender{printed("rollcall", "registrations/s")},
		},
		{
			ID: "bulk-requests", Section: section, Title: "What etcd is asked for them", Axis: "registrations",
			Text:    "Requests that are no streams, for all registrations together: the lease and the transactions.",
			Package: "internal/integration", Benchmark: "RegisterInBulk(/N=.*)?", Contenders: []Contender{printed("rollcall", "requests")},
		},
		{
			ID: "bulk-streams", Section: section, Title: "Streams for them", Axis: "registrations",
			Text:    "Streams that the process opens at etcd meanwhile: one for the watches, and one for the heartbeats of each thousand, when the first are due.",
			Package: "internal/integration", Benchmark: "RegisterInBulk(/N=.*)?", Contenders: []Contender{printed("rollcall", "streams")},
		},
		{
			ID: "list", Section: section, Title: "List, decode and hold a service", Axis: "instances", Baseline: "raw",
			Text:    "The time until a lookup has the view, beside a streamed get whose values encoding/json decodes and which are kept, in turns.",
			Package: "internal/integration", Benchmark: "List(/N=.*)?",
			Contenders: []Contender{
				printed("rollcall", "list-ms"),
				printed("raw", "raw-ms").called("a streamed get and a bare JSON decode"),
			},
		},
		{
			ID: "list-memory", Section: section, Title: "Memory of an instance in a view", Axis: "instances", Baseline: "raw",
			Text:    "What the heap holds for one, after a collection.",
			Package: "internal/integration", Benchmark: "List(/N=.*)?",
			Contenders: []Contender{
				printed("rollcall", "B/instance"),
				printed("raw", "raw-B/instance").called("what encoding/json makes of it"),
			},
		},
		{
			ID: "one-change", Section: section, Title: "One change in the engine", Axis: "instances",
			Text:    "The time from the bytes of a changed instance to its watcher: decoded, told from the view before, and taken. It includes a copy of the view, which is pointers.",
			Package: ".", Benchmark: `OneChange/instances=(?P<n>\d+)/watchers=1`, Contenders: []Contender{printed("rollcall", "ns/op")},
		},
		{
			ID: "one-change-bytes", Section: section, Title: "What one change allocates", Axis: "instances",
			Text:    "As above, the bytes: a copy of the view, which is pointers.",
			Package: ".", Benchmark: `OneChange/instances=(?P<n>\d+)/watchers=1`, Contenders: []Contender{printed("rollcall", "B/op")},
		},
		{
			ID: "history", Section: section, Title: "Memory of an event in the history", Axis: "events",
			Text:    "What the heap holds for one event of the history that a server keeps.",
			Package: "internal/history", Benchmark: `History/(?P<n>\d+)`, Contenders: []Contender{printed("rollcall", "B/event")},
		},
	}
}
