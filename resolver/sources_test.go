package resolver

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
	"google.golang.org/grpc/resolver"
)

func TestChannelsToOneTargetShareOneWatcherAndWhatTheyAreSent(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.service.put(viewOf(instance("a", "h:1", 1), instance("b", "h:2", 2)))
		sides := make([]*grpcSide, 3)
		for n := range sides {
			sides[n] = &grpcSide{}
			c := h.channel(t, sides[n], "")
			defer c.Close()
			time.Sleep(time.Second)
		}
		h.service.put(viewOf(instance("b", "h:2", 2)))
		wantLog(t, sides[0], "0s a b", "3s b")
		wantLog(t, sides[2], "2s a b", "3s b")
		for _, g := range sides[1:] {
			for n, state := range g.states {
				if first := sides[0].states[n]; &state.Endpoints[0] != &first.Endpoints[0] {
					t.Errorf("state %d has endpoints of its own", n)
				}
				if v, ok := endpoints.Of(state); !ok || v.Target != "jie-test" {
					t.Errorf("state %d carries %v, want its view", n, v)
				}
			}
		}
		if h.service.watched != 1 {
			t.Errorf("%d watchers for one service", h.service.watched)
		}
	})
}

func TestChannelsThatSelectTheSameShareHoweverTheySayIt(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		a, b := instance("a", "h:1", 1), instance("b", "h:2", 2)
		a.Version, b.Version = "v1", "v2"
		h.service.put(viewOf(a, b))
		one, two, other, none := &grpcSide{}, &grpcSide{}, &grpcSide{}, &grpcSide{}
		for g, query := range map[*grpcSide]string{
			one: "version=v3&version=v2", two: "version=v2&version=v3", other: "version=v1", none: "version=v1&zone=x",
		} {
			c := h.channel(t, g, query)
			defer c.Close()
		}
		wantLog(t, one, "0s b")
		wantLog(t, two, "0s b")
		wantLog(t, other, "0s a")
		wantLog(t, none, "0s ") // as if the service were empty
		if &one.states[0].Endpoints[0] != &two.states[0].Endpoints[0] || h.service.watched != 3 {
			t.Errorf("%d watchers, want one for each of three selections", h.service.watched)
		}
		if v, _ := endpoints.Of(none.states[0]); v == nil || v.Target != "jie-test?version=v1&zone=x" {
			t.Errorf("the empty view is %v, want one that names what was selected", v)
		}
	})
}

func TestViewKnowsTheZoneOfTheCaller(t *testing.T) {
	s := newSources()
	v := newService()
	src := s.join(unreachable(t), selection{service: "jie-test"}, v.watch)
	defer s.leave(src)
	if got, _ := src.reducer.Apply(nil); got.Zone != "eu-1a" {
		t.Errorf("the view's zone is %q, want the registry's", got.Zone)
	}
}

func TestSlowChannelIsSentTheNewestAndDelaysNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		slow, quick := &grpcSide{takes: 10 * time.Second}, &grpcSide{}
		c, d := h.channel(t, slow, ""), h.channel(t, quick, "")
		a, b := instance("a", "h:1", 1), instance("b", "h:2", 2)
		h.service.put(viewOf(a))
		time.Sleep(time.Second)
		h.service.put(viewOf(a, b))
		time.Sleep(time.Second)
		h.service.put(viewOf(b))
		wantLog(t, quick, "0s a", "1s a b", "2s b")
		time.Sleep(10 * time.Second)
		wantLog(t, slow, "0s a", "10s b")
		d.Close()
		c.Close()
	})
}

func TestChannelThatJoinsTroubleIsToldAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		first, second := &grpcSide{}, &grpcSide{}
		c := h.channel(t, first, "")
		defer c.Close()
		time.Sleep(5 * time.Second)
		d := h.channel(t, second, "")
		defer d.Close()
		synctest.Wait()
		time.Sleep(5 * time.Second)
		h.service.put(viewOf(instance("a", "h:1", 1)))
		wantLog(t, first, "2s error", "10s a")
		wantLog(t, second, "5s error", "10s a")
	})
}

func TestSourceOutlivesAllButItsLastChannel(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.service.put(viewOf(instance("a", "h:1", 1)))
		first, second := &grpcSide{}, &grpcSide{}
		c, d := h.channel(t, first, ""), h.channel(t, second, "")
		synctest.Wait()
		c.Close()
		c.Close() // counts once
		time.Sleep(time.Second)
		h.service.put(viewOf())
		wantLog(t, first, "0s a")
		wantLog(t, second, "0s a", "1s ")
		d.Close()
		if h.service.open != 0 {
			t.Error("Close of the last channel did not wait for the watcher's")
		}
	})
}

func TestChannelThatComesWhileTheLastLeavesBeginsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.service.put(viewOf(instance("a", "h:1", 1)))
		h.service.gate = make(chan struct{})
		first, second := &grpcSide{}, &grpcSide{}
		c := h.channel(t, first, "")
		synctest.Wait()
		var leaving sync.WaitGroup
		leaving.Go(c.Close)
		synctest.Wait()
		d := h.channel(t, second, "")
		synctest.Wait()
		close(h.service.gate)
		leaving.Wait()
		time.Sleep(time.Second)
		h.service.put(viewOf())
		wantLog(t, second, "0s a", "1s ")
		d.Close()
	})
}

