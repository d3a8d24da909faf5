package server_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/server"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// registryOn is one of a program that uses the library.
func registryOn(t *testing.T, endpoint string) *rollcall.Registry {
	t.Helper()
	reg, err := rollcall.Open(rollcall.ClientConfig(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // the server has ended with the test: there is nobody to say goodbye to
		_ = reg.Close(ctx)
	})
	return reg
}

// enlist registers an instance that heals itself within seconds.
func enlist(t *testing.T, reg *rollcall.Registry, port int) *rollcall.Registration {
	t.Helper()
	g, err := reg.Register(bounded(t), "web", rollcall.Instance{Addr: fmt.Sprintf("127.0.0.1:%d", port)}, rollcall.WithTTL(rollcall.MinTTL))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func ids(v *rollcall.View) []string {
	var all []string
	for _, i := range v.Instances {
		all = append(all, i.ID)
	}
	return all
}

// witness follows a service, and says what must never be seen of it.
type witness struct {
	mu      sync.Mutex
	always  []string // who must be in every view
	views   []*rollcall.View
	faults  []string
	changed chan struct{}
}

func observe(t *testing.T, reg *rollcall.Registry, always ...string) *witness {
	t.Helper()
	w := &witness{always: always, changed: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for v, err := range reg.Watch("web").Views(ctx) {
			if err == nil {
				w.see(v)
			}
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return w
}

func (w *witness) see(v *rollcall.View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.views); n > 0 && v.Revision < w.views[n-1].Revision {
		w.faults = append(w.faults, fmt.Sprintf("revision %d after %d", v.Revision, w.views[n-1].Revision))
	}
	for _, id := range w.always {
		if _, there := v.Get(id); !there && len(w.views) > 0 {
			w.faults = append(w.faults, fmt.Sprintf("no %s at revision %d, only %v", id, v.Revision, ids(v)))
		}
	}
	w.views = append(w.views, v)
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// await waits until the view is current and has just these instances.
func (w *witness) await(t *testing.T, want ...string) {
	t.Helper()
	late := time.After(timeout)
	for {
		w.mu.Lock()
		var got []string
		current := false
		if n := len(w.views); n > 0 {
			got, current = ids(w.views[n-1]), w.views[n-1].StaleSince.IsZero()
		}
		w.mu.Unlock()
		if current && cmp.Equal(want, got) {
			return
		}
		select {
		case <-w.changed:
		case <-late:
			t.Fatalf("instances are %v (current: %t), want %v", got, current, want)
		}
	}
}

func (w *witness) verify(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fault := range w.faults {
		t.Error(fault)
	}
}

// fill writes through the registry until etcd has no room.
func fill(t *testing.T, g *rollcall.Registration) {
	t.Helper()
	for i := range 10_000 {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := g.Update(ctx, func(inst *rollcall.Instance) {
			inst.Metadata = map[string]string{"n": fmt.Sprint(i), "fill": strings.Repeat("x", 14<<10)}
		})
		cancel()
		if err != nil {
			wantText(t, err, "database space exceeded")
			return
		}
	}
	t.Fatal("the store is never full")
}

func TestAFullStoreIsBroughtBackToRunning(t *testing.T) {
	t.Parallel()
	cfg := onFreePort(filepath.Join(t.TempDir(), "data"))
	cfg.QuotaBytes = 16 << 20
	info, _ := start(t, cfg)
	reg := registryOn(t, info.Endpoints[0])
	first, second := enlist(t, reg, 1), enlist(t, reg, 2)
	seen := observe(t, registryOn(t, info.Endpoints[0]), first.Instance().ID, second.Instance().ID)
	seen.await(t, first.Instance().ID, second.Instance().ID)
	for range 44 { // a quarter of a MiB each; what is left until it is full, on a slow disk nothing, is the registry's to fill
		if _, err := connect(t, info).Put(bounded(t), "waste", strings.Repeat("x", 256<<10)); err == rpctypes.ErrNoSpace {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	fill(t, first)

	care := careOf(t, info.Endpoints[0])
	r, err := care.Disarm(bounded(t), server.Disarming{})
	if full, ok := errors.AsType[*server.FullError](err); !ok || full.Member.Quota != cfg.QuotaBytes || len(r.Alarms) != 1 || r.Alarms[0].Kind != "NOSPACE" {
		t.Fatalf("a full store is disarmed: %+v, %v", r, err)
	}
	wantText(t, err, "no room", "of 16 MiB", "--compact")
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := registryOn(t, info.Endpoints[0]).Register(short, "web", rollcall.Instance{Addr: "127.0.0.1:3"}); err == nil {
		t.Error("a full store takes a registration")
	}

	r, err = care.Disarm(bounded(t), server.Disarming{Compact: true, Each: timeout})
	if err != nil || len(r.Disarmed) != 1 || r.Compacted == 0 || len(r.Defragged) == 0 {
		t.Fatalf("it is not brought back: %+v, %v", r, err)
	}
	third := enlist(t, registryOn(t, info.Endpoints[0]), 4)
	seen.await(t, first.Instance().ID, second.Instance().ID, third.Instance().ID)
	seen.verify(t)
	if r, err := care.Disarm(bounded(t), server.Disarming{}); err != nil || len(r.Alarms) > 0 {
		t.Errorf("then there are %+v, %v", r.Alarms, err)
	}
}

func TestCorruptDataIsToldAndItsAlarmEndsWithTheMember(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	care, client := careOf(t, etcd.Endpoint()), etcd.Client(t)
	all, _, err := care.Members(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	const gone = 0x1234
	raise := func(id uint64) {
		t.Helper()
		_, err := pb.NewMaintenanceClient(client.ActiveConnection()).Alarm(bounded(t), &pb.AlarmRequest{
			Action: pb.AlarmRequest_ACTIVATE, MemberID: id, Alarm: pb.AlarmType_CORRUPT,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	raise(gone)
	if r, err := care.Disarm(bounded(t), server.Disarming{}); err != nil || len(r.Disarmed) != 1 || r.Disarmed[0].Member.ID != gone {
		t.Errorf("the alarm of a member that was taken out is not ended: %+v, %v", r, err)
	}
	raise(all[0].ID)
	r, err := care.Disarm(bounded(t), server.Disarming{Force: true})
	if corrupt, ok := errors.AsType[*server.CorruptError](err); !ok || len(corrupt.Members) != 1 || len(r.Disarmed) > 0 {
		t.Errorf("a member with corrupt data is %+v, %v", r, err)
	}
}
