package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

type restoreCommand struct {
	dataDir string
	name    string
	cluster members
	bump    int64
	force   bool
	output  format
}

// restoreJSON is what "server restore -o json" shows.
type restoreJSON struct {
	DataDir        string `json:"dataDir"`
	Aside          string `json:"aside,omitempty"` // where the data is now that was there before
	Revision       int64  `json:"revision"`        // from which the store goes on
	BackupRevision int64  `json:"backupRevision"`
	Keys           int    `json:"keys"`
	SHA256         string `json:"sha256"`
}

func newRestoreCommand() *cobra.Command {
	c := &restoreCommand{bump: server.DefaultBump, output: formatTable}
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a server's data from a backup",
		Long: `Make the data directory of a server from what 'rollcall server backup' saved. The server must be stopped, and of a cluster all servers.

Of a cluster each member is restored, all from the same file and with the same --cluster and --bump-revision, each with its own --name; then all
are started as ever. What is restored is another cluster than the one before: a member of that which was not restored stays outside.

The revision is raised by --bump-revision, so that it is higher than any that was ever seen: whoever watches notices that something is new, reads
it all again, and never takes the old for the new. Who registered after the backup, and lives, registers again by itself; who left after it is there
again until the TTL is over.

Data that is there already is left alone, and with --force moved aside inside the directory; it is never deleted. Nothing is changed unless the
backup is whole and matches its hash.

With -o json it prints an object with the fields dataDir, aside, revision, backupRevision, keys and sha256.`,
		Example: `  rollcall server restore rollcall.backup --data-dir /var/lib/rollcall --force
  rollcall server restore rollcall.backup --data-dir a --name a --cluster a=http://127.0.0.1:2380,b=http://127.0.0.1:3380,c=http://127.0.0.1:4380`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := from(cmd, "data-dir", "name", "cluster")
			if err == nil {
				err = c.run(cmd, args[0], s)
			}
			return inSettingWords("restore", err, s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.dataDir, "data-dir", server.DefaultDataDir, "`directory` of the embedded etcd's data (env ROLLCALL_DATA_DIR)")
	f.StringVar(&c.name, "name", "", "`name` of this member in --cluster (env ROLLCALL_NAME)")
	f.Var(&c.cluster, "cluster", "all `members` of the cluster: name=peerURL, comma separated (env ROLLCALL_CLUSTER)")
	f.Int64Var(&c.bump, "bump-revision", c.bump, "by how much the revision is raised, at least 1; the same for all members")
	f.BoolVar(&c.force, "force", false, "move data aside that is there")
	f.VarP(&c.output, "output", "o", "output `format`: table or json")
	return cmd
}

func (c *restoreCommand) run(cmd *cobra.Command, file string, s settings) error {
	if err := refuseEmpty(s.word("data-dir"), c.dataDir, server.DefaultDataDir); err != nil {
		return err
	}
	if c.bump == 0 {
		return &rollcall.InvalidError{Field: "--bump-revision", Value: "0", Rule: "revisions that go back deceive whoever watches; raise them by 1 or more"}
	}
	waiting := newProgress(cmd.ErrOrStderr(), "restoring").every()
	done, err := server.Restore{File: file, DataDir: c.dataDir, Name: c.name, Cluster: c.cluster, Bump: c.bump, Force: c.force}.Run(cmd.Context())
	waiting()
	if err != nil {
		return err
	}
	if c.output == formatJSON {
		return printJSON(cmd.OutOrStdout(), restoreJSON{done.DataDir, done.Aside, done.Revision, done.Was, done.Keys, done.SHA256})
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "restored %s from %s: revision %d, raised to %d, keys %d\n", done.DataDir, file, done.Was, done.Revision, done.Keys)
	if done.Aside != "" {
		fmt.Fprintf(out, "what was there before is in %s\n", done.Aside)
	}
	next := "start the server as ever"
	if len(c.cluster) > 1 {
		next = "restore the other members from the same file, then start all as ever"
	}
	_, err = fmt.Fprintln(out, next)
	return err
}
