package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/rollcall-io/rollcall"
)

// A setting of the server is a flag, a variable of the environment and a key in the file that --config names, all three of one name:
// --grpc-listen, ROLLCALL_GRPC_LISTEN, grpc-listen. A flag wins over the variable, the variable over the file, the file over the default.

// passwordKey is the one setting without a flag: everybody on the machine reads command lines.
const passwordKey = "etcd-password"

// settings are where the values of the flags are from that somebody gave.
type settings struct {
	sources  map[string]string // by flag: "--history", "ROLLCALL_HISTORY" or "rollcall.yaml:3: history"
	password string
}

// settingError says what is wrong with a setting: to a script, that is a bad argument.
type settingError struct{ error }

func (e *settingError) Is(target error) bool { return target == rollcall.ErrInvalid }

// isSetting reports whether a flag is more than a word to this one command line.
func isSetting(f *pflag.Flag) bool {
	return f.Name != "help" && f.Name != "config" && f.Name != "print-config"
}

// variableOf returns the variable that fills a flag.
func variableOf(name string) string {
	return "ROLLCALL_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// emptyCounts reports whether a variable set to "" is a value, and not an absence.
func emptyCounts(name string) bool {
	return name == "prefix" || name == "grpc-listen" || name == "http-listen" || name == "dns-listen"
}

// loadSettings fills the flags that were not given, and returns where each has its value from.
func loadSettings(cmd *cobra.Command, file string) (settings, error) {
	s := settings{sources: map[string]string{}}
	file = cmp.Or(file, os.Getenv(variableOf("config")))
	lines, err := readConfig(file, cmd.Flags())
	errs := []error{err}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if isSetting(f) {
			errs = append(errs, s.fill(f, lines))
		}
	})
	s.fillPassword(lines)
	if err := errors.Join(errs...); err != nil {
		return s, &settingError{err}
	}
	return s, nil
}

// fill gives a flag the value of the first of its sources that has one.
func (s *settings) fill(f *pflag.Flag, lines map[string]configLine) error {
	variable := variableOf(f.Name)
	value, set := os.LookupEnv(variable)
	line, written := lines[f.Name]
	switch {
	case f.Changed:
		s.sources[f.Name] = "--" + f.Name
	case set && (value != "" || emptyCounts(f.Name)):
		s.sources[f.Name] = variable
		return setFrom(f, variable, value)
	case written:
		err := setFrom(f, line.source, line.value)
		if err != nil || f.Value.String() != f.DefValue { // what is as it would be is no choice: what was printed can be read
			s.sources[f.Name] = line.source
		}
		return err
	}
	return nil
}

// setFrom sets a flag to what a source says.
func setFrom(f *pflag.Flag, source, value string) error {
	if err := f.Value.Set(value); err != nil {
		text := err.Error()
		if f.Value.Type() == "bool" {
			text = "it is true or false"
		}
		return fmt.Errorf("%s %q: %s", source, value, text)
	}
	return nil
}

func (s *settings) fillPassword(lines map[string]configLine) {
	variable := variableOf(passwordKey)
	if line, written := lines[passwordKey]; written {
		s.sources[passwordKey], s.password = line.source, line.value
	}
	if value := os.Getenv(variable); value != "" {
		s.sources[passwordKey], s.password = variable, value
	}
}

// word is how a message names a setting: as whoever gave it did, or by its flag.
func (s settings) word(name string) string { return cmp.Or(s.sources[name], "--"+name) }

// given returns the words for those of some settings that somebody gave.
func (s settings) given(names ...string) []string {
	var words []string
	for _, name := range names {
		if source, ok := s.sources[name]; ok {
			words = append(words, source)
		}
	}
	return words
}

// configLine is what a file says of a setting.
type configLine struct {
	value  string // as the flag takes it
	source string // where: file, line and key
}

// readConfig reads a file of settings, and returns all that is wrong with it.
func readConfig(file string, flags *pflag.FlagSet) (map[string]configLine, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	decoder := yaml.NewDecoder(io.LimitReader(f, maxDocument))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil // a file of comments only
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: it holds more than one document", file)
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: a configuration is settings with values, such as history: 24h", file, root.Line)
	}
	lines := map[string]configLine{}
	var errs []error
	for k := 0; k+1 < len(root.Content); k += 2 {
		key := root.Content[k]
		source := fmt.Sprintf("%s:%d: %s", file, key.Line, key.Value)
		value, err := configValue(root.Content[k+1])
		if err == nil {
			err = refuseKey(key.Value, lines, flags)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", source, err))
			continue
		}
		lines[key.Value] = configLine{value, source}
	}
	return lines, errors.Join(errs...)
}

// refuseKey refuses a key that is no setting, or was there before.
func refuseKey(key string, lines map[string]configLine, flags *pflag.FlagSet) error {
	known := func(name string) bool {
		f := flags.Lookup(name)
		return f != nil && isSetting(f) || name == passwordKey
	}
	if dashes := strings.ReplaceAll(key, "_", "-"); !known(key) && known(dashes) {
		return fmt.Errorf("no such setting; did you mean %s?", dashes)
	}
	if !known(key) {
		return errors.New("no such setting; a setting is called as its flag is, see 'rollcall server --help'")
	}
	if _, twice := lines[key]; twice {
		return errors.New("it is there twice")
	}
	return nil
}

// configValue returns a value as the flag takes it: a list with commas, and a mapping as a list of name=value.
func configValue(n *yaml.Node) (string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return "", errors.New(`it has no value; if it is meant to be empty, write ""`)
	case n.Kind == yaml.ScalarNode:
		return n.Value, nil
	case n.Kind == yaml.AliasNode:
		return "", errors.New("anchors and aliases are not understood")
	}
	words := make([]string, len(n.Content))
	for i, item := range n.Content {
		if item.Kind != yaml.ScalarNode || n.Kind == yaml.SequenceNode && strings.Contains(item.Value, ",") {
			return "", errors.New("it is one value or a list of them")
		}
		words[i] = item.Value
	}
	if n.Kind == yaml.MappingNode {
		words = slices.Collect(func(yield func(string) bool) {
			for pair := range slices.Chunk(words, 2) {
				if !yield(pair[0] + "=" + pair[1]) {
					return
				}
			}
		})
	}
	return strings.Join(words, ","), nil
}

// printConfig prints every setting, with where it is from when it is not the default, so that it can be read back. A secret is not printed.
func printConfig(w io.Writer, cmd *cobra.Command, s settings) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !isSetting(f) {
			return
		}
		value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.Value.String()}
		if f.Value.Type() == "bool" {
			value.Tag = "!!bool"
		}
		if source, ok := s.sources[f.Name]; ok {
			value.LineComment = "from " + source
		}
		root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}, value)
	})
	if source, ok := s.sources[passwordKey]; ok {
		root.FootComment = fmt.Sprintf("%s: from %s, not printed", passwordKey, source)
	}
	e := yaml.NewEncoder(w)
	if err := e.Encode(root); err != nil {
		return err
	}
	return e.Close()
}
