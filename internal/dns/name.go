package dns

import "slices"

// The labels that are ours, and no part of any value.
const (
	labelService  = "service"
	labelInstance = "instance"
	labelZone     = "zone"
	labelVersion  = "version"
	labelNS       = "ns"
	labelTCP      = "_tcp"
	labelConfig   = "_grpc_config"
	mainPort      = "grpc" // what an instance's main address is called
)

// Limits of DNS itself, RFC 1035.
const (
	maxLabel = 63
	maxName  = 255 // in a message, with the length of each label and that of the root
)

// appendValue appends a service, zone or version as the labels of a name in a message, without the root. docs/dns.md has the rules: no two
// values have the same labels, and none has one of ours. It reports false for what fits into no name.
func appendValue(b []byte, value string) ([]byte, bool) {
	if value == "" {
		return b, false
	}
	from := 0
	for i := range len(value) + 1 {
		if i < len(value) && !separates(value, i) {
			continue
		}
		var ok bool
		if b, ok = appendLabel(b, "", value[from:i], labelZone, labelVersion); !ok {
			return b, false
		}
		from = i + 1
	}
	return b, len(b) < maxName
}

// appendPort appends the label that a named address of an instance has. A dot in it separates nothing.
func appendPort(b []byte, name string) ([]byte, bool) { return appendLabel(b, "_", name, mainPort) }

// separates reports whether there is a dot at i that ends a label: neither what is before it nor what is behind may be empty.
func separates(value string, i int) bool {
	return value[i] == '.' && i > 0 && i < len(value)-1 && value[i-1] != '.' && value[i+1] != '.'
}

// appendLabel appends one label, its length first. Escapes begin with --, which nothing else has in it.
func appendLabel(b []byte, before, text string, ours ...string) ([]byte, bool) {
	at := len(b)
	b = append(append(b, 0), before...)
	from := len(b)
	if slices.Contains(ours, text) {
		b = append(b, "--3"...)
	}
	for i := range len(text) {
		b = appendByte(b, text, i)
	}
	if len(b) > from && b[from] == '-' {
		b = slices.Insert(b, from, 'x') // a label begins with a letter or digit
	}
	size := len(b) - at - 1
	b[at] = byte(size)
	return b, size <= maxLabel && size > len(before)
}

const lowerHex = "0123456789abcdef"

func appendByte(b []byte, text string, i int) []byte {
	c := text[i]
	switch {
	case c == 'x' && i == 0 && len(text) > 1 && !stands(text, 1): // not to be taken for the x in front of an escape
	case stands(text, i):
		return append(b, c)
	case c >= 'A' && c <= 'Z':
		return append(b, '-', '-', c+'a'-'A')
	case c == '-':
		return append(b, "--0"...)
	case c == '_':
		return append(b, "--1"...)
	case c == '.':
		return append(b, "--2"...)
	}
	return append(b, '-', '-', '9', lowerHex[c>>4], lowerHex[c&15])
}

// stands reports whether the byte at i stands for itself.
func stands(text string, i int) bool {
	if text[i] == '-' {
		return i > 0 && i < len(text)-1 && plain(text[i-1]) && plain(text[i+1])
	}
	return plain(text[i])
}

func plain(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// appendHost appends the name of a host, the root included, and reports false for what is none.
func appendHost(b []byte, host string) ([]byte, bool) {
	at := len(b)
	if n := len(host); n > 0 && host[n-1] == '.' {
		host = host[:n-1]
	}
	from := 0
	for i := range len(host) + 1 {
		if i < len(host) && host[i] != '.' {
			continue
		}
		if i == from || i-from > maxLabel {
			return b[:at], false
		}
		b = append(append(b, byte(i-from)), host[from:i]...)
		from = i + 1
	}
	b = append(b, 0)
	return b, len(b)-at <= maxName
}

// parents calls do with each name that a name has other names below it by: all that is behind its first label.
func parents(labels []byte, do func([]byte)) {
	for at := int(labels[0]) + 1; at < len(labels); at += int(labels[at]) + 1 {
		do(labels[at:])
	}
}
