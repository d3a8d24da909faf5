package rollcallgrpc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
)

// listener listens on loopback and may claim another address.
type listener struct {
	net.Listener
	claimed net.Addr
}

func (l listener) Addr() net.Addr {
	if l.claimed != nil {
		return l.claimed
	}
	return l.Listener.Addr()
}

func listen(t *testing.T) listener {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener{Listener: lis}
}

func TestServeRefusesWhatIsInvalidBeforeItServes(t *testing.T) {
	reg, anywhere := unreachable(t), &net.TCPAddr{IP: net.IPv6unspecified, Port: 50051}
	with := func(change func(*rollcall.Instance)) ServeOption {
		inst := rollcall.Instance{Addr: "10.0.0.7:50051"}
		change(&inst)
		return WithInstance(inst)
	}
	for name, tc := range map[string]struct {
		reg     *rollcall.Registry
		service string
		claimed net.Addr
		opts    []ServeOption
		want    []string // all of which the error names
	}{
		"registry":      {nil, "jie-test", nil, nil, []string{"registry", "nil"}},
		"bad registry":  {rollcall.New(nil), "jie-test", nil, nil, []string{"client"}},
		"service":       {reg, "jie/test", nil, nil, []string{"service", "jie/test"}},
		"no service":    {reg, "", nil, nil, []string{"service"}},
		"unspecified":   {reg, "jie-test", anywhere, nil, []string{"[::]:50051", "WithInstance"}},
		"not an IP":     {reg, "jie-test", &net.UnixAddr{Name: "/run/jie.sock", Net: "unix"}, nil, []string{"/run/jie.sock", "WithInstance"}},
		"address":       {reg, "jie-test", nil, []ServeOption{with(func(i *rollcall.Instance) { i.Addr = "10.0.0.7" })}, []string{"Instance.Addr", "10.0.0.7", "host:port"}},
		"weight":        {reg, "jie-test", nil, []ServeOption{with(func(i *rollcall.Instance) { i.Weight = -1 })}, []string{"Instance.Weight", "-1"}},
		"TTL":           {reg, "jie-test", nil, []ServeOption{WithTTL(300 * time.Millisecond)}, []string{"TTL", "300ms"}},
		"drain delay":   {reg, "jie-test", nil, []ServeOption{WithDrainDelay(-1)}, []string{"drain delay", "-1ns"}},
		"stop timeout":  {reg, "jie-test", nil, []ServeOption{WithStopTimeout(-1)}, []string{"stop timeout", "-1ns"}},
		"last TTL wins": {reg, "jie-test", nil, []ServeOption{WithTTL(5 * time.Second), WithTTL(4 * time.Second)}, []string{"TTL", "4s"}},
	} {
		t.Run(name, func(t *testing.T) {
			lis := listen(t)
			lis.claimed = tc.claimed
			err := Serve(t.Context(), grpc.NewServer(), lis, tc.reg, tc.service, tc.opts...)
			if !errors.Is(err, rollcall.ErrInvalid) {
				t.Fatalf("Serve: %v; want an error about an invalid argument", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Serve: %v; want it to name %q", err, want)
				}
			}
			if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener that Serve owned is still open (%v)", err)
			}
		})
	}
}

func TestServeNeedsAServerAndAListener(t *testing.T) {
	reg := unreachable(t)
	if err := Serve(t.Context(), nil, listen(t), reg, "jie-test"); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("Serve without a server: %v", err)
	}
	if err := Serve(t.Context(), grpc.NewServer(), nil, reg, "jie-test"); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("Serve without a listener: %v", err)
	}
	if err := ServeWith(t.Context(), nil, listen(t), reg, "jie-test"); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("ServeWith without a server: %v", err)
	}
	if err := ServeWith(t.Context(), &http.Server{}, nil, reg, "jie-test"); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("ServeWith without a listener: %v", err)
	}
}

func TestAHealthServiceIsOfNoUseToAServerThatIsNotGRPC(t *testing.T) {
	lis := listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // for a server that does serve
	defer cancel()
	err := ServeWith(ctx, &http.Server{}, lis, unreachable(t), "jie-test", WithHealth(health.NewServer()))
	if !errors.Is(err, rollcall.ErrInvalid) || !strings.Contains(err.Error(), "WithHealth") || !strings.Contains(err.Error(), "WithServing") {
		t.Errorf("ServeWith: %v; want an error that names WithHealth and what to use instead", err)
	}
	if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener that ServeWith owned is still open (%v)", err)
	}
}

func TestOptionsThatAreNilAreAsIfTheyWereNotThere(t *testing.T) {
	s := newServeSettings([]ServeOption{WithCalls(nil), WithWarmUp(nil), WithReady(nil), WithServing(nil), WithHealth(nil), WithLogger(nil)})
	srv := &server{serveSettings: s}
	srv.tellServing(true)
	srv.tellReady(nil)
	if err := srv.warm(t.Context()); err != nil {
		t.Errorf("a warm-up that is nil: %v", err)
	}
	srv.logger.Info("nobody reads this")
	if d := srv.mostDrainDelay(); d != DefaultDrainDelay {
		t.Errorf("the drain delay is %v, want %v", d, DefaultDrainDelay)
	}
}

func TestServeOnAClosedRegistryIsRefused(t *testing.T) {
	reg := unreachable(t)
	if err := reg.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), grpc.NewServer(), listen(t), reg, "jie-test"); !errors.Is(err, rollcall.ErrClosed) {
		t.Errorf("Serve on a closed registry: %v, want ErrClosed", err)
	}
}

func TestAddressOfAListenerIsUsedIfItCanBeDialled(t *testing.T) {
	for _, tc := range []struct {
		addr net.Addr
		ok   bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50051}, true},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 50051}, true},
		{&net.TCPAddr{IP: net.IPv4zero, Port: 50051}, false},
		{&net.TCPAddr{IP: net.IPv6unspecified, Port: 50051}, false},
		{&net.TCPAddr{Port: 50051}, false},
		{&net.UnixAddr{Name: "@jie", Net: "unix"}, false},
	} {
		got, err := dialable(tc.addr)
		if tc.ok && (err != nil || got != tc.addr.String()) || !tc.ok && !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("dialable(%v) = %q, %v; want it accepted: %v", tc.addr, got, err, tc.ok)
		}
	}
}
