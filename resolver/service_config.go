package resolver

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// serviceConfig is what a channel is told of how to call: its default, with what an operator's policy says in place of
// that. Each is parsed once.
type serviceConfig struct {
	disabled bool   // the channel does not want any
	standard string // the channel's default, in JSON; "": none

	decided bool                       // policy is the one of the last time
	policy  *rollcall.Policy           // nil: there was none
	result  *serviceconfig.ParseResult // nil: none was
	ours    bool                       // it has our policy balance the channel's calls
}

// under returns the config under a policy, nil for none at all. When the policy cannot be carried out, as one that names a load-balancing
// policy that is not linked into the program, the error says so and the config stays what it was.
func (c *serviceConfig) under(cc resolver.ClientConn, policy *rollcall.Policy) (*serviceconfig.ParseResult, error) {
	first := c.result == nil
	if c.disabled || c.decided && policy == c.policy || policy == nil && first && c.standard == "" {
		return c.result, nil
	}
	c.decided, c.policy = true, policy
	text, err := merged(c.standard, policy)
	if err == nil {
		parsed := cc.ParseServiceConfig(text)
		if policy == nil || parsed.Err == nil {
			c.result, c.ours = parsed, choosesOurs(text)
			return parsed, nil
		}
		err = parsed.Err
	}
	if first && c.standard != "" {
		c.result, c.ours = cc.ParseServiceConfig(c.standard), choosesOurs(c.standard)
	}
	return c.result, fmt.Errorf("policy of revision %d: %w", policy.Revision, err)
}

// choosesOurs reports whether our policy is the first that a config names. Where it is another's child, that one is to see every update.
func choosesOurs(text string) bool {
	var config struct {
		LoadBalancingConfig []map[string]json.RawMessage `json:"loadBalancingConfig"`
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil || len(config.LoadBalancingConfig) == 0 {
		return false
	}
	_, ours := config.LoadBalancingConfig[0][endpoints.PolicyName]
	return ours
}

// merged returns the default with what the policy says in its place: gRPC's service config is an object, of which a policy has some
// members. Without either it is empty, which has gRPC forget a policy that was deleted.
func merged(standard string, policy *rollcall.Policy) (string, error) {
	if policy == nil {
		if standard == "" {
			return "{}", nil
		}
		return standard, nil
	}
	ours, err := policy.ServiceConfig()
	if err != nil || standard == "" {
		return ours, err
	}
	var config, decided map[string]json.RawMessage
	if err := json.Unmarshal([]byte(standard), &config); err != nil {
		return ours, nil // the default is no config: gRPC would say so
	}
	if err := json.Unmarshal([]byte(ours), &decided); err != nil {
		return "", err
	}
	maps.Copy(config, decided)
	text, err := json.Marshal(config)
	return string(text), err
}
