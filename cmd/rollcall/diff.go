package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

type diffCommand struct {
	connection
	printing
	timeout  timeout
	from, to moment
}

func newDiffCommand() *cobra.Command {
	c := &diffCommand{timeout: 10 * answerTimeout}
	cmd := &cobra.Command{
		Use:   "diff [SERVICE] --from MOMENT",
		Short: "See what changed between two moments",
		Long: `See what changed between two moments, in one service or in all: + an instance that came, - one that went, ~ one that changed, or the
policy. What came and went in between does not count: 'rollcall history' has it.

How far back that goes is how far etcd remembers; a moment that it has forgotten is not found: exit code 4. That there are differences is no
failure.

With -o json or yaml it prints one object: from and to (revision, time), and services, each with service, instances (op: add, modify or
delete; id, detail, before, after), and policyBefore and policyAfter if the policy changed.`,
		Example: `  rollcall diff --from 1h
  rollcall diff jie-test --from 2026-11-23T01:00 --to 2026-11-23T02:00
  rollcall diff jie-test --from 1200 --to 1300 -o json`,
		Args: takes("[SERVICE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !c.from.set() {
				return &usageError{fmt.Errorf("--from is needed: the earlier moment")}
			}
			return c.with(cmd, c.timeout, true, func(ctx context.Context, b *client) error { return c.run(ctx, cmd, b, args) })
		},
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatJSON, formatYAML)
	f := cmd.Flags()
	f.Var(&c.timeout, "timeout", timeoutHelp)
	f.Var(&c.from, "from", "the earlier `moment`: 10m, 3h or 2d ago, a time (15:04, 2026-11-23T01:00), or a revision of etcd")
	f.Var(&c.to, "to", "the later `moment`; now when not given")
	completes(cmd, &c.connection, completeService)
	return cmd
}

func (c *diffCommand) run(ctx context.Context, cmd *cobra.Command, b *client, args []string) error {
	req := &rollcallv1.DiffRequest{FromRevision: c.from.revision, FromTime: c.from.time(), ToRevision: c.to.revision}
	if c.to.set() && c.to.text != "now" {
		req.ToTime = c.to.time()
	}
	if len(args) > 0 {
		if err := b.Validate(args[0], nil); err != nil {
			return err
		}
		req.Service = args[0]
	}
	stop := atWork(cmd, "reading the past")
	var resp *rollcallv1.DiffResponse
	var err error
	if req.GetFromTime() != nil || req.GetToTime() != nil {
		err = b.pastRead(ctx) // which tells the revision of a time
	}
	if err == nil {
		err = c.ask(ctx, b, req, &resp)
	}
	stop()
	if err != nil {
		return err
	}
	if c.data() {
		return printData(cmd.OutOrStdout(), c.output, newDiffJSON(resp))
	}
	return c.print(cmd.OutOrStdout(), cmd.ErrOrStderr(), resp)
}

func (c *diffCommand) ask(ctx context.Context, b *client, req *rollcallv1.DiffRequest, resp **rollcallv1.DiffResponse) error {
	return b.ask(ctx, "diff", func(ctx context.Context) (err error) {
		*resp, err = rollcallv1.NewHistoryServiceClient(b.conn).Diff(ctx, req)
		return err
	})
}

func (c *diffCommand) print(out, talk io.Writer, d *rollcallv1.DiffResponse) error {
	p, now := c.color.paintFor(out), time.Now()
	fmt.Fprintf(talk, "from %s to %s\n", momentWords(d.GetFrom(), now), momentWords(d.GetTo(), now))
	if len(d.GetServices()) == 0 {
		fmt.Fprintln(talk, "nothing changed")
		return nil
	}
	var rows [][]string
	for _, s := range d.GetServices() {
		for _, i := range s.GetInstances() {
			rows = append(rows, diffRow(s.GetService(), i, p))
		}
		if row := policyRow(s); row != nil {
			rows = append(rows, row)
		}
	}
	return printTable(out, rows)
}

// momentWords is a moment as precisely as it is known.
func momentWords(m *rollcallv1.Moment, now time.Time) string {
	at := message.MomentOf(m.GetTime())
	text := fmt.Sprintf("revision %d", m.GetRevision())
	if !at.IsZero() {
		text += ", " + clock(at, now) + " (" + ago(at, now) + ")"
	}
	return text
}

