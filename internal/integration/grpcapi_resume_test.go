package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

func TestAStreamGoesOnAtAnotherServerWithWhatItMissed(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	a := register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	one, two := serveAPI(t, etcd, grpcapi.Config{}), serveAPI(t, etcd, grpcapi.Config{})
	keeper := two.watch(t, &rollcallv1.WatchRequest{Service: "svc"}) // so that the other server remembers
	keeper.untilIDs("10.0.0.1:1", "10.0.0.2:1")
	m := one.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.untilIDs("10.0.0.1:1", "10.0.0.2:1")
	if m.last.GetDigest() != keeper.last.GetDigest() {
		t.Errorf("two servers have digests %d and %d of the same instances", m.last.GetDigest(), keeper.last.GetDigest())
	}

	idle := two.resume(t, m, "svc", true)
	if first := idle.next(); first.GetSnapshot() || len(first.GetUpdates()) > 0 {
		t.Errorf("resumed with nothing missed: %v", first)
	}
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.3:1"})
	if err := a.Deregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	keeper.untilIDs("10.0.0.2:1", "10.0.0.3:1")
	on := two.resume(t, m, "svc", true)
	first := on.next()
	if first.GetSnapshot() || !slices.Equal(apiOps(first.GetUpdates()), []string{"OP_DELETE 10.0.0.1:1", "OP_ADD 10.0.0.3:1"}) {
		t.Errorf("resumed with two changes missed: %v", first)
	}
	mustEqual(t, "instances", on.ids(), keeper.ids())
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.4:1"})
	on.untilIDs("10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1")
}

func TestAServerThatDoesNotKnowWhatAClientKnowsBeginsAnew(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.untilIDs("10.0.0.1:1")
	for name, req := range map[string]*rollcallv1.WatchRequest{
		"a digest of other instances":                                    {Service: "svc", Revision: m.last.GetRevision(), Digest: m.last.GetDigest() + 1},
		"the revision alone of a state that the server did not see come": {Service: "svc", Revision: m.last.GetRevision()},
		"a revision long ago":                                            {Service: "svc", Revision: 1},
	} {
		if first := s.watch(t, req).next(); !first.GetSnapshot() || first.GetReset_() || len(first.GetUpdates()) != 1 {
			t.Errorf("%s: %v", name, first)
		}
	}
	// By its revision alone a client resumes from what the server has seen come.
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.2:1"})
	m.untilIDs("10.0.0.1:1", "10.0.0.2:1")
	on := s.resume(t, m, "svc", false)
	if first := on.next(); first.GetSnapshot() || len(first.GetUpdates()) > 1 {
		t.Errorf("resumed by revision: %v", first)
	}
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.3:1"})
	m.untilIDs("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
	on.untilIDs("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
}

func TestAStreamIsToldNothingOlderThanItsClientKnows(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.untilIDs("10.0.0.1:1")
	other := register(t, writer, "another", rollcall.Instance{Addr: "10.0.0.9:1"})
	ahead := s.get(t, "another")
	for len(ahead.GetInstances()) == 0 {
		ahead = s.get(t, "another")
	}
	revision := ahead.GetInstances()[0].GetRevision()
	if revision <= m.last.GetRevision() {
		t.Fatalf("%v was written at %d, before %d", other, revision, m.last.GetRevision())
	}
	on := s.watch(t, &rollcallv1.WatchRequest{Service: "svc", Revision: revision, Digest: m.last.GetDigest()})
	if first := on.next(); first.GetSnapshot() || first.GetReset_() || first.GetRevision() < revision {
		t.Errorf("resumed from revision %d: %v", revision, first)
	}
	// A revision that etcd does not have: its history is not the client's.
	began := time.Now()
	lost := s.watch(t, &rollcallv1.WatchRequest{Service: "svc", Revision: revision + 1000, Digest: m.last.GetDigest()})
	if first := lost.next(); !first.GetSnapshot() || !first.GetReset_() {
		t.Errorf("resumed from the future: %v", first)
	}
	if took := time.Since(began); took > apiPatience/2 {
		t.Errorf("that took %v", took)
	}
}

func TestOverridesAreNotLostOverAResume(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	one, two := serveAPI(t, etcd, grpcapi.Config{}), serveAPI(t, etcd, grpcapi.Config{})
	keeper := two.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	keeper.untilIDs("10.0.0.1:1")
	m := one.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.untilIDs("10.0.0.1:1")
	// An override leaves the revision of the service's instances alone.
	if _, err := writer.SetOverride(t.Context(), "svc", "10.0.0.1:1", rollcall.Override{Drain: true, Reason: "disk"}); err != nil {
		t.Fatal(err)
	}
	keeper.until("the override", func(*rollcallv1.WatchResponse) bool { return keeper.instances["10.0.0.1:1"].GetOverride() != nil })
	on := two.resume(t, m, "svc", true)
	on.next()
	if i := on.instances["10.0.0.1:1"]; i.GetEffectiveState() != "draining" || i.GetOverride().GetReason() != "disk" {
		t.Errorf("after a resume: %v", i)
	}
}
