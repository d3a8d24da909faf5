package integration

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

func apiPolicy(t *testing.T, revision int64, document string) *rollcallv1.Policy {
	t.Helper()
	p := &rollcallv1.Policy{Document: &structpb.Struct{}, Revision: revision}
	if err := p.Document.UnmarshalJSON([]byte(document)); err != nil {
		t.Fatal(err)
	}
	return p
}

func apiReason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			return info.GetReason()
		}
	}
	return ""
}

func mustRefuse(t *testing.T, what string, err error, code codes.Code, reason string) {
	t.Helper()
	if status.Code(err) != code || apiReason(err) != reason {
		t.Errorf("%s: %v, reason %q, want %v %q", what, err, apiReason(err), code, reason)
	}
}

func TestAPolicyIsDecidedOnceAndReadAtOnce(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	ctx := within(t, time.Minute)
	_, err := s.control.GetPolicy(ctx, &rollcallv1.GetPolicyRequest{Service: "svc"})
	mustRefuse(t, "no policy", err, codes.NotFound, "NOT_FOUND")
	set, err := s.control.SetPolicy(ctx, &rollcallv1.SetPolicyRequest{Service: "svc", Policy: apiPolicy(t, 0, `{"timeout":"2s","author":"ada","reason":"slow"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if config := set.GetServiceConfig(); !json.Valid([]byte(config)) || set.GetPolicy().GetRevision() == 0 {
		t.Errorf("set: %v", set)
	}
	got, err := s.control.GetPolicy(ctx, &rollcallv1.GetPolicyRequest{Service: "svc"})
	if err != nil || got.GetPolicy().GetRevision() != set.GetPolicy().GetRevision() || got.GetServiceConfig() != set.GetServiceConfig() {
		t.Errorf("read at once: %v, %v", got, err)
	}
	if fields := got.GetPolicy().GetDocument().GetFields(); fields["author"].GetStringValue() != "ada" || fields["since"].GetStringValue() == "" {
		t.Errorf("the document: %v", fields)
	}
	_, err = s.control.SetPolicy(ctx, &rollcallv1.SetPolicyRequest{Service: "svc", Policy: apiPolicy(t, 0, `{"timeout":"3s"}`)})
	mustRefuse(t, "a policy from none where there is one", err, codes.Aborted, "CONFLICT")
	_, err = s.control.DeletePolicy(ctx, &rollcallv1.DeletePolicyRequest{Service: "svc", Revision: set.GetPolicy().GetRevision() - 1})
	mustRefuse(t, "the deletion of another", err, codes.Aborted, "CONFLICT")
	_, err = s.control.SetPolicy(ctx, &rollcallv1.SetPolicyRequest{Service: "svc", Policy: apiPolicy(t, -1, `{"timeuot":"3s"}`)})
	mustRefuse(t, "a field that nobody knows", err, codes.InvalidArgument, "INVALID")
	again, err := s.control.SetPolicy(ctx, &rollcallv1.SetPolicyRequest{Service: "svc", Policy: apiPolicy(t, set.GetPolicy().GetRevision(), `{"timeout":"3s"}`)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is gone already
		if _, err = s.control.DeletePolicy(ctx, &rollcallv1.DeletePolicyRequest{Service: "svc", Revision: again.GetPolicy().GetRevision()}); err != nil {
			t.Error(err)
		}
	}
	_, err = s.control.GetPolicy(ctx, &rollcallv1.GetPolicyRequest{Service: "svc"})
	mustRefuse(t, "a policy that was deleted", err, codes.NotFound, "NOT_FOUND")
}

func TestAnOverrideIsDecidedOnceAndReadAtOnce(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "svc", rollcall.Instance{Addr: "10.0.0.1:1"})
	s := serveAPI(t, etcd, grpcapi.Config{})
	ctx := within(t, time.Minute)
	eventually(t, apiPatience, "the server knows the instance", func() bool { return len(s.get(t, "svc").GetInstances()) == 1 })
	for _, id := range []string{"10.0.0.1:1", "not/registered"} {
		get := func() (*rollcallv1.GetOverrideResponse, error) {
			return s.control.GetOverride(ctx, &rollcallv1.GetOverrideRequest{Service: "svc", Id: id})
		}
		_, err := get()
		mustRefuse(t, id+" without", err, codes.NotFound, "NOT_FOUND")
		until := time.Now().Add(time.Hour).Truncate(time.Second)
		set, err := s.control.SetOverride(ctx, &rollcallv1.SetOverrideRequest{
			Service: "svc", Id: id, Override: &rollcallv1.Override{Drain: true, Weight: 7, Reason: "disk", Author: "ada", Until: timestamppb.New(until)},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := get()
		if err != nil {
			t.Fatal(err)
		}
		o := got.GetOverride()
		if !o.GetDrain() || o.GetWeight() != 7 || o.GetReason() != "disk" || o.GetAuthor() != "ada" || !o.GetUntil().AsTime().Equal(until) ||
			o.GetSince() == nil || o.GetRevision() != set.GetOverride().GetRevision() {
			t.Errorf("%s read at once: %v, set %v", id, o, set)
		}
		_, err = s.control.SetOverride(ctx, &rollcallv1.SetOverrideRequest{Service: "svc", Id: id, Override: &rollcallv1.Override{Weight: 5}})
		mustRefuse(t, id+" a second time from none", err, codes.Aborted, "CONFLICT")
		_, err = s.control.SetOverride(ctx, &rollcallv1.SetOverrideRequest{
			Service: "svc", Id: id, Override: &rollcallv1.Override{Drain: true, Until: timestamppb.New(time.Unix(1, 0)), Revision: -1},
		})
		mustRefuse(t, id+" with an end in the past", err, codes.InvalidArgument, "INVALID")
		if _, err = s.control.DeleteOverride(ctx, &rollcallv1.DeleteOverrideRequest{Service: "svc", Id: id, Revision: o.GetRevision()}); err != nil {
			t.Error(err)
		}
		_, err = get()
		mustRefuse(t, id+" after its deletion", err, codes.NotFound, "NOT_FOUND")
	}
}

func TestWhoIsKnownSignsWhatHeDecides(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{Author: func(ctx context.Context) string {
		md, _ := metadata.FromIncomingContext(ctx)
		if who := md.Get("who"); len(who) > 0 {
			return who[0]
		}
		return ""
	}})
	ctx := metadata.AppendToOutgoingContext(within(t, time.Minute), "who", "grace")
	policy, err := s.control.SetPolicy(ctx, &rollcallv1.SetPolicyRequest{Service: "svc", Policy: apiPolicy(t, 0, `{"timeout":"2s","author":"ada"}`)})
	if err != nil || policy.GetPolicy().GetDocument().GetFields()["author"].GetStringValue() != "grace" {
		t.Errorf("policy: %v, %v", policy, err)
	}
	override, err := s.control.SetOverride(ctx, &rollcallv1.SetOverrideRequest{Service: "svc", Id: "i", Override: &rollcallv1.Override{Drain: true, Author: "ada"}})
	if err != nil || override.GetOverride().GetAuthor() != "grace" {
		t.Errorf("override: %v, %v", override, err)
	}
}

func TestLossesThatAreDoubtedCanBeAccepted(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	doomed(t, etcd, "a", "b", "c", "d")
	s := serveAPI(t, etcd, grpcapi.Config{})
	m := s.watch(t, &rollcallv1.WatchRequest{Service: "svc"})
	m.untilIDs("a", "b", "c", "d")
	etcd.Stop()
	etcd.Wipe()
	etcd.Restart()
	m.until("the reset", func(resp *rollcallv1.WatchResponse) bool { return resp.GetReset_() })
	if list := s.list(t, &rollcallv1.ListServicesRequest{}).GetServices(); len(list) != 1 || list[0].GetSuspect() != 4 || list[0].GetServing() != 0 {
		t.Errorf("listed: %v", list)
	}
	if _, err := s.control.Accept(within(t, apiPatience), &rollcallv1.AcceptRequest{Service: "svc", Reason: "they are gone", Author: "ada"}); err != nil {
		t.Fatal(err)
	}
	if got := s.get(t, "svc"); len(got.GetInstances()) != 0 {
		t.Errorf("after it was accepted: %v", got)
	}
	m.until("the end of the suspects", func(*rollcallv1.WatchResponse) bool { return len(m.instances) == 0 })
}

func TestWithoutEtcdWhatIsDecidedIsRefusedAndNotForgotten(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	if got := s.get(t, "svc"); got.GetStale() != nil {
		t.Fatal("stale")
	}
	etcd.Stop()
	_, err := s.control.SetPolicy(within(t, time.Minute), &rollcallv1.SetPolicyRequest{Service: "svc", Policy: apiPolicy(t, 0, `{"timeout":"2s"}`)})
	mustRefuse(t, "a policy without etcd", err, codes.Unavailable, "ETCD_UNREACHABLE")
}
