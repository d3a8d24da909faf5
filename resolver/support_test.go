package resolver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
	"google.golang.org/grpc/status"
)

// unreachable returns a registry on an etcd that is not there.
func unreachable(t *testing.T) *rollcall.Registry {
	t.Helper()
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:1"), rollcall.WithZone("eu-1a"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close(context.Background()) })
	return reg
}

func instance(id, addr string, revision int64) *rollcall.Instance {
	return &rollcall.Instance{
		ID: id, Addr: addr, State: rollcall.StateServing, Weight: rollcall.DefaultWeight,
		CreateRevision: revision, Revision: revision,
	}
}

func viewOf(instances ...*rollcall.Instance) *rollcall.View {
	return &rollcall.View{Service: "jie-test", Instances: instances}
}

// ids returns who is behind the endpoints.
func ids(list []resolver.Endpoint) []string {
	got := []string{}
	for _, ep := range list {
		i, ok := InstanceOf(ep)
		if !ok || len(ep.Addresses) != 1 || ep.Addresses[0].Addr != i.Addr || ep.Addresses[0].Attributes != nil {
			got = append(got, "malformed")
			continue
		}
		got = append(got, i.ID)
	}
	return got
}

// grpcSide is gRPC's end of a channel: it notes what it is told, and when.
type grpcSide struct {
	resolver.ClientConn // what is not expected to be called
	start               time.Time
	close               func()        // closes the channel
	takes               time.Duration // how long gRPC is busy with an update
	log                 []string
	states              []resolver.State
	errs                []error
	configs             int
}

func (g *grpcSide) UpdateState(s resolver.State) error {
	g.states = append(g.states, s)
	g.log = append(g.log, fmt.Sprintf("%v %s", time.Since(g.start), strings.Join(ids(s.Endpoints), " ")))
	time.Sleep(g.takes)
	return errors.New("bad resolver state") // what gRPC says of an empty list must not disturb anybody
}

func (g *grpcSide) ReportError(err error) {
	g.errs = append(g.errs, err)
	g.log = append(g.log, fmt.Sprintf("%v error", time.Since(g.start)))
}

func (g *grpcSide) ParseServiceConfig(string) *serviceconfig.ParseResult {
	g.configs++
	return &serviceconfig.ParseResult{}
}

func wantLog(t *testing.T, g *grpcSide, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, g.log); diff != "" {
		t.Errorf("what gRPC was told (-want +got):\n%s", diff)
	}
}

// service stands for a service in a registry: whoever watches it is told its views as a [rollcall.Watcher] would be told.
type service struct {
	mu      sync.Mutex
	view    *rollcall.View // the newest; nil: etcd never answered
	changed chan struct{}  // closed and replaced with each view
	ended   chan struct{}  // closed when the registry is
	watched int            // how many watchers there ever were
	open    int            // how many there are
	gate    chan struct{}  // not nil: closing a watcher takes until it is closed
}

func newService() *service {
	return &service{changed: make(chan struct{}), ended: make(chan struct{})}
}

func (s *service) put(v *rollcall.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view = v
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *service) newest() (*rollcall.View, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, s.changed
}

func (s *service) watch() watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched++
	s.open++
	return &mailbox{service: s}
}

// mailbox is a watcher: Next returns the newest view, once, with what changed since the one before.
type mailbox struct {
	*service
	last *rollcall.View
}

func (m *mailbox) Next(ctx context.Context) (*rollcall.View, error) {
	for {
		view, changed := m.newest()
		if view != nil && view != m.last && ctx.Err() == nil {
			next := *view
			next.Updates = view.Since(m.last)
			m.last = view
			return &next, nil
		}
		select {
		case <-changed:
		case <-m.ended:
			return nil, rollcall.ErrClosed
		case <-ctx.Done():
			return nil, errors.Join(
				&rollcall.UnreachableError{Endpoints: []string{"etcd:2379"}, Err: context.Cause(ctx)},
				status.Error(codes.Unavailable, "no route"), // etcd's errors are such
			)
		}
	}
}

func (m *mailbox) Close() {
	if m.gate != nil {
		<-m.gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open--
}

// house is a process: the channels to one service, in simulated time.
type house struct {
	*sources
	reg     *rollcall.Registry
	service *service
	start   time.Time
}

// inBubble runs a test in simulated time, and finds afterwards that everything was given back.
func inBubble(t *testing.T, test func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := &house{sources: newSources(), reg: rollcall.New(nil), service: newService(), start: time.Now()}
		test(t, h)
		if h.service.open != 0 || len(h.live) != 0 {
			t.Errorf("%d watchers and %d sources are left behind", h.service.open, len(h.live))
		}
		time.Sleep(time.Hour)
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.parked) != 0 {
			t.Errorf("%d services are remembered for ever", len(h.parked))
		}
	})
}

// channel makes one to the service, selecting by a query.
func (h *house) channel(t *testing.T, g *grpcSide, query string) *channel {
	t.Helper()
	sel, err := parseTarget(target(t, "rollcall:///jie-test?"+query))
	if err != nil {
		t.Fatal(err)
	}
	g.start = h.start
	c := newChannel(g)
	g.close = c.Close
	c.begin(h.sources, h.reg, sel, h.service.watch)
	return c
}

// inChannel runs a test of a single channel in simulated time.
func inChannel(t *testing.T, test func(t *testing.T, g *grpcSide, s *service)) {
	t.Helper()
	inBubble(t, func(t *testing.T, h *house) {
		g := &grpcSide{}
		c := h.channel(t, g, "")
		test(t, g, h.service)
		c.Close()
		seen := len(g.log)
		time.Sleep(time.Hour)
		if len(g.log) != seen {
			t.Errorf("gRPC was told %v after Close", g.log[seen:])
		}
	})
}
