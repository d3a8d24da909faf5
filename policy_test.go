package rollcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// wrongPolicies are documents that are refused, and what the refusals say.
var wrongPolicies = map[string][]string{
	`{"balancer":"Round Robin"}`:                        {"balancer", `"Round Robin"`, "a-z 0-9 _ ."},
	`{"balancer":"round_robin","pick":"least_request"}`: {"balancer", `"round_robin"`, "for the policy rollcall only"},
	`{"balancer":7}`:                                    {"balancer", "number"},
	`{"pick":"random"}`:                                 {"pick", `"random"`, `"weighted_round_robin" or "least_request"`},
	`{"split":{"v2":101}}`:                              {`split["v2"]`, "101", "0 to 100"},
	`{"split":{"v2":60,"v1":50}}`:                       {"split", "110", "add up to 100"},
	`{"split":{"":1}}`:                                  {"split", `""`, "names versions"},
	`{"splitHeader":"grpc-timeout"}`:                    {"splitHeader", `"grpc-timeout"`, "does not begin with grpc-"},
	`{"subset":{"size":0}}`:                             {"subset.size", "0", "1 instance or more"},
	`{"subset":{"size":-1}}`:                            {"subset.size", "-1", "1 instance or more"},
	`{"slowStart":"soon"}`:                              {"slowStart", `"soon"`, "a number and a unit"},
	`{"slowStart":"-1s"}`:                               {"slowStart", "-1s", "0 or more"},
	`{"ejection":{"maxPercent":101}}`:                   {"ejection.maxPercent", "101", "1 to 100"},
	`{"ejection":{"failures":-1}}`:                      {"ejection.failures", "-1", "1 or more"},
	`{"timeout":"-1s"}`:                                 {"timeout", "-1s", "more than 0"},
	`{"timeout":"soon"}`:                                {"timeout", `"soon"`, "a number and a unit"},
	`{"timeout":5}`:                                     {"timeout", "5", `as "1.5s"`},
	`{"retry":{}}`:                                      {"retry.attempts", "0", "2 to 5"},
	`{"retry":{"attempts":1}}`:                          {"retry.attempts", "1", "2 to 5"},
	`{"retry":{"attempts":6}}`:                          {"retry.attempts", "6", "2 to 5"},
	`{"retry":{"attempts":"3"}}`:                        {"retry.attempts", "string"},
	`{"retry":true}`:                                    {"retry", "bool"},
	`{"retry":{"attempts":3,"backoff":"-1s"}}`:          {"retry.backoff", "-1s", "more than 0"},
	`{"retry":{"attempts":3,"backoff":1}}`:              {"retry.backoff", "1", `as "1.5s"`},
	`{"retry":{"attempts":3,"maxBackoff":"-1s"}}`:       {"retry.maxBackoff", "-1s", "more than 0"},
	`{"retry":{"attempts":3,"maxBackoff":"x"}}`:         {"retry.maxBackoff", `"x"`, "a number and a unit"},
	`{"retry":{"attempts":3,"on":["OK"]}}`:              {"retry.on", `"OK"`, "other than OK"},
	`{"retry":{"attempts":3,"on":["unavailable"]}}`:     {"retry.on", `"unavailable"`, "as UNAVAILABLE"},
	`{"retry":{"attempts":3,"on":["14"]}}`:              {"retry.on", `"14"`, "as UNAVAILABLE"},
	`{"retry":{"attempts":3,"on":[""]}}`:                {"retry.on", `""`, "as UNAVAILABLE"},
	`{"healthCheck":"all"}`:                             {"healthCheck", "string"},
	`{"guard":{"suspicion":"2h"}}`:                      {"guard.suspicion", "2h", "at most 1h"},
	`{"guard":{"suspicion":"-1s"}}`:                     {"guard.suspicion", "-1s", "more than 0"},
	`{"guard":{"suspicion":"long"}}`:                    {"guard.suspicion", `"long"`, "a number and a unit"},
	`{"guard":{"least":-1}}`:                            {"guard.least", "-1", "1 or more"},
	`{"guard":{"percent":-1}}`:                          {"guard.percent", "-1", "1 to 100"},
	`{"guard":{"percent":101}}`:                         {"guard.percent", "101", "1 to 100"},
	`{"reason":"` + strings.Repeat("x", 1025) + `"}`:    {"reason", "1025 bytes", "1 KiB"},
	`{"author":"` + strings.Repeat("x", 254) + `"}`:     {"author", "254 bytes", "253 bytes"},
	`{"since":"yesterday"}`:                             {"yesterday"},
	`[]`:                                                {"array"},
	`{`:                                                 {"unexpected EOF"},
	``:                                                  {"EOF"},
	// All that is wrong is said at once.
	`{"pick":"random","timeout":"-1s","retry":{"attempts":9},"guard":{"percent":200}}`: {"pick", "timeout", "retry.attempts", "guard.percent"},
}

