package server

import (
	"context"
	"net"
)

// doors are the addresses where the front is entered, taken before anything else is begun.
type doors struct {
	grpc, http, pprof net.Listener // nil for those that are not wanted
	dns               dnsDoor
	secure            bool // gRPC and HTTP by TLS
}

func openDoors(ctx context.Context, cfg Config) (*doors, error) {
	d := &doors{secure: cfg.TLS.Cert != ""}
	for _, door := range []struct {
		addr, flag string
		l          *net.Listener
	}{
		{cfg.GRPCListen, "--grpc-listen", &d.grpc},
		{cfg.HTTPListen, "--http-listen", &d.http},
		{cfg.PprofListen, "--pprof-listen", &d.pprof},
	} {
		if door.addr == "" {
			continue
		}
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", door.addr)
		if err != nil {
			d.close()
			return nil, &PortError{Addr: door.addr, Flag: door.flag + " host:port", Err: err}
		}
		*door.l = l
	}
	if cfg.DNSListen != "" {
		var err error
		if d.dns, err = openDNSDoor(ctx, cfg.DNSListen); err != nil {
			d.close()
			return nil, &PortError{Addr: cfg.DNSListen, Flag: "--dns-listen host:port", Err: err}
		}
	}
	return d, nil
}

// onLoopback reports whether nothing that is served is reached from other machines.
func (d *doors) onLoopback() bool {
	for _, l := range []net.Listener{d.grpc, d.http} {
		if l == nil {
			continue
		}
		if addr, ok := l.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
			return false
		}
	}
	return true
}

// close closes those that nobody serves; who serves one closes it.
func (d *doors) close() {
	for _, l := range []net.Listener{d.grpc, d.http, d.pprof} {
		if l != nil {
			_ = l.Close()
		}
	}
	d.dns.close()
}

// info adds the doors, with their real ports.
func (d *doors) info(i Info) Info {
	scheme := "http://"
	if d.secure {
		scheme = "https://"
	}
	if d.grpc != nil {
		i.GRPC = d.grpc.Addr().String()
	}
	if d.http != nil {
		i.HTTP = scheme + d.http.Addr().String()
	}
	if d.pprof != nil {
		i.Pprof = "http://" + d.pprof.Addr().String() + "/debug/pprof/"
	}
	i.DNS = d.dns.addr()
	return i
}
