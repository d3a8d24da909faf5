package rollcall

import (
	"maps"
	"slices"
	"time"
)

// Status is what a registry knows about itself at one moment; everything in it is a copy.
type Status struct {
	Endpoints []string // etcd's, as configured
	Prefix    string   // where instances lie in etcd, such as "rollcall/services/"

	// UnreachableSince is when etcd stopped answering the registry's heartbeats and writes; zero while it answers or
	// was not asked. LastError is what the last failed try met.
	UnreachableSince time.Time
	LastError        error // see above; nil when there was none

	Leases   []LeaseStatus   // one per TTL in use and 1,000 registrations, sorted by TTL
	Services []ServiceStatus // those followed by a watcher now or a moment ago, sorted by name

	Registrations Registrations
	Counters      Counters
}

// LeaseStatus is about one lease and the registrations it keeps.
type LeaseStatus struct {
	ID            int64         // etcd's; 0 while there is none
	TTL           time.Duration // as wanted
	Registrations int           // that it keeps now
	LastHeartbeat time.Time     // the last one that etcd confirmed; zero before the first
}

// ServiceStatus is about one followed service.
type ServiceStatus struct {
	Service    string    // its name
	Revision   int64     // of the newest view; 0 before the first
	Instances  int       // in the newest view
	Suspects   int       // of the instances: their loss is doubted
	Unhealthy  int       // of the instances: a check fails
	Draining   int       // of the instances: they, or operators, say so
	Watchers   int       // of this registry, open now
	StaleSince time.Time // as in View; zero also before the first view: then Err says what keeps it
	Err        error     // why it is stale
	Skipped    int64     // values that could not be read, each write counted once
}

// Status returns what the registry knows about itself now. It does no I/O.
func (r *Registry) Status() Status {
	s := Status{Prefix: r.layout.services}
	if r.engine == nil {
		s.LastError = r.err
		return s
	}
	r.engine.status(&s)
	r.counts.status(&s)
	s.Counters.Skipped = r.garbage.total()
	r.mu.Lock()
	feeds := maps.Clone(r.feeds)
	users := make(map[string]int, len(feeds))
	for name, f := range feeds {
		users[name] = f.users
	}
	r.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(feeds)) {
		s.Services = append(s.Services, feeds[name].status(users[name]))
	}
	return s
}

// status implements [engine].
func (r *etcd) status(s *Status) {
	kept := r.keeper.Status()
	s.Endpoints, s.UnreachableSince, s.LastError = r.client.Endpoints(), kept.UnreachableSince, refused(kept.LastError)
	s.Counters.LeasesLost = kept.Lost
	for _, l := range kept.Leases {
		s.Leases = append(s.Leases, LeaseStatus{
			ID: l.ID, TTL: time.Duration(l.TTL) * time.Second, Registrations: l.Holds, LastHeartbeat: l.LastHeartbeat,
		})
	}
}
