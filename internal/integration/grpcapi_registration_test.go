package integration

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

const shortTTL = 5 * time.Second

func (s *apiServer) registration() rollcallv1.RegistrationServiceClient {
	return rollcallv1.NewRegistrationServiceClient(s.conn)
}

func registerRequest(id string) *rollcallv1.RegisterRequest {
	return &rollcallv1.RegisterRequest{
		Service: "svc", Instance: &rollcallv1.Instance{Id: id, Addr: "10.0.0.1:1", Version: "v1"}, Ttl: durationpb.New(shortTTL),
	}
}

func (s *apiServer) register(t *testing.T, id string, ttl time.Duration) *rollcallv1.RegisterResponse {
	t.Helper()
	req := registerRequest(id)
	req.Ttl = durationpb.New(ttl)
	resp, err := s.registration().Register(within(t, apiPatience), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func (s *apiServer) heartbeat(t *testing.T, id, token string) (*rollcallv1.HeartbeatResponse, error) {
	t.Helper()
	return s.registration().Heartbeat(within(t, apiPatience), &rollcallv1.HeartbeatRequest{Service: "svc", Id: id, Token: token})
}

func wantStatus(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestAProgramIsRegisteredForAsLongAsItsHeartbeatsCome(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	w := watch(t, open(t, etcd.Endpoint()), "svc")
	resp := s.register(t, "one", shortTTL)
	if resp.GetHeartbeatInterval().AsDuration() != shortTTL/3 || len(resp.GetToken()) < 32 || resp.GetInstance().GetIncarnation() == "" {
		t.Errorf("registered: %v", resp)
	}
	i := get(t, until(t, w, apiPatience, "it", hasIDs("one")), "one")
	if i.Revision != resp.GetRevision() || i.TTL != shortTTL || i.Version != "v1" || !i.Owns(resp.GetToken()) {
		t.Errorf("in etcd it is %+v", i)
	}
	beats := time.NewTicker(shortTTL / 3)
	defer beats.Stop()
	for range 5 { // longer than the TTL
		<-beats.C
		if _, err := s.heartbeat(t, "one", resp.GetToken()); err != nil {
			t.Fatal(err)
		}
	}
	last := time.Now()
	v := until(t, w, apiPatience, "its end", func(v *rollcall.View) bool { return len(v.Instances) == 0 })
	if silent := time.Since(last); silent < shortTTL-time.Second || !v.Updates[0].Expired {
		t.Errorf("it went after %v of silence, expired: %v", silent, v.Updates[0].Expired)
	}
	_, err := s.heartbeat(t, "one", resp.GetToken())
	wantStatus(t, "a heartbeat afterwards", err, codes.NotFound)
}

func TestARegistrationObeysItsTokenOnly(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s, other := serveAPI(t, etcd, grpcapi.Config{}), serveAPI(t, etcd, grpcapi.Config{})
	// They send no heartbeats, however long the calls take.
	resp, second := s.register(t, "one", time.Minute), s.register(t, "two", time.Minute)
	for name, token := range map[string]string{"none": "", "wrong": "x" + resp.GetToken(), "of another": second.GetToken()} {
		for _, server := range []*apiServer{s, other} {
			_, err := server.heartbeat(t, "one", token)
			wantStatus(t, "heartbeat, token "+name, err, codes.NotFound)
			_, err = server.registration().Update(within(t, apiPatience), &rollcallv1.UpdateRequest{Service: "svc", Id: "one", Token: token, Instance: &rollcallv1.Instance{Addr: "10.6.6.6:1"}})
			wantStatus(t, "update, token "+name, err, codes.NotFound)
			if _, err := server.registration().Deregister(within(t, apiPatience), &rollcallv1.DeregisterRequest{Service: "svc", Id: "one", Token: token}); err != nil {
				t.Errorf("deregister, token %s: %v", name, err)
			}
		}
	}
	reader := open(t, etcd.Endpoint())
	if i := get(t, lookUp(t, reader, "svc"), "one"); i.Addr != "10.0.0.1:1" {
		t.Errorf("it is %+v", i)
	}
	_, err := s.heartbeat(t, "never", resp.GetToken())
	wantStatus(t, "of an instance that there is not", err, codes.NotFound)

	updated, err := other.registration().Update(within(t, apiPatience), &rollcallv1.UpdateRequest{
		Service: "svc", Id: "one", Token: resp.GetToken(), Instance: &rollcallv1.Instance{Addr: "10.0.0.9:1", State: "draining"},
	})
	if err != nil || updated.GetInstance().GetIncarnation() != resp.GetInstance().GetIncarnation() {
		t.Errorf("update at another server: %v, %v", updated, err)
	}
	if i := get(t, lookUp(t, reader, "svc"), "one"); i.Addr != "10.0.0.9:1" || i.State != rollcall.StateDraining || i.Revision != updated.GetRevision() {
		t.Errorf("after the update it is %+v", i)
	}
	if _, err := s.registration().Deregister(within(t, apiPatience), &rollcallv1.DeregisterRequest{Service: "svc", Id: "one", Token: resp.GetToken()}); err != nil {
		t.Error(err)
	}
	if v := lookUp(t, reader, "svc"); len(v.Instances) != 1 {
		t.Errorf("after the goodbye: %v", ids(v))
	}
	register(t, reader, "svc", rollcall.Instance{ID: "two", Addr: "10.0.0.3:1"}) // takes it over
	eventually(t, apiPatience, "ABORTED, and then NOT_FOUND", func() bool {
		_, err := s.heartbeat(t, "two", second.GetToken())
		return status.Code(err) == codes.Aborted
	})
	_, err = s.heartbeat(t, "two", second.GetToken())
	wantStatus(t, "a heartbeat after it was told", err, codes.NotFound)
}

func TestWhatIsWrongWithARegistrationIsSaid(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, etcdtest.Start(t), grpcapi.Config{})
	for name, change := range map[string]func(*rollcallv1.RegisterRequest){
		"service":     func(r *rollcallv1.RegisterRequest) { r.Service = "a/b" },
		"instance":    func(r *rollcallv1.RegisterRequest) { r.Instance = nil },
		"Addr":        func(r *rollcallv1.RegisterRequest) { r.Instance.Addr = "nowhere" },
		"TTL":         func(r *rollcallv1.RegisterRequest) { r.Ttl = durationpb.New(time.Second) },
		"ttl":         func(r *rollcallv1.RegisterRequest) { r.Ttl = &durationpb.Duration{Seconds: 5, Nanos: -5} },
		"State":       func(r *rollcallv1.RegisterRequest) { r.Instance.State = "asleep" },
		"Instance.ID": func(r *rollcallv1.RegisterRequest) { r.Instance.Id = string(make([]byte, 600)) },
	} {
		req := registerRequest("one")
		change(req)
		_, err := s.registration().Register(within(t, apiPatience), req)
		wantStatus(t, name, err, codes.InvalidArgument)
	}
}

// sessionOf is a client's end of a session.
type sessionOf struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[rollcallv1.SessionRequest, rollcallv1.SessionResponse]
	cancel context.CancelFunc
}

func (s *apiServer) session(t *testing.T) *sessionOf {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := s.registration().Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return &sessionOf{t, stream, cancel}
}

// ask sends all requests and gathers their answers, in the order of the requests.
func (s *sessionOf) ask(reqs ...*rollcallv1.SessionRequest) []*rollcallv1.SessionResponse {
	s.t.Helper()
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		for n, req := range reqs {
			req.Call = int64(n + 1)
			_ = s.stream.Send(req)
		}
	})
	answers := make([]*rollcallv1.SessionResponse, len(reqs))
	for range reqs {
		resp := s.recv()
		answers[resp.GetCall()-1] = resp
	}
	return answers
}

