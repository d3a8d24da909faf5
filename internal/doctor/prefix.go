package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var prefixEmpty = newKind("prefix-empty", "Nobody is registered here, but somebody is under another prefix",
	"Programs and servers find each other under one prefix only. Give both the same: `--prefix`, ROLLCALL_PREFIX, rollcall.WithPrefix.")

// maxSteps bounds the walk over an etcd that others use, too.
const maxSteps = 100

var prefixCheck = check{"prefix", "whether instances are under another prefix", func(ctx context.Context, p *patient) ([]Finding, error) {
	listed, err := p.keys(ctx)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(listed.keys, func(k instanceKey) bool { return k.service != "" && k.service != serverService }) {
		return nil, nil
	}
	kv, err := p.kv(ctx)
	if err != nil {
		return nil, err
	}
	others, err := otherPrefixes(ctx, kv, p.Prefix)
	if err != nil || len(others) == 0 {
		return nil, err
	}
	return []Finding{prefixEmpty.found(Warning, p.Prefix, few(others)...)}, nil
}}

// otherPrefixes walks over etcd from one first part of a key to the next, and tells those under which instances lie.
func otherPrefixes(ctx context.Context, kv clientv3.KV, own string) (others []string, err error) {
	from := "\x00"
	for range maxSteps {
		got, err := kv.Get(ctx, from, clientv3.WithFromKey(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil || len(got.Kvs) == 0 {
			return others, err
		}
		key := string(got.Kvs[0].Key)
		prefix, _, nested := strings.Cut(key, "/services/")
		if !nested {
			prefix, _, nested = strings.Cut(key, "/")
		}
		if !nested {
			from = key + "\x00"
			continue
		}
		if prefix != own {
			found, err := kv.Get(ctx, prefix+"/services/", clientv3.WithPrefix(), clientv3.WithLimit(1))
			if err != nil {
				return others, err
			}
			for _, pair := range found.Kvs {
				if _, err := decode(pair.Value); err == nil && strings.Contains(string(pair.Value), `"Incarnation"`) {
					others = append(others, fmt.Sprintf("under %s: %s", prefix, pair.Key))
				}
			}
		}
		from = clientv3.GetPrefixRangeEnd(prefix + "/")
	}
	return others, nil
}
