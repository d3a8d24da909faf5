//go:build unix

package channel

import (
	"fmt"
	"slices"
	"strings"
	"time"

	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// model is a service that is only thought of. It tells a channel of its changes itself.
type model struct {
	resolver *manual.Resolver
	link     *endpoints.Link
	listed   bool // by lists, and not by views
	reducer  *endpoints.Reducer
	all      []*rollcall.Instance
	lists    map[string]string // of their ids, the addresses
	made     int
	turn     int
}

// target returns the target of a channel to a service with n instances.
func (m *model) target(kind string, n int) (string, grpcresolver.Builder) {
	*m = model{
		resolver: manual.NewBuilderWithScheme("model"), listed: kind == "lists", link: new(endpoints.Link),
		reducer: endpoints.NewReducer("svc", "", nil), lists: map[string]string{},
	}
	var updates []rollcall.Update
	for range n {
		m.all = append(m.all, m.newInstance())
		updates = append(updates, rollcall.Update{Op: rollcall.Add, Instance: m.all[len(m.all)-1]})
	}
	m.resolver.InitialState(m.state(updates))
	return "model:///svc", m.resolver
}

func (m *model) newInstance() *rollcall.Instance {
	m.made++
	addr := fmt.Sprintf("10.%03d.%03d.%03d:50051", m.made>>16, m.made>>8&255, m.made&255) // sorted as they are made
	return &rollcall.Instance{ID: addr, Addr: addr, State: rollcall.StateServing, Weight: rollcall.DefaultWeight}
}

// state is what a resolver makes of updates.
func (m *model) state(updates []rollcall.Update) grpcresolver.State {
	if !m.listed {
		view, _ := m.reducer.Apply(updates)
		return view.Linked(m.link)
	}
	for _, u := range updates {
		if m.lists[u.Instance.ID] = u.Instance.Addr; u.Op == rollcall.Delete {
			delete(m.lists, u.Instance.ID)
		}
	}
	var s grpcresolver.State
	for _, addr := range m.lists {
		s.Endpoints = append(s.Endpoints, grpcresolver.Endpoint{Addresses: []grpcresolver.Address{{Addr: addr}}})
	}
	return s
}

// tell tells the channel of updates, as rollcall's resolver does: by their link if its policy has joined that.
func (m *model) tell(updates []rollcall.Update) {
	if m.reducer.Linked = m.link.Joined(); m.reducer.Linked {
		view, _ := m.reducer.Apply(updates)
		m.link.Pass(view)
		return
	}
	m.resolver.UpdateState(m.state(updates))
}

// change makes a change of one instance.
func (m *model) change(kind string) []rollcall.Update {
	m.turn = (m.turn + 1) % len(m.all)
	old := m.all[m.turn]
	if kind == "weight" {
		now := old.Clone()
		now.Weight ^= 16
		m.all[m.turn] = now
		return []rollcall.Update{{Op: rollcall.Modify, Instance: now, Prev: old}}
	}
	now := m.newInstance()
	m.all[m.turn] = now
	updates := []rollcall.Update{{Op: rollcall.Delete, Instance: old, Prev: old}, {Op: rollcall.Add, Instance: now}}
	slices.SortFunc(updates, func(a, b rollcall.Update) int { return strings.Compare(a.Instance.ID, b.Instance.ID) })
	return updates
}

// drive makes changes one by one, far enough apart for none to be gathered with the next, and returns what they cost from
// when they were known until all connections were READY and in a picker.
func (p *program) drive(kind string) reading {
	gap := min(3*time.Millisecond+time.Duration(p.N)*6*time.Microsecond, 60*time.Millisecond) // more than anything is gathered for
	p.hold()
	p.mark()
	var cpu time.Duration
	for range p.Changes {
		<-time.After(gap)
		updates := p.change(kind)
		pickers, began := p.pickers.Load(), processCPU()
		p.tell(updates)
		if !p.until(func() bool {
			return p.ready.Load() == int64(p.N) && (p.Policy == "bare" || p.pickers.Load() > pickers)
		}) {
			return reading{Failed: fmt.Sprintf("%d READY of %d, %d pickers", p.ready.Load(), p.N, p.pickers.Load()-pickers)}
		}
		if kind == "replace" { // the picker may have been that of the removal
			<-time.After(gap)
		}
		cpu += processCPU() - began
	}
	r := p.account()
	r.CPU, r.Collecting = cpu, p.collect(r.Bytes)
	return r
}