func (s *sessionOf) recv() *rollcallv1.SessionResponse {
	s.t.Helper()
	late := time.AfterFunc(apiPatience, s.cancel)
	defer late.Stop()
	resp, err := s.stream.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func sessionRegister(id string) *rollcallv1.SessionRequest {
	return &rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Register{Register: registerRequest(id)}}
}

func sessionResume(id, token string) *rollcallv1.SessionRequest {
	return &rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Resume{Resume: &rollcallv1.HeartbeatRequest{Service: "svc", Id: id, Token: token}}}
}

// fill registers so many instances, and returns their tokens by id.
func (s *sessionOf) fill(n int) map[string]string {
	s.t.Helper()
	var reqs []*rollcallv1.SessionRequest
	for i := range n {
		reqs = append(reqs, sessionRegister(fmt.Sprint("i", i)))
	}
	tokens := map[string]string{}
	for _, resp := range s.ask(reqs...) {
		if resp.GetRegistered() == nil {
			s.t.Fatalf("not registered: %v", resp)
		}
		tokens[resp.GetRegistered().GetInstance().GetId()] = resp.GetRegistered().GetToken()
	}
	return tokens
}

// resume resumes all of them.
func (s *sessionOf) resume(tokens map[string]string) {
	s.t.Helper()
	var reqs []*rollcallv1.SessionRequest
	for id, token := range tokens {
		reqs = append(reqs, sessionResume(id, token))
	}
	for _, resp := range s.ask(reqs...) {
		if resp.GetResumed() == nil {
			s.t.Fatalf("not resumed: %v", resp)
		}
	}
}

