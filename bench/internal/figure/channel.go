package figure

import "slices"

const callers = "Callers with gRPC"

// channel is what a service costs those who call it.
func channel() []Figure {
	return slices.Concat(propagation(), change(), restart(), ready(), pick(), policy())
}

func propagation() []Figure {
	all := who("rollcall", "etcd-rr", "gozero", "kratos", "gf", "bare", "raw", "raw-dial")
	register, registerMost, registerLast, deregister := slices.Clone(all), slices.Clone(all), slices.Clone(all), slices.Clone(all[:7])
	for n, c := range all {
		register[n].Metric, registerMost[n].Metric, registerLast[n].Metric = c.Key+"-register-p50-µs", c.Key+"-register-p99-µs", c.Key+"-register-max-µs"
		if n < len(deregister) { // nobody is dialled
			deregister[n].Metric = c.Key + "-deregister-p50-µs"
		}
	}
	of := func(id, title, what, benchmark, baseline string, contenders []Contender) Figure {
		return Figure{
			ID: id, Section: callers, Title: title, Package: "bench/channel", Benchmark: benchmark, Contenders: contenders, Baseline: baseline, Axis: "other instances",
			Text: what + " The instance comes by the library’s own function, the others lie in etcd in its format. Beside it: a conditional put under a lease that exists, until its watch event; " +
				"the same with a bare connection to the instance; and a policy that only connects. go-zero draws 32 of the instances; with more of them it is measured until it has the list of which it draws. " +
				"Who has not seen it within 10 s is taken to have needed these.",
		}
	}
	const tail = "Of a hundred for each contender, which are made with ROLLCALL_BENCH_LONG=1, for those that a bar is about."
	cluster := of("propagation-cluster", "The same, on a cluster of three that syncs", "", `Propagation/N=\d+/cluster`, "raw-dial", register)
	return []Figure{
		of("propagation", "Register → the picker of another process’s channel", "The median time from the call until the instance is picked.", `Propagation/N=\d+/idle`, "raw-dial", register),
		cluster,
		of("propagation-tail", "The same, in 99 of 100", tail, `Propagation/N=\d+/idle`, "raw-dial", registerMost),
		of("propagation-last", "The same, the longest of a round", "", `Propagation/N=\d+/idle`, "raw-dial", registerLast),
		of("propagation-gone", "Deregister → gone from the picker", "The median time from the call until it is picked no more.", `Propagation/N=\d+/idle`, "raw", deregister),
		of("propagation-churn", "Register → the picker, while a twentieth of the others is replaced each second", "The median time from the call until the instance is picked.", `Propagation/N=\d+/churn`, "raw-dial", register),
		of("propagation-churn-tail", "The same in churn, in 99 of 100", tail, `Propagation/N=\d+/churn`, "raw-dial", registerMost),
	}
}

func change() []Figure {
	s := suite{
		section: callers, pkg: "bench/channel", axis: "instances", baseline: "etcd-rr",
		contenders: who("rollcall", "etcd-rr", "rr", "gozero", "kratos", "gf", "bare", "raw", "raw-dial"),
		text: "What one change costs the process with a channel to all instances (rollcall’s subsets off), each contender with a process, a service and peers of its own in one etcd, in turns. " +
			"A bare watch is what it costs to be told at all. go-zero has 32 of the instances, and no weights; gf connects anew to all of them at each change, and is left out where that takes hours. jupiter, kitex and go-micro are missing: " +
			"the first cannot be built with the others, the second has no gRPC channel, and the third could not be had.",
	}
	s.contenders[7] = s.contenders[7].called("a bare watch of etcd")
	s.contenders[8] = s.contenders[8].called("that and a gRPC connection to whoever comes")
	quantities := []quantity{
		{"cpu", "processor time", "cpu-µs", ""},
		{"bytes", "bytes allocated", "kB", ""},
		{"dials", "connections made", "dials", ""},
	}
	var list []Figure
	for _, what := range []struct{ name, title string }{
		{"weight", "A weight changes"},
		{"replace", "An instance is replaced"},
		{"same", "An instance is written again as it was"},
		{"churn", "A tenth is replaced at once"},
	} {
		s.id, s.title, s.benchmark = what.name, what.title, `Change/N=\d+/`+what.name
		list = append(list, s.figures(quantities...)...)
	}
	s.id, s.title, s.benchmark = "update", "A weight changes, without etcd and the registry", `Update/N=\d+/weight`
	s.contenders, s.text = who("rollcall", "etcd-rr", "rr", "bare"), "What a change that is known costs until the channel goes by it."
	s.contenders[1] = s.contenders[1].called("round_robin with a new list, as etcd’s resolver makes it")
	list = append(list, s.figures(quantities[:2]...)...)
	s.id, s.title, s.benchmark = "update-replace", "An instance is replaced, without etcd and the registry", `Update/N=\d+/replace`
	return append(list, s.figures(quantities[:2]...)...)
}

