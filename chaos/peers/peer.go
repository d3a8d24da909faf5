package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"text/tabwriter"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// A peer is a library, used as its own documentation says.
type peer interface {
	// register returns once the library says that the instance is registered. What it returns takes the instance away
	// again, with the patience that programs with this library have: some wait for etcd for ever.
	register(s settings) (deregister func() error, err error)
	// watch shows in v what the library tells its user until ctx ends, or until the library tells nothing more. An error
	// ends the program.
	watch(ctx context.Context, s settings, v *view) error
}

type entry struct {
	name   string
	module string // where the code of the peer comes from
	peer
}

func peers() []entry {
	return []entry{
		{"plain", "go.etcd.io/etcd/client/v3", plain{}},
		{"naming", "go.etcd.io/etcd/client/v3", naming{}},
		{"go-zero", "github.com/zeromicro/go-zero", goZero{}},
		{"kratos", "github.com/go-kratos/kratos/contrib/registry/etcd/v2", kratos{}},
		{"gf", "github.com/gogf/gf/contrib/registry/etcd/v2", gf{}},
		{"jupiter", "github.com/douyu/jupiter", jupiter{}},
		{"kitex", "github.com/kitex-contrib/registry-etcd", kitex{}},
		{"rpcx", "github.com/rpcxio/rpcx-etcd", rpcx{}},
	}
}

func find(name string) (entry, error) {
	for _, p := range peers() {
		if p.name == name {
			return p, nil
		}
	}
	return entry{}, fmt.Errorf("there is no peer %q", name)
}

// list prints the names of all peers, each with the module that it comes from and the version that was built in.
func list(w io.Writer) {
	versions := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			versions[m.Path] = m.Version
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range peers() {
		fmt.Fprintf(t, "%s\t%s\t%s\n", p.name, p.module, versions[p.module])
	}
	_ = t.Flush()
}

// register runs an instance until ctx ends. An instance that cannot be registered ends its program, as most programs do.
func register(ctx context.Context, p peer, s settings, j *journal.Writer) error {
	j.Tell(journal.Event{What: journal.Registering, Service: s.service, ID: s.addr})
	type result struct {
		deregister func() error
		err        error
	}
	registered := make(chan result, 1)
	go func() {
		deregister, err := p.register(s)
		registered <- result{deregister, err}
	}()
	var r result
	select {
	case r = <-registered:
	case <-ctx.Done(): // it waits for an etcd that does not answer, and was told to end
		j.Tell(journal.Event{What: journal.Closing})
		j.Tell(journal.Event{What: journal.Closed})
		return nil
	}
	j.Tell(journal.Event{What: journal.Registered, Service: s.service, ID: s.addr, Err: text(r.err)})
	if r.err != nil {
		return r.err
	}
	<-ctx.Done()
	j.Tell(journal.Event{What: journal.Closing})
	j.Tell(journal.Event{What: journal.Closed, Err: text(r.deregister())})
	return nil
}

// watch runs a watcher until ctx ends. It holds nothing in etcd, so its program ends without ceremony.
func watch(ctx context.Context, p peer, s settings, j *journal.Writer) error {
	v := &view{journal: j, service: s.service}
	ended := make(chan error, 1)
	go func() {
		if err := p.watch(ctx, s, v); err != nil {
			ended <- err
		}
	}()
	select {
	case err := <-ended:
		if ctx.Err() == nil {
			v.failed(err)
			return err
		}
	case <-ctx.Done():
	}
	j.Tell(journal.Event{What: journal.Closing})
	j.Tell(journal.Event{What: journal.Closed})
	return nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
