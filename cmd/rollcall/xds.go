package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

func newXdsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "xds",
		Short: "gRPC clients of any language: their configuration, and who is connected",
		Long:  `A server speaks xDS on its gRPC listener, so that gRPC clients of any language find services by "xds:///SERVICE". See docs/xds.md.`,
		Args:  takes(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newXdsBootstrapCommand(), newXdsStatusCommand())
	return cmd
}

// xdsBootstrap is what gRPC reads, by GRPC_XDS_BOOTSTRAP.
type xdsBootstrap struct {
	Servers []xdsServer `json:"xds_servers"`
	Node    xdsNode     `json:"node"`
}

type xdsServer struct {
	URI      string           `json:"server_uri"`
	Creds    []xdsCredentials `json:"channel_creds"`
	Features []string         `json:"server_features"`
}

type xdsCredentials struct {
	Type   string            `json:"type"`
	Config map[string]string `json:"config,omitempty"`
}

type xdsNode struct {
	ID       string            `json:"id"`
	Cluster  string            `json:"cluster,omitempty"`
	Locality map[string]string `json:"locality"` // Node refuses a node that has none
}

type xdsBootstrapCommand struct {
	servers servers
	oneURI  bool
	node    xdsNode
	zone    string
	ca      string
	cert    string
	key     string
}

func newXdsBootstrapCommand() *cobra.Command {
	c := &xdsBootstrapCommand{}
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Print the configuration of a gRPC client",
		Long: `Print the JSON that a gRPC client reads from the file that GRPC_XDS_BOOTSTRAP names, or from GRPC_XDS_BOOTSTRAP_CONFIG itself. With several
servers the client goes on at the next one, if it can do that. Clients that take the first one only, such as Node's and Python's before 1.67, go on
with --one-uri. With --tls-ca the servers are spoken to by TLS; the files are named, not read, and must be there where the client runs. No server
is asked.`,
		Example: `  rollcall xds bootstrap > bootstrap.json
  rollcall xds bootstrap --server a.example:7051,b.example:7051 --zone eu-1a --tls-ca /etc/rollcall/ca.pem
  rollcall xds bootstrap --server 10.0.0.1:7051,10.0.0.2:7051 --one-uri
  GRPC_XDS_BOOTSTRAP=bootstrap.json python3 client.py`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.Var(&c.servers, "server", "`addresses` of rollcall servers, host:port, comma separated (env ROLLCALL_SERVER); "+defaultServer+" when not given")
	f.BoolVar(&c.oneURI, "one-uri", false, "put all servers into one URI, for clients that take the first of several only; they are IP addresses then, without TLS")
	f.StringVar(&c.node.ID, "node-id", "", "`name` by which the client is listed; this machine's when not given")
	f.StringVar(&c.node.Cluster, "node-cluster", "", "`name` of what the client is a part of")
	f.StringVar(&c.zone, "zone", os.Getenv("ROLLCALL_ZONE"), "`zone` in which the client runs (env ROLLCALL_ZONE)")
	f.StringVar(&c.ca, "tls-ca", "", "`file` with the authorities that the servers' certificates must be from")
	f.StringVar(&c.cert, "tls-cert", "", "`file` with the certificate to show to the servers")
	f.StringVar(&c.key, "tls-key", "", "`file` with the key of --tls-cert")
	return cmd
}

