package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// A follower is a library, used as its own documentation says, that registers and can be watched.
type follower interface {
	peer.Registrar
	// watch shows in v what the library tells its user until ctx ends, or until the library tells nothing more. It is
	// called for several services at a time. An error for the first of them ends the program.
	watch(ctx context.Context, s settings, v *view) error
}

type entry struct {
	name   string
	module string // where the code of the peer comes from
	follower
}

func peers() []entry {
	return []entry{
		{"plain", "go.etcd.io/etcd/client/v3", &plain{}},
		{"naming", "go.etcd.io/etcd/client/v3", &naming{}},
		{"go-zero", "github.com/zeromicro/go-zero", goZero{}},
		{"kratos", "github.com/go-kratos/kratos/contrib/registry/etcd/v2", &kratos{}},
		{"gf", "github.com/gogf/gf/contrib/registry/etcd/v2", &gf{}},
		{"jupiter", "github.com/douyu/jupiter", &jupiter{}},
		{"kitex", "github.com/kitex-contrib/registry-etcd", &kitex{}},
		{"rpcx", "github.com/rpcxio/rpcx-etcd", &rpcx{}},
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

// register runs an instance until ctx ends, and one of a second service if that is wanted. An instance that cannot be
// registered ends its program, as most programs do; the second one, failing, does not take the first one with it.
func register(ctx context.Context, p follower, s settings, j *journal.Writer) error {
	h := &holder{registrar: p, journal: j}
	second := time.After(s.after)
	first := make(chan error, 1)
	go func() { first <- h.join(s) }()
	select {
	case err := <-first:
		if err != nil {
			return err
		}
	case <-ctx.Done(): // it waits for an etcd that does not answer, and was told to end
	}
	if s.then != "" {
		go func() {
			if reached(ctx, second) {
				_ = h.join(s.second()) // has told of its error
			}
		}()
	}
	<-ctx.Done()
	h.leave()
	return nil
}

// holder holds the instances of the process.
type holder struct {
	registrar peer.Registrar
	journal   *journal.Writer

	mu         sync.Mutex
	deregister []func() error // guarded by mu
}

func (h *holder) join(s settings) error {
	h.journal.Tell(journal.Event{What: journal.Registering, Service: s.Service, ID: s.Addr})
	deregister, err := h.registrar.Register(s.Settings)
	h.mu.Lock()
	if err == nil {
		h.deregister = append(h.deregister, deregister)
	}
	h.mu.Unlock()
	h.journal.Tell(journal.Event{What: journal.Registered, Service: s.Service, ID: s.Addr, Err: text(err)})
	return err
}

// leave takes away what was registered so far, one after the other, as the peers' registries are not all made for more.
func (h *holder) leave() {
	h.journal.Tell(journal.Event{What: journal.Closing})
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, deregister := range slices.Backward(h.deregister) {
		errs = append(errs, deregister())
	}
	h.journal.Tell(journal.Event{What: journal.Closed, Err: text(errors.Join(errs...))})
}

// watch runs a watcher until ctx ends, and one of a second service if that is wanted. It holds nothing in etcd, so its
// program ends without ceremony.
func watch(ctx context.Context, p follower, s settings, j *journal.Writer) error {
	v := newView(j, s.Service)
	if s.then != "" {
		later, turn := newView(j, s.then), time.After(s.after)
		go func() {
			if reached(ctx, turn) {
				_ = show(ctx, p, s.second(), later) // has told of its error
			}
		}()
	}
	ended := make(chan error, 1)
	go func() {
		if err := show(ctx, p, s, v); err != nil {
			ended <- err
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	j.Tell(journal.Event{What: journal.Closing})
	j.Tell(journal.Event{What: journal.Closed})
	return nil
}

// show has a view show what the peer tells of its service. An error is told, unless ctx has ended.
func show(ctx context.Context, p follower, s settings, v *view) error {
	err := p.watch(ctx, s, v)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	v.failed(err)
	return err
}

// reached waits for a time, and tells whether ctx has not ended before.
func reached(ctx context.Context, turn <-chan time.Time) bool {
	select {
	case <-turn:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
