package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

const deployed = "../../deploy"

// words is a command line in a file of deploy, without the program's own name.
type words struct {
	file string
	argv []string
}

// commandLines finds those of rollcall in units, the Dockerfile and YAML.
func commandLines(t *testing.T) []words {
	t.Helper()
	var all []words
	for _, file := range deployedFiles(t) {
		text := readDeployed(t, file)
		switch {
		case strings.HasSuffix(file, ".service"):
			for _, m := range regexp.MustCompile(`(?m)^Exec\w+=\S*/rollcall (.+)$`).FindAllStringSubmatch(text, -1) {
				all = append(all, words{file, strings.Fields(m[1])})
			}
		case strings.HasSuffix(file, "Dockerfile"):
			for _, m := range regexp.MustCompile(`(?m)CMD \[(.+)\]$`).FindAllStringSubmatch(text, -1) {
				all = append(all, words{file, strings.Fields(strings.NewReplacer(`"`, "", ",", "", "/rollcall", "").Replace(m[1]))})
			}
		case strings.HasSuffix(file, ".yaml"):
			for _, doc := range documents(t, file) {
				all = append(all, yamlCommands(file, doc)...)
			}
		}
	}
	return all
}

// yamlCommands finds the lists under "command" and "args" that are rollcall's: those that begin with /rollcall or with a subcommand.
func yamlCommands(file string, n *yaml.Node) (all []words) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.SequenceNode && slices.Contains([]string{"command", "args"}, n.Content[i-1].Value) {
			var argv []string
			for _, word := range child.Content {
				argv = append(argv, word.Value)
			}
			if !strings.HasPrefix(argv[0], "/") || argv[0] == "/rollcall" {
				all = append(all, words{file, slices.DeleteFunc(argv, func(w string) bool { return w == "/rollcall" })})
			}
		}
		all = append(all, yamlCommands(file, child)...)
	}
	return all
}

func documents(t *testing.T, file string) []*yaml.Node {
	t.Helper()
	var all []*yaml.Node
	for d := yaml.NewDecoder(strings.NewReader(readDeployed(t, file))); ; {
		var n yaml.Node
		err := d.Decode(&n)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, &n)
	}
}

// deployedFiles leaves out what is Prometheus' and Grafana's, not ours.
func deployedFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(deployed), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (path == "monitoring" || path == "check") {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readDeployed(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployed, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEveryCommandLineInDeployIsOneThatIsUnderstood(t *testing.T) {
	t.Parallel()
	lines := commandLines(t)
	for _, line := range lines {
		if err := understood(line.argv); err != nil {
			t.Errorf("%s: rollcall %s: %v", line.file, strings.Join(line.argv, " "), err)
		}
	}
	used := map[string]bool{}
	for _, line := range lines {
		used[filepath.Dir(line.file)+" "+line.argv[0]] = true
	}
	for _, want := range []string{". server", "systemd server", "systemd register", "systemd run", "kubernetes server"} {
		if !used[want] {
			t.Errorf("no command line %q was found", want)
		}
	}
}

// understood asks the command line itself. What a variable stands for is known to whoever sets it.
func understood(argv []string) error {
	root := newRootCommand()
	cmd, rest, err := root.Find(argv)
	if err != nil {
		return err
	}
	if cmd == root {
		return errors.New("there is no such command")
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestACommandLineThatIsNotUnderstoodIsFound(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"server --no-such-flag", "serve", "server ready --no-such-flag", "register web", "server --quota lots"} {
		if err := understood(strings.Fields(line)); err == nil {
			t.Errorf("rollcall %s passes", line)
		}
	}
}

// A variable of a name that is no setting would count for nothing, silently.
func TestEveryVariableInDeployIsASetting(t *testing.T) {
	t.Parallel()
	flags := &cobra.Command{}
	new(serverCommand).bind(flags)
	for _, file := range deployedFiles(t) {
		for _, name := range regexp.MustCompile(`\bROLLCALL_[A-Z_]+\b`).FindAllString(readDeployed(t, file), -1) {
			flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "ROLLCALL_"), "_", "-"))
			if name == "ROLLCALL_SERVER" || flags.Flags().Lookup(flag) != nil {
				continue
			}
			t.Errorf("%s: %s is no setting", file, name)
		}
	}
}

// The settings in the ConfigMap are a member's, as each of the three is started with them.
func TestTheSettingsInTheManifestsAreGood(t *testing.T) {
	t.Parallel()
	var found []string
	for _, doc := range documents(t, "kubernetes/rollcall.yaml") {
		var object struct {
			Kind string
			Data map[string]string
		}
		if err := doc.Decode(&object); err != nil {
			t.Fatal(err)
		}
		if text, there := object.Data["rollcall.yaml"]; object.Kind == "ConfigMap" && there {
			found = append(found, text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d files of settings, want one", len(found))
	}
	file := filepath.Join(t.TempDir(), "rollcall.yaml")
	if err := os.WriteFile(file, []byte(found[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if said, code := runQuietly(t, "server", "--config", file, "--name", fmt.Sprintf("rollcall-%d", n), "--print-config"); code != exitDone {
			t.Errorf("member %d is refused: %s", n, said)
		}
	}
	if _, code := runQuietly(t, "server", "--config", file, "--name", "rollcall-3", "--print-config"); code != exitUsage {
		t.Errorf("a fourth member is not refused, but exits with %d", code)
	}
}

func runQuietly(t *testing.T, args ...string) (said string, code int) {
	t.Helper()
	var errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), io.Discard, &errs)
	return errs.String(), code
}

func TestTheUnitsAreGood(t *testing.T) {
	t.Parallel()
	analyze := needProgram(t, "systemd-analyze")
	bin, err := exec.LookPath("rollcall")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// Instances need an unit to go with.
	if err := os.WriteFile(filepath.Join(dir, "web.service"), []byte("[Service]\nExecStart="+bin+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var units []string
	for _, file := range deployedFiles(t) {
		if !strings.HasSuffix(file, ".service") {
			continue
		}
		text := readDeployed(t, file)
		if !strings.Contains(text, "/usr/local/bin/rollcall") {
			t.Errorf("%s does not run rollcall", file)
		}
		if strings.Contains(text, "/rollcall run ") || strings.Contains(text, "/rollcall register ") {
			if !regexp.MustCompile(`(?m)^RestartPreventExitStatus=.*\b5\b`).MatchString(text) {
				t.Errorf("%s comes back when it was replaced: two would evict each other for ever", file)
			}
		}
		name := filepath.Join(dir, strings.ReplaceAll(filepath.Base(file), "@", "@web"))
		if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, "/usr/local/bin/rollcall", bin)), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, name)
	}
	if len(units) != 3 {
		t.Errorf("there are %d units", len(units))
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...).CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}
