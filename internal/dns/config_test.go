package dns

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/rollcall-io/rollcall"
)

func TestAPolicyReachesThoseWhoOnlyKnowDNS(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		policy *rollcall.Policy
		want   string
	}{
		"none":             {nil, `{"loadBalancingConfig":[{"round_robin":{}}]}`},
		"an empty one":     {&rollcall.Policy{}, `{"loadBalancingConfig":[{"round_robin":{}}]}`},
		"a balancer":       {&rollcall.Policy{Balancer: "ring_hash_experimental"}, `{"loadBalancingConfig":[{"ring_hash_experimental":{}},{"round_robin":{}}]}`},
		"round robin":      {&rollcall.Policy{Balancer: "round_robin"}, `{"loadBalancingConfig":[{"round_robin":{}}]}`},
		"our own":          {&rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v": 10}}}, `{"loadBalancingConfig":[{"rollcall":{"split":{"v":10}}},{"round_robin":{}}]}`},
		"a timeout":        {&rollcall.Policy{Timeout: 1500 * time.Millisecond}, `{"loadBalancingConfig":[{"round_robin":{}}],"methodConfig":[{"name":[{}],"timeout":"1.5s"}]}`},
		"one that is void": {&rollcall.Policy{Timeout: -1}, `{"loadBalancingConfig":[{"round_robin":{}}]}`},
	} {
		v := view("web", at("10.0.0.1:80", zone("a")))
		v.Policy = c.policy
		s := prepared(t, Config{}, v)
		for _, name := range []string{"_grpc_config.web.service.rollcall.", "_grpc_config.a.zone.web.service.rollcall."} {
			if got := configOf(t, s.reply(name, mdns.TypeTXT)); got != c.want {
				t.Errorf("%s: %s\n got %s\nwant %s", what, name, got, c.want)
			}
		}
	}
}

// configOf reads what gRPC reads: the strings of the record as one, a word, and choices of which the first is taken.
func configOf(t *testing.T, r *mdns.Msg) string {
	t.Helper()
	if len(r.Answer) != 1 {
		t.Fatalf("got %v", r)
	}
	var joined strings.Builder
	for _, s := range r.Answer[0].(*mdns.TXT).Txt {
		// miekg's strings are as in a zone file.
		joined.WriteString(strings.ReplaceAll(strings.ReplaceAll(s, `\"`, `"`), `\\`, `\`))
	}
	text, ok := strings.CutPrefix(joined.String(), "grpc_config=")
	var choices []struct{ ServiceConfig json.RawMessage }
	if err := json.Unmarshal([]byte(text), &choices); err != nil || !ok || len(choices) != 1 {
		t.Fatalf("%q: %v", joined.String(), err)
	}
	return string(choices[0].ServiceConfig)
}

func TestALongPolicyIsCutIntoStringsAndAnEndlessOneIsNotTold(t *testing.T) {
	t.Parallel()
	versions := func(n int) *rollcall.Policy {
		p := &rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{}}}
		for i := range n {
			p.Split[strings.Repeat("v", 1+i)] = 0.001
		}
		return p
	}
	v := view("web", at("10.0.0.1:80"))
	v.Policy = versions(60)
	s := prepared(t, Config{}, v)
	got := configOf(t, s.reply("_grpc_config.web.service.rollcall.", mdns.TypeTXT))
	if want, err := v.Policy.ServiceConfig(); err != nil || got != want || len(got) < 1000 {
		t.Errorf("got %s, want %s, %v", got, want, err)
	}
	// By UDP there is no room for it, and the client is sent to TCP.
	r := new(mdns.Msg)
	if err := r.Unpack(s.answer(&desk{}, packed(t, question("_grpc_config.web.service.rollcall.", mdns.TypeTXT, 1232)), nil, viaUDP)); err != nil || !r.Truncated || len(r.Answer) > 0 {
		t.Errorf("got %v, %v", r, err)
	}
	v = view("web", at("10.0.0.1:80"))
	v.Policy = versions(1000)
	s.settle("web")
	s.told(v)
	if got := configOf(t, s.reply("_grpc_config.web.service.rollcall.", mdns.TypeTXT)); len(got) > 100 {
		t.Errorf("got %d bytes", len(got))
	}
}
