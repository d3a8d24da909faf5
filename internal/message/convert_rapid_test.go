package message

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func drawTime(t *rapid.T, name string) time.Time {
	if rapid.Bool().Draw(t, name+" is set") {
		return time.Unix(rapid.Int64Range(-1<<35, 1<<37).Draw(t, name), rapid.Int64Range(0, 999999999).Draw(t, name+" ns")).UTC()
	}
	return time.Time{}
}

func drawTexts(t *rapid.T, name string) map[string]string {
	m := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4).Draw(t, name)
	if len(m) == 0 {
		return nil
	}
	return m
}

func drawOverride(t *rapid.T) *rollcall.Override {
	return &rollcall.Override{
		Drain: rapid.Bool().Draw(t, "drain"), Weight: int(rapid.Int32().Draw(t, "override")), Reason: rapid.String().Draw(t, "reason"),
		Author: rapid.String().Draw(t, "author"), Since: drawTime(t, "since"), Until: drawTime(t, "until"), Revision: rapid.Int64().Draw(t, "decided"),
	}
}

func drawInstance(t *rapid.T) *rollcall.Instance {
	i := &rollcall.Instance{
		ID: rapid.String().Draw(t, "id"), Addr: rapid.String().Draw(t, "addr"), Addrs: drawTexts(t, "addrs"), Metadata: drawTexts(t, "metadata"),
		Zone: rapid.String().Draw(t, "zone"), Version: rapid.String().Draw(t, "version"), Weight: int(rapid.Int32().Draw(t, "weight")),
		State: rollcall.State(rapid.SampledFrom([]string{"", "serving", "draining", "other"}).Draw(t, "state")),
		TTL:   time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "ttl")), Incarnation: rapid.String().Draw(t, "incarnation"),
		Registered: drawTime(t, "registered"), Revision: rapid.Int64().Draw(t, "revision"), CreateRevision: rapid.Int64().Draw(t, "created"),
		Suspect: rapid.Bool().Draw(t, "suspect"),
	}
	if rapid.Bool().Draw(t, "overridden") {
		i.Override = drawOverride(t)
	}
	if i.Metadata == nil {
		if raw := rapid.SampledFrom([]string{"", `null`, `[1,{"a":"b"}]`, `"text"`, `{"a":{"b":[null,true,1.5]}}`}).Draw(t, "raw"); raw != "" {
			i.RawMetadata = json.RawMessage(raw)
		}
	}
	return i
}

// wired returns what a client has of a message that came over the wire, and fails when it cannot be written as JSON.
func wired[M proto.Message](t *rapid.T, m, into M) M {
	bytes, err := proto.Marshal(m)
	if err == nil {
		err = proto.Unmarshal(bytes, into)
	}
	if err == nil {
		_, err = protojson.Marshal(into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return into
}

func TestAnInstanceIsTheSameBehindTheApi(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawInstance(t)
		m := wired(t, Instance(want), &rollcallv1.Instance{})
		got := InstanceOf(m)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(rollcall.Instance{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if m.GetEffectiveState() != string(want.EffectiveState()) || m.GetEffectiveWeight() != int32(want.EffectiveWeight()) {
			t.Fatalf("what counts: %v", m)
		}
	})
}

func TestWhatOthersWroteKeepsNoMessageFromBeingSent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		bytes := func(name string) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, name)) }
		i := &rollcall.Instance{
			ID: bytes("id"), Addr: bytes("addr"), Metadata: map[string]string{bytes("key"): bytes("value")}, Addrs: map[string]string{bytes("name"): bytes("addr")},
			Zone: bytes("zone"), Version: bytes("version"), Incarnation: bytes("incarnation"), State: rollcall.State(bytes("state")),
			Weight: rapid.Int().Draw(t, "weight"), TTL: time.Duration(rapid.Int64().Draw(t, "ttl")),
			Registered: time.Date(rapid.IntRange(-5, 12000).Draw(t, "year"), 1, 1, 0, 0, 0, 0, time.UTC), RawMetadata: json.RawMessage(bytes("raw")),
			Override: &rollcall.Override{Reason: bytes("reason"), Author: bytes("author"), Until: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)},
		}
		wired(t, Instance(i), &rollcallv1.Instance{})
	})
}

func TestWhatRollcallSetsIsIgnoredInRequests(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		drawn := drawInstance(t)
		got := Requested(Instance(drawn))
		want := rollcall.Instance{
			ID: drawn.ID, Addr: drawn.Addr, Addrs: drawn.Addrs, Metadata: drawn.Metadata, Zone: drawn.Zone, Version: drawn.Version,
			Weight: drawn.Weight, State: drawn.State,
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(rollcall.Instance{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

func drawPolicy(t *rapid.T) rollcall.Policy {
	p := rollcall.Policy{
		Timeout: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "timeout")), Reason: rapid.StringN(0, 100, 1000).Draw(t, "why"),
		Author: rapid.StringN(0, 50, 200).Draw(t, "who"), Since: drawTime(t, "since").Truncate(time.Second), Revision: rapid.Int64Range(-1, 1<<60).Draw(t, "revision"),
	}
	if p.Since.Year() < 0 || p.Since.Year() > 9999 {
		p.Since = time.Time{}
	}
	if rapid.Bool().Draw(t, "balancing") {
		p.Balancing = rollcall.Balancing{
			Pick: rollcall.LeastRequest, Split: map[string]float64{"v2": rapid.Float64Range(0, 50).Draw(t, "split")},
			SlowStart: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "slow start")), Subset: rollcall.Subset{Size: rapid.IntRange(0, 1<<20).Draw(t, "subset")},
		}
	}
	if rapid.Bool().Draw(t, "retry") {
		p.Retry = &rollcall.Retry{Attempts: rapid.IntRange(2, 5).Draw(t, "attempts"), On: []string{"ABORTED"}}
	}
	if rapid.Bool().Draw(t, "guard") {
		p.Guard = &rollcall.GuardPolicy{Disabled: rapid.Bool().Draw(t, "disabled"), Least: rapid.IntRange(0, 100).Draw(t, "least")}
	}
	return p
}

func TestAPolicyIsTheSameBehindTheApi(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawPolicy(t)
		m, err := Policy(&want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := PolicyOf(wired(t, m, &rollcallv1.Policy{}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
