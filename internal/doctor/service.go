package doctor

import (
	"context"
	"fmt"

	"github.com/rollcall-io/rollcall"
)

var serviceNobodyReady = newKind("service-nobody-ready", "A service has instances, and none to be called",
	"Callers call whom there is, for want of a better one. See who drains or checks them: `rollcall get SERVICE`; `rollcall undo SERVICE ID` takes a drain back. Suspects come back, or go when their time is up: `rollcall accept SERVICE` believes that they are gone.")

var serviceCheck = check{"services", "whether every service has an instance to be called", func(ctx context.Context, p *patient) ([]Finding, error) {
	o, err := p.overview(ctx)
	if err != nil {
		return nil, err
	}
	return judgeServices(o.Services), nil
}}

func judgeServices(services []*rollcall.View) []Finding {
	var found []Finding
	for _, v := range services {
		draining, suspect, unhealthy, ready := 0, 0, 0, 0
		for _, i := range v.Instances {
			switch {
			case i.Suspect:
				suspect++
			case i.EffectiveState() != rollcall.StateServing:
				draining++
			case !i.Healthy():
				unhealthy++
			default:
				ready++
			}
		}
		if ready == 0 && len(v.Instances) > 0 {
			found = append(found, serviceNobodyReady.found(Warning, v.Service,
				fmt.Sprintf("%d instances: %d suspect, %d draining, %d unhealthy", len(v.Instances), suspect, draining, unhealthy)))
		}
	}
	return found
}

// overview asks the registry what it knows of all services.
func (p *patient) overview(ctx context.Context) (*rollcall.Overview, error) {
	if p.Registry == nil {
		return nil, skip("no registry was given")
	}
	w := p.Registry.WatchServices()
	defer w.Close()
	return w.Next(ctx)
}
