package resolver

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/resolver"
)

var errNoRegistry = errors.New("rollcall: the resolver was built without a registry: give NewBuilder one")

// parameters are those that a target may have, and what of an instance each selects by.
var parameters = map[string]func(*rollcall.Instance) string{
	"zone":    func(i *rollcall.Instance) string { return i.Zone },
	"version": func(i *rollcall.Instance) string { return i.Version },
}

// selection is what a target asks for.
type selection struct {
	service string
	values  url.Values // by parameter, sorted: any of the values will do
}

// Validate returns why no channel to a target could ever make a call, as a [rollcall.InvalidError]: the target is
// malformed, can be no service's in reg, or reg itself is invalid. It does no I/O.
func Validate(reg *rollcall.Registry, target string) error {
	u, err := url.Parse(target)
	if err != nil {
		return refuse(target, "it is no URL: want rollcall:///<service>")
	}
	sel, err := parseTarget(resolver.Target{URL: *u})
	if err == nil {
		err = reg.Validate(sel.service, nil)
	}
	if errors.Is(err, rollcall.ErrInvalid) {
		return err
	}
	return nil // the registry is closed, which is no property of the target
}

// parseTarget reads a target. What it does not understand is refused: to ignore it would be to call other instances than
// were asked for.
func parseTarget(target resolver.Target) (selection, error) {
	u, service := target.URL, target.Endpoint()
	malformed := func(format string, args ...any) (selection, error) {
		return selection{}, refuse(u.Redacted(), format+": want rollcall:///<service>", args...)
	}
	switch {
	case u.Host != "" || u.User != nil:
		return malformed("authority %q is not understood", u.Host)
	case u.Fragment != "":
		return malformed("fragment %q is not understood", u.Fragment)
	case service == "":
		return malformed("it names no service")
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return malformed("query %q is not understood", u.RawQuery)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := checkParameter(name, values[name]); err != "" {
			return selection{}, refuse(u.Redacted(), "%s", err)
		}
		slices.Sort(values[name])
	}
	return selection{service: service, values: values}, nil
}

// checkParameter returns what is wrong with one of a target's parameters; "" when nothing is.
func checkParameter(name string, values []string) string {
	if parameters[name] == nil {
		return fmt.Sprintf("query parameter %q with the value %q is not understood: the parameters are %s",
			name, values[0], strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
	}
	for n, value := range values {
		switch {
		case value == "":
			return fmt.Sprintf("query parameter %q has the value %q: leave it out to select any %s", name, value, name)
		case slices.Contains(values[:n], value):
			return fmt.Sprintf("query parameter %q has the value %q twice: give each value once", name, value)
		}
	}
	return ""
}

func refuse(target, format string, args ...any) error {
	return &rollcall.InvalidError{Field: "target", Value: fmt.Sprintf("%q", target), Rule: fmt.Sprintf(format, args...)}
}

// String is the same for all targets that ask for the same.
func (s selection) String() string {
	if len(s.values) == 0 {
		return s.service
	}
	return s.service + "?" + s.values.Encode()
}

// keep tells which instances of the service are asked for; nil for all.
func (s selection) keep() func(*rollcall.Instance) bool {
	if len(s.values) == 0 {
		return nil
	}
	return func(i *rollcall.Instance) bool {
		for name, values := range s.values {
			if !slices.Contains(values, parameters[name](i)) {
				return false
			}
		}
		return true
	}
}
