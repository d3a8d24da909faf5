package authz

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAFileOfRulesThatIsNotExactlyThatIsRefused(t *testing.T) {
	t.Parallel()
	const good = "rules:\n- identities: ['token:ci']\n  verbs: [read]\n  services: ['*']\n"
	mustParse(t, good)
	for what, text := range map[string]string{
		"nothing":                          "",
		"a comment":                        "# rules\n",
		"no rules":                         "rules: []\n",
		"another key":                      good + "rulez: []\n",
		"a key twice":                      good + good,
		"another key in a rule":            good + "  deny: true\n",
		"two documents":                    good + "---\n" + good,
		"a list":                           "- a\n",
		"a word":                           "rules\n",
		"CVE-2021-36213: another verb":     "rules:\n- {identities: ['token:ci'], verbs: [write], services: ['*']}\n",
		"an empty verb":                    "rules:\n- {identities: ['token:ci'], verbs: [''], services: ['*']}\n",
		"an inner verb":                    "rules:\n- {identities: ['token:ci'], verbs: [known], services: ['*']}\n",
		"all verbs":                        "rules:\n- {identities: ['token:ci'], verbs: ['*'], services: ['*']}\n",
		"a verb in capitals":               "rules:\n- {identities: ['token:ci'], verbs: [READ], services: ['*']}\n",
		"no verb":                          "rules:\n- {identities: ['token:ci'], services: ['*']}\n",
		"no identity":                      "rules:\n- {verbs: [read], services: ['*']}\n",
		"an empty identity":                "rules:\n- {identities: [''], verbs: [read], services: ['*']}\n",
		"an identity that is not there":    "rules:\n- {identities: [~], verbs: [read], services: ['*']}\n",
		"an identity of no kind":           "rules:\n- {identities: [ci], verbs: [read], services: ['*']}\n",
		"an identity of another kind":      "rules:\n- {identities: ['cn:ci'], verbs: [read], services: ['*']}\n",
		"an identity without a name":       "rules:\n- {identities: ['token:'], verbs: [read], services: ['*']}\n",
		"a * in the middle":                "rules:\n- {identities: ['token:*i'], verbs: [read], services: ['*']}\n",
		"a SPIFFE id without a domain":     "rules:\n- {identities: ['spiffe://td/a'], verbs: [read], services: ['*']}\n",
		"a SPIFFE id of another domain":    "trustDomain: td\nrules:\n- {identities: ['spiffe://td2/a'], verbs: [read], services: ['*']}\n",
		"every SPIFFE id's beginning":      "trustDomain: td\nrules:\n- {identities: ['spiffe://t*'], verbs: [read], services: ['*']}\n",
		"a trust domain that is none":      "trustDomain: TD/x\n" + good,
		"no services":                      "rules:\n- {identities: ['token:ci'], verbs: [read]}\n",
		"an empty service":                 "rules:\n- {identities: ['token:ci'], verbs: [read], services: ['']}\n",
		"a service that cannot be":         "rules:\n- {identities: ['token:ci'], verbs: [read], services: ['a/b']}\n",
		"a * within a service":             "rules:\n- {identities: ['token:ci'], verbs: [read], services: ['a*b']}\n",
		"a place without one":              "rules:\n- {identities: ['token:ci'], verbs: [read], services: ['{service}']}\n",
		"a place within a segment":         "trustDomain: td\nrules:\n- {identities: ['spiffe://td/x{service}'], verbs: [read], services: ['{service}']}\n",
		"a place of another name":          "trustDomain: td\nrules:\n- {identities: ['spiffe://td/{svc}'], verbs: [read], services: [a]}\n",
		"a place twice":                    "trustDomain: td\nrules:\n- {identities: ['spiffe://td/{service}/{service}'], verbs: [read], services: ['{service}']}\n",
		"a place in a token's name":        "rules:\n- {identities: ['token:{service}'], verbs: [read], services: ['{service}']}\n",
		"a place with a *":                 "trustDomain: td\nrules:\n- {identities: ['spiffe://td/{service}/*'], verbs: [read], services: ['{service}']}\n",
		"an own address without register":  "rules:\n- {identities: ['token:ci'], verbs: [read], services: ['*'], ownAddress: true}\n",
		"an own address that is a word":    "rules:\n- {identities: ['token:ci'], verbs: [register], services: ['*'], ownAddress: 'yes please'}\n",
		"a network that is none":           "rules:\n- {identities: ['token:ci'], verbs: [register], services: ['*'], ownAddress: [10.0.0.1/8]}\n",
		"no networks":                      "rules:\n- {identities: ['token:ci'], verbs: [register], services: ['*'], ownAddress: []}\n",
		"a limit below nothing":            good + "limits: {streams: -1}\n",
		"another limit":                    good + "limits: {memory: 1}\n",
		"a limit of connections in a rule": "rules:\n- {identities: ['token:ci'], verbs: [read], services: ['*'], limits: {connections: 3}}\n",
		"an alias bomb":                    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nrules: [*b,*b,*b]\n",
	} {
		if r, err := parseRules([]byte(text)); err == nil {
			t.Errorf("%s: it is taken as %+v", what, r)
		}
	}
}

func TestEverythingThatIsWrongWithRulesIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	_, err := parseRules([]byte("rules:\n- {identities: [ci], verbs: [write], services: ['']}\n- {identities: [], verbs: [], services: [a/b]}\n"))
	for _, part := range []string{`rule 1: identity "ci"`, `verb "write"`, "a pattern is empty", "rule 2: identities: it is for nobody", "verbs: it lets nobody do anything", `services "a/b"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

const someRules = `
trustDomain: td
rules:
- {identities: ["spiffe://td/ns/{ns}/svc/{service}"], verbs: [register], services: ["{service}"], ownAddress: true}
- {identities: ["spiffe://td/ns/prod/*"], verbs: [read], services: ["*"]}
- {identities: ["token:ci"], verbs: [read, steer], services: ["shop-*", cart]}
- {identities: ["token:node/*"], verbs: [register], services: ["*"], ownAddress: [10.0.0.0/8, "fd00::/8"]}
- {identities: ["token:ops"], verbs: [admin]}
- {identities: [anonymous], verbs: [read], services: [public]}
- {identities: ["*"], verbs: [read], services: [common]}
`

func TestRulesLetWhatTheySayAndNothingElse(t *testing.T) {
	t.Parallel()
	r := mustParse(t, someRules)
	at := func(id string, addrs ...string) ask {
		return ask{verb: register, service: "shop", id: id, addrs: addrs}
	}
	for n, c := range []struct {
		name, from string
		ask        ask
		want       bool
	}{
		{"token:ci", "", ask{verb: read, service: "shop-a"}, true},
		{"token:ci", "", ask{verb: read, service: "shop-"}, true},
		{"token:ci", "", ask{verb: steer, service: "cart"}, true},
		{"token:ci", "", ask{verb: read, service: "shop"}, false},
		{"token:ci", "", ask{verb: read, service: "cart2"}, false},
		{"token:ci", "", ask{verb: register, service: "shop-a"}, false}, // CVE-2020-13170: a verb is not another
		{"token:ci", "", ask{verb: admin}, false},
		{"token:ci", "", ask{verb: read, some: true}, true},
		{"token:ci", "", ask{verb: register, some: true}, false},
		{"token:ci", "", ask{verb: known}, true},
		{"token:ci2", "", ask{verb: read, service: "shop-a"}, false},
		{"token:CI", "", ask{verb: read, service: "shop-a"}, false},
		{"dns:ci", "", ask{verb: read, service: "shop-a"}, false},
		{"dns:ci", "", ask{verb: read, service: "common"}, true},
		{"token:ops", "", ask{verb: admin}, true},
		{"token:ops", "", ask{verb: read, service: "shop"}, false},
		{"token:ops", "", ask{verb: steer, service: ""}, false},
		{Anonymous, "", ask{verb: read, service: "public"}, true},
		{Anonymous, "", ask{verb: read, service: "common"}, false}, // * is for those who are somebody
		{Anonymous, "", ask{verb: admin}, false},
		{"", "", ask{verb: read, service: "public"}, false},
		{"", "", ask{verb: known}, false},
		{"*", "", ask{verb: read, service: "public"}, false},
		{"token:ci", "", ask{}, false},
		{"token:ci", "", ask{verb: "own", service: "cart"}, false},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("", "10.0.0.1:80"), true},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:81"), true},
		{"spiffe://td/ns/prod/svc/shop", "[::ffff:10.0.0.1]:9", at("", "10.0.0.1:80"), true},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("", "10.0.0.2:80"), false},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("", "10.0.0.1:80", "10.0.0.2:81"), false},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("10.0.0.2:80", "10.0.0.1:80"), false}, // the place of another
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("", "localhost:80"), false},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("", "shop.example:80"), false},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("", "10.0.0.1"), false},
		{"spiffe://td/ns/prod/svc/shop", "10.0.0.1:9", at("", ""), false},
		{"spiffe://td/ns/prod/svc/shop", "", at("", "10.0.0.1:80"), false},
		{"spiffe://td/ns/prod/svc/shop", "", at("", "invalid IP:80"), false},
		{"token:node/a", "192.168.0.1:9", at("", "10.9.9.9:80"), true},
		{"token:node/a", "192.168.0.1:9", at("", "[fd00::1]:80"), true},
		{"token:node/a", "192.168.0.1:9", at("", "192.168.0.1:80"), false},
		{"token:node/a", "192.168.0.1:9", at("", "[::ffff:10.0.0.1]:80"), true},
		{"token:node/a", "", ask{verb: register, service: "shop", id: "x"}, true}, // a heartbeat says no address
	} {
		if got := r.decide(named(c.name, c.from), c.ask); got.allowed != c.want || !c.want && got.why == "" {
			t.Errorf("%d: %s %+v: %+v, want %v", n, c.name, c.ask, got, c.want)
		}
	}
	if (&rules{}).decide(named("token:ci", ""), ask{verb: read, service: "a"}).allowed || (*rules)(nil).decide(named("token:ci", ""), ask{}).allowed || r.decide(nil, ask{verb: read}).allowed {
		t.Error("without rules or a caller something is let")
	}
}

// What may be read and what a list shows are one thing.
func TestAListShowsExactlyWhatMayBeRead(t *testing.T) {
	t.Parallel()
	r := mustParse(t, someRules)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"token:ci", "token:ops", "dns:x", Anonymous, "spiffe://td/ns/prod/svc/a", "spiffe://td/ns/b/svc/a", ""}).Draw(t, "name")
		service := rapid.SampledFrom([]string{"shop-a", "shop", "cart", "cart2", "common", "public", "a"}).Draw(t, "service")
		_, sees := r.sight(name)
		if want := r.decide(named(name, ""), ask{verb: read, service: service}).allowed; sees(service) != want {
			t.Errorf("%q sees %s: %v, may read: %v", name, service, sees(service), want)
		}
	})
}

// Whatever a file says: what is taken names no verb and no pattern that is unknown, and lets nothing that it does not name.
func FuzzRules(f *testing.F) {
	f.Add([]byte(someRules))
	f.Add([]byte(ownService))
	f.Add([]byte("rules: [{identities: ['*'], verbs: [admin]}]"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRules(text)
		if err != nil {
			return
		}
		for _, one := range r.Rules {
			for _, p := range one.Identities {
				if p == "" {
					t.Error("an empty pattern is taken")
				}
			}
			for _, p := range one.Services {
				if p == "" {
					t.Error("an empty pattern is taken")
				}
			}
		}
		for _, name := range []string{"token:ci", "spiffe://td/ns/a/svc/b", "dns:x", Anonymous, ""} {
			for _, v := range []verb{read, register, steer, admin, known, "", "write"} {
				d := r.decide(named(name, "10.0.0.1:1"), ask{verb: v, service: "b", addrs: []string{"10.0.0.1:1"}})
				if d.allowed && (name == "" || v == "" || v == "write") {
					t.Errorf("%q is let %q", name, v)
				}
			}
		}
	})
}
