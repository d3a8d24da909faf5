// Package failpoints has an etcd server whose places of danger can be made slow or deadly: the real one, with the
// failpoints that its source marks by comments compiled in by gofail.
//
//	etcd, err := failpoints.Etcd(t.Context())
//	… run it with the variable GOFAIL_HTTP=127.0.0.1:port in its environment
//	err = failpoints.Set(t.Context(), "127.0.0.1:port", "raftBeforeSave", "sleep(1000)")
//
// It needs Go, a work tree of this module, and for the first build the module proxy and a minute; the server is kept in
// the user's folder for caches from then on.
package failpoints

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	chaos  = "github.com/rollcall-io/rollcall/chaos"
	server = "go.etcd.io/etcd/server/v3"
	gofail = "go.etcd.io/gofail"
)

// EnvHTTP is the variable in the environment of the server that says where it is told of failpoints: host:port. Without
// it the server is as any other.
const EnvHTTP = "GOFAIL_HTTP"

// Etcd returns the path of the server, in the version that etcd/v3.7 names, which it builds unless that was done before.
// Several processes may do so at the same time.
func Etcd(ctx context.Context) (string, error) {
	path, err := etcd(ctx)
	if err != nil {
		return "", fmt.Errorf("build an etcd with failpoints: %w", err)
	}
	return path, nil
}

func etcd(ctx context.Context) (string, error) {
	root, err := golang(ctx, ".", "list", "-m", "-f", "{{.Dir}}", chaos)
	if err != nil {
		return "", err
	}
	tool := filepath.Join(root, "failpoints", "gofail")
	gofailVersion, err := golang(ctx, tool, "list", "-m", "-f", "{{.Version}}", gofail)
	if err != nil {
		return "", err
	}
	source, err := download(ctx, filepath.Join(root, "etcd", "v3.7"), server)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "rollcall-chaos")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(cache, fmt.Sprintf("etcd-%s-gofail-%s", source.Version, gofailVersion))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "rollcall-failpoints-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return path, build{ctx, dir, tool}.run(source.Dir, gofailVersion, path)
}

// module is what the go command tells about one.
type module struct{ Version, Dir string }

// download makes sure that a module's source is there, in the version that the module in the folder uses.
func download(ctx context.Context, folder, path string) (m module, err error) {
	out, err := golang(ctx, folder, "mod", "download", "-json", path)
	if err == nil {
		err = json.Unmarshal([]byte(out), &m)
	}
	return m, err
}

// build is a copy of the server's source on its way to a program.
type build struct {
	ctx       context.Context
	dir, tool string // the copy, and the module that gofail is a tool of
}

// run builds the program, which is at the path only once it is complete.
func (b build) run(source, gofailVersion, path string) error {
	if err := b.copy(source); err != nil {
		return err
	}
	if err := b.enable(); err != nil {
		return err
	}
	if err := b.modules(gofailVersion); err != nil {
		return err
	}
	part := fmt.Sprintf("%s.%d", path, os.Getpid())
	if _, err := golang(b.ctx, b.dir, "build", "-mod=mod", "-buildvcs=false", "-o", part, "."); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// copy copies the source, without its tests. In the module cache nothing can be written.
func (b build) copy(from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(b.dir, rel), 0o755)
		case strings.HasSuffix(rel, "_test.go"):
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(b.dir, rel), content, 0o644)
	})
}

// enable turns the comments that mark failpoints into code.
func (b build) enable() error {
	var folders []string
	err := filepath.WalkDir(b.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		content, err := os.ReadFile(path)
		if folder := filepath.Dir(path); bytes.Contains(content, []byte("// gofail: var")) && !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(folders) == 0 {
		return errors.New("the source marks no failpoints")
	}
	_, err = golang(b.ctx, b.tool, append([]string{"tool", "gofail", "enable"}, folders...)...)
	return err
}

// modules makes the copy need gofail, and takes from it the sibling folders that it has in etcd's own work tree.
func (b build) modules(gofailVersion string) error {
	out, err := golang(b.ctx, b.dir, "mod", "edit", "-json")
	if err != nil {
		return err
	}
	var file struct {
		Replace []struct{ Old struct{ Path string } }
	}
	if err := json.Unmarshal([]byte(out), &file); err != nil {
		return err
	}
	edit := []string{"mod", "edit", "-require=" + gofail + "@" + gofailVersion}
	for _, r := range file.Replace {
		edit = append(edit, "-dropreplace="+r.Old.Path)
	}
	_, err = golang(b.ctx, b.dir, edit...)
	return err
}

// golang runs the go command in a folder and returns what it prints.
func golang(ctx context.Context, folder string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
