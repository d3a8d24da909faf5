package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const base = `{"openapi":"3.1.0","info":{"title":"all"},"paths":{"/a":{"get":{}}},"components":{"schemas":{"S":{"type":"object"}}}}`

func merge(t *testing.T, documents ...string) (string, error) {
	t.Helper()
	var files []string
	for i, text := range documents {
		file := filepath.Join(t.TempDir(), string(rune('a'+i)))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	var out strings.Builder
	err := run(&out, files)
	return out.String(), err
}

func TestDocumentsAreMergedUnderTheTitleOfTheFirst(t *testing.T) {
	t.Parallel()
	got, err := merge(t, base, `{"openapi":"3.1.0","info":{"title":"part"},"tags":[{"name":"T"}],"paths":{"/a":{"put":{}},"/b":{"get":{}}},
		"components":{"schemas":{"S":{ "type": "object" },"<T>":{}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(got) {
		b.WriteString(strings.TrimSpace(line))
	}
	want := `{"openapi": "3.1.0","info": {"title": "all"},"tags": [{"name": "T"}],"paths": {"/a": {"get": {},"put": {}},"/b": {"get": {}}},` +
		`"components": {"schemas": {"<T>": {},"S": {"type": "object"}}}}`
	if b.String() != want || !json.Valid([]byte(got)) {
		t.Errorf("got  %s\nwant %s", b.String(), want)
	}
}

func TestDocumentsThatContradictEachOtherAreRefused(t *testing.T) {
	t.Parallel()
	for why, other := range map[string]string{
		"the same route":   `{"openapi":"3.1.0","paths":{"/a":{"get":{}}},"components":{}}`,
		"another schema":   `{"openapi":"3.1.0","paths":{},"components":{"schemas":{"S":{"type":"string"}}}}`,
		"another version":  `{"openapi":"3.0.0","paths":{},"components":{}}`,
		"an unknown field": `{"openapi":"3.1.0","paths":{},"components":{},"webhooks":{}}`,
		"no JSON":          `{`,
	} {
		if got, err := merge(t, base, other); err == nil {
			t.Errorf("%s: merged into %s", why, got)
		}
	}
}
