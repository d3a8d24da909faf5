package integration

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

func TestAWatchStreamTellsASnapshotAndThenWhatChanges(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	a := register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1", Zone: "z", Metadata: map[string]string{"team": "a"}})
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	first := m.next()
	if !first.GetSnapshot() || first.GetReset_() || first.GetStale() != nil || first.GetRevision() == 0 {
		t.Errorf("the first response: %v", first)
	}
	mustEqual(t, "instances", m.ids(), []string{"10.0.0.1:1"})
	if i := m.instances["10.0.0.1:1"]; i.GetZone() != "z" || i.GetMetadata()["team"] != "a" || i.GetEffectiveState() != "serving" || i.GetEffectiveWeight() != 100 {
		t.Errorf("the instance: %v", i)
	}
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	if resp := m.untilIDs("10.0.0.1:1", "10.0.0.2:1"); resp.GetSnapshot() || !slices.Equal(apiOps(resp.GetUpdates()), []string{"OP_ADD 10.0.0.2:1"}) {
		t.Errorf("a join is told as %v", resp)
	}
	if err := a.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	m.until("the drain", func(resp *rollcallv1.WatchResponse) bool {
		return slices.Equal(apiOps(resp.GetUpdates()), []string{"OP_MODIFY 10.0.0.1:1"}) && m.instances["10.0.0.1:1"].GetEffectiveState() == "draining"
	})
	if err := a.Deregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resp := m.untilIDs("10.0.0.2:1"); !slices.Equal(apiOps(resp.GetUpdates()), []string{"OP_DELETE 10.0.0.1:1"}) || resp.GetUpdates()[0].GetExpired() {
		t.Errorf("a goodbye is told as %v", resp)
	}
	p := setPolicy(t, writer, "svc", rollcall.Policy{Timeout: time.Second})
	m.until("the policy", func(resp *rollcallv1.WatchResponse) bool {
		return resp.GetPolicy().GetRevision() == p.Revision && resp.GetPolicy().GetDocument().GetFields()["timeout"].GetStringValue() == "1s"
	})
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.3:1"})
	if resp := m.untilIDs("10.0.0.2:1", "10.0.0.3:1"); resp.GetPolicy().GetRevision() != p.Revision {
		t.Error("a response says nothing of the policy")
	}
}

func TestOneChangeIsEncodedOnceForAllStreams(t *testing.T) {
	t.Parallel()
	const streams = 300
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	s := serveAPI(t, etcd, grpcapi.Config{})
	mirrors := make([]*mirror, streams)
	for n := range mirrors {
		mirrors[n] = s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
		mirrors[n].next()
	}
	if got := s.api.Stats(); got.Encodings != 1 || got.Streams != streams {
		t.Errorf("%d snapshots to %d streams were encoded %d times", streams, got.Streams, got.Encodings)
	}
	for n := range 5 {
		before := s.api.Stats()
		register(t, writer, "svc", rollcall.Instance{Addr: fmt.Sprintf("10.0.1.%d:1", n)})
		for _, m := range mirrors {
			for len(m.next().GetUpdates()) == 0 {
			}
		}
		if after := s.api.Stats(); after.Encodings != before.Encodings+1 || after.Bytes-before.Bytes > 500 {
			t.Errorf("one change was encoded %d times, %d bytes", after.Encodings-before.Encodings, after.Bytes-before.Bytes)
		}
	}
}

func TestABurstIsFewMessages(t *testing.T) {
	t.Parallel()
	const many = 400
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.next()
	client := etcd.Client(t)
	began := time.Now()
	for n := range many {
		put(t, client, fmt.Sprintf("rollcall/services/svc/%d", n), `{"Addr":"10.0.0.1:1"}`)
	}
	m.until("all", func(*rollcallv1.WatchResponse) bool { return len(m.instances) == many })
	if most := 3 + int(time.Since(began)/(10*time.Millisecond)); m.responses > most {
		t.Errorf("%d changes in a row are %d responses, more than one in 10 ms", many, m.responses)
	}
}

func TestAStreamThatIsNotReadCostsNothingAndIsToldAllTheSame(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	slow := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	quick := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	slow.next()
	quick.next()
	client := etcd.Client(t)
	filler := fmt.Sprintf("%08000d", 0)
	// More than flow control lets through unread, and more states than the server remembers.
	const rounds = 400
	for n := range rounds {
		put(t, client, fmt.Sprintf("rollcall/services/svc/%d", n%7), fmt.Sprintf(`{"Addr":"10.0.0.1:1","Version":"%d","Metadata":{"filler":"%s"}}`, n, filler))
		quick.until("its change", func(*rollcallv1.WatchResponse) bool {
			return quick.instances[fmt.Sprint(n%7)].GetVersion() == fmt.Sprint(n)
		})
	}
	want := quick.last
	slow.until("the newest state", func(resp *rollcallv1.WatchResponse) bool { return resp.GetDigest() == want.GetDigest() })
	if slow.responses >= quick.responses/2 {
		t.Errorf("a stream that was not read was told %d times, one that was %d times", slow.responses, quick.responses)
	}
	mustEqual(t, "instances", slow.ids(), quick.ids())
	for id, i := range quick.instances {
		if slow.instances[id].GetVersion() != i.GetVersion() {
			t.Errorf("%s: version %s, want %s", id, slow.instances[id].GetVersion(), i.GetVersion())
		}
	}
}

