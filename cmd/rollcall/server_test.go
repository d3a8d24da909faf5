package main

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// documented returns the defaults of the settings in the table of docs/server.md.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (?:`([^`]*)`)? *\\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		if _, twice := rows[row[1]]; twice {
			t.Errorf("--%s is in the table twice", row[1])
		}
		rows[row[1]] = row[2]
	}
	return rows
}

func TestTheDocumentHasEveryServerSettingWithItsDefault(t *testing.T) {
	t.Parallel()
	rows := documented(t)
	newServerCommand().Flags().VisitAll(func(f *pflag.Flag) {
		value, there := rows[f.Name]
		if !there {
			t.Errorf("--%s is not in the table of docs/server.md", f.Name)
		} else if value != f.DefValue {
			t.Errorf("--%s: docs/server.md has the default %q, the flag %q", f.Name, value, f.DefValue)
		}
		delete(rows, f.Name)
	})
	for name := range rows {
		t.Errorf("--%s is in docs/server.md, but there is no such flag", name)
	}
}

// What Validate finds fault with is a field; whoever gave the value knows it by the name of a setting.
func TestEveryFieldOfAServerHasASetting(t *testing.T) {
	t.Parallel()
	flags := newServerCommand().Flags()
	for field, name := range configSettings {
		if flags.Lookup(name) == nil {
			t.Errorf("%s is filled by --%s, which is no flag", field, name)
		}
		value := reflect.ValueOf(server.Config{})
		for part := range strings.SplitSeq(field, ".") {
			if value = value.FieldByName(part); !value.IsValid() {
				t.Errorf("there is no field %s", field)
				break
			}
		}
		err := serverError(&rollcall.InvalidError{Field: "Config." + field, Value: "v", Rule: "r"}, settings{})
		if want := "server: --" + name + " v: r"; err.Error() != want || !errors.Is(err, rollcall.ErrInvalid) {
			t.Errorf("the error about %s is %q, want %q", field, err, want)
		}
	}
}

func TestWhatIsForOneKindOfEtcdOnlyIsASetting(t *testing.T) {
	t.Parallel()
	flags := newServerCommand().Flags()
	for _, name := range append(embeddedOnly, existingOnly...) {
		if flags.Lookup(name) == nil && name != passwordKey {
			t.Errorf("--%s is no flag", name)
		}
	}
}
