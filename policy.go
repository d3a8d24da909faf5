package rollcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
)

// Policy is what an operator decided for all callers of a service. What it does not say each caller decides, as he did without it. It
// reaches running callers when it is written: see [Registry.SetPolicy].
type Policy struct {
	Balancing               // how calls are spread, by the load-balancing policy of package balancer
	Balancer  string        // the name of another load-balancing policy in its place, such as "round_robin"
	Timeout   time.Duration // of calls, unless their own is shorter; 0: their own
	Retry     *Retry        // of calls that fail; nil: none

	// HealthCheck has callers ask each server by gRPC's health protocol whether the service of this name is well, "" for the server as
	// a whole, and call it only if it is. Nil: they do not ask.
	HealthCheck *string

	Guard *GuardPolicy // when callers doubt that instances are gone; nil: each as its program says

	Reason string    // why, for those who wonder later; at most 1 KiB
	Author string    // who; at most 253 bytes
	Since  time.Time // when it was decided; SetPolicy fills it in

	Revision int64 // etcd's, of the last write
}

// Retry is how calls are tried again. Limits are gRPC's.
type Retry struct {
	Attempts   int           // in all, 2 to 5
	Backoff    time.Duration // the mean pause before the second attempt is half of it; it doubles. The default is 50 ms
	MaxBackoff time.Duration // the default is 1 s
	On         []string      // status codes that are tried again, as "UNAVAILABLE", which is the default
}

// GuardPolicy is when callers doubt that instances are gone whose leases ended: see [WithSuspicion].
type GuardPolicy struct {
	Disabled  bool          // believe everything
	Suspicion time.Duration // how long a loss is doubted; 0: as the program says. At most 1 h
	Least     int           // as many losses, at least, are doubted; the default is 3
	Percent   int           // of the instances, more than so many; the default is 50
}

// Validate returns all that is wrong with a policy, each as an [InvalidError].
func (p Policy) Validate() error {
	errs := []error{p.Balancing.Validate()}
	refuse := func(field string, value any, rule string) {
		errs = append(errs, &InvalidError{Field: field, Value: fmt.Sprint(value), Rule: rule})
	}
	if p.Balancer != "" && !balancerName.MatchString(p.Balancer) {
		refuse("balancer", strconv.Quote(p.Balancer), "a load-balancing policy's name is of a-z 0-9 _ .")
	}
	if p.Balancer != "" && p.Balancer != ownBalancer && p.hasBalancing() {
		refuse("balancer", strconv.Quote(p.Balancer), "pick, split, subset, zones, slowStart and ejection are for the policy rollcall only")
	}
	if p.Timeout < 0 {
		refuse("timeout", p.Timeout, "a timeout is more than 0")
	}
	if p.Retry != nil {
		p.Retry.validate(refuse)
	}
	if g := p.Guard; g != nil {
		if g.Suspicion < 0 || g.Suspicion > maxSuspicion {
			refuse("guard.suspicion", g.Suspicion, "a suspicion is more than 0, at most 1h")
		}
		if g.Least < 0 {
			refuse("guard.least", g.Least, "1 or more")
		}
		if g.Percent < 0 || g.Percent > 100 {
			refuse("guard.percent", g.Percent, "1 to 100")
		}
	}
	if len(p.Reason) > maxReasonLen || !utf8.ValidString(p.Reason) {
		refuse("reason", strconv.Quote(shorten(p.Reason)), "a reason is at most 1 KiB of UTF-8")
	}
	if len(p.Author) > maxLabelLen || !utf8.ValidString(p.Author) {
		refuse("author", strconv.Quote(shorten(p.Author)), "an author is at most 253 bytes of UTF-8")
	}
	return errors.Join(errs...)
}

var balancerName = regexp.MustCompile(`^[a-z0-9_.]{1,100}$`)

// ownBalancer is the name of package balancer's policy.
const ownBalancer = "rollcall"

func (r *Retry) validate(refuse func(field string, value any, rule string)) {
	if r.Attempts < 2 || r.Attempts > 5 {
		refuse("retry.attempts", r.Attempts, "2 to 5 attempts, the first included")
	}
	if r.Backoff < 0 {
		refuse("retry.backoff", r.Backoff, "more than 0")
	}
	if r.MaxBackoff < 0 {
		refuse("retry.maxBackoff", r.MaxBackoff, "more than 0")
	}
	for _, name := range r.On {
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(strconv.Quote(name))); err != nil || code == codes.OK {
			refuse("retry.on", strconv.Quote(name), "the name of a status code other than OK, as UNAVAILABLE")
		}
	}
}

// hasBalancing reports whether the policy says anything of how calls are spread.
func (p Policy) hasBalancing() bool {
	text, err := json.Marshal(p.Balancing)
	return err == nil && string(text) != "{}"
}

// ServiceConfig returns the gRPC service config that the policy becomes: what it says, and nothing of what it leaves to
// the callers. Its error is that of Validate.
func (p Policy) ServiceConfig() (string, error) {
	if err := p.Validate(); err != nil {
		return "", err
	}
	config := map[string]any{}
	switch {
	case p.Balancer != "" && p.Balancer != ownBalancer:
		config["loadBalancingConfig"] = []any{map[string]any{p.Balancer: struct{}{}}}
	case p.Balancer != "" || p.hasBalancing():
		// A caller that does not have our policy takes the next one.
		config["loadBalancingConfig"] = []any{map[string]any{ownBalancer: p.Balancing}, map[string]any{"round_robin": struct{}{}}}
	}
	method := map[string]any{}
	if p.Timeout > 0 {
		method["timeout"] = durationText(p.Timeout)
	}
	if r := p.Retry; r != nil {
		method["retryPolicy"] = r.serviceConfig()
	}
	if len(method) > 0 {
		method["name"] = []any{struct{}{}} // every method
		config["methodConfig"] = []any{method}
	}
	if p.HealthCheck != nil {
		config["healthCheckConfig"] = map[string]any{"serviceName": *p.HealthCheck}
	}
	text, err := json.Marshal(config)
	return string(text), err
}

func (r *Retry) serviceConfig() map[string]any {
	backoff, most, on := r.Backoff, r.MaxBackoff, r.On
	if backoff == 0 {
		backoff = 50 * time.Millisecond
	}
	if most == 0 {
		most = max(time.Second, backoff)
	}
	if len(on) == 0 {
		on = []string{"UNAVAILABLE"}
	}
	return map[string]any{
		"maxAttempts": r.Attempts, "initialBackoff": durationText(backoff), "maxBackoff": durationText(most),
		"backoffMultiplier": 2, "retryableStatusCodes": on,
	}
}
