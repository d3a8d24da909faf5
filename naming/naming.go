// Package naming has the shapes of grpc-go's removed naming package, for code that still has them: a [Registry] registers
// addresses under a target and resolves targets, a [Watcher] tells what comes and goes, an [Update] is one of that.
//
//	names := naming.New(client)
//	defer names.Close(ctx)
//	err := names.Register(ctx, "jie-test", naming.Update{Op: naming.Add, Addr: "10.0.0.7:50051"})
//
//	w, err := names.Resolve("jie-test")
//	for {
//		updates, err := w.Next()
//		…
//	}
//
// It is a thin adapter over package rollcall, which new code uses directly. gRPC itself took the shapes out in 1.30: to
// call what is registered here use rollcall:///jie-test (package rollcallgrpc, over a registry with the empty prefix) or
// etcd's own etcd:///jie-test (client/v3/naming/resolver).
//
// # What lies in etcd
//
// An address is one key, <target>/<addr>, always under a lease. Its value is JSON that holds what an [Update] does, as the
// old package wrote it, and more. A value by anybody else that has at least an Addr counts as well; one that
// cannot be read is skipped.
//
// A target is cut at its last "/": what is behind it is the service, by the rules for service names of package rollcall,
// what is before it a directory that is taken as it is. "jie-test" is a service in no directory, "/team/a/jie-test" one in
// "/team/a/".
//
// # What is promised
//
// A registration lasts until it is deleted, its [Registry] is closed or the process ends. Lost heartbeats and leases, an
// etcd that was away or restarted: the key comes back by itself. The process is never touched.
//
// A watcher never ends by itself. Compaction, cancelled watches and lost connections are healed inside, and what was
// missed meanwhile is in the next updates.
//
// Errors are gRPC statuses, as those of the old package: [google.golang.org/grpc/status.Code] tells them apart. Those
// that come from package rollcall are also what they are there, for [errors.Is] and [errors.As].
package naming

// Operation is what an [Update] says about an address.
type Operation uint8

// The operations.
const (
	Add    Operation = iota // the address is there: it is new, or something about it changed
	Delete                  // the address is gone
)

// Update is one change of one address.
type Update struct {
	Op   Operation
	Addr string // host:port; an IPv6 host stands in brackets

	// Metadata is anything that encoding/json can write, nil included. From [Watcher.Next] it is what encoding/json makes
	// of that: an object is a map[string]any, a number a float64.
	Metadata any
}

// Watcher follows one target.
type Watcher interface {
	// Next returns the addresses that are there when it is called first, each as an [Add], or none at once if there are
	// none; later it blocks until there are changes. The first answer contains every registration that was confirmed to
	// anybody before the call, in this process or another.
	//
	// Each address that was registered or changed since is an Add; each that is gone is a [Delete] with the metadata it
	// had last. The deletes come first: who applies the updates to a set of addresses, one after another, has the
	// addresses that are registered. Who calls Next rarely gets what happened since the last call merged.
	//
	// While etcd is out of reach Next blocks. The only error is the end: after Close, of the watcher or of its
	// [Registry], Next returns a status with the code Unavailable, "etcd watch closed".
	//
	// One goroutine at a time may call Next. The updates are the caller's to keep and to change.
	Next() ([]*Update, error)

	// Close ends the watcher and nothing else; a Next that blocks returns. It may be called from anywhere, and again.
	Close()
}
