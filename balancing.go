package rollcall

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults of [Balancing].
const (
	DefaultSubsetSize         = 100              // see Subset.Size
	DefaultEjectionFailures   = 5                // see Ejection.Failures
	DefaultEjectionTime       = 10 * time.Second // see Ejection.Time
	DefaultEjectionMaxPercent = 10               // see Ejection.MaxPercent
)

// Pick is how one of the instances is chosen for a call.
type Pick string

const (
	// WeightedRoundRobin calls the instances in turn, each as often as its weight says: after any number of calls each has
	// its share, give or take a few calls. The order goes on where it was when instances or weights change. It is the default.
	WeightedRoundRobin Pick = "weighted_round_robin"

	// LeastRequest looks at two instances, drawn by their weights, and takes the one with fewer of this channel's calls under
	// way for its weight. It suits calls or servers of uneven speed.
	LeastRequest Pick = "least_request"
)

// Balancing configures how calls are spread over the instances of a service, by the load-balancing policy of package balancer, in
// whose documentation the rules are. The zero Balancing is the default; in a service config it is {"rollcall":{}}.
// The comments name the fields there, of which all may be left out, and unknown ones are ignored, as gRPC wants it.
type Balancing struct {
	Pick Pick // "pick": "weighted_round_robin" (the default) or "least_request"

	// Split sends percentages of the calls to versions: {"v2": 10}. Instances of all other versions share what is left to
	// 100 as their weights say. What nobody can take, the others take over in proportion.
	Split map[string]float64 // "split"

	// SplitHeader names a header of the caller's outgoing metadata: calls with the same value go to the same version, as long as the
	// split and the versions stay; the versions that the split does not name count as one. Calls without it are split as if it were not
	// set.
	SplitHeader string // "splitHeader"

	Subset      Subset // "subset": {"size": 100}
	IgnoreZones bool   // "zones": {"disabled": true}

	// SlowStart is how long an instance that joins a service takes to its full share of the calls, from a tenth of it on, evenly.
	// Instances that were there before the channel are called in full at once. The default is 0: full at once.
	SlowStart time.Duration // "slowStart": "30s"

	Ejection Ejection // "ejection": {"failures": 5, "time": "10s", "maxPercent": 10}
}

// Subset limits how many instances a channel connects to. A version named in Split has a subset of its own.
type Subset struct {
	Size     int  // "size": how many, 1 or more; the default is DefaultSubsetSize. Zones may make it a few more or less
	Disabled bool // "disabled": connect to all
}

// Ejection takes an instance out for a time when calls to it fail in a row without a word from it, though its connection stands, or
// when its connection breaks under calls as many times in a row. Whatever the server answers counts as a success.
type Ejection struct {
	Failures   int           // "failures": so many in a row; the default is DefaultEjectionFailures
	Time       time.Duration // "time": out for so long; the default is DefaultEjectionTime
	MaxPercent int           // "maxPercent": at most so many of the connected instances, or one; never the last. The default is DefaultEjectionMaxPercent
	Disabled   bool          // "disabled"
}

// Validate returns all that is wrong, each as an [InvalidError].
func (c Balancing) Validate() error {
	var errs []error
	refuse := func(field string, value any, rule string) {
		errs = append(errs, &InvalidError{Field: field, Value: fmt.Sprint(value), Rule: rule})
	}
	if c.Pick != "" && c.Pick != WeightedRoundRobin && c.Pick != LeastRequest {
		refuse("pick", strconv.Quote(string(c.Pick)), `a pick is "weighted_round_robin" or "least_request"`)
	}
	total := 0.0
	for _, version := range slices.Sorted(maps.Keys(c.Split)) {
		percent := c.Split[version]
		if version == "" {
			refuse("split", `""`, "a split names versions")
		}
		if math.IsNaN(percent) || percent < 0 || percent > 100 {
			refuse(fmt.Sprintf("split[%q]", version), percent, "a percentage is 0 to 100")
		}
		total += percent
	}
	if total > 100+1e-9 {
		refuse("split", total, "the percentages of a split add up to 100 at most")
	}
	if name := strings.ToLower(c.SplitHeader); strings.ContainsFunc(name, badInHeader) || strings.HasPrefix(name, "grpc-") {
		refuse("splitHeader", strconv.Quote(c.SplitHeader), "a header's name is of letters, digits, - _ . and does not begin with grpc-")
	}
	if c.Subset.Size < 0 {
		refuse("subset.size", c.Subset.Size, "a subset has 1 instance or more")
	}
	if c.SlowStart < 0 {
		refuse("slowStart", c.SlowStart, "a slow start is 0 or more")
	}
	if c.Ejection.Failures < 0 {
		refuse("ejection.failures", c.Ejection.Failures, "1 or more")
	}
	if c.Ejection.Time < 0 {
		refuse("ejection.time", c.Ejection.Time, "more than 0")
	}
	if c.Ejection.MaxPercent < 0 || c.Ejection.MaxPercent > 100 {
		refuse("ejection.maxPercent", c.Ejection.MaxPercent, "1 to 100")
	}
	return errors.Join(errs...)
}

func badInHeader(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// ServiceConfig returns a gRPC service config that chooses the policy, configured by c, for resolver.WithServiceConfig or
// grpc.WithDefaultServiceConfig. Its error is that of Validate.
func (c Balancing) ServiceConfig() (string, error) {
	if err := c.Validate(); err != nil {
		return "", err
	}
	// Where our policy is not linked in, gRPC takes the next one.
	text, err := json.Marshal(map[string]any{"loadBalancingConfig": []any{map[string]any{ownBalancer: c}, map[string]any{"round_robin": struct{}{}}}})
	return string(text), err
}

// WithDefaults returns c with what was left out filled in.
func (c Balancing) WithDefaults() Balancing {
	set := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	if c.Pick == "" {
		c.Pick = WeightedRoundRobin
	}
	set(&c.Subset.Size, DefaultSubsetSize)
	set(&c.Ejection.Failures, DefaultEjectionFailures)
	set(&c.Ejection.MaxPercent, DefaultEjectionMaxPercent)
	if c.Ejection.Time == 0 {
		c.Ejection.Time = DefaultEjectionTime
	}
	return c
}
