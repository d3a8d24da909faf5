package resolver

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/resolver"
)

func target(t *testing.T, s string) resolver.Target {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return resolver.Target{URL: *u}
}

func TestTargetNamesAServiceAndSelects(t *testing.T) {
	for s, want := range map[string]string{
		"rollcall:///helloworld.Greeter":           "helloworld.Greeter",
		"rollcall:helloworld.Greeter":              "helloworld.Greeter",
		"ROLLCALL:///helloworld.Greeter":           "helloworld.Greeter",
		"rollcall:///jie-test?":                    "jie-test",
		"rollcall:///jie-test?version=v2":          "jie-test?version=v2",
		"rollcall:///jie-test?zone=b&zone=a":       "jie-test?zone=a&zone=b",
		"rollcall:///jie-test?zone=b&version=v2":   "jie-test?version=v2&zone=b",
		"rollcall:///jie-test?zone=eu%2Fwest%26a":  "jie-test?zone=eu%2Fwest%26a",
		"rollcall:jie-test?version=v%20&version=v": "jie-test?version=v&version=v+",
	} {
		got, err := parseTarget(target(t, s))
		if err != nil || got.String() != want {
			t.Errorf("parseTarget(%q) = %q, %v; want %s", s, got, err, want)
		}
	}
}

func TestSelectionTakesAnyOfTheValuesAndAllOfTheParameters(t *testing.T) {
	in := func(zone, version string) *rollcall.Instance {
		i := instance("a", "h:1", 1)
		i.Zone, i.Version = zone, version
		return i
	}
	for query, want := range map[string][]bool{ // for the instances below
		"":                         {true, true, true, true},
		"zone=a":                   {true, false, true, false},
		"zone=a&zone=b":            {true, true, true, false},
		"version=1":                {true, true, false, false},
		"version=1&version=2":      {true, true, true, false},
		"zone=a&version=2":         {false, false, true, false},
		"zone=b&version=2":         {false, false, false, false},
		"zone=a&zone=b&version=1&": {true, true, false, false},
	} {
		sel, err := parseTarget(target(t, "rollcall:///jie-test?"+query))
		if err != nil {
			t.Fatal(err)
		}
		keep := sel.keep()
		if keep == nil {
			keep = func(*rollcall.Instance) bool { return true }
		}
		got := []bool{keep(in("a", "1")), keep(in("b", "1")), keep(in("a", "2")), keep(in("", ""))}
		if !slices.Equal(got, want) {
			t.Errorf("%q keeps %v, want %v", query, got, want)
		}
	}
}

// refusals are malformed targets, each with what is said about it.
var refusals = map[string]string{
	"rollcall:///jie-test?version=2&env=x": `query parameter "env" with the value "x" is not understood: the parameters are version, zone`,
	"rollcall:///jie-test?Zone=a":          `query parameter "Zone" with the value "a" is not understood`,
	"rollcall:///jie-test?=a":              `query parameter "" with the value "a" is not understood`,
	"rollcall:///jie-test?zone=":           `query parameter "zone" has the value "": leave it out`,
	"rollcall:///jie-test?zone":            `query parameter "zone" has the value "": leave it out`,
	"rollcall:///jie-test?zone=a&zone=":    `query parameter "zone" has the value "": leave it out`,
	"rollcall:///jie-test?zone=a&zone=%61": `query parameter "zone" has the value "a" twice: give each value once`,
	"rollcall:///jie-test?%zz":             `query "%zz"`,
	"rollcall:///jie-test?zone=a;zone=b":   `query "zone=a;zone=b"`,
	"rollcall://eu-west/jie-test":          `authority "eu-west"`,
	"rollcall://me:secret@eu/jie-test":     `authority "eu"`,
	"rollcall:///jie-test#a":               `fragment "a"`,
	"rollcall:///":                         `names no service`,
	"rollcall:///?zone=a":                  `names no service`,
	"rollcall://jie-test":                  `authority "jie-test"`,
}

func TestMalformedTargetIsRefusedByParameterValueAndRule(t *testing.T) {
	for s, want := range refusals {
		_, err := parseTarget(target(t, s))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `target "rollcall://`) || strings.Contains(err.Error(), "secret") {
			t.Errorf("parseTarget(%q): %v; want an error that names the target and contains %s", s, err, want)
		}
	}
}

func TestValidateSaysWhatCallsWouldFailWith(t *testing.T) {
	reg := unreachable(t)
	for s, want := range refusals {
		if err := Validate(reg, s); !errors.Is(err, rollcall.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate(%q): %v; want an InvalidError that contains %s", s, err, want)
		}
	}
	for s, want := range map[string]string{"rollcall:///-jie": "a service name is", "rollcall:///a%2Fb": "a service name is", "rollcall:///%zz": "URL"} {
		if err := Validate(reg, s); !errors.Is(err, rollcall.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate(%q): %v; want an InvalidError that contains %s", s, err, want)
		}
	}
	if err := Validate(rollcall.New(nil), "rollcall:///jie-test"); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("Validate with an invalid registry: %v; want an InvalidError", err)
	}
	_ = reg.Close(t.Context())
	if err := Validate(reg, "rollcall:///jie-test?zone=a"); err != nil {
		t.Errorf("Validate of a good target with a closed registry: %v", err)
	}
}

func TestAuthorityIsTheServiceName(t *testing.T) {
	b := NewBuilder(nil).(resolver.AuthorityOverrider)
	for s, want := range map[string]string{
		"rollcall:///helloworld.Greeter": "helloworld.Greeter",
		"rollcall:///shop/cart":          "shop%2Fcart", // no service name, but still a header that gRPC accepts
	} {
		if got := b.OverrideAuthority(target(t, s)); got != want {
			t.Errorf("OverrideAuthority(%q) = %q, want %q", s, got, want)
		}
	}
}
