package chaos

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/world"
)

var (
	seedFlag    = flag.Int64("seed", 0, "seed of all that a scenario leaves to chance; 0: one by chance, which is printed")
	onlyFlag    = flag.String("scenario", "", "run only the scenarios whose names match this regular expression")
	allFlag     = flag.Bool("all", false, "run all scenarios, not only those that are part of make test")
	keepFlag    = flag.Bool("keep", false, "keep the journals of runs that passed, too")
	runsFlag    = flag.String("runs", "runs", "folder for the journals and logs of runs that failed")
	resultsFlag = flag.String("results", "", "file to write the results to, as a page")
	etcdFlag    = flag.String("etcd", "", "the etcd server to test on, instead of the one that is built; an absolute path")
	etcdutlFlag = flag.String("etcdutl", "", "its etcdutl; without it what restores snapshots cannot run")
	soakFlag    = flag.Duration("soak", 0, "how long the soak lasts; 0: it is left out")
)

// programs are what the processes of all runs execute.
var programs *world.Programs

// book is where the results of all runs go.
var book results

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	world.Sweep()
	dir, err := world.TempDir("bin")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programs = world.NewPrograms(dir)
	programs.Etcd, programs.Etcdutl = *etcdFlag, *etcdutlFlag
	began := time.Now()
	code := m.Run()
	if *resultsFlag != "" {
		if err := book.write(*resultsFlag, time.Since(began)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// seed is the one that was asked for, or a new one.
func seed() int64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return 1 + rand.Int64N(1_000_000)
}
