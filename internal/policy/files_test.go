package policy

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A path of the machine where somebody worked is of no use to anybody else.
func TestNoFileNamesAPathOfOneMachine(t *testing.T) {
	personal := regexp.MustCompile(`(^|[\s"'=(:` + "`" + `])/(home|root|Users|work|workspace)/[\w.]`)
	for _, name := range files(t, "") {
		text := read(t, name)
		if strings.Contains(text, "\x00") {
			continue
		}
		for n, line := range strings.Split(text, "\n") {
			if found := personal.FindString(line); found != "" {
				t.Errorf("%s:%d: %s…", name, n+1, strings.TrimSpace(found))
			}
		}
	}
}

func TestTheCodeInTheReadmeIsThatOfTheExamples(t *testing.T) {
	readme := read(t, "README.md")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme, -1)
	examples := map[string]string{} // code → file
	for _, name := range files(t, ".go") {
		if strings.HasPrefix(name, "examples/") {
			examples[read(t, name)] = name
		}
	}
	shown := map[string]bool{}
	for _, block := range blocks {
		name, found := examples[block[1]]
		if !found {
			t.Errorf("README.md shows code that is no file in examples/:\n%s", block[1])
		}
		shown[name] = true
	}
	for _, name := range examples {
		if !shown[name] {
			t.Errorf("README.md does not show %s as it is", name)
		}
	}
}

// What the contract promises and no test holds is a wish.
func TestEveryPromiseOfTheContractNamesATestThatExists(t *testing.T) {
	exists := map[string]bool{}
	for _, name := range files(t, "_test.go") {
		for _, decl := range parse(t, filepath.Join(root, name)).Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				exists[f.Name.Name] = true
			}
		}
	}
	for _, name := range files(t, ".txtar") {
		exists[path.Base(name)] = true
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([\\w-]+)` \\|").FindAllStringSubmatch(read(t, "docs/chaos.md"), -1) {
		exists["chaos/"+row[1]] = true // a test of the suite sees to it that its scenarios are those of that page
	}
	quoted := regexp.MustCompile("`((?:Test|Fuzz|Benchmark|Example)[\\w]+|[\\w-]+\\.txtar|chaos/[\\w-]+)`")
	promises := 0
	for line := range strings.Lines(read(t, "docs/contract.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) < 2 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[len(cells)-1]) == "held by" {
			continue
		}
		promises++
		named := quoted.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(named) == 0 {
			t.Errorf("no test is named for: %s", strings.TrimSpace(cells[0]))
		}
		for _, name := range named {
			if !exists[name[1]] {
				t.Errorf("%s does not exist, named for: %s", name[1], strings.TrimSpace(cells[0]))
			}
		}
	}
	if promises == 0 {
		t.Error("docs/contract.md has no table of promises")
	}
}

func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	for _, name := range files(t, ".md") {
		for _, found := range link.FindAllStringSubmatch(read(t, name), -1) {
			target := found[1]
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, path.Dir(name), target)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, target)
			}
		}
	}
}

func TestTheMakefileIsShortAndExplainsItself(t *testing.T) {
	makefile := read(t, "Makefile")
	if n := strings.Count(makefile, "\n"); n > 50 {
		t.Errorf("the Makefile has %d lines; longer than 50 it is a program", n)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z][a-z -]*):(.*)$`).FindAllStringSubmatch(makefile, -1) {
		for name := range strings.FieldsSeq(m[1]) {
			targets[name] = true
		}
		if !strings.Contains(m[2], "## ") {
			t.Errorf("target %s has no explanation after ##", m[1])
		}
	}
	mentioned := regexp.MustCompile("`make ([a-z][a-z-]*)`|(?m)^(?:    )?make ([a-z][a-z-]*)")
	for _, name := range append(files(t, ".md"), ".ci/run") {
		for _, m := range mentioned.FindAllStringSubmatch(read(t, name), -1) {
			if target := m[1] + m[2]; !targets[target] {
				t.Errorf("%s speaks of make %s, which does not exist", name, target)
			}
		}
	}
}
