package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// environment names the variables that fill flags which were not given. A flag wins over its variable, the variable
// over the default; a command without the flag ignores the variable.
var environment = []struct {
	flag, variable string
	emptyCounts    bool   // a variable set to "" is a value, not an absence
	beside         string // only of commands that have this flag, too
}{
	{flag: "server", variable: "ROLLCALL_SERVER", beside: "token-file"},
	{flag: "etcd", variable: "ROLLCALL_ETCD"},
	{flag: "prefix", variable: "ROLLCALL_PREFIX", emptyCounts: true},
}

// fillFromEnvironment returns the variable that each filled flag, such as --etcd, has its value from.
func fillFromEnvironment(cmd *cobra.Command) (filled map[string]string, err error) {
	filled = map[string]string{}
	for _, e := range environment {
		flag := cmd.Flags().Lookup(e.flag)
		value, set := os.LookupEnv(e.variable)
		if flag == nil || flag.Changed || !set || value == "" && !e.emptyCounts || e.beside != "" && cmd.Flags().Lookup(e.beside) == nil {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return nil, fmt.Errorf("invalid %s %q: %w", e.variable, value, err)
		}
		filled["--"+e.flag] = e.variable
	}
	return filled, nil
}

// connection is where a command finds the registry: at a server, or in an etcd, in front of which it is its own server.
type connection struct {
	servers   servers
	tls       server.Files // of the servers
	tokenFile string

	etcd         endpoints
	etcdTLS      server.Files
	etcdUser     string
	passwordFile string
	prefix       string

	flags    *pflag.FlagSet
	nearby   string // the server to ask when nobody is named
	atServer bool   // it is at the servers; known once it is open
}

const (
	defaultServer   = server.DefaultGRPCListen
	defaultEndpoint = "127.0.0.1:2379"
	prefixHelp      = `the registry's place in etcd; "" is the layout <service>/<id> (env ROLLCALL_PREFIX)`

	// probeTimeout is how long the server on this machine may take to answer before etcd is asked instead.
	probeTimeout = 500 * time.Millisecond
)

func (c *connection) bind(cmd *cobra.Command) {
	c.etcd = endpoints{defaultEndpoint}
	f := cmd.Flags()
	c.flags, c.nearby = f, defaultServer
	f.Var(&c.servers, "server", "`addresses` of rollcall servers, host:port, comma separated (env ROLLCALL_SERVER); without it and --etcd "+defaultServer+", if it answers")
	bindClientFiles(cmd, &c.tls, "tls", "--server")
	f.StringVar(&c.tokenFile, "token-file", "", "`file` with the token by which --server knows you (or env ROLLCALL_TOKEN)")
	f.Var(&c.etcd, "etcd", "etcd's `endpoints`, host:port or URLs, comma separated, to do without a server (env ROLLCALL_ETCD)")
	bindClientFiles(cmd, &c.etcdTLS, "etcd", "--etcd")
	f.StringVar(&c.etcdUser, "etcd-user", "", "`name` by which --etcd knows you")
	f.StringVar(&c.passwordFile, "etcd-password-file", "", "`file` with the password of --etcd-user (or env ROLLCALL_ETCD_PASSWORD)")
	f.StringVar(&c.prefix, "prefix", rollcall.DefaultPrefix, prefixHelp)
}

// bindClientFiles binds the three flags of certificates in files, for whoever dials.
func bindClientFiles(cmd *cobra.Command, files *server.Files, name, of string) {
	f := cmd.Flags()
	f.StringVar(&files.CA, name+"-ca", "", "`file` with the authorities that the certificate of "+of+" must be from, as PEM")
	f.StringVar(&files.Cert, name+"-cert", "", "`file` with the certificate to show to "+of)
	f.StringVar(&files.Key, name+"-key", "", "`file` with the key of --"+name+"-cert")
}

// choose decides who is asked. What it decides by itself it says.
func (c *connection) choose(talk io.Writer) error {
	given := func(flag, variable string) (byFlag, byVariable bool) {
		return c.flags.Changed(flag), os.Getenv(variable) != ""
	}
	serverFlag, serverVariable := given("server", "ROLLCALL_SERVER")
	etcdFlag, etcdVariable := given("etcd", "ROLLCALL_ETCD")
	switch {
	case serverFlag && etcdFlag:
		return &usageError{errors.New("--server and --etcd exclude each other: a server has an etcd of its own")}
	case serverFlag, serverVariable && !etcdFlag:
		if len(c.servers) == 0 {
			return &rollcall.InvalidError{Field: "--server", Value: `""`, Rule: "at least one address, such as " + defaultServer}
		}
		if c.flags.Changed("prefix") {
			return &usageError{errors.New("--prefix goes with --etcd: a server has its own")}
		}
		c.atServer = true
		return nil
	case etcdFlag, etcdVariable, c.prefix != rollcall.DefaultPrefix:
		return c.checkEtcd()
	}
	if c.probe() {
		c.servers, c.atServer = servers{c.nearby}, true
		fmt.Fprintf(talk, "asking the server at %s; --server or --etcd asks another\n", c.nearby)
		return nil
	}
	fmt.Fprintf(talk, "no server at %s, asking etcd at %s; --server or --etcd asks another\n", c.nearby, c.etcd.words())
	return c.checkEtcd()
}

