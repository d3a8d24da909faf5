//go:build unix

package integration

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// instances is where registries with the default prefix look for services.
const instances = "rollcall/services/"

// fleet is the instances of a service as they lie in etcd, written there without a registry, to be changed one by one.
// They have no leases: nobody can take their deletion for an expiry.
type fleet struct {
	b       *testing.B
	client  *clientv3.Client
	service string
	addrs   []string // of the instances that there are
	weights []int
	made    int // how many addresses there were so far
	turn    int // whose change is next
}

func newFleet(b *testing.B, client *clientv3.Client, service string, n int) *fleet {
	b.Helper()
	f := &fleet{b: b, client: client, service: service}
	var ops []clientv3.Op
	for range n {
		f.addrs, f.weights = append(f.addrs, f.newAddr()), append(f.weights, 100)
		ops = append(ops, f.put(len(f.addrs)-1))
	}
	f.commit(ops)
	return f
}

func (f *fleet) newAddr() string {
	f.made++
	return fmt.Sprintf("10.%d.%d.%d:50051", f.made>>16, f.made>>8&255, f.made&255)
}

func (f *fleet) key(n int) string { return instances + f.service + "/" + f.addrs[n] }

func (f *fleet) put(n int) clientv3.Op {
	return clientv3.OpPut(f.key(n), fmt.Sprintf(`{"Op":0,"Addr":%q,"Metadata":null,"ID":%[1]q,"Incarnation":"ABCDEFGHIJKLMNOPQRSTUVWXYZ",`+
		`"Holder":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","State":"serving","Weight":%d,"Zone":"eu-1a","Version":"1.2.3","TTL":15,"Registered":"2026-11-22T06:31:00Z"}`,
		f.addrs[n], f.weights[n]))
}

// commit writes operations, as many at once as etcd takes.
func (f *fleet) commit(ops []clientv3.Op) {
	f.b.Helper()
	for len(ops) > 0 {
		some := ops[:min(len(ops), 124)] // an even number: a replacement takes two
		ops = ops[len(some):]
		if _, err := f.client.Txn(f.b.Context()).Then(some...).Commit(); err != nil {
			f.b.Fatal(err)
		}
	}
}

// replacement gives the instance whose turn it is another id and another address.
func (f *fleet) replacement() []clientv3.Op {
	f.turn = (f.turn + 1) % len(f.addrs)
	gone := clientv3.OpDelete(f.key(f.turn))
	f.addrs[f.turn] = f.newAddr()
	return []clientv3.Op{gone, f.put(f.turn)}
}
