package demo

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/rollcall-io/rollcall"
)

// facts is all that was seen, in no other form than it was seen in.
type facts struct {
	servers  map[string]*serverFacts // by id
	traffic  map[string]*traffic     // by address
	unsent   int                     // calls that ended without having been sent to any address
	failures []call
}

// serverFacts is what became of one server. Times are zero for what has not happened.
type serverFacts struct {
	addr    string
	joined  time.Time // first seen in the view
	killed  time.Time // sent SIGKILL
	ended   time.Time // its process has ended by it, with all its connections
	drained time.Time // sent SIGTERM
	gone    time.Time // seen to leave the view, and not to come back
	expired bool      // it left without a goodbye
	left    int       // how often it left
	stopped bool      // its process ended after SIGTERM
	stopErr error     // how, if not cleanly
}

// traffic is what one address got.
type traffic struct {
	calls     int // all that were sent there and have ended
	firstSent time.Time
}

// call is one call that has ended.
type call struct {
	addr    string // where it was sent; "" if it was not
	sent    time.Time
	code    codes.Code
	message string // of the status, unless it is OK
}

// journal gathers the facts. Its methods may be called concurrently.
type journal struct {
	mu      sync.Mutex
	facts   facts
	changed chan struct{} // closed and replaced when a server's facts have changed
}

func newJournal() *journal {
	return &journal{
		facts:   facts{servers: map[string]*serverFacts{}, traffic: map[string]*traffic{}},
		changed: make(chan struct{}),
	}
}

// update notes a change of the view.
func (j *journal) update(u rollcall.Update, at time.Time) {
	j.change(func(f *facts) { f.update(u, at) })
}

// killed notes that a server was sent SIGKILL, and when its process had ended.
func (j *journal) killed(id string, at, ended time.Time) {
	j.change(func(f *facts) { f.servers[id].killed, f.servers[id].ended = at, ended })
}

// drained notes that a server was sent SIGTERM.
func (j *journal) drained(id string, at time.Time) {
	j.change(func(f *facts) { f.servers[id].drained = at })
}

// stopped notes that the process of a server that was sent SIGTERM has ended, and how.
func (j *journal) stopped(id string, err error) {
	j.change(func(f *facts) { f.servers[id].stopped, f.servers[id].stopErr = true, err })
}

func (j *journal) change(edit func(*facts)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	edit(&j.facts)
	close(j.changed)
	j.changed = make(chan struct{})
}

// called notes the end of a call.
func (j *journal) called(c call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.facts.called(c)
}

// waitUntil blocks until the facts about servers satisfy ok, or returns the cause of the context's end.
func (j *journal) waitUntil(ctx context.Context, ok func(*facts) bool) error {
	for {
		j.mu.Lock()
		done, changed := ok(&j.facts), j.changed
		j.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// calls returns how many calls each server in the view, past or present, has got so far.
func (j *journal) calls() map[string]int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.facts.calls()
}

// tally counts what was seen so far.
func (j *journal) tally() tally {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.facts.tally()
}

func (f *facts) update(u rollcall.Update, at time.Time) {
	s := f.servers[u.Instance.ID]
	if s == nil {
		s = &serverFacts{joined: at}
		f.servers[u.Instance.ID] = s
	}
	s.addr = u.Instance.Addr
	switch u.Op {
	case rollcall.Add:
		s.gone = time.Time{} // back, if it was gone
	case rollcall.Delete:
		s.gone, s.expired = at, u.Expired
		s.left++
	}
}

func (f *facts) called(c call) {
	if c.code != codes.OK {
		f.failures = append(f.failures, c)
	}
	if c.addr == "" {
		f.unsent++
		return
	}
	t := f.traffic[c.addr]
	if t == nil {
		t = &traffic{firstSent: c.sent}
		f.traffic[c.addr] = t
	}
	t.calls++
	if c.sent.Before(t.firstSent) {
		t.firstSent = c.sent
	}
}

func (f *facts) calls() map[string]int {
	calls := make(map[string]int, len(f.servers))
	for id, s := range f.servers {
		if t := f.traffic[s.addr]; t != nil {
			calls[id] = t.calls
		}
	}
	return calls
}
