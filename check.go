package rollcall

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// CheckType says how an instance is asked whether it is well.
type CheckType string

// The types of checks.
const (
	CheckGRPC CheckType = "grpc" // by grpc.health.v1, as gRPC servers have it: SERVING is well
	CheckHTTP CheckType = "http" // by a GET: a status from 200 to 299 is well; a redirect is not, and is not followed
	CheckTCP  CheckType = "tcp"  // by a connection that is accepted
)

// Limits of checks, and what one that leaves something out gets.
const (
	DefaultCheckInterval = 10 * time.Second // between the checks of an instance that names none
	MinCheckInterval     = time.Second      // the least interval
	MaxCheckInterval     = time.Hour        // the greatest interval
	DefaultCheckTimeout  = time.Second      // of a check that names none; half its interval if that is less
	MaxCheckTimeout      = 2 * time.Second  // the greatest timeout
	DefaultCheckFall     = 3                // failures in a row that make an instance unhealthy
	DefaultCheckRise     = 2                // successes in a row that make it well again

	maxCheckCount = 100
	maxPathLen    = 1024
)

// Check is what an instance asks the servers of its registry to do: to see for themselves whether it is well. One server at a time does so,
// and what it finds reaches every view as [Instance.Health]. Without a server nobody checks, and nothing changes.
//
// The address is one that the instance has registered, never another one. Servers refuse some networks: docs/checks.md.
type Check struct {
	Type CheckType // needed

	Addr    string // which of Instance.Addrs, by its name; "" is Instance.Addr
	Service string // of CheckGRPC: the service to ask for; "" is the server as a whole
	Path    string // of CheckHTTP: what to get, beginning with "/"; "" is "/"
	TLS     bool   // of CheckGRPC and CheckHTTP: speak TLS, to whoever answers: a check asks whether, not who

	Interval time.Duration // from one to the next; 0 is DefaultCheckInterval
	Timeout  time.Duration // of one, less than the interval; 0 is DefaultCheckTimeout
	Fall     int           // after how many failures in a row it is unhealthy; 0 is DefaultCheckFall
	Rise     int           // after how many successes in a row it is well again; 0 is DefaultCheckRise
}

// WithDefaults returns c with what it leaves out filled in.
func (c Check) WithDefaults() Check {
	if c.Type == CheckHTTP && c.Path == "" {
		c.Path = "/"
	}
	if c.Interval == 0 {
		c.Interval = DefaultCheckInterval
	}
	if c.Timeout == 0 {
		c.Timeout = min(DefaultCheckTimeout, c.Interval/2)
	}
	if c.Fall == 0 {
		c.Fall = DefaultCheckFall
	}
	if c.Rise == 0 {
		c.Rise = DefaultCheckRise
	}
	return c
}

// Target returns the address of an instance that its check is about; "" if it has none of that name.
func (c Check) Target(i *Instance) string {
	if c.Addr == "" {
		return i.Addr
	}
	return i.Addrs[c.Addr]
}

func (c Check) validate(i *Instance) error {
	full := c.WithDefaults()
	switch {
	case c.Type != CheckGRPC && c.Type != CheckHTTP && c.Type != CheckTCP:
		return invalid("Instance.Check.Type", string(c.Type), "a check is of type grpc, http or tcp")
	case c.Target(i) == "":
		return invalid("Instance.Check.Addr", c.Addr, "it is the name of one of the instance's further addresses, in Addrs")
	case c.Service != "" && c.Type != CheckGRPC:
		return invalid("Instance.Check.Service", c.Service, "only a check of type grpc asks for a service")
	case len(c.Service) > maxServiceLen || !utf8.ValidString(c.Service) || strings.ContainsFunc(c.Service, isSpaceOrControl):
		return invalid("Instance.Check.Service", c.Service, "at most 253 bytes of UTF-8 without spaces and control characters")
	case c.Path != "" && c.Type != CheckHTTP:
		return invalid("Instance.Check.Path", c.Path, "only a check of type http gets a path")
	case c.Path != "" && !validPath(c.Path):
		return invalid("Instance.Check.Path", c.Path, "a path begins with / and is at most 1 KiB of printable ASCII without spaces")
	case c.TLS && c.Type == CheckTCP:
		return invalid("Instance.Check.TLS", c.TLS, "a check of type tcp says nothing, by TLS neither")
	case full.Interval < MinCheckInterval || full.Interval > MaxCheckInterval:
		return invalid("Instance.Check.Interval", c.Interval, "an interval is 1s to 1h; 0 means 10s")
	case full.Timeout <= 0 || full.Timeout > MaxCheckTimeout || full.Timeout >= full.Interval:
		return invalid("Instance.Check.Timeout", c.Timeout, "a timeout is at most 2s and less than the interval; 0 means 1s")
	case full.Fall < 1 || full.Fall > maxCheckCount:
		return invalid("Instance.Check.Fall", c.Fall, "it is 1 to 100; 0 means 3")
	case full.Rise < 1 || full.Rise > maxCheckCount:
		return invalid("Instance.Check.Rise", c.Rise, "it is 1 to 100; 0 means 2")
	}
	return nil
}

func validPath(path string) bool {
	return strings.HasPrefix(path, "/") && len(path) <= maxPathLen && !strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' })
}

// checkRecord is a check as it lies in etcd.
type checkRecord struct {
	Type     CheckType       `json:"Type"`
	Addr     string          `json:"Addr,omitempty"`
	Service  string          `json:"Service,omitempty"`
	Path     string          `json:"Path,omitempty"`
	TLS      bool            `json:"TLS,omitempty"`
	Interval json.RawMessage `json:"Interval,omitempty"`
	Timeout  json.RawMessage `json:"Timeout,omitempty"`
	Fall     int             `json:"Fall,omitempty"`
	Rise     int             `json:"Rise,omitempty"`
}

func (c Check) record() *checkRecord {
	return &checkRecord{
		Type: c.Type, Addr: c.Addr, Service: c.Service, Path: c.Path, TLS: c.TLS,
		Interval: durationText(c.Interval), Timeout: durationText(c.Timeout), Fall: c.Fall, Rise: c.Rise,
	}
}

// check reads what lies in etcd. What makes no sense is as good as none: the instance is there all the same.
func (r *checkRecord) check() *Check {
	if r == nil {
		return nil
	}
	c := &Check{Type: r.Type, Addr: r.Addr, Service: r.Service, Path: r.Path, TLS: r.TLS, Fall: r.Fall, Rise: r.Rise}
	var err error
	if c.Interval, err = parseDuration("Interval", r.Interval); err != nil {
		return nil
	}
	if c.Timeout, err = parseDuration("Timeout", r.Timeout); err != nil {
		return nil
	}
	return c
}
