package server_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/server"
)

// poll asks until an answer will do.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestAServerIsAnInstanceAndMeasuresHowLongThatTakesToBeSeen(t *testing.T) {
	t.Parallel()
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.Canary, cfg.Version = time.Second, "v1.2.3"
	info, stop := start(t, cfg)
	conn := dial(t, info.GRPC, nil)
	discovery, operations := rollcallv1.NewDiscoveryServiceClient(conn), rollcallv1.NewOperationsServiceClient(conn)
	var own *rollcallv1.Instance
	poll(t, "the server is an instance, with a beat", func() bool {
		found, err := discovery.GetService(bounded(t), &rollcallv1.GetServiceRequest{Service: rollcall.ServerService})
		if err == nil && len(found.GetInstances()) == 1 {
			own = found.GetInstances()[0]
		}
		return own.GetMetadata()["beat"] != ""
	})
	if own.GetId() != info.GRPC || own.GetAddr() != info.GRPC || own.GetVersion() != "v1.2.3" || "http://"+own.GetAddrs()["http"] != info.HTTP {
		t.Errorf("the server's instance is %v", own)
	}
	var last *rollcallv1.GetStatusResponse
	poll(t, "the status tells how long it took", func() bool {
		var err error
		last, err = operations.GetStatus(bounded(t), &rollcallv1.GetStatusRequest{})
		return err == nil && last.GetPropagation().GetCount() > 0
	})
	p := last.GetPropagation()
	if p.GetLast().AsDuration() <= 0 || p.GetError() != "" || p.GetMedian().AsDuration() > p.GetP99().AsDuration() {
		t.Errorf("it has measured %v", p)
	}
	if s := last.GetServers(); len(s) != 1 || !s[0].GetSelf() || s[0].GetName() != own.GetId() {
		t.Errorf("the servers are %v", s)
	}
	if m := last.GetEtcd().GetMembers(); len(m) != 1 || !m[0].GetLeader() || m[0].GetError() != "" || !last.GetEtcd().GetEmbedded() {
		t.Errorf("etcd is %v", last.GetEtcd())
	}
	wantGet(t, info.HTTP+"/metrics", http.StatusOK, "rollcall_propagation_seconds_count", "rollcall_propagation_failures_total 0")
	wantGet(t, info.HTTP+"/v1/doctor", http.StatusOK, `"findings":[`, "OUTCOME_WELL")

	_, err := rollcallv1.NewRegistrationServiceClient(conn).Register(bounded(t), &rollcallv1.RegisterRequest{
		Service: rollcall.ServerService, Instance: &rollcallv1.Instance{Addr: "10.0.0.1:1"},
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a program registers as a server: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	info, _ = start(t, onFreePort(cfg.DataDir))
	left, err := connect(t, info).Get(bounded(t), "rollcall/services/"+rollcall.ServerService+"/"+own.GetId())
	if err != nil || len(left.Kvs) != 0 {
		t.Errorf("a server that has stopped is still registered: %v, %v", left, err)
	}
}

// A server that listens everywhere is reached by the machine's name, or what it is told.
func TestAServerAdvertisesWhatOthersCanDial(t *testing.T) {
	t.Parallel()
	cfg := serving(filepath.Join(t.TempDir(), "data"))
	cfg.Canary, cfg.Advertise = time.Second, "registry.example:7051"
	info, _ := start(t, cfg)
	discovery := rollcallv1.NewDiscoveryServiceClient(dial(t, info.GRPC, nil))
	poll(t, "it is registered", func() bool {
		found, err := discovery.GetService(bounded(t), &rollcallv1.GetServiceRequest{Service: rollcall.ServerService})
		return err == nil && len(found.GetInstances()) == 1 && found.GetInstances()[0].GetId() == "registry.example:7051"
	})
	for field, bad := range map[string]server.Config{
		"Canary":        {Canary: time.Millisecond},
		"Advertise":     {Advertise: "nowhere"},
		"HistoryEvents": {HistoryEvents: 3},
	} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("a bad %s is %v", field, err)
		}
	}
}

// tape is a log that can be read while it is written.
type tape struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *tape) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *tape) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Two servers of one name would evict each other for ever.
func TestOfTwoServersWithOneNameTheFirstSaysSoAndLeavesIt(t *testing.T) {
	t.Parallel()
	first := serving(filepath.Join(t.TempDir(), "data"))
	var said tape
	first.Canary, first.Advertise, first.Logger = time.Second, "same:1", slog.New(slog.NewTextHandler(&said, nil))
	info, _ := start(t, first)
	discovery := rollcallv1.NewDiscoveryServiceClient(dial(t, info.GRPC, nil))
	incarnation := func() string {
		found, err := discovery.GetService(bounded(t), &rollcallv1.GetServiceRequest{Service: rollcall.ServerService})
		if err != nil || len(found.GetInstances()) != 1 {
			return ""
		}
		return found.GetInstances()[0].GetIncarnation()
	}
	poll(t, "the first is registered", func() bool { return incarnation() != "" })
	before := incarnation()
	second := server.Config{
		Etcd: info.Endpoints, Prefix: first.Prefix, GRPCListen: "127.0.0.1:0", Canary: time.Second, Advertise: "same:1",
	}
	start(t, second)
	poll(t, "the first says so", func() bool {
		return strings.Contains(said.String(), "another server registers under this one's name") && incarnation() != before
	})
}
