package resolver

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/resolver"
)

var errNoRegistry = errors.New("rollcall: the resolver was built without a registry: give NewBuilder one")

// parseTarget returns the service that a target names. Whatever else the target asks for is refused: to ignore it would
// be to call other instances than were asked for.
func parseTarget(target resolver.Target) (service string, err error) {
	u := target.URL
	refuse := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf("rollcall: target %q: %s: want rollcall:///<service>", u.Redacted(), fmt.Sprintf(format, args...))
	}
	switch {
	case u.Host != "" || u.User != nil:
		return refuse("authority %q is not understood", u.Host)
	case u.Fragment != "":
		return refuse("fragment %q is not understood", u.Fragment)
	case target.Endpoint() == "":
		return refuse("it names no service")
	}
	for _, name := range slices.Sorted(maps.Keys(u.Query())) {
		return refuse("query parameter %q is not understood", name)
	}
	if u.RawQuery != "" {
		return refuse("query %q is not understood", u.RawQuery)
	}
	return target.Endpoint(), nil
}
