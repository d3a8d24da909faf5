package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

// checkFlags are those by which an instance asks to be checked.
type checkFlags struct {
	kind     checkType
	path     checkPath
	addr     string
	service  string
	tls      bool
	interval time.Duration
	timeout  time.Duration
	fall     int
	rise     int
}

func (c *checkFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(&c.kind, "check", "what servers are to check: `tcp`, grpc or http; without it nothing")
	f.Var(&c.path, "check-path", "of --check http: the `path` to get, beginning with /")
	f.StringVar(&c.addr, "check-addr", "", "the `name` of the --addr to check; ADDR itself when not given")
	f.StringVar(&c.service, "check-service", "", "of --check grpc: the `service` to ask for; the server as a whole when not given")
	f.BoolVar(&c.tls, "check-tls", false, "of --check grpc and http: speak TLS")
	f.Var((*lasting)(&c.interval), "check-interval", fmt.Sprintf("from one check to the next, at least %s; 0 means %s", lasting(rollcall.MinCheckInterval), lasting(rollcall.DefaultCheckInterval)))
	f.Var((*lasting)(&c.timeout), "check-timeout", fmt.Sprintf("what one check may take, less than the interval; 0 means %s", lasting(rollcall.DefaultCheckTimeout)))
	f.Var((*whole)(&c.fall), "check-fall", fmt.Sprintf("after how many failures in a row it is unhealthy; 0 means %d", rollcall.DefaultCheckFall))
	f.Var((*whole)(&c.rise), "check-rise", fmt.Sprintf("after how many successes in a row it is well again; 0 means %d", rollcall.DefaultCheckRise))
	_ = cmd.RegisterFlagCompletionFunc("check", cobra.FixedCompletions([]string{"tcp", "grpc", "http"}, cobra.ShellCompDirectiveNoFileComp))
}

// check is what an instance asks for; nil: nothing.
func (c *checkFlags) check(cmd *cobra.Command) (*rollcall.Check, error) {
	if c.kind == "" {
		for _, name := range []string{"path", "addr", "service", "tls", "interval", "timeout", "fall", "rise"} {
			if cmd.Flags().Changed("check-" + name) {
				return nil, &usageError{errors.New("--check-" + name + " goes with --check")}
			}
		}
		return nil, nil
	}
	return &rollcall.Check{
		Type: rollcall.CheckType(c.kind), Path: string(c.path), Addr: c.addr, Service: c.service, TLS: c.tls,
		Interval: c.interval, Timeout: c.timeout, Fall: c.fall, Rise: c.rise,
	}, nil
}
