package balancer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall"
)

func TestAConfigThatIsWrongIsRefusedWithFieldValueAndRule(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{ // of the refusal
		`{"pick":"random"}`:                 {"pick", `"random"`, `"weighted_round_robin" or "least_request"`},
		`{"pick":5}`:                        {"pick", "number"},
		`{"split":{"v2":-1}}`:               {`split["v2"]`, "-1", "0 to 100"},
		`{"split":{"v2":100.5}}`:            {`split["v2"]`, "100.5", "0 to 100"},
		`{"split":{"v2":50,"v1":50.5}}`:     {"split", "100.5", "add up to 100"},
		`{"split":{"":10}}`:                 {"split", `""`, "names versions"},
		`{"split":{"v2":"10"}}`:             {"split", "string"},
		`{"split":["v2"]}`:                  {"split", "array"},
		`{"splitHeader":"x user"}`:          {"splitHeader", `"x user"`, "does not begin with grpc-"},
		`{"splitHeader":"grpc-timeout"}`:    {"splitHeader", `"grpc-timeout"`, "does not begin with grpc-"},
		`{"subset":{"size":0}}`:             {"subset.size", "0", "1 instance or more", `"disabled": true`},
		`{"subset":{"size":-3}}`:            {"subset.size", "-3", "1 instance or more"},
		`{"subset":{"size":1.5}}`:           {"subset.size", "1.5"},
		`{"subset":7}`:                      {"subset", "number"},
		`{"slowStart":"-1s"}`:               {"slowStart", "-1s", "0 or more"},
		`{"slowStart":"soon"}`:              {"slowStart", `"soon"`, "a number and a unit"},
		`{"slowStart":30}`:                  {"slowStart", "30", `"1.5s"`},
		`{"ejection":{"failures":0}}`:       {"ejection.failures", "0", "1 or more"},
		`{"ejection":{"failures":-1}}`:      {"ejection.failures", "-1", "1 or more"},
		`{"ejection":{"time":"0s"}}`:        {"ejection.time", "0", "more than 0"},
		`{"ejection":{"time":"-5s"}}`:       {"ejection.time", "-5s", "more than 0"},
		`{"ejection":{"time":"5 seconds"}}`: {"ejection.time", `"5 seconds"`, "a number and a unit"},
		`{"ejection":{"maxPercent":0}}`:     {"ejection.maxPercent", "0", "1 to 100"},
		`{"ejection":{"maxPercent":101}}`:   {"ejection.maxPercent", "101", "1 to 100"},
		`{"zones":false}`:                   {"zones", "bool"},
		`[]`:                                {"array"},
		`{`:                                 {"unexpected end"},
		``:                                  {"unexpected end"},
		// All that is wrong is said at once.
		`{"pick":"random","split":{"v2":200},"subset":{"size":-1}}`: {"pick", `"random"`, `split["v2"]`, "200", "subset.size", "-1"},
	} {
		_, err := builder{}.ParseConfig(json.RawMessage(text))
		if err == nil {
			t.Errorf("%s is accepted", text)
			continue
		}
		for _, part := range append(want, "rollcall: load-balancing config: ") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: the refusal %q does not say %q", text, err, part)
			}
		}
	}
}

func TestAConfigOfGoIsRefusedLikeOneInJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Pick: "random"},
		{Split: map[string]float64{"v2": 101}},
		{Split: map[string]float64{"v2": math.NaN()}},
		{Split: map[string]float64{"v2": math.Inf(1)}},
		{Split: map[string]float64{"v2": 60, "v1": 41}},
		{Split: map[string]float64{"": 1}},
		{SplitHeader: "ä"},
		{Subset: Subset{Size: -1}},
		{SlowStart: -1},
		{Ejection: Ejection{Failures: -1}},
		{Ejection: Ejection{Time: -1}},
		{Ejection: Ejection{MaxPercent: -1}},
		{Ejection: Ejection{MaxPercent: 101}},
	} {
		text, err := c.ServiceConfig()
		refused, ok := errors.AsType[*rollcall.InvalidError](err)
		if text != "" || !ok || refused.Field == "" || refused.Value == "" || refused.Rule == "" {
			t.Errorf("%+v: %q, %v, want an error that names a field, its value and the rule", c, text, err)
		}
	}
}

