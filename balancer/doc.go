// Package balancer is rollcall's load-balancing policy for gRPC clients, "rollcall" in a service config. It is registered by
// importing the package, and is what rollcallgrpc.NewClient uses. The zero [Config] suits most services.
//
// # What a caller can rely on
//
//   - A change costs what changed. Connections of instances that did not change are not touched, whatever else of the
//     service did; of an instance whose weight, zone, version or metadata changed, neither.
//   - A call goes to an instance whose connection stands, that serves, and whose health check, where one is configured, says so.
//     A draining instance gets no new calls while any other serves; its calls under way finish.
//   - Bad news (a connection lost, an instance that drains or is gone) counts at once. Good news (a connection made, a weight)
//     is gathered, for 0.5 ms and 2 µs for each instance that is called, at most 50 ms; the first after a quiet time counts at once, the next
//     after an eighth of that.
//   - Instances are called in proportion to their weights, exactly: see [WeightedRoundRobin].
//   - A caller that knows its zone ([rollcall.WithZone]) stays in it as far as the zone's own share of the calls goes, as if
//     callers were spread over the zones evenly: with half of its instances dead a zone keeps most of its calls, and the rest go
//     where capacity is spare. No zone, however thin, gets more than its instances' share.
//   - A service with more than [DefaultSubsetSize] instances is called through that many of them, chosen by rendezvous hashing: the same
//     ones for all channels of the process, others for other processes, and an instance that joins or leaves moves one of them.
//   - Suspects ([rollcall.Instance.Suspect]) are called while their connection stands. It is better evidence than a lease.
//   - Picking an instance takes no lock.
//
// With another resolver than rollcall's the policy works too: every endpoint is an instance of the default weight.
package balancer
