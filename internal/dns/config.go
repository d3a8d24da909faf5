package dns

import (
	"encoding/json"

	"github.com/rollcall-io/rollcall"
)

// maxConfig is how much of a policy is told: what is larger is none that anybody has written by hand.
const maxConfig = 32 << 10

// serviceConfig returns the TXT record that gRPC's resolver for DNS reads.
func (a *arrangement) serviceConfig() *set {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		text := configText(a.view.Policy)
		var data []byte
		for len(text) > 0 { // gRPC puts the strings together again
			n := min(len(text), 255)
			data = append(append(data, byte(n)), text[:n]...)
			text = text[n:]
		}
		a.config = single(typeTXT, data)
	}
	return a.config
}

// configText returns what a policy says as gRPC's service config, in which round_robin is what remains to those who have nothing else: gRPC
// alone would call the first address only.
func configText(p *rollcall.Policy) string {
	if p != nil {
		text, err := p.ServiceConfig()
		if err == nil {
			text, err = withRoundRobin(text)
		}
		if err == nil && len(text) <= maxConfig {
			return text
		}
	}
	text, _ := withRoundRobin("{}")
	return text
}

func withRoundRobin(text string) (string, error) {
	const list = "loadBalancingConfig"
	config := map[string]any{}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return "", err
	}
	policies, _ := config[list].([]any)
	if len(policies) == 0 || !isRoundRobin(policies[len(policies)-1]) {
		config[list] = append(policies, map[string]any{"round_robin": struct{}{}})
	}
	out, err := json.Marshal([]any{map[string]any{"serviceConfig": config}})
	return "grpc_config=" + string(out), err
}

func isRoundRobin(policy any) bool {
	named, ok := policy.(map[string]any)
	_, is := named["round_robin"]
	return ok && is
}
