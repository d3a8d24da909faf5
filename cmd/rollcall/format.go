package main

import (
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// format is a form of output. As the value of a flag it is one of the first two, for commands that have no others.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatWide  format = "wide"
	formatYAML  format = "yaml"
	formatName  format = "name"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

func (f *format) Set(s string) error {
	return (&formatFlag{f, []format{formatTable, formatJSON}}).Set(s)
}

// formatFlag is the value of --output where there are more of them.
type formatFlag struct {
	*format

	of []format
}

func (f *formatFlag) Set(s string) error {
	if !slices.Contains(f.of, format(s)) {
		return errors.New("an output format is " + orWords(f.of))
	}
	*f.format = format(s)
	return nil
}

// orWords is a list of words of which one is meant.
func orWords[S ~string](of []S) string {
	var words []string
	for _, w := range of {
		words = append(words, string(w))
	}
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// printing is how a command prints.
type printing struct {
	output format
	color  colorWhen
}

// bind binds --output, of which the first is the default, and --color.
func (p *printing) bind(cmd *cobra.Command, of ...format) {
	p.output, p.color = of[0], colorAuto
	cmd.Flags().VarP(&formatFlag{&p.output, of}, "output", "o", "output `format`: "+orWords(of))
	cmd.Flags().Var(&p.color, "color", "`when` to colour tables: auto (on a terminal, unless NO_COLOR is set), always or never")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(stringsOf(of), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("color", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
}

func stringsOf(of []format) []string {
	var words []string
	for _, f := range of {
		words = append(words, string(f))
	}
	return words
}

// data reports whether programs read what is printed.
func (p *printing) data() bool { return p.output == formatJSON || p.output == formatYAML }

// printData prints v as one line of JSON, or as a document of YAML with the same fields.
func printData(w io.Writer, f format, v any) error {
	if f == formatJSON {
		return printJSON(w, v)
	}
	return printYAML(w, v)
}

// printYAML prints v as the YAML of its JSON.
func printYAML(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var document yaml.Node // keeps the order of the fields
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	block(&document)
	quoteOld(&document)
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return err
	}
	return encoder.Close()
}

// oldBool are the words that readers of YAML 1.1 take for true or false.
var oldBool = regexp.MustCompile(`(?i)^(y|yes|n|no|on|off)$`)

// quoteOld has such words read as the text that they are, by everybody. Names of fields are ours.
func quoteOld(n *yaml.Node) {
	for k, inner := range n.Content {
		isName := n.Kind == yaml.MappingNode && k%2 == 0
		if inner.Kind == yaml.ScalarNode && !isName && oldBool.MatchString(inner.Value) {
			inner.Style = yaml.DoubleQuotedStyle
		}
		quoteOld(inner)
	}
}

// printStream prints one of many: a line of JSON, or a document of YAML among others.
func printStream(w io.Writer, f format, v any) error {
	if f == formatYAML {
		if _, err := io.WriteString(w, "---\n"); err != nil {
			return err
		}
	}
	return printData(w, f, v)
}
