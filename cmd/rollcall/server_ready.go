package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rollcall-io/rollcall"
)

// readyTimeout leaves a probe that allows 5 s the time to start this program.
const readyTimeout = 3 * time.Second

type readyCommand struct {
	server  string
	config  string
	ca      string
	timeout timeout
}

func newServerReadyCommand() *cobra.Command {
	c := &readyCommand{timeout: timeout(readyTimeout)}
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Ask a server whether it is ready, for probes and scripts",
		Long: `Ask a server for its health over gRPC, and exit with 0 if it is SERVING, with 1 if it is not, and with 3 if it does not answer.

Without --server it is the server on this machine, found by that one's own settings: --config and the environment say where it listens,
wherever a container's probe runs. If it has a certificate (tls-cert) it must show that very one, whatever names are in it, and is shown it; with
--tls-ca it must show one of these authorities for the name in --server.`,
		Example: `  rollcall server ready
  rollcall server ready --config /etc/rollcall/rollcall.yaml
  rollcall server ready --server rollcall.example:7051 --tls-ca ca.crt --timeout 1s`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&c.server, "server", "", "`address` to ask, host:port; where the server of these settings listens when not given")
	f.StringVar(&c.config, "config", "", "YAML `file` of the server's settings (env ROLLCALL_CONFIG)")
	f.StringVar(&c.ca, "tls-ca", "", "`file` with the authorities that the server's certificate must be from")
	f.Var(&c.timeout, "timeout", "how long the answer may take; 0 waits for ever")
	return cmd
}

func (c *readyCommand) run(cmd *cobra.Command) error {
	asked, err := c.settings()
	if err != nil {
		return fmt.Errorf("server ready: %w", err)
	}
	addr, err := c.address(asked)
	if err != nil {
		return err
	}
	creds, err := c.credentials(asked)
	if err != nil {
		return fmt.Errorf("server ready: %w", err)
	}
	ctx, cancel := c.timeout.bound(cmd.Context())
	defer cancel()
	health, err := askHealth(ctx, addr, creds)
	switch {
	case cmd.Context().Err() != nil:
		return context.Canceled
	case err != nil:
		return &silentServerError{addr, err}
	case health != healthpb.HealthCheckResponse_SERVING:
		return fmt.Errorf("the server at %s is not ready: %s", addr, health)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "the server at %s is ready\n", addr)
	return err
}

// settings reads what a server would be started with here, by the same files and variables.
func (c *readyCommand) settings() (*serverCommand, error) {
	s := new(serverCommand)
	flags := &cobra.Command{}
	s.bind(flags)
	_, err := loadSettings(flags, c.config)
	return s, err
}

// address is where to ask: a server that listens everywhere listens on loopback, too.
func (c *readyCommand) address(s *serverCommand) (string, error) {
	if c.server != "" {
		if _, _, err := net.SplitHostPort(c.server); err != nil {
			return "", &rollcall.InvalidError{Field: "--server", Value: fmt.Sprintf("%q", c.server), Rule: "a server is at host:port"}
		}
		return c.server, nil
	}
	host, port, err := net.SplitHostPort(s.grpcListen)
	if err != nil {
		return "", &rollcall.InvalidError{Field: "grpc-listen", Value: fmt.Sprintf("%q", s.grpcListen), Rule: "a server without gRPC cannot be asked; --server names another"}
	}
	switch host {
	case "", "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return net.JoinHostPort(host, port), nil
}

func (c *readyCommand) credentials(s *serverCommand) (credentials.TransportCredentials, error) {
	own := s.tls.Cert != "" && c.server == ""
	if c.ca == "" && !own {
		return insecure.NewCredentials(), nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if own {
		pair, err := tls.LoadX509KeyPair(s.tls.Cert, s.tls.Key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate %s and its key: %w", s.tls.Cert, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
		cfg.InsecureSkipVerify = true // for the names in it, which are others' way to the server; VerifyConnection wants the very certificate
		cfg.VerifyConnection = func(state tls.ConnectionState) error { return shows(state, pair) }
	}
	if c.ca != "" {
		text, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, fmt.Errorf("read the authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read the authorities: there is no certificate in %s", c.ca)
		}
		cfg.InsecureSkipVerify, cfg.VerifyConnection = false, nil
	}
	return credentials.NewTLS(cfg), nil
}

func shows(state tls.ConnectionState, pair tls.Certificate) error {
	if len(state.PeerCertificates) == 0 || !slices.Equal(state.PeerCertificates[0].Raw, pair.Certificate[0]) {
		return errors.New("what listens there does not show the certificate of the settings")
	}
	return nil
}

func askHealth(ctx context.Context, addr string, creds credentials.TransportCredentials) (healthpb.HealthCheckResponse_ServingStatus, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds), grpc.WithDisableServiceConfig())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	resp, err := healthpb.NewHealthClient(conn).Check(ctx, new(healthpb.HealthCheckRequest))
	if status.Code(err) == codes.ResourceExhausted {
		return healthpb.HealthCheckResponse_UNKNOWN, nil // it answers, and has too much to do
	}
	return resp.GetStatus(), err
}

// silentServerError says that a server does not answer.
type silentServerError struct {
	addr string
	err  error
}

func (e *silentServerError) Error() string {
	why := strings.TrimPrefix(cause(e.err), e.addr+": ")
	if status.Code(e.err) == codes.DeadlineExceeded && !strings.Contains(why, "TLS") {
		why = "it took too long"
	}
	return fmt.Sprintf("no answer from a server at %s: %s", e.addr, why)
}

// Is makes it an unreachable one.
func (e *silentServerError) Is(target error) bool { return target == rollcall.ErrUnreachable }

func (e *silentServerError) advice() string {
	return "Is a server running there? --server, or grpc-listen in the server's own settings, says where to look."
}
