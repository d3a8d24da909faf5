package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/gateway"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

// gatewayWorld is two servers on one etcd, each behind a network that can fail, and a client that knows both.
type gatewayWorld struct {
	etcd    *etcdtest.Server
	servers []*apiServer
	proxies []*faultproxy.Proxy // between the client and each server
	stores  []*faultproxy.Proxy // between each server and etcd
	reg     *rollcall.Registry  // the client's
	onlook  *rollcall.Registry  // on etcd itself
	held    []*rollcall.Registration
	w       *rollcall.Watcher
}

func startGatewayWorld(t *testing.T) *gatewayWorld {
	t.Helper()
	const many = 50
	world := &gatewayWorld{etcd: etcdtest.Start(t)}
	var addrs []string
	for range 2 {
		store := faultproxy.Start(t, world.etcd.Endpoint())
		world.stores = append(world.stores, store)
		s := serveAPIAt(t, store.Addr(), grpcapi.Config{})
		p := faultproxy.Start(t, s.addr)
		world.servers, world.proxies, addrs = append(world.servers, s), append(world.proxies, p), append(addrs, p.Addr())
	}
	world.reg, world.onlook = openGateway(t, strings.Join(addrs, ",")), open(t, world.etcd.Endpoint())
	for n := range many {
		world.held = append(world.held, register(t, world.reg, "svc", rollcall.Instance{ID: fmt.Sprint("i", n), Addr: "10.0.0.1:1"}, rollcall.WithTTL(shortTTL)))
	}
	world.w = watch(t, world.reg, "svc")
	until(t, world.w, apiPatience, "all of them", func(v *rollcall.View) bool { return len(v.Instances) == many })
	return world
}

// unharmed waits for longer than a TTL, and then wants everything to be registered as it was, without a deletion in between.
func (g *gatewayWorld) unharmed(t *testing.T) {
	t.Helper()
	<-time.After(shortTTL + 2*time.Second)
	if n := deletions(t, g.etcd, 1); n != 0 {
		t.Errorf("%d deletions", n)
	}
	for _, r := range g.held {
		if st := r.Status(); st.State != rollcall.Registered {
			t.Errorf("%s: %+v", r.Instance().ID, st)
			break
		}
	}
	if v := lookUp(t, g.onlook, "svc"); len(v.Instances) != len(g.held) {
		t.Errorf("etcd has %d", len(v.Instances))
	}
	// The watch goes on.
	joined := register(t, g.onlook, "svc", rollcall.Instance{ID: "joined", Addr: "10.0.0.2:1"})
	until(t, g.w, apiPatience, "who joins", func(v *rollcall.View) bool { _, found := v.Get("joined"); return found && v.StaleSince.IsZero() })
	if err := joined.Deregister(within(t, apiPatience)); err != nil {
		t.Error(err)
	}
}

func TestAClientGoesOnAtTheNextServer(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(*gatewayWorld, int){
		"when its own is cut off":                 func(g *gatewayWorld, n int) { g.proxies[n].Cut() },
		"when its own hangs":                      func(g *gatewayWorld, n int) { g.proxies[n].BlackHole(); g.stores[n].BlackHole() },
		"when its own stops":                      func(g *gatewayWorld, n int) { g.servers[n].api.EndStreams(); g.proxies[n].Cut() },
		"when its connections die, new ones work": func(g *gatewayWorld, n int) { g.proxies[n].HalfOpen() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startGatewayWorld(t)
			for n := range g.proxies { // one of them is the one
				hurt(g, n)
				<-time.After(shortTTL + 3*time.Second) // so long that a hold of a server that hangs is over
				g.proxies[n].Heal()
				g.stores[n].Heal()
			}
			if name == "when its own stops" {
				return // both have, for good
			}
			g.unharmed(t)
		})
	}
}

func TestWithoutAnyServerViewsStayAndSaySoAndEverythingComesBack(t *testing.T) {
	t.Parallel()
	g := startGatewayWorld(t)
	for _, p := range g.proxies {
		p.Cut()
	}
	v := until(t, g.w, apiPatience, "that it is stale", func(v *rollcall.View) bool { return !v.StaleSince.IsZero() })
	if len(v.Instances) != len(g.held) || v.StaleErr == nil {
		t.Errorf("%d instances, stale by %v", len(v.Instances), v.StaleErr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := g.reg.Services(ctx); !errors.Is(err, rollcall.ErrUnreachable) || !strings.Contains(err.Error(), "server") {
		t.Errorf("services: %v", err)
	}
	if st := g.reg.Status(); st.UnreachableSince.IsZero() || st.LastError == nil || len(st.Endpoints) != 2 {
		t.Errorf("status: %+v", st)
	}
	eventually(t, apiPatience, "that it is not registered", func() bool { return g.held[0].Status().State == rollcall.Healing })
	eventually(t, apiPatience, "that etcd has none", func() bool { return len(lookUp(t, g.onlook, "svc").Instances) == 0 }) // they are taken for dead
	for _, p := range g.proxies {
		p.Heal()
	}
	until(t, g.w, apiPatience, "that all are back", func(v *rollcall.View) bool { return len(v.Instances) == len(g.held) && v.StaleSince.IsZero() })
	eventually(t, apiPatience, "that it is registered", func() bool { return g.held[0].Status().State == rollcall.Registered })
}

func TestAGatewaysArgumentsAreChecked(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func() (*rollcall.Registry, error){
		"no address": func() (*rollcall.Registry, error) { return gateway.Open("") },
		"no port":    func() (*rollcall.Registry, error) { return gateway.Open("10.0.0.1:7051,server") },
		"a token without TLS": func() (*rollcall.Registry, error) {
			return gateway.Open("10.0.0.1:7051", gateway.WithToken(func() (string, error) { return "x", nil }))
		},
	} {
		if _, err := open(); !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	reg := openGateway(t, "127.0.0.1:1")
	for what, err := range map[string]error{
		"Remove":   reg.Remove(t.Context(), "svc", "x"),
		"TimeLeft": func() error { _, err := reg.TimeLeft(t.Context(), "svc", "x"); return err }(),
		"Resume":   func() error { _, err := reg.Resume(t.Context(), "svc", "x", token); return err }(),
	} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
