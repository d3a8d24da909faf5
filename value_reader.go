package rollcall

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// valueReader reads a value as [Instance.encode] and etcd's client/v3/naming write it: without white space, the fields in record's order.
// Whoever follows a service reads such a one at each change, and thousands in a list, where encoding/json, which can read anything, is most of
// the cost. What is written otherwise is left to that: the methods return false for what they do not know.
type valueReader struct{ rest []byte }

// readValue reads a value that has no field of a later version, and metadata of strings; false for any other.
func readValue(value []byte) (*Instance, bool) {
	r, i, field := valueReader{value}, &Instance{}, 0
	ok := r.object(func(name []byte) (known bool) {
		for field < len(knownFields) && knownFields[field] != string(name[1:len(name)-1]) {
			field++
		}
		if field < len(knownFields) {
			known = r.field(knownFields[field], i)
			field++
		}
		return known
	})
	return i, ok && len(r.rest) == 0
}

func (r *valueReader) field(name string, i *Instance) (ok bool) {
	switch name {
	case "Op":
		_, ok = r.number()
	case "Addr":
		i.Addr, ok = r.text()
	case "Metadata":
		if ok = r.null(); !ok {
			i.Metadata, ok = r.texts()
		}
	case "ID":
		_, ok = r.text()
	case "Incarnation":
		i.Incarnation, ok = r.text()
	case "Holder":
		i.Holder, ok = r.text()
	case "State":
		var s string
		s, ok = r.text()
		i.State = State(s)
	case "Weight":
		i.Weight, ok = r.number()
	case "Zone":
		i.Zone, ok = r.text()
	case "Version":
		i.Version, ok = r.text()
	case "Addrs":
		i.Addrs, ok = r.texts()
	case "TTL":
		var seconds int
		seconds, ok = r.number()
		i.TTL = time.Duration(seconds) * time.Second
	case "Registered":
		raw, is := r.quoted()
		ok = is && i.Registered.UnmarshalJSON(raw) == nil
	case "TokenHash":
		i.tokenHash, ok = r.text()
	case "Check":
		var c checkRecord
		raw, is := r.braced()
		ok = is && json.Unmarshal(raw, &c) == nil
		i.Check = c.check()
	}
	return ok
}

// object reads an object, whose fields are read by a function that is told their names, in quotes.
func (r *valueReader) object(field func(name []byte) bool) bool {
	if !r.next('{') {
		return false
	}
	if r.next('}') {
		return true
	}
	for {
		name, ok := r.quoted()
		if !ok || !r.next(':') || !field(name) {
			return false
		}
		if r.next('}') {
			return true
		}
		if !r.next(',') {
			return false
		}
	}
}

// next reads a byte, if it is the next.
func (r *valueReader) next(b byte) bool {
	if len(r.rest) == 0 || r.rest[0] != b {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// null reads a null.
func (r *valueReader) null() (ok bool) {
	r.rest, ok = bytes.CutPrefix(r.rest, []byte("null"))
	return ok
}

// quoted reads a string as it stands, with its quotes.
func (r *valueReader) quoted() ([]byte, bool) {
	if len(r.rest) == 0 || r.rest[0] != '"' {
		return nil, false
	}
	for n := 1; n < len(r.rest); n++ {
		switch b := r.rest[n]; {
		case b == '"':
			raw := r.rest[:n+1]
			r.rest = r.rest[n+1:]
			return raw, true
		case b == '\\':
			n++
		case b < ' ':
			return nil, false
		}
	}
	return nil, false
}

// braced reads an object as it stands. Whoever reads it further finds out whether it is one.
func (r *valueReader) braced() ([]byte, bool) {
	begin := r.rest
	for depth := 0; len(r.rest) > 0; {
		switch r.rest[0] {
		case '"':
			if _, ok := r.quoted(); !ok {
				return nil, false
			}
			continue
		case '{':
			depth++
		case '}':
			depth--
		}
		r.rest = r.rest[1:]
		if depth == 0 {
			return begin[:len(begin)-len(r.rest)], begin[0] == '{'
		}
	}
	return nil, false
}

// text reads a string.
func (r *valueReader) text() (string, bool) {
	raw, ok := r.quoted()
	if !ok {
		return "", false
	}
	return unquoted(raw)
}

// texts reads an object of strings.
func (r *valueReader) texts() (map[string]string, bool) {
	texts := map[string]string{}
	ok := r.object(func(name []byte) bool {
		key, is := unquoted(name)
		value, ok := r.text()
		texts[key] = value
		return is && ok
	})
	return texts, ok
}

// unquoted is what a string says that stands in quotes.
func unquoted(raw []byte) (s string, ok bool) {
	for _, b := range raw {
		if b == '\\' || b >= utf8.RuneSelf {
			err := json.Unmarshal(raw, &s)
			return s, err == nil
		}
	}
	return string(raw[1 : len(raw)-1]), true
}

// number reads a whole number that every int can hold.
func (r *valueReader) number() (int, bool) {
	n, negative := 0, r.next('-')
	digits := 0
	for ; digits < len(r.rest) && '0' <= r.rest[digits] && r.rest[digits] <= '9'; digits++ {
		if digits == 9 {
			return 0, false
		}
		n = n*10 + int(r.rest[digits]-'0')
	}
	if digits == 0 || digits > 1 && r.rest[0] == '0' || digits == len(r.rest) || r.rest[digits] != ',' && r.rest[digits] != '}' {
		return 0, false
	}
	r.rest = r.rest[digits:]
	if negative {
		n = -n
	}
	return n, true
}
