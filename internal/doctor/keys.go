package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	keyWithoutLease = newKind("key-without-lease", "An instance that nobody holds",
		"It has no lease, so it stays when its program is long gone. If nobody runs there, remove it: `rollcall deregister SERVICE ID`. If somebody does, have it register with a library that takes a lease.")
	valueUnreadable = newKind("value-unreadable", "A value that nobody can read",
		"Readers skip it: whoever it stands for is not found. See who writes it, and what: `etcdctl get KEY`. If nobody wants it, `etcdctl del KEY`.")
	keyForeign = newKind("key-foreign", "A key among the instances that is none",
		"Readers skip it. Find out whose it is, and give him another prefix; `etcdctl del KEY` if nobody wants it.")
)

// serverService is the service that rollcall's servers are instances of.
const serverService = "rollcall.server"

const (
	pageSize = 5_000
	maxKeys  = 200_000 // that are looked at
	maxValue = 1 << 20 // that readers read
)

var serviceName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// listing is what lies among the instances, at one revision.
type listing struct {
	revision int64
	keys     []instanceKey
	more     bool // there are more than are looked at
}

// instanceKey is one key among the instances.
type instanceKey struct {
	key, service, id string // no service: it is no instance's
	revision         int64  // of its last write
	lease            int64
	err              error // why it cannot be read
	value
}

// value is what the doctor reads of an instance.
type value struct {
	addr, state      string
	ttl              time.Duration
	registered, beat time.Time
}

var errNoAddr = errors.New("it has no Addr")

// decode reads a value as the library does, as far as it matters here.
func decode(data []byte) (value, error) {
	var r struct {
		Addr, State string
		TTL         int64
		Registered  time.Time
		Metadata    json.RawMessage
	}
	switch {
	case len(data) > maxValue:
		return value{}, fmt.Errorf("it has %s", bytesOf(int64(len(data))))
	case json.Unmarshal(data, &r) != nil:
		return value{}, errors.New("it is no instance as JSON")
	case r.Addr == "":
		return value{}, errNoAddr
	}
	v := value{addr: r.Addr, state: r.State, ttl: time.Duration(min(max(r.TTL, 0), 1<<31)) * time.Second, registered: r.Registered}
	var m struct {
		Beat time.Time `json:"beat"`
	}
	if json.Unmarshal(r.Metadata, &m) == nil {
		v.beat = m.Beat
	}
	return v, nil
}

// keys lists what lies among the instances, page by page at one revision.
func (p *patient) keys(ctx context.Context) (listing, error) {
	if err := p.listable(); err != nil {
		return listing{}, err
	}
	return p.keysSeen.get(func() (listing, error) {
		kv, err := p.kv(ctx)
		if err != nil {
			return listing{}, err
		}
		var all listing
		from, end := p.services, clientv3.GetPrefixRangeEnd(p.services)
		for len(all.keys) < maxKeys {
			got, err := kv.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(all.revision))
			if err != nil {
				return listing{}, err
			}
			if all.revision == 0 {
				all.revision = got.Header.Revision
			}
			for _, pair := range got.Kvs {
				k := instanceKey{key: string(pair.Key), revision: pair.ModRevision, lease: pair.Lease}
				k.service, k.id = p.named(k.key)
				k.value, k.err = decode(pair.Value)
				all.keys = append(all.keys, k)
			}
			if all.more = got.More; !all.more {
				return all, nil
			}
			from = all.keys[len(all.keys)-1].key + "\x00"
		}
		return all, nil
	})
}

// named splits a key into service and id; no service: it is no instance's.
func (p *patient) named(key string) (service, id string) {
	service, id, _ = strings.Cut(strings.TrimPrefix(key, p.services), "/")
	if id == "" || strings.Contains(id, "/") || len(service) > 253 || !serviceName.MatchString(service) {
		return "", ""
	}
	return service, unescape(id)
}

// escaped is what of an id stands in a key as its number.
var escaped = regexp.MustCompile(`%(2F|25|[01][0-9A-F]|7F)`)

// unescape returns the id that a key ends with.
func unescape(id string) string {
	return escaped.ReplaceAllStringFunc(id, func(e string) string {
		c, _ := strconv.ParseUint(e[1:], 16, 8)
		return string([]byte{byte(c)})
	})
}

var keyCheck = check{"keys", "whether every instance is held, and can be read", func(ctx context.Context, p *patient) ([]Finding, error) {
	seen, err := p.keys(ctx)
	return judgeKeys(seen.keys), err
}}

func judgeKeys(keys []instanceKey) []Finding {
	foreign, unheld, unreadable := map[string][]string{}, map[string][]string{}, map[string][]string{}
	for _, k := range keys {
		if k.service == "" {
			foreign[""] = append(foreign[""], k.key)
			continue
		}
		if k.err != nil {
			unreadable[k.service] = append(unreadable[k.service], fmt.Sprintf("%s: %v", k.key, k.err))
			continue
		}
		if k.lease == 0 {
			unheld[k.service] = append(unheld[k.service], k.key)
		}
	}
	return slices.Concat(each(keyWithoutLease, Warning, unheld), each(valueUnreadable, Warning, unreadable), each(keyForeign, Notice, foreign))
}

// each returns a finding for each subject.
func each(k *kind, s Severity, bySubject map[string][]string) []Finding {
	var found []Finding
	for _, subject := range slices.Sorted(maps.Keys(bySubject)) {
		found = append(found, k.found(s, subject, few(bySubject[subject])...))
	}
	return found
}
