package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rollcall-io/rollcall"
)

// policyCommand is each of the commands about a service's policy.
type policyCommand struct {
	decision
	file   string
	output documentFormat
}

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "See and decide how all callers of a service call it",
		Long: `See and decide how all callers of a service call it: balancing, timeout, retries, health checks, a split between versions,
and when they doubt losses. What a policy does not say each caller decides, as without it. It reaches callers that run when
it is set, and when it is deleted they return to what they do by themselves.

A policy is a document in YAML or JSON:

  timeout: 5s
  retry:
    attempts: 3
    on: [UNAVAILABLE]
  split: {v2: 10}
  reason: try v2 with a tenth of the calls`,
		Example: `  rollcall policy set jie-test -f policy.yaml
  rollcall policy get jie-test`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for \"rollcall policy\": there are get, set, delete and explain", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyGetCommand(), newPolicySetCommand(), newPolicyDeleteCommand(), newPolicyExplainCommand())
	return cmd
}

func newPolicyGetCommand() *cobra.Command {
	c := &policyCommand{output: documentYAML}
	cmd := &cobra.Command{
		Use:   "get SERVICE",
		Short: "Print the policy of a service",
		Long:  "Print the policy of a service, as 'rollcall policy set' takes it. A service without one is not found: exit code 4.",
		Example: `  rollcall policy get jie-test > policy.yaml
  rollcall policy get jie-test -o json | jq .split`,
		Args: takes("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd, func(ctx context.Context, b backend) error {
				p, err := c.stored(ctx, b, args[0])
				if err != nil {
					return err
				}
				return printPolicy(cmd.OutOrStdout(), c.output, p)
			})
		},
	}
	c.bind(cmd)
	cmd.Flags().VarP(&c.output, "output", "o", "output `format`: yaml or json")
	completes(cmd, &c.connection, completeService)
	return cmd
}

