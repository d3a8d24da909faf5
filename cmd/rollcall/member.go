package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// memberWait is how long "member add" waits for the new member unless told otherwise.
const memberWait = timeout(10 * time.Minute)

func newMemberCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member COMMAND",
		Short: "List, add and remove the members of etcd's cluster",
		Long: `List, add and remove the members of etcd's cluster: the servers that were started with --cluster, or those of any other etcd.

These commands speak to etcd itself, and work also when no server can answer.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("a command is needed: list, add or remove")
			}
			return fmt.Errorf("unknown command %q: it is list, add or remove", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newMemberListCommand(), newMemberAddCommand(), newMemberRemoveCommand())
	return cmd
}

// memberJSON is a member as "member list -o json" shows it; what a member that does not answer would say is left out.
type memberJSON struct {
	Name       string   `json:"name"`
	ID         string   `json:"id"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
	Leader     bool     `json:"leader"`
	Learner    bool     `json:"learner"`
	Reached    bool     `json:"reached"`
	Endpoint   string   `json:"endpoint,omitempty"`
	Error      string   `json:"error,omitempty"`
	Version    string   `json:"version,omitempty"`
	Size       int64    `json:"size,omitempty"`
	InUse      int64    `json:"inUse,omitempty"`
	Quota      int64    `json:"quota,omitempty"`
	Revision   int64    `json:"revision,omitempty"`
}

func newMemberJSON(m server.ClusterMember) memberJSON {
	j := memberJSON{
		Name: m.Name, ID: server.MemberID(m.ID), PeerURLs: append([]string{}, m.PeerURLs...), ClientURLs: append([]string{}, m.ClientURLs...),
		Leader: m.Leader, Learner: m.Learner, Reached: m.Endpoint != "", Endpoint: m.Endpoint,
		Version: m.Version, Size: m.Size, InUse: m.InUse, Quota: m.Quota, Revision: m.Revision,
	}
	if m.Err != nil {
		j.Error = cause(m.Err)
	}
	return j
}

func newMemberListCommand() *cobra.Command {
	c := newTending()
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the members",
		Long: `List the members: name, id, where the others and where clients reach each, whether it leads, its etcd's version, how large its store is, and
whether it answers.

A member is asked where it says that it serves clients, and at the --etcd endpoints; one that is not reached from here need not be down. Without
a majority the list is what one member knows, which is said on standard error.

With -o json it prints an array of objects with the fields name, id, peerURLs, clientURLs, leader, learner, reached, endpoint, error, version,
size, inUse, quota (bytes) and revision.`,
		Example: `  rollcall member list
  rollcall member list --etcd 10.0.0.1:2379 -o json | jq -r '.[] | select(.reached | not).name'`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd, "member list", func(ctx context.Context, care *server.Care) error { return c.listMembers(ctx, cmd, care) })
		},
	}
	c.bind(cmd)
	return cmd
}

func (c *tending) listMembers(ctx context.Context, cmd *cobra.Command, care *server.Care) error {
	all, agreed, err := care.Members(ctx)
	if err != nil {
		return err
	}
	if !agreed {
		fmt.Fprintln(cmd.ErrOrStderr(), "no majority of the members answers; this is what one of them knows")
	}
	rows, list := [][]string{{"NAME", "ID", "PEERS", "CLIENTS", "ROLE", "VERSION", "SIZE", "ANSWERS"}}, []memberJSON{}
	for _, m := range all {
		list = append(list, newMemberJSON(m))
		rows = append(rows, memberCells(m))
	}
	if c.output == formatJSON {
		return printJSON(cmd.OutOrStdout(), list)
	}
	return printTable(cmd.OutOrStdout(), rows)
}

func memberCells(m server.ClusterMember) []string {
	role, size, answers := "", "", "yes"
	switch {
	case m.Learner:
		role = "learner"
	case m.Leader:
		role = "leader"
	case m.Endpoint != "":
		role = "follower"
	}
	if m.Endpoint != "" {
		size = server.Bytes(m.Size) + " of " + server.Bytes(m.Quota)
	}
	if m.Err != nil {
		answers = "no: " + cause(m.Err)
	}
	return []string{cell(m.Name), server.MemberID(m.ID), cell(strings.Join(m.PeerURLs, ",")), cell(strings.Join(m.ClientURLs, ",")), cell(role), cell(m.Version), cell(size), cell(answers)}
}

type memberAddCommand struct {
	tending
	wait timeout
}

// addedJSON is what "member add -o json" shows.
type addedJSON struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	PeerURL string `json:"peerURL"`
	Command string `json:"command"` // that starts its server
}

