package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

type serverCommand struct {
	file  string
	print bool

	etcd         endpoints
	etcdTLS      server.Files
	etcdUser     string
	passwordFile string
	prefix       string
	snapshotDir  string

	dataDir   string
	clientURL string
	clientTLS server.Files
	history   time.Duration
	quota     size

	name       string
	cluster    members
	state      clusterState
	peerListen string
	peerTLS    server.Files

	grpcListen, httpListen, pprofListen string
	dnsListen, dnsDomain                string
	dnsTTL, dnsMaxStale                 time.Duration
	dnsRate                             int
	tls                                 server.Files
	authz, authzTokens                  string
	hosts, origins                      list
	age, stopTimeout, canary            time.Duration
	advertise                           string
	historyEvents                       int
	checks                              bool
	checkAllow, checkDeny               networks
	insecure                            bool
}

func newServerCommand() *cobra.Command {
	c := &serverCommand{
		history: server.DefaultHistory, quota: server.DefaultQuotaBytes, stopTimeout: server.DefaultStopTimeout, canary: server.DefaultCanary,
		historyEvents: server.DefaultHistoryEvents, dnsTTL: server.DefaultDNSTTL, dnsMaxStale: server.DefaultDNSMaxStale, checks: true, state: stateNew,
	}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a server with an etcd of its own, or on an existing one",
		Long: `Run a server until it is interrupted: the registry over gRPC, xDS, HTTP and DNS, on an embedded etcd, or, with --etcd, on an existing
cluster. Several servers with the same --cluster, each with a --name in it, make one cluster of their embedded etcds.

The embedded etcd keeps its data in --data-dir, which one server at a time may use, and remembers every change for --history.
--data-dir, --quota, and what is called --client-… or --peer-… go only with an embedded etcd.

Everything listens on loopback only, unless it asks who comes: --tls-ca for gRPC and HTTP and --client-ca for etcd's clients want a
certificate of everybody. --insecure allows other machines without. Members of a cluster on several machines always want certificates.

Each flag is also a variable, --grpc-listen ROLLCALL_GRPC_LISTEN, and a key in the YAML file that --config names, grpc-listen. A flag wins
over the variable, the variable over the file. The password of --etcd-user is not for command lines: it is in the file that
--etcd-password-file names, in ROLLCALL_ETCD_PASSWORD, or under etcd-password in the configuration.`,
		Example: `  rollcall server
  rollcall server --data-dir /var/lib/rollcall --client-url http://127.0.0.1:12379
  rollcall server --name a --cluster a=http://127.0.0.1:2380,b=http://127.0.0.1:3380,c=http://127.0.0.1:4380
  rollcall server --etcd 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
  rollcall server --config /etc/rollcall.yaml --print-config`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	c.bind(cmd)
	cmd.AddCommand(newServerReadyCommand(), newBackupCommand(), newRestoreCommand(), newDefragCommand(), newDisarmCommand())
	return cmd
}

