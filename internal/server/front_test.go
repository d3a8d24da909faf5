package server_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
	"github.com/rollcall-io/rollcall/internal/server"
)

// serving is a whole server on free ports, with its data in dir.
func serving(dir string) server.Config {
	cfg := onFreePort(dir)
	cfg.GRPCListen, cfg.HTTPListen = "127.0.0.1:0", "127.0.0.1:0"
	return cfg
}

// dial connects to a server's gRPC; without certificates when cfg is nil.
func dial(t *testing.T, addr string, cfg *tls.Config) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if cfg != nil {
		creds = credentials.NewTLS(cfg)
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// get asks by HTTP, on a connection of its own.
func get(t *testing.T, url string, cfg *tls.Config) (code int, body string, err error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: cfg}}
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// wantGet wants an answer by HTTP with all of the parts in it.
func wantGet(t *testing.T, url string, code int, parts ...string) {
	t.Helper()
	got, body, err := get(t, url, nil)
	if err != nil || got != code {
		t.Fatalf("GET %s is %d, %v, want %d; it says:\n%s", url, got, err, code, body)
	}
	for _, part := range parts {
		if !strings.Contains(body, part) {
			t.Errorf("GET %s does not say %q; it says:\n%.2000s", url, part, body)
		}
	}
}

// awaitHealth waits until a server is well, as its own health service says.
func awaitHealth(t *testing.T, conn *grpc.ClientConn, service string) {
	t.Helper()
	stream, err := healthpb.NewHealthClient(conn).Watch(bounded(t), &healthpb.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatalf("health of %q: %v", service, err)
		}
		if answer.GetStatus() == healthpb.HealthCheckResponse_SERVING {
			return
		}
	}
}

