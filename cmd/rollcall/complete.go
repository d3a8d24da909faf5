package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// completionTime is what a shell waits for the names of what is there. Without them it completes nothing, and says nothing.
const completionTime = time.Second

// completer returns what an argument may be, which follows on those that are there.
type completer func(ctx context.Context, c *connection, before []string) []cobra.Completion

// completes has a shell complete arguments, each by the completer at its place; the last one serves the rest if more is set.
func completes(cmd *cobra.Command, c *connection, of ...completer) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= len(of) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, c, of[len(args)], args), cobra.ShellCompDirectiveNoFileComp
	}
}

// completesAll completes any number of arguments of one kind.
func completesAll(cmd *cobra.Command, c *connection, of completer) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return complete(cmd, c, of, args), cobra.ShellCompDirectiveNoFileComp
	}
}

func complete(cmd *cobra.Command, c *connection, of completer, args []string) []cobra.Completion {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	found := make(chan []cobra.Completion, 1)
	go func() { // the process ends with the completion, and does not wait for this
		if _, err := fillFromEnvironment(cmd); err != nil {
			found <- nil
			return
		}
		found <- of(ctx, c, args)
	}()
	select {
	case names := <-found:
		return names
	case <-ctx.Done():
		return nil
	}
}

func completeService(ctx context.Context, c *connection, _ []string) []cobra.Completion {
	b, err := c.openAll(io.Discard)
	if err != nil {
		return nil
	}
	defer closeBackend(ctx, b)
	all, _, err := b.summaries(ctx, &rollcallv1.ListServicesRequest{})
	if err != nil {
		return nil
	}
	var names []cobra.Completion
	for _, s := range all {
		names = append(names, cobra.CompletionWithDesc(s.GetService(), plural(int(s.GetInstances()), "instance")))
	}
	return names
}

func completeInstance(ctx context.Context, c *connection, before []string) []cobra.Completion {
	b, err := c.open(io.Discard)
	if err != nil {
		return nil
	}
	defer closeBackend(ctx, b)
	view, err := b.Lookup(ctx, before[0])
	if err != nil {
		return nil
	}
	var ids []cobra.Completion
	for _, i := range view.Instances {
		if cell(i.ID) == i.ID { // nothing else reaches a terminal
			ids = append(ids, cobra.CompletionWithDesc(i.ID, stateWord(i)))
		}
	}
	return ids
}
