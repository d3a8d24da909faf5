package check

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
)

// maxAddrs is how many addresses of one name are tried.
const maxAddrs = 4

// dialer connects to what the rules allow. A name is resolved once, all that it stands for must be allowed, and what is dialled is the
// address that was judged: a name that stands for something else a moment later changes nothing.
type dialer struct {
	rules  rules
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
	net    net.Dialer
}

func newDialer(r rules, lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)) *dialer {
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	d := &dialer{rules: r, lookup: lookup, net: net.Dialer{KeepAlive: -1}}
	d.net.SetMultipathTCP(false)
	d.net.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error { return d.last(address) }
	return d
}

// last is asked by the operating system's side of a connection, just before it is made: should anything above it ever let an address
// through that was not judged, it ends here.
func (d *dialer) last(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return refusedAddress
	}
	return d.rules.judge(ap.Addr())
}

// resolve returns what an address stands for; all of it is allowed.
func (d *dialer) resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	host, port, err := d.rules.split(addr)
	if err != nil {
		return nil, err
	}
	var ips []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = []netip.Addr{ip}
	} else if ips, err = d.lookup(ctx, "ip", host); err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	out := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		if err := d.rules.judge(ip); err != nil {
			return nil, err
		}
		out = append(out, netip.AddrPortFrom(ip.Unmap(), port))
	}
	return out[:min(len(out), maxAddrs)], nil
}

// dial connects to the first of an address's addresses that accepts, each within its part of the time that is left.
func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	addrs, err := d.resolve(ctx, addr)
	if err != nil {
		return nil, err
	}
	for n, ap := range addrs {
		var conn net.Conn
		if conn, err = d.dialOne(ctx, ap, len(addrs)-n); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (d *dialer) dialOne(ctx context.Context, ap netip.AddrPort, left int) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		limited, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
		ctx = limited
	}
	return d.net.DialContext(ctx, "tcp", ap.String())
}

// until is the key of a context's value: when a probe ends, whatever becomes of it.
type until struct{}

// grace is how much later than its probe a connection ends by itself, so that the probe ends first and knows why.
const grace = 100 * time.Millisecond

// dialFor is dial as [http.Transport] wants it. A transport lets what it dials outlive the request, and a TLS handshake too, without a
// limit; so the probe's end is taken along, and set on the connection itself.
func (d *dialer) dialFor(ctx context.Context, _, addr string) (net.Conn, error) {
	end, known := ctx.Value(until{}).(time.Time)
	if !known {
		end = time.Now().Add(rollcall.MaxCheckTimeout)
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	conn, err := d.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(end.Add(grace)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
