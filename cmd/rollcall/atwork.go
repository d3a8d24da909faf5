package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// workAfter is how long a command may take before it says that it is at work.
const workAfter = time.Second

// atWork says on a terminal what takes a while, and takes that back when it is done.
func atWork(cmd *cobra.Command, what string) (stop func()) {
	w := cmd.ErrOrStderr()
	if _, terminal := terminalOf(w); !terminal {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() { // waited for by stop
		defer close(ended)
		t := time.NewTimer(workAfter)
		defer t.Stop()
		said := 0
		for {
			select {
			case <-t.C:
				line := fmt.Sprintf("%s … %s", what, span(time.Since(began)))
				fmt.Fprint(w, "\r", line)
				said = max(said, displayWidth(line))
				t.Reset(workAfter)
			case <-done:
				if said > 0 {
					fmt.Fprint(w, "\r", strings.Repeat(" ", said), "\r")
				}
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
