package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rollcall-io/rollcall"
)

// documentFormat is how a policy is printed.
type documentFormat string

const (
	documentYAML documentFormat = "yaml"
	documentJSON documentFormat = "json"
)

func (f *documentFormat) String() string { return string(*f) }
func (f *documentFormat) Type() string   { return "format" }

func (f *documentFormat) Set(s string) error {
	if s != string(documentYAML) && s != string(documentJSON) {
		return errors.New("an output format is yaml or json")
	}
	*f = documentFormat(s)
	return nil
}

// documentError says what is wrong with a document that the command line names: to a script, that is a bad argument. It
// hides the fields of the library's errors from inFlagWords: they are the document's, and no flags.
type documentError struct {
	name string
	err  error
}

func (e *documentError) Error() string {
	text := strings.TrimPrefix(e.err.Error(), "policy: ")
	return e.name + ": " + strings.TrimPrefix(text, "json: ")
}

func (e *documentError) Is(target error) bool { return target == rollcall.ErrInvalid }

// maxDocument bounds what is read of a file; a policy is far smaller.
const maxDocument = 1 << 20

// readPolicy reads a policy from a file, or from stdin when it is called "-".
func readPolicy(file string, stdin io.Reader) (rollcall.Policy, error) {
	name := file
	if file == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(file)
		if err != nil {
			return rollcall.Policy{}, err
		}
		defer f.Close()
		stdin = f
	}
	text, err := io.ReadAll(io.LimitReader(stdin, maxDocument+1))
	if err != nil {
		return rollcall.Policy{}, fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > maxDocument {
		return rollcall.Policy{}, &documentError{name, errors.New("it is larger than 1 MiB")}
	}
	p, err := parsePolicy(text)
	if err != nil {
		return p, &documentError{name, err}
	}
	return p, nil
}

// parsePolicy reads JSON or YAML.
func parsePolicy(text []byte) (rollcall.Policy, error) {
	if !json.Valid(text) { // which is YAML, too, but for some escapes
		var err error
		if text, err = fromYAML(text); err != nil {
			return rollcall.Policy{}, err
		}
	}
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		return rollcall.Policy{}, errors.New("a policy is fields with values, such as timeout: 5s")
	}
	p, err := rollcall.ParsePolicy(text)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		words := strings.Split(wrong.Field, ".")
		words = slices.DeleteFunc(words, func(word string) bool { return strings.HasSuffix(word, "Document") }) // Go's, not the file's
		return p, fmt.Errorf("%s: it takes no %s", strings.Join(words, "."), wrong.Value)
	}
	return p, err
}

// fromYAML returns the one YAML document in text as JSON.
func fromYAML(text []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty; the policy that says nothing is {}")
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New("it holds more than one document")
	}
	value, err := plain(&document)
	if err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// plain returns what JSON has for a node. Keys are text as they stand there: a version 1.10 is no number, and "on" is not true.
func plain(n *yaml.Node) (any, error) {
	switch n.Kind {
	case yaml.DocumentNode:
		return plain(n.Content[0])
	case yaml.MappingNode:
		object := map[string]any{}
		for k := 0; k+1 < len(n.Content); k += 2 {
			key := n.Content[k]
			if _, twice := object[key.Value]; twice || key.Kind != yaml.ScalarNode {
				return nil, fmt.Errorf("line %d: key %q: each is a word, and stands there once", key.Line, key.Value)
			}
			value, err := plain(n.Content[k+1])
			if err != nil {
				return nil, err
			}
			object[key.Value] = value
		}
		return object, nil
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for k, item := range n.Content {
			var err error
			if list[k], err = plain(item); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.ScalarNode:
		if n.ShortTag() == "!!timestamp" {
			return n.Value, nil
		}
		var value any
		err := n.Decode(&value)
		return value, err
	}
	return nil, fmt.Errorf("line %d: anchors and aliases are not understood", n.Line)
}

// printPolicy prints a policy so that readPolicy reads it back.
func printPolicy(w io.Writer, f documentFormat, p rollcall.Policy) error {
	var text bytes.Buffer
	if err := printIndented(&text, p); err != nil {
		return err
	}
	if f == documentJSON {
		_, err := w.Write(text.Bytes())
		return err
	}
	var document yaml.Node // keeps the order of the fields
	if err := yaml.Unmarshal(text.Bytes(), &document); err != nil {
		return err
	}
	block(&document)
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return err
	}
	return encoder.Close()
}

// block takes from a node and those in it the look that they have in JSON.
func block(n *yaml.Node) {
	n.Style = 0
	for _, inner := range n.Content {
		block(inner)
	}
}

func printIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