// register registers an instance and waits until the server tells of it.
func register(t *testing.T, conn *grpc.ClientConn, addr string) {
	t.Helper()
	answer, err := rollcallv1.NewRegistrationServiceClient(conn).Register(bounded(t), &rollcallv1.RegisterRequest{
		Service: "jie-test", Instance: &rollcallv1.Instance{Addr: addr}, Ttl: durationpb.New(time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = rollcallv1.NewDiscoveryServiceClient(conn).WaitForRevision(bounded(t), &rollcallv1.WaitForRevisionRequest{Revision: answer.GetRevision()})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAServerServesTheRegistryOverGRPCAndHTTP(t *testing.T) {
	t.Parallel()
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.PprofListen, cfg.Version = "127.0.0.1:0", "v1.2.3"
	info, stop := start(t, cfg)
	conn := dial(t, info.GRPC, nil)
	for _, service := range []string{"", "rollcall.v1.DiscoveryService", "rollcall.v1.RegistrationService", "rollcall.v1.ControlService"} {
		awaitHealth(t, conn, service)
	}
	register(t, conn, "127.0.0.1:50051")
	there, err := rollcallv1.NewDiscoveryServiceClient(conn).GetService(bounded(t), &rollcallv1.GetServiceRequest{Service: "jie-test"})
	if err != nil || len(there.GetInstances()) != 1 {
		t.Errorf("over gRPC there are %v, %v; want the instance", there.GetInstances(), err)
	}
	wantGet(t, info.HTTP+"/v1/services/jie-test", http.StatusOK, "127.0.0.1:50051")
	wantGet(t, info.HTTP+"/readyz?verbose", http.StatusOK, "[+]registry ok", "[+]stopping ok")
	wantGet(t, info.HTTP+"/livez", http.StatusOK)
	wantGet(t, info.HTTP+"/version", http.StatusOK, "v1.2.3")
	wantGet(t, info.HTTP+"/metrics", http.StatusOK, "rollcall_watch_streams 0", "\netcd_server_has_leader ", "go_goroutines")
	wantGet(t, info.Pprof, http.StatusOK, "goroutine")
	if err := stop(); err != nil {
		t.Errorf("the stop returns %v", err)
	}

	// What was registered by the API stays for those who come back.
	info, _ = start(t, onFreePort(cfg.DataDir))
	kept, err := connect(t, info).Get(bounded(t), rollcall.DefaultPrefix+"/services/jie-test/127.0.0.1:50051")
	if err != nil || len(kept.Kvs) != 1 {
		t.Errorf("after the stop etcd has %v, %v; want the registration", kept, err)
	}
}

func TestReflectionListsEveryService(t *testing.T) {
	t.Parallel()
	info, _ := start(t, serving(filepath.Join(t.TempDir(), "data")))
	stream, err := reflectionpb.NewServerReflectionClient(dial(t, info.GRPC, nil)).ServerReflectionInfo(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	for _, want := range []string{"rollcall.v1.DiscoveryService", "rollcall.v1.RegistrationService", "rollcall.v1.ControlService", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("reflection does not list %s but %v", want, names)
		}
	}
}

func TestAListenerThatIsNotWantedIsNotThere(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]server.Config{"gRPC": {GRPCListen: "127.0.0.1:0"}, "HTTP": {HTTPListen: "127.0.0.1:0"}, "neither": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := onFreePort(filepath.Join(t.TempDir(), "data"))
			own.GRPCListen, own.HTTPListen = cfg.GRPCListen, cfg.HTTPListen
			info, stop := start(t, own)
			if (info.GRPC != "") != (cfg.GRPCListen != "") || (info.HTTP != "") != (cfg.HTTPListen != "") || info.Pprof != "" {
				t.Errorf("listeners are %q, %q and %q", info.GRPC, info.HTTP, info.Pprof)
			}
			if info.HTTP != "" {
				wantGet(t, info.HTTP+"/livez", http.StatusOK)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// held is a call that goes on until the server has had enough of it.
func held(t *testing.T, conn *grpc.ClientConn) (ended <-chan error) {
	t.Helper()
	errs := make(chan error, 1)
	ctx := bounded(t)
	go func() {
		_, err := rollcallv1.NewDiscoveryServiceClient(conn).WaitForRevision(ctx, &rollcallv1.WaitForRevisionRequest{Revision: 1 << 40, Timeout: durationpb.New(time.Minute)})
		errs <- err
	}()
	return errs
}

func TestAServerThatStopsSendsEverybodyAway(t *testing.T) {
	t.Parallel()
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.StopTimeout = 3 * time.Second
	info, stop := start(t, cfg)
	conn := dial(t, info.GRPC, nil)
	awaitHealth(t, conn, "")
	ctx := bounded(t)
	watch, err := rollcallv1.NewDiscoveryServiceClient(conn).Watch(ctx, &rollcallv1.WatchRequest{Service: "jie-test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	health, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := health.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("before the stop health is %v, %v", first, err)
	}

	call := held(t, conn)
	began := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	if second, err := health.Recv(); err != nil || second.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("when the stop begins health is %v, %v, want NOT_SERVING", second, err)
	}
	for err == nil {
		_, err = watch.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a watch ends with %v, want Unavailable: its client goes elsewhere", err)
	}
	if err := <-call; status.Code(err) != codes.Unavailable {
		t.Errorf("a call without end ends with %v, want Unavailable", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the stop returns %v", err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the stop took %v, with a timeout of %v", took, cfg.StopTimeout)
	}
}

func TestTheGuardStandsBeforeGRPCAndHTTP(t *testing.T) {
	t.Parallel()
	var calls, fromHTTP atomic.Int32
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.Guard.Metadata = func(r *http.Request) metadata.MD { return metadata.Pairs("x-who", r.Header.Get("X-Test")) }
	cfg.Guard.Unary = func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if !strings.HasPrefix(info.FullMethod, "/rollcall.v1.") {
			return next(ctx, req)
		}
		calls.Add(1)
		if server.FromHTTP(ctx) {
			fromHTTP.Add(1)
		}
		return nil, status.Error(codes.PermissionDenied, fmt.Sprintf("not you, %v", metadata.ValueFromIncomingContext(ctx, "x-who")))
	}
	info, _ := start(t, cfg)
	ctx := metadata.AppendToOutgoingContext(bounded(t), "x-who", "liar")
	_, err := rollcallv1.NewDiscoveryServiceClient(dial(t, info.GRPC, nil)).GetService(ctx, &rollcallv1.GetServiceRequest{Service: "jie-test"})
	if status.Code(err) != codes.PermissionDenied || fromHTTP.Load() != 0 {
		t.Errorf("a call is answered by %v; from HTTP: %d", err, fromHTTP.Load())
	}
	wantGet(t, info.HTTP+"/v1/services/jie-test", http.StatusForbidden, "not you, []")
	if calls.Load() != 2 || fromHTTP.Load() != 1 {
		t.Errorf("the guard saw %d calls, %d of them from HTTP, want 2 and 1", calls.Load(), fromHTTP.Load())
	}
}

func TestAServerWithSnapshotsStartsWithoutEtcd(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	proxy := faultproxy.Start(t, etcd.Endpoint())
	cfg := server.Config{Etcd: []string{proxy.Addr()}, Prefix: "here", SnapshotDir: t.TempDir(), GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0"}
	info, stop := start(t, cfg)
	conn := dial(t, info.GRPC, nil)
	awaitHealth(t, conn, "")
	register(t, conn, "127.0.0.1:50051")
	watch, err := rollcallv1.NewDiscoveryServiceClient(conn).Watch(bounded(t), &rollcallv1.WatchRequest{Service: "jie-test"})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if answer, err := watch.Recv(); err != nil || len(answer.GetUpdates()) > 0 {
			break
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	proxy.BlackHole()

	info, _ = start(t, cfg)
	awaitHealth(t, dial(t, info.GRPC, nil), "")
	wantGet(t, info.HTTP+"/readyz", http.StatusOK)
	wantGet(t, info.HTTP+"/v1/services/jie-test", http.StatusOK, "127.0.0.1:50051", `"stale":{`)
}

func TestWhatIsKnownIsServedWhileEtcdIsAway(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	info, stop := start(t, server.Config{Etcd: []string{etcd.Endpoint()}, Prefix: "here", GRPCListen: "127.0.0.1:0", HTTPListen: "127.0.0.1:0"})
	conn := dial(t, info.GRPC, nil)
	awaitHealth(t, conn, "")
	register(t, conn, "127.0.0.1:50051")
	etcd.Stop()
	for deadline := time.Now().Add(timeout); ; time.Sleep(50 * time.Millisecond) {
		_, body, err := get(t, info.HTTP+"/v1/services/jie-test", nil)
		if err != nil || !strings.Contains(body, "127.0.0.1:50051") {
			t.Fatalf("the answer is %q, %v, want the instance", body, err)
		}
		if strings.Contains(body, `"stale":{`) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody says that the answer is old")
		}
	}
	wantGet(t, info.HTTP+"/readyz", http.StatusOK)
	awaitHealth(t, conn, "")
	began := time.Now()
	if err := stop(); err != nil || time.Since(began) > 10*time.Second {
		t.Errorf("the stop takes %v and returns %v", time.Since(began), err)
	}
}

func TestAServerWithoutEtcdAndSnapshotsDoesNotStart(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	etcd.Stop()
	for name, user := range map[string]string{"to nobody": "", "to somebody": "jie"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := server.Config{Etcd: []string{etcd.Endpoint()}, EtcdUser: user, EtcdPassword: user, Prefix: "here", GRPCListen: "127.0.0.1:0"}
			err := refused(t, cfg)
			if !errors.Is(err, rollcall.ErrUnreachable) {
				t.Errorf("error is %v, want ErrUnreachable", err)
			}
			wantText(t, err, "connection refused")
		})
	}
}
