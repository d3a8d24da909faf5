package integration

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

// badConfigs are service configs that gRPC refuses, and what it must say of them.
var badConfigs = map[string]struct{ config, says string }{
	"unknown policy":            {policyConfig("rollcal", `{}`), "rollcal"},
	"unknown pick":              {policyConfig("rollcall", `{"pick":"random"}`), `a pick is "weighted_round_robin" or "least_request"`},
	"percentage over 100":       {policyConfig("rollcall", `{"split":{"v2":101}}`), "a percentage is 0 to 100"},
	"negative percentage":       {policyConfig("rollcall", `{"split":{"v2":-1}}`), "a percentage is 0 to 100"},
	"percentages over 100":      {policyConfig("rollcall", `{"split":{"v2":60,"v3":60}}`), "add up to 100 at most"},
	"split of no version":       {policyConfig("rollcall", `{"split":{"":10}}`), "a split names versions"},
	"empty subset":              {policyConfig("rollcall", `{"subset":{"size":0}}`), "a subset has 1 instance or more"},
	"negative subset":           {policyConfig("rollcall", `{"subset":{"size":-5}}`), "a subset has 1 instance or more"},
	"ejection of more than all": {policyConfig("rollcall", `{"ejection":{"maxPercent":101}}`), "1 to 100"},
	"duration without a unit":   {policyConfig("rollcall", `{"slowStart":"30"}`), "a duration is a number and a unit"},
	"header that is none":       {policyConfig("rollcall", `{"splitHeader":"a b"}`), "a header's name"},
	"no JSON":                   {`{"loadBalancingConfig":`, "service config"},
}

func TestABadConfigFailsCallsAndSaysWhy(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	newGreeter(t).register(t, reg, rollcall.Instance{})
	for name, bad := range badConfigs {
		conn := dial(t, reg, configured(reg, bad.config))
		_, err := greet(t, conn)
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s: %v; want Unavailable and %q", name, err, bad.says)
		}
	}
}

func TestABadConfigAfterAGoodOneIsNotUsed(t *testing.T) {
	t.Parallel()
	a, b, c := newGreeter(t).run(t), newGreeter(t).run(t), newGreeter(t).run(t)
	r := manual.NewBuilderWithScheme("manual")
	good := policyConfig("rollcall", `{}`)
	r.InitialState(grpcresolver.State{Endpoints: endpointsAt(a.addr, b.addr)})
	conn := plainChannel(t, "manual:///any", good, grpc.WithResolvers(r))
	tallyUntil(t, conn, 4, "calls to both", only(a, b))
	r.UpdateState(grpcresolver.State{Endpoints: endpointsAt(a.addr, b.addr), ServiceConfig: r.CC().ParseServiceConfig(good)})
	for name, bad := range badConfigs {
		r.UpdateState(grpcresolver.State{Endpoints: endpointsAt(a.addr, b.addr), ServiceConfig: r.CC().ParseServiceConfig(bad.config)})
		if counts := tally(t, conn, 20); counts[a.addr] != 10 || counts[b.addr] != 10 {
			t.Errorf("%s: calls %v, want 10 each by the good config", name, counts)
		}
	}
	r.UpdateState(grpcresolver.State{Endpoints: endpointsAt(b.addr, c.addr), ServiceConfig: r.CC().ParseServiceConfig(badConfigs["unknown pick"].config)})
	tallyUntil(t, conn, 4, "calls to the servers that came with a bad config", only(b, c))
}

func TestABadTargetIsRefusedByTheFrontDoorAndFailsCallsBehindIt(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	newGreeter(t).register(t, reg, rollcall.Instance{})
	creds := grpc.WithTransportCredentials(insecure.NewCredentials())
	for target, says := range map[string]string{
		"rollcall:///":                             "it names no service",
		"rollcall:///shop/cart":                    "a service name is",
		"rollcall://eu/jie-test":                   `authority "eu" is not understood`,
		"rollcall:///jie-test#a":                   `fragment "a" is not understood`,
		"rollcall:///jie-test?weight=100":          `query parameter "weight" with the value "100" is not understood`,
		"rollcall:///jie-test?version=":            `query parameter "version" has the value ""`,
		"rollcall:///jie-test?version=1&version=1": `query parameter "version" has the value "1" twice`,
		"rollcall:///jie-test?zone=a;version=1":    "is not understood",
	} {
		if conn, err := rollcallgrpc.NewClient(target, reg, creds); !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("NewClient(%q): %v, %v; want ErrInvalid", target, conn, err)
		}
		conn, err := grpc.NewClient(target, creds, configured(reg, policyConfig("rollcall", `{}`)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = greet(t, conn)
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), says) {
			t.Errorf("a call to %q: %v; want Unavailable and %q", target, err, says)
		}
		_ = conn.Close()
	}
}

func TestATargetSelectsByVersionAndZone(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	servers := map[string]*greeter{}
	moved := map[string]*rollcall.Registration{}
	for _, name := range []string{"1a", "1b", "2a", "2b"} {
		g := newGreeter(t)
		moved[name] = g.register(t, reg, rollcall.Instance{Version: "v" + name[:1], Zone: name[1:]})
		servers[name] = g
	}
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 4 })
	channel := func(query string) *grpc.ClientConn {
		conn, err := rollcallgrpc.NewClient(grpcService+query, reg, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	for query, names := range map[string][]string{
		"":                          {"1a", "1b", "2a", "2b"},
		"?version=v2":               {"2a", "2b"},
		"?zone=a":                   {"1a", "2a"},
		"?zone=b&version=v1":        {"1b"},
		"?version=v1&version=v2":    {"1a", "1b", "2a", "2b"},
		"?zone=b&version=v2&zone=a": {"2a", "2b"},
	} {
		var want []*greeter
		for _, name := range names {
			want = append(want, servers[name])
		}
		tallyUntil(t, channel(query), 20, "calls to the selected of "+query, only(want...))
	}

	conn := channel("?version=v3")
	if _, err := greet(t, conn); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "jie-test?version=v3 has no instances") {
		t.Errorf("a call to a version that nobody has: %v; want Unavailable that says so", err)
	}
	update(t, moved["1a"], func(i *rollcall.Instance) { i.Version = "v3" })
	eventually(t, grpcPatience, "calls to the one that has the version now", func() bool {
		addr, err := greet(t, conn)
		return err == nil && addr == servers["1a"].addr
	})
}
