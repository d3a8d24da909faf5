package integration

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/doctor"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestADoctorFindsAStoreThatIsFull(t *testing.T) {
	t.Parallel()
	endpoint := startOdd(t, func(cfg *embed.Config) { cfg.QuotaBackendBytes = 4 << 20 })
	client, err := clientv3.New(rollcall.ClientConfig(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	for filler := strings.Repeat("x", 256<<10); err == nil; {
		_, err = client.Put(within(t, 10*time.Second), "filler", filler)
	}
	if !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatal(err)
	}
	_, alarms := doctor.Glance(within(t, 10*time.Second), doctor.Input{Client: client})
	mustEqual(t, "alarms at a glance", alarms, []string{"NOSPACE"})
	r := diagnose(t, doctor.Input{Client: client})
	mustEqual(t, "alarms", len(subjects(r, "alarm-nospace")), 1)
	mustEqual(t, "full members", len(subjects(r, "quota-nearly-full")), 1)
	mustEqual(t, "worst", r.Worst(), doctor.Critical)
	mustEqual(t, "etcds without compaction", len(subjects(r, "compaction-off")), 0) // it is not what ails this one
}

func TestADoctorFindsThatEtcdForgetsNothing(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t)
	client := s.Client(t)
	off := func(in doctor.Input) int {
		in.Client = client
		r := diagnose(t, in)
		return len(subjects(r, "compaction-off"))
	}
	for range 60 {
		put(t, client, "other", "value")
	}
	few := doctor.Thresholds{Revisions: 500}
	mustEqual(t, "found after 60 of 50 changes", off(doctor.Input{Thresholds: few}), 1)
	mustEqual(t, "found by the usual number", off(doctor.Input{}), 0)
	s.Compact(t)
	mustEqual(t, "found after a compaction", off(doctor.Input{Thresholds: few}), 0)

	// From here on a server gives signs, and etcd's memory has dates.
	const sign = `{"Addr":"127.0.0.1:7051","Metadata":{"beat":"2026-01-01T00:00:00Z"},"TTL":15}`
	lease, err := client.Grant(within(t, 5*time.Second), 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(within(t, 5*time.Second), "rollcall/services/rollcall.server/a", sign, clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	s.Compact(t)
	for range 60 {
		put(t, client, "other", "value")
	}
	after := func(d time.Duration) doctor.Input {
		return doctor.Input{Thresholds: doctor.Thresholds{Revisions: 10}, Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(d) }}
	}
	mustEqual(t, "found when it goes back six days", off(after(6*24*time.Hour)), 0)
	mustEqual(t, "found when it goes back seven days", off(after(7*24*time.Hour)), 1)
}
