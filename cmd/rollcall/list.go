package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// answerTimeout is how long list and watch wait for etcd unless told otherwise.
const answerTimeout = timeout(5 * time.Second)

const timeoutHelp = "give up when etcd has not answered within this `duration`, with exit code 3; 0 waits without limit"

type listCommand struct {
	connection
	timeout timeout
	output  format
}

func newListCommand() *cobra.Command {
	c := &listCommand{timeout: answerTimeout, output: formatTable}
	cmd := &cobra.Command{
		Use:   "list [SERVICE]",
		Short: "List the services, or the instances of one",
		Long: `List the services that have instances, with how many are in which state, or the instances of one service.

With -o json it prints one array: of services, or of instances with the fields service, id, addr, addrs, state, weight,
override, effectiveState, effectiveWeight, zone, version, metadata, ttl (seconds), registered, incarnation and revision; what
an instance does not say is left out. A service without instances is not found: exit code 4.

What an operator decided by 'rollcall drain' or 'rollcall weight' stands beside what the instance says of itself: the state
"draining (operator)", the weight "100→10" in place of 100. In JSON state and weight are the instance's own, effectiveState
and effectiveWeight are what counts, and override has drain, weight, reason, author, since, until and revision.

A list is what etcd holds now. Who follows the service may know more: an instance that expired together with most others
is not believed to be gone at once and stands there as a suspect (state suspect, in JSON "suspect": true); see 'rollcall
watch --help'.`,
		Example: `  rollcall list
  rollcall list jie-test
  rollcall list jie-test -o json | jq -r '.[].addr'`,
		Args: takes("[SERVICE]"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	c.bind(cmd)
	cmd.Flags().Var(&c.timeout, "timeout", timeoutHelp)
	cmd.Flags().VarP(&c.output, "output", "o", "output `format`: table or json")
	return cmd
}

func (c *listCommand) run(cmd *cobra.Command, args []string) error {
	b, err := c.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeBackend(cmd.Context(), b)
	ctx, cancel := c.timeout.bound(cmd.Context())
	defer cancel()
	if len(args) == 0 {
		return c.listServices(ctx, cmd, b)
	}
	return c.listInstances(ctx, cmd, b, args[0])
}

func (c *listCommand) listServices(ctx context.Context, cmd *cobra.Command, b backend) error {
	views, err := b.Services(ctx)
	if err != nil {
		return err
	}
	services := make([]serviceJSON, 0, len(views))
	rows := [][]string{{"SERVICE", "INSTANCES", "SERVING", "DRAINING"}}
	for _, view := range views {
		s := newServiceJSON(view)
		services = append(services, s)
		rows = append(rows, []string{cell(s.Service), strconv.Itoa(s.Instances), strconv.Itoa(s.Serving), strconv.Itoa(s.Draining)})
	}
	if c.output == formatJSON {
		return printJSON(cmd.OutOrStdout(), services)
	}
	return printTable(cmd.OutOrStdout(), rows)
}

func (c *listCommand) listInstances(ctx context.Context, cmd *cobra.Command, b backend, service string) error {
	view, err := b.Lookup(ctx, service)
	if err != nil {
		return err
	}
	instances := make([]instanceJSON, 0, len(view.Instances))
	rows := [][]string{instanceHeads}
	for _, i := range view.Instances {
		instances = append(instances, newInstanceJSON(service, i))
		rows = append(rows, instanceCells(i))
	}
	switch {
	case c.output == formatJSON:
		err = printJSON(cmd.OutOrStdout(), instances)
	case len(view.Instances) > 0:
		err = printTable(cmd.OutOrStdout(), rows)
	}
	if err == nil && len(view.Instances) == 0 {
		return c.notFound(service)
	}
	return err
}

func (c *connection) notFound(service string) error {
	text := fmt.Sprintf("service %q has no instances under the prefix %q of etcd at %s", service, c.prefix, c.etcd.words())
	if c.prefix != "" { // without one they cannot be listed
		text += "; 'rollcall list' shows which services have"
	}
	return &notFoundError{text}
}
