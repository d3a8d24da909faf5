package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

type getCommand struct {
	connection
	printing
	timeout timeout
	at      moment
}

func newGetCommand() *cobra.Command {
	c := &getCommand{timeout: answerTimeout}
	cmd := &cobra.Command{
		Use:   "get SERVICE [ID]",
		Short: "See one service, or one instance, with all that is known of it",
		Long: `See one service: its instances, what operators decided about it and them, by whom and why, and what checks found; or one instance
with all that it says of itself.

--at shows it as it was, as far as etcd remembers: at a time, so long ago, or at a revision of etcd. Whoever had been lost then and was
doubted does not stand there.

With -o json or yaml it prints one object: of a service service, revision, instances as in 'rollcall list', policy, and at (revision and
time) or stale (since, reason) when they are; of an instance the instance. With -o name it prints service/id on each line. A service without
instances, and an instance that is not there, are not found: exit code 4.`,
		Example: `  rollcall get jie-test
  rollcall get jie-test 10.0.0.7:50051
  rollcall get jie-test --at 10m
  rollcall get jie-test --at 2026-11-23T01:00 -o json`,
		Args: takes("SERVICE", "[ID]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd, c.timeout, c.at.set(), func(ctx context.Context, b *client) error { return c.run(ctx, cmd, b, args) })
		},
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatWide, formatJSON, formatYAML, formatName)
	cmd.Flags().Var(&c.timeout, "timeout", timeoutHelp)
	cmd.Flags().Var(&c.at, "at", "as it was at this `moment`: 10m, 3h or 2d ago, a time (15:04, 2026-11-23T01:00), or a revision of etcd")
	completes(cmd, &c.connection, completeService, completeInstance)
	return cmd
}

// situation is a service at a moment.
type situation struct {
	*rollcall.View

	at *rollcallv1.Moment // nil: now
}

func (c *getCommand) run(ctx context.Context, cmd *cobra.Command, b *client, args []string) error {
	s, err := c.look(ctx, b, args[0])
	if err != nil {
		return err
	}
	b.tellStale(cmd.ErrOrStderr(), s.StaleSince, time.Now())
	if len(args) > 1 {
		return c.instance(cmd, s, args[1])
	}
	return c.service(cmd, s)
}

// look returns the service now, or as it was.
func (c *getCommand) look(ctx context.Context, b *client, service string) (situation, error) {
	if !c.at.set() {
		v, err := b.Lookup(ctx, service)
		return situation{View: v}, err
	}
	if err := b.Validate(service, nil); err != nil {
		return situation{}, err
	}
	if c.at.revision == 0 {
		if err := b.pastRead(ctx); err != nil {
			return situation{}, err
		}
	}
	var resp *rollcallv1.GetServiceAtResponse
	err := b.ask(ctx, "look up "+service, func(ctx context.Context) (err error) {
		resp, err = rollcallv1.NewHistoryServiceClient(b.conn).GetServiceAt(ctx, &rollcallv1.GetServiceAtRequest{Service: service, Revision: c.at.revision, Time: c.at.time()})
		return err
	})
	if err != nil {
		return situation{}, err
	}
	v := &rollcall.View{Service: service, Revision: resp.GetAt().GetRevision()}
	for _, i := range resp.GetInstances() {
		v.Instances = append(v.Instances, message.InstanceOf(i))
	}
	if resp.GetPolicy() != nil {
		if p, err := message.PolicyOf(resp.GetPolicy()); err == nil {
			v.Policy = &p
		}
	}
	return situation{v, resp.GetAt()}, nil
}

func (c *getCommand) service(cmd *cobra.Command, s situation) error {
	out, now := cmd.OutOrStdout(), time.Now()
	switch {
	case c.data():
		if err := printData(out, c.output, newSituationJSON(s)); err != nil {
			return err
		}
	case c.output == formatName:
		for _, i := range s.Instances {
			if _, err := fmt.Fprintln(out, nameOf(s.Service, i.ID)); err != nil {
				return err
			}
		}
	case len(s.Instances) > 0 || s.Policy != nil:
		if err := c.table(out, s, now); err != nil {
			return err
		}
	}
	if len(s.Instances) == 0 {
		return c.nobody(s)
	}
	return nil
}