// returnAfter closes the only channel to a service of three, and opens another after a while. Meanwhile b has become
// heavier, c has left, and the registry has read everything anew.
func returnAfter(t *testing.T, h *house, away time.Duration) (before, after resolver.State) {
	t.Helper()
	h.service.put(viewOf(instance("a", "h:1", 1), instance("b", "h:2", 2), instance("c", "h:3", 2)))
	g := &grpcSide{}
	c := h.channel(t, g, "")
	synctest.Wait()
	c.Close()
	heavier := instance("b", "h:2", 3)
	heavier.Weight = 50
	h.service.put(viewOf(instance("a", "h:1", 1), heavier))
	time.Sleep(away)
	c = h.channel(t, g, "")
	synctest.Wait()
	c.Close()
	if diff := cmp.Diff([]string{"0s a b c", away.String() + " a b"}, g.log); diff != "" {
		t.Fatalf("what gRPC was told (-want +got):\n%s", diff)
	}
	if i, _ := InstanceOf(g.states[1].Endpoints[1]); i != heavier {
		t.Errorf("b is %+v, want it heavier", i)
	}
	return g.states[0], g.states[1]
}

func TestChannelThatComesBackFindsItsEndpoints(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		before, after := returnAfter(t, h, linger-time.Second)
		if before.Endpoints[0].Attributes != after.Endpoints[0].Attributes {
			t.Error("the endpoint of an instance that did not change was made anew")
		}
		v, _ := endpoints.Of(after)
		prev, _ := endpoints.Of(before)
		if changes := v.Since(prev); len(changes) != 2 || changes[0].Instance.ID != "b" || changes[1].Op != rollcall.Delete {
			t.Errorf("what changed meanwhile is %v, want b heavier and c gone", changes)
		}
	})
}

func TestChannelThatComesBackUnchangedIsSentWhatItHad(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.service.put(viewOf(instance("a", "h:1", 1)))
		g := &grpcSide{}
		for range 2 {
			c := h.channel(t, g, "")
			synctest.Wait()
			c.Close()
		}
		wantLog(t, g, "0s a", "0s a")
		if len(g.states) == 2 && &g.states[0].Endpoints[0] != &g.states[1].Endpoints[0] {
			t.Error("the endpoints were made anew though none changed")
		}
	})
}

func TestWhatIsKnownIsForgottenWhenNobodyComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		before, after := returnAfter(t, h, linger+time.Second)
		if before.Endpoints[0].Attributes == after.Endpoints[0].Attributes {
			t.Error("the endpoints were still known")
		}
	})
}

func TestClosedRegistryIsWhatANewChannelIsTold(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		h.service.put(viewOf(instance("a", "h:1", 1)))
		first, second := &grpcSide{}, &grpcSide{}
		c := h.channel(t, first, "")
		synctest.Wait()
		h.service.put(nil)
		close(h.service.ended)
		time.Sleep(time.Second)
		d := h.channel(t, second, "")
		wantLog(t, first, "0s a", "0s error")
		wantLog(t, second, "1s error")
		d.Close()
		c.Close()
		if len(h.parked) != 0 {
			t.Error("what was known in a closed registry is kept")
		}
	})
}

// listener is gRPC's end of a channel that passes on how heavy instance a is.
type listener struct {
	resolver.ClientConn
	weights chan int
	closed  chan struct{}
}

func (l *listener) UpdateState(s resolver.State) error {
	i, _ := InstanceOf(s.Endpoints[0])
	select {
	case l.weights <- i.Weight:
	case <-l.closed:
	}
	return nil
}

func TestChannelsThatComeAndGoAtOnceAreToldWhatHappens(t *testing.T) {
	t.Parallel()
	h := &house{sources: newSources(), reg: unreachable(t), service: newService()}
	sel := selection{service: "jie-test"}
	var mu sync.Mutex
	weight := 0
	heavier := func() int {
		mu.Lock()
		defer mu.Unlock()
		weight++
		a := instance("a", "h:1", int64(weight))
		a.Weight = weight
		h.service.put(viewOf(a))
		return weight
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				l := &listener{weights: make(chan int), closed: make(chan struct{})}
				c := newChannel(l)
				c.begin(h.sources, h.reg, sel, h.service.watch)
				want := heavier()
				timeout := time.After(time.Minute)
				for got := 0; got < want; {
					select {
					case got = <-l.weights:
					case <-timeout:
						t.Errorf("a channel was never told of weight %d, only of %d", want, got)
						got = want
					}
				}
				close(l.closed)
				c.Close()
			}
		})
	}
	wg.Wait()
	if h.service.open != 0 || len(h.live) != 0 {
		t.Errorf("%d watchers and %d sources are left behind", h.service.open, len(h.live))
	}
	for _, p := range h.parked {
		p.timer.Stop()
	}
}

func TestBuilderSharesAmongItsChannelsAndThoseOfOtherBuilders(t *testing.T) {
	reg := unreachable(t)
	var built []resolver.Resolver
	for range 2 {
		b := NewBuilder(reg)
		for _, s := range []string{"rollcall:///jie-test", "rollcall:///jie-test?zone=a"} {
			r, err := b.Build(target(t, s), &grpcSide{}, resolver.BuildOptions{})
			if err != nil {
				t.Fatal(err)
			}
			built = append(built, r)
		}
	}
	of := func() (selections []string) {
		shared.mu.Lock()
		defer shared.mu.Unlock()
		for k := range shared.live {
			if k.registry == reg {
				selections = append(selections, k.selection)
			}
		}
		slices.Sort(selections)
		return selections
	}
	if got := of(); !slices.Equal(got, []string{"jie-test", "jie-test?zone=a"}) {
		t.Errorf("sources of %v, want one for each target", strings.Join(got, " and "))
	}
	for _, r := range built {
		r.Close()
	}
	if got := of(); len(got) != 0 {
		t.Errorf("sources of %v are left behind", got)
	}
}

var _ watcher = (*rollcall.Watcher)(nil)
