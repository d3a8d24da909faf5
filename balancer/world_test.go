package balancer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing/synctest"
	"time"

	lb "google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
)

// world is a channel, and a service, to which anything happens that gRPC and etcd allow.
type world struct {
	*channel
	t       *rapid.T
	service *service
	zone    string
	state   resolver.State // shown last
	link    *endpoints.Link
	sent    resolver.State // what gRPC was sent last: other views may have come by the link since
	shown   bool
	open    []call
}

func newWorld(t *rapid.T) *world {
	zone := rapid.SampledFrom([]string{"", "a", "c"}).Draw(t, "own zone")
	return &world{channel: newChannel(t, zone, drawSmallConfig(t)), t: t, service: newService(), zone: zone, link: new(endpoints.Link)}
}

// drawSmallConfig draws a config that makes a difference to a few instances.
func drawSmallConfig(t *rapid.T) Config {
	seldom := func(what string) bool { return rapid.IntRange(0, 3).Draw(t, what) == 0 }
	c := Config{
		Pick:        rapid.SampledFrom([]Pick{WeightedRoundRobin, LeastRequest}).Draw(t, "pick"),
		IgnoreZones: seldom("no zones"),
		Ejection:    Ejection{Failures: 2, MaxPercent: 40, Disabled: seldom("no ejection")},
	}
	if seldom("split") {
		c.Split = map[string]float64{"v1": rapid.SampledFrom([]float64{0, 30, 100}).Draw(t, "v1")}
		if c.Split["v1"] < 100 {
			c.Split["v2"] = rapid.SampledFrom([]float64{0, 20, 70}).Draw(t, "v2")
		}
		c.SplitHeader = rapid.SampledFrom([]string{"", "x-user"}).Draw(t, "split header")
	}
	if seldom("subset") {
		c.Subset.Size = rapid.IntRange(1, 4).Draw(t, "size")
	}
	if seldom("slow start") {
		c.SlowStart = 10 * time.Second
	}
	return c
}

// event is one thing that may happen.
type event struct {
	name   string
	happen func()
}

// events are those that may happen, the first ones more often.
func (w *world) events() []event {
	return []event{
		{"nothing", func() {}},
		{"connections", func() { w.connections(12) }},
		{"instances change", func() { w.changeInstances(); w.showView() }},
		{"time", w.passTime},
		{"calls", w.call},
		{"all connect", func() { w.connect() }},
		{"calls end", w.endCalls},
		{"calls by old pickers", w.callByOldPickers},
		{"a connection", func() { w.connections(1) }},
		{"config", w.changeConfig},
		{"health", w.sayHealth},
		{"ended connections speak", w.lateWord},
		{"endpoints", w.showEndpoints},
		{"another resolver", w.anotherResolver},
		{"a view again", w.showView},
		{"a former state again", w.showFormerState},
		{"resolver error", func() { w.ResolverError(errors.New("no etcd in sight")) }},
		{"exit idle", w.ExitIdle},
		{"checks", func() { w.checks = rapid.Bool().Draw(w.t, "checks") }},
	}
}

// changeInstances has instances join, leave and change. Ids are more than addresses: some take over one of another.
func (w *world) changeInstances() {
	for range rapid.IntRange(1, 12).Draw(w.t, "changes") {
		id := fmt.Sprint("i", rapid.IntRange(0, 12).Draw(w.t, "id"))
		address := func() string { return fmt.Sprint("h", rapid.IntRange(0, 10).Draw(w.t, "addr"), ":1") }
		if w.service.all[id] == nil {
			i := &rollcall.Instance{ID: id, Addr: address(), Incarnation: fmt.Sprint(w.service.puts), State: rollcall.StateServing, Weight: 100}
			i.Zone = rapid.SampledFrom([]string{"a", "a", "b", ""}).Draw(w.t, "zone")
			i.Version = rapid.SampledFrom([]string{"v1", "v2", ""}).Draw(w.t, "version")
			w.service.put(i)
			continue
		}
		change := rapid.SampledFrom([]func(*rollcall.Instance){
			draining, draining, serving, restarted, weighing(300), weighing(1), weighing(0), inZone("a"), inZone("b"), ofVersion("v1"), ofVersion("v2"),
			func(i *rollcall.Instance) { i.Addr = address() }, func(i *rollcall.Instance) { i.Suspect = !i.Suspect },
			func(i *rollcall.Instance) { i.Metadata = map[string]string{"put": fmt.Sprint(w.service.puts)} }, nil, nil, nil,
		}).Draw(w.t, "change")
		if change == nil {
			w.service.remove(id)
		} else {
			w.service.change(id, change)
		}
	}
}

