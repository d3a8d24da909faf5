package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// answerTimeout is how long commands wait for an answer unless told otherwise.
const answerTimeout = timeout(5 * time.Second)

const timeoutHelp = "give up when nobody has answered within this `duration`, with exit code 3; 0 waits without limit"

type listCommand struct {
	connection
	printing
	timeout timeout
	labels  []string
	zone    string
	version string
	begins  string
}

func newListCommand() *cobra.Command {
	c := &listCommand{timeout: answerTimeout}
	cmd := &cobra.Command{
		Use:   "list [SERVICE]",
		Short: "List the services, or the instances of one",
		Long: `List the services that have instances, with how many are in which state, or the instances of one service. With --zone, --version
and --label only such instances are listed, and counted; --begins lists only services whose names begin so.

With -o json or yaml it prints one array: of services, or of instances with the fields service, id, addr, addrs, state, weight,
override, effectiveState, effectiveWeight, zone, version, metadata, ttl (seconds), registered, incarnation, check, health and revision;
what an instance does not say is left out. With -o name it prints one name on each line, service or service/id. A service without
instances is not found: exit code 4.

What an operator decided by 'rollcall drain' or 'rollcall weight' stands beside what the instance says of itself: the state
"draining (operator)", the weight "100→10" in place of 100. An instance that fails its check is unhealthy. In JSON state and weight are
the instance's own, effectiveState and effectiveWeight are what counts, and override has drain, weight, reason, author, since, until and
revision.

Without a server the list of a service's instances is what etcd holds now. Who follows the service, as servers do, may know more: an
instance that expired together with most others is not believed to be gone at once and stands there as a suspect (state suspect, in
JSON "suspect": true); see 'rollcall watch --help'.`,
		Example: `  rollcall list
  rollcall list --zone eu-1a --label team=a
  rollcall list jie-test
  rollcall list jie-test -o json | jq -r '.[].addr'`,
		Args: takes("[SERVICE]"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args) },
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatWide, formatJSON, formatYAML, formatName)
	f := cmd.Flags()
	f.Var(&c.timeout, "timeout", timeoutHelp)
	f.StringVar(&c.zone, "zone", "", "only instances that run in this `zone`")
	f.StringVar(&c.version, "version", "", "only instances of this `version`")
	f.StringArrayVarP(&c.labels, "label", "l", nil, "only instances with this metadata, `key=value`; may be repeated")
	f.StringVar(&c.begins, "begins", "", "only services whose names begin with this `text`")
	completes(cmd, &c.connection, completeService)
	return cmd
}

func (c *listCommand) run(cmd *cobra.Command, args []string) error {
	for _, label := range c.labels {
		if name, _, found := strings.Cut(label, "="); !found || name == "" {
			return &rollcall.InvalidError{Field: "--label", Value: strconv.Quote(label), Rule: "it is written key=value"}
		}
	}
	if len(args) > 0 && c.begins != "" {
		return &usageError{fmt.Errorf("--begins is about names of services, and %q is one", args[0])}
	}
	return c.with(cmd, c.timeout, len(args) == 0, func(ctx context.Context, b *client) error {
		if len(args) == 0 {
			return c.listServices(ctx, cmd, b)
		}
		return c.listInstances(ctx, cmd, b, args[0])
	})
}

// wanted is the filter as the API has it.
func (c *listCommand) wanted() []string {
	labels := slices.Clone(c.labels)
	if c.zone != "" {
		labels = append(labels, "zone="+c.zone)
	}
	if c.version != "" {
		labels = append(labels, "version="+c.version)
	}
	return labels
}

func (c *listCommand) listServices(ctx context.Context, cmd *cobra.Command, b *client) error {
	all, first, err := b.summaries(ctx, &rollcallv1.ListServicesRequest{Prefix: c.begins, Labels: c.wanted()})
	if err != nil {
		return err
	}
	b.tellStale(cmd.ErrOrStderr(), message.MomentOf(first.GetStale().GetSince()), time.Now())
	all = slices.DeleteFunc(all, func(s *rollcallv1.ServiceSummary) bool { return s.GetInstances() == 0 }) // it has a policy, and nobody whom it is for
	out := cmd.OutOrStdout()
	switch {
	case c.data():
		services := make([]serviceJSON, 0, len(all))
		for _, s := range all {
			services = append(services, newServiceJSON(s))
		}
		return printData(out, c.output, services)
	case c.output == formatName:
		for _, s := range all {
			if _, err := fmt.Fprintln(out, s.GetService()); err != nil {
				return err
			}
		}
		return nil
	}
	return printTable(out, serviceRows(all, c.output == formatWide, c.color.paintFor(out)))
}