func restart() []Figure {
	s := suite{
		id: "restart", title: "All instances are replaced once", section: callers, pkg: "bench/channel", axis: "instances", baseline: "etcd-rr",
		benchmark: `Restart/N=\d+`, contenders: who("rollcall", "etcd-rr", "rr", "gozero", "kratos", "gf", "bare", "raw"),
		text: "A rolling restart, a hundredth at a time, every 40 ms, all contenders side by side. What the garbage collector takes is in it.",
	}
	s.contenders[7] = s.contenders[7].called("a bare watch of etcd")
	return s.figures(
		quantity{"cpu", "processor time", "cpu-ms", ""},
		quantity{"bytes", "bytes allocated", "MB", ""},
		quantity{"dials", "connections made", "dials", ""},
	)
}

func ready() []Figure {
	s := suite{
		id: "ready", title: "Until all connections stand", section: callers, pkg: "bench/channel", axis: "instances", baseline: "rr",
		benchmark: `Ready/N=\d+`, contenders: who("rollcall", "rr", "bare", "cold", "etcd-rr", "gozero", "kratos", "gf"),
		text: "A new channel to all instances of a service, until its connections are READY. For the first three the view is known before; the others list the instances, too. " +
			"What the connections themselves cost is what the policy that only connects takes; go-zero makes 32 of them.",
	}
	return s.figures(
		quantity{"cpu", "processor time", "cpu-ms", ""},
		quantity{"time", "time", "ms", ""},
		quantity{"bytes", "bytes allocated", "MB", ""},
	)
}

func pick() []Figure {
	ways := []Contender{
		printed("rollcall", "rollcall-ns"),
		printed("rr", "rr-ns").called("round_robin"),
		{Key: "ended", Title: "rollcall, with the word of the call’s end", Metric: "rollcall-ended-ns"},
		{Key: "weights", Title: "rollcall, weights", Metric: "rollcall-weights-ns"},
		{Key: "zones", Title: "rollcall, zones", Metric: "rollcall-zones-ns"},
		{Key: "split", Title: "rollcall, two versions", Metric: "rollcall-split-ns"},
		{Key: "sticky", Title: "rollcall, versions by a header", Metric: "rollcall-sticky-ns"},
		{Key: "subset", Title: "rollcall, subsets", Metric: "rollcall-subset-ns"},
		{Key: "least", Title: "rollcall, least request, with the call’s end", Metric: "rollcall-least-ns"},
	}
	f := Figure{
		ID: "pick", Section: callers, Title: "A pick, one caller", Package: "bench/channel", Benchmark: `Pick/N=\d+/serial`, Contenders: ways, Baseline: "rr", Axis: "instances",
		Text: "The time that one pick takes among instances that are all READY.",
	}
	parallel := f
	parallel.ID, parallel.Title, parallel.Benchmark = "pick-parallel", "A pick, as many callers as processors", `Pick/N=\d+/parallel`
	return []Figure{f, parallel}
}

func policy() []Figure {
	s := suite{
		id: "policy", title: "A policy is written → the last of all channels follows it", section: callers, pkg: "bench/channel", axis: "channels",
		benchmark: `PolicyReachesEveryChannel/N=\d+`, contenders: who("rollcall"),
		text: "From the call that writes it; each channel has a registry of its own, and all are in one process.",
	}
	return s.figures(
		quantity{"half", "the median", "write-p50-µs", ""},
		quantity{"last", "the longest", "write-max-µs", "Of the policies of a round."},
	)
}
