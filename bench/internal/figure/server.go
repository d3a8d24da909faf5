package figure

import "slices"

const (
	servers = "The server"
	xdsPart = "xDS"
	dnsPart = "DNS"
)

// server is what a server costs for each of those who ask it.
func server() []Figure {
	streams := suite{
		id: "streams", title: "A change to all watch streams", section: servers, pkg: "bench/server", axis: "streams", baseline: "raw",
		benchmark: `WatchStreams/N=\d+`, contenders: who("rollcall", "each", "raw"),
		text: "One of 100 instances changes, until all streams that follow the service have been told, 500 to a connection. Beside the server: one that encodes its response for each stream, and as many " +
			"watches of etcd, with nothing between. Who listens is another process on the same cores, alike for all.",
	}
	told := []quantity{
		{"cpu", "processor time for a stream", "cpu-µs", "Of the processes that tell, etcd’s included."},
		{"half", "half are told", "p50-ms", "From before the write; the median of the changes of a round."},
		{"most", "99 of 100 are told", "p99-ms", "From before the write; the median of the changes of a round."},
		{"last", "the last is told", "max-ms", "From before the write; the slowest of the changes of a round."},
		{"memory", "memory for a stream", "kB", ""},
	}
	events := streams
	events.id, events.title, events.benchmark = "events", "A change to all Server-Sent Events", `WatchEvents/N=\d+`
	events.contenders = who("rollcall", "raw")
	events.contenders[1] = events.contenders[1].called("watches of etcd’s HTTP gateway")
	events.text = "The same over HTTP, with a connection for each stream, beside watches of etcd’s own HTTP gateway."
	streams.contenders[2] = streams.contenders[2].called("a watch of etcd each")
	return slices.Concat(
		streams.figures(append(told, quantity{"encodings", "times that a change is encoded", "encodings", "For all streams together."})...),
		events.figures(told...), lists(), registrations(),
	)
}

func lists() []Figure {
	s := suite{
		id: "http", title: "A list over HTTP", section: servers, pkg: "bench/server", axis: "instances", baseline: "raw",
		benchmark: `List/N=\d+`, contenders: who("rollcall", "raw"),
		text: "All instances of a service by GET, four answers under way at a time, beside the same keys from etcd’s own HTTP gateway, whose answer has still to be decoded. " +
			"Consul is missing here: there was no server of it to be had.",
	}
	s.contenders[1] = s.contenders[1].called("etcd’s HTTP gateway")
	return s.figures(
		quantity{"cpu", "processor time for an answer", "cpu-µs", ""},
		quantity{"answers", "answers for each second of processor time", "answers/cpu-s", "More is better."},
		quantity{"tail", "time to an answer, in 99 of 100", "p99-µs", ""},
		quantity{"bytes", "bytes of an answer", "kB", ""},
		quantity{"allocated", "bytes allocated for an answer", "allocated-kB", "By the process that answers."},
	)
}

func registrations() []Figure {
	s := suite{
		id: "registrations", title: "Programs without a library", section: servers, pkg: "bench/server", axis: "registrations", baseline: "raw",
		benchmark: `Registrations/N=\d+`, contenders: who("rollcall", "session", "raw"),
		text: "Instances that are registered through a server, 48 at a time, by calls and heartbeats or by a stream for each, beside programs that use etcd itself: a lease each, a transaction, and its client’s keeping alive. " +
			"Each contender has an etcd of its own that does not sync.",
	}
	s.contenders[0] = s.contenders[0].called("rollcall, calls and heartbeats")
	return s.figures(
		quantity{"rate", "registrations in a second", "registrations/s", "More is better."},
		quantity{"cpu", "processor time for a registration", "cpu-µs", "Of the server and its etcd."},
		quantity{"tail", "time for a registration, in 99 of 100", "p99-ms", ""},
		quantity{"kept", "processor time in a second for an instance that is there", "kept-cpu-µs", "Of the server and its etcd."},
		quantity{"kept-requests", "what etcd is asked in a second while they are there", "kept-etcd-requests/s", ""},
		quantity{"memory", "memory for an instance", "kB", "Of the server and its etcd."},
	)
}

