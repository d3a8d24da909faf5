package rollcallgrpc

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// closeMost is how long Registry.Close takes at most with a context without a deadline, see the bounds in docs/contract.md.
const closeMost = 6 * time.Second

func TestTheTimeThatTheDocumentationWantsForTheEndOfAServerIsEnough(t *testing.T) {
	text, err := os.ReadFile("../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	const documented = 40 * time.Second
	etcd := etcdPatience + 2*lostPatience // a Register under way, the drain, the goodbye
	sum := etcd + DefaultCountedDelay + DefaultStopTimeout + closeMost
	if sum > documented {
		t.Errorf("at worst the end takes %v, more than the %v that are documented", sum, documented)
	}
	row := func(what string, d time.Duration) string { return fmt.Sprintf("| %s | %d |", what, d/time.Second) }
	for _, figure := range []string{
		"terminationGracePeriodSeconds: 40\n", "TimeoutStopSec=40\n", fmt.Sprintf("**%d**", sum/time.Second),
		row("etcd out of reach, steps 1, 3, 5", etcd),
		row("callers go on calling, step 4 with `WithCalls`", DefaultCountedDelay),
		row("calls under way, step 6", DefaultStopTimeout),
		row("`Registry.Close` with a context without a deadline", closeMost),
		fmt.Sprintf("no new call has begun for %v, %d s at most; without it %d s", quiet, DefaultCountedDelay/time.Second, DefaultDrainDelay/time.Second),
		fmt.Sprintf("`WithStopTimeout(10*time.Second)` makes it %d.", (sum-DefaultStopTimeout)/time.Second+10),
	} {
		if !strings.Contains(strings.Replace(string(text), "250 ms", "250ms", 1), figure) {
			t.Errorf("docs/serving.md does not say %q", figure)
		}
	}
}
