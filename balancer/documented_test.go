package balancer

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/rollcall-io/rollcall"
)

// known are the fields of a config.
var known = []string{"pick", "split", "splitHeader", "subset", "zones", "slowStart", "ejection"}

func TestTheDocumentedConfigIsValidAndNamesEveryField(t *testing.T) {
	page, err := os.ReadFile("../docs/balancing.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) == 0 {
		t.Fatal("docs/balancing.md shows no config")
	}
	for _, block := range blocks {
		var whole struct{ LoadBalancingConfig []map[string]json.RawMessage }
		if err := json.Unmarshal(block[1], &whole); err != nil {
			t.Fatal(err)
		}
		text := whole.LoadBalancingConfig[0][Name]
		if _, err := rollcall.ParseBalancing(text); err != nil {
			t.Errorf("the documented config: %v", err)
		}
		var fields map[string]any
		if err := json.Unmarshal(text, &fields); err != nil {
			t.Fatal(err)
		}
		for _, name := range known {
			if _, shown := fields[name]; !shown {
				t.Errorf("docs/balancing.md does not show %q", name)
			}
			if !regexp.MustCompile("(?m)^\\| `" + name + "` ").Match(page) {
				t.Errorf("the table of docs/balancing.md has no row for %q", name)
			}
		}
		for name := range fields {
			if !slices.Contains(known, name) {
				t.Errorf("docs/balancing.md shows %q, which is no field", name)
			}
		}
	}
}
