package demo

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"
)

// NextCommands are the commands that the demo ends with: a server, an instance registered on it and somebody who
// watches, all on the default ports. Program is how this program is called, see [ProgramName].
func NextCommands(program string) []string {
	return []string{
		program + " server",
		program + " register " + Service + " 127.0.0.1:50051",
		program + " watch " + Service,
	}
}

// ProgramName returns what to type in a shell, in the current directory, to call this program: its path relative to the
// directory if it lies below it, its bare name if that is found in PATH, else its full path.
func ProgramName() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return programName(exe, dir, inPath(exe)), nil
}

// inPath reports whether the bare name of exe, typed in a shell, means exe.
func inPath(exe string) bool {
	found, err := exec.LookPath(filepath.Base(exe))
	if err != nil {
		return false
	}
	a, errA := os.Stat(found)
	b, errB := os.Stat(exe)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

func programName(exe, dir string, inPath bool) string {
	rel, err := filepath.Rel(dir, exe)
	switch {
	case err == nil && filepath.IsLocal(rel) && filepath.Dir(rel) == ".":
		return shellQuote("." + string(filepath.Separator) + rel)
	case err == nil && filepath.IsLocal(rel):
		return shellQuote(rel)
	case inPath:
		return shellQuote(filepath.Base(exe))
	}
	return shellQuote(exe)
}

// shellQuote quotes s for a POSIX shell if need be.
func shellQuote(s string) string {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+@%:,=", r)
	}
	if !strings.ContainsFunc(s, special) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
