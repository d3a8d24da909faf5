//go:build unix

package integration

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// The etcd in the same process takes as much for the one as for the other. It was 1.3 when this was written.
func TestAListCostsLittleMoreThanToDecodeIt(t *testing.T) {
	const n, dir = 2000, "rollcall/services/svc/"
	reg, etcd := start(t)
	client := etcd.Client(t)
	putRegistered(t, client, dir, n)
	atMost(t, "processor time for a list, beside a get and encoding/json", 2.2, func() float64 {
		ours := costOf(1, func() {
			v, err := reg.Lookup(within(t, time.Minute), "svc")
			if err != nil || len(v.Instances) != n {
				t.Fatal(err)
			}
		})
		its := costOf(1, func() { decodeAll(t, client, dir, n) })
		t.Logf("%+v beside %+v", ours, its)
		return float64(ours.cpu) / float64(its.cpu)
	})
}

// putRegistered writes instances, as a registration writes them.
func putRegistered(t *testing.T, client *clientv3.Client, dir string, n int) {
	t.Helper()
	var ops []clientv3.Op
	for k := range n {
		addr := fmt.Sprintf("10.0.%d.%d:50051", k>>8, k&255)
		value := fmt.Sprintf(`{"Op":0,"Addr":%q,"Metadata":{"build":"20261122","team":"a"},"ID":%[1]q,"Incarnation":"ABCDEFGHIJKLMNOPQRSTUVWXYZ",`+
			`"Holder":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","State":"serving","Weight":100,"Zone":"eu-1a","Version":"1.2.3","TTL":15,"Registered":"2026-11-22T06:31:00Z"}`, addr)
		if ops = append(ops, clientv3.OpPut(dir+addr, value)); len(ops) == 125 || k == n-1 {
			if _, err := client.Txn(within(t, 10*time.Second)).Then(ops...).Commit(); err != nil {
				t.Fatal(err)
			}
			ops = nil
		}
	}
}

// decodeAll is the least that a list can be.
func decodeAll(t *testing.T, client *clientv3.Client, dir string, n int) {
	resp, err := client.Get(within(t, time.Minute), dir, clientv3.WithPrefix())
	if err != nil || len(resp.Kvs) != n {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		var i struct {
			Addr, ID, Incarnation, Holder, State, Zone, Version string
			Metadata                                            map[string]string
			Weight, TTL                                         int
			Registered                                          time.Time
		}
		if err := json.Unmarshal(kv.Value, &i); err != nil {
			t.Fatal(err)
		}
	}
}