func diffRow(service string, i *rollcallv1.InstanceDiff, p paint) []string {
	now := i.GetAfter()
	if now == nil {
		now = i.GetBefore()
	}
	row := []string{"", nameOf(service, now.GetId()), cell(i.GetDetail())}
	switch i.GetOp() {
	case rollcallv1.Update_OP_ADD:
		row[0] = p.green("+")
	case rollcallv1.Update_OP_DELETE:
		row[0] = p.red("-")
	default:
		row[0] = p.yellow("~")
	}
	if i.GetDetail() == "" {
		row[2] = cell(now.GetAddr())
	}
	return row
}

// policyRow says what became of a policy; nil: nothing.
func policyRow(s *rollcallv1.ServiceDiff) []string {
	before, after := s.GetPolicyBefore(), s.GetPolicyAfter()
	switch {
	case before.GetRevision() == after.GetRevision():
		return nil
	case before == nil:
		return []string{"+", cell(s.GetService()), fmt.Sprintf("policy of revision %d", after.GetRevision())}
	case after == nil:
		return []string{"-", cell(s.GetService()), fmt.Sprintf("policy of revision %d", before.GetRevision())}
	}
	return []string{"~", cell(s.GetService()), fmt.Sprintf("policy of revision %d → %d", before.GetRevision(), after.GetRevision())}
}

// diffJSON is what "diff -o json" prints.
type diffJSON struct {
	From     *momentJSON       `json:"from"`
	To       *momentJSON       `json:"to"`
	Services []serviceDiffJSON `json:"services"`
}

type serviceDiffJSON struct {
	Service      string             `json:"service"`
	Instances    []instanceDiffJSON `json:"instances"`
	PolicyBefore *rollcall.Policy   `json:"policyBefore,omitempty"`
	PolicyAfter  *rollcall.Policy   `json:"policyAfter,omitempty"`
}

type instanceDiffJSON struct {
	Op     string        `json:"op"`
	ID     string        `json:"id"`
	Detail string        `json:"detail,omitempty"`
	Before *instanceJSON `json:"before,omitempty"`
	After  *instanceJSON `json:"after,omitempty"`
}

var diffOps = map[rollcallv1.Update_Op]string{
	rollcallv1.Update_OP_ADD: "add", rollcallv1.Update_OP_MODIFY: "modify", rollcallv1.Update_OP_DELETE: "delete",
}

func newDiffJSON(d *rollcallv1.DiffResponse) diffJSON {
	j := diffJSON{newMomentJSON(d.GetFrom()), newMomentJSON(d.GetTo()), []serviceDiffJSON{}}
	for _, s := range d.GetServices() {
		one := serviceDiffJSON{Service: s.GetService(), Instances: []instanceDiffJSON{}}
		for _, i := range s.GetInstances() {
			change := instanceDiffJSON{Op: diffOps[i.GetOp()], Detail: i.GetDetail()}
			change.Before, change.After = instanceOrNil(s.GetService(), i.GetBefore()), instanceOrNil(s.GetService(), i.GetAfter())
			change.ID = i.GetBefore().GetId()
			if i.GetAfter() != nil {
				change.ID = i.GetAfter().GetId()
			}
			one.Instances = append(one.Instances, change)
		}
		if s.GetPolicyBefore().GetRevision() != s.GetPolicyAfter().GetRevision() {
			one.PolicyBefore, one.PolicyAfter = policyOrNil(s.GetPolicyBefore()), policyOrNil(s.GetPolicyAfter())
		}
		j.Services = append(j.Services, one)
	}
	return j
}

func instanceOrNil(service string, m *rollcallv1.Instance) *instanceJSON {
	if m == nil {
		return nil
	}
	return new(newInstanceJSON(service, message.InstanceOf(m)))
}

func policyOrNil(m *rollcallv1.Policy) *rollcall.Policy {
	if m == nil {
		return nil
	}
	p, err := message.PolicyOf(m)
	if err != nil {
		return nil
	}
	return &p
}
