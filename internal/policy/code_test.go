package policy

import (
	"go/ast"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// An option that no test sets may as well not work. Examples without output are not run and do not count.
func TestEveryOptionIsExercisedByATest(t *testing.T) {
	untested := map[string]bool{} // "import path.WithX"
	for _, p := range packages(t) {
		for _, path := range p.sources() {
			for _, decl := range parse(t, path).Decls {
				if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "With") && f.Name.IsExported() {
					untested[p.ImportPath+"."+f.Name.Name] = true
				}
			}
		}
	}
	for _, p := range packages(t) {
		for _, path := range p.tests() {
			for _, called := range calls(parse(t, path), p.ImportPath) {
				delete(untested, called)
			}
		}
	}
	for _, option := range slices.Sorted(maps.Keys(untested)) {
		t.Errorf("no test calls %s", strings.TrimPrefix(option, module+"/"))
	}
}

// calls returns the functions that a test file of package self calls by name, as "import path.Name".
func calls(f *ast.File, self string) []string {
	imported := importNames(f)
	var names []string
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Example") {
			continue
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch fun := call.Fun.(type) {
			case *ast.Ident:
				names = append(names, self+"."+fun.Name)
			case *ast.SelectorExpr:
				if x, ok := fun.X.(*ast.Ident); ok {
					names = append(names, imported[x.Name]+"."+fun.Sel.Name)
				}
			}
			return true
		})
	}
	return names
}

// importNames maps the names that a file uses for its imports to their paths.
func importNames(f *ast.File) map[string]string {
	imported := map[string]string{}
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		name := path[strings.LastIndex(path, "/")+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		imported[name] = path
	}
	return imported
}

// A registry client that ends its host's process is worse than none.
func TestNothingOutsideMainEndsTheProcess(t *testing.T) {
	fatal := map[string]string{"log": "Fatal", "os": "Exit", "runtime": "Goexit"}
	for _, p := range packages(t) {
		if p.Name == "main" {
			continue
		}
		for _, path := range p.sources() {
			f := parse(t, path)
			for _, called := range calls(f, "") {
				pkg, name, _ := strings.Cut(called, ".")
				prefix, listed := fatal[pkg]
				if called == ".panic" || listed && strings.HasPrefix(name, prefix) {
					t.Errorf("%s/%s calls %s: return an error", p.rel(), filepath.Base(path), strings.TrimPrefix(called, "."))
				}
			}
		}
	}
}

func TestEveryPackageWithTestsChecksForLeakedGoroutines(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.tests()) == 0 {
			continue
		}
		var called []string
		for _, path := range p.tests() {
			called = append(called, calls(parse(t, path), p.ImportPath)...)
		}
		checks := []string{"go.uber.org/goleak.VerifyTestMain", "go.uber.org/goleak.Find", module + "/internal/etcdtest.Main"}
		if !slices.ContainsFunc(checks, func(check string) bool { return slices.Contains(called, check) }) {
			t.Errorf("%s has tests but no TestMain with goleak", p.rel())
		}
	}
}
