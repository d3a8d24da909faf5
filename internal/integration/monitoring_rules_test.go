package integration

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const monitoringDir = "../../deploy/monitoring"

// rule is an alert or a recording rule.
type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func readRules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoringDir, "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var rules []rule
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

func expressionsOfRules(t *testing.T) []string {
	t.Helper()
	var exprs []string
	for _, r := range readRules(t) {
		exprs = append(exprs, r.Expr)
	}
	return exprs
}

// recorded returns the names that recording rules give.
func recorded(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, r := range readRules(t) {
		if r.Record != "" {
			names[r.Record] = true
		}
	}
	return names
}

// metricsIn returns the names of the metrics in an expression: words that are no label, function, string, duration or grouping.
func metricsIn(expr string) []string {
	for _, noise := range []string{`"[^"]*"`, `\{[^{}]*\}`, `\[[^\]]*\]`, `\b(by|on|without|ignoring|group_left|group_right)\s*\([^()]*\)`, `[a-z_0-9]+\s*\(`} {
		expr = regexp.MustCompile(noise).ReplaceAllStringFunc(expr, func(s string) string {
			if strings.HasSuffix(s, "(") {
				return "("
			}
			return " "
		})
	}
	var names []string
	for _, word := range regexp.MustCompile(`\b[a-zA-Z_][\w:]*`).FindAllString(expr, -1) {
		if !slices.Contains([]string{"or", "and", "unless", "bool", "by", "offset", "inf", "sum", "max", "min"}, word) {
			names = append(names, word)
		}
	}
	return names
}

func TestTheNamesInAnExpressionAreFound(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string][]string{
		`max by (job) (up{job=~"rollcall.*"}) == 0`:                                                       {"up"},
		`histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x="b_total"}[5m])))`:                    {"a_bucket"},
		"sum(rate(a_total[5m]) or rate(b_total[5m]) offset 1h) / c:d:rate5m > 5e3 and e - time() < 86400": {"a_total", "b_total", "c:d:rate5m", "e"},
	} {
		if got := metricsIn(expr); !slices.Equal(got, want) {
			t.Errorf("in %s: %q, want %q", expr, got, want)
		}
	}
}

// wantTold wants every metric in some expressions to be one that a server tells, a rule records, or Prometheus makes.
func wantTold(t *testing.T, p page, file string, exprs []string) {
	t.Helper()
	known := recorded(t)
	known["up"] = true
	found := 0
	for _, expr := range exprs {
		names := metricsIn(expr)
		found += len(names)
		for _, name := range names {
			if !known[name] && !p.names[name] {
				t.Errorf("%s speaks of %s, which no server tells: %s", file, name, expr)
			}
		}
	}
	if found < len(exprs) {
		t.Errorf("only %d metrics were found in %d expressions of %s", found, len(exprs), file)
	}
}

func TestEveryAlertHasItsSectionInTheRunbook(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	parts := strings.Split(string(text), "\n## ")
	for _, part := range parts[1:] {
		title, body, _ := strings.Cut(part, "\n")
		sections[title] = body
	}
	alerts := map[string]bool{}
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		alerts[r.Alert] = true
		for _, what := range []string{"**Means**", "**Users feel**", "**Look**", "**Do**", "**It can"} {
			if s := strings.ReplaceAll(sections[r.Alert], "**Look** and **do**", "**Look** **Do**"); !strings.Contains(s, what) {
				t.Errorf("the runbook on %s does not say: %s", r.Alert, what)
			}
		}
		want := "https://github.com/rollcall-io/rollcall/blob/main/docs/runbook.md#" + strings.ToLower(r.Alert)
		if got := r.Annotations["runbook_url"]; got != want {
			t.Errorf("%s: runbook_url %q, want %q", r.Alert, got, want)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.For == "" || !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) {
			t.Errorf("%s lacks a summary, a description, a duration or a severity: %+v", r.Alert, r)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(alerts)), slices.Sorted(maps.Keys(sections))); diff != "" {
		t.Errorf("sections of the runbook (-alerts +sections):\n%s", diff)
	}
}

func TestEveryAlertFiresWhenItShallAndNotElse(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(monitoringDir, "rules_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name string `yaml:"alertname"`
				Want []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, a := range test.Alerts {
			if len(a.Want) > 0 {
				fires[a.Name] = true
			} else {
				silent[a.Name] = true
			}
		}
	}
	for _, r := range readRules(t) {
		if r.Alert != "" && (!fires[r.Alert] || !silent[r.Alert]) {
			t.Errorf("rules_test.yaml has %s fire: %t, and keep silent: %t; want both", r.Alert, fires[r.Alert], silent[r.Alert])
		}
	}
	promtool := programOf(t, "promtool")
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}} {
		cmd := exec.CommandContext(within(t, processPatience), promtool, args...)
		cmd.Dir = monitoringDir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
