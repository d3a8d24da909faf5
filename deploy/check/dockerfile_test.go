package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

const root = "../.."

func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	f, err := os.Open("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("a warning: %s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return stages
}

// find returns the only instruction of its kind in a stage.
func find[I any](t *testing.T, s instructions.Stage) I {
	t.Helper()
	var found []I
	for _, c := range s.Commands {
		if i, ok := c.(I); ok {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		var none I
		t.Errorf("stage %s has %d instructions %T, want one", s.Name, len(found), none)
		return none
	}
	return found[0]
}

func TestTheImageIsTheServerAloneAndNobodyPrivilegedRunsIt(t *testing.T) {
	all := stages(t)
	last := all[len(all)-1]
	if last.Name != "server" || last.BaseName != "scratch" {
		t.Fatalf("what is built is %s from %s, want the server from scratch", last.Name, last.BaseName)
	}
	if user := find[*instructions.UserCommand](t, last).User; user != "65532:65532" {
		t.Errorf("it runs as %s; Kubernetes knows only of a number that it is not root", user)
	}
	if got := find[*instructions.StopSignalCommand](t, last).Signal; got != "SIGTERM" {
		t.Errorf("it is stopped by %s", got)
	}
	if diff := cmp.Diff([]string{"2379", "7051", "7052"}, find[*instructions.ExposeCommand](t, last).Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if dir, volume := find[*instructions.WorkdirCommand](t, last).Path, find[*instructions.VolumeCommand](t, last).Volumes; !slices.Contains(volume, dir) {
		t.Errorf("it works in %s, which is in none of the volumes %v: its data would go with it", dir, volume)
	}
	health := find[*instructions.HealthCheckCommand](t, last).Health
	if diff := cmp.Diff([]string{"CMD", "/rollcall", "server", "ready"}, health.Test); diff != "" {
		t.Errorf("health check (-want +got):\n%s", diff)
	}
	entry := find[*instructions.EntrypointCommand](t, last)
	if entry.PrependShell || find[*instructions.CmdCommand](t, last).PrependShell {
		t.Error("there is no shell in the image, and one would keep SIGTERM to itself")
	}
}

func TestWhatTheImageCopiesIsThere(t *testing.T) {
	built := map[string]string{} // by stage: what its RUN instructions say
	for _, s := range stages(t) {
		for _, c := range s.Commands {
			switch c := c.(type) {
			case *instructions.RunCommand:
				built[s.Name] += strings.Join(c.CmdLine, " ")
			case *instructions.CopyCommand:
				for _, path := range c.SourcePaths {
					if _, err := os.Stat(filepath.Join(root, path)); c.From == "" && err != nil {
						t.Errorf("stage %s copies %s: %v", s.Name, path, err)
					}
					if c.From != "" && !strings.HasPrefix(path, "/etc/") && !strings.Contains(built[c.From], path) {
						t.Errorf("stage %s copies %s, which nothing in %s makes", s.Name, path, c.From)
					}
				}
			}
		}
	}
}

// The context of the build leaves out what would be large, secret or different in every clone; not what is compiled.
func TestWhatIsIgnoredIsNotBuilt(t *testing.T) {
	text, err := os.ReadFile("../Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, path := range []string{".git", "bin", "dist", "deploy"} {
		if !slices.Contains(lines, path) {
			t.Errorf("%s is part of the context", path)
		}
	}
	for _, path := range []string{"go.mod", "cmd", "internal", "api", "examples"} {
		if slices.Contains(lines, path) {
			t.Errorf("%s is not part of the context", path)
		}
	}
}
