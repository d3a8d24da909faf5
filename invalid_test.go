package rollcall

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// deaf returns a registry whose etcd nobody answers for: whatever comes back at once never left the process.
func deaf(t *testing.T, opts ...Option) *Registry {
	t.Helper()
	reg, err := Open(ClientConfig("127.0.0.1:1"), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close(context.Background()) })
	return reg
}

func TestBadInputIsRefusedWithFieldValueAndRule(t *testing.T) {
	good := Instance{Addr: "10.0.0.1:1"}
	with := func(change func(*Instance)) Instance { i := good; change(&i); return i }
	tests := map[string]struct {
		service string
		inst    Instance
		opts    []RegisterOption
		want    []string // parts of the text
	}{
		"empty service":        {"", good, nil, []string{"service", `""`, "1 to 253"}},
		"slash in service":     {"foo/bar", good, nil, []string{"service", `"foo/bar"`}},
		"service begins so":    {"-foo", good, nil, []string{"service", `"-foo"`}},
		"service ends so":      {"foo.", good, nil, []string{"service", `"foo."`}},
		"long service":         {strings.Repeat("x", 254), good, nil, []string{"service"}},
		"service not ASCII":    {"größe", good, nil, []string{"service"}},
		"no address":           {"svc", Instance{}, nil, []string{"Instance.Addr", `""`, "host:port"}},
		"no port":              {"svc", Instance{Addr: "10.0.0.1"}, nil, []string{"Instance.Addr", `"10.0.0.1"`, "host:port"}},
		"no host":              {"svc", Instance{Addr: ":80"}, nil, []string{"Instance.Addr"}},
		"port 0":               {"svc", Instance{Addr: "h:0"}, nil, []string{"Instance.Addr", "1 to 65535"}},
		"port 65536":           {"svc", Instance{Addr: "h:65536"}, nil, []string{"Instance.Addr"}},
		"named port":           {"svc", Instance{Addr: "h:http"}, nil, []string{"Instance.Addr"}},
		"bare IPv6":            {"svc", Instance{Addr: "::1:80"}, nil, []string{"Instance.Addr"}},
		"a URL":                {"svc", Instance{Addr: "http://h:80"}, nil, []string{"Instance.Addr"}},
		"TTL 0":                {"svc", good, []RegisterOption{WithTTL(0)}, []string{"TTL", "0s", "at least 5s", "whole seconds"}},
		"TTL of years":         {"svc", good, []RegisterOption{WithTTL(48 * time.Hour)}, []string{"TTL", "48h0m0s", "at most 24h"}},
		"address to listen on": {"svc", Instance{Addr: "0.0.0.0:80"}, nil, []string{"Instance.Addr", "0.0.0.0", "dial"}},
		"the same in IPv6":     {"svc", Instance{Addr: "[::]:80"}, nil, []string{"Instance.Addr", "dial"}},
		"nil option":           {"", good, []RegisterOption{nil}, []string{"service"}},
		"TTL 300 ms":           {"svc", good, []RegisterOption{WithTTL(300 * time.Millisecond)}, []string{"TTL", "300ms"}},
		"TTL 4 s":              {"svc", good, []RegisterOption{WithTTL(4 * time.Second)}, []string{"TTL", "4s"}},
		"TTL 5.5 s":            {"svc", good, []RegisterOption{WithTTL(5500 * time.Millisecond)}, []string{"TTL", "5.5s"}},
		"negative TTL":         {"svc", good, []RegisterOption{WithTTL(-15 * time.Second)}, []string{"TTL", "-15s"}},
		"negative weight":      {"svc", with(func(i *Instance) { i.Weight = -1 }), nil, []string{"Instance.Weight", "-1"}},
		"unknown state":        {"svc", with(func(i *Instance) { i.State = "asleep" }), nil, []string{"Instance.State", `"asleep"`}},
		"leaving":              {"svc", with(func(i *Instance) { i.State = "leaving" }), nil, []string{"Instance.State"}},
		"large metadata":       {"svc", with(func(i *Instance) { i.Metadata = map[string]string{"k": strings.Repeat("x", 17<<10)} }), nil, []string{"Instance.Metadata", "17409 bytes", "16 KiB"}},
		"metadata not UTF-8":   {"svc", with(func(i *Instance) { i.Metadata = map[string]string{"k": "\xff"} }), nil, []string{"Instance.Metadata"}},
		"instance too large":   {"svc", with(func(i *Instance) { i.Metadata = map[string]string{"k": strings.Repeat(`"`, 9<<10)} }), nil, []string{"Instance", "16 KiB"}},
		"two kinds of it":      {"svc", with(func(i *Instance) { i.Metadata = map[string]string{}; i.RawMetadata = []byte("1") }), nil, []string{"Instance.RawMetadata"}},
		"raw not JSON":         {"svc", with(func(i *Instance) { i.RawMetadata = []byte("{") }), nil, []string{"Instance.RawMetadata"}},
		"long id":              {"svc", with(func(i *Instance) { i.ID = strings.Repeat("x", 513) }), nil, []string{"Instance.ID"}},
		"id not UTF-8":         {"svc", with(func(i *Instance) { i.ID = "\xff" }), nil, []string{"Instance.ID"}},
		"zone with a space":    {"svc", with(func(i *Instance) { i.Zone = "a b" }), nil, []string{"Instance.Zone"}},
		"version with newline": {"svc", with(func(i *Instance) { i.Version = "1\n" }), nil, []string{"Instance.Version"}},
		"bad further address":  {"svc", with(func(i *Instance) { i.Addrs = map[string]string{"http": "x"} }), nil, []string{`Instance.Addrs["http"]`, `"x"`}},
		"nameless address":     {"svc", with(func(i *Instance) { i.Addrs = map[string]string{"": "h:1"} }), nil, []string{"Instance.Addrs"}},
	}
	reg := deaf(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := reg.Register(t.Context(), tt.service, tt.inst, tt.opts...)
			if !errors.Is(err, ErrInvalid) || r != nil {
				t.Fatalf("got %v, %v", r, err)
			}
			if err := reg.Validate(tt.service, &tt.inst, tt.opts...); !errors.Is(err, ErrInvalid) {
				t.Errorf("Validate: %v", err)
			}
			e, _ := errors.AsType[*InvalidError](err)
			if e.Field == "" || e.Value == "" || e.Rule == "" {
				t.Errorf("incomplete: %+v", e)
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestValidateAcceptsWhatMayBeRegistered(t *testing.T) {
	reg := deaf(t)
	if err := reg.Validate("svc", nil); err != nil {
		t.Errorf("a service: %v", err)
	}
	if err := reg.Validate("svc", &Instance{Addr: "[::1]:1"}, WithTTL(MinTTL)); err != nil {
		t.Errorf("an instance: %v", err)
	}
}

func TestARegisterWhoseContextHasEndedTriesNothing(t *testing.T) {
	reg := deaf(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reg.Register(ctx, "svc", Instance{Addr: "h:1"}); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Register: %v", err)
	}
	if st := reg.Status(); len(st.Leases) != 0 {
		t.Errorf("it began: %+v", st)
	}
}

func TestEveryDoorRefusesABadService(t *testing.T) {
	reg := deaf(t)
	_, lookup := reg.Lookup(t.Context(), "a/b")
	_, next := reg.Watch("a/b").Next(t.Context())
	remove := reg.Remove(t.Context(), "a/b", "x")
	noID := reg.Remove(t.Context(), "a", "")
	for _, err := range []error{lookup, next, remove, noID} {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("got %v", err)
		}
	}
}

func TestANilClientAndBadOptionsAreToldByEveryCall(t *testing.T) {
	client, err := clientv3.New(ClientConfig("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for want, reg := range map[string]*Registry{
		"client nil":         New(nil),
		`prefix "a/"`:        New(client, WithPrefix("a/")),
		`prefix "a b"`:       New(client, WithPrefix("a b")),
		`directory "nowhere`: New(client, WithDirectory("nowhere")),
	} {
		_, register := reg.Register(t.Context(), "svc", Instance{Addr: "h:1"})
		_, lookup := reg.Lookup(t.Context(), "svc")
		_, services := reg.Services(t.Context())
		_, next := reg.Watch("svc").Next(t.Context())
		for _, err := range []error{register, lookup, services, next, reg.Remove(t.Context(), "svc", "x")} {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
				t.Errorf("want %s, got %v", want, err)
			}
		}
		if st := reg.Status(); st.LastError == nil {
			t.Error("Status does not say what is wrong")
		}
		if err := reg.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestOpenRefusesABadConfiguration(t *testing.T) {
	if _, err := Open(ClientConfig()); !errors.Is(err, ErrInvalid) {
		t.Errorf("no endpoints: %v", err)
	}
	if _, err := Open(ClientConfig("127.0.0.1:1"), WithPrefix("x/")); !errors.Is(err, ErrInvalid) {
		t.Errorf("bad prefix: %v", err)
	}
}

func TestOpenWithAPasswordDoesNotWaitForEtcd(t *testing.T) {
	cfg := ClientConfig("127.0.0.1:1")
	cfg.Username, cfg.Password = "me", "secret"
	reg, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := reg.Lookup(ctx, "a"); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Lookup: %v", err)
	}
	if _, err := reg.Register(ctx, "a", Instance{Addr: "h:1"}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("Register: %v", err)
	}
	if err := reg.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestOpenWithAPasswordRefusesABadConfigurationAtOnce(t *testing.T) {
	cfg := ClientConfig("127.0.0.1:1")
	cfg.Username, cfg.Password, cfg.Token = "me", "secret", "token"
	if _, err := Open(cfg); err == nil {
		t.Error("a token beside a password: no error")
	}
}

func TestWithoutAPrefixWhatWouldMixIsRefused(t *testing.T) {
	reg := deaf(t, WithPrefix(""))
	if _, err := reg.Services(t.Context()); !errors.Is(err, ErrInvalid) {
		t.Errorf("Services: %v", err)
	}
	if _, err := reg.Register(t.Context(), "rollcall", Instance{Addr: "h:1"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a service named rollcall: %v", err)
	}
}