func TestASessionHoldsItsRegistrationsAndTellsWhatBecomesOfThem(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	reg := open(t, etcd.Endpoint())
	n := s.session(t)
	tokens := n.fill(300)
	w := watch(t, reg, "svc")
	until(t, w, apiPatience, "all of them", func(v *rollcall.View) bool { return len(v.Instances) == 300 })

	answers := n.ask(
		&rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Update{Update: &rollcallv1.UpdateRequest{Service: "svc", Id: "i0", Token: tokens["i0"], Instance: &rollcallv1.Instance{Addr: "10.0.0.1:1", Weight: 7}}}},
		&rollcallv1.SessionRequest{Ask: &rollcallv1.SessionRequest_Deregister{Deregister: &rollcallv1.DeregisterRequest{Service: "svc", Id: "i1", Token: tokens["i1"]}}},
		sessionResume("i2", "wrong"),
		&rollcallv1.SessionRequest{},
	)
	if answers[0].GetUpdated().GetInstance().GetWeight() != 7 || answers[1].GetDeregistered() == nil ||
		codes.Code(answers[2].GetFailed().GetCode()) != codes.NotFound || codes.Code(answers[3].GetFailed().GetCode()) != codes.InvalidArgument {
		t.Errorf("answers: %v", answers)
	}
	register(t, reg, "svc", rollcall.Instance{ID: "i3", Addr: "10.0.0.3:1"}) // takes it over
	if ended := n.recv().GetEnded(); ended.GetId() != "i3" || codes.Code(ended.GetCode()) != codes.Aborted {
		t.Errorf("told %v, want the end of i3", ended)
	}

	<-time.After(shortTTL + 2*time.Second) // without a heartbeat
	if v := lookUp(t, reg, "svc"); len(v.Instances) != 299 {
		t.Errorf("after more than a TTL there are %d instances", len(v.Instances))
	}
	n.cancel()
	// That so many fall silent at once is doubted, as long as the server's lease does not tell.
	v := until(t, w, apiPatience, "the end of all that it held", func(v *rollcall.View) bool {
		return !slices.ContainsFunc(v.Instances, func(i *rollcall.Instance) bool { return !i.Suspect && i.ID != "i3" })
	})
	get(t, v, "i3")
}

func TestWhoComesBackToAnotherServerKeepsItsRegistrations(t *testing.T) {
	t.Parallel()
	const many = 200
	etcd := etcdtest.Start(t)
	a, b := serveAPI(t, etcd, grpcapi.Config{}), serveAPI(t, etcd, grpcapi.Config{})
	n := a.session(t)
	tokens := n.fill(many)
	n.cancel() // the network fails
	n = b.session(t)
	n.resume(tokens)

	stopped := make(chan struct{})
	go func() { // a server that stops
		defer close(stopped)
		b.api.EndStreams()
		b.api.Close()
		_ = b.reg.Close(context.WithoutCancel(t.Context()))
	}()
	for {
		if _, err := n.stream.Recv(); err != nil {
			if err != io.EOF {
				wantStatus(t, "the end of the session", err, codes.Unavailable)
			}
			break
		}
	}
	<-stopped
	n = a.session(t)
	n.resume(tokens)
	<-time.After(shortTTL + 2*time.Second) // what nobody has resumed would be gone
	if v := lookUp(t, a.reg, "svc"); len(v.Instances) != many {
		t.Errorf("there are %d instances", len(v.Instances))
	}
	if lost := deletions(t, etcd, 1); lost != 0 {
		t.Errorf("%d deletions", lost)
	}
}

// The first server hears of everything late: that the second one has taken the registrations on, too.
func TestWhoIsBackBeforeTheServerKnowsThatItWasAwayKeepsItsRegistrations(t *testing.T) {
	t.Parallel()
	const many = 20
	etcd := etcdtest.Start(t)
	slow := faultproxy.Start(t, etcd.Endpoint())
	a, b := serveAPIAt(t, slow.Addr(), grpcapi.Config{}), serveAPI(t, etcd, grpcapi.Config{})
	n := a.session(t)
	tokens := n.fill(many)
	n.cancel()
	slow.Delay(150 * time.Millisecond)
	n = b.session(t)
	n.resume(tokens)
	b.api.EndStreams()
	b.api.Close()
	_ = b.reg.Close(context.WithoutCancel(t.Context()))
	n = a.session(t)
	n.resume(tokens)
	<-time.After(shortTTL + 2*time.Second) // what nobody keeps would be gone
	if lost := deletions(t, etcd, 1); lost != 0 {
		t.Errorf("%d deletions of %d", lost, many)
	}
}

func TestWhoComesBackWhileEtcdIsSilentKeepsItsRegistrations(t *testing.T) {
	t.Parallel()
	const many = 1500 // more than could ask etcd in vain, some at a time, within a TTL
	etcd := etcdtest.Start(t)
	way := faultproxy.Start(t, etcd.Endpoint())
	a := serveAPIAt(t, way.Addr(), grpcapi.Config{})
	n := a.session(t)
	tokens := n.fill(many)
	way.BlackHole()
	n.cancel()
	n = a.session(t)
	n.resume(tokens)
	way.Heal()
	<-time.After(shortTTL + 2*time.Second)
	if lost := deletions(t, etcd, 1); lost != 0 {
		t.Errorf("%d deletions of %d", lost, many)
	}
}