func (w *world) showView() {
	v := w.service.next()
	w.reducer.Linked = rapid.Bool().Draw(w.t, "not listed")
	view, changed := w.reducer.Apply(v.Updates)
	switch {
	case !changed && w.shown && rapid.Bool().Draw(w.t, "not again"):
	case w.link.Joined() && rapid.Bool().Draw(w.t, "by the link"):
		w.state = view.Linked(w.link)
		if !w.link.Pass(view) {
			w.t.Fatal("the policy has joined the link, and does not take a view")
		}
		w.deliver()
	case rapid.Bool().Draw(w.t, "without a link"):
		w.showState(view.State())
	default:
		w.showState(view.Linked(w.link))
	}
}

func (w *world) showState(s resolver.State) {
	w.state, w.sent, w.shown = s, s, true
	w.update(s)
	_, whole := endpoints.Of(s)
	if linked := whole && endpoints.LinkOf(s) != nil; w.link.Joined() != linked {
		w.t.Fatalf("the policy has joined a link: %v, want %v", !linked, linked)
	}
}

// showFormerState is what a policy does that wraps another and keeps what it was sent.
func (w *world) showFormerState() {
	if w.link.Joined() {
		w.update(w.sent)
	}
}

// anotherResolver is what gRPC has after idle mode: its views have nothing to do with those before.
func (w *world) anotherResolver() {
	w.reducer = endpoints.NewReducer("svc", w.zone, nil)
	w.service.view = &rollcall.View{Service: "svc", Revision: w.service.view.Revision}
	w.link = new(endpoints.Link)
	w.showView()
}

// showEndpoints shows a list that has been tampered with on the way, or is not ours.
func (w *world) showEndpoints() {
	view, _ := w.reducer.Apply(nil)
	s := view.State()
	s.Endpoints = slices.DeleteFunc(slices.Clone(s.Endpoints), func(resolver.Endpoint) bool { return rapid.IntRange(0, 4).Draw(w.t, "left out") == 0 })
	for range rapid.IntRange(0, 3).Draw(w.t, "plain") {
		s.Endpoints = append(s.Endpoints, endpoint(fmt.Sprint("h", rapid.IntRange(0, 14).Draw(w.t, "addr"), ":1")))
	}
	w.showState(s)
}

func (w *world) changeConfig() {
	w.configured(drawSmallConfig(w.t))
	if w.shown {
		w.showState(w.state)
	}
}

// connections takes connections to a next state of those that gRPC knows.
func (w *world) connections(n int) {
	for range n {
		open := w.addresses()
		if len(open) == 0 {
			return
		}
		sc := w.conn(rapid.SampledFrom(open).Draw(w.t, "connection"))
		switch sc.state {
		case connectivity.Idle:
			if sc.wants {
				sc.become(connectivity.Connecting)
			}
		case connectivity.Connecting:
			sc.become(rapid.SampledFrom([]connectivity.State{connectivity.Ready, connectivity.Ready, connectivity.TransientFailure, connectivity.Idle}).Draw(w.t, "state"))
		case connectivity.Ready, connectivity.TransientFailure:
			sc.become(connectivity.Idle)
		}
	}
}

func (w *world) sayHealth() {
	for _, addr := range w.addresses() {
		sc := w.conn(addr)
		if sc == nil || !sc.checked || sc.health == nil {
			continue
		}
		says := rapid.SampledFrom([]connectivity.State{connectivity.Ready, connectivity.TransientFailure, connectivity.Connecting}).Draw(w.t, "health")
		if says != connectivity.Connecting || !sc.healthy { // of who was well gRPC never says that
			sc.tell(says)
		}
	}
}

func (w *world) lateWord() {
	if len(w.ended) > 0 {
		sc := rapid.SampledFrom(w.ended).Draw(w.t, "ended")
		sc.become(rapid.SampledFrom([]connectivity.State{
			connectivity.Connecting, connectivity.Ready, connectivity.TransientFailure, connectivity.Idle, connectivity.Shutdown,
		}).Draw(w.t, "state"))
	}
}

func (w *world) passTime() {
	time.Sleep(rapid.SampledFrom([]time.Duration{time.Microsecond, time.Millisecond, 2 * time.Millisecond, time.Second, 11 * time.Second}).Draw(w.t, "time"))
	synctest.Wait()
}

func (w *world) call() {
	for n := range rapid.IntRange(1, 20).Draw(w.t, "calls") {
		w.callBy(w.picker(), n)
	}
}

func (w *world) callByOldPickers() {
	for _, p := range w.published()[max(len(w.published())-5, 0):] {
		for n := range 3 {
			w.callBy(p, n)
		}
	}
}