func newMemberAddCommand() *cobra.Command {
	c := &memberAddCommand{tending: newTending(), wait: memberWait}
	cmd := &cobra.Command{
		Use:   "add NAME PEERURL",
		Short: "Take a new member in",
		Long: `Take a new member in, print the command that starts its server, and wait until that was done and the member has caught up; then it gets its vote.
Until then the cluster does not depend on it.

The member begins without data: its --data-dir is empty. To replace one whose data is lost, remove that first. When the wait ends before the member
has caught up (--wait, or an interrupt) it is still taken in: the same command again goes on from there.

With -o json it prints, before it waits, an object with the fields name, id, peerURL and command.`,
		Example: `  rollcall member add c https://10.0.0.3:2380
  rollcall member add c http://127.0.0.1:4380 --wait 0s`,
		Args: takes("NAME", "PEERURL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m := server.Member{Name: args[0], PeerURL: strings.TrimSuffix(args[1], "/")}
			return c.do(cmd, "member add", func(ctx context.Context, care *server.Care) error { return c.run(ctx, cmd, care, m) })
		},
	}
	c.bind(cmd)
	cmd.Flags().Var(&c.wait, "wait", "how long to wait for it to catch up, a `duration`; 0 gives it no vote yet")
	return cmd
}

func (c *memberAddCommand) run(ctx context.Context, cmd *cobra.Command, care *server.Care, m server.Member) error {
	waiting := newProgress(cmd.ErrOrStderr(), "etcd takes no member in yet").every()
	added, all, err := care.Add(ctx, m)
	waiting()
	if err != nil {
		return argumentWords(err)
	}
	command := startCommandOf(m, all)
	if c.output == formatJSON {
		err = printJSON(cmd.OutOrStdout(), addedJSON{m.Name, server.MemberID(added.ID), m.PeerURL, command})
	} else {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), command)
	}
	talk := cmd.ErrOrStderr()
	fmt.Fprintf(talk, "member %s, id %s, is taken in; start its server as above, its data directory empty, with whatever else it has\n", m.Name, server.MemberID(added.ID))
	if err != nil || c.wait == 0 {
		return err
	}
	fmt.Fprintf(talk, "waiting %s at most until it has caught up\n", c.wait.String())
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(c.wait), fmt.Errorf("it has not caught up within %s", c.wait.String()))
	defer cancel()
	waiting = newProgress(talk, "waiting for member "+m.Name).every()
	err = care.Promote(ctx, added.ID)
	waiting()
	if err != nil {
		return fmt.Errorf("%w; it is taken in without a vote, 'rollcall member add %s' goes on from there", err, m.Name+" "+m.PeerURL)
	}
	fmt.Fprintf(talk, "member %s has caught up and has its vote\n", m.Name)
	return nil
}

// argumentWords names the arguments of "member add" as its usage does.
func argumentWords(err error) error {
	for _, bad := range invalidErrors(err) {
		return &rollcall.InvalidError{Field: "NAME PEERURL", Value: bad.Value, Rule: bad.Rule}
	}
	return err
}

// startCommandOf returns what starts the server of a new member.
func startCommandOf(m server.Member, all []server.ClusterMember) string {
	words := make([]string, len(all))
	for i, k := range all {
		words[i] = server.Member{Name: cmp.Or(k.Name, "NAME"), PeerURL: strings.Join(k.PeerURLs, ",")}.String()
	}
	slices.Sort(words)
	command := fmt.Sprintf("rollcall server --name %s --cluster %s --cluster-state existing", m.Name, strings.Join(words, ","))
	if strings.HasPrefix(m.PeerURL, "https://") {
		command += " --peer-cert FILE --peer-key FILE --peer-ca FILE"
	}
	return command
}

type memberRemoveCommand struct {
	tending
	force bool
}

func newMemberRemoveCommand() *cobra.Command {
	c := &memberRemoveCommand{tending: newTending()}
	cmd := &cobra.Command{
		Use:   "remove NAME|ID",
		Short: "Take a member out",
		Long: `Take a member out, by its name or id. If it runs, it ends, and cannot come back with its data.

It is refused when those who are left and answer are no majority of those who are left: the cluster could decide nothing any more. --force does it
all the same; etcd may still refuse. The last member cannot be taken out.`,
		Example: `  rollcall member remove c
  rollcall member remove 8e9e05c52164694d`,
		Args: takes("NAME|ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd, "member remove", func(ctx context.Context, care *server.Care) error { return c.run(ctx, cmd, care, args[0]) })
		},
	}
	c.bind(cmd)
	cmd.Flags().BoolVar(&c.force, "force", false, "also when no majority of those who are left answers")
	return cmd
}

func (c *memberRemoveCommand) run(ctx context.Context, cmd *cobra.Command, care *server.Care, nameOrID string) error {
	waiting := newProgress(cmd.ErrOrStderr(), "etcd takes no member out yet").every()
	gone, err := care.Remove(ctx, nameOrID, c.force)
	waiting()
	if err != nil {
		return err
	}
	if c.output == formatJSON {
		return printJSON(cmd.OutOrStdout(), newMemberJSON(gone))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "member %s, id %s, is taken out\n", cell(gone.Word()), server.MemberID(gone.ID))
	return err
}
