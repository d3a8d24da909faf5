package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

var (
	registryCutOff = newKind("registry-cut-off", "This registry cannot reach etcd",
		"What it tells is what it knew then. See what is between it and etcd: the endpoints, certificates, firewalls.")
	viewStale = newKind("view-stale", "A view is not current",
		"Callers go on with what was known last. The reason that is named is what etcd, or the way to it, met.")
	viewBehind = newKind("view-behind", "A view has not what etcd has",
		"The watch is late: too little CPU on this machine or at etcd, or a member that hangs. It heals itself within a minute; if it does not, restart the program that this was found in, and keep its log.")
)

var watchCheck = check{"watch", "whether what the registry tells is what etcd has", func(ctx context.Context, p *patient) ([]Finding, error) {
	if p.Registry == nil {
		return nil, skip("no registry was given")
	}
	found := judgeStatus(p.Registry.Status(), p.Now())
	if len(found) > 0 {
		return found, nil
	}
	listed, err := p.keys(ctx)
	if err != nil {
		return nil, err
	}
	behind, err := p.behind(ctx, listed.keys)
	if err != nil || len(behind) == 0 {
		return nil, err
	}
	kv, err := p.kv(ctx)
	if err != nil {
		return nil, err
	}
	return confirm(ctx, kv, behind, p.Thresholds.WatchGrace)
}}

// judgeStatus judges what the registry itself says of its way to etcd.
func judgeStatus(s rollcall.Status, now time.Time) []Finding {
	var found []Finding
	if !s.UnreachableSince.IsZero() {
		found = append(found, registryCutOff.found(Critical, "", "etcd has not answered for "+span(now.Sub(s.UnreachableSince)), orWhy(s.LastError)))
	}
	var stale []string
	severity := Warning
	for _, v := range s.Services {
		if !v.StaleSince.IsZero() {
			stale = append(stale, fmt.Sprintf("%s: for %s: %s", v.Service, span(now.Sub(v.StaleSince)), orWhy(v.Err)))
			if now.Sub(v.StaleSince) > time.Minute {
				severity = Critical
			}
		}
	}
	if len(stale) > 0 {
		found = append(found, viewStale.found(severity, "", few(stale)...))
	}
	return found
}

func orWhy(err error) string {
	if err == nil {
		return "nobody knows why"
	}
	return err.Error()
}

// behind returns those keys that the registry does not have as etcd has them, after they have been given some time.
func (p *patient) behind(ctx context.Context, keys []instanceKey) ([]instanceKey, error) {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k instanceKey) bool { return k.service == "" || k.err != nil || k.state == "leaving" })
	for deadline := time.Now().Add(p.Thresholds.WatchGrace); ; {
		o, err := p.overview(ctx)
		if err != nil {
			return nil, err
		}
		keys = slices.DeleteFunc(keys, func(k instanceKey) bool { return has(o, k) })
		if len(keys) == 0 || time.Now().After(deadline) {
			return keys, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// has reports whether an overview has a key as it was written then, or later.
func has(o *rollcall.Overview, k instanceKey) bool {
	n, ok := slices.BinarySearchFunc(o.Services, k.service, func(v *rollcall.View, name string) int { return strings.Compare(v.Service, name) })
	if !ok {
		return false
	}
	i, ok := o.Services[n].Get(k.id)
	return ok && i.Revision >= k.revision
}

// confirm leaves out what is in etcd no more: it was no view that was late, but an instance that went.
func confirm(ctx context.Context, kv clientv3.KV, behind []instanceKey, grace time.Duration) ([]Finding, error) {
	late := map[string][]string{}
	for _, k := range behind[:min(len(behind), maxSample)] {
		got, err := kv.Get(ctx, k.key, clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
		if len(got.Kvs) == 1 && got.Kvs[0].ModRevision == k.revision {
			late[k.service] = append(late[k.service], fmt.Sprintf("%s of revision %d is not in the view after %s", k.id, k.revision, span(grace)))
		}
	}
	return each(viewBehind, Warning, late), nil
}
