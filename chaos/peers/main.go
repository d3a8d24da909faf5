// Command peers runs one instance, or one watcher, of another registration or discovery library, under the same etcd
// and the same faults as rollcall, and writes what its user gets to see as a journal on standard output:
//
//	peers list
//	peers NAME register -name i3 -endpoints a,b,c -service S -id ID -addr HOST:PORT -ttl 10s [-user u -password p]
//	peers NAME watch    -name w1 -endpoints a,b,c -service S [-user u -password p]
//
// With -then S2 -after 8s the same process registers (at -addr2) or watches a second service 8 s after its start.
//
// SIGTERM ends it as the peer's users end their programs. It ends at once when its standard input does, so that it never
// outlives the test that started it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "list" {
		list(os.Stdout)
		return
	}
	p, verb, s, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(2)
	}
	out, err := ownStdout()
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1) // who started this has gone
	}()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	j := journal.NewWriter(out, s.name)
	j.Tell(journal.Event{What: journal.Started})
	if verb == "register" {
		err = register(ctx, p, s, j)
	} else {
		err = watch(ctx, p, s, j)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	peer.Settings
	name string

	then  string // the second service, if any
	addr2 string
	after time.Duration
}

// second is what the command line says about the second service.
func (s settings) second() settings {
	s.Service, s.ID, s.Addr = s.then, s.addr2, s.addr2
	return s
}

func parse(args []string) (p entry, verb string, s settings, err error) {
	if len(args) < 2 {
		return p, "", s, errors.New("want list, NAME register or NAME watch")
	}
	if p, err = find(args[0]); err != nil {
		return p, "", s, err
	}
	if verb = args[1]; verb != "register" && verb != "watch" {
		return p, "", s, fmt.Errorf("want register or watch, not %q", verb)
	}
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	endpoints := flags.String("endpoints", "127.0.0.1:2379", "etcd's `addresses`, with commas between them")
	flags.StringVar(&s.name, "name", args[0], "the name of this process in the journal")
	flags.StringVar(&s.Service, "service", "", "the service")
	flags.StringVar(&s.ID, "id", "", "the instance's id, for peers that have such")
	flags.StringVar(&s.Addr, "addr", "", "the instance's address, `host:port`; nobody listens there")
	flags.DurationVar(&s.TTL, "ttl", 10*time.Second, "the lease's time to live, in whole seconds")
	flags.StringVar(&s.User, "user", "", "the user for etcd")
	flags.StringVar(&s.Password, "password", "", "the user's password")
	flags.StringVar(&s.then, "then", "", "a second `service`, to be registered or watched later by the same process")
	flags.StringVar(&s.addr2, "addr2", "", "the address of the instance of the second service, `host:port`")
	flags.DurationVar(&s.after, "after", 0, "how long after the start the second service's turn comes")
	if err := flags.Parse(args[2:]); err != nil {
		return p, "", s, err
	}
	s.Endpoints = strings.Split(*endpoints, ",")
	switch {
	case s.Service == "":
		err = errors.New("want a -service")
	case verb == "register" && (s.ID == "" || s.Addr == ""):
		err = errors.New("want an -id and an -addr")
	case verb == "register" && s.then != "" && s.addr2 == "":
		err = errors.New("want an -addr2 with -then")
	case s.then == s.Service:
		err = errors.New("want another service for -then")
	case verb == "register" && s.TTL < time.Second:
		err = errors.New("want a -ttl of a second or more")
	}
	return p, verb, s, err
}

// ownStdout keeps standard output for the journal: what peers print there goes to standard error from now on.
func ownStdout() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.Dup3(unix.Stderr, unix.Stdout, 0); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "journal"), nil
}
