package doctor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEveryFindingAndEveryCheckIsDocumentedAndNoOther(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var found, looks []string
	for _, k := range kinds {
		found = append(found, k.id)
		if !strings.HasSuffix(k.advice, "More: docs/doctor.md#"+k.id) || strings.HasPrefix(k.advice, " ") {
			t.Errorf("the advice of %s does not end with its section: %s", k.id, k.advice)
		}
	}
	for _, c := range checks {
		looks = append(looks, c.id)
	}
	for what, row := range map[string]struct {
		pattern string
		want    []string
	}{
		"findings": {`(?m)^\| <a id="([a-z-]+)"></a>\x60([a-z-]+)\x60 \|`, found},
		"checks":   {`(?m)^\| \x60(([a-z-]+))\x60 \|`, looks},
	} {
		var got []string
		for _, m := range regexp.MustCompile(row.pattern).FindAllSubmatch(page, -1) {
			if string(m[1]) != string(m[2]) {
				t.Errorf("%s has the anchor %s", m[2], m[1])
			}
			got = append(got, string(m[1]))
		}
		slices.Sort(got)
		slices.Sort(row.want)
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s in docs/doctor.md (-code +page):\n%s", what, diff)
		}
	}
}
