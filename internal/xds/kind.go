package xds

import (
	"net/url"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// kind is a type of resource. Their order is that in which a stream sends them: what a route leads to is there before the route.
type kind int

const (
	clusters kind = iota
	endpoints
	listeners
	routes
	kinds
)

var typeURLs = [kinds]string{
	clusters:  "type.googleapis.com/envoy.config.cluster.v3.Cluster",
	endpoints: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
	listeners: "type.googleapis.com/envoy.config.listener.v3.Listener",
	routes:    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
}

func kindOf(typeURL string) (kind, bool) {
	for k, u := range typeURLs {
		if u == typeURL {
			return kind(k), true
		}
	}
	return 0, false
}

// whole says that a state-of-the-world response has all resources of the type that the client asked for, and that one that is missing
// is gone.
func (k kind) whole() bool { return k == clusters || k == listeners }

// name is what a resource is called: after its service, and a cluster of one version after that, too.
type name struct {
	service string
	version string // "": not of one version
}

// maxVersion is the length of the longest version that an instance can have. A split may name others, in vain.
const maxVersion = 253

// maxName is the length of the longest name that means anything: a service, and a version of which each byte is escaped.
const maxName = 253 + len(versionMark) + 3*maxVersion

const versionMark = "?version="

// String is how the name is written. A service's name has no question mark.
func (n name) String() string {
	if n.version == "" {
		return n.service
	}
	return n.service + versionMark + url.QueryEscape(n.version)
}

// parseName reads the name of a resource; false when no such resource can be.
func parseName(k kind, text string) (name, bool) {
	if len(text) > maxName {
		return name{}, false
	}
	service, query, hasVersion := strings.Cut(text, "?")
	n := name{service: service}
	if hasVersion {
		escaped, ok := strings.CutPrefix(query, versionMark[1:])
		version, err := url.QueryUnescape(escaped)
		if !ok || err != nil || version == "" || k == listeners || k == routes {
			return name{}, false
		}
		n.version = version
	}
	return n, validService(service) && n.String() == text
}

func validService(service string) bool {
	if service == "" || len(service) > 253 {
		return false
	}
	for n, c := range []byte(service) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		inner := c == '.' || c == '_' || c == '-'
		if !alphanumeric && (!inner || n == 0 || n == len(service)-1) {
			return false
		}
	}
	return true
}

// isEmpty reports that nobody is registered for a service, and nothing was decided for it.
func isEmpty(v *rollcall.View) bool { return v == nil || len(v.Instances) == 0 && v.Policy == nil }