func newPolicySetCommand() *cobra.Command {
	c := &policyCommand{}
	cmd := &cobra.Command{
		Use:   "set SERVICE -f FILE",
		Short: "Give a service a policy",
		Long: `Give a service the policy in FILE, in place of the one that it has, and print the gRPC service config that it becomes.
What is unknown or breaks a rule is refused by name, with exit code 2, and nothing is written. When somebody else sets
or deletes the policy at the same moment, one of the two is told so and exits with 5.

The reason is that of the document unless --reason gives one. The author is who sets it, and the time is now: what the
document says of that does not count.`,
		Example: `  rollcall policy set jie-test -f policy.yaml --reason 'v2 is slow'
  echo 'split: {v2: 10}' | rollcall policy set jie-test -f -`,
		Args: takes("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.set(cmd, args[0]) },
	}
	c.bind(cmd)
	c.bindWords(cmd, "why, for those who wonder later; in place of the document's")
	c.bindFile(cmd, "the `file` with the policy, in YAML or JSON; - is standard input")
	completes(cmd, &c.connection, completeService)
	return cmd
}

func newPolicyDeleteCommand() *cobra.Command {
	c := &policyCommand{}
	cmd := &cobra.Command{
		Use:   "delete SERVICE",
		Short: "Take the policy of a service back",
		Long: `Take the policy of a service back: its callers return to what they do by themselves. It prints the policy that it deleted. When
there is none there is nothing to do, and that is no failure.`,
		Example: `  rollcall policy delete jie-test > was.yaml`,
		Args:    takes("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.author = cmp.Or(c.author, login()) // who is not known may take back, too
			return c.do(cmd, func(ctx context.Context, b backend) error {
				return c.delete(ctx, b, args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	c.bind(cmd)
	c.bindWords(cmd, "why, for the history")
	completes(cmd, &c.connection, completeService)
	return cmd
}

func newPolicyExplainCommand() *cobra.Command {
	c := &policyCommand{}
	cmd := &cobra.Command{
		Use:   "explain SERVICE",
		Short: "Print the gRPC service config that a policy becomes",
		Long: `Print the gRPC service config that the policy of a service becomes, or the policy in FILE, which is written nowhere: etcd is
not asked then. What the config does not say the callers' own default says.`,
		Example: `  rollcall policy explain jie-test
  rollcall policy explain jie-test -f policy.yaml`,
		Args: takes("SERVICE"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.explain(cmd, args[0]) },
	}
	c.bind(cmd)
	c.bindFile(cmd, "explain the policy in this `file`, in YAML or JSON; - is standard input")
	completes(cmd, &c.connection, completeService)
	return cmd
}

func (c *policyCommand) bindFile(cmd *cobra.Command, help string) {
	cmd.Flags().StringVarP(&c.file, "file", "f", "", help)
}

// stored reads the policy that a service has.
func (c *policyCommand) stored(ctx context.Context, b backend, service string) (rollcall.Policy, error) {
	p, err := b.Policy(ctx, service)
	if errors.Is(err, rollcall.ErrNotFound) {
		return p, &notFoundError{fmt.Sprintf("service %q has no policy %s", service, c.within())}
	}
	return p, err
}

func (c *policyCommand) set(cmd *cobra.Command, service string) error {
	if c.file == "" {
		return &usageError{errors.New("-f is needed: the file with the policy, - for standard input")}
	}
	if err := c.signed(); err != nil {
		return err
	}
	p, err := readPolicy(c.file, cmd.InOrStdin())
	if err != nil {
		return err
	}
	if c.reason != "" {
		p.Reason = c.reason
	}
	p.Author = c.author
	return c.do(cmd, func(ctx context.Context, b backend) error {
		return c.replace(ctx, b, service, p, cmd.OutOrStdout(), cmd.ErrOrStderr())
	})
}

// replace writes a policy in place of the one that is there now, unless somebody else does meanwhile.
func (c *policyCommand) replace(ctx context.Context, b backend, service string, p rollcall.Policy, out, talk io.Writer) error {
	before, err := b.Policy(ctx, service)
	_, garbage := errors.AsType[*storedError](err)
	instead := ""
	switch {
	case garbage:
		before.Revision, instead = rollcall.AnyRevision, ", in place of one that could not be read"
	case err == nil:
		instead = fmt.Sprintf(", in place of revision %d %s", before.Revision, signature(before.Author, before.Reason, before.Since, time.Now()))
	case !errors.Is(err, rollcall.ErrNotFound):
		return err
	}
	p.Revision = before.Revision
	if p, err = b.SetPolicy(ctx, service, p); err != nil {
		return again(err, "rollcall policy get "+service)
	}
	fmt.Fprintf(talk, "policy of %s: revision %d%s; take it back: rollcall policy delete %s\n", service, p.Revision, instead, service)
	return printExplained(out, talk, p)
}

func (c *policyCommand) delete(ctx context.Context, b backend, service string, out, talk io.Writer) error {
	p, err := b.Policy(ctx, service)
	_, garbage := errors.AsType[*storedError](err)
	was := ""
	switch {
	case errors.Is(err, rollcall.ErrNotFound):
		_, err := fmt.Fprintf(talk, "service %s has no policy\n", service)
		return err
	case garbage:
		p.Revision, was = rollcall.AnyRevision, "it could not be read"
	case err != nil:
		return err
	default:
		was = fmt.Sprintf("revision %d %s", p.Revision, signature(p.Author, p.Reason, p.Since, time.Now()))
	}
	if err := b.DeletePolicy(ctx, service, p.Revision, rollcall.By{Author: c.author, Reason: c.reason}); err != nil {
		return again(err, "rollcall policy get "+service)
	}
	fmt.Fprintf(talk, "deleted the policy of %s: %s\n", service, was)
	if garbage {
		return nil
	}
	return printPolicy(out, documentYAML, p)
}

func (c *policyCommand) explain(cmd *cobra.Command, service string) error {
	out, talk := cmd.OutOrStdout(), cmd.ErrOrStderr()
	if cmd.Flags().Changed("file") {
		p, err := readPolicy(c.file, cmd.InOrStdin())
		if err != nil {
			return err
		}
		return printExplained(out, talk, p)
	}
	return c.do(cmd, func(ctx context.Context, b backend) error {
		p, err := c.stored(ctx, b, service)
		if err != nil {
			return err
		}
		return printExplained(out, talk, p)
	})
}

// printExplained prints the gRPC service config that a policy becomes, and says what else it does.
func printExplained(out, talk io.Writer, p rollcall.Policy) error {
	config, err := p.ServiceConfig()
	if err != nil {
		return err
	}
	if p.Guard != nil {
		fmt.Fprintln(talk, "its guard is no part of gRPC's service config: the callers' registries go by it")
	}
	return printIndented(out, json.RawMessage(config))
}
