package resolver

import (
	"context"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/resolver"
)

// build makes a channel whose goroutine ends by itself, and waits for it.
func build(t *testing.T, reg *rollcall.Registry, url string) *grpcSide {
	t.Helper()
	g := &grpcSide{}
	r, err := NewBuilder(reg).Build(target(t, url), g, resolver.BuildOptions{})
	if err != nil {
		t.Fatalf("Build: %v; it must not fail, gRPC would not try again", err)
	}
	r.(*channel).running.Wait()
	r.ResolveNow(resolver.ResolveNowOptions{})
	r.Close()
	r.Close()
	return g
}

func TestWhatIsWrongIsReportedAndNotReturned(t *testing.T) {
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close(context.Background()) })
	for _, tc := range []struct {
		reg    *rollcall.Registry
		target string
		want   string
	}{
		{nil, "rollcall:///jie-test", "without a registry"},
		{reg, "rollcall:///jie-test?env=a", `"env"`},
		{rollcall.New(nil), "rollcall:///jie-test", "client"},
		{reg, "rollcall:///-jie", "a service name is"},
	} {
		g := build(t, tc.reg, tc.target)
		if len(g.states) != 0 || len(g.errs) != 1 || !strings.Contains(g.errs[0].Error(), tc.want) {
			t.Errorf("%s: gRPC was told %v and %v, want one error that contains %s", tc.target, g.states, g.errs, tc.want)
		}
	}
}