func (c *xdsBootstrapCommand) run(cmd *cobra.Command) error {
	if value := os.Getenv("ROLLCALL_SERVER"); !cmd.Flags().Changed("server") && value != "" {
		if err := c.servers.Set(value); err != nil {
			return &usageError{fmt.Errorf("invalid ROLLCALL_SERVER %q: %w", value, err)}
		}
	}
	if len(c.servers) == 0 {
		c.servers = servers{defaultServer}
	}
	creds, err := c.credentials()
	if err != nil {
		return err
	}
	if c.node.ID == "" {
		if c.node.ID, err = os.Hostname(); err != nil {
			return fmt.Errorf("--node-id is needed: this machine does not know its name: %w", err)
		}
	}
	c.node.Locality = map[string]string{}
	if c.zone != "" {
		c.node.Locality["zone"] = c.zone
	}
	uris, err := c.uris()
	if err != nil {
		return err
	}
	b := xdsBootstrap{Node: c.node}
	for _, uri := range uris {
		b.Servers = append(b.Servers, xdsServer{URI: uri, Creds: []xdsCredentials{creds}, Features: []string{"xds_v3"}})
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(b)
}

// uris returns how the client reaches the servers. One URI for all is as gRPC's resolvers of addresses take it, which resolve nothing and know
// one kind each.
func (c *xdsBootstrapCommand) uris() ([]string, error) {
	if !c.oneURI {
		return c.servers, nil
	}
	var scheme string
	for _, addr := range c.servers {
		ip, err := netip.ParseAddrPort(addr)
		if err != nil || ip.Addr().Zone() != "" {
			return nil, &rollcall.InvalidError{Field: "--server", Value: strconv.Quote(addr), Rule: "with --one-uri a server is an IP address and a port, no name and no zone"}
		}
		own := "ipv6"
		if ip.Addr().Is4() {
			own = "ipv4"
		}
		if scheme != "" && own != scheme {
			return nil, &rollcall.InvalidError{Field: "--server", Value: strconv.Quote(addr), Rule: "with --one-uri all servers are " + scheme + ", as the first one is"}
		}
		scheme = own
	}
	return []string{scheme + ":" + strings.Join(c.servers, ",")}, nil
}

func (c *xdsBootstrapCommand) credentials() (xdsCredentials, error) {
	if (c.cert == "") != (c.key == "") {
		return xdsCredentials{}, &usageError{fmt.Errorf("--tls-cert and --tls-key go together")}
	}
	if c.oneURI && (c.ca != "" || c.cert != "") {
		return xdsCredentials{}, &usageError{fmt.Errorf("--one-uri goes without --tls-ca and --tls-cert: clients that need it speak no TLS to their xDS server")}
	}
	if c.ca == "" && c.cert == "" {
		return xdsCredentials{Type: "insecure"}, nil
	}
	creds := xdsCredentials{Type: "tls", Config: map[string]string{}}
	for name, file := range map[string]string{"ca_certificate_file": c.ca, "certificate_file": c.cert, "private_key_file": c.key} {
		if file != "" {
			creds.Config[name] = file
		}
	}
	return creds, nil
}

type xdsStatusCommand struct {
	connection
	printing
	timeout timeout
}

func newXdsStatusCommand() *cobra.Command {
	c := &xdsStatusCommand{timeout: answerTimeout}
	cmd := &cobra.Command{
		Use:   "status [SERVICE]",
		Short: "See the xDS clients of a server: what they watch, have acknowledged and refused",
		Long: `See the xDS clients that are connected to the server that answers: who they are by their own word, what they watch, whether they have
acknowledged the newest, and what they refused and why. With a service only those that watch it. Other servers have other clients.`,
		Example: `  rollcall xds status
  rollcall xds status jie-test -o json`,
		Args: takes("[SERVICE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd, c.timeout, true, func(ctx context.Context, b *client) error {
				return c.run(ctx, cmd, b, strings.Join(args, ""))
			})
		},
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatJSON, formatYAML)
	cmd.Flags().Var(&c.timeout, "timeout", timeoutHelp)
	completes(cmd, &c.connection, completeService)
	return cmd
}

func (c *xdsStatusCommand) run(ctx context.Context, cmd *cobra.Command, b *client, service string) error {
	var resp *rollcallv1.ListXdsClientsResponse
	err := b.ask(ctx, "xds status", func(ctx context.Context) (err error) {
		resp, err = rollcallv1.NewOperationsServiceClient(b.conn).ListXdsClients(ctx, &rollcallv1.ListXdsClientsRequest{Service: service})
		return err
	})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if c.data() {
		return printMessage(out, c.output, resp)
	}
	now, p := time.Now(), c.color.paintFor(out)
	rows := [][]string{{"CLIENT", "BY", "PROGRAM", "ZONE", "CONNECTED", "WATCHES", "STATE"}}
	for _, one := range resp.GetClients() {
		program := strings.TrimSpace(one.GetAgent() + " " + one.GetAgentVersion())
		rows = append(rows, []string{
			cell(one.GetId()), cell(one.GetAuthor()), cell(program), cell(one.GetZone()), ago(message.MomentOf(one.GetSince()), now),
			cell(xdsWatched(one)), xdsState(one, p),
		})
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(out, "no xDS clients are connected to this server")
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(alignRows(rows, nil), "\n"))
	return err
}

// xdsNamesAtMost bounds how many names a line has.
const xdsNamesAtMost = 3

// xdsWatched says what a client watches: services, by their listeners or, if it has none, clusters.
func xdsWatched(c *rollcallv1.XdsClient) string {
	for _, of := range []string{"listener", "cluster", "endpoints"} {
		for _, t := range c.GetTypes() {
			switch names := t.GetNames(); {
			case t.GetType() != of:
			case t.GetEverything():
				return "everything"
			case len(names) > xdsNamesAtMost:
				return fmt.Sprintf("%s and %d more", strings.Join(names[:xdsNamesAtMost], ","), len(names)-xdsNamesAtMost)
			case len(names) > 0:
				return strings.Join(names, ",")
			}
		}
	}
	return ""
}

// xdsState says whether a client has what it was sent.
func xdsState(c *rollcallv1.XdsClient, p paint) string {
	state := p.green("current")
	for _, t := range c.GetTypes() {
		if r := t.GetRefusal(); r != nil {
			return p.red("refused " + t.GetType() + ": " + cell(r.GetDetail()))
		}
		if t.GetPending() {
			state = p.yellow("behind")
		}
	}
	return state
}
