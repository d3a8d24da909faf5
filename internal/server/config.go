package server

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

// What a Config that names nothing gets, what the command line puts in its place, and the limits of what it may name.
const (
	DefaultDataDir     = "./rollcall.data"
	DefaultClientURL   = "http://127.0.0.1:2379"
	DefaultHistory     = 24 * time.Hour
	DefaultQuotaBytes  = 2 << 30
	DefaultGRPCListen  = "127.0.0.1:7051"
	DefaultHTTPListen  = "127.0.0.1:7052"
	DefaultStopTimeout = 10 * time.Second
	DefaultCanary      = 10 * time.Second // the command line's
	DefaultDNSListen   = "127.0.0.1:7053"
	DefaultDNSDomain   = "rollcall."
	DefaultDNSTTL      = 5 * time.Second
	DefaultDNSMaxStale = time.Hour
	DefaultDNSRate     = 1000

	DefaultHistoryEvents = 100_000

	minHistory    = time.Minute
	minQuotaBytes = 16 << 20
	minAge        = 10 * time.Second
	minCanary     = time.Second
	minEvents     = 1000
)

// Config says what [Run] runs. Its zero value is an embedded etcd on loopback, and nothing that serves the registry on it.
type Config struct {
	// Etcd are the endpoints, host:port or URLs, of an existing etcd cluster. With any of them nothing is embedded, and
	// what is said below to be the embedded etcd's counts for nothing.
	Etcd []string

	// EtcdTLS is how to speak to an existing cluster: the authority that its certificates are from, for https:// endpoints
	// (without one, those that the system trusts), and our own certificate, for a cluster that wants one.
	EtcdTLS Files

	// EtcdUser and EtcdPassword are what an existing cluster with authentication knows us by.
	EtcdUser, EtcdPassword string

	// DataDir is where the embedded etcd keeps its data, created with mode 0700 when it is missing. One server at a time
	// may use it. The default is DefaultDataDir.
	DataDir string

	// ClientURL is where the embedded etcd serves its clients: http://host:port or, with ClientTLS, https://host:port, the
	// host an IP or "localhost". With port 0 it is a free port, see [Info]. The default is DefaultClientURL.
	ClientURL string

	// ClientTLS is the certificate that the embedded etcd shows its clients, and the authority that theirs must be from. The
	// server itself is one of them, by the same certificate, which must so be good for servers and clients.
	ClientTLS Files

	// History is how far back the history reaches, at least 1 minute: how long events are kept, up to HistoryEvents of them, and how long the
	// embedded etcd remembers every change; what is older is compacted away now and then, at the latest an hour after. How long an existing
	// cluster remembers is its own affair. 0 means DefaultHistory.
	History time.Duration

	// QuotaBytes is how large the embedded etcd's store may grow, at least 16 MiB; a full store takes no registrations
	// until it is compacted and defragmented. etcd advises against more than 8 GiB and warns. 0 means DefaultQuotaBytes.
	QuotaBytes int64

	// Cluster are the members of which the embedded etcd is one, the one called Name; the same on every server. Without any
	// it is alone, and has no listener for others.
	Cluster []Member
	Name    string

	// Join is for a member without data that was added to a cluster that runs, see [ReplaceMember]; else one without data
	// makes a new cluster with the others. For a member with data it counts for nothing.
	Join bool

	// PeerListen is where the other members reach this one, host:port, when it is not the address in its own URL in
	// Cluster, which may be a name. The default is that.
	PeerListen string

	// PeerTLS is this member's certificate, good for servers and clients, and the authority that the others' must be from. Off
	// loopback there is no cluster without it.
	PeerTLS Files

	// Prefix is where the registry's keys lie, as in [rollcall.WithPrefix]. "" is no default but the flat layout, on which a
	// server can serve nothing but etcd.
	Prefix string

	// SnapshotDir keeps what was last known, as in [rollcall.WithSnapshotDir]: with it a server on an existing cluster also starts
	// while that does not answer. The default is "": none.
	SnapshotDir string

	// GRPCListen and HTTPListen are where the API is served, host:port, with port 0 on a free port; "" serves none.
	GRPCListen, HTTPListen string

	// DNSListen is where names are answered, by UDP and TCP, host:port, with port 0 on a free port; "" answers none. DNS asks nobody who he is:
	// with Authz it tells what the rules let everybody read.
	DNSListen string

	// DNSDomain is what the names end in, DefaultDNSDomain if it is "".
	DNSDomain string

	// DNSTTL is how long answers may be kept, in whole seconds from one up to a day, DefaultDNSTTL if it is 0.
	DNSTTL time.Duration

	// DNSMaxStale is how long answers are given from what was known last while etcd is away; after that there is none. 0
	// means DefaultDNSMaxStale.
	DNSMaxStale time.Duration

	// DNSRate is how many answers a second by UDP one network (a /24, or a /56 of IPv6) gets; -1 is any number, 0 means DefaultDNSRate.
	DNSRate int

	// PprofListen is where profiles are to be had by HTTP, host:port; they tell much, and cost something. "" serves none.
	PprofListen string

	// TLS is the certificate of GRPCListen and HTTPListen, and, if it has an authority, the one that a client's certificate must be
	// from. Its files are read again when they change.
	TLS Files

	// Insecure allows what listens where other machines reach it without asking them who they are: ClientURL, GRPCListen,
	// HTTPListen, DNSListen and PprofListen, not the cluster's peers.
	Insecure bool

	// Hosts are the names, without ports, under which HTTP may be asked for, beside localhost and addresses. Without any, a listener
	// on loopback is asked for under no other name, and another one under every name.
	Hosts []string

	// Origins are those of web pages, such as https://ops.example, that may use HTTP from a browser, beside the server's own.
	Origins []string

	// MaxConnectionAge ends a gRPC connection after that time, ±10 %, at least 10 s, so that clients spread over servers that were added;
	// streams on it have half a minute to move. 0 means never.
	MaxConnectionAge time.Duration

	// Canary is how often the server writes its own instance, of [rollcall.ServerService], and measures how long that takes to be seen, at
	// least a second. 0 means never: then it does not register itself, other servers do not know of it, and what it has not seen itself
	// has no time in its history.
	Canary time.Duration

	// Advertise is where other machines reach GRPCListen, host:port. The default is the address that it listens on, and the machine's name
	// if that is every one.
	Advertise string

	// HistoryEvents is how many events of the registry's history are kept in memory, at least 1,000. 0 means DefaultHistoryEvents.
	HistoryEvents int

	// CheckAllow are networks that instances may be checked in though they are refused otherwise; CheckDeny are further ones that
	// they are not checked in. See docs/checks.md. NoChecks checks nothing.
	CheckAllow, CheckDeny []netip.Prefix
	NoChecks              bool

	// StopTimeout is what calls under way have to finish when the server stops. 0 means DefaultStopTimeout.
	StopTimeout time.Duration

	// Authz is the file of the rules that say who may do what, as docs/security.md has them: the server then asks for certificates but does not
	// demand them, and lets nobody do what no rule lets him. AuthzTokens is the file with the hashes of tokens, for those who have no
	// certificate. Both are read again when they change. With "" everybody may do everything.
	Authz, AuthzTokens string

	// Guard decides who may do what when there is no Authz; the zero Guard lets everybody.
	Guard Guard

	// Supervisor is told when the server is up, answers and stops; the zero Supervisor is nobody.
	Supervisor Supervisor

	// Version and Revision are the program's, for whoever asks.
	Version, Revision string

	// Logger receives what an operator should know, etcd's own warnings among it; nil logs nothing.
	Logger *slog.Logger
}

