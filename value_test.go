package rollcall

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rollcall-io/rollcall/internal/lease"
)

func TestAnInstanceSurvivesItsValue(t *testing.T) {
	for name, i := range map[string]Instance{
		"little": {Addr: "10.0.0.1:1"},
		"much": {
			ID: "x", Addr: "[::1]:1", Addrs: map[string]string{"http": "h:1"}, Metadata: map[string]string{"a": "b", "ü": "<&>"},
			Zone: "z", Version: "v", Weight: 7, State: StateDraining, TTL: 50 * time.Second, Incarnation: "inc", Holder: "hold",
			Registered: time.Date(2026, 11, 22, 6, 31, 0, 0, time.UTC),
		},
		"raw string":     {Addr: "h:1", RawMetadata: json.RawMessage(`"text"`)},
		"raw object":     {Addr: "h:1", RawMetadata: json.RawMessage(`{"a":1,"b":[true]}`)},
		"raw number":     {Addr: "h:1", RawMetadata: json.RawMessage(`12345678901234567890`)},
		"empty metadata": {Addr: "h:1", Metadata: map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			i.withDefaults()
			value, err := i.encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := decodeInstance(i.ID, value)
			if err != nil {
				t.Fatalf("%s: %v", value, err)
			}
			if diff := cmp.Diff(&i, got, cmpopts.IgnoreUnexported(Instance{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", value, diff)
			}
		})
	}
}

func TestABareUpdateIsAnInstanceWithDefaults(t *testing.T) {
	got, err := decodeInstance("id", []byte(`{"Op":0,"Addr":"10.0.0.1:1","Metadata":"team a"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Instance{ID: "id", Addr: "10.0.0.1:1", Weight: DefaultWeight, State: StateServing, RawMetadata: json.RawMessage(`"team a"`)}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Instance{})); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownFieldsAreKeptOnRewrite(t *testing.T) {
	const value = `{"Op":0,"Addr":"h:1","Metadata":null,"Future":{"deep":[1,2]},"Weight":3,"Also":"this"}`
	i, err := decodeInstance("h:1", []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	i.Weight = 4
	again, err := i.Clone().encode()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(again, &got); err != nil {
		t.Fatalf("%s: %v", again, err)
	}
	if diff := cmp.Diff(map[string]any{"deep": []any{1.0, 2.0}}, got["Future"]); diff != "" || got["Also"] != "this" || got["Weight"] != 4.0 {
		t.Errorf("rewritten as %s", again)
	}
}

func TestMetadataOfAnyShapeSurvives(t *testing.T) {
	for _, raw := range []string{`"s"`, `1`, `1.5`, `true`, `[1,"a"]`, `{"a":1}`, `{"a":null}`, `{"a":{"b":"c"}}`} {
		i, err := decodeInstance("x", []byte(`{"Addr":"h:1","Metadata":`+raw+`}`))
		if err != nil {
			t.Fatal(err)
		}
		value, err := i.encode()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(value), `"Metadata":`+raw+`,`) {
			t.Errorf("%s became %s", raw, value)
		}
	}
}

func TestTheFarewellReadsAsGone(t *testing.T) {
	i := Instance{Addr: "h:1", Incarnation: "a", Holder: "b"}
	i.withDefaults()
	value, err := i.farewell()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeInstance("h:1", value); err != nil || got.State != stateLeaving {
		t.Errorf("%s: %v, %v", value, got, err)
	}
	if got, want := ownerOf(value), (lease.Owner{Incarnation: "a", Holder: "b"}); got != want {
		t.Errorf("owner of %s: %v", value, got)
	}
}

func TestWhatIsNotOneJSONValueIsNoInstance(t *testing.T) {
	for _, value := range []string{`{"Addr":"h:1"}]`, `{"Addr":"h:1"}}}trailing`, `{"Addr":"h:1"}{}`, `{"Addr":"h:1"} x`} {
		if i, err := decodeInstance("id", []byte(value)); err == nil {
			t.Errorf("%s was read as %+v", value, i)
		}
	}
}

func FuzzNoValueDoesHarm(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"Addr":"h:1"}`, `{"Addr":"h:1","Metadata":{"a":null}}`, `{"Addr":"h:1","Weight":-1}`,
		`{"Addr":"h:1"}{}`, `{"Addr":"h:1"}]`, `{"Addr":"h:1"}}} x`, `{"Addr":"h:1","X":1}`, `{"addr":"h:1"}`, `{"Addr":"h:1","Registered":"yesterday"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		ownerOf(value)
		agree(t, value)
		i, err := decodeInstance("id", value)
		if err != nil {
			return
		}
		if i.Addr == "" || i.Weight <= 0 || i.State == "" {
			t.Errorf("%s read as %+v", value, i)
		}
		again, err := i.encode()
		if err != nil {
			t.Fatalf("%s cannot be written again: %v", value, err)
		}
		back, err := decodeInstance("id", again)
		if err != nil {
			t.Fatalf("%s, written again as %s: %v", value, again, err)
		}
		if diff := cmp.Diff(i, back, cmpopts.IgnoreUnexported(Instance{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s changed: %s", value, diff)
		}
	})
}
