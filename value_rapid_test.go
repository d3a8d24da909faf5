package rollcall

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// jsonValue draws any JSON value up to a depth, as encoding/json reads it with UseNumber.
func jsonValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.SampledFrom([]any{json.Number("0"), json.Number("-1.5e300"), json.Number("12345678901234567890")}),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	inner := jsonValue(depth - 1)
	return rapid.OneOf(append(scalars,
		rapid.Map(rapid.SliceOfN(inner, 0, 3), func(s []any) any { return s }),
		rapid.Map(rapid.MapOfN(rapid.String(), inner, 0, 3), func(m map[string]any) any { return m }),
	)...)
}

func parseJSON(t *rapid.T, raw []byte) any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

func asJSON(t *rapid.T, v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// someInstance draws one that its writer may have written, of this version or a later one.
func someInstance(t *rapid.T) *Instance {
	text := rapid.StringN(0, 12, -1)
	i := &Instance{
		ID: text.Draw(t, "id"), Addr: "h:1", Zone: text.Draw(t, "zone"), Version: text.Draw(t, "version"),
		Addrs: rapid.MapOfN(text, text, 0, 3).Draw(t, "addrs"), Weight: rapid.IntRange(0, 1<<40).Draw(t, "weight"),
		State: rapid.SampledFrom([]State{"", StateServing, StateDraining, "later"}).Draw(t, "state"),
		TTL:   time.Duration(rapid.IntRange(0, 86400).Draw(t, "ttl")) * time.Second, Incarnation: text.Draw(t, "incarnation"), Holder: text.Draw(t, "holder"),
		Registered: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "registered"), 0).UTC(),
	}
	switch rapid.IntRange(0, 2).Draw(t, "metadata") {
	case 1:
		i.Metadata = rapid.MapOfN(text, text, 0, 4).Draw(t, "strings")
	case 2:
		i.RawMetadata = asJSON(t, jsonValue(3).Draw(t, "raw"))
	}
	i.withDefaults()
	return i
}

// someUnknown draws fields that this version knows nothing of.
func someUnknown(t *rapid.T) map[string]any {
	fields := rapid.MapOfN(rapid.String(), jsonValue(2), 0, 3).Draw(t, "unknown")
	for name := range fields {
		if slices.ContainsFunc(knownFields, func(known string) bool { return strings.EqualFold(known, name) }) {
			delete(fields, name)
		}
	}
	return fields
}

func TestAnyInstanceSurvivesItsValue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want, fields := someInstance(t), someUnknown(t)
		for name, v := range fields {
			if want.unknown == nil {
				want.unknown = map[string]json.RawMessage{}
			}
			want.unknown[name] = asJSON(t, v)
		}
		value, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // as it was written, and as it was written again by somebody who read it
			got, err := decodeInstance(want.ID, value)
			if err != nil {
				t.Fatalf("%s: %v", value, err)
			}
			sameInstance(t, want, got)
			if value, err = got.Clone().encode(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever is read at one go is what encoding/json finds in it, and what we write is read at one go.
func TestAValueIsReadAsEncodingJSONReadsIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		i := someInstance(t)
		if i.RawMetadata != nil && rapid.Bool().Draw(t, "strings only") {
			i.RawMetadata = nil
		}
		if rapid.Bool().Draw(t, "checked") {
			i.Check = &Check{Type: CheckHTTP, Path: rapid.StringN(0, 8, -1).Draw(t, "path"), Interval: 90 * time.Second, TLS: true}
		}
		value, err := i.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := readValue(value); !ok && i.RawMetadata == nil && i.Weight < 1e9 {
			t.Fatalf("%s is not read at one go", value)
		}
		for range rapid.IntRange(0, 3).Draw(t, "blemishes") {
			at := rapid.IntRange(0, len(value)).Draw(t, "at")
			end := rapid.IntRange(at, min(at+2, len(value))).Draw(t, "to")
			value = slices.Concat(value[:at], rapid.SliceOfN(rapid.SampledFrom([]byte("\"\\{}[]:,0-1.e nu\x00\xff\xc3")), 0, 2).Draw(t, "blemish"), value[end:])
		}
		agree(t, value)
	})
}