// xds is the same news in gRPC's and Envoy's own protocol.
func xds() []Figure {
	s := suite{
		section: xdsPart, pkg: "internal/xds", axis: "clients", baseline: "linear", contenders: who("rollcall", "linear", "snapshot", "bare"),
	}
	s.contenders[3] = s.contenders[3].called("a server that sends the same bytes")
	quantities := []quantity{
		{"cpu", "processor time", "cpu-ms", ""},
		{"net", "processor time above that of a server that sends the same bytes", "net-cpu-ms", ""},
		{"held", "memory while nobody reads", "held-MB", "What the heap holds for clients that have not read yet."},
		{"allocated", "bytes allocated", "alloc-MB", ""},
		{"time", "time until all have acknowledged", "ack-ms", ""},
		{"wire", "bytes sent", "wire-MB", ""},
	}
	var list []Figure
	for _, what := range []struct{ id, benchmark, title, text string }{
		{"xds", "ChangeOfOneService", "An endpoint changes of 1,000 that all watch", "One endpoint changes in a service that every client watches, without a network between, until all have acknowledged it."},
		{"xds-some", "ChangeAmongServices", "An endpoint changes in one of many services", "Each client watches three of the services, of which there are a tenth as many as clients, of 100 endpoints each."},
		{"xds-again", "Reconnection", "All clients come back at once", "With the versions that they have, three of 100 services each; the state of the world is sent again to each."},
	} {
		s.id, s.benchmark, s.title, s.text = what.id, what.benchmark+`/N=\d+`, what.title, what.text
		list = append(list, s.figures(quantities...)...)
	}
	s.id, s.benchmark, s.title, s.text = "xds-sockets", `ChangeOverSockets/N=\d+/streams=50`, "An endpoint changes, over sockets", "The clients are another process, 50 to a connection, whose work does not count."
	list = append(list, s.figures(quantities[0], quantities[1], quantities[4], quantities[3])...)
	s.id, s.benchmark, s.title, s.text = "xds-encoding", `EncodingAChange/N=\d+`, "An endpoint changes, until the bytes are there", "Without any streams."
	s.contenders = s.contenders[:2]
	return append(list, s.figures(quantities[0], quantity{"allocs", "allocations", "allocs", ""}, quantities[2])...)
}

// dns is the same for those who only know names.
func dns() []Figure {
	s := suite{
		section: dnsPart, pkg: "internal/integration", axis: "instances", baseline: "coredns", contenders: who("rollcall", "coredns"),
		text: "The same instances lie in the same etcd for both, and the same questions are asked of both in turns, 32 at a time. By UDP as many are told as fit, by TCP all.",
	}
	var list []Figure
	for _, what := range []struct{ id, name, title string }{
		{"dns-a", "A", "A by UDP"},
		{"dns-srv", "SRV", "SRV by UDP"},
		{"dns-a-tcp", "A-TCP", "A by TCP"},
		{"dns-a-churn", "A-churn", "A by UDP, ten instances replaced a second"},
	} {
		s.id, s.benchmark, s.title = what.id, `DNS/N=\d+/`+what.name, what.title
		list = append(list, s.figures(
			quantity{"answers", "answers for each second of processor time", "answers/cpu-s", "Of the process that answers. More is better."},
			quantity{"tail", "time to an answer at a moderate rate, in 99 of 100", "p99-µs", ""},
		)...)
	}
	s.id, s.benchmark, s.title = "dns", `DNS/N=\d+/A`, "All instances of a service, and a load of A by UDP"
	list = append(list, s.figures(quantity{"memory", "memory of the process that answers", "resident-MB", "Resident, its program’s text included."})...)
	s.id, s.benchmark, s.title, s.axis = "dns-names", `DNS/N=\d+/names`, "One service after the other", "names"
	s.text = "So many services are asked for in turn that CoreDNS’s cache has none of them."
	return append(list, s.figures(quantity{"answers", "answers for each second of processor time", "answers/cpu-s", ""})...)
}
