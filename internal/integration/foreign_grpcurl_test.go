package integration

import (
	"bufio"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall"
)

// rollcallInstance is an instance as the tests of foreign programs have it.
func rollcallInstance(addr, zone string) rollcall.Instance {
	return rollcall.Instance{Addr: addr, Zone: zone, Metadata: map[string]string{"team": "jie"}}
}

// grpcurl asks a server by reflection.
func grpcurl(t *testing.T, s *serverProcess, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(within(t, processPatience), programOf(t, "grpcurl"), slices.Insert(args, 0, "-plaintext")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("grpcurl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestGrpcurlFindsItsWayByReflection(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	s := serveProcess(t, etcd)
	const api, discovery = "rollcall.v1.RegistrationService", "rollcall.v1.DiscoveryService"
	services := strings.Fields(grpcurl(t, s, s.grpc, "list"))
	for _, want := range []string{api, discovery, "rollcall.v1.ControlService", "grpc.health.v1.Health"} {
		if !slices.Contains(services, want) {
			t.Errorf("grpcurl lists %v, without %s", services, want)
		}
	}
	if got := grpcurl(t, s, s.grpc, "describe", api+".Register"); !strings.Contains(got, "rpc Register ( .rollcall.v1.RegisterRequest ) returns ( .rollcall.v1.RegisterResponse )") {
		t.Errorf("grpcurl describes Register as\n%s", got)
	}

	watching := exec.CommandContext(t.Context(), programOf(t, "grpcurl"), "-plaintext", "-d", `{"service": "orders"}`, s.grpc, discovery+"/Watch")
	tie(watching)
	out, err := watching.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watching.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = watching.Process.Kill()
		_ = watching.Wait()
	}()
	told := json.NewDecoder(bufio.NewReader(out))
	if first := grpcurlNext(t, told); !first.Snapshot || len(first.Updates) > 0 {
		t.Errorf("a watch begins with %+v", first)
	}

	w := watch(t, reg, "orders")
	var registered struct{ Token string }
	decode(t, grpcurl(t, s, "-d", `{"service": "orders", "instance": {"addr": "10.0.0.1:8080"}, "ttl": "60s"}`, s.grpc, api+"/Register"), &registered)
	until(t, w, processPatience, "the instance", hasIDs("10.0.0.1:8080"))
	if next := grpcurlNext(t, told); len(next.Updates) != 1 || next.Updates[0].Instance.Addr != "10.0.0.1:8080" {
		t.Errorf("the watch goes on with %+v", next)
	}
	decode(t, grpcurl(t, s, "-d", `{"service": "orders", "id": "10.0.0.1:8080", "token": "`+registered.Token+`"}`, s.grpc, api+"/Deregister"), new(struct{}))
	wantGoodbye(t, w, "10.0.0.1:8080")
	if next := grpcurlNext(t, told); len(next.Updates) != 1 || next.Updates[0].Op != "OP_DELETE" {
		t.Errorf("the watch ends with %+v", next)
	}
}

// grpcurlWatch is what a test reads of a WatchResponse.
type grpcurlWatch struct {
	Snapshot bool
	Updates  []struct {
		Op       string
		Instance struct{ Addr string }
	}
}

func grpcurlNext(t *testing.T, from *json.Decoder) grpcurlWatch {
	t.Helper()
	var next grpcurlWatch
	if err := from.Decode(&next); err != nil {
		t.Fatal(err)
	}
	return next
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
}
