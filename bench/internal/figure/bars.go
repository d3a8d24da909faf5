package figure

// Bars returns what is to be reached, in the order of the page.
func Bars() []Bar {
	const (
		etcdsRoundRobin = "round_robin on etcd’s resolver"
		transaction     = "a raw conditional transaction → its watch event, lease held"
		linear          = "go-control-plane’s linear cache"
		coredns         = "CoreDNS with its etcd plugin and cache"
	)
	return []Bar{
		{What: "register → another process’s view, on a cluster that syncs", Against: transaction, Reach: "≤ 1.15 ×", Figure: "view", N: 1, To: "raw", Limit: 1.15},
		{What: "the same on one etcd that does not", Against: transaction, Reach: "≤ 1.15 ×", Figure: "view-one", N: 1, To: "raw", Limit: 1.15},
		{What: "register → READY in another process’s picker, on a cluster that syncs", Against: "that and a bare dial", Reach: "≤ 1.25 ×", Figure: "propagation-cluster", N: 1, To: "raw-dial", Limit: 1.25},
		{What: "the same on one etcd that does not", Against: "that and a bare dial", Reach: "≤ 1.25 ×", Figure: "propagation", N: 1, To: "raw-dial", Limit: 1.25},
		{What: "the same among 1,000", Against: "that and a bare dial", Reach: "≤ 1.25 ×", Figure: "propagation", N: 1000, To: "raw-dial", Limit: 1.25},

		{What: "a weight changes among 1,000, processor time", Against: etcdsRoundRobin, Reach: "≤ 1/30", Figure: "weight-cpu", N: 1000, To: "etcd-rr", Limit: 1.0 / 30},
		{What: "among 10,000", Against: etcdsRoundRobin, Reach: "≤ 1/30", Figure: "weight-cpu", N: 10_000, To: "etcd-rr", Limit: 1.0 / 30},
		{What: "a weight among 1,000, less what it takes to be told at all", Against: etcdsRoundRobin, Reach: "≤ 1/30", Figure: "weight-cpu", N: 1000, To: "etcd-rr", Floor: "raw", FloorOfBoth: true, Limit: 1.0 / 30},
		{What: "a weight among 1,000, known already", Against: "round_robin on a new list", Reach: "≤ 1/30", Figure: "update-cpu", N: 1000, To: "etcd-rr", Limit: 1.0 / 30},
		{What: "an instance is replaced among 1,000, above being told and a connection", Against: etcdsRoundRobin, Reach: "≤ 1/30", Figure: "replace-cpu", N: 1000, To: "etcd-rr", Floor: "raw-dial", Limit: 1.0 / 30},
		{What: "among 10,000", Against: etcdsRoundRobin, Reach: "≤ 1/30", Figure: "replace-cpu", N: 10_000, To: "etcd-rr", Floor: "raw-dial", Limit: 1.0 / 30},

		{What: "until 1,000 connections stand, processor time above a policy that only connects", Against: "round_robin", Reach: "≤ 1/5", Figure: "ready-cpu", N: 1000, To: "rr", Floor: "bare", FloorOfBoth: true, Limit: 1.0 / 5},
		{What: "until 10,000 stand", Against: "round_robin", Reach: "≤ 1/20", Figure: "ready-cpu", N: 10_000, To: "rr", Floor: "bare", FloorOfBoth: true, Limit: 1.0 / 20},

		{What: "list and decode 100,000 instances", Against: "a raw streamed get and a bare JSON decode", Reach: "≤ 1.2 ×", Figure: "list", N: 100_000, To: "raw", Limit: 1.2},
		{What: "the most memory for that", Against: "the view", Reach: "≤ 2 ×", Figure: "start-most", N: 100_000, To: "view", Limit: 2},

		{What: "leases of 1,000 registrations in one process", Against: "a lease each", Reach: "one", Figure: "beat-leases", N: 1000, Limit: 1},
		{What: "their streams", Against: "a stream each", Reach: "one of heartbeats, one that watches their keys", Figure: "beat-streams", N: 1000, Limit: 2},
		{What: "10,000 registrations in one process, at once", Reach: "≥ 20,000 a second", Figure: "bulk", N: 10_000, Limit: 20_000, AtLeast: true},

		{What: "encodings of a change for 10,000 streams", Against: "one for each stream", Reach: "one", Figure: "streams-encodings", N: 10_000, Limit: 1},
		{What: "a change to 99 of 100 of 10,000 streams", Reach: "≤ 250 ms", Figure: "streams-most", N: 10_000, Limit: 250},

		{What: "an endpoint changes, 1,000 xDS clients of 1,000, processor time", Against: linear, Reach: "≤ 1/2", Figure: "xds-cpu", N: 1000, To: "linear", Limit: 0.5},
		{What: "the same, above a server that sends the same bytes", Against: linear, Reach: "≤ 1/2", Figure: "xds-net", N: 1000, To: "linear", Limit: 0.5},
		{What: "memory, while nobody reads", Against: linear, Reach: "≤ 1/10", Figure: "xds-held", N: 1000, To: "linear", Limit: 0.1},

		{What: "DNS answers for each second of processor time, A of 10", Against: coredns, Reach: "≥ 2 ×", Figure: "dns-a-answers", N: 10, To: "coredns", Limit: 2, AtLeast: true},
		{What: "A of 1,000", Against: coredns, Reach: "≥ 2 ×", Figure: "dns-a-answers", N: 1000, To: "coredns", Limit: 2, AtLeast: true},
		{What: "SRV of 10", Against: coredns, Reach: "≥ 2 ×", Figure: "dns-srv-answers", N: 10, To: "coredns", Limit: 2, AtLeast: true},
		{What: "SRV of 1,000", Against: coredns, Reach: "≥ 2 ×", Figure: "dns-srv-answers", N: 1000, To: "coredns", Limit: 2, AtLeast: true},
		{What: "A of 10 by TCP", Against: coredns, Reach: "≥ 2 ×", Figure: "dns-a-tcp-answers", N: 10, To: "coredns", Limit: 2, AtLeast: true},
		{What: "A of 1,000 by TCP", Against: coredns, Reach: "≥ 2 ×", Figure: "dns-a-tcp-answers", N: 1000, To: "coredns", Limit: 2, AtLeast: true},

		{What: "registrations lost in a restart of etcd, of 10,000", Reach: "0", Figure: "herd-lost", N: 10_000, Limit: 0},
		{What: "watchers that are not up to date 10 s after it, of 1,000", Reach: "0", Figure: "herd-unsynced", N: 10_000, Limit: 0},
	}
}
