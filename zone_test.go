package rollcall

import (
	"errors"
	"strings"
	"testing"
)

func TestZoneIsTheOptionsElseTheEnvironments(t *testing.T) {
	for name, tc := range map[string]struct {
		env  string
		opts []Option
		want string
	}{
		"neither":              {"", nil, ""},
		"the environment":      {"eu-1a", nil, "eu-1a"},
		"the option":           {"", []Option{WithZone("eu-1b")}, "eu-1b"},
		"the option over it":   {"eu-1a", []Option{WithZone("eu-1b")}, "eu-1b"},
		"none, said so":        {"eu-1a", []Option{WithZone("")}, ""},
		"a bad one overridden": {"a b", []Option{WithZone("eu-1b")}, "eu-1b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ROLLCALL_ZONE", tc.env)
			if got := deaf(t, tc.opts...).Zone(); got != tc.want {
				t.Errorf("Zone() = %q, want %q", got, tc.want)
			}
		})
	}
}

func TestBadZoneIsRefusedByTheNameOfWhereItStands(t *testing.T) {
	for name, tc := range map[string]struct {
		env  string
		opts []Option
		want []string
	}{
		"option":      {"", []Option{WithZone("eu 1")}, []string{"zone", `"eu 1"`, "without spaces"}},
		"environment": {"eu\n", nil, []string{"ROLLCALL_ZONE", `"eu\n"`, "without spaces"}},
		"long":        {"", []Option{WithZone(strings.Repeat("z", 254))}, []string{"zone", "253"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ROLLCALL_ZONE", tc.env)
			_, err := Open(ClientConfig("127.0.0.1:1"), tc.opts...)
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("Open: %v, want an InvalidError", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not contain %q", err, want)
				}
			}
			if err := New(nil, tc.opts...).Validate("svc", nil); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want[0]) {
				t.Errorf("a call on a registry of New: %v, want the same", err)
			}
		})
	}
}

func TestInstanceWithoutAZoneGetsTheRegistrys(t *testing.T) {
	reg := deaf(t, WithZone("eu-1a"))
	for own, want := range map[string]string{"": "eu-1a", "eu-1b": "eu-1b"} {
		g, err := reg.newRegistration("svc", Instance{Addr: "10.0.0.1:1", Zone: own}, registerSettingsOf(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Instance().Zone; got != want {
			t.Errorf("registered with zone %q it has %q, want %q", own, got, want)
		}
	}
}
