package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestTheDocumentHasEveryCommandKindOfOutputAndExitCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	has := func(what, want string) {
		if !strings.Contains(string(text), want) {
			t.Errorf("docs/cli.md does not have %s: %s", what, want)
		}
	}
	for _, cmd := range newRootCommand().Commands() {
		switch name := cmd.Name(); name {
		case "exit-codes", "help":
		case "policy":
			for _, sub := range cmd.Commands() {
				has("the command", "policy "+sub.Name())
			}
		case "member", "server":
			has("the command", "`rollcall "+name)
		default:
			has("the command", "rollcall "+name)
		}
	}
	for _, e := range exitMeanings {
		has("the exit code", fmt.Sprintf("| %d | %s |", e.code, e.meaning))
	}
	for _, f := range []format{formatTable, formatWide, formatJSON, formatYAML, formatName} {
		has("the output", fmt.Sprintf("| `%s` |", f))
	}
	cmd := &cobra.Command{}
	new(connection).bind(cmd)
	for _, name := range []string{"server", "tls-ca", "tls-cert", "tls-key", "token-file", "etcd", "etcd-ca", "etcd-cert", "etcd-key", "etcd-user", "etcd-password-file", "prefix"} {
		if cmd.Flags().Lookup(name) == nil {
			t.Errorf("--%s is in docs/cli.md, but there is no such flag", name)
		}
		has("the flag", "`--"+name+"`")
	}
	for _, e := range environment {
		has("the variable", "`"+e.variable+"`")
	}
}
