package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-io/rollcall"
)

// How often a program is asked whether it answers: often at first, as most are up in no time.
const (
	firstProbe   = 20 * time.Millisecond
	slowestProbe = 500 * time.Millisecond
)

// untilAnswer asks until there is an answer, and reports whether there was one before ctx ended.
func untilAnswer(ctx context.Context, probe func(context.Context) error) bool {
	for wait := firstProbe; ctx.Err() == nil; wait = min(wait*3/2, slowestProbe) {
		if probe(ctx) == nil {
			return true
		}
		pause(ctx, wait)
	}
	return false
}

// probeOf is what servers will check, or, without a check, whether a connection is accepted.
func probeOf(inst *rollcall.Instance) func(context.Context) error {
	check := rollcall.Check{Type: rollcall.CheckTCP}
	if inst.Check != nil {
		check = *inst.Check
	}
	check = check.WithDefaults()
	ask := map[rollcall.CheckType]func(context.Context, string) error{
		rollcall.CheckTCP:  connects,
		rollcall.CheckGRPC: serves,
		rollcall.CheckHTTP: func(ctx context.Context, addr string) error { return gets(ctx, addr, check.Path) },
	}[check.Type]
	addr := check.Target(inst)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, check.Timeout)
		defer cancel()
		return ask(ctx, addr)
	}
}

func connects(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func serves(ctx context.Context, addr string) error {
	health, err := askHealth(ctx, addr, insecure.NewCredentials())
	if err == nil && health != healthpb.HealthCheckResponse_SERVING {
		err = fmt.Errorf("its health is %v", health)
	}
	return err
}

func gets(ctx context.Context, addr, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, http.NoBody)
	if err != nil {
		return err
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // and no proxy of the environment
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
