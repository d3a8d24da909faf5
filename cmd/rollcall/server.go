package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

type serverCommand struct {
	etcd      endpoints
	prefix    string
	dataDir   string
	clientURL string
	insecure  bool
	history   time.Duration
	quota     size
}

func newServerCommand() *cobra.Command {
	c := &serverCommand{history: server.DefaultHistory, quota: server.DefaultQuotaBytes}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a server with an etcd of its own, or on an existing one",
		Long: `Run a server until it is interrupted: with an embedded etcd of one member, or, with --etcd, on an existing cluster.

The embedded etcd keeps its data in --data-dir, which one server at a time may use, and remembers every change for
--history. It has no authentication yet: it listens on loopback only, unless it is told --insecure. These flags, --client-url and
--quota go only with an embedded etcd.`,
		Example: `  rollcall server
  rollcall server --data-dir /var/lib/rollcall --client-url http://127.0.0.1:12379
  rollcall server --etcd 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.Var(&c.etcd, "etcd", "`endpoints` of an existing etcd cluster, host:port or URLs, comma separated; embeds none then (env ROLLCALL_ETCD)")
	f.StringVar(&c.prefix, "prefix", rollcall.DefaultPrefix, prefixHelp)
	f.StringVar(&c.dataDir, "data-dir", server.DefaultDataDir, "`directory` of the embedded etcd's data; created when it is missing")
	f.StringVar(&c.clientURL, "client-url", server.DefaultClientURL, "`URL` where the embedded etcd serves clients: http://host:port")
	f.BoolVar(&c.insecure, "insecure", false, "allow a --client-url that other machines reach; they may read and change everything")
	f.Var((*lasting)(&c.history), "history", "how long the embedded etcd remembers every change, at least 1m; 0 means the default")
	f.Var(&c.quota, "quota", "how large the embedded etcd's store may grow: bytes, or a number of KiB, MiB or GiB; 0 means the default")
	return cmd
}

func (c *serverCommand) run(cmd *cobra.Command) error {
	if err := c.check(cmd); err != nil {
		return err
	}
	cfg := server.Config{
		Etcd:       c.etcd,
		DataDir:    c.dataDir,
		ClientURL:  c.clientURL,
		Insecure:   c.insecure,
		History:    c.history,
		QuotaBytes: int64(c.quota),
		Prefix:     c.prefix,
		Logger:     slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)),
	}
	err := server.Run(cmd.Context(), cfg, func(info server.Info) { announce(cmd.OutOrStdout(), info) })
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "server stopped")
	return err
}

// check refuses flags that would count for nothing.
func (c *serverCommand) check(cmd *cobra.Command) error {
	var given []string
	for _, name := range []string{"data-dir", "client-url", "insecure", "history", "quota"} {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if len(c.etcd) > 0 && len(given) > 0 {
		source := "--etcd"
		if !cmd.Flags().Changed("etcd") {
			source = "ROLLCALL_ETCD"
		}
		return &usageError{fmt.Errorf("only with an embedded etcd: %s; %s names an existing one, %s", strings.Join(given, ", "), source, c.etcd.words())}
	}
	return errors.Join(refuseEmpty("--data-dir", c.dataDir, server.DefaultDataDir), refuseEmpty("--client-url", c.clientURL, server.DefaultClientURL))
}

// refuseEmpty refuses what the server would take for its default: nobody says "" and means that.
func refuseEmpty(flag, value, meant string) error {
	if value != "" {
		return nil
	}
	return &rollcall.InvalidError{Field: flag, Value: `""`, Rule: "it is not empty; without the flag it is " + meant}
}

// announce prints what an operator wants to know of a server that is up.
func announce(w io.Writer, info server.Info) {
	fmt.Fprintf(w, "rollcall server %s is up\n", buildVersion())
	fmt.Fprintf(w, "  etcd            %s\n", cmp.Or(info.Version, "of a version that it does not tell"))
	if info.DataDir != "" {
		fmt.Fprintf(w, "  data directory  %s\n", info.DataDir)
		fmt.Fprintf(w, "  client URL      %s\n", info.ClientURL)
	} else {
		fmt.Fprintf(w, "  etcd endpoints  %s\n", strings.Join(info.Endpoints, ", "))
	}
	fmt.Fprintf(w, "  prefix          %q\n", info.Prefix)
}