// serviceRows is a table of services. Suspect and unhealthy ones have columns when there are any.
func serviceRows(all []*rollcallv1.ServiceSummary, wide bool, p paint) [][]string {
	suspect := wide || slices.ContainsFunc(all, func(s *rollcallv1.ServiceSummary) bool { return s.GetSuspect() > 0 })
	unhealthy := wide || slices.ContainsFunc(all, func(s *rollcallv1.ServiceSummary) bool { return s.GetUnhealthy() > 0 })
	heads := []string{"SERVICE", "INSTANCES", "SERVING", "DRAINING"}
	if suspect {
		heads = append(heads, "SUSPECT")
	}
	if unhealthy {
		heads = append(heads, "UNHEALTHY")
	}
	if wide {
		heads = append(heads, "POLICY", "ZONES", "VERSIONS")
	}
	rows := [][]string{heads}
	for _, s := range all {
		row := []string{
			cell(s.GetService()), strconv.Itoa(int(s.GetInstances())), count(s.GetServing(), paint{}.green), count(s.GetDraining(), p.yellow),
		}
		if s.GetInstances() > 0 && s.GetServing() == 0 {
			row[2] = p.red("0")
		}
		if suspect {
			row = append(row, count(s.GetSuspect(), p.red))
		}
		if unhealthy {
			row = append(row, count(s.GetUnhealthy(), p.red))
		}
		if wide {
			policy := "-"
			if s.GetPolicy() {
				policy = "yes"
			}
			row = append(row, policy, tally(s.GetZones()), tally(s.GetVersions()))
		}
		rows = append(rows, row)
	}
	return rows
}

// count is a number, coloured unless it is 0.
func count(n int32, paint func(string) string) string {
	if n == 0 {
		return "0"
	}
	return paint(strconv.Itoa(int(n)))
}

// tally has how many there are of each name: "eu-1a:2,eu-1b:1".
func tally(of map[string]int32) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		words = append(words, cell(name)+":"+strconv.Itoa(int(of[name])))
	}
	return cell(strings.Join(words, ","))
}

func (c *listCommand) listInstances(ctx context.Context, cmd *cobra.Command, b *client, service string) error {
	view, err := b.Lookup(ctx, service)
	if err != nil {
		return err
	}
	b.tellStale(cmd.ErrOrStderr(), view.StaleSince, time.Now())
	there := slices.DeleteFunc(slices.Clone(view.Instances), func(i *rollcall.Instance) bool { return !c.meets(i) })
	if err := printInstances(cmd, &c.printing, service, there); err != nil {
		return err
	}
	switch {
	case len(view.Instances) == 0:
		return c.notFound(service)
	case len(there) == 0:
		return &notFoundError{fmt.Sprintf("none of the %d instances of service %q is so", len(view.Instances), service)}
	}
	return nil
}

// printInstances prints instances of one service.
func printInstances(cmd *cobra.Command, p *printing, service string, instances []*rollcall.Instance) error {
	out := cmd.OutOrStdout()
	switch {
	case p.data():
		all := make([]instanceJSON, 0, len(instances))
		for _, i := range instances {
			all = append(all, newInstanceJSON(service, i))
		}
		return printData(out, p.output, all)
	case p.output == formatName:
		for _, i := range instances {
			if _, err := fmt.Fprintln(out, nameOf(service, i.ID)); err != nil {
				return err
			}
		}
		return nil
	case len(instances) == 0:
		return nil
	}
	colors := p.color.paintFor(out)
	rows := [][]string{instanceHeads}
	if p.output == formatWide {
		rows[0] = wideHeads
	}
	for _, i := range instances {
		row := instanceCells(i)
		if p.output == formatWide {
			row = wideCells(i)
		}
		row[2] = colors.state(row[2])
		rows = append(rows, row)
	}
	return printTable(out, rows)
}

// nameOf is service/id, quoted where a terminal would not like it.
func nameOf(service, id string) string { return service + "/" + cell(id) }

// meets reports whether an instance is one of those that are asked for.
func (c *listCommand) meets(i *rollcall.Instance) bool {
	if c.zone != "" && i.Zone != c.zone || c.version != "" && i.Version != c.version {
		return false
	}
	for _, label := range c.labels {
		name, value, _ := strings.Cut(label, "=")
		if got, has := i.Metadata[name]; !has || got != value {
			return false
		}
	}
	return true
}

func (c *connection) notFound(service string) error {
	text := fmt.Sprintf("service %q has no instances %s", service, c.within())
	if c.atServer || c.prefix != "" { // without one they cannot be listed
		text += "; 'rollcall list' shows which services have"
	}
	return &notFoundError{text}
}

// serviceJSON is a service as "list -o json" shows it.
type serviceJSON struct {
	Service   string           `json:"service"`
	Instances int32            `json:"instances"`
	Serving   int32            `json:"serving"`
	Draining  int32            `json:"draining"`
	Suspect   int32            `json:"suspect,omitempty"`
	Unhealthy int32            `json:"unhealthy,omitempty"`
	Policy    bool             `json:"policy,omitempty"`
	Zones     map[string]int32 `json:"zones,omitempty"`
	Versions  map[string]int32 `json:"versions,omitempty"`
}

func newServiceJSON(s *rollcallv1.ServiceSummary) serviceJSON {
	return serviceJSON{
		s.GetService(), s.GetInstances(), s.GetServing(), s.GetDraining(), s.GetSuspect(), s.GetUnhealthy(), s.GetPolicy(),
		named(s.GetZones()), named(s.GetVersions()),
	}
}

// named leaves out those that have no name, if nobody has.
func named(of map[string]int32) map[string]int32 {
	if len(of) == 1 && of[""] > 0 {
		return nil
	}
	return of
}
