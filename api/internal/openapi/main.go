// Command openapi makes one OpenAPI document of several: of the one written by hand, which comes first and has the title
// and the routes that are no gRPC, and of those generated from each .proto file.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
)

// document is what of OpenAPI is in use here; anything else in a document is an error, not something to lose.
type document struct {
	OpenAPI    string            `json:"openapi"`
	Info       json.RawMessage   `json:"info"`
	Security   []json.RawMessage `json:"security,omitempty"`
	Tags       []json.RawMessage `json:"tags,omitempty"`
	Paths      map[string]named  `json:"paths"`
	Components components        `json:"components"`
}

type components struct {
	Schemas         named `json:"schemas"`
	SecuritySchemes named `json:"securitySchemes,omitempty"`
}

type named map[string]json.RawMessage

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

// run writes the documents in the files as one.
func run(out io.Writer, files []string) error {
	all := document{Paths: map[string]named{}, Components: components{Schemas: named{}, SecuritySchemes: named{}}}
	for _, file := range files {
		d, err := read(file)
		if err == nil {
			err = all.add(d)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

func read(file string) (document, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return document{}, err
	}
	var d document
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return d, dec.Decode(&d)
}

// add adds another document. The version and the title stay those of the first.
func (d *document) add(other document) error {
	if d.OpenAPI == "" {
		d.OpenAPI, d.Info, d.Security = other.OpenAPI, other.Info, other.Security
	}
	if d.OpenAPI != other.OpenAPI {
		return fmt.Errorf("it is OpenAPI %s, those before it %s", other.OpenAPI, d.OpenAPI)
	}
	d.Tags = append(d.Tags, other.Tags...)
	for path, operations := range other.Paths {
		if d.Paths[path] == nil {
			d.Paths[path] = named{}
		}
		for method := range operations {
			if _, taken := d.Paths[path][method]; taken {
				return fmt.Errorf("%s %s is in a document before it", method, path)
			}
		}
		maps.Copy(d.Paths[path], operations)
	}
	return d.Components.add(other.Components)
}

// add adds schemas; those that several documents have must be the same in all of them.
func (c *components) add(other components) error {
	for name, schema := range other.Schemas {
		if known, ok := c.Schemas[name]; ok && !bytes.Equal(compact(known), compact(schema)) {
			return fmt.Errorf("the schema %s is another one in a document before it", name)
		}
		c.Schemas[name] = schema
	}
	maps.Copy(c.SecuritySchemes, other.SecuritySchemes)
	return nil
}

func compact(raw json.RawMessage) []byte {
	var b bytes.Buffer
	_ = json.Compact(&b, raw) // it was decoded from valid JSON
	return b.Bytes()
}