func (c *serverCommand) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.file, "config", "", "YAML `file` of settings (env ROLLCALL_CONFIG)")
	f.BoolVar(&c.print, "print-config", false, "print the settings and where they are from, and run nothing")

	f.Var(&c.etcd, "etcd", "`endpoints` of an existing etcd cluster, host:port or URLs, comma separated; embeds none then (env ROLLCALL_ETCD)")
	bindFiles(cmd, &c.etcdTLS, "etcd", "of an existing cluster with https:// endpoints")
	f.StringVar(&c.etcdUser, "etcd-user", "", "`name` by which an existing cluster with authentication knows the server")
	f.StringVar(&c.passwordFile, "etcd-password-file", "", "`file` with the password of --etcd-user")
	f.StringVar(&c.prefix, "prefix", rollcall.DefaultPrefix, prefixHelp)
	f.StringVar(&c.snapshotDir, "snapshot-dir", "", "`directory` of what was last known, to start with while an existing cluster does not answer")

	f.StringVar(&c.dataDir, "data-dir", server.DefaultDataDir, "`directory` of the embedded etcd's data; created when it is missing")
	f.StringVar(&c.clientURL, "client-url", server.DefaultClientURL, "`URL` where the embedded etcd serves clients: http://host:port, https://host:port")
	bindFiles(cmd, &c.clientTLS, "client", "of --client-url")
	f.Var((*lasting)(&c.history), "history", "how far back the history reaches: how long it is kept, and the embedded etcd remembers every change, at least 1m; 0 means the default")
	f.Var(&c.quota, "quota", "how large the embedded etcd's store may grow: bytes, or a number of KiB, MiB or GiB; 0 means the default")

	f.StringVar(&c.name, "name", "", "`name` of this member in --cluster")
	f.Var(&c.cluster, "cluster", "all `members` whose embedded etcds make one cluster: name=peerURL, comma separated")
	f.Var(&c.state, "cluster-state", `"new" to make the cluster, "existing" for a member without data that the others have taken in`)
	f.StringVar(&c.peerListen, "peer-listen", "", "`address` where the other members come in, host:port; the one in --cluster when not given")
	bindFiles(cmd, &c.peerTLS, "peer", "of the members of --cluster")

	f.StringVar(&c.grpcListen, "grpc-listen", server.DefaultGRPCListen, "`address` of the API over gRPC, host:port; \"\" for none")
	f.StringVar(&c.httpListen, "http-listen", server.DefaultHTTPListen, "`address` of the API over HTTP, host:port; \"\" for none")
	f.StringVar(&c.dnsListen, "dns-listen", server.DefaultDNSListen, "`address` where names are answered by UDP and TCP, host:port; \"\" for none")
	f.StringVar(&c.dnsDomain, "dns-domain", server.DefaultDNSDomain, "`domain` that those names end in")
	f.Var((*lasting)(&c.dnsTTL), "dns-ttl", "how long those answers may be kept, in whole seconds; 0 means the default")
	f.Var((*lasting)(&c.dnsMaxStale), "dns-max-stale", "how long names are answered from what was known last while etcd is away; 0 means the default")
	f.IntVar(&c.dnsRate, "dns-rate", server.DefaultDNSRate, "how many answers a second one network gets by UDP; -1 is any number, 0 means the default")
	f.StringVar(&c.pprofListen, "pprof-listen", "", "`address` of profiles over HTTP, host:port")
	bindFiles(cmd, &c.tls, "tls", "of --grpc-listen and --http-listen")
	f.StringVar(&c.authz, "authz", "", "`file` of rules: who may read, register, steer and administer what; without one everybody may do everything")
	f.StringVar(&c.authzTokens, "authz-tokens", "", "`file` with the hashes of tokens, by which --authz knows those without a certificate")
	f.Var(&c.hosts, "http-hosts", "`names` in requests' Host headers that are this server, beside localhost and addresses, comma separated")
	f.Var(&c.origins, "http-origins", "`origins` of web pages that may use HTTP from a browser, such as https://ops.example, comma separated")
	f.Var((*lasting)(&c.age), "max-connection-age", "after how long a gRPC connection is ended, ±10 %, at least 10s; 0 means never")
	f.Var((*lasting)(&c.stopTimeout), "stop-timeout", "what calls under way have to finish when the server stops; 0 means the default")
	f.Var((*lasting)(&c.canary), "canary", "how often the server writes its own instance, of "+rollcall.ServerService+", and measures how long that takes to be seen, at least 1s; 0 means never")
	f.StringVar(&c.advertise, "advertise", "", "`address` where others reach --grpc-listen, host:port; what it listens on, or this machine's name, when not given")
	f.IntVar(&c.historyEvents, "history-events", server.DefaultHistoryEvents, "how many events of the history are kept in memory, at least 1000; 0 means the default")
	f.BoolVar(&c.checks, "checks", true, "check instances that ask for it")
	f.Var(&c.checkAllow, "check-allow", "`networks` in which instances are checked though they are refused otherwise, such as 127.0.0.0/8, comma separated")
	f.Var(&c.checkDeny, "check-deny", "`networks` in which none are checked, comma separated")
	f.BoolVar(&c.insecure, "insecure", false, "let other machines in without asking who they are; they may read and change everything")
}