func (w *world) callBy(p lb.Picker, n int) {
	ctx := w.t.Context()
	if n%2 == 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "x-user", fmt.Sprint(n))
	}
	made, err := pick(ctx, p)
	if err == nil {
		w.verify(made)
		w.open = append(w.open, made)
	}
}

// verify fails the test if nobody should have been called, or somebody else.
func (w *world) verify(made call) {
	if !made.conn.callable() || made.conn.state == connectivity.Shutdown {
		w.t.Fatalf("a call goes to %s, which is %v, healthy: %v", made.addr, made.conn.state, made.conn.healthy)
	}
	if callable := w.callable(); !callable[made.addr] {
		w.t.Fatalf("a call goes to %s, and is to go to one of %v", made.addr, slices.Sorted(maps.Keys(callable)))
	}
}

// callable returns the addresses that are to be called by what was shown last: those that serve, or all when none does.
func (w *world) callable() map[string]bool {
	serve, all := map[string]bool{}, map[string]bool{}
	add := func(addr string, i *rollcall.Instance) {
		if first := !all[addr]; first && (i == nil || i.State != rollcall.StateDraining) {
			serve[addr] = true
		}
		all[addr] = true
	}
	if view, ours := endpoints.Of(w.state); ours {
		for _, i := range view.Instances {
			add(i.Addr, i)
		}
	} else {
		for _, ep := range w.state.Endpoints {
			i, _ := endpoints.InstanceOf(ep)
			add(keyOf(ep.Addresses), i)
		}
	}
	if len(serve) == 0 {
		return all
	}
	return serve
}

func (w *world) endCalls() {
	for range rapid.IntRange(0, 20).Draw(w.t, "ends") {
		if len(w.open) == 0 {
			return
		}
		made := w.open[0]
		w.open = w.open[1:]
		made.end(rapid.SampledFrom([]lb.DoneInfo{
			{BytesReceived: true}, {Err: unavailable}, {Err: unavailable}, {Err: unavailable, BytesReceived: true}, {Err: status.Error(codes.Canceled, "no more")},
		}).Draw(w.t, "end"))
		w.deliver()
	}
}

// check holds what is always so against the channel as it is.
func (w *world) check() {
	w.recount()
	callable := w.callable()
	somebody := ""
	for _, addr := range w.addresses() {
		if w.conn(addr).callable() && callable[addr] {
			somebody = addr
		}
	}
	made, err := pick(w.t.Context(), w.picker())
	switch {
	case err == nil:
		w.verify(made)
		w.open = append(w.open, made)
	case somebody != "":
		w.t.Fatalf("a call gets %q, and could go to %s", err, somebody)
	case err != lb.ErrNoSubConnAvailable && w.connectivity() != connectivity.TransientFailure:
		w.t.Fatalf("a call gets %q, and the channel is %v", err, w.connectivity())
	}
}

// settled lets everything come to an end that takes time.
func (w *world) settled() {
	for _, made := range w.open {
		made.succeed()
	}
	w.open = nil
	time.Sleep(time.Minute)
	synctest.Wait()
}

// anew makes a channel that knows nothing but what was shown last, and whose connections are as those of w.
func (w *world) anew() *channel {
	c := newChannel(w.t, w.zone, w.config.Config)
	c.policy.zone, c.checks = w.policy.zone, true
	c.update(w.state)
	for range 10 {
		for _, addr := range c.addresses() {
			if of, sc := w.members[addr], c.conn(addr); of != nil && of.conn != nil && sc != nil {
				sc.follow(w.conn(addr), of.conn.failed)
			}
		}
	}
	c.quiet()
	return c
}

// follow has a connection become like another, of which is known whether it has failed.
func (sc *subConn) follow(of *subConn, failed bool) {
	if failed && sc.state == connectivity.Idle {
		sc.become(connectivity.TransientFailure)
	}
	if sc.state != of.state {
		sc.become(of.state)
	}
	if sc.state == connectivity.Ready && of.healthy && !sc.healthy {
		sc.tell(connectivity.Ready)
	}
	if sc.state == connectivity.Ready && !of.healthy && failed {
		sc.tell(connectivity.TransientFailure)
	}
}

// String tells what a failure is to be understood from.
func (w *world) String() string {
	s := fmt.Sprintf("zone %q, %+v", w.policy.zone, w.config.Config)
	for _, g := range w.groups {
		for _, cell := range g.cells {
			s += fmt.Sprintf("\n%q in %q:", g.version, cell.zone)
			for _, m := range cell.ranked {
				s += fmt.Sprintf(" %s*%v", m.key, m.share)
				if m.conn != nil {
					s += fmt.Sprintf("(%v healthy %v failed %v)", m.conn.state, m.conn.healthy, m.conn.failed)
				}
			}
		}
	}
	return s
}
