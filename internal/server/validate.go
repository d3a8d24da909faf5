package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/rollcall-io/rollcall"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Validate returns all that is wrong with c, joined, each a [*rollcall.InvalidError]; nil when nothing is.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if len(c.Etcd) > 0 {
		errs = append(c.validateEtcd(), c.validateCredentials()...)
	} else {
		errs = append(errs, c.validateClientURL(), c.validateQuota())
		errs = append(errs, c.validateCluster()...)
	}
	errs = append(errs, c.validateHistory(), c.validatePrefix())
	errs = append(errs, c.validateAuthz()...)
	return errors.Join(append(errs, c.validateListeners()...)...)
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

func (c Config) validateCredentials() []error {
	errs := []error{c.EtcdTLS.validatePair("EtcdTLS")}
	if c.EtcdTLS != (Files{}) {
		for i, endpoint := range c.Etcd {
			if !strings.HasPrefix(endpoint, "https://") {
				errs = append(errs, invalid(fmt.Sprintf("Etcd[%d]", i), strconv.Quote(endpoint), "with certificates an endpoint is https://host:port"))
			}
		}
	}
	if c.EtcdUser == "" && c.EtcdPassword != "" {
		errs = append(errs, invalid("EtcdUser", `""`, "a password is somebody's: it needs a user"))
	}
	if c.EtcdUser != "" && c.EtcdPassword == "" {
		errs = append(errs, invalid("EtcdPassword", `""`, "a user needs a password"))
	}
	return errs
}

func (c Config) validateClientURL() error {
	secure := c.ClientTLS != (Files{})
	u, err := url.Parse(c.ClientURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "" || u.User != nil || !validPort(u.Port()) {
		return invalid("ClientURL", strconv.Quote(c.ClientURL), "a client URL is http://host:port, or https://host:port, with nothing after it")
	}
	if (u.Scheme == "https") != secure {
		return invalid("ClientURL", strconv.Quote(c.ClientURL), "https:// and the certificates of --client-cert, --client-key and --client-ca come together")
	}
	if secure {
		if err := c.ClientTLS.validateMutual("ClientTLS"); err != nil {
			return err
		}
	}
	within, known := loopback(u.Hostname())
	switch {
	case !known:
		return invalid("ClientURL", strconv.Quote(c.ClientURL), `the host to listen on is an IP address or "localhost"`)
	case !within && !secure && !c.Insecure:
		return invalid("ClientURL", strconv.Quote(c.ClientURL), "an etcd that asks nobody who he is listens on loopback only, such as 127.0.0.1, unless it has certificates (--client-cert and others) or is told otherwise (--insecure)")
	}
	return nil
}

// loopback reports whether only this machine reaches a host to listen on, and whether it is one.
func loopback(host string) (within, known bool) {
	if host == "localhost" {
		return true, true
	}
	ip, err := netip.ParseAddr(host)
	return ip.IsLoopback(), err == nil
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
	opts := []rollcall.Option{rollcall.WithPrefix(c.Prefix)}
	if c.serves() {
		opts = append(opts, rollcall.WithFollowAll())
	}
	_, err := rollcall.Open(clientv3.Config{}, opts...)
	if e, ok := errors.AsType[*rollcall.InvalidError](err); ok && e.Field == "prefix" {
		return invalid("Prefix", strconv.Quote(c.Prefix), e.Rule)
	}
	return nil
}

func (c Config) validateListeners() []error {
	errs := []error{c.TLS.validatePair("TLS")}
	if c.TLS.CA != "" && c.TLS.Cert == "" {
		errs = append(errs, invalid("TLS.CA", strconv.Quote(c.TLS.CA), "who asks for certificates shows one: it goes with --tls-cert and --tls-key"))
	}
	asks := c.TLS.Cert != "" && (c.TLS.CA != "" || c.Authz != "")
	errs = append(errs, c.validateListen("GRPCListen", c.GRPCListen, asks), c.validateListen("HTTPListen", c.HTTPListen, asks), c.validateListen("PprofListen", c.PprofListen, false))
	errs = append(errs, c.validateDNS()...)
	if c.MaxConnectionAge != 0 && c.MaxConnectionAge < minAge {
		errs = append(errs, invalid("MaxConnectionAge", c.MaxConnectionAge, fmt.Sprintf("an age is 0 (without end) or at least %v", minAge)))
	}
	if c.Canary != 0 && c.Canary < minCanary {
		errs = append(errs, invalid("Canary", c.Canary, fmt.Sprintf("it is 0 (never) or at least %v", minCanary)))
	}
	if c.Advertise != "" {
		if host, port, err := net.SplitHostPort(c.Advertise); err != nil || host == "" || port == "" || port == "0" {
			errs = append(errs, invalid("Advertise", strconv.Quote(c.Advertise), "it is host:port, as others reach this server"))
		}
	}
	if c.HistoryEvents < 0 || c.HistoryEvents > 0 && c.HistoryEvents < minEvents {
		errs = append(errs, invalid("HistoryEvents", c.HistoryEvents, fmt.Sprintf("at least %d events are kept; 0 means %d", minEvents, DefaultHistoryEvents)))
	}
	if c.StopTimeout < 0 {
		errs = append(errs, invalid("StopTimeout", c.StopTimeout, "a timeout is not negative"))
	}
	return errs
}

// validateListen refuses an address that other machines reach, unless they are asked who they are or it is allowed.
func (c Config) validateListen(field, addr string, asks bool) error {
	if addr == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !validPort(port) {
		return invalid(field, strconv.Quote(addr), `where to listen is host:port, or "" for nowhere`)
	}
	within, known := loopback(host)
	switch {
	case !known && host != "":
		return invalid(field, strconv.Quote(addr), `the host to listen on is an IP address or "localhost"`)
	case !within && !asks && !c.Insecure && field == "PprofListen":
		return invalid(field, strconv.Quote(addr), "profiles are for this machine only, such as at 127.0.0.1:6060, unless it is told otherwise (--insecure)")
	case !within && !asks && !c.Insecure && field == "DNSListen":
		return invalid(field, strconv.Quote(addr), "DNS asks nobody who he is: it listens on loopback only, such as 127.0.0.1, unless there are rules of what everybody may read (--authz), or it is told otherwise (--insecure)")
	case !within && !asks && !c.Insecure:
		return invalid(field, strconv.Quote(addr), "a server that asks nobody who he is listens on loopback only, such as 127.0.0.1, unless it wants certificates (--tls-cert, --tls-key, --tls-ca), has rules (--authz, with --tls-cert and --tls-key), or is told otherwise (--insecure)")
	}
	return nil
}

// validateDNS asks who knows the rules.
func (c Config) validateDNS() []error {
	errs := []error{c.validateListen("DNSListen", c.DNSListen, c.Authz != "")}
	var wrong interface{ Unwrap() []error }
	if !errors.As(c.dns().Validate(), &wrong) {
		return errs
	}
	for _, err := range wrong.Unwrap() {
		if e, ok := errors.AsType[*rollcall.InvalidError](err); ok {
			errs = append(errs, invalid("DNS"+e.Field, e.Value, e.Rule))
		}
	}
	return errs
}