func (c *getCommand) nobody(s situation) error {
	if s.at == nil {
		return c.notFound(s.Service)
	}
	return &notFoundError{fmt.Sprintf("service %q had no instances at revision %d", s.Service, s.Revision)}
}

func (c *getCommand) table(out io.Writer, s situation, now time.Time) error {
	p := c.color.paintFor(out)
	lines := []string{p.bold(s.Service) + ": " + viewWords(s.View)}
	if s.at != nil {
		lines[0] += fmt.Sprintf("; as of revision %d", s.Revision)
		if at := message.MomentOf(s.at.GetTime()); !at.IsZero() {
			lines[0] += ", " + clock(at, now) + " (" + ago(at, now) + ")"
		}
	}
	if s.Policy != nil {
		lines = append(lines, fmt.Sprintf("policy of revision %d, %s", s.Policy.Revision, c.decided(s.Policy.Author, s.Policy.Reason, s.Policy.Since, time.Time{}, now)))
	}
	if len(s.Instances) > 0 {
		lines = append(lines, alignRows(c.rows(s, p, now), nil)...)
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

func (c *getCommand) rows(s situation, p paint, now time.Time) [][]string {
	heads := []string{"ID", "ADDR", "STATE", "WEIGHT", "ZONE", "VERSION", "SINCE", "NOTE"}
	if c.output == formatWide {
		heads = append(wideHeads[:len(wideHeads):len(wideHeads)], "NOTE")
	}
	rows := [][]string{heads}
	for _, i := range s.Instances {
		row := append(instanceCells(i)[:6:6], ago(i.Registered, now))
		if c.output == formatWide {
			row = wideCells(i)
		}
		row[2] = p.state(row[2])
		rows = append(rows, append(row, cmpDash(c.note(i, now))))
	}
	return rows
}

func cmpDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// note says why an instance counts as something else than it says of itself.
func (c *getCommand) note(i *rollcall.Instance, now time.Time) string {
	var notes []string
	if i.Suspect {
		notes = append(notes, "its lease ended with those of most others; 'rollcall accept' believes it")
	}
	if o := i.Override; o != nil {
		notes = append(notes, overrideWords(*o)+" "+c.decided(o.Author, o.Reason, o.Since, o.Until, now))
	}
	if h := i.Health; h != nil && h.Failing {
		note := "fails its check"
		if !h.Since.IsZero() {
			note += " for " + span(now.Sub(h.Since))
		}
		if h.Detail != "" {
			note += ": " + cell(h.Detail)
		}
		notes = append(notes, note)
	}
	return strings.Join(notes, "; ")
}

// decided says who decided, how long ago, why and until when.
func (c *getCommand) decided(author, reason string, since, until, now time.Time) string {
	text := "by " + cell(author)
	if !since.IsZero() {
		if c.output == formatWide {
			text += " at " + precise(since)
		} else {
			text += " " + ago(since, now)
		}
	}
	if reason != "" {
		text += " (" + cell(reason) + ")"
	}
	if !until.IsZero() {
		text += ", until " + clock(until, now)
	}
	return text
}

// viewWords has the numbers of a view: "3 instances, 2 serving, 1 draining".
func viewWords(v *rollcall.View) string {
	counts := map[string]int{}
	for _, i := range v.Instances {
		word := stateWord(i)
		counts[strings.TrimSuffix(word, " (operator)")]++
	}
	words := []string{plural(len(v.Instances), "instance")}
	for _, word := range []string{"serving", "draining", "suspect", "unhealthy"} {
		if n := counts[word]; n > 0 {
			words = append(words, strconv.Itoa(n)+" "+word)
		}
	}
	return strings.Join(words, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// instance prints one of them.
func (c *getCommand) instance(cmd *cobra.Command, s situation, id string) error {
	i, there := s.Get(id)
	if !there {
		if s.at != nil && len(s.Instances) == 0 {
			return c.nobody(s)
		}
		return c.noInstance(s.View, id)
	}
	out := cmd.OutOrStdout()
	switch {
	case c.data():
		return printData(out, c.output, newInstanceJSON(s.Service, i))
	case c.output == formatName:
		_, err := fmt.Fprintln(out, nameOf(s.Service, i.ID))
		return err
	}
	return printTable(out, c.details(s, i, c.color.paintFor(out), time.Now()))
}

// details is everything about an instance, a line for each.
func (c *getCommand) details(s situation, i *rollcall.Instance, p paint, now time.Time) [][]string {
	var rows [][]string
	add := func(name, value string) {
		if value != "" && value != "-" {
			rows = append(rows, []string{p.bold(name + ":"), value})
		}
	}
	registered := ""
	if !i.Registered.IsZero() {
		registered = ago(i.Registered, now) + ", " + precise(i.Registered)
	}
	add("Service", s.Service)
	add("ID", cell(i.ID))
	add("Address", cell(i.Addr))
	add("Further addresses", cell(joinPairs(i.Addrs)))
	add("State", p.state(cell(stateWord(i))))
	add("Weight", weightWord(i))
	add("Zone", cell(i.Zone))
	add("Version", cell(i.Version))
	add("Metadata", instanceCells(i)[6])
	add("Registered", registered)
	if i.TTL != 0 {
		add("TTL", lasting(i.TTL).String())
	}
	add("Note", c.note(i, now))
	if i.Check != nil {
		add("Check", checkWords(*i.Check))
	}
	if h := i.Health; h != nil && h.Checker != "" {
		add("Checked by", cell(h.Checker))
	}
	add("Incarnation", cell(i.Incarnation))
	add("Revision", strconv.FormatInt(i.Revision, 10))
	return rows
}

// checkWords says what an instance asks for.
func checkWords(c rollcall.Check) string {
	c = c.WithDefaults()
	text := string(c.Type)
	if c.Path != "" {
		text += " " + c.Path
	}
	if c.Service != "" {
		text += " " + c.Service
	}
	if c.Addr != "" {
		text += " at " + c.Addr
	}
	return cell(fmt.Sprintf("%s every %s, unhealthy after %d failures, well after %d successes", text, lasting(c.Interval), c.Fall, c.Rise))
}

// situationJSON is a service as "get -o json" shows it.
type situationJSON struct {
	Service   string           `json:"service"`
	Revision  int64            `json:"revision"`
	At        *momentJSON      `json:"at,omitempty"`
	Stale     *staleJSON       `json:"stale,omitempty"`
	Instances []instanceJSON   `json:"instances"`
	Policy    *rollcall.Policy `json:"policy,omitempty"`
}

type momentJSON struct {
	Revision int64     `json:"revision"`
	Time     time.Time `json:"time,omitzero"`
}

type staleJSON struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
}

func newMomentJSON(m *rollcallv1.Moment) *momentJSON {
	if m == nil {
		return nil
	}
	return &momentJSON{m.GetRevision(), message.MomentOf(m.GetTime())}
}

func newSituationJSON(s situation) situationJSON {
	j := situationJSON{Service: s.Service, Revision: s.Revision, At: newMomentJSON(s.at), Instances: []instanceJSON{}, Policy: s.Policy}
	for _, i := range s.Instances {
		j.Instances = append(j.Instances, newInstanceJSON(s.Service, i))
	}
	if !s.StaleSince.IsZero() {
		j.Stale = &staleJSON{Since: s.StaleSince.UTC()}
		if s.StaleErr != nil {
			j.Stale.Reason = s.StaleErr.Error()
		}
	}
	return j
}
