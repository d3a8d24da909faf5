package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall/internal/server"
)

type backupCommand struct {
	tending
	force bool
}

// backupJSON is a backup as "server backup -o json" shows it.
type backupJSON struct {
	File     string `json:"file"`
	Endpoint string `json:"endpoint"` // of the member that it is from
	Revision int64  `json:"revision"`
	Keys     int    `json:"keys"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
}

func newBackupCommand() *cobra.Command {
	c := &backupCommand{tending: newTending()}
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Save what etcd holds in a file",
		Long: `Save all that etcd holds, as of one moment, in a file for 'rollcall server restore'. etcd and the servers go on meanwhile.

It comes from the first of the --etcd endpoints that answers, of a cluster from one member, which is enough. Until it is complete and matches
etcd's own hash it lies beside FILE, with a name that ends in .part, and is removed when it does not come to that. Nobody but you may read it:
with authentication the users' password hashes are in it. FILE "-" is standard output.

With -o json it prints an object with the fields file, endpoint, revision, keys, size and sha256, which is that of the file.`,
		Example: `  rollcall server backup rollcall-$(date +%F).backup
  rollcall server backup - --etcd 10.0.0.1:2379,10.0.0.2:2379 | gzip > rollcall.backup.gz`,
		Args: takes("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd, "backup", func(ctx context.Context, care *server.Care) error { return c.run(ctx, cmd, care, args[0]) })
		},
	}
	c.bind(cmd)
	cmd.Flags().BoolVar(&c.force, "force", false, "overwrite FILE")
	return cmd
}

func (c *backupCommand) run(ctx context.Context, cmd *cobra.Command, care *server.Care, file string) error {
	tell := newProgress(cmd.ErrOrStderr(), "backup").bytes
	if file == "-" {
		b, err := care.BackupTo(ctx, cmd.OutOrStdout(), tell)
		if err == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "backup of %s: %s, sha256 %s\n", b.Endpoint, server.Bytes(b.Size), b.SHA256)
		}
		return err
	}
	b, err := care.BackupFile(ctx, file, c.force, tell)
	if err != nil {
		return err
	}
	if c.output == formatJSON {
		return printJSON(cmd.OutOrStdout(), backupJSON{file, b.Endpoint, b.Revision, b.Keys, b.Size, b.SHA256})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "backup of %s in %s: revision %d, keys %d, %s\nsha256 %s\n",
		b.Endpoint, file, b.Revision, b.Keys, server.Bytes(b.Size), b.SHA256)
	return err
}
