// Package registry measures what registering and finding costs, beside the peers: the first view of a process that starts, the heartbeats
// of instances that are just there, and what comes over etcd when it restarts:
//
//	go test -run '^$' -bench . -benchtime 1x ./registry
//
// Every contender is a process of its own, and so is its etcd, so that CPU and memory are those of that one. With -short the large sizes
// are left out; with ROLLCALL_BENCH_LONG=1 there are peers at sizes that take them long, and more ways for etcd to go.
//
// Requests are the messages that etcd says it received, heartbeats and what opens streams included. CPU is what the kernel says that the
// threads of a process ran, never time on the wall; what etcd uses when nobody asks it anything is measured before and taken off. Times
// are on the wall, and are to be judged beside those of the floor in the same run.
package registry
