package rollcall

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of what may be registered. Readers accept more: see [Registry.Watch].
const (
	DefaultTTL    = 15 * time.Second // the TTL of a registration that names none
	MinTTL        = 5 * time.Second  // the least TTL: fewer seconds cannot survive the election of a new etcd leader
	MaxTTL        = 24 * time.Hour   // the greatest TTL: a day after its crash nobody wants to see an instance
	DefaultWeight = 100              // the weight of an instance that names none

	maxServiceLen = 253
	maxIDLen      = 512
	maxLabelLen   = 253
	maxValueLen   = 16 << 10
)

// State is what an instance says about its willingness to be called.
type State string

const (
	StateServing  State = "serving"  // call it; the zero State means the same
	StateDraining State = "draining" // alive and finishing its work; send it nothing new

	// stateLeaving is the goodbye: written over a key just before it is deleted, and read as gone.
	stateLeaving State = "leaving"
)

// Instance is one running copy of a service. To register one, only Addr is needed.
//
// The instances of a [View] are shared between all its readers and must not be changed; Clone makes a copy that may be.
type Instance struct {
	ID   string // names the instance within its service; default: Addr. Any UTF-8, at most 512 bytes
	Addr string // host:port that callers dial; an IPv6 host stands in brackets

	Addrs    map[string]string // further addresses by name, each host:port, such as "http"
	Metadata map[string]string // free for the service's own use; no secrets, everybody can read it
	Zone     string            // where it runs; default: the registry's, see WithZone
	Version  string            // what it runs
	Weight   int               // share of calls relative to the others; 0 means DefaultWeight
	State    State             // "" means StateServing
	Check    *Check            // what servers are asked to check; nil: nothing

	// RawMetadata is the metadata of an instance whose metadata is not an object of strings, as JSON: other writers of
	// the same keys may use any shape. It is kept as it is; at most one of Metadata and RawMetadata is set.
	RawMetadata json.RawMessage

	// What follows is set by rollcall and ignored by Register and Update.

	TTL            time.Duration // how long the key outlives its process; 0 when the writer did not say
	Incarnation    string        // random id of the registration that wrote the key; public, no secret
	Holder         string        // random id of the registry that writes the key now
	Registered     time.Time     // when the registration began, by the clock of its own machine: for display only
	Revision       int64         // etcd's revision of the last write to the key
	CreateRevision int64         // etcd's revision at which the key appeared

	// Suspect is set while the instance's lease has ended in circumstances that throw doubt on that: together with those
	// of most others, or with etcd's history. It may well be alive. See [WithSuspicion].
	Suspect bool

	// Override is what an operator decided for it, as long as that counts; nil: nothing. State and Weight stay what the instance says
	// itself; what counts, EffectiveState and EffectiveWeight return.
	Override *Override

	// Health is what a check found out about it; nil: nothing is known against it. See [Instance.Check].
	Health *Health

	lease     int64  // the key's; 0: none
	tokenHash string // of the token by which the registration can be resumed; "": it cannot

	unknown map[string]json.RawMessage // fields of later versions, kept on rewrite
}

// Clone returns a copy that shares nothing with i.
func (i *Instance) Clone() *Instance {
	c := *i
	c.Addrs = maps.Clone(i.Addrs)
	c.Metadata = maps.Clone(i.Metadata)
	c.RawMetadata = slices.Clone(i.RawMetadata)
	if i.Check != nil {
		check := *i.Check
		c.Check = &check
	}
	return &c
}

// Serving reports whether the instance is to be called: it is willing, no operator drains it, and no check says that it is unhealthy.
func (i *Instance) Serving() bool { return i.EffectiveState() == StateServing && i.Healthy() }

// EffectiveState returns the state that counts: draining if the instance or an operator says so.
func (i *Instance) EffectiveState() State {
	if i.Override != nil && i.Override.Drain {
		return StateDraining
	}
	return i.State
}

// EffectiveWeight returns the weight that counts: the operator's, else the instance's own.
func (i *Instance) EffectiveWeight() int {
	if i.Override != nil && i.Override.Weight > 0 {
		return i.Override.Weight
	}
	return i.Weight
}

