//go:build unix

package channel

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// fleet is the instances of a service as they lie in etcd, written there without a registry, in the
// format of a contender, to be changed one by one.
// They have no leases: nobody can take their deletion for an expiry.
type fleet struct {
	b       *testing.B
	client  *clientv3.Client
	service string
	format  func(service, addr string, weight int) (key, value string)
	addrs   []string // of the instances that there are
	weights []int
	made    int // how many addresses there were so far
	turn    int // whose change is next
}

func newFleet(b *testing.B, client *clientv3.Client, c contender, n int) *fleet {
	b.Helper()
	f := &fleet{b: b, client: client, service: c.name, format: formats[c.resolver]}
	if f.format == nil {
		f.format = ourFormat
	}
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

// ourFormat is how rollcall writes an instance, in a way that etcd's own resolver reads too.
func ourFormat(service, addr string, weight int) (key, value string) {
	return instances + service + "/" + addr, fmt.Sprintf(`{"Op":0,"Addr":%q,"Metadata":null,"ID":%[1]q,"Incarnation":"ABCDEFGHIJKLMNOPQRSTUVWXYZ",`+
		`"Holder":"ABCDEFGHIJKLMNOPQRSTUVWXYZ","State":"serving","Weight":%d,"Zone":"eu-1a","Version":"1.2.3","TTL":15,"Registered":"2026-11-22T06:31:00Z"}`,
		addr, weight)
}

func (f *fleet) put(n int) clientv3.Op {
	key, value := f.format(f.service, f.addrs[n], f.weights[n])
	return clientv3.OpPut(key, value)
}

// commit writes operations, as many at once as etcd takes.
func (f *fleet) commit(ops []clientv3.Op) {
	f.b.Helper()
	if err := f.write(f.b.Context(), ops); err != nil {
		f.b.Fatal(err)
	}
}

func (f *fleet) write(ctx context.Context, ops []clientv3.Op) error {
	for some := range slices.Chunk(ops, 124) { // an even number: a replacement takes two
		if _, err := f.client.Txn(ctx).Then(some...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// next returns the instances whose turn it is.
func (f *fleet) next() int {
	f.turn = (f.turn + 1) % len(f.addrs)
	return f.turn
}

// repeat writes an instance once more, as it is.
func (f *fleet) repeat() { f.commit([]clientv3.Op{f.put(f.next())}) }

// weigh changes the weight of an instance.
func (f *fleet) weigh() {
	n := f.next()
	f.weights[n] ^= 16
	f.commit([]clientv3.Op{f.put(n)})
}

// replace gives an instance another id and another address.
func (f *fleet) replace() { f.commit(f.replacement()) }

func (f *fleet) replacement() []clientv3.Op {
	n := f.next()
	gone, _ := f.format(f.service, f.addrs[n], 0)
	f.addrs[n] = f.newAddr()
	return []clientv3.Op{clientv3.OpDelete(gone), f.put(n)}
}

// churn replaces a tenth of the instances at once.
func (f *fleet) churn() { f.replaceSome(len(f.addrs) / 10) }

func (f *fleet) replaceSome(n int) {
	var ops []clientv3.Op
	for range n {
		ops = append(ops, f.replacement()...)
	}
	f.commit(ops)
}

// churning replaces an instance after the other, so many a second, until the function that it returns is called.
func (f *fleet) churning(perSecond int) (stop func()) {
	ctx, cancel := context.WithCancel(f.b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		pace := time.NewTicker(time.Second / time.Duration(perSecond))
		defer pace.Stop()
		for ctx.Err() == nil {
			select {
			case <-pace.C:
				if err := f.write(f.b.Context(), f.replacement()); err != nil && ctx.Err() == nil {
					f.b.Error(err)
				}
			case <-ctx.Done():
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
