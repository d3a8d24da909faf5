package integration

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// scenario is a behaviour of etcd that our promises lean on.
type scenario struct {
	name string
	run  func(t *testing.T, w world, prefix string)
	own  bool // it needs an etcd of its own: it changes more than its keys, or takes long
}

// conformance is what the fake must do as etcd does. The scenarios of more than one member are in
// simetcd_cluster_test.go, what no real cluster can be made to do on demand is in simetcd_fault_test.go.
var conformance = slices.Concat(kvScenarios, streamScenarios, leaseScenarios, watchScenarios, authScenarios, operatorScenarios)

// A simulation proves nothing about etcd unless the simulated etcd behaves like the real one.
func TestTheFakeEtcdBehavesLikeEtcd(t *testing.T) {
	t.Parallel()
	for _, s := range conformance {
		prefix := "/" + strings.ReplaceAll(s.name, " ", "-") + "/"
		t.Run("fake/"+s.name, func(t *testing.T) {
			simulate(t, 1, func(t *testing.T, w *simulated) { s.run(t, w, prefix) })
		})
	}
	shared := startReal(t)
	for _, s := range conformance {
		prefix := "/" + strings.ReplaceAll(s.name, " ", "-") + "/"
		t.Run("etcd/"+s.name, func(t *testing.T) {
			w := shared
			if s.own {
				t.Parallel()
				w = startReal(t)
			}
			s.run(t, w, prefix)
		})
	}
}

// mustFail fails unless an error is the one that etcd documents.
func mustFail(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(rpctypes.Error(err), want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

var kvScenarios = []scenario{
	{name: "a range has a limit, a count and an order", run: rangeHasLimitCountAndOrder},
	{name: "a read at a revision sees that revision", run: readAtARevision},
	{name: "a compacted revision is refused", run: compactedRevisionIsRefused},
	{name: "a put can keep value or lease", run: putKeepsValueOrLease},
	{name: "a transaction is one revision or none", run: transactionIsOneRevision},
	{name: "a transaction cannot write a key twice", run: transactionCannotWriteAKeyTwice},
	{name: "comparisons see missing keys as zero", run: comparisonsSeeMissingKeysAsZero},
	{name: "without space puts and grants fail, deletes, renewals, revocations and expiry work", run: spaceRunsOut, own: true},
}

func rangeHasLimitCountAndOrder(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	for _, key := range []string{"b", "a", "d", "c"} {
		put(t, c, prefix+key, "value of "+key)
	}
	get := func(opts ...clientv3.OpOption) *clientv3.GetResponse {
		t.Helper()
		return must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix, append(opts, clientv3.WithPrefix())...))
	}
	limited := get(clientv3.WithLimit(3))
	mustEqual(t, "first three", names(limited.Kvs, prefix), "a b c")
	mustEqual(t, "count and more of them", [2]any{limited.Count, limited.More}, [2]any{int64(4), true})
	mustEqual(t, "by key, descending", names(get(clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)).Kvs, prefix), "d c b a")
	mustEqual(t, "by creation", names(get(clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)).Kvs, prefix), "b a d c")
	counted := get(clientv3.WithCountOnly())
	mustEqual(t, "count only", [2]int64{counted.Count, int64(len(counted.Kvs))}, [2]int64{4, 0})
	for _, kv := range get(clientv3.WithKeysOnly()).Kvs {
		if len(kv.Value) > 0 || kv.ModRevision == 0 {
			t.Errorf("keys only: %v", kv)
		}
	}
	from := must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix+"b", clientv3.WithRange(prefix+"d")))
	mustEqual(t, "from b to before d", names(from.Kvs, prefix), "b c")
	if serializable := get(clientv3.WithSerializable()); len(serializable.Kvs) != 4 {
		t.Errorf("a serializable read sees %d keys", len(serializable.Kvs))
	}
}

// names returns the keys, without a prefix and in one string.
func names(kvs []*mvccpb.KeyValue, prefix string) string {
	var out []string
	for _, kv := range kvs {
		out = append(out, strings.TrimPrefix(string(kv.Key), prefix))
	}
	return strings.Join(out, " ")
}

func readAtARevision(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	first := must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "1"))
	put(t, c, prefix+"k", "2")
	deleted := must[*clientv3.DeleteResponse](t)(c.Delete(bounded(t), prefix+"k", clientv3.WithPrevKV()))
	mustEqual(t, "previous value", string(deleted.PrevKvs[0].Value), "2")
	old := must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix+"k", clientv3.WithRev(first.Header.Revision)))
	mustEqual(t, "value then", string(old.Kvs[0].Value), "1")
	mustEqual(t, "revision in the header of an old read", old.Header.Revision, deleted.Header.Revision)
	again := must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "3"))
	kv := must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix+"k")).Kvs[0]
	mustEqual(t, "versions of a key created again", [3]int64{kv.CreateRevision, kv.ModRevision, kv.Version},
		[3]int64{again.Header.Revision, again.Header.Revision, 1})
	_, err := c.Get(bounded(t), prefix+"k", clientv3.WithRev(again.Header.Revision+1))
	mustFail(t, "read of the future", err, rpctypes.ErrFutureRev)
}

