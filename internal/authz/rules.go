package authz

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Anonymous is the identity of callers without credentials. Patterns do not match it: a rule names it or does not mean it.
const Anonymous = "anonymous"

// verb is what a caller wants.
type verb string

const (
	read     verb = "read"     // who is there, and what was decided for them
	register verb = "register" // to be there
	steer    verb = "steer"    // to decide for others: policies, overrides, the acceptance of losses
	admin    verb = "admin"    // the server itself: its metrics, its version, its profiles
	known    verb = "known"    // no verb of rules: whatever any rule lets
)

var verbs = []verb{read, register, steer, admin}

// rules are what the file of rules says. They do not change.
type rules struct {
	TrustDomain string `yaml:"trustDomain"`
	Rules       []rule `yaml:"rules"`
	Limits      limits `yaml:"limits"`
}

// rule lets some do something.
type rule struct {
	Identities []identities `yaml:"identities"`
	Verbs      []verb       `yaml:"verbs"`
	Services   []pattern    `yaml:"services"`
	OwnAddress ownAddress   `yaml:"ownAddress"`
	Limits     limits       `yaml:"limits"` // in place of the common ones
}

// parseRules returns the rules, or all that is wrong with them.
func parseRules(text []byte) (*rules, error) {
	r := new(rules)
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(r); errors.Is(err, io.EOF) {
		return nil, errors.New("there are none")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document")
	}
	var errs []error
	if len(r.Rules) == 0 {
		errs = append(errs, errors.New("there are none"))
	}
	if r.TrustDomain != "" && !trustDomain(r.TrustDomain) {
		errs = append(errs, fmt.Errorf("trustDomain %q: a trust domain is of a-z 0-9 . _ -", r.TrustDomain))
	}
	errs = append(errs, r.Limits.check())
	for n, one := range r.Rules {
		if err := one.check(r.TrustDomain); err != nil {
			errs = append(errs, fmt.Errorf("rule %d: %w", n+1, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

func (r rule) check(trustDomain string) error {
	var errs []error
	if len(r.Identities) == 0 {
		errs = append(errs, errors.New("identities: it is for nobody"))
	}
	for _, p := range r.Identities {
		errs = append(errs, p.check(trustDomain))
	}
	if len(r.Verbs) == 0 {
		errs = append(errs, errors.New("verbs: it lets nobody do anything"))
	}
	for _, v := range r.Verbs {
		if !slices.Contains(verbs, v) {
			errs = append(errs, fmt.Errorf("verb %q: the verbs are read, register, steer and admin", string(v)))
		}
	}
	if len(r.Services) == 0 && !slices.Equal(r.Verbs, []verb{admin}) {
		errs = append(errs, errors.New("services: it is for no service; * is for all"))
	}
	for _, p := range r.Services {
		errs = append(errs, checkService(string(p)))
		if p == placeService && slices.ContainsFunc(r.Identities, func(i identities) bool { return !i.names() }) {
			errs = append(errs, fmt.Errorf("services %s: each of the identities needs it, too", placeService))
		}
	}
	if r.OwnAddress.asked() && !slices.Contains(r.Verbs, register) {
		errs = append(errs, errors.New("ownAddress: it is for the verb register"))
	}
	if r.Limits.Connections != 0 {
		errs = append(errs, errors.New("limits: connections are counted before anybody says who he is; that limit is a common one"))
	}
	return errors.Join(append(errs, r.Limits.check())...)
}

// ownAddress restricts where instances may be that somebody registers.
type ownAddress struct {
	own      bool           // where their registrant is
	networks []netip.Prefix // or in these
}

func (o ownAddress) asked() bool { return o.own || len(o.networks) > 0 }

// UnmarshalYAML implements [yaml.Unmarshaler].
func (o *ownAddress) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		if n.ShortTag() != "!!bool" || n.Decode(&o.own) != nil {
			return fmt.Errorf("line %d: ownAddress is true, false or a list of networks, such as [10.0.0.0/8]", n.Line)
		}
		return nil
	}
	var words []string
	if err := n.Decode(&words); err != nil {
		return err
	}
	for _, word := range words {
		network, err := netip.ParsePrefix(word)
		if err != nil || network != network.Masked() {
			return fmt.Errorf("line %d: ownAddress: %q is no network, such as 10.0.0.0/8", n.Line, word)
		}
		o.networks = append(o.networks, network)
	}
	if len(words) == 0 {
		return fmt.Errorf("line %d: ownAddress: no networks are no restriction; leave it out", n.Line)
	}
	return nil
}

// trustDomain reports whether a word can be one.
func trustDomain(word string) bool {
	for _, c := range []byte(word) {
		if !nameByte(c) || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return word != "" && len(word) <= 255
}

// sight is what an identity may read, as a word that is the same for all that may read the same.
func (r *rules) sight(name string) (key string, sees func(service string) bool) {
	var all []string
	for _, one := range r.Rules {
		if !slices.Contains(one.Verbs, read) {
			continue
		}
		for _, p := range one.services(name) {
			all = append(all, string(p))
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if slices.Contains(all, "*") {
		return "*", func(string) bool { return true }
	}
	return strings.Join(all, " "), func(service string) bool {
		return slices.ContainsFunc(all, func(p string) bool { return pattern(p).match(service) })
	}
}

// services returns the patterns of the services for which a rule is an identity's, nothing when it is not.
func (r rule) services(name string) []pattern {
	var found []pattern
	for _, i := range r.Identities {
		service, ok := i.match(name)
		if !ok {
			continue
		}
		for _, p := range r.Services {
			if p == placeService {
				p = pattern(service)
			}
			found = append(found, p)
		}
	}
	return found
}

// isFor reports whether a rule is for an identity.
func (r rule) isFor(name string) bool {
	return slices.ContainsFunc(r.Identities, func(i identities) bool { _, ok := i.match(name); return ok })
}
