package rollcall

import (
	"strings"
	"unicode/utf8"
)

// layout says where things lie in etcd.
//
//	<services><service>/<id>      an instance
//	<control><service>/…          what operators decided
type layout struct {
	services string // "" or ends in "/"
	control  string // ends in "/"
	flat     bool   // services holds nothing but <service>/<id>, perhaps beside keys of others: it cannot be listed
}

// DefaultPrefix is where a registry keeps its keys unless told otherwise.
const DefaultPrefix = "rollcall"

// ServerService is the service whose instances are the registry's servers: each `rollcall server` registers itself there. What else
// registers under the name is taken for one of them.
const ServerService = "rollcall.server"

// flatControl is the service name that a flat layout gives up for its control keys.
const flatControl = "rollcall"

func prefixLayout(prefix string) (layout, error) {
	if prefix == "" {
		return flatLayout("")
	}
	if strings.HasSuffix(prefix, "/") || len(prefix) > maxServiceLen || !utf8.ValidString(prefix) || strings.ContainsFunc(prefix, isSpaceOrControl) {
		return layout{}, invalid("prefix", prefix, "a prefix is at most 253 bytes of UTF-8 without spaces, control characters and a / at its end")
	}
	return layout{services: prefix + "/services/", control: prefix + "/control/"}, nil
}

func flatLayout(dir string) (layout, error) {
	if dir != "" && !strings.HasSuffix(dir, "/") || !utf8.ValidString(dir) {
		return layout{}, invalid("directory", dir, `a directory is "" or UTF-8 that ends in /`)
	}
	return layout{services: dir, control: dir + flatControl + "/control/", flat: true}, nil
}

// checkService holds a name against the rules of the registry it is used in.
func (l layout) checkService(service string) error {
	if l.flat && service == flatControl {
		return invalid("service", service, "without a prefix this name is kept for rollcall's own keys")
	}
	return validateService(service)
}

// dir is the prefix of all instance keys of a service.
func (l layout) dir(service string) string { return l.services + service + "/" }

func (l layout) key(service, id string) string { return l.dir(service) + escapeID(id) }

// idOf returns the id in a key below dir. A key with a further raw "/" is not the service's.
func idOf(dir, key string) (id string, ok bool) {
	escaped, found := strings.CutPrefix(key, dir)
	if !found || escaped == "" || strings.Contains(escaped, "/") {
		return "", false
	}
	return unescapeID(escaped), true
}

// serviceOf returns the service name in an instance key of this layout.
func (l layout) serviceOf(key string) (service string, ok bool) {
	rest, found := strings.CutPrefix(key, l.services)
	if !found {
		return "", false
	}
	service, id, found := strings.Cut(rest, "/")
	return service, found && id != "" && !strings.Contains(id, "/") && validateService(service) == nil
}

const upperHex = "0123456789ABCDEF"

func mustEscape(c byte) bool { return c == '/' || c == '%' || c < ' ' || c == 0x7f }

// escapeID percent-encodes "/", "%" and control bytes, nothing else: addresses stay readable, brackets and all.
func escapeID(id string) string {
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		if mustEscape(c) {
			b.Write([]byte{'%', upperHex[c>>4], upperHex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unescapeID undoes escapeID. A "%" that does not begin an escape stands for itself: other writers do not encode.
func unescapeID(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
			if c := byte(hi<<4 | lo); hi >= 0 && lo >= 0 && mustEscape(c) {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
