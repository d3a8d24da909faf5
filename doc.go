// Package rollcall is service registration and discovery for gRPC on etcd.
//
// A service says "I am here" under a lease and keeps saying it; callers list who is there, watch for changes, and
// balance their calls over the answer. It needs nothing but an etcd:
//
//	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:2379"))
//	…
//	r, err := reg.Register(ctx, "jie-test", rollcall.Instance{Addr: "10.0.0.7:50051"})
//	…
//	w := reg.Watch("jie-test")
//	for v, err := range w.Views(ctx) {
//		…
//	}
//
// gRPC users start at the package rollcallgrpc, whose NewClient and Serve do all of this for them.
//
// # What is promised
//
// Registering. When [Registry.Register] has returned, every view from then on has the instance. A lease that is lost is
// granted again and everything under it put back, without end; a key that somebody deletes or overwrites is put back.
// Whatever etcd does, the library never exits, panics, or blocks without a context. An instance that ends without a
// goodbye is gone one TTL and half a second later.
//
// Watching. The first view of a watcher is complete and so is each later one. Views come in the order of etcd's
// revisions; what one transaction changed comes in one view. Less formally: there is one true history, and a watcher
// sees some of its moments, in order, and misses none of its changes. Etcd trouble is not an error but a view that says
// since when it is stale. Compaction, cancellation and lost connections heal by themselves.
//
// Identity. Each registration has a random incarnation. A process that restarts on the same address takes over its key
// without a gap; nothing that the old one does late, such as its goodbye or the end of its lease, touches the new one's
// key.
//
// # How it lies in etcd
//
//	<prefix>/services/<service>/<id>    the instance, as JSON, always under a lease
//
// The value is a superset of what etcd's own client/v3/naming writes, so that its resolver finds rollcall's instances
// and rollcall those of its endpoint manager.
package rollcall
