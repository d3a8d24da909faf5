package dns

import (
	"slices"

	"github.com/rollcall-io/rollcall"
)

// follow takes note of what changes. Nothing is made of it before somebody asks.
func (s *Server) follow(reg *rollcall.Registry) {
	w := reg.WatchServices()
	defer w.Close()
	for {
		o, err := w.Next(s.ctx)
		if err != nil {
			if s.ctx.Err() == nil {
				s.cfg.Logger.Error("the registry tells nothing any more", "err", err)
				now := s.now()
				s.stale.Store(&now)
			}
			return
		}
		s.take(o)
	}
}

// take takes what changed. A service that is still there costs nothing but a pointer.
func (s *Server) take(o *rollcall.Overview) {
	var come, gone []*service
	s.mu.RLock()
	if o.Complete {
		gone = s.missingLocked(o)
	}
	for _, v := range o.Services {
		sv, known := s.byName[v.Service]
		empty := len(v.Instances) == 0 && v.Policy == nil
		switch {
		case known && empty:
			gone = append(gone, sv)
		case empty:
		case !known:
			come = append(come, s.newService(v))
		case sv.labels != "":
			sv.view.Store(v)
		}
	}
	s.mu.RUnlock()
	if len(come)+len(gone) > 0 {
		s.exchange(come, gone)
	}
	s.serial.Store(uint32(o.Revision))
	if o.StaleSince.IsZero() {
		s.stale.Store(nil)
	} else {
		s.stale.Store(&o.StaleSince)
	}
	s.known.Store(true)
}

// missingLocked returns the services that an overview of everything does not have.
func (s *Server) missingLocked(o *rollcall.Overview) (gone []*service) {
	named := make(map[string]bool, len(o.Services))
	for _, v := range o.Services {
		named[v.Service] = true
	}
	for name, sv := range s.byName {
		if !named[name] {
			gone = append(gone, sv)
		}
	}
	return gone
}

// newService makes a service of its first view. It has no labels if its name fits into none of DNS.
func (s *Server) newService(v *rollcall.View) *service {
	sv := &service{name: v.Service, id: serviceID(v.Service)}
	sv.view.Store(v)
	labels, ok := appendValue(nil, v.Service)
	if ok && len(labels)+1+len(labelService)+len(s.domain) <= maxName {
		sv.labels = string(labels)
	} else {
		s.cfg.Logger.Warn("a service has no name in DNS: its own is too long there", "service", v.Service)
	}
	return sv
}

func (s *Server) exchange(come, gone []*service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sv := range gone {
		delete(s.byName, sv.name)
		delete(s.services, sv.labels)
		if ids := without(s.ids[sv.id], sv); len(ids) > 0 {
			s.ids[sv.id] = ids
		} else {
			delete(s.ids, sv.id)
		}
		sv.parents(func(part []byte) {
			children := s.parents[string(part)]
			if delete(children, sv); len(children) == 0 {
				delete(s.parents, string(part))
			}
		})
	}
	for _, sv := range come {
		s.byName[sv.name] = sv
		if sv.labels == "" {
			continue
		}
		s.services[sv.labels] = sv
		s.ids[sv.id] = append(slices.Clone(s.ids[sv.id]), sv)
		sv.parents(func(part []byte) {
			if s.parents[string(part)] == nil {
				s.parents[string(part)] = map[*service]struct{}{}
			}
			s.parents[string(part)][sv] = struct{}{}
		})
	}
}

func without(list []*service, sv *service) []*service {
	return slices.DeleteFunc(slices.Clone(list), func(other *service) bool { return other == sv })
}

// parents calls do with each name that the service has a name below.
func (sv *service) parents(do func([]byte)) {
	if sv.labels != "" {
		parents([]byte(sv.labels), do)
	}
}
