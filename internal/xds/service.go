package xds

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
)

// service is what clients are told of one service. It exists while somebody asks for it.
type service struct {
	s     *Server
	name  string
	users int // guarded by the server's mu, as next and published

	next      *rollcall.View // what is to be published
	published time.Time      // the last time

	revision atomic.Int64 // of the newest view that was published

	mu     sync.Mutex
	known  bool
	view   *rollcall.View // that was published; nil: nobody is registered
	split  split          // that calls are divided by, on the way to that of the view's policy
	turns  time.Time      // when it becomes that; zero: it is
	saw    *outlook       // of the view; made when it is needed
	blank  *outlook       // of no view
	cells  map[cellKey]*cell
	warned bool // of addresses that nobody can dial
}

// cellKey says what is told, and to whom.
type cellKey struct {
	kind   kind
	name   name
	stance stance
}

// cell is a resource that changes: what the streams that asked for it are told now.
type cell struct {
	service  *service
	key      cellKey
	resource atomic.Pointer[resource] // nil: nothing is known yet
	subs     []*subscription          // guarded by the service's mu
}

// join gives a subscription its cell, encoded by the first who asks.
func (s *Server) join(sub *subscription, key cellKey) {
	s.mu.Lock()
	sv := s.services[key.name.service]
	if sv == nil {
		sv = &service{s: s, name: key.name.service, known: s.known, view: s.views[key.name.service], cells: map[cellKey]*cell{}}
		if sv.view != nil {
			sv.split = splitOf(sv.view.Policy)
			sv.revision.Store(sv.view.Revision)
		}
		s.services[sv.name] = sv
	}
	sv.users++
	s.mu.Unlock()
	sv.mu.Lock()
	defer sv.mu.Unlock()
	c := sv.cells[key]
	if c == nil {
		c = &cell{service: sv, key: key}
		sv.cells[key] = c
		if sv.known {
			sv.encode(c, map[cellKey]*resource{})
		}
	}
	sub.cell, sub.at = c, len(c.subs)
	c.subs = append(c.subs, sub)
}

// leave takes its cell from a subscription.
func (s *Server) leave(sub *subscription) {
	c := sub.cell
	sub.cell = nil
	sv := c.service
	sv.mu.Lock()
	last := len(c.subs) - 1
	c.subs[sub.at], c.subs[last].at = c.subs[last], sub.at
	c.subs[last] = nil
	c.subs = c.subs[:last]
	if last == 0 {
		delete(sv.cells, c.key)
	}
	sv.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if sv.users--; sv.users == 0 {
		delete(s.services, sv.name)
		delete(s.due, sv)
	}
}

// publish makes a view what clients are told, and returns when to publish it once more; zero: not at all. What is the same in other words
// stays as it is, and wakes nobody.
func (sv *service) publish(v *rollcall.View, now time.Time) (again time.Time) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	was, known := sv.view, sv.known
	sv.known, sv.view = true, v
	if v != nil {
		defer sv.revision.Store(v.Revision) // when what it says can be had
	}
	if known && same(was, v) && (sv.turns.IsZero() || now.Before(sv.turns)) {
		return sv.turns
	}
	// Without a split it is only to assignments that it matters who is there.
	decided := known && samePolicy(was, v) && sv.turns.IsZero() && len(sv.split.parts) == 0
	sv.turn(known, now)
	sv.saw = nil
	shared := map[cellKey]*resource{}
	for _, c := range sv.cells {
		if decided && c.key.kind != endpoints && c.resource.Load() != nil {
			continue
		}
		if sv.encode(c, shared) {
			for _, sub := range c.subs {
				sub.stream.wakeUp()
			}
		}
	}
	return sv.turns
}

// turn brings the split nearer to that of the view's policy. New clusters are introduced first.
func (sv *service) turn(known bool, now time.Time) {
	var next split
	if sv.view != nil {
		next = splitOf(sv.view.Policy)
	}
	between, arrived := sv.split.toward(next)
	due := !sv.turns.IsZero() && !now.Before(sv.turns) && slices.Equal(sv.split.coming, between.coming)
	switch {
	case arrived || due || !known:
		sv.split, sv.turns = next, time.Time{}
	case sv.turns.IsZero() || !slices.Equal(sv.split.coming, between.coming):
		sv.split, sv.turns = between, now.Add(introduction)
	}
}

// encode makes a cell's resource anew, and reports whether it is another one. Cells that come to the same share it.
func (sv *service) encode(c *cell, shared map[cellKey]*resource) bool {
	o := sv.outlook(c.key.stance.hidden)
	key := c.key
	key.stance = o.settled(key.stance)
	if key.kind != endpoints {
		key.stance = stance{hidden: key.stance.hidden}
	}
	r := shared[key]
	was := c.resource.Load()
	if r == nil {
		value, err := o.encode(key)
		if err != nil {
			sv.s.cfg.Logger.Error("a resource cannot be encoded", "service", sv.name, "err", err)
			return false
		}
		made := newResource(key.kind, key.name.String(), value)
		sv.s.counts.encodings.Add(1)
		sv.s.counts.encoded.Add(int64(made.fragment.Len()))
		r = made
		if was != nil && was.version == r.version {
			r = was
		} else {
			r.seq = sv.s.seq.Add(1)
			if sv.view != nil {
				r.as.Store(sv.view.Revision)
			}
		}
		shared[key] = r
	}
	if was != nil && was.version == r.version {
		return false
	}
	if was != nil {
		was.as.Store(max(was.as.Load(), sv.revision.Load()))
	}
	c.resource.Store(r)
	return true
}

func (sv *service) outlook(hidden bool) *outlook {
	if hidden || sv.view == nil {
		if sv.blank == nil {
			sv.blank = newOutlook(sv.name, nil)
		}
		return sv.blank
	}
	if sv.saw == nil {
		sv.saw = newOutlook(sv.name, sv.view)
		sv.saw.split = sv.split
		sv.warn(sv.saw)
	}
	return sv.saw
}

// warn says once of a service that not everybody can call all of it.
func (sv *service) warn(o *outlook) {
	if sv.warned || o.lost == 0 && !o.named {
		return
	}
	sv.warned = true
	sv.s.cfg.Logger.Warn("instances have addresses that not every xDS client can dial: Envoy, Python, Ruby, PHP and C++ take IP addresses only", "service", sv.name)
}

// encode returns what a resource says, the same always in the same bytes.
func (o *outlook) encode(key cellKey) ([]byte, error) {
	options := proto.MarshalOptions{Deterministic: true}
	switch key.kind {
	case listeners:
		return options.Marshal(o.listener())
	case routes:
		return options.Marshal(o.route())
	case clusters:
		return options.Marshal(o.cluster(key.name))
	}
	return appendAssignment(make([]byte, 0, 32*(len(o.members)+4)), key.name.String(), o.arrange(key.name, key.stance)), nil
}
