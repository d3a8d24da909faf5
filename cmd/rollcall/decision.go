package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

// decision is what the commands share by which an operator decides something: where it goes, who decides, and why.
type decision struct {
	connection
	timeout timeout
	reason  string
	author  string
}

func (d *decision) bind(cmd *cobra.Command) {
	d.connection.bind(cmd)
	d.timeout = answerTimeout
	cmd.Flags().Var(&d.timeout, "timeout", timeoutHelp)
}

// bindWords adds the flags of a decision that is kept.
func (d *decision) bindWords(cmd *cobra.Command, reasonHelp string) {
	cmd.Flags().StringVar(&d.reason, "reason", "", reasonHelp)
	cmd.Flags().StringVar(&d.author, "as", "", "who decides; the default is your login name, at this host")
}

const reasonNeeded = "why, for those who wonder later; it is needed"

// words fills in who decides, and refuses a decision without a reason.
func (d *decision) words() error {
	if strings.TrimSpace(d.reason) == "" {
		return &usageError{errors.New("--reason is needed: say why, for those who wonder later")}
	}
	return d.signed()
}

// signed fills in who decides.
func (d *decision) signed() error {
	if d.author == "" {
		d.author = login()
	}
	if d.author == "" {
		return &usageError{errors.New("--as is needed: this machine does not know your login name")}
	}
	return nil
}

// login is who runs this, and where; "" when the machine does not know.
func login() string {
	who, err := user.Current()
	if err != nil || who.Username == "" {
		return ""
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return who.Username
	}
	return who.Username + "@" + host
}

// do opens the registry for as long as a command needs it.
func (d *decision) do(cmd *cobra.Command, what func(context.Context, backend) error) error {
	return d.with(cmd, d.timeout, false, func(ctx context.Context, b *client) error { return what(ctx, b) })
}

// again says to a person what to do when somebody else has decided meanwhile.
func again(err error, look string) error {
	if errors.Is(err, rollcall.ErrConflict) {
		return fmt.Errorf("%w; '%s' shows it, then try again", err, look)
	}
	return err
}

// signature says who decided, when and why. What is in etcd anybody may have written.
func signature(author, reason string, since, now time.Time) string {
	text := "by " + cell(author)
	if !since.IsZero() {
		text += " at " + clock(since, now)
	}
	if reason != "" {
		text += " (" + cell(reason) + ")"
	}
	return text
}

var plainShellWord = regexp.MustCompile(`^[A-Za-z0-9._:@%+=,/][A-Za-z0-9._:@%+=,/-]*$`)

// shellWord writes s so that a shell reads it as one word.
func shellWord(s string) string {
	if plainShellWord.MatchString(s) {
		return s
	}
	if cell(s) != s {
		return cell(s) // what must not reach the terminal; no shell reads that back
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
