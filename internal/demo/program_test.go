package demo

import "testing"

func TestTheProgramIsCalledAsAShellWouldFindIt(t *testing.T) {
	tests := []struct {
		name, exe, dir string
		inPath         bool
		want           string
	}{
		{"below the directory", "/src/bin/rollcall", "/src", false, "bin/rollcall"},
		{"below the directory and in PATH", "/src/bin/rollcall", "/src", true, "bin/rollcall"},
		{"in the directory", "/src/bin/rollcall", "/src/bin", false, "./rollcall"},
		{"in PATH", "/usr/bin/rollcall", "/src", true, "rollcall"},
		{"elsewhere", "/opt/rollcall", "/src", false, "/opt/rollcall"},
		{"in a neighbour of the directory", "/src2/rollcall", "/src", false, "/src2/rollcall"},
		{"with a space and a quote", "/it's mine/bin/rollcall", "/src", false, `'/it'\''s mine/bin/rollcall'`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := programName(tt.exe, tt.dir, tt.inPath); got != tt.want {
				t.Errorf("programName(%q, %q, %v) = %s, want %s", tt.exe, tt.dir, tt.inPath, got, tt.want)
			}
		})
	}
}
