package dns

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-io/rollcall"
)

// service is what is known of one, and what was made of it for those who asked. What nobody asks for is not made.
type service struct {
	name   string
	labels string // in a message, without the root
	id     uint32
	view   atomic.Pointer[rollcall.View]

	arranged atomic.Pointer[arrangement] // of the view, or of one shortly before it

	mu      sync.Mutex // held while another one is made
	next    time.Time  // when that may be at the earliest
	ids     sync.RWMutex
	targets map[uint64]address // by id; nil until somebody asks for one
}

// rest is how many times as long as an arrangement took nobody makes the next one: a large service that changes all the time takes a share
// of one core, no more.
const rest = 8

// maxRest is how long it waits at the most.
const maxRest = 250 * time.Millisecond

// arrangement is a view in the order in which questions are answered. It does not change, but for what is added to it.
type arrangement struct {
	service *service
	below   []byte // what instances' names end with
	view    *rollcall.View
	members []*member

	indexed sync.Once
	zones   values
	version values
	ports   map[string]string // the names of ports that anybody has, by their labels without _

	mu     sync.RWMutex
	sets   map[setKey]*set
	config *set
}

// setKey is what a set answers. Of the values "" stands for any.
type setKey struct {
	zone, version string
	port          string
	rtype         uint16
}

// maxSets is how many sets of one view are kept: there may be as many as there are zones times versions times ports.
const maxSets = 1024

// arrange returns the arrangement of the view that there is, or while it is being made and shortly after the one before it.
func (sv *service) arrange(below []byte) *arrangement {
	a, v := sv.arranged.Load(), sv.view.Load()
	if a != nil && a.view == v {
		return a
	}
	if a == nil {
		sv.mu.Lock()
	} else if !sv.mu.TryLock() {
		return a
	}
	defer sv.mu.Unlock()
	a, v = sv.arranged.Load(), sv.view.Load()
	began := time.Now()
	if a != nil && (a.view == v || began.Before(sv.next)) {
		return a
	}
	var before []*member
	if a != nil {
		before = a.members
	}
	made := &arrangement{service: sv, below: below, view: v, members: membersOf(v, before), sets: map[setKey]*set{}}
	sv.retarget(before, made.members)
	sv.arranged.Store(made)
	sv.delayLocked(time.Since(began))
	return made
}

// retarget keeps the ids up to date, if anybody has asked for any. Both lists are sorted.
func (sv *service) retarget(before, now []*member) {
	sv.ids.Lock()
	defer sv.ids.Unlock()
	if sv.targets == nil {
		return
	}
	var come []*member
	for len(before) > 0 || len(now) > 0 {
		switch {
		case len(before) > 0 && len(now) > 0 && before[0] == now[0]:
			before, now = before[1:], now[1:]
		case len(now) == 0 || len(before) > 0 && before[0].instance.ID <= now[0].instance.ID:
			before[0].each(func(a address) { delete(sv.targets, a.id) })
			before = before[1:]
		default:
			come = append(come, now[0])
			now = now[1:]
		}
	}
	sv.targetLocked(come)
}

func (sv *service) targetLocked(list []*member) {
	for _, m := range list {
		m.each(func(a address) { sv.targets[a.id] = a })
	}
}

// each calls do for each host of an instance that has a name of ours.
func (m *member) each(do func(address)) {
	if m.address.valid() {
		do(m.address)
	}
	for _, a := range m.more {
		if a.valid() {
			do(a)
		}
	}
}

// target returns the host of an id.
func (a *arrangement) target(id uint64) (address, bool) {
	sv := a.service
	sv.ids.RLock()
	known := sv.targets != nil
	found, ok := sv.targets[id]
	sv.ids.RUnlock()
	if known {
		return found, ok
	}
	sv.mu.Lock() // nothing is arranged meanwhile
	defer sv.mu.Unlock()
	sv.ids.Lock()
	defer sv.ids.Unlock()
	if sv.targets == nil {
		members := sv.arranged.Load().members
		sv.targets = make(map[uint64]address, len(members))
		sv.targetLocked(members)
	}
	found, ok = sv.targets[id]
	return found, ok
}

// set returns what answers a question of addresses or servers.
func (a *arrangement) set(key setKey) *set {
	a.mu.RLock()
	s := a.sets[key]
	a.mu.RUnlock()
	if s != nil {
		return s
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.sets[key]; s != nil {
		return s
	}
	began := time.Now()
	list := a.selected(key)
	if key.rtype == typeSRV {
		s = servers(a.service.id, callable(withPort(list, key.port)), key.port, a.below)
	} else {
		s = addresses(key.rtype, callable(list))
	}
	if len(a.sets) >= maxSets {
		clear(a.sets)
	}
	a.sets[key] = s
	a.service.delay(time.Since(began))
	return s
}

// delay counts what was made of an arrangement as a part of what it costs.
func (sv *service) delay(took time.Duration) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.delayLocked(took)
}

func (sv *service) delayLocked(took time.Duration) {
	now := time.Now()
	if sv.next.Before(now) {
		sv.next = now
	}
	sv.next = sv.next.Add(rest * took)
	if last := now.Add(maxRest); sv.next.After(last) {
		sv.next = last
	}
}

// selected returns the members of a zone and a version.
func (a *arrangement) selected(key setKey) []*member {
	if key.zone == "" && key.version == "" {
		return a.members
	}
	a.index()
	if key.zone == "" {
		return a.version.members[key.version]
	}
	var list []*member
	for _, m := range a.zones.members[key.zone] {
		if key.version == "" || m.instance.Version == key.version {
			list = append(list, m)
		}
	}
	return list
}

func withPort(list []*member, port string) []*member {
	if port == "" {
		return list
	}
	var out []*member
	for _, m := range list {
		if m.port(port).valid() {
			out = append(out, m)
		}
	}
	return out
}
