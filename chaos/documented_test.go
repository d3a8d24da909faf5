package chaos

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	suitePage  = "../docs/chaos.md"
	faultsPage = "../docs/faults.md"
)

// An operator chooses what to run by the table of the scenarios, so it must be that of the suite.
func TestDocumentedScenariosAreThoseOfTheSuite(t *testing.T) {
	rows := map[string][]string{} // name → the cells behind it
	for _, row := range tableRows(t, suitePage, "| scenario | what is done | in `make test` | without |") {
		name := strings.Trim(row[0], "`")
		if _, twice := rows[name]; twice {
			t.Errorf("%s has two rows for %s", suitePage, name)
		}
		rows[name] = row[1:]
	}
	for _, s := range scenarios() {
		row, found := rows[s.name]
		if !found {
			t.Errorf("%s has no row for %s: %s", suitePage, s.name, s.fault)
			continue
		}
		delete(rows, s.name)
		quick := map[bool]string{true: "yes"}[s.quick]
		if want := []string{row[0], quick, strings.ReplaceAll(s.without, ",", ", ")}; !slices.Equal(row, want) {
			t.Errorf("%s says of %s: %q, want %q", suitePage, s.name, row, want)
		}
	}
	for name := range rows {
		t.Errorf("%s has a row for %s, which is no scenario", suitePage, name)
	}
}

// The page for operators names, fault by fault, the scenario that shows what it says.
func TestDocumentedFaultsNameScenariosThatExist(t *testing.T) {
	named := map[string]bool{}
	quoted := regexp.MustCompile("`([a-z0-9-]+)`:")
	for line := range strings.Lines(read(t, faultsPage)) {
		if !strings.HasPrefix(line, "| measured |") {
			continue
		}
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			named[m[1]] = true
		}
	}
	for _, s := range scenarios() {
		if !named[s.name] {
			t.Errorf("no fault in %s is measured by %s", faultsPage, s.name)
		}
		delete(named, s.name)
	}
	for name := range named {
		t.Errorf("%s names %s, which is no scenario", faultsPage, name)
	}
}

// A report prints rules by which readers look up what is judged.
func TestDocumentedRulesAreThoseOfTheJudge(t *testing.T) {
	rules := map[string]bool{}
	for _, row := range tableRows(t, suitePage, "| | rule | in |") {
		rules[row[1]] = true
	}
	said := inSources(t, regexp.MustCompile(`\brule[A-Z]\w*\s*=\s*"([^"]+)"`), "judge/*.go")
	said = append(said, inSources(t, regexp.MustCompile(`\bRule:\s*"([^"]+)"`), "*_test.go")...)
	for _, rule := range said {
		if !rules[rule] {
			t.Errorf("%s does not have the rule: %s", suitePage, rule)
		}
		delete(rules, rule)
	}
	for rule := range rules {
		t.Errorf("%s has a rule that nobody judges by: %s", suitePage, rule)
	}
}

// Whoever is on call searches for what the log says: each message, as the library prints it, and none that it does not.
func TestDocumentedLogMessagesAreThoseOfTheLibrary(t *testing.T) {
	rooms := []string{
		"../*.go", "../internal/lease/*.go", "../internal/follow/*.go", "../internal/wire/*.go", "../rollcallgrpc/*.go", "../resolver/*.go", "../naming/*.go",
	}
	calls := regexp.MustCompile(`(?:\bslog|[lL]ogger)\.(?:(?:Info|Warn|Error)(?:Context\([^,]+, |\()|NewRecord\([^"]*)"([^"]+)"`)
	printed := map[string]bool{}
	for _, message := range inSources(t, calls, rooms...) {
		printed[message] = true
	}
	for _, row := range tableRows(t, faultsPage, "| level | message | means |") {
		message := strings.TrimSuffix(strings.TrimPrefix(row[1], "`"), "`")
		if !printed[message] {
			t.Errorf("%s has the message %q, which nothing prints", faultsPage, message)
		}
		delete(printed, message)
	}
	for message := range printed {
		t.Errorf("%s does not have the message %q", faultsPage, message)
	}
}

// tableRows returns the cells of each row of the table with a certain head, which must be there and have rows.
func tableRows(t *testing.T, page, head string) [][]string {
	t.Helper()
	_, table, found := strings.Cut(read(t, page), head+"\n")
	var rows [][]string
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(cell)
		}
		if !strings.HasPrefix(line, "|---") {
			rows = append(rows, cells)
		}
	}
	if !found || len(rows) == 0 {
		t.Fatalf("%s has no table with the head %s", page, head)
	}
	return rows
}

// inSources returns what the first group of an expression matches in some sources: in tests only where a pattern asks for
// them.
func inSources(t *testing.T, expr *regexp.Regexp, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("there are no sources %s: %v", pattern, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") && !strings.HasSuffix(pattern, "_test.go") {
				continue
			}
			for _, m := range expr.FindAllStringSubmatch(read(t, name), -1) {
				all = append(all, m[1])
			}
		}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
