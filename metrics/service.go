package metrics

import (
	"time"

	"github.com/rollcall-io/rollcall"
)

// service is what is told of a service, or of many.
type service struct {
	name                                               string
	instances, suspects, unhealthy, draining, watchers int
	stale                                              float64
}

// gather returns the first n services, which are sorted by name, and all others as one, if there are any.
func gather(from []rollcall.ServiceStatus, n int, now time.Time) []service {
	told := make([]service, 0, min(len(from), n+1))
	for i, s := range from {
		if i <= n {
			told = append(told, service{name: s.Service})
		}
		at := &told[min(i, n)]
		if i >= n {
			at.name = Others
		}
		at.add(s, now)
	}
	return told
}

func (s *service) add(of rollcall.ServiceStatus, now time.Time) {
	s.instances += of.Instances
	s.suspects += of.Suspects
	s.unhealthy += of.Unhealthy
	s.draining += of.Draining
	s.watchers += of.Watchers
	s.stale = max(s.stale, since(of.StaleSince, now))
}

func (e emitter) service(s service) {
	e.gauge(serviceInstances, float64(s.instances), s.name)
	e.gauge(serviceSuspects, float64(s.suspects), s.name)
	e.gauge(serviceUnhealthy, float64(s.unhealthy), s.name)
	e.gauge(serviceDraining, float64(s.draining), s.name)
	e.gauge(serviceWatchers, float64(s.watchers), s.name)
	e.gauge(serviceStale, s.stale, s.name)
}
