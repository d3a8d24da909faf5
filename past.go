package rollcall

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/follow"
	"github.com/rollcall-io/rollcall/internal/wire"
)

// ErrRevision says that etcd does not have a revision: it was compacted away, or has not come yet.
var ErrRevision = errors.New("etcd does not have that revision")

// Revision asks etcd for its revision now: what happens from here on has a greater one. Only a registry on etcd can ask; another returns
// [errors.ErrUnsupported].
func (r *Registry) Revision(ctx context.Context) (int64, error) {
	err := r.check("any")
	var now int64
	if err == nil {
		now, err = r.revision(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("etcd's revision: %w", err)
	}
	return now, nil
}

func (r *Registry) revision(ctx context.Context) (now int64, err error) {
	e, ok := r.engine.(*etcd)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	err = e.call(ctx, func(ctx context.Context, conn *wire.Conn) error {
		found, err := conn.KV().Get(ctx, r.layout.services+r.holder, clientv3.WithCountOnly())
		if err == nil {
			now = found.Header.Revision
		}
		return err
	})
	return now, err
}

// LookupAt returns a service as it was at a revision of etcd, as far as etcd remembers: else the error is [ErrRevision]. Overrides count that
// counted at the given time; with the zero time all count that were there. There are no suspects in the past. Only a registry on etcd has
// one; another returns [errors.ErrUnsupported].
func (r *Registry) LookupAt(ctx context.Context, service string, revision int64, at time.Time) (*View, error) {
	err := r.check(service)
	var views []*View
	if err == nil {
		views, err = r.past(ctx, service, revision, at)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("look up %s at revision %d: %w", service, revision, err)
	case len(views) == 0:
		return &View{Service: service, Revision: revision}, nil
	}
	return views[0], nil
}

// OverviewAt is LookupAt for all services that had instances or a policy, sorted by name. It reads all of them.
func (r *Registry) OverviewAt(ctx context.Context, revision int64, at time.Time) ([]*View, error) {
	err := r.check("any")
	if err == nil && r.layout.flat {
		err = invalid("prefix", "", "services can be listed only under a prefix")
	}
	var views []*View
	if err == nil {
		views, err = r.past(ctx, "", revision, at)
	}
	if err != nil {
		return nil, fmt.Errorf("look up all services at revision %d: %w", revision, err)
	}
	return views, nil
}

func (r *Registry) past(ctx context.Context, service string, revision int64, at time.Time) ([]*View, error) {
	e, ok := r.engine.(*etcd)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	if revision < 1 {
		return nil, invalid("revision", revision, "etcd's revisions begin at 1")
	}
	var views []*View
	err := e.try(ctx, func(ctx context.Context) error {
		var err error
		views, err = e.viewsAt(ctx, service, revision, at)
		return err
	})
	return views, err
}

// viewsAt reads a service, or all when it is "", as of a revision.
func (r *etcd) viewsAt(ctx context.Context, service string, revision int64, at time.Time) ([]*View, error) {
	dir, controlDir := r.layout.services, r.layout.control
	if service != "" {
		dir, controlDir = r.layout.dir(service), r.layout.controlDir(service)
	}
	decided := map[string]*decisions{}
	err := r.source.ListAt(ctx, controlDir, revision, func(_ follow.Header, kv *mvccpb.KeyValue) {
		about, name, ok := strings.Cut(strings.TrimPrefix(string(kv.Key), r.layout.control), "/")
		if value := decision(name, kv.Value, kv.ModRevision); ok && isDecision(value) {
			if decided[about] == nil {
				decided[about] = &decisions{}
			}
			decided[about].set(name, value)
		}
	})
	if err != nil && !errors.Is(wire.EtcdError(err), rpctypes.ErrPermissionDenied) { // who may not read it does without
		return nil, noRevision(err)
	}
	views := map[string]*View{}
	for name, d := range decided {
		if d.policy != nil && r.layout.checkService(name) == nil {
			views[name] = &View{Service: name, Revision: revision, Policy: d.policy}
		}
	}
	err = r.source.ListAt(ctx, dir, revision, func(_ follow.Header, kv *mvccpb.KeyValue) {
		r.addAt(views, decided, kv, revision, at)
	})
	if err != nil {
		return nil, noRevision(err)
	}
	sorted := slices.Collect(maps.Values(views))
	slices.SortFunc(sorted, func(a, b *View) int { return strings.Compare(a.Service, b.Service) })
	for _, v := range sorted {
		slices.SortFunc(v.Instances, func(a, b *Instance) int { return compareID(a, b.ID) })
	}
	return sorted, nil
}

// addAt adds an instance to its service's view. Who is leaving was gone.
func (r *etcd) addAt(views map[string]*View, decided map[string]*decisions, kv *mvccpb.KeyValue, revision int64, at time.Time) {
	service, ok := r.layout.serviceOf(string(kv.Key))
	if !ok {
		return
	}
	id, _ := idOf(r.layout.dir(service), string(kv.Key))
	i, err := decodeInstance(id, kv.Value)
	if err != nil || i.State == stateLeaving {
		return
	}
	i.Revision, i.CreateRevision, i.lease = kv.ModRevision, kv.CreateRevision, kv.Lease
	if d := decided[service]; d != nil {
		i.Override, i.Health = d.override(id, at), d.healthOf(i)
	}
	if views[service] == nil {
		views[service] = &View{Service: service, Revision: revision}
	}
	views[service].Instances = append(views[service].Instances, i)
}

func isDecision(value any) bool {
	switch value.(type) {
	case *Policy, *Override, *finding:
		return true
	}
	return false
}

// noRevision gives etcd's words for a revision that it does not have ours.
func noRevision(err error) error {
	switch e := wire.EtcdError(err); {
	case errors.Is(e, rpctypes.ErrCompacted):
		return fmt.Errorf("%w: it was compacted away", ErrRevision)
	case errors.Is(e, rpctypes.ErrFutureRev):
		return fmt.Errorf("%w: it has not come yet", ErrRevision)
	}
	return err
}
