package resolver

import (
	"net/url"
	"strings"
	"testing"

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

func TestTargetNamesAService(t *testing.T) {
	for _, s := range []string{"rollcall:///helloworld.Greeter", "rollcall:helloworld.Greeter", "ROLLCALL:///helloworld.Greeter"} {
		got, err := parseTarget(target(t, s))
		if err != nil || got != "helloworld.Greeter" {
			t.Errorf("parseTarget(%q) = %q, %v; want helloworld.Greeter", s, got, err)
		}
	}
}

func TestTargetThatAsksForMoreIsRefusedByName(t *testing.T) {
	for s, want := range map[string]string{
		"rollcall:///jie-test?zone=a":          `query parameter "zone"`,
		"rollcall:///jie-test?version=2&env=x": `query parameter "env"`,
		"rollcall:///jie-test?%zz":             `query "%zz"`,
		"rollcall://eu-west/jie-test":          `authority "eu-west"`,
		"rollcall://me:secret@eu/jie-test":     `authority "eu"`,
		"rollcall:///jie-test#a":               `fragment "a"`,
		"rollcall:///":                         `names no service`,
		"rollcall://jie-test":                  `authority "jie-test"`,
	} {
		_, err := parseTarget(target(t, s))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("parseTarget(%q): %v; want an error that contains %s", s, err, want)
		}
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