// agree finds the two readers of a value to find the same in it, or the first to leave it to the other.
func agree(t interface {
	Helper()
	Fatalf(string, ...any)
}, value []byte,
) {
	t.Helper()
	got, ok := readValue(value)
	if !ok {
		return
	}
	want, err := decodeAny(value)
	if err != nil {
		t.Fatalf("%q was read, which encoding/json refuses: %v", value, err)
	}
	want.unknown = nil
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Instance{})); diff != "" {
		t.Fatalf("%q is read another way (-want +got):\n%s", value, diff)
	}
}

// sameInstance compares what JSON can tell apart: raw metadata that are an object of strings are metadata.
func sameInstance(t *rapid.T, want, got *Instance) {
	metadata := func(i *Instance) any {
		switch {
		case i.Metadata != nil:
			return parseJSON(t, asJSON(t, i.Metadata))
		case i.RawMetadata != nil:
			return parseJSON(t, i.RawMetadata)
		}
		return nil
	}
	unknown := func(i *Instance) map[string]any {
		fields := map[string]any{}
		for name, raw := range i.unknown {
			fields[name] = parseJSON(t, raw)
		}
		return fields
	}
	plain := func(i *Instance) Instance {
		c := *i.Clone()
		c.Metadata, c.RawMetadata, c.unknown = nil, nil, nil
		if len(c.Addrs) == 0 {
			c.Addrs = nil // no field is written for none
		}
		return c
	}
	for _, pair := range [][2]any{{metadata(want), metadata(got)}, {unknown(want), unknown(got)}, {plain(want), plain(got)}} {
		if diff := cmp.Diff(pair[0], pair[1], cmp.AllowUnexported(Instance{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
}

// encoding/json does not tell upper from lower case in names. Another writer's "state" must not outlive our goodbye.
func TestNoSpellingOfAFieldOutlivesARewrite(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(knownFields[6:]).Draw(t, "field") // those that are not etcd naming's
		spelling := rapid.SampledFrom([]func(string) string{strings.ToLower, strings.ToUpper}).Draw(t, "spelling")
		plain := asJSON(t, someInstance(t))
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(plain, &fields)
		value := asJSON(t, map[string]any{"Addr": "h:1", "Later": 1, spelling(name): fields[name]})
		i, err := decodeInstance("id", value)
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		i.Weight, i.Zone = 7, "other"
		bye, err := i.farewell()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeInstance("id", bye); err != nil || got.State != stateLeaving || got.Weight != 7 || got.Zone != "other" {
			t.Fatalf("%s, changed and written as %s, reads as %+v, %v", value, bye, got, err)
		}
	})
}

func TestAnyIDSurvivesItsKeyAndSharesItWithNone(t *testing.T) {
	t.Parallel()
	odd := rapid.StringOf(rapid.SampledFrom([]rune("%/25Fa\x00\x1f\x7f:[]ü ")))
	anything := rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })
	ids := rapid.OneOf(odd, rapid.String(), anything)
	rapid.Check(t, func(t *rapid.T) {
		l, err := prefixLayout(rapid.SampledFrom([]string{"", "rollcall", "a/b"}).Draw(t, "prefix"))
		if err != nil {
			t.Fatal(err)
		}
		one, other := ids.Draw(t, "one"), ids.Draw(t, "other")
		key := l.key("svc", one)
		if one != "" && strings.Count(key, "/") != strings.Count(l.dir("svc"), "/") || strings.ContainsFunc(key[len(l.dir("svc")):], isControl) {
			t.Fatalf("%q lies under %q", one, key)
		}
		if id, ok := idOf(l.dir("svc"), key); ok != (one != "") || ok && id != one {
			t.Fatalf("%q came back as %q, %v", one, id, ok)
		}
		if (one == other) != (key == l.key("svc", other)) {
			t.Fatalf("%q and %q under %q", one, other, key)
		}
		if service, ok := l.serviceOf(key); one != "" && (!ok || service != "svc") {
			t.Fatalf("service of %q: %q", key, service)
		}
	})
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
