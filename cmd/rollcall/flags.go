package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// endpoints is the value of --etcd.
type endpoints []string

func (e *endpoints) String() string { return strings.Join(*e, ",") }
func (e *endpoints) Type() string   { return "endpoints" }

// words is how messages name them.
func (e *endpoints) words() string { return strings.Join(*e, ", ") }

// Set takes a comma separated list; an empty one names no endpoints.
func (e *endpoints) Set(list string) error {
	*e = nil
	if list == "" {
		return nil
	}
	for endpoint := range strings.SplitSeq(list, ",") {
		endpoint = strings.TrimSuffix(strings.TrimSpace(endpoint), "/")
		if !validEndpoint(endpoint) {
			return fmt.Errorf("%q is not host:port, http://host:port or https://host:port", endpoint)
		}
		*e = append(*e, endpoint)
	}
	return nil
}

func validEndpoint(endpoint string) bool {
	addr := endpoint
	if scheme, rest, found := strings.Cut(endpoint, "://"); found {
		if scheme != "http" && scheme != "https" {
			return false
		}
		addr = rest
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" || strings.ContainsAny(host, " /") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// timeout is the value of --timeout: a duration that is not negative.
type timeout time.Duration

func (t *timeout) String() string { return lasting(*t).String() }
func (t *timeout) Type() string   { return "duration" }

func (t *timeout) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return errors.New("a timeout is 0 (none) or a duration such as 5s or 1m30s")
	}
	*t = timeout(d)
	return nil
}

// bound ends ctx after t.
func (t timeout) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if t == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(t))
}

// lasting is the value of a flag that is a length of time.
type lasting time.Duration

func (l lasting) Type() string { return "duration" }

// String leaves out what is zero: 24h, not 24h0m0s. Of a zero that is a default the help says nothing.
func (l lasting) String() string {
	if l == 0 {
		return "0"
	}
	text := time.Duration(l).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (l *lasting) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("a duration is a number with its unit, such as 15s or 1m30s")
	}
	*l = lasting(d)
	return nil
}

// whole is the value of a flag that is a whole number.
type whole int

func (n whole) Type() string   { return "int" }
func (n whole) String() string { return strconv.Itoa(int(n)) }

func (n *whole) Set(s string) error {
	i, err := strconv.Atoi(s)
	if err != nil {
		return errors.New("it is a whole number, such as 50")
	}
	*n = whole(i)
	return nil
}

// size is a number of bytes, written with or without a unit.
type size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

func (s *size) Type() string { return "size" }

func (s *size) String() string {
	for _, unit := range sizeUnits {
		if n := int64(*s); n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *size) Set(text string) error {
	for _, unit := range sizeUnits {
		digits, found := strings.CutSuffix(text, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > (1<<63-1)/unit.bytes {
			break
		}
		*s = size(int64(n) * unit.bytes)
		return nil
	}
	return errors.New("a size is whole bytes, or a whole number of KiB, MiB or GiB, such as 2GiB")
}

// pairs collects a flag that is repeated, each time a name and a value.
type pairs struct {
	form   string // how one is written, as the help says it
	values map[string]string
}

func (p *pairs) String() string { return "" }
func (p *pairs) Type() string   { return p.form }

func (p *pairs) Set(pair string) error {
	name, value, found := strings.Cut(pair, "=")
	if !found || name == "" {
		return errors.New("it is written " + p.form)
	}
	if _, twice := p.values[name]; twice {
		return fmt.Errorf("%q is given twice", name)
	}
	if p.values == nil {
		p.values = map[string]string{}
	}
	p.values[name] = value
	return nil
}
