package world

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// temporary is how the temporary folders of the suite are called: after the process that made them.
const temporary = "rollcall-chaos-%d-%s-"

var named = regexp.MustCompile(`^rollcall-chaos-([0-9]+)-[a-z]+-`)

// TempDir makes a temporary folder, which the caller removes. What it cannot, as it was killed, [Sweep] does the next time.
func TempDir(what string) (string, error) {
	return os.MkdirTemp("", fmt.Sprintf(temporary, os.Getpid(), what))
}

// Sweep removes the temporary folders of processes that are dead: each cluster's data are some hundred megabytes.
func Sweep() {
	all, _ := filepath.Glob(filepath.Join(os.TempDir(), "rollcall-chaos-*"))
	for _, dir := range all {
		m := named.FindStringSubmatch(filepath.Base(dir))
		if m == nil {
			continue
		}
		// One that nobody has waited for yet has a number still, and no program any more.
		if _, err := os.Readlink("/proc/" + m[1] + "/exe"); errors.Is(err, fs.ErrNotExist) {
			_ = os.RemoveAll(dir)
		}
	}
}
