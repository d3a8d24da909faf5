// Package server measures what a server costs those who run it, beside what they would run without one: streams that follow a service, lists
// over HTTP, and registrations by programs that have no library. `rollcall server` is a process, its etcd is another, and everybody who
// asks is a third, whose work does not count. The floor is etcd itself, asked the same over its own API.
//
//	go test -run '^$' -bench . -benchtime 1x ./server
//
// What is measured lies in the tests, so that nothing links it.
package server