func compactedRevisionIsRefused(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	first := must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "1")).Header.Revision
	put(t, c, prefix+"k", "2")
	must[*clientv3.CompactResponse](t)(c.Compact(bounded(t), first+1))
	_, err := c.Get(bounded(t), prefix+"k", clientv3.WithRev(first))
	mustFail(t, "read before the compaction", err, rpctypes.ErrCompacted)
	must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix+"k", clientv3.WithRev(first+1)))
	_, err = c.Compact(bounded(t), first+1)
	mustFail(t, "compaction twice", err, rpctypes.ErrCompacted)
	_, err = c.Compact(bounded(t), first+2)
	mustFail(t, "compaction of the future", err, rpctypes.ErrFutureRev)
}

func putKeepsValueOrLease(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	_, err := c.Put(bounded(t), prefix+"k", "", clientv3.WithIgnoreValue())
	mustFail(t, "keeping the value of no key", err, rpctypes.ErrKeyNotFound)
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "1", clientv3.WithLease(id)))
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "2", clientv3.WithIgnoreLease()))
	replaced := must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"k", "", clientv3.WithIgnoreValue(), clientv3.WithPrevKV()))
	mustEqual(t, "lease kept", replaced.PrevKv.Lease, int64(id))
	kv := must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix+"k")).Kvs[0]
	mustEqual(t, "value kept, lease dropped, third version", [3]any{string(kv.Value), kv.Lease, kv.Version}, [3]any{"2", int64(0), int64(3)})
}

func transactionIsOneRevision(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	before := must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"gone", "")).Header.Revision
	resp := must[*clientv3.TxnResponse](t)(c.Txn(bounded(t)).
		If(clientv3.Compare(clientv3.CreateRevision(prefix+"a"), "=", 0)).
		Then(clientv3.OpPut(prefix+"a", "1"), clientv3.OpDelete(prefix+"gone"), clientv3.OpGet(prefix+"a"),
			// Nested comparisons are made before anything is written.
			clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(prefix+"a"), "=", 0)},
				[]clientv3.Op{clientv3.OpPut(prefix+"b", "then")}, []clientv3.Op{clientv3.OpPut(prefix+"b", "else")})).
		Commit())
	mustEqual(t, "revision after", resp.Header.Revision, before+1)
	mustEqual(t, "read of an own write", string(resp.Responses[2].GetResponseRange().Kvs[0].Value), "1")
	kvs := must[*clientv3.GetResponse](t)(c.Get(bounded(t), prefix, clientv3.WithPrefix())).Kvs
	mustEqual(t, "keys", names(kvs, prefix), "a b")
	mustEqual(t, "branch taken", string(kvs[1].Value), "then")
	mustEqual(t, "revisions of both", [2]int64{kvs[0].ModRevision, kvs[1].ModRevision}, [2]int64{before + 1, before + 1})
	resp = must[*clientv3.TxnResponse](t)(c.Txn(bounded(t)).If(clientv3.Compare(clientv3.Value(prefix+"a"), "=", "2")).
		Then(clientv3.OpPut(prefix+"a", "3")).Else(clientv3.OpGet(prefix + "a")).Commit())
	mustEqual(t, "a transaction that wrote nothing", [2]any{resp.Succeeded, resp.Header.Revision}, [2]any{false, before + 1})
	_, err := c.Txn(bounded(t)).Then(clientv3.OpPut(prefix+"c", ""), clientv3.OpPut(prefix+"d", "", clientv3.WithLease(4711))).Commit()
	mustFail(t, "a put under no lease", err, rpctypes.ErrLeaseNotFound)
	mustEqual(t, "keys of a transaction that failed", len(keys(t, c, prefix+"c")), 0)
}

func transactionCannotWriteAKeyTwice(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	twice := map[string][]clientv3.Op{
		"two puts":                 {clientv3.OpPut(prefix+"k", "1"), clientv3.OpPut(prefix+"k", "2")},
		"a put and a delete":       {clientv3.OpPut(prefix+"k", "1"), clientv3.OpDelete(prefix + "k")},
		"a put and a wider delete": {clientv3.OpDelete(prefix, clientv3.WithPrefix()), clientv3.OpPut(prefix+"k", "1")},
		"a nested put":             {clientv3.OpPut(prefix+"k", "1"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(prefix+"k", "2")}, nil)},
	}
	for what, ops := range twice {
		_, err := c.Txn(bounded(t)).Then(ops...).Commit()
		mustFail(t, what, err, rpctypes.ErrDuplicateKey)
	}
	_, err := c.Txn(bounded(t)).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(prefix+"k", "1")},
		[]clientv3.Op{clientv3.OpPut(prefix+"k", "2")})).Commit()
	mustFail(t, "a put in either branch", err, nil)
	_, err = c.Txn(bounded(t)).Then(slices.Repeat([]clientv3.Op{clientv3.OpGet(prefix)}, 129)...).Commit()
	mustFail(t, "129 operations", err, rpctypes.ErrTooManyOps)
	_, err = c.Put(bounded(t), "", "")
	mustFail(t, "no key", err, rpctypes.ErrEmptyKey)
	_, err = c.Put(bounded(t), prefix+"large", strings.Repeat("x", 3<<19))
	mustFail(t, "1.5 MiB", err, rpctypes.ErrRequestTooLarge)
}

