package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

type doctorCommand struct {
	connection
	printing
	timeout timeout
}

func newDoctorCommand() *cobra.Command {
	c := &doctorCommand{timeout: 12 * answerTimeout}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what will hurt, and say what to do about it",
		Long: `Look at etcd, at its members, at certificates and at what is registered for what hurts, or will: each finding with its evidence and what to
do. It takes some seconds. docs/doctor.md has all of them.

It exits with 0 when there is nothing, or nothing but notices, with 7 when the worst is a warning, and with 8 when something is critical. -o wide lists also
what was looked at; -o json and yaml print one object, as GET /v1/doctor has it; -o name prints the names of what was found.`,
		Example: `  rollcall doctor
  rollcall doctor -o json | jq -r '.findings[] | select(.severity == "SEVERITY_CRITICAL").title'`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd, c.timeout, true, func(ctx context.Context, b *client) error { return c.run(ctx, cmd, b) })
		},
	}
	c.connection.bind(cmd)
	c.printing.bind(cmd, formatTable, formatWide, formatJSON, formatYAML, formatName)
	cmd.Flags().Var(&c.timeout, "timeout", timeoutHelp)
	completes(cmd, &c.connection)
	return cmd
}

// soundError says that the doctor has found something; what, has been printed.
type soundError struct {
	text string
	code int
}

func (e *soundError) Error() string { return e.text }

func (c *doctorCommand) run(ctx context.Context, cmd *cobra.Command, b *client) error {
	stop := atWork(cmd, "examining")
	var resp *rollcallv1.DiagnoseResponse
	err := b.ask(ctx, "doctor", func(ctx context.Context) (err error) {
		resp, err = rollcallv1.NewOperationsServiceClient(b.conn).Diagnose(ctx, &rollcallv1.DiagnoseRequest{})
		return err
	})
	stop()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch {
	case c.data():
		err = printMessage(out, c.output, resp)
	case c.output == formatName:
		for _, f := range resp.GetFindings() {
			if _, err = fmt.Fprintln(out, f.GetId()); err != nil {
				break
			}
		}
	default:
		err = c.print(out, resp)
	}
	if err != nil {
		return err
	}
	return verdict(resp)
}

// verdict is the error that a diagnosis is; nil when nobody needs to do anything.
func verdict(d *rollcallv1.DiagnoseResponse) error {
	critical, warnings := 0, 0
	for _, f := range d.GetFindings() {
		switch f.GetSeverity() {
		case rollcallv1.Finding_SEVERITY_CRITICAL:
			critical++
		case rollcallv1.Finding_SEVERITY_WARNING:
			warnings++
		}
	}
	var found []string
	if critical > 0 {
		found = append(found, fmt.Sprintf("%d critical", critical))
	}
	if warnings > 0 {
		found = append(found, plural(warnings, "warning"))
	}
	if len(found) == 0 {
		return nil
	}
	code := exitWarning
	if critical > 0 {
		code = exitCritical
	}
	return &soundError{"doctor: " + strings.Join(found, ", "), code}
}

func severityWord(s rollcallv1.Finding_Severity) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "SEVERITY_"))
}

func (c *doctorCommand) print(out io.Writer, d *rollcallv1.DiagnoseResponse) error {
	p := c.color.paintFor(out)
	colors := map[rollcallv1.Finding_Severity]func(string) string{
		rollcallv1.Finding_SEVERITY_CRITICAL: p.red, rollcallv1.Finding_SEVERITY_WARNING: p.yellow,
	}
	var b strings.Builder
	for _, f := range d.GetFindings() {
		word := severityWord(f.GetSeverity())
		if in := colors[f.GetSeverity()]; in != nil {
			word = in(word)
		}
		fmt.Fprintf(&b, "%s  %s  %s\n", word, p.bold(cell(f.GetTitle())), p.dim("["+cell(f.GetId())+"]"))
		if f.GetSubject() != "" {
			fmt.Fprintf(&b, "    at      %s\n", cell(f.GetSubject()))
		}
		for n, line := range f.GetEvidence() {
			head := "because"
			if n > 0 {
				head = ""
			}
			fmt.Fprintf(&b, "    %-7s %s\n", head, cell(line))
		}
		if f.GetAdvice() != "" {
			fmt.Fprintf(&b, "    do      %s\n", strings.ReplaceAll(lines(f.GetAdvice()), "\n", "\n            "))
		}
		b.WriteByte('\n')
	}
	well, unknown := 0, [][]string{}
	for _, e := range d.GetExaminations() {
		switch e.GetOutcome() {
		case rollcallv1.Examination_OUTCOME_WELL:
			well++
		case rollcallv1.Examination_OUTCOME_UNKNOWN:
			unknown = append(unknown, []string{"  " + cell(e.GetTitle()), cell(e.GetWhy())})
		}
	}
	if c.output == formatWide {
		for _, line := range alignRows(examinationRows(d.GetExaminations()), nil) {
			b.WriteString(line + "\n")
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s, %s well", plural(len(d.GetFindings()), "finding"), plural(well, "examination"))
	if len(unknown) > 0 {
		fmt.Fprintf(&b, "; %d could not be made:\n%s", len(unknown), strings.Join(alignRows(unknown, nil), "\n"))
	}
	_, err := fmt.Fprintln(out, b.String())
	return err
}

// lines is text of several lines, of each only what can be printed.
func lines(text string) string {
	var clean []string
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			line = cell(line)
		}
		clean = append(clean, line)
	}
	return strings.Join(clean, "\n")
}

func examinationRows(all []*rollcallv1.Examination) [][]string {
	rows := [][]string{{"EXAMINATION", "OUTCOME", "TOOK", "WHY"}}
	for _, e := range all {
		outcome := strings.ToLower(strings.TrimPrefix(e.GetOutcome().String(), "OUTCOME_"))
		rows = append(rows, []string{cell(e.GetTitle()), outcome, brief(e.GetTook().AsDuration()), cell(e.GetWhy())})
	}
	return rows
}
