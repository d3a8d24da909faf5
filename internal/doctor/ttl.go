package doctor

import (
	"context"
	"fmt"
	"slices"

	"github.com/rollcall-io/rollcall"
)

var (
	ttlShort = newKind("ttl-short", "An instance's TTL is too short to be safe",
		"A live instance is lost when etcd elects a leader. Register with 5 s at least; 15 s is the default.")
	ttlLong = newKind("ttl-long", "An instance's TTL is very long",
		"When its program crashes it is called for that long. 15 s is the default; programs that rollcall keeps need no more, whatever happens to etcd.")
)

var ttlCheck = check{"ttl", "how long instances outlive their programs", func(ctx context.Context, p *patient) ([]Finding, error) {
	seen, err := p.keys(ctx)
	return judgeTTLs(seen.keys, p.Thresholds), err
}}

func judgeTTLs(keys []instanceKey, limit Thresholds) []Finding {
	short, long := map[string][]string{}, map[string][]string{}
	for _, k := range keys {
		line := fmt.Sprintf("%s: %s", k.id, span(k.ttl))
		switch {
		case k.service == "" || k.err != nil || k.ttl == 0: // it does not say
		case k.ttl < rollcall.MinTTL:
			short[k.service] = append(short[k.service], line)
		case k.ttl > limit.LongTTL:
			long[k.service] = append(long[k.service], line)
		}
	}
	return slices.Concat(each(ttlShort, Warning, short), each(ttlLong, Notice, long))
}
