package rollcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// policyDocument is a policy in JSON, in etcd and in the files of operators.
type policyDocument struct {
	balancingDocument

	Balancer    string               `json:"balancer,omitempty"`
	Timeout     json.RawMessage      `json:"timeout,omitempty"`
	Retry       *retryDocument       `json:"retry,omitempty"`
	HealthCheck *healthCheckDocument `json:"healthCheck,omitempty"`
	Guard       *guardDocument       `json:"guard,omitempty"`
	Reason      string               `json:"reason,omitempty"`
	Author      string               `json:"author,omitempty"`
	Since       time.Time            `json:"since,omitzero"`
}

type retryDocument struct {
	Attempts   int             `json:"attempts"`
	Backoff    json.RawMessage `json:"backoff,omitempty"`
	MaxBackoff json.RawMessage `json:"maxBackoff,omitempty"`
	On         []string        `json:"on,omitempty"`
}

type healthCheckDocument struct {
	Service string `json:"service"`
}

type guardDocument struct {
	Disabled  bool            `json:"disabled,omitempty"`
	Suspicion json.RawMessage `json:"suspicion,omitempty"`
	Least     int             `json:"least,omitempty"`
	Percent   int             `json:"percent,omitempty"`
}

// MarshalJSON writes a policy as it lies in etcd: docs/policy.md has the fields. Its revision is no part of it.
func (p Policy) MarshalJSON() ([]byte, error) {
	d := policyDocument{
		balancingDocument: p.document(), Balancer: p.Balancer, Timeout: durationText(p.Timeout),
		Reason: p.Reason, Author: p.Author, Since: p.Since.UTC(),
	}
	if r := p.Retry; r != nil {
		d.Retry = &retryDocument{r.Attempts, durationText(r.Backoff), durationText(r.MaxBackoff), r.On}
	}
	if p.HealthCheck != nil {
		d.HealthCheck = &healthCheckDocument{*p.HealthCheck}
	}
	if g := p.Guard; g != nil {
		d.Guard = &guardDocument{g.Disabled, durationText(g.Suspicion), g.Least, g.Percent}
	}
	return json.Marshal(d)
}

// UnmarshalJSON reads a policy. Fields that it does not know are ignored: they are of later versions. See [ParsePolicy].
func (p *Policy) UnmarshalJSON(text []byte) error {
	var d policyDocument
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	parsed, err := d.policy()
	if err == nil {
		*p = parsed
	}
	return err
}

// ParsePolicy reads a policy that somebody has written, in JSON, and refuses fields that it does not know and what Validate
// refuses.
func ParsePolicy(text []byte) (Policy, error) {
	var d policyDocument
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Policy{}, fmt.Errorf("policy: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Policy{}, errors.New("policy: it is followed by something else")
	}
	p, err := d.policy()
	if err == nil {
		err = p.Validate()
	}
	return p, err
}

func (d *policyDocument) policy() (p Policy, err error) {
	p = Policy{Balancer: d.Balancer, Reason: d.Reason, Author: d.Author, Since: d.Since}
	if p.Balancing, err = d.balancing(); err != nil {
		return p, err
	}
	if p.Timeout, err = parseDuration("timeout", d.Timeout); err != nil {
		return p, err
	}
	if r := d.Retry; r != nil {
		p.Retry = &Retry{Attempts: r.Attempts, On: r.On}
		if p.Retry.Backoff, err = parseDuration("retry.backoff", r.Backoff); err != nil {
			return p, err
		}
		if p.Retry.MaxBackoff, err = parseDuration("retry.maxBackoff", r.MaxBackoff); err != nil {
			return p, err
		}
	}
	if d.HealthCheck != nil {
		p.HealthCheck = &d.HealthCheck.Service
	}
	if g := d.Guard; g != nil {
		p.Guard = &GuardPolicy{Disabled: g.Disabled, Least: g.Least, Percent: g.Percent}
		p.Guard.Suspicion, err = parseDuration("guard.suspicion", g.Suspicion)
	}
	return p, err
}

// encode writes what lies in etcd.
func (p Policy) encode() ([]byte, error) {
	value, err := json.Marshal(p)
	if err == nil && len(value) > maxValueLen {
		err = invalid("policy", size(len(value)), "a policy is at most 16 KiB")
	}
	return value, err
}

// decodePolicy reads what lies in etcd. One that breaks a rule is none: whoever wrote it did not ask.
func decodePolicy(value []byte) (*Policy, error) {
	if len(value) > maxReadLen {
		return nil, errTooLarge
	}
	p := &Policy{}
	if err := json.Unmarshal(value, p); err != nil {
		return nil, err
	}
	return p, p.Validate()
}
