package integration

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dashboard is what a test reads of a dashboard for Grafana.
type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
			Datasource *datasource
		}
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *datasource
	GridPos                  struct{ H, W, X, Y int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		RefID, Expr string
		Datasource  *datasource
	}
}

type datasource struct{ Type, UID string }

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(monitoringDir, "rollcall-dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func expressionsOfDashboard(t *testing.T) []string {
	t.Helper()
	var exprs []string
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	return exprs
}

func TestTheDashboardIsWhatGrafanaTakes(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("uid %q, title %q, schemaVersion %d", d.UID, d.Title, d.SchemaVersion)
	}
	variables := map[string]string{}
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["job"] != "query" || variables["instance"] != "query" {
		t.Errorf("variables %v, want datasource, job and instance", variables)
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	var rows []string
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q has the id %d of another, or none", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		wantPanel(t, p)
		row := rows[len(rows)-1]
		if titles[row+p.Title+p.Type] {
			t.Errorf("two panels are called %q in row %s", p.Title, row)
		}
		titles[row+p.Title+p.Type] = true
	}
	for _, row := range []string{"Registry", "Servers", "API", "etcd inside", "Propagation", "Checks and history"} {
		if !slices.Contains(rows, row) {
			t.Errorf("there is no row %q among %q", row, rows)
		}
	}
	for i, p := range d.Panels {
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panels %q and %q lie one over the other", p.Title, q.Title)
			}
		}
	}
}

// wantPanel wants a panel to say what it shows, in which unit, and to ask the source that was chosen, for the job that was.
func wantPanel(t *testing.T, p panel) {
	t.Helper()
	if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
		t.Errorf("panel %d (%q) lacks a title, a description, a unit or a query", p.ID, p.Title)
	}
	if p.Datasource == nil || p.Datasource.UID != "${datasource}" {
		t.Errorf("panel %q does not ask the data source that was chosen", p.Title)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		if refs[target.RefID] || target.Datasource == nil || target.Datasource.UID != "${datasource}" || !strings.Contains(target.Expr, `job=~"$job"`) {
			t.Errorf("panel %q: query %s is there twice, or not of the source or the job that was chosen: %s", p.Title, target.RefID, target.Expr)
		}
		refs[target.RefID] = true
	}
	if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
		t.Errorf("panel %q lies at %+v", p.Title, g)
	}
}
