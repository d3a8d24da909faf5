package policy

import (
	"go/ast"
	"go/doc"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageHasOnePackageComment(t *testing.T) {
	for _, p := range packages(t) {
		sources := p.sources()
		if len(sources) == 0 {
			sources = p.tests()
		}
		var comments []string
		for _, path := range sources {
			if f := parse(t, path); f.Doc != nil {
				comments = append(comments, f.Doc.Text())
			}
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command " + filepath.Base(p.Dir) + " "
		}
		if len(comments) != 1 {
			t.Errorf("%s has %d package comments, want one", p.rel(), len(comments))
		} else if !strings.HasPrefix(comments[0], want) {
			t.Errorf("%s: the package comment does not begin with %q", p.rel(), want)
		}
	}
}

func TestEveryPublicNameIsDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if !p.public() {
			continue
		}
		var parsed []*ast.File
		for _, path := range p.sources() {
			// What is generated is documented where it comes from: buf's lint wants a comment for each name in the .proto files.
			if f := parse(t, path); !ast.IsGenerated(f) {
				parsed = append(parsed, f)
			}
		}
		d, err := doc.NewFromFiles(fileSet, parsed, p.ImportPath)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range undocumented(d) {
			t.Errorf("%s: %s has no doc comment", p.rel(), name)
		}
	}
}

// undocumented returns the exported names of a package that nothing is said about.
func undocumented(d *doc.Package) []string {
	names := slices.Concat(undocumentedFuncs("", d.Funcs), undocumentedValues(d.Consts), undocumentedValues(d.Vars))
	for _, typ := range d.Types {
		if typ.Doc == "" {
			names = append(names, typ.Name)
		}
		names = append(names, undocumentedValues(typ.Consts)...)
		names = append(names, undocumentedValues(typ.Vars)...)
		names = append(names, undocumentedFuncs("", typ.Funcs)...)
		names = append(names, undocumentedFuncs(typ.Name+".", typ.Methods)...)
	}
	return names
}

func undocumentedFuncs(prefix string, funcs []*doc.Func) []string {
	obvious := []string{"Error", "String", "Unwrap"} // methods whose contract the standard library wrote
	var names []string
	for _, f := range funcs {
		if f.Doc == "" && (prefix == "" || !slices.Contains(obvious, f.Name)) {
			names = append(names, prefix+f.Name)
		}
	}
	return names
}

// undocumentedValues wants a comment above or behind each constant or variable, or one above a group of a few.
func undocumentedValues(values []*doc.Value) []string {
	var names []string
	for _, v := range values {
		for _, spec := range v.Decl.Specs {
			spec := spec.(*ast.ValueSpec)
			if spec.Doc == nil && spec.Comment == nil && (v.Doc == "" || len(v.Decl.Specs) > 1) {
				names = append(names, exported(spec.Names)...)
			}
		}
	}
	return names
}

func exported(idents []*ast.Ident) []string {
	var names []string
	for _, id := range idents {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	return names
}

func TestEveryPublicPackageHasAnExample(t *testing.T) {
	for _, p := range packages(t) {
		if p.public() && !slices.ContainsFunc(p.tests(), func(path string) bool { return len(doc.Examples(parse(t, path))) > 0 }) {
			t.Errorf("%s has no Example function", p.rel())
		}
	}
}