func TestAPolicyThatIsWrongIsRefusedWithFieldValueAndRule(t *testing.T) {
	t.Parallel()
	for text, want := range wrongPolicies {
		_, err := ParsePolicy([]byte(text))
		if err == nil {
			t.Errorf("%s is accepted", text)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the refusal %q does not say %q", text, err, part)
			}
		}
		if _, err := decodePolicy([]byte(text)); err == nil {
			t.Errorf("%s is taken over from etcd", text)
		}
	}
}

func TestAPolicyOfGoIsRefusedLikeOneInJSON(t *testing.T) {
	t.Parallel()
	for field, p := range map[string]Policy{
		"pick":             {Balancing: Balancing{Pick: "random"}},
		"balancer":         {Balancer: "x y"},
		"timeout":          {Timeout: -1},
		"retry.attempts":   {Retry: &Retry{}},
		"retry.backoff":    {Retry: &Retry{Attempts: 2, Backoff: -1}},
		"retry.maxBackoff": {Retry: &Retry{Attempts: 2, MaxBackoff: -1}},
		"retry.on":         {Retry: &Retry{Attempts: 2, On: []string{"UNAVAILABLE", "UNKNOWN_TO_ALL"}}},
		"guard.suspicion":  {Guard: &GuardPolicy{Suspicion: time.Hour + 1}},
		"guard.least":      {Guard: &GuardPolicy{Least: -1}},
		"guard.percent":    {Guard: &GuardPolicy{Percent: 101}},
		"reason":           {Reason: "\xff"},
		"author":           {Author: "\xff"},
	} {
		refused := func(what string, err error) {
			if e, ok := errors.AsType[*InvalidError](err); !ok || e.Field != field || !errors.Is(err, ErrInvalid) {
				t.Errorf("%s of a policy with a bad %s: %v", what, field, err)
			}
		}
		refused("Validate", p.Validate())
		_, err := p.ServiceConfig()
		refused("ServiceConfig", err)
		_, err = deaf(t).SetPolicy(t.Context(), "svc", p)
		refused("SetPolicy", err)
	}
}

// An operator's slip of the pen must not pass for a policy; a later version's field must not take the policy away.
func TestUnknownFieldsAreRefusedFromOperatorsAndIgnoredInEtcd(t *testing.T) {
	t.Parallel()
	for text, field := range map[string]string{
		`{"timeout":"2s","tiemout":"1s"}`:                          "tiemout",
		`{"timeout":"2s","retry":{"attempts":2,"retries":5}}`:      "retries",
		`{"timeout":"2s","subset":{"sise":5}}`:                     "sise",
		`{"timeout":"2s","guard":{"most":5}}`:                      "most",
		`{"timeout":"2s","healthCheck":{"service":"","every":""}}`: "every",
		`{"timeout":"2s","ejection":{"after":5}}`:                  "after",
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil || !strings.Contains(err.Error(), `"`+field+`"`) {
			t.Errorf("ParsePolicy(%s): %v", text, err)
		}
		if p, err := decodePolicy([]byte(text)); err != nil || p.Timeout != 2*time.Second {
			t.Errorf("from etcd %s is read as %+v, %v", text, p, err)
		}
	}
}

