package xds

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/rollcall-io/rollcall"
)

// How long changes of a service are gathered after each that was published. The first one goes out at once.
const (
	windowLeast = 5 * time.Millisecond
	windowPer   = 60 * time.Nanosecond // for each endpoint to each subscription, of which a client has four
)

// follow takes note of what changes, and leaves the rest to publish.
func (s *Server) follow() {
	w := s.reg.WatchServices()
	defer w.Close()
	for {
		o, err := w.Next(s.ctx)
		if err != nil {
			if s.ctx.Err() == nil {
				s.cfg.Logger.Error("the registry tells nothing any more", "err", err)
			}
			return
		}
		for _, st := range s.take(o) {
			st.widen()
		}
		s.tell()
	}
}

// take makes what changed due, and returns the streams that are to look for services that were not there before.
func (s *Server) take(o *rollcall.Overview) (wider []*stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := false
	if o.Complete {
		s.replaceLocked(o)
	}
	for _, v := range o.Services {
		fresh = s.takeLocked(v.Service, v) || fresh
	}
	s.known = true
	if fresh {
		wider = s.streamsLocked()
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
	return wider
}

// replaceLocked is for an overview of everything: what it does not have is gone.
func (s *Server) replaceLocked(o *rollcall.Overview) {
	named := make(map[string]bool, len(o.Services))
	for _, v := range o.Services {
		named[v.Service] = true
	}
	for service := range maps.Clone(s.views) {
		if !named[service] {
			s.takeLocked(service, nil)
		}
	}
	if !s.known { // whoever asked has waited for this
		for service := range s.services {
			if !named[service] {
				s.takeLocked(service, nil)
			}
		}
	}
}

// takeLocked reports whether the service was not known of before.
func (s *Server) takeLocked(name string, v *rollcall.View) bool {
	_, before := s.views[name]
	if isEmpty(v) {
		v = nil
		delete(s.views, name)
	} else {
		s.views[name] = v
	}
	if sv := s.services[name]; sv != nil {
		sv.next = v
		at := sv.published.Add(s.window(sv, v))
		if other, waits := s.due[sv]; !waits || at.Before(other) {
			s.due[sv] = at
		}
	}
	return !before && v != nil
}

// window is how long to wait after what was published last: what takes long to send is not worth sending often.
func (s *Server) window(sv *service, v *rollcall.View) time.Duration {
	size := 1
	if v != nil {
		size += len(v.Instances)
	}
	return min(windowLeast+time.Duration(size)*time.Duration(sv.users)*windowPer, s.cfg.MaxWindow)
}

// publish publishes what is due.
func (s *Server) publish() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ready, wait := s.takeDue(time.Now())
		for sv, v := range ready {
			wait = min(wait, s.again(sv, sv.publish(v, time.Now())))
		}
		if len(ready) > 0 {
			s.tell()
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-s.kick:
		case <-s.ctx.Done():
			return
		}
	}
}

// takeDue returns what is to be published now, and when to look again.
func (s *Server) takeDue(now time.Time) (ready map[*service]*rollcall.View, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ready, wait = map[*service]*rollcall.View{}, time.Hour
	for sv, at := range s.due {
		if left := at.Sub(now); left > 0 {
			wait = min(wait, left)
			continue
		}
		ready[sv] = sv.next
		sv.published = now
		delete(s.due, sv)
	}
	return ready, wait
}

// again makes a service due once more, unless it is already, and returns in how long.
func (s *Server) again(sv *service, at time.Time) time.Duration {
	if at.IsZero() {
		return time.Hour
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, waits := s.due[sv]; s.services[sv.name] == sv && (!waits || at.Before(other)) {
		s.due[sv] = at
	}
	return time.Until(at)
}

// current returns when what clients are told of a service contains everything up to a revision of etcd.
func (s *Server) current(ctx context.Context, service string, revision int64) error {
	if revision > 0 {
		if err := s.reg.Reach(ctx, revision); err != nil {
			return err
		}
	}
	want, err := s.reg.Lookup(ctx, service)
	if err != nil {
		return err
	}
	for {
		s.mu.Lock()
		news, sv, has, known := s.listenLocked(), s.services[service], s.views[service], s.known
		s.mu.Unlock()
		if known && upTo(has, want) && (sv == nil || sv.contains(want)) {
			return nil
		}
		select {
		case <-news:
		case <-s.ctx.Done():
			return errStopping
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// contains reports whether what was published is a view, or newer.
func (sv *service) contains(want *rollcall.View) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return sv.known && upTo(sv.view, want)
}

// upTo reports whether a view is as new as another.
func upTo(has, want *rollcall.View) bool {
	return has != nil && has.Revision >= want.Revision || same(has, want)
}

// same reports whether clients are told the same of two views.
func same(a, b *rollcall.View) bool {
	if a == nil {
		a = &rollcall.View{}
	}
	if b == nil {
		b = &rollcall.View{}
	}
	return len(b.Since(a)) == 0 && samePolicy(a, b)
}

func samePolicy(a, b *rollcall.View) bool {
	p, q := policyIn(a), policyIn(b)
	return p == q || reflect.DeepEqual(p, q)
}

func policyIn(v *rollcall.View) *rollcall.Policy {
	if v == nil {
		return nil
	}
	return v.Policy
}