// withDefaults fills what a registrant left out.
func (i *Instance) withDefaults() {
	if i.ID == "" {
		i.ID = i.Addr
	}
	if i.Weight == 0 {
		i.Weight = DefaultWeight
	}
	if i.State == "" {
		i.State = StateServing
	}
}

func validateService(service string) error {
	const rule = "a service name is 1 to 253 of A-Z a-z 0-9 . _ - and begins and ends with a letter or digit"
	if service == "" || len(service) > maxServiceLen {
		return invalid("service", service, rule)
	}
	for n, c := range []byte(service) {
		inner := c == '.' || c == '_' || c == '-'
		if !alphanumeric(c) && (!inner || n == 0 || n == len(service)-1) {
			return invalid("service", service, rule)
		}
	}
	return nil
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func validateTTL(ttl time.Duration) error {
	if ttl < MinTTL || ttl > MaxTTL || ttl%time.Second != 0 {
		return invalid("TTL", ttl, fmt.Sprintf("a TTL is at least %v, at most %v, and whole seconds", MinTTL, MaxTTL))
	}
	return nil
}

// validate holds i, with its defaults filled in, against the rules for writers.
func (i *Instance) validate() error {
	if err := validateAddr("Instance.Addr", i.Addr); err != nil {
		return err
	}
	if err := validateID(i.ID); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(i.Addrs)) {
		if err := validateLabel("name in Instance.Addrs", name); err != nil {
			return err
		}
		if err := validateAddr(fmt.Sprintf("Instance.Addrs[%q]", name), i.Addrs[name]); err != nil {
			return err
		}
	}
	if i.Weight < 0 {
		return invalid("Instance.Weight", i.Weight, "a weight is 0 (the default, 100) or more")
	}
	if i.State != StateServing && i.State != StateDraining {
		return invalid("Instance.State", string(i.State), `a state is "serving" or "draining"`)
	}
	if i.Zone != "" {
		if err := validateLabel("Instance.Zone", i.Zone); err != nil {
			return err
		}
	}
	if i.Version != "" {
		if err := validateLabel("Instance.Version", i.Version); err != nil {
			return err
		}
	}
	if i.Check != nil {
		if err := i.Check.validate(i); err != nil {
			return err
		}
	}
	return i.validateMetadata()
}

func (i *Instance) validateMetadata() error {
	if i.Metadata != nil && i.RawMetadata != nil {
		return invalid("Instance.RawMetadata", string(i.RawMetadata), "Metadata and RawMetadata are not set together")
	}
	if i.RawMetadata != nil && !json.Valid(i.RawMetadata) {
		return invalid("Instance.RawMetadata", string(i.RawMetadata), "raw metadata is one JSON value")
	}
	total := len(i.RawMetadata)
	for k, v := range i.Metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return invalid("Instance.Metadata", k+"="+v, "metadata keys and values are UTF-8")
		}
		total += len(k) + len(v)
	}
	if total > maxValueLen {
		return invalid("Instance.Metadata", size(total), "an instance is at most 16 KiB, its metadata included")
	}
	return nil
}

func validateID(id string) error {
	if id == "" || len(id) > maxIDLen || !utf8.ValidString(id) {
		return invalid("Instance.ID", id, "an id is 1 to 512 bytes of UTF-8")
	}
	return nil
}

func validateAddr(field, addr string) error {
	const rule = "an address is host:port with a port from 1 to 65535"
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsFunc(host, isSpaceOrControl) {
		return invalid(field, addr, rule)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return invalid(field, addr, rule)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		return invalid(field, addr, "an address is one that callers can dial: "+host+" is where to listen")
	}
	return nil
}

func validateLabel(field, s string) error {
	if s == "" || len(s) > maxLabelLen || !utf8.ValidString(s) || strings.ContainsFunc(s, isSpaceOrControl) {
		return invalid(field, s, "1 to 253 bytes of UTF-8 without spaces and control characters")
	}
	return nil
}

func isSpaceOrControl(r rune) bool { return r <= ' ' || r == 0x7f }