func (c *connection) checkEtcd() error {
	if len(c.etcd) == 0 {
		return &rollcall.InvalidError{Field: "--etcd", Value: `""`, Rule: "at least one endpoint, such as " + defaultEndpoint}
	}
	return nil
}

// probe reports whether a server answers on this machine, whatever it answers.
func (c *connection) probe() bool {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	cfg, err := c.tlsConfig()
	if err != nil {
		return true // which is then said
	}
	health, err := askHealth(ctx, c.nearby, transport(cfg))
	return err == nil && health == healthpb.HealthCheckResponse_SERVING || err != nil && answered(status.Convert(err))
}

// place is who is asked, as messages have it.
func (c *connection) place() string {
	if c.atServer {
		return "the server at " + c.servers.words()
	}
	return "etcd at " + c.etcd.words()
}

// within is where something is not found.
func (c *connection) within() string {
	if c.atServer {
		return "at " + c.servers.words()
	}
	return fmt.Sprintf("under the prefix %q of %s", c.prefix, c.place())
}

// tlsConfig is how the servers are spoken to; nil: in plain text.
func (c *connection) tlsConfig() (*tls.Config, error) {
	if c.tls == (server.Files{}) {
		return nil, nil
	}
	cfg, err := clientTLS(c.tls)
	if err != nil {
		return nil, fmt.Errorf("certificates for the server: %w", err)
	}
	return cfg, nil
}

// token is what to show to the servers; "" is nothing.
func (c *connection) token() (string, error) {
	if c.tokenFile == "" {
		return os.Getenv("ROLLCALL_TOKEN"), nil
	}
	text, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("read the token: %s is empty", c.tokenFile)
	}
	return token, nil
}

// password is that of --etcd-user.
func (c *connection) password() (string, error) {
	if c.passwordFile == "" {
		return os.Getenv("ROLLCALL_ETCD_PASSWORD"), nil
	}
	text, err := os.ReadFile(c.passwordFile)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// open does not wait for anybody but the server on this machine, if nobody is named. What the registry has to say by itself goes to talk.
func (c *connection) open(talk io.Writer) (*client, error) { return c.dial(talk, false) }

// openAll is open for commands that want to know of all services.
func (c *connection) openAll(talk io.Writer) (*client, error) { return c.dial(talk, true) }

func (c *connection) dial(talk io.Writer, all bool) (*client, error) {
	if err := c.choose(talk); err != nil {
		return nil, err
	}
	if c.atServer {
		return dialServers(c)
	}
	h, err := openHost(c, talk, all)
	if err != nil {
		return nil, err
	}
	return dialHost(c, h)
}

// with opens the registry for as long as a command needs it. An error of it is what the command returns, told as it is known here.
func (c *connection) with(cmd *cobra.Command, limit timeout, all bool, do func(context.Context, *client) error) error {
	b, err := c.dial(cmd.ErrOrStderr(), all)
	if err != nil {
		return err
	}
	defer closeBackend(cmd.Context(), b)
	ctx, cancel := limit.bound(cmd.Context())
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end(nil)
	if b.host != nil {
		wg.Go(func() { b.host.giveUp(ctx, end) })
	}
	return b.explain(do(ctx, b))
}

// servers is the value of --server.
type servers []string

func (s *servers) String() string { return strings.Join(*s, ",") }
func (s *servers) Type() string   { return "addresses" }
func (s *servers) words() string  { return strings.Join(*s, ", ") }

func (s *servers) Set(list string) error {
	*s = nil
	for addr := range strings.SplitSeq(list, ",") {
		addr = strings.TrimSpace(addr)
		if strings.Contains(addr, "://") || !validEndpoint(addr) {
			return fmt.Errorf("%q is not host:port", addr)
		}
		*s = append(*s, addr)
	}
	return nil
}

// clientTLS makes what to dial with.
func clientTLS(f server.Files) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.Cert != "" || f.Key != "" {
		if f.Cert == "" || f.Key == "" {
			return nil, errors.New("a certificate and its key come together")
		}
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	if f.CA == "" {
		return cfg, nil // those that the system trusts
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("there is no certificate in %s", f.CA)
	}
	return cfg, nil
}
