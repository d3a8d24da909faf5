package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

type statusCommand struct {
	connection
	printing
	timeout timeout
}

func newStatusCommand() *cobra.Command {
	c := &statusCommand{timeout: 2 * answerTimeout}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "See how the servers and their etcd are",
		Long: `See how the server that answers is, which others there are, how etcd and each of its members are, how much is registered, and how long
a registration takes to be seen. Without a server it is about etcd and what is registered in it.

With -o json or yaml it prints one object, as GET /v1/status has it. 'rollcall doctor' says what is wrong, and what to do about it.`,
		Example: `  rollcall status
  rollcall status -o json | jq '.etcd.members[].size'`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd, c.timeout, true, func(ctx context.Context, b *client) error { return c.run(ctx, cmd, b) })
		},
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatJSON, formatYAML)
	cmd.Flags().Var(&c.timeout, "timeout", timeoutHelp)
	completes(cmd, &c.connection)
	return cmd
}

func (c *statusCommand) run(ctx context.Context, cmd *cobra.Command, b *client) error {
	stop := atWork(cmd, "asking etcd's members")
	var resp *rollcallv1.GetStatusResponse
	err := b.ask(ctx, "status", func(ctx context.Context) (err error) {
		resp, err = rollcallv1.NewOperationsServiceClient(b.conn).GetStatus(ctx, &rollcallv1.GetStatusRequest{})
		return err
	})
	stop()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if c.data() {
		return printMessage(out, c.output, resp)
	}
	p := c.color.paintFor(out)
	return c.print(out, resp, p, time.Now(), b)
}

// printMessage prints an answer of the API as HTTP has it.
func printMessage(w io.Writer, f format, m proto.Message) error {
	text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return err
	}
	return printData(w, f, json.RawMessage(text))
}

func (c *statusCommand) print(out io.Writer, s *rollcallv1.GetStatusResponse, p paint, now time.Time, b *client) error {
	var facts [][]string
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, []string{p.bold(name + ":"), value})
		}
	}
	if b.host == nil {
		started := message.MomentOf(s.GetStarted())
		add("Server", fmt.Sprintf("%s, version %s, up for %s", strings.TrimPrefix(b.place, "the server at "), cell(s.GetVersion()), span(now.Sub(started))))
	}
	add("Prefix", fmt.Sprintf("%q", s.GetPrefix()))
	add("Registered", countWords(s.GetCounts(), p))
	if b.host == nil {
		add("Here", fmt.Sprintf("%s kept, %s, %s checked", plural(int(s.GetCounts().GetHeld()), "registration"),
			plural(int(s.GetCounts().GetStreams()), "watch stream"), plural(int(s.GetCounts().GetChecked()), "instance")))
	}
	add("Revision", strconv.FormatInt(s.GetRevision(), 10))
	add("Current", freshWords(s.GetStale(), p, now))
	add("Seen after", propagationWords(s.GetPropagation(), p, now))
	if b.host == nil {
		add("History", historyWords(s.GetHistory(), now))
	}
	add("etcd", etcdWords(s.GetEtcd(), p))
	lines := alignRows(facts, nil)
	if members := s.GetEtcd().GetMembers(); len(members) > 0 {
		lines = append(append(lines, ""), alignRows(memberRows(members, p), nil)...)
	}
	if servers := s.GetServers(); len(servers) > 0 {
		lines = append(append(lines, ""), alignRows(serverRows(servers, now), nil)...)
	}
	_, err := fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}

func countWords(n *rollcallv1.Counts, p paint) string {
	text := plural(int(n.GetInstances()), "instance") + " of " + plural(int(n.GetServices()), "service")
	for _, part := range []struct {
		n    int32
		what string
		in   func(string) string
	}{{n.GetServing(), "serving", p.green}, {n.GetDraining(), "draining", p.yellow}, {n.GetSuspect(), "suspect", p.red}, {n.GetUnhealthy(), "unhealthy", p.red}} {
		if part.n > 0 {
			text += ", " + part.in(fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	return text
}

func freshWords(stale *rollcallv1.Staleness, p paint, now time.Time) string {
	if stale == nil {
		return p.green("yes")
	}
	text := "no, etcd is out of reach for " + span(now.Sub(message.MomentOf(stale.GetSince())))
	if stale.GetReason() != "" {
		text += ": " + cell(cause(errors.New(stale.GetReason())))
	}
	return p.red(text)
}

func propagationWords(m *rollcallv1.Propagation, p paint, now time.Time) string {
	switch {
	case m == nil:
		return ""
	case m.GetError() != "":
		return p.red("the newest try failed: " + cell(m.GetError()))
	}
	return fmt.Sprintf("%s in the median, %s for 99 of 100, of %d; last %s", brief(m.GetMedian().AsDuration()), brief(m.GetP99().AsDuration()), m.GetCount(), ago(message.MomentOf(m.GetAt()), now))
}

// brief is a short duration with three digits at most.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

func historyWords(begin *rollcallv1.HistoryBegin, now time.Time) string {
	if begin == nil {
		return ""
	}
	text := fmt.Sprintf("since revision %d", begin.GetRevision())
	if at := message.MomentOf(begin.GetTime()); !at.IsZero() {
		text += ", " + clock(at, now) + " (" + ago(at, now) + ")"
	}
	if begin.GetReading() {
		text += ", still being read"
	}
	return text
}

func etcdWords(e *rollcallv1.EtcdStatus, p paint) string {
	if e == nil {
		return ""
	}
	text := "a cluster of its own"
	if e.GetEmbedded() {
		text = "inside the server"
	}
	text += ", " + plural(len(e.GetMembers()), "member")
	if len(e.GetAlarms()) > 0 {
		text += ", " + p.red("alarm: "+cell(strings.Join(e.GetAlarms(), ", ")))
	}
	return text
}

func memberRows(members []*rollcallv1.EtcdMember, p paint) [][]string {
	rows := [][]string{{"MEMBER", "ENDPOINT", "VERSION", "ROLE", "SIZE", "IN USE", "QUOTA", "ANSWERED"}}
	for _, m := range members {
		role := "follower"
		switch {
		case m.GetLeader():
			role = "leader"
		case m.GetLearner():
			role = "learner"
		}
		answered, sizes := "in "+brief(m.GetTook().AsDuration()), []string{bytesWord(m.GetSize()), bytesWord(m.GetInUse()), bytesWord(m.GetQuota())}
		if m.GetError() != "" {
			answered, role, sizes = p.red("no: "+cell(cause(errors.New(m.GetError())))), "-", []string{"-", "-", "-"}
		}
		name := m.GetName()
		if name == "" {
			name = m.GetId()
		}
		rows = append(rows, append(append([]string{cell(name), cell(strings.Join(m.GetEndpoints(), ",")), cell(m.GetVersion()), role}, sizes...), answered))
	}
	return rows
}

// bytesWord is a size for people.
func bytesWord(n int64) string {
	switch {
	case n <= 0:
		return "-"
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

func serverRows(all []*rollcallv1.ServerStatus, now time.Time) [][]string {
	rows := [][]string{{"SERVER", "ADDR", "VERSION", "UP", ""}}
	for _, s := range all {
		self := ""
		if s.GetSelf() {
			self = "answers"
		}
		up := "-"
		if since := message.MomentOf(s.GetSince()); !since.IsZero() {
			up = span(now.Sub(since))
		}
		rows = append(rows, []string{cell(s.GetName()), cell(s.GetAddr()), cell(s.GetVersion()), up, self})
	}
	return rows
}