func TestPercentagesMayAddUpToAHundred(t *testing.T) {
	t.Parallel()
	thirds := Config{Split: map[string]float64{"a": 33.3, "b": 33.3, "c": 33.4}}
	if err := thirds.Validate(); err != nil {
		t.Error(err)
	}
	tenths := Config{Split: map[string]float64{}}
	for n := range 1000 {
		tenths.Split[fmt.Sprint("v", n)] = 0.1
	}
	if err := tenths.Validate(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsLeftOutIsTheDefaultAndWhatIsUnknownIgnored(t *testing.T) {
	t.Parallel()
	want := Config{
		Pick: WeightedRoundRobin, Subset: Subset{Size: 100},
		Ejection: Ejection{Failures: 5, Time: 10 * time.Second, MaxPercent: 10},
	}
	for _, text := range []string{
		`{}`, ` { } `, `null`, `{"subset":{}}`, `{"ejection":{},"zones":{}}`, `{"subset":null,"split":null,"pick":null,"slowStart":null}`,
		`{"ejection":{"failures":null,"time":null,"maxPercent":null}}`,
		`{"unheardOf":{"of":[1]},"subset":{"shape":"round"}}`, `{"slowStart":"0s"}`,
	} {
		got, err := builder{}.ParseConfig(json.RawMessage(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if diff := cmp.Diff(want, got.(*config).Config); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestEveryFieldIsRead(t *testing.T) {
	t.Parallel()
	got, err := rollcall.ParseBalancing([]byte(`{"pick":"least_request","split":{"v2":10,"v1":60.5},"splitHeader":"X-User","subset":{"size":7,"disabled":true},
		"zones":{"disabled":true},"slowStart":"1m30s","ejection":{"failures":3,"time":"0.5s","maxPercent":40,"disabled":true}}`))
	want := Config{
		Pick: LeastRequest, Split: map[string]float64{"v2": 10, "v1": 60.5}, SplitHeader: "x-user", Subset: Subset{Size: 7, Disabled: true},
		IgnoreZones: true, SlowStart: 90 * time.Second,
		Ejection: Ejection{Failures: 3, Time: 500 * time.Millisecond, MaxPercent: 40, Disabled: true},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What Go code makes of a Config, gRPC reads as that Config.
func TestAServiceConfigIsReadAsTheConfigThatItWasMadeOf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawConfig(t)
		text, err := c.ServiceConfig()
		if err != nil {
			t.Fatal(err)
		}
		var whole struct {
			LoadBalancingConfig []map[string]json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &whole); err != nil {
			t.Fatal(err)
		}
		got, err := rollcall.ParseBalancing(whole.LoadBalancingConfig[0][Name])
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(c.Split) == 0 {
			c.Split = nil
		}
		if diff := cmp.Diff(c, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", text, diff)
		}
	})
}

func drawConfig(t *rapid.T) Config {
	duration := rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.IntRange(0, 100_000_000).Draw(t, "µs")) * time.Microsecond
	})
	c := Config{
		Pick:        rapid.SampledFrom([]Pick{"", WeightedRoundRobin, LeastRequest}).Draw(t, "pick"),
		SplitHeader: rapid.SampledFrom([]string{"", "x-user", "a.b_c-9"}).Draw(t, "splitHeader"),
		Subset:      Subset{Size: rapid.IntRange(0, 500).Draw(t, "size"), Disabled: rapid.Bool().Draw(t, "no subset")},
		IgnoreZones: rapid.Bool().Draw(t, "no zones"),
		SlowStart:   duration.Draw(t, "slowStart"),
		Ejection: Ejection{
			Failures: rapid.IntRange(0, 9).Draw(t, "failures"), Time: duration.Draw(t, "time"),
			MaxPercent: rapid.IntRange(0, 100).Draw(t, "maxPercent"), Disabled: rapid.Bool().Draw(t, "no ejection"),
		},
	}
	c.Split = rapid.MapOfN(rapid.StringN(1, 5, -1), rapid.Float64Range(0, 20), 0, 5).Draw(t, "split")
	return c
}

func TestTheServiceConfigIsOneThatGRPCTakes(t *testing.T) {
	t.Parallel()
	text, err := Config{Split: map[string]float64{"v2": 10}, SlowStart: time.Minute, Subset: Subset{Size: 20}}.ServiceConfig()
	if err != nil {
		t.Fatal(err)
	}
	cc, err := grpc.NewClient("passthrough:///x", grpc.WithDefaultServiceConfig(text), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if err := cc.Close(); err != nil {
		t.Error(err)
	}
	refused := strings.Replace(text, "10", "1000", 1)
	if _, err := grpc.NewClient("passthrough:///x", grpc.WithDefaultServiceConfig(refused), grpc.WithTransportCredentials(insecure.NewCredentials())); err == nil ||
		!strings.Contains(err.Error(), "0 to 100") {
		t.Errorf("a default service config with a split of 1000 %%: %v, want the rule", err)
	}
}

// What is read is valid, and is read as the same again; whatever is refused makes nothing fall over.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		`{}`, `null`, `{"pick":"least_request"}`, `{"split":{"v2":10,"v1":1e1}}`, `{"splitHeader":"X-User"}`, `{"subset":{"size":3}}`,
		`{"subset":{"disabled":true}}`, `{"zones":{"disabled":true}}`, `{"slowStart":"1.5s"}`, `{"slowStart":"9223372036s"}`, `{"slowStart":"1h1ns"}`,
		`{"ejection":{"failures":1,"time":"1s","maxPercent":1,"disabled":false}}`, `{"ejection":{"time":"0s"}}`, `{"split":{"v":1e999}}`, `[`, `"`, `0`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := rollcall.ParseBalancing(text)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("%s is read, and is not valid: %v", text, err)
		}
		again, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		second, err := rollcall.ParseBalancing(again)
		if err != nil {
			t.Fatalf("%s is written as %s: %v", text, again, err)
		}
		if diff := cmp.Diff(c.WithDefaults(), second.WithDefaults(), emptyIsNil); diff != "" {
			t.Fatalf("%s is written as %s (-first +second):\n%s", text, again, diff)
		}
	})
}

var emptyIsNil = cmp.Transformer("", func(m map[string]float64) map[string]float64 {
	if len(m) == 0 {
		return nil
	}
	return m
})