// Guard stands before every call of the API. gRPC and HTTP come to the same interceptors: an HTTP request is a gRPC call in this
// process, whose metadata says who sent it. A nil part does nothing.
type Guard struct {
	Unary  grpc.UnaryServerInterceptor
	Stream grpc.StreamServerInterceptor

	// Author returns who makes a call, by the context that the interceptors gave it; "" when that is not known.
	Author func(context.Context) string

	// Metadata says of an HTTP request what the interceptors are to know of its sender, under keys that no client can set. Inside,
	// [FromHTTP] tells such a call from one that came by the network.
	Metadata func(*http.Request) metadata.MD

	// Sight returns what a caller may be told of, as in [grpcapi.Config].
	Sight func(context.Context) (key string, sees func(service string) bool)

	// Verbs returns what a caller may do, as in [grpcapi.Config].
	Verbs func(ctx context.Context, service string) []string

	// Admit decides on HTTP requests that become no call, as in [httpapi.Config].
	Admit func(r *http.Request, page string) error
}

// metadata is what a call is told of the request that it is made for.
func (g Guard) metadata(r *http.Request) metadata.MD {
	md := metadata.MD{}
	if g.Metadata != nil {
		md = g.Metadata(r)
	}
	md.Set(grpcapi.ForAddress, r.RemoteAddr)
	if agent := r.UserAgent(); agent != "" {
		md.Set(grpcapi.ForAgent, agent)
	}
	return md
}

// withDefaults returns c with what it leaves out filled in.
func (c Config) withDefaults() Config {
	c.DataDir = cmp.Or(c.DataDir, DefaultDataDir)
	c.ClientURL = cmp.Or(c.ClientURL, DefaultClientURL)
	c.History = cmp.Or(c.History, DefaultHistory)
	c.QuotaBytes = cmp.Or(c.QuotaBytes, DefaultQuotaBytes)
	c.StopTimeout = cmp.Or(c.StopTimeout, DefaultStopTimeout)
	c.HistoryEvents = cmp.Or(c.HistoryEvents, DefaultHistoryEvents)
	c.DNSDomain = cmp.Or(c.DNSDomain, DefaultDNSDomain)
	c.DNSTTL = cmp.Or(c.DNSTTL, DefaultDNSTTL)
	c.DNSMaxStale = cmp.Or(c.DNSMaxStale, DefaultDNSMaxStale)
	c.DNSRate = cmp.Or(c.DNSRate, DefaultDNSRate)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// serves reports whether there is anything to serve beside etcd.
func (c Config) serves() bool { return c.GRPCListen != "" || c.HTTPListen != "" || c.DNSListen != "" }
