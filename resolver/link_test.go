package resolver

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
	"google.golang.org/grpc/resolver"
)

// linkedSide is gRPC with our policy, which joins the links that it is given.
type linkedSide struct {
	grpcSide
	taken []*endpoints.View
	deaf  bool // the policy has been closed
}

func (g *linkedSide) UpdateState(s resolver.State) error {
	if link := endpoints.LinkOf(s); link != nil && !g.deaf {
		link.Join(g)
	}
	return g.grpcSide.UpdateState(s)
}

func (g *linkedSide) Take(_ *endpoints.Link, v *endpoints.View) bool {
	if !g.deaf {
		g.taken = append(g.taken, v)
	}
	return !g.deaf
}

// inLinkedChannel runs a test of a channel whose default is a service config.
func inLinkedChannel(t *testing.T, config string, test func(g *linkedSide, s *service, shared *source)) {
	t.Helper()
	inBubble(t, func(t *testing.T, h *house) {
		g := &linkedSide{}
		sel, err := parseTarget(target(t, "rollcall:///jie-test"))
		if err != nil {
			t.Fatal(err)
		}
		c := newChannel(g)
		c.standard = config
		c.begin(h.sources, h.reg, sel, h.service.watch)
		defer c.Close()
		h.service.put(viewOf(instance("a", "h:1", 1)))
		rest()
		test(g, h.service, h.live[key{h.reg, sel.String()}])
	})
}

// rest lets a second pass, after which nothing is being gathered.
func rest() {
	time.Sleep(time.Second)
	synctest.Wait()
}

const ours = `{"loadBalancingConfig":[{"rollcall":{}}]}`

func TestOurPolicyIsPassedViewsByALinkAfterTheFirst(t *testing.T) {
	inLinkedChannel(t, ours, func(g *linkedSide, s *service, shared *source) {
		s.put(viewOf(instance("a", "h:1", 1), instance("b", "h:2", 2)))
		rest()
		s.put(viewOf())
		rest()
		if len(g.states) != 1 || len(g.taken) != 2 || len(g.taken[0].Instances) != 2 || len(g.taken[1].Instances) != 0 {
			t.Errorf("gRPC was told of %d states, and the policy of %v", len(g.states), g.taken)
		}
		if shared.listed.Load() {
			t.Error("endpoints are listed for a channel that does not want them")
		}
	})
}

func TestWhatMoreThanAViewIsToBeSaidGoesByGRPC(t *testing.T) {
	inLinkedChannel(t, ours, func(g *linkedSide, s *service, _ *source) {
		decided := viewOf(instance("a", "h:1", 1))
		decided.Policy = &rollcall.Policy{Timeout: time.Second, Revision: 2}
		s.put(decided)
		synctest.Wait()
		if len(g.states) != 2 || len(g.taken) != 0 {
			t.Fatalf("gRPC was told of %d states, want that of the policy too; the policy was passed %v", len(g.states), g.taken)
		}
		next := *decided
		next.Instances = append(next.Instances, instance("b", "h:2", 3))
		s.put(&next)
		rest()
		if len(g.states) != 2 || len(g.taken) != 1 {
			t.Errorf("gRPC was told of %d states, and the policy of %v", len(g.states), g.taken)
		}
	})
}

func TestAPolicyThatIsGoneIsNotPassedAnything(t *testing.T) {
	inLinkedChannel(t, ours, func(g *linkedSide, s *service, shared *source) {
		g.deaf = true
		s.put(viewOf())
		rest()
		if len(g.states) != 2 || len(g.taken) != 0 {
			t.Errorf("gRPC was told of %d states, and a policy that is closed of %v", len(g.states), g.taken)
		}
	})
}

func TestOnlyAChannelWhoseOwnPolicyIsOursHasALink(t *testing.T) {
	for _, config := range []string{
		"", `{}`, `no JSON`, `{"loadBalancingConfig":[]}`, `{"loadBalancingConfig":[{"round_robin":{}}]}`,
		`{"loadBalancingConfig":[{"outlier_detection_experimental":{"childPolicy":[{"rollcall":{}}]}}]}`,
		`{"loadBalancingConfig":[{"round_robin":{}},{"rollcall":{}}]}`,
	} {
		inLinkedChannel(t, config, func(g *linkedSide, s *service, shared *source) {
			s.put(viewOf(instance("a", "h:1", 1), instance("b", "h:2", 2)))
			rest()
			if len(g.states) != 2 || len(g.taken) != 0 || !shared.listed.Load() {
				t.Errorf("with the config %q gRPC was told of %d states, and a policy of %v", config, len(g.states), g.taken)
			}
		})
	}
}
