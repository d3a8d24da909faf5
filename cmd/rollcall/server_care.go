package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// tending is how the commands that care for an etcd find it. They speak to etcd itself, and so also when no server of ours can answer.
type tending struct {
	etcd         endpoints
	tls          server.Files
	user         string
	passwordFile string
	timeout      timeout
	output       format
}

// tended are the settings of tending that are also the server's, and filled from the same variables.
var tended = []string{"etcd", "etcd-cert", "etcd-key", "etcd-ca", "etcd-user", "etcd-password-file"}

func newTending() tending {
	return tending{etcd: endpoints{defaultEndpoint}, timeout: answerTimeout, output: formatTable}
}

func (c *tending) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&c.etcd, "etcd", "etcd's `endpoints`, host:port or URLs, comma separated; the embedded one's is --client-url (env ROLLCALL_ETCD)")
	bindFiles(cmd, &c.tls, "etcd", "for https:// endpoints")
	f.StringVar(&c.user, "etcd-user", "", "`name` by which an etcd with authentication knows us; it takes the role root")
	f.StringVar(&c.passwordFile, "etcd-password-file", "", "`file` with the password of --etcd-user (or env ROLLCALL_ETCD_PASSWORD)")
	f.Var(&c.timeout, "timeout", "what a member has for each answer, a `duration`; 0 waits without limit")
	f.VarP(&c.output, "output", "o", "output `format`: table or json")
}

// from fills some flags that were not given from the variables that a server reads.
func from(cmd *cobra.Command, names ...string) (settings, error) {
	s := settings{sources: map[string]string{}}
	var errs []error
	for _, name := range names {
		errs = append(errs, s.fill(cmd.Flags().Lookup(name), nil))
	}
	s.fillPassword(nil)
	if err := errors.Join(errs...); err != nil {
		return s, &settingError{err}
	}
	return s, nil
}

// open finds who answers. Its errors, and those of what is done then, go through fail.
func (c *tending) open(cmd *cobra.Command) (*server.Care, settings, error) {
	s, err := from(cmd, tended...)
	if err != nil {
		return nil, s, err
	}
	if len(c.etcd) == 0 {
		return nil, s, &rollcall.InvalidError{Field: s.word("etcd"), Value: `""`, Rule: "at least one endpoint, such as " + defaultEndpoint}
	}
	password, err := c.password(s)
	if err != nil {
		return nil, s, err
	}
	care, err := server.OpenCare(cmd.Context(), server.Config{
		Etcd: c.etcd, EtcdTLS: c.tls, EtcdUser: c.user, EtcdPassword: password, Logger: talkLogger(cmd.ErrOrStderr()),
	}, time.Duration(c.timeout))
	return care, s, err
}

func (c *tending) password(s settings) (string, error) {
	if words := s.given("etcd-password-file", passwordKey); len(words) > 1 {
		return "", &usageError{fmt.Errorf("there is one password: %s", strings.Join(words, " or "))}
	}
	if c.passwordFile == "" {
		return s.password, nil
	}
	text, err := os.ReadFile(c.passwordFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.word("etcd-password-file"), err)
	}
	return string(bytes.TrimRight(text, "\r\n")), nil
}

// do opens what answers, does something with it, and says what was done when it failed.
func (c *tending) do(cmd *cobra.Command, what string, do func(context.Context, *server.Care) error) error {
	care, s, err := c.open(cmd)
	if err == nil {
		defer care.Close()
		err = do(cmd.Context(), care)
	}
	return inSettingWords(what, err, s)
}

// careSettings are the settings of the commands here that no server has.
var careSettings = map[string]string{"Bump": "bump-revision"}

// inSettingWords names what is wrong with an argument as whoever gave it did.
func inSettingWords(what string, err error, s settings) error {
	bad := invalidErrors(err)
	if len(bad) == 0 && err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	var errs []error
	for _, b := range bad {
		field, _, _ := strings.Cut(strings.TrimPrefix(b.Field, "Config."), "[")
		word := b.Field
		for _, known := range []map[string]string{configSettings, careSettings} {
			if name, found := known[field]; found {
				word = s.word(name)
			}
		}
		errs = append(errs, &rollcall.InvalidError{Field: word, Value: b.Value, Rule: b.Rule})
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// progress says now and then how far something is that takes longer than a second.
type progress struct {
	w    io.Writer
	what string
	next time.Time
}

// progressPause is between two lines of it.
const progressPause = 3 * time.Second

func newProgress(w io.Writer, what string) *progress {
	return &progress{w, what, time.Now().Add(time.Second)}
}

func (p *progress) bytes(done, total int64) {
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(progressPause)
		fmt.Fprintf(p.w, "%s: %s of %s\n", p.what, server.Bytes(done), server.Bytes(total))
	}
}

// every says the same as long as something is waited for, from a second on. The returned function ends that.
func (p *progress) every() (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		began, wait := time.Now(), time.Second
		for {
			select {
			case <-ended:
				return
			case <-time.After(wait):
				wait = progressPause
				fmt.Fprintf(p.w, "%s, for %s so far\n", p.what, lasting(time.Since(began).Round(time.Second)))
			}
		}
	}()
	return func() { close(ended); <-done }
}
