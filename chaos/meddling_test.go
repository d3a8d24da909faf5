package chaos

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// Somebody else writes where only instances should.
func meddlings() []scenario {
	const ttl = 5 * time.Second
	return []scenario{{
		name: "deleted-keys", ttl: ttl, quick: true, without: "ownkeys",
		fault: "keys of live instances are deleted, and overwritten with what nobody can read, and a lease is revoked",
		expect: journal.Expect{
			Visible: 5 * time.Second, Back: time.Second, Converge: 8 * time.Second, Close: 15 * time.Second, Unreadable: true,
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			w.Instances(9)
			for i := range 3 {
				w.Register(fmt.Sprintf("updating%d", i), "-updates", "150ms")
			}
			watchers := w.Watchers(2, 12)
			for i := range 12 {
				id := fmt.Sprintf("i%d", i)
				if i >= 9 {
					id = fmt.Sprintf("updating%d", i-9)
				}
				w.Meddled(id)
				meddle(w, i%3, key(id))
				w.Last(w.Between(100*time.Millisecond, 500*time.Millisecond))
			}
			w.Last(2 * time.Second)
			return watchers, 12
		},
	}, {
		name: "hostile-values", ttl: ttl, quick: true, without: "skip",
		fault: "10,000 keys of garbage, values of 1.4 MB, and garbage over the keys of live instances",
		expect: journal.Expect{
			Visible: 10 * time.Second, Back: 2 * time.Second, Converge: 15 * time.Second, Close: 15 * time.Second, Unreadable: true,
		},
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			all := w.Instances(10)
			watchers := w.Watchers(2, 10)
			fill(w)
			for i := range 5 {
				id := fmt.Sprintf("i%d", i)
				w.Meddled(id)
				put(w, key(id), "{\"Addr\":")
				w.Last(300 * time.Millisecond)
			}
			// Whose owner cannot put it right at once: what is known of it stays.
			all[5].Stop()
			put(w, key("i5"), "{\"Addr\":")
			w.Last(w.Expect.TTL / 2)
			all[5].Continue()
			w.Register("after")
			watchers = append(watchers, w.Watch("late"))
			return watchers, 11
		},
	}}
}

// meddle does one of three things to the key of a live instance.
func meddle(w *world.World, what int, key string) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 10*time.Second)
	defer cancel()
	c := w.Cluster.Client()
	var err error
	switch what {
	case 0:
		_, err = c.Delete(ctx, key)
	case 1:
		_, err = c.Put(ctx, key, "not what anybody expects")
	default:
		var got *clientv3.GetResponse
		if got, err = c.Get(ctx, key); err == nil && len(got.Kvs) == 1 {
			_, err = c.Revoke(ctx, clientv3.LeaseID(got.Kvs[0].Lease))
		}
	}
	if err != nil {
		w.T.Fatal(err)
	}
}

// fill puts what no reader can use beside the instances: in large numbers, of great size, and of every bad shape.
func fill(w *world.World) {
	w.T.Helper()
	huge := strings.Repeat("x", 1_400_000)
	for id, value := range map[string]string{
		"huge": huge, "huge-json": `{"Addr":"10.0.0.1:1","Metadata":{"a":"` + huge[:1_399_000] + `"}}`,
		"empty": "", "null": "null", "list": "[]", "number": "7", "half": `{"Addr":"10.0.0.1:1"`, "no-addr": `{"Op":0}`,
		"bytes": "\xff\xfe\x00", "deep/er": "x", "deeper/still/": "{}", "%zz": `{"Addr":"10.0.0.1:1"`, "": "x",
	} {
		put(w, key(id), value)
	}
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	for n := 0; n < 10_000; n += 100 {
		var ops []clientv3.Op
		for i := range 100 {
			ops = append(ops, clientv3.OpPut(key(fmt.Sprintf("garbage%d", n+i)), "garbage"))
		}
		if _, err := w.Cluster.Client().Txn(ctx).Then(ops...).Commit(); err != nil {
			w.T.Fatal(err)
		}
	}
}

func put(w *world.World, key, value string) {
	w.T.Helper()
	ctx, cancel := context.WithTimeout(w.T.Context(), 10*time.Second)
	defer cancel()
	if _, err := w.Cluster.Client().Put(ctx, key, value); err != nil {
		w.T.Fatal(err)
	}
}
