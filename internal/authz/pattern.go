package authz

import (
	"errors"
	"fmt"
	"strings"
)

// A pattern is a word itself, "prefix*" for all that begin so, or "*" for all.
type pattern string

func (p pattern) match(word string) bool {
	if prefix, open := strings.CutSuffix(string(p), "*"); open {
		return strings.HasPrefix(word, prefix)
	}
	return word == string(p)
}

var errEmptyPattern = errors.New("a pattern is empty; * is for all")

// checkPattern refuses what looks like a pattern of another kind.
func checkPattern(p string) error {
	switch {
	case p == "":
		return errEmptyPattern
	case strings.Contains(strings.TrimSuffix(p, "*"), "*"):
		return fmt.Errorf("pattern %q: a * is at the end only", p)
	}
	return nil
}

// Places in patterns: each stands for one whole segment between slashes. {service} is also what a rule's services may be.
const (
	placeService   = "{service}"
	placeNamespace = "{ns}"
)

// identities is a pattern of identities.
type identities string

// match reports whether an identity is meant, and what stands in the place of {service}.
func (p identities) match(name string) (service string, ok bool) {
	if name == "" || name == Anonymous || p == Anonymous {
		return "", name != "" && name == string(p) // no pattern is for nobody
	}
	if !strings.Contains(string(p), "{") {
		return "", pattern(p).match(name)
	}
	wanted, got := strings.Split(string(p), "/"), strings.Split(name, "/")
	if len(wanted) != len(got) {
		return "", false
	}
	for n, want := range wanted {
		switch {
		case got[n] == "" && (want == placeService || want == placeNamespace):
			return "", false
		case want == placeService:
			service = got[n]
		case want == placeNamespace:
		case want != got[n]:
			return "", false
		}
	}
	return service, true
}

func (p identities) names() bool { return strings.Contains(string(p), placeService) }

func (p identities) check(trustDomain string) error {
	if err := checkPattern(string(p)); err != nil || p == Anonymous || p == "*" {
		return err
	}
	text := string(p)
	kind, rest, found := strings.Cut(text, ":")
	if !found || kind != "spiffe" && kind != "dns" && kind != "token" {
		return fmt.Errorf("identity %q: an identity begins with spiffe://, dns: or token:, or is %s or *", text, Anonymous)
	}
	if rest == "" {
		return fmt.Errorf("identity %q: it names nobody", text)
	}
	if kind == "spiffe" && !strings.HasPrefix(text, "spiffe://"+trustDomain+"/") || kind == "spiffe" && trustDomain == "" {
		return fmt.Errorf("identity %q: it is not of the trust domain %q", text, trustDomain)
	}
	return p.checkPlaces(kind)
}

// checkPlaces wants each place to be a whole segment of a SPIFFE id.
func (p identities) checkPlaces(kind string) error {
	text := string(p)
	if !strings.ContainsAny(text, "{}") {
		return nil
	}
	if kind != "spiffe" || strings.HasSuffix(text, "*") {
		return fmt.Errorf("identity %q: %s and %s are for SPIFFE ids without a *", text, placeService, placeNamespace)
	}
	for segment := range strings.SplitSeq(text, "/") {
		if strings.ContainsAny(segment, "{}") && segment != placeService && segment != placeNamespace {
			return fmt.Errorf("identity %q: what is in braces is %s or %s, between slashes", text, placeService, placeNamespace)
		}
	}
	if strings.Count(text, placeService) > 1 {
		return fmt.Errorf("identity %q: %s is there once at most", text, placeService)
	}
	return nil
}

// checkService refuses a pattern that no service's name matches.
func checkService(p string) error {
	if err := checkPattern(p); err != nil || p == placeService {
		return err
	}
	for _, c := range []byte(strings.TrimSuffix(p, "*")) {
		if !nameByte(c) {
			return fmt.Errorf("services %q: a service's name is of A-Z a-z 0-9 . _ -", p)
		}
	}
	return nil
}

// nameByte reports whether a byte may be in a service's name, or in a segment of a SPIFFE id, which have the same.
func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}
