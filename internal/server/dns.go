package server

import (
	"context"
	"net"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall-io/rollcall/internal/dns"
)

// dnsDoor is where names are asked for: at one port, by UDP and by TCP.
type dnsDoor struct {
	udp net.PacketConn
	tcp net.Listener
}

// dnsPortTries is how often a free port is looked for that both UDP and TCP have.
const dnsPortTries = 10

func openDNSDoor(ctx context.Context, addr string) (d dnsDoor, err error) {
	_, port, _ := net.SplitHostPort(addr)
	for range dnsPortTries {
		if d.tcp, err = new(net.ListenConfig).Listen(ctx, "tcp", addr); err != nil {
			return dnsDoor{}, err
		}
		if d.udp, err = new(net.ListenConfig).ListenPacket(ctx, "udp", d.tcp.Addr().String()); err == nil {
			return d, nil
		}
		_ = d.tcp.Close()
		if port != "0" {
			break
		}
	}
	return dnsDoor{}, err
}

func (d dnsDoor) close() {
	if d.tcp != nil {
		_ = d.tcp.Close()
		_ = d.udp.Close()
	}
}

// addr returns where it is; "" when it is nowhere.
func (d dnsDoor) addr() string {
	if d.tcp == nil {
		return ""
	}
	return d.tcp.Addr().String()
}

// nameServers returns the addresses of the server of names, for those who ask for them: where it listens or, if that is everywhere, what is
// advertised, as far as that is an address.
func (c Config) nameServers(d dnsDoor) []netip.Addr {
	for _, hostPort := range []string{d.addr(), c.Advertise} {
		host, _, _ := net.SplitHostPort(hostPort)
		if ip, err := netip.ParseAddr(host); err == nil && !ip.IsUnspecified() {
			return []netip.Addr{ip.Unmap().WithZone("")}
		}
	}
	return nil
}

// dns is what the names are answered by.
func (c Config) dns() dns.Config {
	return dns.Config{Logger: c.Logger, Domain: c.DNSDomain, TTL: c.DNSTTL, MaxStale: c.DNSMaxStale, Rate: c.DNSRate}
}

func (f *front) buildDNS(d dnsDoor) error {
	if d.tcp == nil {
		return nil
	}
	cfg := f.cfg.dns()
	cfg.Addrs = f.cfg.nameServers(d)
	if f.guard != nil {
		cfg.Sight = f.guard.AnonymousSight
	}
	var err error
	f.dns, err = dns.New(f.registry, cfg)
	return err
}

// dnsCollector tells of the answers to those who ask for names.
type dnsCollector struct {
	stats                                                            func() dns.Stats
	questions, answers, ways, truncated, limited, stale, conns, away *prometheus.Desc
}

func newDNSCollector(stats func() dns.Stats) *dnsCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("rollcall_dns_"+name, help, labels, nil)
	}
	return &dnsCollector{
		stats:     stats,
		questions: desc("questions_total", "Questions by DNS that were understood, by the type of record.", "type"),
		answers:   desc("answers_total", "Answers by DNS, by their code.", "code"),
		ways:      desc("messages_total", "Answers by DNS, by how they went: udp or tcp.", "protocol"),
		truncated: desc("truncated_total", "Answers by UDP that did not have all there is."),
		limited:   desc("limited_total", "Questions from networks that had had enough answers, by what came of it: slipped, sent to TCP, or dropped.", "outcome"),
		stale:     desc("stale_answers_total", "Answers of what was known last, while etcd was out of reach."),
		conns:     desc("connections", "TCP connections of those who ask for names."),
		away:      desc("turned_away_total", "TCP connections that a limit did not let in."),
	}
}

// Describe implements [prometheus.Collector].
func (c *dnsCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.questions, c.answers, c.ways, c.truncated, c.limited, c.stale, c.conns, c.away} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *dnsCollector) Collect(told chan<- prometheus.Metric) {
	s := c.stats()
	counter := func(d *prometheus.Desc, value int64, labels ...string) {
		told <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	for name, n := range s.Types {
		counter(c.questions, n, name)
	}
	for name, n := range s.Codes {
		counter(c.answers, n, name)
	}
	counter(c.ways, s.UDP, "udp")
	counter(c.ways, s.TCP, "tcp")
	counter(c.truncated, s.Truncated)
	counter(c.limited, s.Slipped, "slipped")
	counter(c.limited, s.Limited-s.Slipped, "dropped")
	counter(c.stale, s.Stale)
	counter(c.away, s.TurnedAway)
	told <- prometheus.MustNewConstMetric(c.conns, prometheus.GaugeValue, float64(s.Conns))
}
