// Package chaos proves on real etcd clusters, with real processes, sockets and signals, what simulated time cannot: that
// what rollcall promises holds. Each scenario hurts a cluster or its users in one way while a judge who knows nothing of
// rollcall records what etcd holds; what the processes said and what etcd held are compared when all is over. Then the
// scenario is run again with the protection taken out that it is about, and must fail; and the peers of rollcall are put
// through the same.
//
// It is a module and a test suite of its own: see docs/chaos.md.
package chaos