// bindFiles binds the three flags of certificates in files.
func bindFiles(cmd *cobra.Command, files *server.Files, name, what string) {
	f := cmd.Flags()
	f.StringVar(&files.Cert, name+"-cert", "", "`file` with the certificate "+what+", as PEM: this server's own")
	f.StringVar(&files.Key, name+"-key", "", "`file` with the key of --"+name+"-cert")
	f.StringVar(&files.CA, name+"-ca", "", "`file` with the authorities that others' certificates must be from")
}

func (c *serverCommand) run(cmd *cobra.Command) error {
	s, err := loadSettings(cmd, c.file)
	if c.print && err == nil {
		err = printConfig(cmd.OutOrStdout(), cmd, s)
	}
	if err == nil {
		err = c.check(s)
	}
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	cfg, err := c.config(s)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if c.print {
		return serverError(cfg.Validate(), s)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	err = server.Run(cmd.Context(), cfg, func(info server.Info) { announce(cmd.OutOrStdout(), info) })
	if err != nil {
		return serverError(err, s)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "server stopped")
	return err
}

func (c *serverCommand) config(s settings) (server.Config, error) {
	version, revision := serverVersion()
	cfg := server.Config{
		Etcd: c.etcd, EtcdTLS: c.etcdTLS, EtcdUser: c.etcdUser, EtcdPassword: s.password,
		DataDir: c.dataDir, ClientURL: c.clientURL, ClientTLS: c.clientTLS, History: c.history, QuotaBytes: int64(c.quota),
		Name: c.name, Cluster: c.cluster, Join: c.state == stateExisting, PeerListen: c.peerListen, PeerTLS: c.peerTLS,
		Prefix: c.prefix, SnapshotDir: c.snapshotDir,
		GRPCListen: c.grpcListen, HTTPListen: c.httpListen, PprofListen: c.pprofListen, TLS: c.tls,
		DNSListen: c.dnsListen, DNSDomain: c.dnsDomain, DNSTTL: c.dnsTTL, DNSMaxStale: c.dnsMaxStale, DNSRate: c.dnsRate,
		Authz: c.authz, AuthzTokens: c.authzTokens,
		Hosts: c.hosts, Origins: c.origins, MaxConnectionAge: c.age, StopTimeout: c.stopTimeout, Insecure: c.insecure,
		Canary: c.canary, Advertise: c.advertise, HistoryEvents: c.historyEvents,
		NoChecks: !c.checks, CheckAllow: c.checkAllow, CheckDeny: c.checkDeny,
		Version: version, Revision: revision, Supervisor: supervisor(),
	}
	if c.passwordFile == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(c.passwordFile)
	if err != nil {
		return cfg, fmt.Errorf("%s: %w", s.word("etcd-password-file"), err)
	}
	cfg.EtcdPassword = string(bytes.TrimRight(text, "\r\n"))
	return cfg, nil
}

// Settings that would count for nothing without, or beside, an embedded etcd.
var (
	embeddedOnly = []string{
		"data-dir", "client-url", "client-cert", "client-key", "client-ca", "quota",
		"name", "cluster", "cluster-state", "peer-listen", "peer-cert", "peer-key", "peer-ca",
	}
	existingOnly = []string{"etcd-cert", "etcd-key", "etcd-ca", "etcd-user", "etcd-password-file", passwordKey, "snapshot-dir"}
)

// check refuses settings that would count for nothing.
func (c *serverCommand) check(s settings) error {
	if words := s.given(embeddedOnly...); len(c.etcd) > 0 && len(words) > 0 {
		return &usageError{fmt.Errorf("only with an embedded etcd: %s; %s names an existing one, %s", strings.Join(words, ", "), s.word("etcd"), c.etcd.words())}
	}
	if words := s.given(existingOnly...); len(c.etcd) == 0 && len(words) > 0 {
		return &usageError{fmt.Errorf("only with an existing etcd: %s; --etcd names one", strings.Join(words, ", "))}
	}
	if words := s.given("etcd-password-file", passwordKey); len(words) > 1 {
		return &usageError{fmt.Errorf("there is one password: %s", strings.Join(words, " or "))}
	}
	return errors.Join(refuseEmpty(s.word("data-dir"), c.dataDir, server.DefaultDataDir), refuseEmpty(s.word("client-url"), c.clientURL, server.DefaultClientURL))
}

// refuseEmpty refuses what the server would take for its default: nobody says "" and means that.
func refuseEmpty(word, value, meant string) error {
	if value != "" {
		return nil
	}
	return &rollcall.InvalidError{Field: word, Value: `""`, Rule: "it is not empty; when it is not given it is " + meant}
}

// configSettings has the setting that fills each field of a server's configuration.
var configSettings = map[string]string{
	"Etcd": "etcd", "EtcdTLS.Cert": "etcd-cert", "EtcdTLS.Key": "etcd-key", "EtcdUser": "etcd-user", "EtcdPassword": "etcd-password-file",
	"ClientURL": "client-url", "ClientTLS.Cert": "client-cert", "ClientTLS.Key": "client-key", "ClientTLS.CA": "client-ca",
	"History": "history", "QuotaBytes": "quota", "Prefix": "prefix",
	"Name": "name", "Cluster": "cluster", "Join": "cluster-state", "PeerListen": "peer-listen",
	"PeerTLS.Cert": "peer-cert", "PeerTLS.Key": "peer-key", "PeerTLS.CA": "peer-ca",
	"GRPCListen": "grpc-listen", "HTTPListen": "http-listen", "PprofListen": "pprof-listen",
	"DNSListen": "dns-listen", "DNSDomain": "dns-domain", "DNSTTL": "dns-ttl", "DNSMaxStale": "dns-max-stale", "DNSRate": "dns-rate",
	"Authz": "authz", "AuthzTokens": "authz-tokens",
	"TLS.Cert": "tls-cert", "TLS.Key": "tls-key", "TLS.CA": "tls-ca",
	"Canary": "canary", "Advertise": "advertise", "HistoryEvents": "history-events",
	"MaxConnectionAge": "max-connection-age", "StopTimeout": "stop-timeout",
}

// serverError names what is wrong with a configuration as whoever gave it did.
func serverError(err error, s settings) error {
	bad := invalidErrors(err)
	if len(bad) == 0 && err != nil {
		return fmt.Errorf("server: %w", err)
	}
	errs := make([]error, len(bad))
	for i, b := range bad {
		field, _, _ := strings.Cut(strings.TrimPrefix(b.Field, "Config."), "[")
		word := b.Field
		if name, known := configSettings[field]; known {
			word = s.word(name)
		}
		errs[i] = &rollcall.InvalidError{Field: word, Value: b.Value, Rule: b.Rule}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// announce prints what an operator wants to know of a server that is up, and what to try next.
func announce(w io.Writer, info server.Info) {
	fmt.Fprintf(w, "rollcall server %s is up\n", buildVersion())
	for _, line := range []struct{ what, value string }{
		{"etcd", cmp.Or(info.Version, "of a version that it does not tell")},
		{"data directory", info.DataDir},
		{"client URL", info.ClientURL},
		{"peer URL", info.PeerURL},
	} {
		if line.value != "" {
			fmt.Fprintf(w, "  %-15s %s\n", line.what, line.value)
		}
	}
	if info.ClientURL == "" {
		fmt.Fprintf(w, "  %-15s %s\n", "etcd endpoints", strings.Join(info.Endpoints, ", "))
	}
	fmt.Fprintf(w, "  %-15s %q\n", "prefix", info.Prefix)
	for _, line := range []struct{ what, value string }{{"gRPC", info.GRPC}, {"HTTP", info.HTTP}, {"DNS", info.DNS}, {"pprof", info.Pprof}} {
		if line.value != "" {
			fmt.Fprintf(w, "  %-15s %s\n", line.what, line.value)
		}
	}
	if strings.HasPrefix(info.HTTP, "http://") {
		fmt.Fprintf(w, "try: curl %s/v1/services\n", info.HTTP)
	}
}

// serverVersion returns the version of the program, and the commit that it was built from when that is known.
func serverVersion() (string, string) {
	commit := revision
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return buildVersion(), commit
}
