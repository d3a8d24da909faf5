package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

// environment names the variables that fill flags which were not given. A flag wins over its variable, the variable
// over the default; a command without the flag ignores the variable.
var environment = []struct {
	flag, variable string
	emptyCounts    bool // a variable set to "" is a value, not an absence
}{
	{flag: "etcd", variable: "ROLLCALL_ETCD"},
	{flag: "prefix", variable: "ROLLCALL_PREFIX", emptyCounts: true},
}

// fillFromEnvironment returns the variable that each filled flag, such as --etcd, has its value from.
func fillFromEnvironment(cmd *cobra.Command) (filled map[string]string, err error) {
	filled = map[string]string{}
	for _, e := range environment {
		flag := cmd.Flags().Lookup(e.flag)
		value, set := os.LookupEnv(e.variable)
		if flag == nil || flag.Changed || !set || value == "" && !e.emptyCounts {
			continue
		}
		if err := flag.Value.Set(value); err != nil {
			return nil, fmt.Errorf("invalid %s %q: %w", e.variable, value, err)
		}
		filled["--"+e.flag] = e.variable
	}
	return filled, nil
}

// connection is where a command finds etcd and the registry in it.
type connection struct {
	etcd   endpoints
	prefix string
}

const (
	defaultEndpoint = "127.0.0.1:2379"
	prefixHelp      = `the registry's place in etcd; "" is the layout <service>/<id> (env ROLLCALL_PREFIX)`
)

func (c *connection) bind(cmd *cobra.Command) {
	c.etcd = endpoints{defaultEndpoint}
	cmd.Flags().Var(&c.etcd, "etcd", "etcd's `endpoints`, host:port or URLs, comma separated (env ROLLCALL_ETCD)")
	cmd.Flags().StringVar(&c.prefix, "prefix", rollcall.DefaultPrefix, prefixHelp)
}

// open does not wait for etcd. What the registry has to say by itself goes to talk.
func (c *connection) open(talk io.Writer) (backend, error) {
	if len(c.etcd) == 0 {
		return nil, &rollcall.InvalidError{Field: "--etcd", Value: `""`, Rule: "at least one endpoint, such as " + defaultEndpoint}
	}
	reg, err := rollcall.Open(rollcall.ClientConfig(c.etcd...), rollcall.WithPrefix(c.prefix), rollcall.WithLogger(talkLogger(talk)))
	if err != nil {
		return nil, err
	}
	return library{reg}, nil
}
