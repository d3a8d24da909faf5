package resolver

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// parser is gRPC's end as far as it reads service configs: it knows all load-balancing policies but one.
type parser struct {
	resolver.ClientConn
	texts []string
}

func (p *parser) ParseServiceConfig(text string) *serviceconfig.ParseResult {
	p.texts = append(p.texts, text)
	if strings.Contains(text, "unknown") {
		return &serviceconfig.ParseResult{Err: errors.New("unknown policy")}
	}
	return &serviceconfig.ParseResult{}
}

func TestAChannelIsToldItsDefaultWithWhatAnOperatorSaysInItsPlace(t *testing.T) {
	const standard = `{"loadBalancingConfig":[{"pick_first":{}}],"methodConfig":[{"name":[{}],"timeout":"9s"}]}`
	slow := &rollcall.Policy{Timeout: 2 * time.Second}
	turns := &rollcall.Policy{Balancer: "round_robin", Revision: 7}
	unknown := &rollcall.Policy{Balancer: "unknown", Revision: 8}
	for name, tc := range map[string]struct {
		standard string
		disabled bool
		policies []*rollcall.Policy
		want     []string // what was parsed
		errs     int
		none     bool // in the end none is sent
	}{
		"none at all":                 {policies: []*rollcall.Policy{nil, nil}, none: true},
		"the default, once":           {standard: standard, policies: []*rollcall.Policy{nil, nil}, want: []string{standard}},
		"none of one that takes none": {standard: standard, disabled: true, policies: []*rollcall.Policy{nil, slow}, none: true},
		"what the policy says alone":  {policies: []*rollcall.Policy{slow, slow}, want: []string{`{"methodConfig":[{"name":[{}],"timeout":"2s"}]}`}},
		"what the policy says in the default's place, and the default again": {
			standard: standard, policies: []*rollcall.Policy{nil, slow, turns, nil},
			want: []string{
				standard,
				`{"loadBalancingConfig":[{"pick_first":{}}],"methodConfig":[{"name":[{}],"timeout":"2s"}]}`,
				`{"loadBalancingConfig":[{"round_robin":{}}],"methodConfig":[{"name":[{}],"timeout":"9s"}]}`,
				standard,
			},
		},
		"an empty one after a policy that was deleted": {
			policies: []*rollcall.Policy{turns, nil}, want: []string{`{"loadBalancingConfig":[{"round_robin":{}}]}`, `{}`},
		},
		"what it had, when a policy cannot be carried out": {
			policies: []*rollcall.Policy{turns, unknown, unknown}, errs: 1,
			want: []string{`{"loadBalancingConfig":[{"round_robin":{}}]}`, `{"loadBalancingConfig":[{"unknown":{}}]}`},
		},
		"the default, when the first policy cannot be carried out": {
			standard: `{}`, policies: []*rollcall.Policy{unknown}, errs: 1, want: []string{`{"loadBalancingConfig":[{"unknown":{}}]}`, `{}`},
		},
	} {
		p, c, errs := &parser{}, serviceConfig{disabled: tc.disabled, standard: tc.standard}, 0
		var sent *serviceconfig.ParseResult
		for _, policy := range tc.policies {
			var err error
			if sent, err = c.under(p, policy); err != nil {
				errs++
			}
		}
		if diff := cmp.Diff(tc.want, p.texts); diff != "" || errs != tc.errs || (sent == nil) != tc.none || sent != nil && sent.Err != nil {
			t.Errorf("%s: sent %v, %d errors; parsed (-want +got):\n%s", name, sent, errs, diff)
		}
	}
}
