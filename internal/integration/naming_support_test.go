package integration

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/naming"
)

const (
	// namingPatience ends a test that hangs. It is far from what anything here takes.
	namingPatience = 30 * time.Second

	// namingSilence is how long a test listens before it believes that nothing comes.
	namingSilence = 300 * time.Millisecond
)

// newNames returns a registry over a client of its own, as another process would have.
func newNames(t *testing.T, endpoint string) (*naming.Registry, *clientv3.Client) {
	t.Helper()
	client, err := clientv3.New(rollcall.ClientConfig(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	names := naming.New(client)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), namingPatience)
		defer cancel()
		_ = names.Close(ctx)
		_ = client.Close()
	})
	return names, client
}

func addName(t *testing.T, names *naming.Registry, target, addr string, metadata any, opts ...naming.Option) {
	t.Helper()
	update := naming.Update{Op: naming.Add, Addr: addr, Metadata: metadata}
	if err := names.Register(within(t, namingPatience), target, update, opts...); err != nil {
		t.Fatalf("add %s/%s: %v", target, addr, err)
	}
}

func deleteName(t *testing.T, names *naming.Registry, target, addr string) {
	t.Helper()
	if err := names.Register(within(t, namingPatience), target, naming.Update{Op: naming.Delete, Addr: addr}); err != nil {
		t.Fatalf("delete %s/%s: %v", target, addr, err)
	}
}

func resolveName(t *testing.T, names *naming.Registry, target string) naming.Watcher {
	t.Helper()
	w, err := names.Resolve(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// nextUpdates returns what Next does. A Next that hangs is ended by a Close, and fails the test.
func nextUpdates(t *testing.T, w naming.Watcher) []naming.Update {
	t.Helper()
	defer time.AfterFunc(namingPatience, w.Close).Stop()
	updates, err := w.Next()
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return valuesOf(updates)
}

func valuesOf(updates []*naming.Update) []naming.Update {
	var values []naming.Update
	for _, u := range updates {
		values = append(values, *u)
	}
	return values
}

func wantUpdates(t *testing.T, w naming.Watcher, want ...naming.Update) {
	t.Helper()
	if diff := cmp.Diff(want, nextUpdates(t, w)); diff != "" {
		t.Fatalf("updates (-want +got):\n%s", diff)
	}
}

// answer is what one call of Next returned.
type answer struct {
	updates []naming.Update
	err     error
}

// goNext calls Next in the background.
func goNext(w naming.Watcher) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		updates, err := w.Next()
		answers <- answer{valuesOf(updates), err}
	}()
	return answers
}

// wantNone listens for an answer that must not come yet.
func wantNone(t *testing.T, answers <-chan answer) {
	t.Helper()
	select {
	case a := <-answers:
		t.Fatalf("next returns %v, %v instead of blocking", a.updates, a.err)
	case <-time.After(namingSilence):
	}
}

// wantAnswer waits for an answer of the background.
func wantAnswer(t *testing.T, answers <-chan answer) answer {
	t.Helper()
	select {
	case a := <-answers:
		return a
	case <-time.After(namingPatience):
		t.Fatal("next blocks")
		return answer{}
	}
}

// wantAnswerOf waits for an answer of the background, which is these updates.
func wantAnswerOf(t *testing.T, answers <-chan answer, want ...naming.Update) {
	t.Helper()
	a := wantAnswer(t, answers)
	if diff := cmp.Diff(want, a.updates); diff != "" || a.err != nil {
		t.Fatalf("next returns %v; updates (-want +got):\n%s", a.err, diff)
	}
}

// wantWatchClosed holds an error against the one that ends a watcher.
func wantWatchClosed(t *testing.T, err error) {
	t.Helper()
	if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != "etcd watch closed" {
		t.Errorf(`next ends with %v, want Unavailable, "etcd watch closed"`, err)
	}
}

// wantCode holds an error against a gRPC code.
func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v has the code %v, want %v", what, err, status.Code(err), want)
	}
}

// getKey returns a key, which must be there.
func getKey(t *testing.T, client *clientv3.Client, key string) *mvccpb.KeyValue {
	t.Helper()
	resp, err := client.Get(within(t, namingPatience), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) != 1 {
		t.Fatalf("%s is not in etcd", key)
	}
	return resp.Kvs[0]
}

// at returns what lies under a key.
func at(t *testing.T, client *clientv3.Client, key string) (value map[string]any, lease clientv3.LeaseID, created int64) {
	t.Helper()
	kv := getKey(t, client, key)
	if err := json.Unmarshal(kv.Value, &value); err != nil {
		t.Fatalf("%s holds %q: %v", key, kv.Value, err)
	}
	return value, clientv3.LeaseID(kv.Lease), kv.CreateRevision
}

// remaining returns what is left of a lease's TTL and what it was granted, in seconds.
func remaining(t *testing.T, client *clientv3.Client, lease clientv3.LeaseID) (left, granted int64) {
	t.Helper()
	resp, err := client.TimeToLive(within(t, namingPatience), lease)
	if err != nil {
		t.Fatal(err)
	}
	return resp.TTL, resp.GrantedTTL
}

func revoke(t *testing.T, client *clientv3.Client, lease clientv3.LeaseID) {
	t.Helper()
	if _, err := client.Revoke(within(t, namingPatience), lease); err != nil {
		t.Fatal(err)
	}
}

// awaitKeys waits until exactly these keys are in etcd.
func awaitKeys(t *testing.T, client *clientv3.Client, want ...string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	eventually(t, namingPatience, "the wanted keys", func() bool {
		got = slices.Sorted(maps.Keys(keys(t, client, "")))
		return slices.Equal(got, want)
	})
}
