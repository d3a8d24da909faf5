package rollcallgrpc

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestTargetIsANameOrTheWholeTarget(t *testing.T) {
	for target, want := range map[string]string{
		"jie-test":                    "rollcall:///jie-test",
		"jie-test?version=v2":         "rollcall:///jie-test?version=v2",
		"jie-test?zone=eu/1:a":        "rollcall:///jie-test?zone=eu/1:a",
		"rollcall:///jie-test":        "rollcall:///jie-test",
		"rollcall:///jie-test?zone=a": "rollcall:///jie-test?zone=a",
	} {
		if got, err := fullTarget(target); got != want || err != nil {
			t.Errorf("fullTarget(%q) = %q, %v; want %q", target, got, err, want)
		}
	}
}

func TestTargetThatIsNoServiceIsRefused(t *testing.T) {
	reg := unreachable(t)
	for _, target := range []string{
		"", "rollcall:///", "dns:///jie-test", "localhost:50051", "shop/cart", "rollcall://eu/jie-test", "?zone=a",
		"jie-test?env=x", "jie-test?zone=", "jie-test?zone=a&zone=a", "rollcall:///jie-test?env=x", "jie-test#a", "jie-test?%zz", "%zz",
	} {
		_, err := NewClient(target, reg, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if !errors.Is(err, rollcall.ErrInvalid) || !strings.Contains(err.Error(), "target") {
			t.Errorf("NewClient(%q): %v; want an error that names the target", target, err)
		}
	}
}

func TestClientWithoutRegistryIsRefused(t *testing.T) {
	_, err := NewClient("jie-test", nil)
	if !errors.Is(err, rollcall.ErrInvalid) || !strings.Contains(err.Error(), "registry") {
		t.Errorf("NewClient without a registry: %v; want an error that names the registry", err)
	}
}

func TestClientNeedsCredentials(t *testing.T) {
	if _, err := NewClient("jie-test", unreachable(t)); err == nil {
		t.Error("NewClient without credentials made a channel")
	}
}

func TestNameThatCanBeNoServicesIsRefused(t *testing.T) {
	for _, target := range []string{"-jie", "rollcall:///shop/cart", "jie test?zone=a"} {
		_, err := NewClient(target, unreachable(t), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if !errors.Is(err, rollcall.ErrInvalid) || !strings.Contains(err.Error(), "a service name is") {
			t.Errorf("NewClient(%q): %v; want an error that says what a service name is", target, err)
		}
	}
}

// A channel that the resolver alone was given may have any target: its calls say what is wrong with that.
func TestCallsSayWhatIsWrongWithTheirTarget(t *testing.T) {
	for target, want := range map[string]string{
		"rollcall:///jie-test?env=x": `query parameter "env" with the value "x" is not understood`,
		"rollcall:///shop/cart":      "a service name is",
	} {
		conn, err := grpc.NewClient(target, grpc.WithResolvers(resolver.NewBuilder(unreachable(t))), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("a call to %q: %v; want Unavailable and %q", target, err, want)
		}
		cancel()
		_ = conn.Close()
	}
}
