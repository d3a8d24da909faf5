package slowdisk

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const timeout = 60 * time.Second

// writerEnv makes a process of this test a writer to the file that it names.
const writerEnv = "ROLLCALL_SLOWDISK_FILE"

func TestMain(m *testing.M) {
	if name := os.Getenv(writerEnv); name != "" {
		if err := write(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// write does what it reads, call by call, and answers how long each call took.
func write(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	for s := bufio.NewScanner(os.Stdin); s.Scan(); {
		began := time.Now()
		_, err := file.WriteString("some data")
		if err == nil && s.Text() == "fsync" {
			err = file.Sync()
		}
		if err == nil && s.Text() == "fdatasync" {
			err = syscall.Fdatasync(int(file.Fd()))
		}
		if err != nil {
			return err
		}
		fmt.Println(time.Since(began))
	}
	return nil
}

// writer is a process that writes to a disk when it is told to.
type writer struct {
	pid     int
	stdin   io.Writer
	answers chan string
}

func startWriter(t *testing.T) writer {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+filepath.Join(t.TempDir(), "file"))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			answers <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-read
		_ = cmd.Wait()
	})
	w := writer{cmd.Process.Pid, stdin, answers}
	w.takes(t, "write")
	return w
}

// takes tells how long the writer needs to write and, if that is the call, to sync.
func (w writer) takes(t *testing.T, call string) time.Duration {
	t.Helper()
	if _, err := fmt.Fprintln(w.stdin, call); err != nil {
		t.Fatal(err)
	}
	select {
	case answer := <-w.answers:
		d, err := time.ParseDuration(answer)
		if err != nil {
			t.Fatal(err)
		}
		return d
	case <-time.After(timeout):
		t.Fatalf("%s does not return", call)
		return 0
	}
}

// isFast waits until a call takes less than d, which a busy machine may prevent once or twice.
func (w writer) isFast(t *testing.T, call string, d time.Duration) {
	t.Helper()
	for deadline := time.Now().Add(timeout); w.takes(t, call) >= d; {
		if time.Now().After(deadline) {
			t.Fatalf("%s takes %v and more", call, d)
		}
	}
}

func TestASlowDiskHoldsWhatWaitsForItUntilItIsStopped(t *testing.T) {
	t.Parallel()
	const d = time.Second
	w := startWriter(t)
	stop := Slow(t, w.pid, d)
	for _, call := range []string{"fsync", "fdatasync"} {
		if took := w.takes(t, call); took < d {
			t.Errorf("%s takes %v, want at least %v", call, took, d)
		}
	}
	w.isFast(t, "write", d)
	stop()
	for _, call := range []string{"fsync", "fdatasync"} {
		w.isFast(t, call, d)
	}
}

func TestASlowDiskMayBeStoppedAndMadeSlowAgain(t *testing.T) {
	t.Parallel()
	w := startWriter(t)
	for _, d := range []time.Duration{400 * time.Millisecond, 800 * time.Millisecond} {
		stop := Slow(t, w.pid, d)
		if took := w.takes(t, "fdatasync"); took < d {
			t.Errorf("fdatasync takes %v, want at least %v", took, d)
		}
		stop()
		stop()
	}
}

func TestAProcessThatDiesTakesItsTracerAlong(t *testing.T) {
	t.Parallel()
	victim := exec.Command("sleep", "1000")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	stop := Slow(t, victim.Process.Pid, time.Second)
	_ = victim.Process.Kill()
	_ = victim.Wait()
	stop()
}

func TestAProcessThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	need(t)
	if _, err := attach(gone.Process.Pid, time.Second); err == nil || !strings.Contains(err.Error(), "strace") {
		t.Errorf("attach to a process that is gone: %v", err)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := missing(); err == nil || !strings.Contains(err.Error(), "strace") {
		t.Errorf("without any program: %v; want it to name strace", err)
	}
}
