package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var controlOrphan = newKind("control-orphan", "A decision about nobody",
	"It still counts when an instance of that name comes. If that is not meant, take it back: `rollcall undo SERVICE ID` for an instance, `rollcall policy delete SERVICE` for a service.")

// decision is what an operator decided for a service, or for one of its instances.
type decision struct {
	key, service, id string // no id: for all of the service
	revision         int64
	since            time.Time // zero: it does not say
}

var controlCheck = check{"control", "whether what operators decided is about somebody", func(ctx context.Context, p *patient) ([]Finding, error) {
	decided, err := p.decisions(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := p.keys(ctx)
	if err != nil || listed.more {
		return nil, err
	}
	seen, err := p.past(ctx)
	return judgeDecisions(decided, listed.keys, seen, p.Now(), p.Thresholds), err
}}

// judgeDecisions finds those about nobody, if they have been there for long: by their own word, or because etcd does not remember a
// time before them.
func judgeDecisions(decided []decision, keys []instanceKey, seen past, now time.Time, limit Thresholds) []Finding {
	known := map[string]bool{}
	for _, k := range keys {
		known[k.service], known[k.service+"/"+k.id] = true, true
	}
	orphans := map[string][]string{}
	for _, d := range decided {
		subject := d.service
		if d.id != "" {
			subject += "/" + d.id
		}
		if known[subject] {
			continue
		}
		switch age := now.Sub(d.since); {
		case !d.since.IsZero() && age >= limit.Orphan:
			orphans[d.service] = append(orphans[d.service], fmt.Sprintf("%s: %s old", d.key, span(age)))
		case d.since.IsZero() && d.revision < seen.oldest:
			orphans[d.service] = append(orphans[d.service], d.key+": older than anything that etcd remembers")
		}
	}
	return each(controlOrphan, Notice, orphans)
}

// decisions lists what operators decided: policies and overrides.
func (p *patient) decisions(ctx context.Context) ([]decision, error) {
	if err := p.listable(); err != nil {
		return nil, err
	}
	return p.controlSeen.get(func() ([]decision, error) {
		kv, err := p.kv(ctx)
		if err != nil {
			return nil, err
		}
		got, err := kv.Get(ctx, p.control, clientv3.WithPrefix(), clientv3.WithLimit(maxKeys/10))
		if err != nil {
			return nil, err
		}
		var decided []decision
		for _, pair := range got.Kvs {
			d := decision{key: string(pair.Key), revision: pair.ModRevision}
			var what string
			var says struct{ Since time.Time }
			d.service, what, _ = strings.Cut(strings.TrimPrefix(d.key, p.control), "/")
			if id, ok := strings.CutPrefix(what, "override/"); ok {
				d.id = unescape(id)
			} else if what != "policy" {
				continue // results of checks and the like look after themselves
			}
			if json.Unmarshal(pair.Value, &says) == nil {
				d.since = says.Since
			}
			decided = append(decided, d)
		}
		return decided, nil
	})
}
