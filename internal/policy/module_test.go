package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	module = "github.com/rollcall-io/rollcall"
	root   = "../.." // of the module, as seen from this package's tests
)

// pkg is what `go list` says about a package, or about the test binary of one: then the path ends in ".test".
type pkg struct {
	ImportPath, Dir, Name, ForTest     string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	Deps                               []string
	Standard                           bool
	Module                             *struct{ Path string }
}

// rel is the package's folder below the root, which is itself ".".
func (p pkg) rel() string { return relative(p.ImportPath) }

func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

// public reports whether others can import the package.
func (p pkg) public() bool {
	return p.Name != "main" && !slices.Contains(strings.Split(p.rel(), "/"), "internal")
}

func (p pkg) sources() []string { return p.join(p.GoFiles) }

func (p pkg) tests() []string { return p.join(slices.Concat(p.TestGoFiles, p.XTestGoFiles)) }

func (p pkg) join(names []string) []string {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(p.Dir, name)
	}
	return paths
}

// goList runs `go list` in the root.
func goList(args ...string) ([]pkg, error) {
	cmd := exec.Command("go", append([]string{"list", "-buildvcs=false"}, args...)...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(err, errors.New(stderr.String()))
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
}

// listed is the module's packages and test binaries, listed once for all tests.
var listed = sync.OnceValues(func() ([]pkg, error) { return goList("-test", "-json", "./...") })

// packages returns the packages of the module, without what `go list` derives from them for tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	return slices.DeleteFunc(everything(t), func(p pkg) bool { return p.ForTest != "" || strings.HasSuffix(p.ImportPath, ".test") })
}

// testBinaries returns the module's test binaries; their Deps are all that the tests of a package link.
func testBinaries(t *testing.T) []pkg {
	t.Helper()
	return slices.DeleteFunc(everything(t), func(p pkg) bool { return !strings.HasSuffix(p.ImportPath, ".test") })
}

func everything(t *testing.T) []pkg {
	t.Helper()
	pkgs, err := listed()
	if err != nil {
		t.Fatalf("list the module's packages: %v", err)
	}
	return slices.Clone(pkgs)
}

// fileSet knows the positions in everything that parse read.
var fileSet = token.NewFileSet()

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(fileSet, path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// files returns the module's files whose name ends in suffix, as paths from the root; what is built or installed is not
// among them.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (path == ".git" || path == "bin" || path == "dist" || path == "rollcall.data" || path == "tools/node_modules"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, suffix):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// read returns a file of the module as text.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
