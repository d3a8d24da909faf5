package rollcall

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestKeysOfEachLayout(t *testing.T) {
	must := func(l layout, err error) layout {
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for _, tt := range []struct {
		layout            layout
		service, id, want string
	}{
		{must(prefixLayout("rollcall")), "jie-test", "10.0.0.7:50051", "rollcall/services/jie-test/10.0.0.7:50051"},
		{must(prefixLayout("team/a")), "x", "y", "team/a/services/x/y"},
		{must(prefixLayout("")), "jie-test", "[::1]:1", "jie-test/[::1]:1"},
		{must(flatLayout("a/b/")), "svc", "x/y", "a/b/svc/x%2Fy"},
		{must(prefixLayout("p")), "svc", "100%\n", "p/services/svc/100%25%0A"},
	} {
		key := tt.layout.key(tt.service, tt.id)
		if key != tt.want {
			t.Errorf("key %q, want %q", key, tt.want)
		}
		if id, ok := idOf(tt.layout.dir(tt.service), key); !ok || id != tt.id {
			t.Errorf("id of %q: %q, %v", key, id, ok)
		}
		if service, ok := tt.layout.serviceOf(key); !ok || service != tt.service {
			t.Errorf("service of %q: %q, %v", key, service, ok)
		}
	}
}

func TestKeysOfOthersAreNobodysInstances(t *testing.T) {
	for _, key := range []string{"svc/", "svc/a/b", "svc", "svcx/a", "sv/a", ""} {
		if id, ok := idOf("svc/", key); ok {
			t.Errorf("%q is instance %q", key, id)
		}
	}
}

func FuzzIDsSurviveTheirKey(f *testing.F) {
	for _, id := range []string{"10.0.0.7:50051", "a/b", "%2F", "%", "%zz", "\x00\x7f", "ü", "%2f", "%41", "a%2"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		escaped := escapeID(id)
		if strings.ContainsAny(escaped, "/\x00\n") {
			t.Errorf("%q escapes to %q", id, escaped)
		}
		if got := unescapeID(escaped); got != id {
			t.Errorf("%q came back as %q", id, got)
		}
		if utf8.ValidString(id) != utf8.ValidString(escaped) {
			t.Errorf("%q: escaping changed whether it is UTF-8", id)
		}
	})
}