func comparisonsSeeMissingKeysAsZero(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	put(t, c, prefix+"there", "v")
	for _, row := range []struct {
		what string
		cmp  clientv3.Cmp
		want bool
	}{
		{"version of none = 0", clientv3.Compare(clientv3.Version(prefix+"none"), "=", 0), true},
		{"modification of none < 1", clientv3.Compare(clientv3.ModRevision(prefix+"none"), "<", 1), true},
		{"lease of none = 0", clientv3.Compare(clientv3.LeaseValue(prefix+"none"), "=", 0), true},
		{"value of none = nothing", clientv3.Compare(clientv3.Value(prefix+"none"), "=", ""), false},
		{"value of none != v", clientv3.Compare(clientv3.Value(prefix+"none"), "!=", "v"), false},
		{"value > u", clientv3.Compare(clientv3.Value(prefix+"there"), ">", "u"), true},
		{"version != 1", clientv3.Compare(clientv3.Version(prefix+"there"), "!=", 1), false},
		{"all were created", clientv3.Compare(clientv3.CreateRevision(prefix), ">", 0).WithPrefix(), true},
		{"all values = other", clientv3.Compare(clientv3.Value(prefix), "=", "other").WithPrefix(), false},
		{"none in a range", clientv3.Compare(clientv3.CreateRevision(prefix+"x"), "=", 0).WithRange(prefix + "xx"), true},
	} {
		resp := must[*clientv3.TxnResponse](t)(c.Txn(bounded(t)).If(row.cmp).Then(clientv3.OpGet(prefix)).Commit())
		mustEqual(t, row.what, resp.Succeeded, row.want)
	}
}

func spaceRunsOut(t *testing.T, w world, prefix string) {
	c := w.Client(t, -1)
	id := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 60)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"leased", "", clientv3.WithLease(id)))
	put(t, c, prefix+"other", "")
	brief := must[*clientv3.LeaseGrantResponse](t)(c.Grant(bounded(t), 2)).ID
	must[*clientv3.PutResponse](t)(c.Put(bounded(t), prefix+"brief", "", clientv3.WithLease(brief)))
	w.NoSpace(t)
	_, err := c.Put(bounded(t), prefix+"other", "")
	mustFail(t, "put", err, rpctypes.ErrNoSpace)
	_, err = c.Txn(bounded(t)).If(clientv3.Compare(clientv3.Version(prefix+"none"), ">", 0)).Then(clientv3.OpPut(prefix+"k", "")).Commit()
	mustFail(t, "a transaction that would put if it could", err, rpctypes.ErrNoSpace)
	_, err = c.Grant(bounded(t), 60)
	mustFail(t, "grant", err, rpctypes.ErrNoSpace)
	must[*clientv3.LeaseKeepAliveResponse](t)(c.KeepAliveOnce(bounded(t), id))
	must[*clientv3.DeleteResponse](t)(c.Delete(bounded(t), prefix+"other"))
	must[*clientv3.TxnResponse](t)(c.Txn(bounded(t)).Then(clientv3.OpDelete(prefix + "other")).Commit())
	must[*clientv3.LeaseRevokeResponse](t)(c.Revoke(bounded(t), id))
	eventually(t, 10*time.Second, "the expiry of a lease", func() bool { return len(keys(t, c, prefix)) == 0 })
	alarms := must[*clientv3.AlarmResponse](t)(c.AlarmList(bounded(t))).Alarms
	mustEqual(t, "alarms", len(alarms), 1)
	must[*clientv3.AlarmResponse](t)(c.AlarmDisarm(bounded(t), &clientv3.AlarmMember{}))
	put(t, c, prefix+"other", "")
}

// receiveWithin returns the next value of a channel, or fails.
func receiveWithin[T any](t *testing.T, d time.Duration, what string, values <-chan T) T {
	t.Helper()
	var v T
	open := false
	select {
	case v, open = <-values:
		if !open {
			t.Fatalf("%s: the channel is closed", what)
		}
	case <-time.After(d):
		t.Fatalf("%s: not within %v", what, d)
	}
	return v
}