func TestWithoutEtcdTheApiGoesOnAndSaysSo(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	p := setPolicy(t, writer, "svc", rollcall.Policy{Timeout: time.Second})
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.until("instance and policy", func(resp *rollcallv1.WatchResponse) bool { return len(m.instances) == 1 && resp.GetPolicy() != nil })
	all, err := s.discovery.WatchServices(within(t, time.Minute), &rollcallv1.WatchServicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	untilServices := func(what string, cond func(*rollcallv1.WatchServicesResponse) bool) {
		t.Helper()
		for {
			resp, err := all.Recv()
			if err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			}
			if cond(resp) {
				return
			}
		}
	}
	etcd.Stop()
	stale := m.until("staleness", func(resp *rollcallv1.WatchResponse) bool { return resp.GetStale() != nil })
	if stale.GetStale().GetSince() == nil || stale.GetStale().GetReason() == "" || stale.GetSnapshot() || len(stale.GetUpdates()) > 0 {
		t.Errorf("staleness is told as %v", stale)
	}
	untilServices("staleness", func(resp *rollcallv1.WatchServicesResponse) bool { return resp.GetStale() != nil })
	if got := s.get(t, "svc"); got.GetStale() == nil || len(got.GetInstances()) != 1 || got.GetPolicy().GetRevision() != p.Revision {
		t.Errorf("without etcd: %v", got)
	}
	list, err := s.discovery.ListServices(within(t, apiPatience), &rollcallv1.ListServicesRequest{})
	if err != nil || list.GetStale() == nil || len(list.GetServices()) != 1 || list.GetServices()[0].GetServing() != 1 {
		t.Errorf("a list without etcd: %v, %v", list, err)
	}
	late := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	if first := late.next(); first.GetStale() == nil || len(late.instances) != 1 {
		t.Errorf("a stream that begins without etcd: %v", first)
	}
	if got, err := s.control.GetPolicy(within(t, apiPatience), &rollcallv1.GetPolicyRequest{Service: "svc"}); err != nil || got.GetPolicy().GetRevision() != p.Revision {
		t.Errorf("the policy without etcd: %v, %v", got, err)
	}
	etcd.Restart()
	m.until("freshness", func(resp *rollcallv1.WatchResponse) bool { return resp.GetStale() == nil })
	untilServices("freshness", func(resp *rollcallv1.WatchServicesResponse) bool { return resp.GetStale() == nil })
}

func TestAWipeIsToldAsAResetSnapshot(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	doomed(t, etcd, "a", "b", "c", "d")
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.until("all", func(*rollcallv1.WatchResponse) bool { return len(m.instances) == 4 })
	before := m.last
	etcd.Stop()
	etcd.Wipe()
	etcd.Restart()
	reset := m.until("the reset", func(resp *rollcallv1.WatchResponse) bool { return resp.GetReset_() })
	if !reset.GetSnapshot() || len(m.instances) != 4 {
		t.Errorf("the reset: snapshot %v, %d instances", reset.GetSnapshot(), len(m.instances))
	}
	for id, i := range m.instances {
		if !i.GetSuspect() {
			t.Errorf("%s is no suspect, though the wipe took it", id)
		}
	}
	// What was known before the wipe is nothing to resume from.
	on := s.watch(t, &rollcallv1.WatchRequest{Service: "svc", Revision: before.GetRevision(), Digest: before.GetDigest()})
	if first := on.next(); !first.GetSnapshot() || first.GetRevision() < before.GetRevision() != first.GetReset_() {
		t.Errorf("resumed from before the wipe, at revision %d: %d, snapshot %v, reset %v",
			before.GetRevision(), first.GetRevision(), first.GetSnapshot(), first.GetReset_())
	}
}

func TestStreamsEndWhenTheApiCloses(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.next()
	s.api.Close()
	s.api.Close()
	if _, err := m.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream ended with %v", err)
	}
	stream, err := s.discovery.Watch(within(t, apiPatience), &rollcallv1.WatchRequest{Service: "svc"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a stream to a closed API: %v", err)
	}
	if got := s.get(t, "svc"); got.GetService() != "svc" {
		t.Errorf("other calls after the end of the streams: %v", got)
	}
}

func TestAServerThatNeverHeardOfEtcdSaysSo(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	etcd.Stop()
	s := serveAPI(t, etcd, grpcapi.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	stream, err := s.discovery.Watch(ctx, &rollcallv1.WatchRequest{Service: "svc"})
	if err != nil {
		t.Fatal(err)
	}
	list := make(chan error, 1)
	go func() {
		_, err := s.discovery.ListServices(ctx, &rollcallv1.ListServicesRequest{})
		list <- err
	}()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream with nothing to tell: %v", err)
	}
	if err := <-list; status.Code(err) != codes.Unavailable {
		t.Errorf("a list of nothing: %v", err)
	}
}