func TestAPolicyIsOneDocument(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{} {}`, `{"timeout":"2s"} trailing`, `{"timeout":"2s"}]`} {
		if p, err := ParsePolicy([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, p)
		}
	}
	if _, err := ParsePolicy([]byte(" {\"timeout\":\"2s\"}\n")); err != nil {
		t.Errorf("with space around it: %v", err)
	}
}

// somePolicy draws one that may be written.
func somePolicy(t *rapid.T) Policy {
	duration := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Min(0).Draw(t, "ns")) })
	p := Policy{
		Timeout: duration.Draw(t, "timeout"),
		Reason:  rapid.StringN(0, 50, maxReasonLen).Draw(t, "reason"),
		Author:  rapid.StringN(0, 50, maxLabelLen).Draw(t, "author"),
		Since:   time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "since"), 0).UTC(),
	}
	if rapid.Bool().Draw(t, "another balancer") {
		p.Balancer = rapid.StringMatching(`[a-z0-9_.]{1,100}`).Draw(t, "balancer")
	} else {
		p.Balancing = someBalancing(t)
	}
	if rapid.Bool().Draw(t, "retries") {
		p.Retry = &Retry{
			Attempts: rapid.IntRange(2, 5).Draw(t, "attempts"), Backoff: duration.Draw(t, "backoff"), MaxBackoff: duration.Draw(t, "most"),
			On: rapid.SliceOfN(rapid.SampledFrom([]string{"UNAVAILABLE", "ABORTED", "CANCELLED", "RESOURCE_EXHAUSTED"}), 0, 3).Draw(t, "on"),
		}
	}
	if rapid.Bool().Draw(t, "checks health") {
		name := rapid.String().Draw(t, "checked")
		p.HealthCheck = &name
	}
	if rapid.Bool().Draw(t, "guard") {
		p.Guard = &GuardPolicy{
			Disabled: rapid.Bool().Draw(t, "off"), Least: rapid.IntMin(0).Draw(t, "least"), Percent: rapid.IntRange(0, 100).Draw(t, "percent"),
			Suspicion: time.Duration(rapid.Int64Range(0, int64(maxSuspicion)).Draw(t, "suspicion")),
		}
	}
	return p
}

func someBalancing(t *rapid.T) Balancing {
	return Balancing{
		Pick:        rapid.SampledFrom([]Pick{"", WeightedRoundRobin, LeastRequest}).Draw(t, "pick"),
		Split:       rapid.MapOfN(rapid.StringN(1, 20, -1), rapid.Float64Range(0, 25), 0, 4).Draw(t, "split"),
		SplitHeader: rapid.StringMatching(`([a-f_.-][a-z0-9_.-]{0,20})?`).Draw(t, "header"),
		Subset:      Subset{Size: rapid.IntMin(0).Draw(t, "size"), Disabled: rapid.Bool().Draw(t, "all")},
		IgnoreZones: rapid.Bool().Draw(t, "zones"),
		SlowStart:   time.Duration(rapid.Int64Min(0).Draw(t, "slow")),
		Ejection: Ejection{
			Failures: rapid.IntMin(0).Draw(t, "failures"), Time: time.Duration(rapid.Int64Min(0).Draw(t, "out")),
			MaxPercent: rapid.IntRange(0, 100).Draw(t, "ejected"), Disabled: rapid.Bool().Draw(t, "eject none"),
		},
	}
}

func TestAPolicyIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := somePolicy(t)
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		fromEtcd, err := decodePolicy(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		parsed, err := ParsePolicy(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		for _, back := range []Policy{*fromEtcd, parsed} {
			if diff := cmp.Diff(p, back, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s (-written +read):\n%s", text, diff)
			}
		}
		if _, err := p.ServiceConfig(); err != nil {
			t.Fatalf("%s becomes no service config: %v", text, err)
		}
	})
}

func TestAPolicyBecomesAServiceConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{}`: `{}`,
		`{"reason":"why","author":"me","guard":{"least":5}}`: `{}`,
		`{"balancer":"round_robin"}`:                         `{"loadBalancingConfig":[{"round_robin":{}}]}`,
		`{"balancer":"rollcall"}`:                            `{"loadBalancingConfig":[{"rollcall":{}},{"round_robin":{}}]}`,
		`{"pick":"least_request","split":{"v2":10}}`:         `{"loadBalancingConfig":[{"rollcall":{"pick":"least_request","split":{"v2":10}}},{"round_robin":{}}]}`,
		`{"timeout":"1500ms"}`:                               `{"methodConfig":[{"name":[{}],"timeout":"1.5s"}]}`,
		`{"retry":{"attempts":3}}`: `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.05s","maxBackoff":"1s",
			"backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`,
		`{"timeout":"2s","retry":{"attempts":5,"backoff":"3s","on":["ABORTED","INTERNAL"]}}`: `{"methodConfig":[{"name":[{}],"timeout":"2s","retryPolicy":{
			"maxAttempts":5,"initialBackoff":"3s","maxBackoff":"3s","backoffMultiplier":2,"retryableStatusCodes":["ABORTED","INTERNAL"]}}]}`,
		`{"healthCheck":{"service":"shop"}}`: `{"healthCheckConfig":{"serviceName":"shop"}}`,
		`{"healthCheck":{}}`:                 `{"healthCheckConfig":{"serviceName":""}}`,
	} {
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		config, err := p.ServiceConfig()
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(anyJSON(t, want), anyJSON(t, config)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func anyJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// policyFields are the members of a policy's document.
var policyFields = []string{
	"balancer", "pick", "split", "splitHeader", "subset", "zones", "slowStart", "ejection", "timeout", "retry", "healthCheck", "guard",
	"reason", "author", "since",
}

func TestTheDocumentedPoliciesAreValidAndNameEveryField(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1) {
		if slices.ContainsFunc([]string{`"Drain"`, `"Weight"`}, func(field string) bool { return strings.Contains(string(block[1]), field) }) {
			if _, err := decodeOverride(block[1]); err != nil {
				t.Errorf("%s: %v", block[1], err)
			}
			continue
		}
		if _, err := ParsePolicy(block[1]); err != nil {
			t.Errorf("%s: %v", block[1], err)
		}
		for name := range anyJSON(t, string(block[1])).(map[string]any) {
			shown = append(shown, name)
		}
	}
	for _, name := range policyFields {
		if !slices.Contains(shown, name) {
			t.Errorf("docs/policy.md has no example with %q", name)
		}
		if !regexp.MustCompile("(?m)^\\| `" + name + "` ").Match(page) {
			t.Errorf("the tables of docs/policy.md have no row for %q", name)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	for text := range wrongPolicies {
		f.Add([]byte(text))
	}
	for _, text := range []string{
		`{}`, `null`, `{"balancer":"round_robin"}`, `{"timeout":"1h0.5s"}`, `{"timeout":"9223372036s"}`, `{"retry":{"attempts":2,"on":["ABORTED"]}}`,
		`{"retry":null,"guard":null,"healthCheck":null}`, `{"guard":{"disabled":true,"suspicion":"1h"}}`, `{"healthCheck":{"service":""}}`,
		`{"timeout":"1s","Timeout":"2s"}`, `{"since":"2026-11-22T10:00:00+01:00"}`, `{"reason":"\ud800"}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lax, laxErr := decodePolicy(text)
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		if laxErr != nil {
			t.Fatalf("%q is a policy of an operator, and not in etcd: %v", text, laxErr)
		}
		if diff := cmp.Diff(p, *lax); diff != "" {
			t.Fatalf("%q is read in two ways: %s", text, diff)
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatalf("%q cannot be written: %v", text, err)
		}
		back, err := ParsePolicy(again)
		if err != nil {
			t.Fatalf("%q is written as %s: %v", text, again, err)
		}
		if diff := cmp.Diff(p, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%q, written as %s, changed: %s", text, again, diff)
		}
		if config, err := p.ServiceConfig(); err != nil || !json.Valid([]byte(config)) {
			t.Fatalf("%q becomes %s, %v", text, config, err)
		}
	})
}

func TestAPolicyThatReadersWouldNotTakeIsNotWritten(t *testing.T) {
	t.Parallel()
	p := Policy{Balancing: Balancing{Split: map[string]float64{}}}
	for n := range 1000 {
		p.Split[fmt.Sprintf("version-%0100d", n)] = 0.1
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.encode(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "16 KiB") {
		t.Errorf("a policy of 100 KiB: %v; want it refused, with the limit", err)
	}
}
