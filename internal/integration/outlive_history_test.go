package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// career is what etcd's history has of one instance.
type career struct {
	incarnations []string // each once
	writes       int
	deletions    int
}

// careers reads the whole of etcd's history, from its first revision.
func careers(t *testing.T, client *clientv3.Client) map[string]*career {
	t.Helper()
	const prefix, end = "rollcall/services/", "the end of the history"
	put(t, client, end, "")
	found := map[string]*career{}
	for resp := range client.Watch(within(t, processPatience), "", clientv3.WithPrefix(), clientv3.WithRev(1)) {
		if err := resp.Err(); err != nil {
			t.Fatal(err)
		}
		for _, event := range resp.Events {
			key := string(event.Kv.Key)
			if key == end {
				return found
			}
			if !strings.HasPrefix(key, prefix) {
				continue
			}
			if found[key] == nil {
				found[key] = new(career)
			}
			found[key].add(t, event)
		}
	}
	t.Fatal("etcd's history has no end")
	return nil
}

func (l *career) add(t *testing.T, event *clientv3.Event) {
	t.Helper()
	if event.Type == clientv3.EventTypeDelete {
		l.deletions++
		return
	}
	var value struct{ Incarnation string }
	if err := json.Unmarshal(event.Kv.Value, &value); err != nil {
		t.Fatalf("%s: %v", event.Kv.Key, err)
	}
	l.writes++
	if !slices.Contains(l.incarnations, value.Incarnation) {
		l.incarnations = append(l.incarnations, value.Incarnation)
	}
}

// wantUnbroken wants n instances in etcd's history: none was ever deleted, and none is another than it was in the beginning.
func wantUnbroken(t *testing.T, client *clientv3.Client, n int) {
	t.Helper()
	all := careers(t, client)
	if len(all) != n {
		t.Errorf("there were %d instances, want %d", len(all), n)
	}
	deleted, reborn, writes := 0, 0, 0
	for _, l := range all {
		writes += l.writes
		if l.deletions > 0 {
			deleted++
		}
		if len(l.incarnations) != 1 {
			reborn++
		}
	}
	t.Logf("%d instances, %d writes", len(all), writes)
	if deleted > 0 || reborn > 0 {
		t.Errorf("of %d instances %d were deleted, and %d began anew", len(all), deleted, reborn)
	}
}

// leasesInUse returns the leases that the instances lie under.
func leasesInUse(t *testing.T, client *clientv3.Client) []clientv3.LeaseID {
	t.Helper()
	resp, err := client.Get(within(t, processPatience), "rollcall/services/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var leases []clientv3.LeaseID
	for _, kv := range resp.Kvs {
		if id := clientv3.LeaseID(kv.Lease); !slices.Contains(leases, id) {
			leases = append(leases, id)
		}
	}
	return leases
}

// awaitLeasesEnd waits until leases have run out that nobody keeps any more, with what was still under them.
func awaitLeasesEnd(t *testing.T, client *clientv3.Client, leases []clientv3.LeaseID) {
	t.Helper()
	eventually(t, processPatience, "leases that nobody keeps have run out", func() bool {
		resp, err := client.Leases(within(t, processPatience))
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(resp.Leases, func(l clientv3.LeaseStatus) bool { return slices.Contains(leases, l.ID) })
	})
}
