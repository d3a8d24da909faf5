package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// What a Config that names nothing gets, and the limits of what it may name.
const (
	DefaultDataDir    = "./rollcall.data"
	DefaultClientURL  = "http://127.0.0.1:2379"
	DefaultHistory    = 24 * time.Hour
	DefaultQuotaBytes = 2 << 30

	minHistory    = time.Minute
	minQuotaBytes = 16 << 20
)

// Config says what [Run] runs. Its zero value is the default server: an embedded etcd on loopback.
type Config struct {
	// Etcd are the endpoints, host:port or URLs, of an existing etcd cluster. With any of them nothing is embedded, and
	// DataDir, ClientURL, History, QuotaBytes and Insecure count for nothing.
	Etcd []string

	// DataDir is where the embedded etcd keeps its data, created with mode 0700 when it is missing. One server at a time
	// may use it. The default is DefaultDataDir.
	DataDir string

	// ClientURL is where the embedded etcd serves its clients: http://host:port, the host an IP or "localhost". With
	// port 0 it is a free port, see [Info]. The default is DefaultClientURL.
	ClientURL string

	// Insecure allows a ClientURL that other machines reach. Whoever reaches it may read and change everything.
	Insecure bool

	// History is how far back the embedded etcd remembers every change, at least 1 minute; what is older is compacted
	// away now and then, at the latest an hour after. 0 means DefaultHistory.
	History time.Duration

	// QuotaBytes is how large the embedded etcd's store may grow, at least 16 MiB; a full store takes no registrations
	// until it is compacted and defragmented. etcd advises against more than 8 GiB and warns. 0 means DefaultQuotaBytes.
	QuotaBytes int64

	// Prefix is where the registry's keys lie, as in [rollcall.WithPrefix]; "" is no default but the flat layout.
	Prefix string

	// Logger receives what an operator should know, etcd's own warnings among it; nil logs nothing.
	Logger *slog.Logger
}

// withDefaults returns c with what it leaves out filled in.
func (c Config) withDefaults() Config {
	c.DataDir = cmp.Or(c.DataDir, DefaultDataDir)
	c.ClientURL = cmp.Or(c.ClientURL, DefaultClientURL)
	c.History = cmp.Or(c.History, DefaultHistory)
	c.QuotaBytes = cmp.Or(c.QuotaBytes, DefaultQuotaBytes)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate returns all that is wrong with c, joined, each a [*rollcall.InvalidError]; nil when nothing is.
func (c Config) Validate() error {
	c = c.withDefaults()
	if len(c.Etcd) > 0 {
		return errors.Join(append(c.validateEtcd(), c.validatePrefix())...)
	}
	return errors.Join(c.validateClientURL(), c.validateHistory(), c.validateQuota(), c.validatePrefix())
}

func invalid(field string, value any, rule string) error {
	return &rollcall.InvalidError{Field: "Config." + field, Value: fmt.Sprintf("%v", value), Rule: rule}
}

func (c Config) validateEtcd() []error {
	var errs []error
	for i, endpoint := range c.Etcd {
		hostPort := endpoint
		if u, err := url.Parse(endpoint); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Path == "" {
			hostPort = u.Host
		}
		if host, port, err := net.SplitHostPort(hostPort); err != nil || host == "" || strings.Contains(hostPort, "/") || !validPort(port) || port == "0" {
			errs = append(errs, invalid(fmt.Sprintf("Etcd[%d]", i), strconv.Quote(endpoint), "an endpoint is host:port, http://host:port or https://host:port"))
		}
	}
	return errs
}

func (c Config) validateClientURL() error {
	u, err := url.Parse(c.ClientURL)
	if err != nil || u.Scheme != "http" || u.Path != "" || u.RawQuery != "" || u.User != nil || !validPort(u.Port()) {
		return invalid("ClientURL", strconv.Quote(c.ClientURL), "a client URL is http://host:port with nothing after it")
	}
	if u.Hostname() == "localhost" {
		return nil
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return invalid("ClientURL", strconv.Quote(c.ClientURL), `the host to listen on is an IP address or "localhost"`)
	}
	if !ip.IsLoopback() && !c.Insecure {
		return invalid("ClientURL", strconv.Quote(c.ClientURL), "a server without authentication listens on loopback only, such as 127.0.0.1, unless it is told otherwise (--insecure)")
	}
	return nil
}

func validPort(port string) bool {
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil
}

func (c Config) validateHistory() error {
	if c.History < minHistory {
		return invalid("History", c.History, fmt.Sprintf("a history is at least %v", minHistory))
	}
	return nil
}

func (c Config) validateQuota() error {
	if c.QuotaBytes < minQuotaBytes {
		return invalid("QuotaBytes", c.QuotaBytes, fmt.Sprintf("a quota is at least %d bytes, 16 MiB", minQuotaBytes))
	}
	return nil
}

// validatePrefix asks the library, whose rule it is. Open looks at its options first; without endpoints it opens nothing.
func (c Config) validatePrefix() error {
	_, err := rollcall.Open(clientv3.Config{}, rollcall.WithPrefix(c.Prefix))
	if e, ok := errors.AsType[*rollcall.InvalidError](err); ok && e.Field == "prefix" {
		return invalid("Prefix", e.Value, e.Rule)
	}
	return nil
}
